"""The vocabulary of the library: what a datagram, an address and a count are.

No behaviour, no socket, no event loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | str | bytes
"""An address in asyncio's form.

``(host, port)`` for IPv4, ``(host, port, flowinfo, scope_id)`` for IPv6, and for
UNIX datagram sockets a path (``str``), an abstract name (``bytes`` that begin with
a zero byte), or ``""`` for a peer that has no name.
"""

Payload: TypeAlias = bytes | bytearray | memoryview
"""What can be sent: any of these, of any item size, sent as its bytes."""

Overflow: TypeAlias = Literal["pause", "drop-oldest", "drop-newest"]
"""What a full receive queue does; see the ``overflow`` option."""

TransportKind: TypeAlias = Literal["auto", "selector", "loop"]
"""Which transport carries an endpoint; see the ``transport`` option."""


Timestamps: TypeAlias = Literal["software", "hardware"]
"""Whose clock says when a datagram arrived; see the ``timestamps`` option."""


class Datagram(NamedTuple):
    """One datagram as it was received. It unpacks as ``data, addr``."""

    data: bytes
    """The payload. ``b""`` is an empty datagram, which is legal (RFC 768)."""

    addr: Address
    """Who sent it."""


class Message(NamedTuple):
    """One datagram, and what the kernel knows about it.

    Read it by name: later versions may add fields, at the end. What the system does
    not tell is ``None``; ``docs/reference/platforms.md`` has the table. Of the
    datagrams of a coalesced train (GRO) the kernel tells everything but the payload
    once, so they have it in common.
    """

    data: bytes
    """The payload; of a truncated datagram its beginning."""

    addr: Address
    """Who sent it."""

    local_addr: Address | None = None
    """The address it was sent to, of this machine, of a group, or a broadcast address,
    with the endpoint's port."""

    interface: int | None = None
    """The index of the interface that it came by."""

    tos: int | None = None
    """The IPv4 type of service or the IPv6 traffic class, with DSCP in the upper six
    bits and ECN in the lower two (RFC 2474, RFC 3168)."""

    hop_limit: int | None = None
    """What was left of its IPv4 time to live or IPv6 hop limit."""

    timestamp: float | None = None
    """When it arrived, in seconds since the epoch. This is ``timestamp_ns``, rounded to
    what a float holds, about 0.2 microseconds."""

    truncated: bool = False
    """Whether it was longer than the option ``max_datagram_size`` allows."""

    timestamp_ns: int | None = None
    """When it arrived, in nanoseconds since the epoch, by the kernel's clock or, with
    ``timestamps="hardware"``, by that of the network device."""

    full_length: int | None = None
    """The length in bytes that a truncated datagram had; else ``None``."""

    unicast: bool | None = None
    """Whether it was sent to ``local_addr`` alone, and not to a group or by
    broadcast. ``None`` also for an IPv4 datagram that arrived before the kernel was
    told to keep this: before its socket was adopted, for example."""

    @property
    def ecn(self) -> int | None:
        """The two bits of Explicit Congestion Notification of :attr:`tos`."""
        return None if self.tos is None else self.tos & 3


Received: TypeAlias = Datagram | Message
"""What is queued until somebody asks for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What happened on an endpoint since it was opened, in datagrams and bytes.

    ``received + dropped_kernel`` is what was sent to the endpoint, exactly, on
    Linux. One exception: of a coalesced train (GRO) that finds the kernel's buffer
    full, the kernel counts one drop however many datagrams the train held.
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
    """Received datagrams that the overflow policy discarded."""

    dropped_kernel: int = 0
    """Datagrams that never reached the endpoint, as far as the system tells.

    On Linux: those that found the receive buffer full (``SO_MEMINFO``, socket(7)),
    and those of third parties that were queued before :func:`aioudp.connect` had
    named the peer. Elsewhere only the latter.
    """

    truncated: int = 0
    """Datagrams that were longer than the option ``max_datagram_size`` allows, of
    which the beginning was received; and reads that were discarded because the kernel
    had cut them off."""

    send_errors: int = 0
    """Sends that the system refused."""

    receive_errors: int = 0
    """Errors that the system reported instead of a datagram (ICMP, for example); with
    the option ``icmp_errors`` also each :class:`~aioudp.NetworkError`."""

    dropped_errors: int = 0
    """Of the errors that ``icmp_errors`` asks for, those that nobody took in time, and
    those that the system reported in a form that could not be read."""

    dropped_close: int = 0
    """Received datagrams that nobody had taken when the endpoint was closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkError:
    """What the network said of a datagram that an endpoint had sent.

    A value, not an exception: it tells of a datagram that is long gone.
    """

    addr: Address
    """Where the datagram was going."""

    error: OSError
    """What the system makes of the message. Where nobody listens on the port, it is a
    :class:`ConnectionRefusedError`."""

    offender: str | None
    """The host that sent the message, the peer or a router on the way; ``None`` if
    unknown. A link-local one has its interface after a ``%``."""

    mtu: int | None
    """Bytes, IP header included, that the next hop takes in one piece, of a datagram
    that was too long for it; else ``None``."""

    icmp_type: int
    """The type of the message (RFC 792; for an IPv6 offender RFC 4443)."""

    icmp_code: int
    """The code of the message, which belongs to its type."""

    data: bytes
    """As much of the datagram's payload as came back, from its first byte on; often
    not all of it, maybe none."""
