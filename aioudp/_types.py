"""The library's data types: addresses, datagrams, messages, statistics.

No behaviour, no socket, no event loop.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Self, TypeAlias

from . import _installation

_installation.check()

Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | str | bytes
"""An address in asyncio's form.

``(host, port)`` for IPv4, ``(host, port, flowinfo, scope_id)`` for IPv6, and for
UNIX datagram sockets a path (``str``), an abstract name (``bytes`` that start with
a zero byte), or ``""`` for a peer without a name.
"""

IPAddress: TypeAlias = tuple[str, int, *tuple[Any, ...]]
"""An address that an IP endpoint reports: ``(host, port)`` for IPv4, ``(host, port,
flowinfo, scope_id)`` for IPv6.

One endpoint may report both, so no tuple of a fixed length would be true, and with a
union of the two, type checkers refuse ``host, port = addr`` even in a program that
never sees IPv6. This type states what all addresses have in common, a host and a port,
and leaves the number of further members open. Because these are ``Any``, it fits where
``tuple[str, int]`` or ``tuple[str, int, int, int]`` is declared.
"""

UnixAddress: TypeAlias = str | bytes
"""An address that a UNIX datagram socket reports: a path, an abstract name (``bytes``
that start with a zero byte), or ``""`` for a peer without a name."""

# The kind of addresses that an endpoint, or an object from one, reports. Type checkers
# know typing_extensions without the package; Python knows defaults from 3.13 on. The
# bound is for pyright, which, where a datagram is unpacked into the arguments of a call
# (send(*datagram)), takes an address for its bound, and without one for an object.
if TYPE_CHECKING:
    from typing_extensions import TypeVar

    AddressT = TypeVar("AddressT", bound=Any, default=IPAddress)
    AddressT_co = TypeVar("AddressT_co", bound=Any, covariant=True, default=IPAddress)
else:
    from typing import TypeVar

    AddressT = TypeVar("AddressT")
    AddressT_co = TypeVar("AddressT_co", covariant=True)

Payload: TypeAlias = bytes | bytearray | memoryview
"""A payload to send: any of these types, with any item size, sent as its bytes."""

Overflow: TypeAlias = Literal["pause", "drop-oldest", "drop-newest"]
"""What to do when the receive queue is full; see the ``overflow`` option."""

TransportKind: TypeAlias = Literal["auto", "selector", "loop"]
"""Which transport an endpoint uses; see the ``transport`` option."""


Timestamps: TypeAlias = Literal["software", "hardware"]
"""Whose clock provides the timestamps; see the ``timestamps`` option."""


class Datagram(NamedTuple, Generic[AddressT_co]):
    """A received datagram. It unpacks as ``data, addr``."""

    data: bytes
    """The payload. ``b""`` is an empty datagram, which is valid (RFC 768)."""

    addr: AddressT_co
    """The sender's address."""


class Message(NamedTuple, Generic[AddressT_co]):
    """A received datagram with its packet info.

    Access fields by name: later versions may add fields, at the end. Fields that the
    system doesn't provide are ``None``; ``docs/reference/platforms.md`` has the table.
    For a coalesced train (GRO), the kernel provides everything but the payload once, so
    all its datagrams have the same values.
    """

    data: bytes
    """The payload; if the datagram was truncated, its beginning."""

    addr: AddressT_co
    """The sender's address."""

    local_addr: AddressT_co | None = None
    """The destination address, which is one of this machine, a group, or a broadcast
    address, with the endpoint's port."""

    interface: int | None = None
    """The index of the interface on which it arrived."""

    tos: int | None = None
    """The IPv4 type of service or the IPv6 traffic class, with DSCP in the upper six
    bits and ECN in the lower two (RFC 2474, RFC 3168)."""

    hop_limit: int | None = None
    """The remaining IPv4 time to live or IPv6 hop limit."""

    timestamp: float | None = None
    """The time of arrival, in seconds since the epoch. This is ``timestamp_ns``,
    rounded to the precision of a float, about 0.2 microseconds."""

    truncated: bool = False
    """Whether it was longer than the option ``max_datagram_size`` allows."""

    timestamp_ns: int | None = None
    """The time of arrival, in nanoseconds since the epoch, by the kernel's clock or,
    with ``timestamps="hardware"``, by the network device's clock."""

    full_length: int | None = None
    """The original length of a truncated datagram, in bytes; otherwise ``None``."""

    unicast: bool | None = None
    """Whether it was sent to ``local_addr`` only, rather than to a group or by
    broadcast. Also ``None`` for an IPv4 datagram that arrived before the kernel was
    asked for packet info, for example before its socket was adopted."""

    @property
    def ecn(self) -> int | None:
        """The two Explicit Congestion Notification bits of :attr:`tos`."""
        return None if self.tos is None else self.tos & 3

    @property
    def to_group(self) -> bool | None:
        """Whether it was sent to a multicast group, which is then :attr:`local_addr`.

        ``None`` if :attr:`local_addr` is unknown. For a broadcast, both ``to_group``
        and :attr:`unicast` are ``False``.
        """
        local_addr: Any = self.local_addr
        if not isinstance(local_addr, tuple):
            return None
        return ip_address(local_addr[0]).is_multicast


