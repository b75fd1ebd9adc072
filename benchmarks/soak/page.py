"""Pure: the figures of a run, as a page of the documentation includes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..formatting import markdown, quantity
from ..publish import REPOSITORY
from .kinds import DONE, FAULTS
from .recording import Recorded
from .verdict import MIB, Growth, Verdict

RESULT_FILE: Final = Path("benchmarks/results/soak.json")
PAGE: Final = Path("docs/explanation/_soak.md")
PLOT: Final = Path("docs/explanation/figures/soak.svg")

_NAMES: Final[Mapping[str, str]] = {
    "rss": "resident memory",
    "descriptors": "descriptors",
    "tasks": "tasks",
    "threads": "threads",
    "objects_aioudp": "objects of aioudp",
    "objects_asyncio": "objects of asyncio",
    "objects_uvloop": "objects of uvloop",
    "objects_socket": "sockets and addresses",
    "objects": "all objects",
}

_LABELS: Final[Mapping[str, str]] = {
    "unix": "bind and connect, UNIX sockets",
    "closed loop": "event loops made and closed",
    "tos": "sent by send(tos=)",
    "send": "sent by send",
    "segments": "sent by send(segment_size=)",
    "send_many": "sent by send_many, an iterator",
    "send_many_list": "sent by send_many, a list",
    "relayed": "sent by send_many, a batch",
    "sendto": "sent by transport.sendto",
    "sent on all interfaces": "sent on all interfaces, whatever they are",
    "recv": "received by recv",
    "recv_many": "received by recv_many()",
    "recv_many_max": "received by recv_many(n)",
    "recv_batch": "received by recv_batch",
    "recv_batch_into": "received by recv_batch(into=)",
    "recv_nowait": "received by recv_nowait",
    "async_for": "received by async for",
    "recv_message": "received by recv_message",
    "recv_messages": "received by recv_messages",
    "messages": "received by messages",
    "groups": "received in groups",
    "broadcasts": "received as broadcasts",
    "request": "requests answered",
    "request of a standing client": "requests answered, by a client that stays open",
    "drain": "endpoints ended by drain",
    "close": "endpoints ended by close",
    "aclose": "endpoints ended by aclose",
    "used again": "endpoints used again that stay open",
    "icmp error": "an ICMP error",
    "queue overflow": "a datagram dropped because the queue is full",
    "kernel buffer full": "a datagram dropped because the kernel's buffer is full",
    "send buffer full": "a peer that doesn't read: sends wait",
    "truncated": "a datagram that is too long",
    "no more descriptors": "no more descriptors (EMFILE)",
    "cancelled receiver": "a task cancelled that may be receiving",
    "cancelled sender": "a task cancelled that waits to send",
    "cancelled opening": "a task cancelled that opens or closes",
    "cancelled request": "a request cancelled",
    "cancelled search": "a search cancelled",
    "closed with a full queue": "a datagram in the queue when it's closed",
    "closed with a full kernel buffer": "a datagram in the kernel when it's closed",
    "a loop closed with endpoints open": "an endpoint open when its loop is closed",
    "forgotten open": "an endpoint collected while it's open",
}


def in_docs(recorded: Recorded, verdicts: Mapping[str, Verdict]) -> str:
    """Return the figures: what grew, the plot, what happened, the conditions."""
    return (
        "\n\n".join(
            (
                "<!-- Made by: python -m benchmarks publish-soak -->",
                _sums(recorded),
                grown(verdicts),
                f"![Memory, descriptors, objects, datagrams/s](figures/{PLOT.name})",
                _happened(recorded, "done", DONE, "operations"),
                _happened(recorded, "faults", FAULTS, "faults"),
                _conditions(recorded),
            )
        )
        + "\n"
    )


def grown(verdicts: Mapping[str, Verdict]) -> str:
    """Return a table of what was judged."""
    header = ["after the warm-up", "first tenth", "last tenth", "trend", "allowed"]
    lines = [
        [f"{_NAMES[one.name]}, {loop}", *_cells(one)]
        for loop, verdict in verdicts.items()
        for one in verdict.growths
    ]
    return markdown(header, lines)


def _cells(one: Growth) -> list[str]:
    if one.limit >= MIB:
        return [
            *(f"{value / MIB:.2f} MiB" for value in (one.begin, one.end)),
            *(f"{value / MIB:+.2f} MiB" for value in (one.trend, one.limit)),
        ]
    begin, end = (f"{value:,.0f}" for value in (one.begin, one.end))
    return [begin, end, f"{one.trend:+.0f}", f"{one.limit:+.0f}"]


def _sums(recorded: Recorded) -> str:
    header = ["datagrams", *recorded.samples]
    last = [samples[-1] for samples in recorded.samples.values()]
    names = {
        "sent": "sent to sockets of the process",
        "received": "received",
        "dropped": "dropped and counted",
        "left": "left in the kernel by a close, and read afterwards",
        "unaccounted": "**unaccounted**",
    }
    lines = [[name, *(f"{one[key]:,}" for one in last)] for key, name in names.items()]
    return markdown(header, lines)


def _happened(recorded: Recorded, group: str, kinds: tuple[str, ...], what: str) -> str:
    last = [samples[-1][group] for samples in recorded.samples.values()]
    header = [what, *recorded.samples]
    lines = [
        [_LABELS.get(kind, kind), *(quantity(one[kind]) for one in last)]
        for kind in kinds
    ]
    return markdown(header, lines)


def _conditions(recorded: Recorded) -> str:
    machine, conditions = recorded.machine, recorded.conditions
    cpu = [
        samples[-1]["cpu"] / samples[-1]["seconds"]
        for samples in recorded.samples.values()
    ]
    used = ", ".join(
        f"{share:.0%} ({loop})"
        for loop, share in zip(recorded.samples, cpu, strict=True)
    )
    network = "with" if conditions["network"] else "without"
    return (
        f"{conditions['seconds']:,.0f} seconds with a process for each event loop, "
        f"side by side, {network} a network of their own, on a shared machine: "
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']} "
        f"{machine['kernel']}, {machine['python']}, uvloop "
        f"{recorded.versions.get('uvloop', '-')}. Processor time used: {used} of one "
        f"core. Seed {conditions['seed']}, commit {recorded.commit}, {recorded.date}. "
        f"All samples: [{RESULT_FILE.name}]({REPOSITORY}/{RESULT_FILE.as_posix()})."
    )
