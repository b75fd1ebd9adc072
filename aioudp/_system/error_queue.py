"""The error queue of a Linux socket: ICMP errors, with the datagrams they're about.

With IP_RECVERR and IPV6_RECVERR, the kernel keeps a socket's ICMP errors in a separate
queue: the error, the host that reported it, our datagram's destination, and as much of
its payload as was returned (ip(7), ipv6(7), recvmsg(2)). While the queue holds an
error, the socket is ready with EPOLLERR, so the queue must be emptied.

:func:`parse` is a pure function on the result of recvmsg. :class:`ErrorQueue` borrows a
socket and empties its queue; it never waits. No event loop.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Any, Final

from .._types import NetworkError
from . import addresses, sockets
from .addresses import SocketAddress

MSG_CTRUNC: Final = 0x8  # include/linux/socket.h; named here for every system

MAX_READS: Final = 64
"""Maximum errors per :meth:`ErrorQueue.read`, so that the event loop keeps running."""

# include/uapi/linux/errqueue.h: struct sock_extended_err. It's followed by the
# offender's address, with the same alignment. ee_errno is an int for everybody else.
_EXTENDED_ERROR: Final = struct.Struct("=iBBBxII")
_ORIGIN_ICMP: Final = 2  # SO_EE_ORIGIN_ICMP
_ORIGIN_ICMP6: Final = 3  # SO_EE_ORIGIN_ICMP6

# SOL_IP and SOL_IPV6 are the protocol numbers.
_LEVELS: Final = {
    (int(socket.IPPROTO_IP), sockets.IP_RECVERR),
    (int(socket.IPPROTO_IPV6), sockets.IPV6_RECVERR),
}

# "Fragmentation needed" (RFC 1191) and "packet too big" (RFC 4443), as origin, type and
# code. Their info field is the MTU of the next hop; routers older than RFC 1191 send 0.
_TOO_BIG: Final = {(_ORIGIN_ICMP, 3, 4), (_ORIGIN_ICMP6, 2, 0)}

# include/uapi/linux/in.h and in6.h: struct sockaddr_in and sockaddr_in6. The family
# numbers are those of Linux, on every system.
_AF_INET: Final = 2
_AF_INET6: Final = 10
_FAMILY: Final = struct.Struct("=H")
_SOCKADDR_IN: Final = struct.Struct("=HH4s")
_SOCKADDR_IN6: Final = struct.Struct("=HHI16sI")

# Room for the error (44 bytes) and for other control messages enabled on the socket.
_CONTROL_SPACE: Final = 512
_READING: Final = sockets.MAX_READ, _CONTROL_SPACE, sockets.MSG_ERRQUEUE


def parse(
    data: bytes,
    control: Sequence[tuple[int, int, bytes]],
    flags: int,
    addr: SocketAddress,
) -> NetworkError | None:
    """Parse an entry that recvmsg(2) read from an error queue.

    Returns:
        The error; ``None`` for entries that didn't come from the network: the kernel's
        own refusals, which the send has raised, and timestamps.

    Raises:
        ValueError: If the control data contains no error, or was truncated.
    """
    for level, kind, value in control:
        if (level, kind) in _LEVELS and len(value) >= _EXTENDED_ERROR.size:
            break
    else:
        truncated = flags & MSG_CTRUNC
        reason = "truncated control data" if truncated else "it contains no error"
        raise ValueError(f"invalid entry in the error queue: {reason}")
    number, origin, icmp_type, icmp_code, info, _ = _EXTENDED_ERROR.unpack_from(value)
    if origin not in (_ORIGIN_ICMP, _ORIGIN_ICMP6):
        return None
    too_big = (origin, icmp_type, icmp_code) in _TOO_BIG
    return NetworkError(
        addr=addresses.public_address(addr),
        error=OSError(number, os.strerror(number)),
        offender=_offender(value[_EXTENDED_ERROR.size :]),
        mtu=info if too_big and info else None,
        icmp_type=icmp_type,
        icmp_code=icmp_code,
        data=data,
    )


def _offender(name: bytes) -> str | None:
    """Return the host of a socket address, or ``None``."""
    family = _FAMILY.unpack_from(name)[0] if len(name) >= _FAMILY.size else 0
    if family == _AF_INET and len(name) >= _SOCKADDR_IN.size:
        return socket.inet_ntop(socket.AF_INET, _SOCKADDR_IN.unpack_from(name)[2])
    if family == _AF_INET6 and len(name) >= _SOCKADDR_IN6.size:
        *_, packed, scope_id = _SOCKADDR_IN6.unpack_from(name)
        host = socket.inet_ntop(socket.AF_INET6, packed)
        public = addresses.public_address((host, 0, 0, scope_id))
        return f"{public[0]}%{scope_id}" if scope_id else str(public[0])
    return None


def enable(sock: socket.socket) -> None:
    """Enable the error queue of *sock*, for each IP version that it serves.

    With this option, a send also raises ENOBUFS if a full device queue dropped the
    datagram (ip_send_skb() in net/ipv4/ip_output.c).
    """
    sock.setsockopt(socket.IPPROTO_IP, sockets.IP_RECVERR, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, sockets.IPV6_RECVERR, 1)


def discard(sock: socket.socket) -> int:
    """Throw the error queue of *sock* away, at most :data:`MAX_READS` entries.

    For a socket whose queue nobody reads, whoever filled it: ICMP after IP_RECVERR,
    timestamps of what was sent (SO_TIMESTAMPING), notices of zero-copy sends
    (MSG_ZEROCOPY).

    Returns:
        How many entries there were.
    """
    recvmsg: Any = getattr(sock, "recvmsg", None)
    if sys.platform != "linux" or recvmsg is None:
        return 0
    for count in range(MAX_READS):
        try:
            recvmsg(0, 0, sockets.MSG_ERRQUEUE)
        except OSError:  # it is empty, or can't be read
            return count
    return MAX_READS


def pending_error(sock: socket.socket) -> OSError | None:
    """Return the error that the next call on *sock* would meet, and forget it."""
    number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return OSError(number, os.strerror(number)) if number else None


class ErrorQueue:
    """Reads one socket's error queue. The socket is borrowed."""

    __slots__ = ("_recvmsg", "_sock", "unreadable")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._recvmsg: Any = getattr(sock, "recvmsg")  # noqa: B009 - not on Windows
        self.unreadable = 0
        """Entries that were dropped because they were invalid."""

    def read(self) -> list[NetworkError]:
        """Return the queued errors, oldest first, at most :data:`MAX_READS`.

        Also clears the socket's own pending error: it's one of these errors, and would
        keep the socket ready.

        Raises:
            OSError: If reading fails.
        """
        errors: list[NetworkError] = []
        try:
            for _ in range(MAX_READS):
                entry = self._recvmsg(*_READING)
                try:
                    error = parse(*entry)
                except ValueError:
                    self.unreadable += 1
                else:
                    if error is not None:
                        errors.append(error)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            if not errors:
                raise
        self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return errors