Received: TypeAlias = Datagram[Any] | Message[Any]
"""The items of a receive queue."""


class Counts:
    """Counters that add and subtract: ``after - before`` is what happened between."""

    __slots__ = ()

    def __add__(self, other: Self) -> Self:
        if type(other) is not type(self):
            return NotImplemented
        return self._combine(other, 1)

    def __sub__(self, other: Self) -> Self:
        if type(other) is not type(self):
            return NotImplemented
        return self._combine(other, -1)

    def _combine(self, other: Self, sign: int) -> Self:
        combined = {}
        for field in fields(self):  # type: ignore[arg-type]  # a dataclass each
            mine: Any = getattr(self, field.name)
            theirs: Any = getattr(other, field.name)
            if isinstance(mine, tuple):
                pairs = zip(mine, theirs, strict=True)
                combined[field.name] = tuple(_sum(*pair, sign) for pair in pairs)
            else:
                combined[field.name] = _sum(mine, theirs, sign)
        return type(self)(**combined)


def _sum(mine: Any, theirs: Any, sign: int) -> Any:
    return mine + theirs if sign == 1 else mine - theirs


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats(Counts):
    """Counters of an endpoint since it was opened, in datagrams and bytes.

    On Linux, ``received + dropped_kernel`` is the number of datagrams sent to the
    endpoint if :attr:`dropped_kernel_exact` is true, as it always is with
    ``offload=False``. Otherwise that number lies between this sum and ``received +
    dropped_kernel_max``.
    """

    received: int = 0
    """Datagrams taken from the kernel."""

    received_bytes: int = 0
    """Payload bytes of those datagrams."""

    sent: int = 0
    """Datagrams that the kernel accepted."""

    sent_bytes: int = 0
    """Payload bytes of those datagrams."""

    dropped_queue: int = 0
    """Received datagrams that the overflow policy dropped."""

    dropped_kernel: int = 0
    """Datagrams that never reached the endpoint, as far as the system counts them.

    On Linux: those that found the receive buffer full (``SO_MEMINFO``, socket(7)),
    and those from third parties that were queued before :func:`aioudp.connect` had
    set the peer. Elsewhere, only the latter. With GRO, the default, each of these drops
    may have been a train of up to 128 datagrams, because the kernel counts it as one.
    """

    dropped_kernel_max: int = 0
    """The largest number of datagrams that ``dropped_kernel`` can stand for."""

    truncated: int = 0
    """Datagrams that were longer than the option ``max_datagram_size`` allows, whose
    beginning was received; and reads that were discarded because the kernel had
    truncated them."""

    send_errors: int = 0
    """Sends that the system refused."""

    receive_errors: int = 0
    """Errors that the system reported instead of a datagram (ICMP, for example); with
    the option ``icmp_errors`` also each :class:`~aioudp.NetworkError`."""

    dropped_errors: int = 0
    """ICMP errors (with ``icmp_errors``) that weren't received in time, and those that
    the system reported in an invalid form. Without the option: entries of the socket's
    error queue, which stays empty unless someone sets an option that fills it."""

    dropped_close: int = 0
    """Received datagrams that nobody had taken when the endpoint was closed, or that a
    server had taken, but not handled."""

    @property
    def dropped_kernel_exact(self) -> bool:
        """Whether ``dropped_kernel`` is the exact number of datagrams."""
        return self.dropped_kernel == self.dropped_kernel_max


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkError(Generic[AddressT_co]):
    """An ICMP error about a datagram that the endpoint sent.

    This is a value, not an exception: the datagram it's about was sent by an earlier
    call.
    """

    addr: AddressT_co
    """The datagram's destination."""

    error: OSError
    """The corresponding system error. If nobody listens on the port, it's a
    :class:`ConnectionRefusedError`."""

    offender: str | None
    """The host that reported the error, which is the peer or a router on the path;
    ``None`` if unknown. A link-local address is followed by ``%`` and its interface."""

    mtu: int | None
    """The MTU of the next hop in bytes, including the IP header, if the datagram was
    too long for it; otherwise ``None``."""

    icmp_type: int
    """The ICMP type (RFC 792; for an IPv6 offender, RFC 4443)."""

    icmp_code: int
    """The ICMP code; its meaning depends on the type."""

    data: bytes
    """The beginning of the datagram's payload, as far as it was returned; often
    incomplete, and possibly empty."""
