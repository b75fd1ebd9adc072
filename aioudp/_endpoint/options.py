"""The options of every opening call: their names, their defaults, their checks.

:class:`Options` is what a caller may write and what type checkers read;
:class:`Settings` is the same, complete and checked. Makes no socket. Imports
``_types`` and ``path_mtu``.
"""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass, fields
from typing import TypedDict, get_args

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
    """Keyword options of :func:`aioudp.bind`, :func:`aioudp.connect` and
    :func:`aioudp.adopt`.
    """

    family: int
    """``socket.AF_INET`` or ``socket.AF_INET6`` to use only that; 0, the default, for
    what the address asks for. With ``AF_INET6`` an endpoint never serves IPv4."""

    reuse_port: bool
    """Let several sockets of the same user bind the port, and the kernel spread the
    senders over them (SO_REUSEPORT, socket(7)). Default ``False``."""

    broadcast: bool
    """Allow sending to broadcast addresses (SO_BROADCAST). Default ``False``."""

    queue_size: int
    """Received datagrams to keep until they are asked for. Default 1024."""

    overflow: Overflow
    """What happens when so many are waiting. With ``"pause"``, the default, reading
    stops, the kernel's buffer fills up, and then the kernel drops the newest and counts
    them in ``stats().dropped_kernel``. With ``"drop-oldest"`` and ``"drop-newest"``
    reading goes on and the excess is counted in ``stats().dropped_queue``."""

    icmp_errors: bool
    """Keep what ICMP says of datagrams that could not be delivered (IP_RECVERR, ip(7)).
    :meth:`Endpoint.recv_error` tells of it, and ``recv`` does not. Linux; not with
    ``transport="loop"``, not for UNIX sockets. Default ``False``."""

    dont_fragment: bool
    """Let no datagram be cut into fragments. One that is too long for its way, as far
    as that is known, is refused with EMSGSIZE (IP_MTU_DISCOVER, ip(7)). Not for UNIX
    sockets. Default ``False``."""

    receive_buffer: int
    """Bytes to ask of the kernel for what has arrived (SO_RCVBUF). Default up to
    4 MiB, whatever is granted."""

    send_buffer: int
    """Bytes to ask of the kernel for what is to leave (SO_SNDBUF). Default up to
    4 MiB, whatever is granted."""

    offload: bool
    """Use the kernel's segmentation and coalescing (UDP_SEGMENT, UDP_GRO) where there
    are any. Default: ``True``."""

    packet_info: bool
    """Have the kernel tell where, how and when each datagram came; then
    :meth:`Endpoint.recv_message` and its like return it. Default ``False``."""

    timestamps: Timestamps
    """With ``packet_info``, whose clock says when a datagram arrived: the kernel's with
    ``"software"``, the default, or the network device's with ``"hardware"``. A device
    has to be told first (SIOCSHWTSTAMP, ``hwstamp_ctl``); where it gives none, the
    timestamp is ``None``."""

    max_datagram_size: int
    """Bytes of the longest datagram to keep whole. Of a longer one, the beginning is
    kept: :meth:`Endpoint.recv_message` returns that, marked, and what returns plain
    datagrams raises :class:`aioudp.TruncatedError`. Default: no limit."""

    transport: TransportKind
    """Who reads the socket. With ``"selector"`` it is our own, watched by the event
    loop; with ``"loop"`` the event loop's own datagram transport has it; ``"auto"``,
    the default, is the former where the loop can watch sockets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All options, checked. Made by :func:`check`."""

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


def check(options: Options) -> Settings:
    """Return all options, the given ones and the defaults.

    Raises:
        TypeError: If an option is unknown or of a wrong type.
        ValueError: If a value is out of range or not to be had on this system.
    """
    known = {field.name for field in fields(Settings)}
    for name in options:
        if name not in known:
            raise TypeError(f"there is no option {name!r}; see aioudp.Options")
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
