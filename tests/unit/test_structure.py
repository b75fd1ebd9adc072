"""The package keeps its shape: layers, imports, public names.

The layers are those of docs/explanation/architecture.md. A module imports from the
layers below its own; within one layer only what ``SIBLINGS`` lists.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import aioudp

PACKAGE: Final = Path(aioudp.__file__).parent

LAYERS: Final[list[tuple[str, set[str]]]] = [
    ("vocabulary", {"_types", "_errors"}),
    ("pure", {"_address", "_ancillary", "_group_address", "_inbox", "_segments"}),
    (
        "sockets",
        {
            "_batchio",
            "_broadcasts",
            "_error_queue",
            "_groups",
            "_ifaddrs",
            "_implementation",
            "_interfaces",
            "_path_mtu",
            "_shared_port",
            "_sockets",
            "_speedups",
        },
    ),
    (
        "transports",
        {
            "_transports",
            "_transports._socket",
            "_transports._watch",
            "_transports._write_buffer",
            "_transports.base",
            "_transports.error_queue",
            "_transports.loop",
            "_transports.selector",
        },
    ),
    (
        "api",
        {
            "_endpoint",
            "_error_inbox",
            "_loops",
            "_message_endpoint",
            "_opening",
            "_options",
            "_protocol",
            "_sending",
        },
    ),
    ("interfaces", {"_fanout", "broadcast", "discovery", "multicast"}),
    ("public names", {"__init__"}),
    (
        "command line",
        {
            "__main__",
            "cli",
            "cli.app",
            "cli.bench",
            "cli.bench.client",
            "cli.bench.command",
            "cli.bench.histogram",
            "cli.bench.report",
            "cli.bench.server",
            "cli.bench.tracker",
            "cli.bench.wire",
            "cli.broadcast",
            "cli.console",
            "cli.discover",
            "cli.echo",
            "cli.formats",
            "cli.info",
            "cli.lines",
            "cli.listen",
            "cli.multicast",
            "cli.options",
            "cli.outcomes",
            "cli.payloads",
            "cli.receiving",
            "cli.running",
            "cli.send",
        },
    ),
]

SIBLINGS: Final[dict[str, set[str]]] = {
    "_errors": {"_types"},
    "_ancillary": {"_address"},
    "_batchio": {"_sockets"},
    "_broadcasts": {"_interfaces"},
    "_error_queue": {"_sockets"},
    "_implementation": {"_batchio", "_speedups"},
    "_interfaces": {"_ifaddrs"},
    "_path_mtu": {"_sockets"},
    "_shared_port": {"_sockets"},
    "_speedups": {"_batchio"},
    "_transports._socket": {"_transports._write_buffer", "_transports.base"},
    "_transports.error_queue": {
        "_transports._socket",
        "_transports._watch",
        "_transports.selector",
    },
    "_transports.loop": {"_transports._socket"},
    "_transports.selector": {"_transports._socket", "_transports._watch"},
    "_endpoint": {"_error_inbox", "_protocol", "_sending"},
    "_loops": {"_opening", "_options"},
    "_message_endpoint": {"_endpoint"},
    "_opening": {
        "_endpoint",
        "_error_inbox",
        "_message_endpoint",
        "_options",
        "_protocol",
    },
    "_protocol": {"_error_inbox"},
    "broadcast": {"_fanout"},
    "discovery": {"_fanout", "broadcast", "multicast"},
    "multicast": {"_fanout"},
    "__main__": {"cli.app"},
    "cli.app": {
        "cli.bench.command",
        "cli.broadcast",
        "cli.console",
        "cli.discover",
        "cli.echo",
        "cli.info",
        "cli.listen",
        "cli.multicast",
        "cli.send",
    },
    "cli.bench.client": {
        "cli.bench.histogram",
        "cli.bench.report",
        "cli.bench.server",
        "cli.bench.wire",
    },
    "cli.bench.command": {
        "cli.bench.client",
        "cli.bench.report",
        "cli.bench.server",
        "cli.bench.wire",
        "cli.console",
        "cli.formats",
        "cli.options",
        "cli.running",
    },
    "cli.bench.report": {"cli.bench.histogram"},
    "cli.bench.server": {
        "cli.bench.histogram",
        "cli.bench.report",
        "cli.bench.tracker",
        "cli.bench.wire",
    },
    "cli.broadcast": {
        "cli.console",
        "cli.options",
        "cli.outcomes",
        "cli.payloads",
        "cli.running",
    },
    "cli.console": {"cli.formats"},
    "cli.discover": {
        "cli.console",
        "cli.formats",
        "cli.options",
        "cli.outcomes",
        "cli.payloads",
        "cli.running",
    },
    "cli.echo": {"cli.console", "cli.formats", "cli.options", "cli.running"},
    "cli.info": {"cli.console", "cli.options", "cli.running"},
    "cli.listen": {
        "cli.console",
        "cli.formats",
        "cli.options",
        "cli.receiving",
        "cli.running",
    },
    "cli.multicast": {
        "cli.console",
        "cli.formats",
        "cli.options",
        "cli.outcomes",
        "cli.payloads",
        "cli.receiving",
        "cli.running",
    },
    "cli.options": {"cli.formats", "cli.running"},
    "cli.outcomes": {"cli.formats"},
    "cli.payloads": {"cli.lines"},
    "cli.receiving": {"cli.console", "cli.formats", "cli.running"},
    "cli.running": {"cli.console"},
    "cli.send": {
        "cli.console",
        "cli.formats",
        "cli.options",
        "cli.payloads",
        "cli.running",
    },
}

# What a layer must not import from outside the package, and why it exists.
FORBIDDEN: Final[dict[str, set[str]]] = {
    "vocabulary": {"asyncio", "os", "random", "select", "socket", "threading", "time"},
    "pure": {"asyncio", "random", "select", "threading", "time"},
    "sockets": {"asyncio", "random", "threading", "time"},
}

# A place for what belongs to a thread; it starts none, and waits for none.
PERMITTED: Final = {("threading", "local")}

# What the pure layer may take from the module ``socket``: numbers and translations.
PURE_SOCKET_NAMES: Final = re.compile(
    r"AF_\w+|IPPROTO_\w+|SOL_SOCKET|inet_(ntop|pton)|if_nametoindex"
)

OPTIONAL: Final = {"rich", "typer", "uvloop"}

# Written in Cython: there may be nothing to import, and a wheel leaves the text out.
COMPILED: Final = {"_speedups"}
CYTHON_IMPORT: Final = re.compile(
    r"^(?:import|from [\w.]+ import) (?:[\w., ]+|\([\w.,\s]+\))$", re.MULTILINE
)


def path_of(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split("."))
    if path.is_dir():
        return path / "__init__.py"
    return path.with_suffix(".pyx" if module in COMPILED else ".py")


def modules() -> set[str]:
    """Return every module that can be read here, without the leading ``aioudp.``."""
    found = set()
    for path in [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyx")]:
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found.add(name.removesuffix(".__init__"))
    return found


def source_of(module: str) -> str:
    """Return the text of a module; of a compiled one, its imports."""
    text = path_of(module).read_text()
    if module in COMPILED:
        return "\n".join(CYTHON_IMPORT.findall(text))
    return text


def imports(module: str) -> set[tuple[str, str]]:
    """Return what a module imports, as pairs of an absolute module and a name in it."""
    path = path_of(module)
    package = ("aioudp", *path.relative_to(PACKAGE).parts[:-1])
    found: set[tuple[str, str]] = set()
    for node in ast.walk(ast.parse(source_of(module))):
        if isinstance(node, ast.Import):
            found |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            source = ".".join([*base, *filter(None, [node.module])])
            found |= {(source, alias.name) for alias in node.names}
    return found


def imports_within(module: str) -> set[str]:
    """Return the modules of this package that a module imports."""
    listed = modules() | COMPILED
    found = set()
    for source, name in imports(module):
        if source.partition(".")[0] != "aioudp":
            continue
        inside = source.partition(".")[2]
        submodule = f"{inside}.{name}".strip(".")
        found.add(submodule if submodule in listed else inside or "__init__")
    return found


def layer_of(module: str) -> int:
    return next(level for level, (_, names) in enumerate(LAYERS) if module in names)


def test_every_module_is_in_one_layer() -> None:
    """The list above names each module of the package once, and no other."""
    listed = [module for _, names in LAYERS for module in names]

    assert sorted(listed) == sorted(modules() | COMPILED)


@pytest.mark.parametrize("module", sorted(modules()))
def test_a_module_imports_downwards_only(module: str) -> None:
    """It imports from the layers below it, and the siblings that are listed."""
    below = {name for _, names in LAYERS[: layer_of(module)] for name in names}

    assert imports_within(module) <= below | SIBLINGS.get(module, set())


def test_the_listed_siblings_are_all_used() -> None:
    """The list permits nothing that nobody needs."""
    unused = {
        module: unused
        for module, siblings in SIBLINGS.items()
        if module in modules() and (unused := siblings - imports_within(module))
    }

    assert unused == {}


@pytest.mark.parametrize("layer", sorted(FORBIDDEN))
def test_a_low_layer_stays_free_of_the_world(layer: str) -> None:
    """The vocabulary knows no system, the pure layer no socket, neither a loop."""
    for module in dict(LAYERS)[layer] & modules():
        imported = imports(module) - PERMITTED
        outside = {source.partition(".")[0] for source, _ in imported}

        assert outside.isdisjoint(FORBIDDEN[layer]), module


def test_the_pure_layer_makes_no_socket() -> None:
    """It takes numbers and translations from the module socket, and nothing else."""
    taken = {
        name
        for module in dict(LAYERS)["pure"]
        for source, name in imports(module)
        if source == "socket"
    }

    assert {name for name in taken if not PURE_SOCKET_NAMES.fullmatch(name)} == set()


def test_only_the_opening_names_concrete_transports() -> None:
    """Everything else works on the interface, so that any transport fits below it."""
    concrete = {
        "_transports.error_queue",
        "_transports.loop",
        "_transports.selector",
    }
    users = {module for module in modules() if imports_within(module) & concrete}

    assert users - dict(LAYERS)["transports"] == {"_opening"}


def test_only_the_command_line_imports_optional_packages() -> None:
    """Without the extras, everything but the command line works.

    ``_loops`` asks for uvloop when it makes a loop, and does without if need be.
    """
    users = {
        (module, source.partition(".")[0])
        for module in modules()
        for source, _ in imports(module)
        if source.partition(".")[0] in OPTIONAL
    }
    outside = {user for user in users if user[0] not in dict(LAYERS)["command line"]}

    assert outside == {("_loops", "uvloop")}


@pytest.mark.parametrize("installed", [True, False])
def test_a_new_loop_needs_no_uvloop(
    installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one optional package that the library imports, and only when it is there."""
    if installed:
        pytest.importorskip("uvloop", reason="cannot: uvloop: it is not installed")
    else:
        monkeypatch.setitem(sys.modules, "uvloop", None)

    loop = aioudp.new_event_loop()
    loop.close()

    bases = {base.__module__.partition(".")[0] for base in type(loop).__mro__}
    assert ("uvloop" in bases) is installed


