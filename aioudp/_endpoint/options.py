"""The options of every opening call: names, defaults, checks.

:class:`Options` has the options that callers pass, for type checkers and documentation.
:class:`Settings` has all of them, with defaults, checked. No socket.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, TypedDict, get_args

from .._system.path_mtu import can_forbid_fragments
from .._types import Overflow, Timestamps, TransportKind

_FAMILIES = (0, socket.AF_INET, socket.AF_INET6)
_SWITCHES = (
    "reuse_port",
    "broadcast",
    "icmp_errors",
    "dont_fragment",
    "offload",
    "packet_info",
)


class Options(TypedDict, total=False):
    """Keyword options of the opening calls, such as :func:`aioudp.bind`,
    :func:`aioudp.connect` and :func:`aioudp.open_multicast`.
    """

    family: int
    """``socket.AF_INET`` or ``socket.AF_INET6`` to use only that family; 0, the
    default, depends on the address. With ``AF_INET6``, an endpoint never serves
    IPv4."""

    reuse_port: bool
    """Let several sockets of the same user bind the port; the kernel distributes the
    senders over them (SO_REUSEPORT, socket(7)). The default is ``False``."""

    broadcast: bool
    """Allow sending to broadcast addresses (SO_BROADCAST). The default is ``False``."""

    queue_size: int
    """The maximum number of received datagrams to queue. The default is 1024."""

    overflow: Overflow
    """What to do when the queue is full. With ``"pause"``, the default, reading pauses;
    the kernel's buffer fills up, and then the kernel drops the newest datagrams and
    counts them in ``stats().dropped_kernel``. With ``"drop-oldest"`` and
    ``"drop-newest"``, reading continues, and drops count in
    ``stats().dropped_queue``."""

    icmp_errors: bool
    """Keep ICMP errors about datagrams that couldn't be delivered (IP_RECVERR, ip(7)).
    :meth:`Endpoint.recv_error` returns them; ``recv`` doesn't raise them. Linux only;
    not with ``transport="loop"``, not for UNIX sockets. The default is ``False``."""

    dont_fragment: bool
    """Forbid fragmentation. A datagram that exceeds the path MTU, as far as it's known,
    is refused with EMSGSIZE (IP_MTU_DISCOVER, ip(7)). Not for UNIX sockets. The
    default is ``False``."""

    receive_buffer: int
    """The size in bytes to request for the kernel's receive buffer (SO_RCVBUF).
    The default is up to 4 MiB, as granted."""

    send_buffer: int
    """The size in bytes to request for the kernel's send buffer (SO_SNDBUF). The
    default is up to 4 MiB, as granted."""

    offload: bool
    """Use the kernel's segmentation and receive offload (UDP_SEGMENT, UDP_GRO) if
    available. The default is ``True``."""

    packet_info: bool
    """Get the destination, interface, traffic class, hop limit and timestamp of each
    datagram; :meth:`Endpoint.recv_message` and its variants return them. The default
    is ``False``."""

    timestamps: Timestamps
    """Whose clock provides the timestamps that ``packet_info`` gets. With
    ``"software"``, the default, it's the kernel's; with ``"hardware"``, the network
    device's. Hardware timestamping must be enabled on the device (SIOCSHWTSTAMP,
    ``hwstamp_ctl``); if the device provides no timestamp, it's ``None``."""

    max_datagram_size: int
    """The size in bytes of the longest datagram to keep whole. Only the beginning of a
    longer one is kept: :meth:`Endpoint.recv_message` returns it with ``truncated`` set;
    calls that return plain datagrams raise :class:`aioudp.TruncatedError`. There's no
    limit by default."""

    transport: TransportKind
    """Which transport to use. ``"selector"`` reads our own socket, watched by the event
    loop; ``"loop"`` uses the event loop's own datagram transport; ``"auto"``, the
    default, is ``"selector"`` if the loop can watch sockets, else ``"loop"``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All options, checked. Created by :func:`check`."""

    family: int = 0
    reuse_port: bool = False
    broadcast: bool = False
    queue_size: int = 1024
    overflow: Overflow = "pause"
    icmp_errors: bool = False
    dont_fragment: bool = False
    receive_buffer: int | None = None
    send_buffer: int | None = None
    offload: bool = True
    packet_info: bool = False
    timestamps: Timestamps | None = None
    max_datagram_size: int | None = None
    transport: TransportKind = "auto"

    def __post_init__(self) -> None:
        _check_count("queue_size", self.queue_size)
        for name in ("receive_buffer", "send_buffer", "max_datagram_size"):
            if (size := getattr(self, name)) is not None:
                _check_count(name, size)
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be a bool, got {getattr(self, name)!r}")
        _check_choice("family", self.family, _FAMILIES)
        _check_choice("overflow", self.overflow, get_args(Overflow))
        _check_choice("transport", self.transport, get_args(TransportKind))
        _check_choice("timestamps", self.timestamps, (None, *get_args(Timestamps)))
        if self.timestamps is not None and not self.packet_info:
            raise ValueError("timestamps needs packet_info=True")
        if self.reuse_port and not hasattr(socket, "SO_REUSEPORT"):
            raise ValueError("reuse_port is not supported on this system")
        if self.icmp_errors and sys.platform != "linux":
            raise ValueError("icmp_errors is not supported on this system")
        if self.icmp_errors and self.transport == "loop":
            raise ValueError("icmp_errors needs the selector transport")
        if self.dont_fragment and not can_forbid_fragments():
            raise ValueError("dont_fragment is not supported on this system")


# What other libraries call an option, or have and we don't.
_ELSEWHERE: Final = {
    "allow_broadcast": "did you mean 'broadcast'?",
    "reuse_addr": "it would let other programs take the port; see 'reuse_port'",
    "reuse_address": "it would let other programs take the port; see 'reuse_port'",
}
_SIMILAR: Final = 0.75  # of difflib; below it, suggestions mislead more than they help


def check_names(
    options: Mapping[str, object], call: Callable[..., object] | None = None
) -> None:
    """Check that all *options* exist. *call* has them, besides arguments of its own.

    Raises:
        TypeError: If one doesn't exist. The message suggests a similar name.
    """
    known = [field.name for field in fields(Settings)]
    for name in options:
        if name in known:
            continue
        from difflib import get_close_matches  # rarely needed, and slow to import

        own = [*known, *(getattr(call, "__kwdefaults__", None) or ())]
        similar = get_close_matches(name, own, n=1, cutoff=_SIMILAR)
        advice = _ELSEWHERE.get(name) or (
            f"did you mean {similar[0]!r}?" if similar else "see aioudp.Options"
        )
        raise TypeError(f"there is no option {name!r}; {advice}")


def check(options: Options, call: Callable[..., Any] | None = None) -> Settings:
    """Return the given options of *call* with defaults for the others.

    Raises:
        TypeError: If an option is unknown or has the wrong type.
        ValueError: If a value is out of range or not supported on this system.
    """
    check_names(options, call)
    return Settings(**options)


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, got {value!r}")
    if not 1 <= value < 2**31:
        raise ValueError(f"{name} must be from 1 to 2**31 - 1, got {value}")


def _check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        listed = ", ".join(map(repr, choices))
        raise ValueError(f"{name} must be one of {listed}; got {value!r}")
