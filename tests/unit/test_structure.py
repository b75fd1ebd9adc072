"""The package keeps its shape: layers, imports, public names.

The folders are the layers; docs/explanation/architecture.md says what each is for. A
module imports from its own folder and from the layers below.
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

# From the bottom up. A module imports from its own folder and from what is below it.
LAYERS: Final = (
    ("_installation",),
    ("_types", "_errors"),
    ("_system",),
    ("_transports",),
    ("_endpoint",),
    ("_requests", "_serving"),
    ("broadcast", "multicast", "discovery", "signals", "client", "server", "inherited"),
    ("_forwarding", "_workers"),
    ("forwarding", "workers"),
    ("__init__",),
    ("testing",),
    ("cli", "__main__"),
)

# What these must not import from outside the package, and why they exist.
FORBIDDEN: Final[dict[str, set[str]]] = {
    "_installation": {"asyncio", "os", "random", "select", "socket", "threading"},
    "_types": {"asyncio", "os", "random", "select", "socket", "threading", "time"},
    "_errors": {"asyncio", "os", "random", "select", "socket", "threading", "time"},
    "_system": {"asyncio", "random", "threading", "time"},
}
PURE_FORBIDDEN: Final = {"asyncio", "random", "select", "threading", "time"}

# A place for what belongs to a thread; it starts none, and waits for none.
PERMITTED: Final = {("threading", "local")}

# What a pure module may take from the module ``socket``: numbers and translations.
PURE_SOCKET_NAMES: Final = re.compile(
    r"AF_\w+|IPPROTO_\w+|SOL_SOCKET|inet_(ntop|pton)|if_nametoindex"
)

OPTIONAL: Final = {"click", "rich", "uvloop"}

# Written in Cython: there may be nothing to import, and a wheel leaves the text out.
COMPILED: Final = {"_system.speedups"}
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
    folder = module.partition(".")[0]
    return next(level for level, names in enumerate(LAYERS) if folder in names)


def pure_modules() -> set[str]:
    """Return the modules whose first line says that they are pure."""
    return {
        module
        for module in modules() - COMPILED
        if source_of(module).startswith('"""Pure:')
    }


def test_every_folder_is_a_layer() -> None:
    """The list above names each folder and each module at the top, once, no other."""
    listed = [name for names in LAYERS for name in names]

    assert sorted(listed) == sorted({name.partition(".")[0] for name in modules()})


@pytest.mark.parametrize("module", sorted(modules()))
def test_a_module_imports_downwards_only(module: str) -> None:
    """It imports from its own folder and the layers below."""
    level = layer_of(module)

    assert {used for used in imports_within(module) if layer_of(used) > level} == set()


def test_there_is_no_cycle() -> None:
    """What is imported within a folder stands below too: the tower has no loop."""
    below = {module: imports_within(module) - {module} for module in modules()}
    while leaves := {
        module for module, used in below.items() if not used & below.keys()
    }:
        for module in leaves:
            del below[module]

    assert below == {}


@pytest.mark.parametrize("folder", sorted(FORBIDDEN))
def test_a_low_layer_stays_free_of_the_world(folder: str) -> None:
    """The vocabulary knows no system, what talks to the system no event loop."""
    for module in modules():
        if module.partition(".")[0] == folder:
            outside = {top_of(one) for one in imports(module) - PERMITTED}
            assert outside.isdisjoint(FORBIDDEN[folder]), module


def top_of(imported: tuple[str, str]) -> str:
    return imported[0].partition(".")[0]


def test_pure_modules_are_pure() -> None:
    """A module that says so knows no clock, no thread and no event loop."""
    assert pure_modules() >= {"_system.addresses", "_system.segments"}
    for module in pure_modules():
        outside = {top_of(one) for one in imports(module)}
        assert outside.isdisjoint(PURE_FORBIDDEN), module


def test_pure_modules_make_no_socket() -> None:
    """It takes numbers and translations from the module socket, and nothing else."""
    taken = {
        name
        for module in pure_modules()
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
        "_transports.simulated",
    }
    users = {module for module in modules() if imports_within(module) & concrete}

    users = {user for user in users if not user.startswith("_transports.")}
    assert users == {"_endpoint.opening"}


