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
Loop: TypeAlias = Literal[
    "asyncio", "uvloop", "rloop", "blazio", "talyn", "trio", "none"
]

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
    compiled: bool = True
    """Whether aioudp may use its compiled batch I/O, where that was built."""
    sources: int = 0
    """From how many sockets it is flooded, one datagram at a time; 0: one, as fast as
    possible."""

    @property
    def label(self) -> str:
        """The name and the loop, as tables and plots show them."""
        return self.name if self.loop == "none" else f"{self.name} ({self.loop})"

    def missing(self, *, compiler: bool) -> str | None:
        """Return why it cannot run here, or ``None`` if it can."""
        if (self.native or self.sources) and not compiler:
            return "the C programs were not built"
        if self.native:
            return None
        for module in (self.module, self.loop):
            if module not in (None, "none") and find_spec(str(module)) is None:
                return f"{module} is not installed"
        return None


MANY_PEERS: Final = "to 1,000 peers"
SOURCES: Final = (1, 64, 10_000)


def from_sources(count: int) -> str:
    """Return the name of receiving single datagrams from so many sources."""
    return f"aioudp recv_many, no offload, {count:,} source{'s' * (count > 1)}"


def _ours() -> Iterator[Subject]:
    functions = {
        "receive": {
            "recv": "with_aioudp:receive",
            "recv_many": "with_aioudp:receive_many",
            "recv_many, no offload": "with_aioudp:receive_many_singly",
            "recv_batch": "with_aioudp:receive_batch",
            "relay": "with_aioudp:relay",
            "recv_messages": "with_aioudp:receive_messages",
            "drop-in": "with_drop_in:receive",
            "drop-in, batches": "with_drop_in:receive_batches",
        },
        "send": {
            "send": "with_aioudp:send",
            "send(segment_size=)": "with_aioudp:send_segments",
            "send_many": "with_aioudp:send_many",
            f"send_many {MANY_PEERS}": "with_aioudp:send_many_to_many",
            "drop-in": "with_drop_in:send",
        },
        "echo": {
            "async for + send": "with_aioudp:echo",
            "drop-in": "with_drop_in:echo",
        },
    }
    in_python = ("recv", "recv_many", "recv_batch", "send(segment_size=)", "send_many")
    loops: tuple[Loop, ...] = ("asyncio", "uvloop")
    for scenario in SCENARIOS:
        for name, function in functions[scenario].items():
            target = f"subjects.{function}"
            for loop in loops:
                yield Subject(scenario, f"aioudp {name}", loop, target, "aioudp")
            if name in in_python:
                yield Subject(
                    scenario,
                    f"aioudp {name}, in Python",
                    "uvloop",
                    target,
                    "aioudp",
                    compiled=False,
                )
    for count in SOURCES:
        target = "subjects.with_aioudp:receive_many_singly"
        name = from_sources(count)
        yield Subject("receive", name, "uvloop", target, "aioudp", sources=count)


def _subjects() -> Iterator[Subject]:
    peers = {
        "DatagramProtocol": ("with_protocol", None),
        "asyncio-dgram": ("with_asyncio_dgram", "asyncio_dgram"),
        "asyncudp": ("with_asyncudp", "asyncudp"),
        "anyio": ("with_anyio", "anyio"),
        "aiofastnet": ("with_aiofastnet", "aiofastnet"),
    }
    ceilings = {
        "receive": {
            "C recvmmsg + UDP_GRO": "receive gro",
            "C recvmmsg": "receive plain",
            "C relay + UDP_GRO + UDP_SEGMENT": "receive relay",
        },
        "send": {
            "C sendmmsg + UDP_SEGMENT": "send trains",
            "C sendmmsg": "send singles",
            f"C sendmmsg {MANY_PEERS}": "send peers",
        },
        "echo": {},
    }
    loops: tuple[Loop, ...] = ("asyncio", "uvloop")
    for scenario in SCENARIOS:
        yield from (one for one in _ours() if one.scenario == scenario)
        for name, (file, module) in peers.items():
            for loop in loops:
                target = f"subjects.{file}:{scenario}"
                yield Subject(scenario, name, loop, target, module)
        yield Subject(scenario, "trio", "trio", f"subjects.with_trio:{scenario}")
        target = f"subjects.with_socket:{scenario}"
        yield Subject(scenario, "blocking socket", "none", target)
        for name, target in ceilings[scenario].items():
            yield Subject(scenario, name, "none", target, native=True)


def _on_young_loops() -> Iterator[Subject]:
    """Yield what is measured on loops that few use yet, where they are installed."""
    ours = {"receive": "aioudp recv", "echo": "aioudp async for + send"}
    young: tuple[Loop, ...] = ("rloop", "blazio", "talyn")
    scenarios: tuple[Scenario, ...] = ("receive", "echo")
    for scenario in scenarios:
        for loop in young:
            target = f"subjects.with_aioudp:{scenario}"
            yield Subject(scenario, ours[scenario], loop, target, "aioudp")
            target = f"subjects.with_protocol:{scenario}"
            yield Subject(scenario, "DatagramProtocol", loop, target)


SUBJECTS: Final = (*_subjects(), *_on_young_loops())

# The handful of a quick run.
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
    libraries = (
        *("uvloop", "rloop", "blazio", "talyn"),
        *("asyncio-dgram", "asyncudp", "anyio", "trio", "aiofastnet"),
    )
    for name in libraries:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