def test_every_module_can_be_imported_first() -> None:
    """No module relies on another one having been imported before it."""
    written = modules() - COMPILED
    names = sorted({f"aioudp.{name}".removesuffix(".__init__") for name in written})
    # One interpreter for all: forgetting the package between two imports is enough.
    script = """if True:
        import importlib, sys
        for name in sys.argv[1:]:
            for loaded in [*sys.modules]:
                if loaded.partition(".")[0] == "aioudp":
                    del sys.modules[loaded]
            importlib.import_module(name)
    """

    subprocess.run([sys.executable, "-c", script, *names], check=True)


@pytest.mark.parametrize("module", sorted(COMPILED))
def test_a_compiled_module_can_be_imported_first(module: str) -> None:
    """In an interpreter of its own: it cannot be forgotten and imported again."""
    if importlib.util.find_spec(f"aioudp.{module}") is None:
        pytest.skip("cannot: speedups: not built")

    subprocess.run([sys.executable, "-c", f"import aioudp.{module}"], check=True)


def test_importing_the_library_does_not_import_what_is_optional() -> None:
    """The import is quick, and the same with and without the extras."""
    script = "import sys, aioudp; print(*{m.partition('.')[0] for m in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )

    assert OPTIONAL.isdisjoint(loaded.stdout.split())


def test_all_is_complete() -> None:
    """Every public name is in __all__, once, in order; and nothing is that is not."""
    public = {
        name
        for name, value in vars(aioudp).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and name != "annotations"  # of __future__
    }

    assert aioudp.__all__ == sorted(public | {"__version__"})


def test_what_is_public_is_documented() -> None:
    """Every public class, method and function has a docstring."""
    described: dict[str, object] = {}
    for name in aioudp.__all__:
        value = getattr(aioudp, name)
        if inspect.isclass(value):
            described |= {
                f"{name}.{member}": function
                for member, function in vars(value).items()
                if not member.startswith("_") and inspect.isroutine(function)
            }
        if inspect.isclass(value) or inspect.isroutine(value):
            described[name] = value

    assert [
        name for name, value in described.items() if not inspect.getdoc(value)
    ] == []


def test_the_version_is_that_of_the_distribution() -> None:
    """The version is written in two places, and they agree."""
    assert aioudp.__version__ == importlib.metadata.version("aioudp-endpoint")