def test_only_the_command_line_imports_optional_packages() -> None:
    """Without the extras, everything but the command line works.

    ``dropin`` asks for uvloop when it makes a loop, and does without if need be.
    """
    users = {
        (module, source.partition(".")[0])
        for module in modules()
        for source, _ in imports(module)
        if source.partition(".")[0] in OPTIONAL
    }
    outside = {user for user in users if layer_of(user[0]) < layer_of("cli")}

    assert outside == {("_endpoint.dropin", "uvloop")}


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


@pytest.mark.timeout(120)
def test_every_module_can_be_imported_first() -> None:
    """No module relies on another one having been imported before it."""
    written = modules() - COMPILED
    if sys.platform == "win32":  # run_workers imports them where there is a fork
        written = {name for name in written if not name.startswith("_workers.")}
    names = sorted({f"aioudp.{name}".removesuffix(".__init__") for name in written})
    # Importing a module imports the package first, and so all that the package imports.
    # For the others, one interpreter is enough: each is forgotten before the next.
    script = """if True:
        import importlib, sys
        import aioudp
        known = {*sys.modules}
        for name in {*sys.argv[1:]} - known:
            importlib.import_module(name)
            for loaded in {*sys.modules} - known:
                if loaded.partition(".")[0] == "aioudp":
                    del sys.modules[loaded]
    """

    subprocess.run([sys.executable, "-c", script, *names], check=True)


@pytest.mark.parametrize("module", sorted(COMPILED))
def test_a_compiled_module_can_be_imported_first(module: str) -> None:
    """In an interpreter of its own: it cannot be forgotten and imported again."""
    if importlib.util.find_spec(f"aioudp.{module}") is None:
        pytest.skip("cannot: speedups: not built")

    subprocess.run([sys.executable, "-c", f"import aioudp.{module}"], check=True)


def loaded_after(code: str) -> set[str]:
    """Return the modules that a new interpreter has loaded after running *code*."""
    script = f"import sys; {code}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    return set(done.stdout.split())


def test_the_library_does_not_import_what_is_optional() -> None:
    """Using every public name is the same with and without the extras."""
    every_name = "import aioudp; [getattr(aioudp, name) for name in aioudp.__all__]"
    loaded = loaded_after(every_name)

    assert "aioudp.forwarding" in loaded
    assert OPTIONAL.isdisjoint({name.partition(".")[0] for name in loaded})


def test_a_name_is_imported_when_it_is_used() -> None:
    """Importing the package loads nothing else; opening an endpoint, no server."""
    base = loaded_after("pass")
    package = loaded_after("import aioudp") - base
    endpoint = loaded_after("import aioudp; aioudp.bind")

    assert {name for name in package if name.startswith("aioudp.")} == set()
    assert "asyncio" not in package
    assert "aioudp._endpoint.endpoint" in endpoint
    assert endpoint.isdisjoint({"aioudp.server", "aioudp.forwarding", "aioudp.workers"})


def test_serve_knows_the_urls_of_modules_that_are_not_loaded() -> None:
    """Forwarding adds its schemes to it, and is loaded for a URL only."""
    serve = "aioudp.serve(print, 'nats://127.0.0.1', stream='s', group='g')"

    assert "aioudp.forwarding" in loaded_after(f"import aioudp; {serve}")
    assert "aioudp.forwarding" not in loaded_after("import aioudp; aioudp.serve")


def test_all_is_complete() -> None:
    """Every public name is in __all__, in order, and is found where it is declared."""
    declared = {
        name: source
        for source, name in imports("__init__")
        if source.startswith("aioudp.")
    }
    found = {name: f"aioudp.{module}" for name, module in aioudp._WHERE.items()}

    assert found == declared
    assert aioudp.__all__ == sorted({*declared, "__version__"})
    assert set(aioudp.__all__) <= set(dir(aioudp))


def test_a_public_module_is_an_attribute() -> None:
    """So it was when the package imported them all; other names don't exist."""
    public = {name for name in modules() if "." not in name and name[0] != "_"}
    public -= {"testing", "cli"}

    assert public == aioudp._MODULES
    assert all(inspect.ismodule(getattr(aioudp, name)) for name in public)
    with pytest.raises(AttributeError, match="has no attribute 'bnid'"):
        aioudp.bnid  # type: ignore[attr-defined]  # noqa: B018


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
    """It is written in the package alone, and the build reads it there."""
    assert aioudp.__version__ == importlib.metadata.version("aioudp-endpoint")
