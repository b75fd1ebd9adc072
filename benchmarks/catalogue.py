"""What can be measured: the subjects, and whether this environment has them.

Knows the subjects by name only and imports none of them: the harness must not load
what it measures. Imports nothing of this package.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import Final, Literal, TypeAlias

Scenario: TypeAlias = Literal["receive", "send", "echo"]
Loop: TypeAlias = Literal["asyncio", "uvloop", "trio", "none"]

SCENARIOS: Final[tuple[Scenario, ...]] = ("receive", "send", "echo")
PAYLOADS: Final = (64, 1200, 8192)  # bytes


@dataclass(frozen=True, slots=True)
class Subject:
    """One way of doing one thing with one library on one event loop."""

    scenario: Scenario
    name: str
    loop: Loop
    target: str
    """``module:function`` below this package; for C, the program and its arguments."""
    module: str | None = None
    """What must be importable, besides the event loop."""
    native: bool = False

    @property
    def label(self) -> str:
        """The name and the loop, as tables and plots show them."""
        return self.name if self.loop == "none" else f"{self.name} ({self.loop})"

    def missing(self, *, compiler: bool) -> str | None:
        """Return why it cannot run here, or ``None`` if it can."""
        if self.native:
            return None if compiler else "the C programs were not built"
        for module in (self.module, self.loop):
            if module not in (None, "none") and find_spec(str(module)) is None:
                return f"{module} is not installed"
        return None


def _subjects() -> Iterator[Subject]:
    ours = {
        "receive": {"recv": "receive", "recv_many": "receive_many"},
        "send": {
            "send": "send",
            "send(segment_size=)": "send_segments",
            "send_many": "send_many",
        },
        "echo": {"async for + send": "echo"},
    }
    peers = {
        "DatagramProtocol": ("with_protocol", None),
        "asyncio-dgram": ("with_asyncio_dgram", "asyncio_dgram"),
        "asyncudp": ("with_asyncudp", "asyncudp"),
        "anyio": ("with_anyio", "anyio"),
    }
    ceilings = {
        "receive": {
            "C recvmmsg + UDP_GRO": "receive gro",
            "C recvmmsg": "receive plain",
        },
        "send": {
            "C sendmmsg + UDP_SEGMENT": "send trains",
            "C sendmmsg": "send singles",
        },
        "echo": {},
    }
    loops: tuple[Loop, ...] = ("asyncio", "uvloop")
    for scenario in SCENARIOS:
        for name, function in ours[scenario].items():
            for loop in loops:
                target = f"subjects.with_aioudp:{function}"
                yield Subject(scenario, f"aioudp {name}", loop, target, "aioudp")
        for name, (file, module) in peers.items():
            for loop in loops:
                target = f"subjects.{file}:{scenario}"
                yield Subject(scenario, name, loop, target, module)
        yield Subject(scenario, "trio", "trio", f"subjects.with_trio:{scenario}")
        target = f"subjects.with_socket:{scenario}"
        yield Subject(scenario, "blocking socket", "none", target)
        for name, target in ceilings[scenario].items():
            yield Subject(scenario, name, "none", target, native=True)


SUBJECTS: Final = tuple(_subjects())

# The handful of a quick run: the promises of the README.
_QUICK: Final = frozenset(
    {
        "aioudp recv",
        "aioudp recv_many",
        "aioudp send(segment_size=)",
        "aioudp async for + send",
        "DatagramProtocol",
    }
)


def quick() -> list[Subject]:
    """Return the subjects of a quick run."""
    return [subject for subject in SUBJECTS if subject.name in _QUICK]


def versions() -> dict[str, str]:
    """Return the version of each library that is installed."""
    import aioudp  # maybe not installed, but in the checkout

    found = {"aioudp": aioudp.__version__}
    for name in ("uvloop", "asyncio-dgram", "asyncudp", "anyio", "trio"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
