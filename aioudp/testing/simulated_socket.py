"""A datagram socket in memory, with the interface of :class:`socket.socket`.

Everything above it runs as in production: opening, batch I/O, transport, endpoint.
Below it is a host of the simulated network.

It never blocks: a call that would block raises BlockingIOError, whatever the timeout.

The file is long because the interface of a socket is: 60 methods, most of them short.
The options are in ``socket_options``, the rules of a host in ``kernel``.
"""

from __future__ import annotations

import errno
import itertools
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from .._system import control_data, sockets
from .._system.sockets import MSG_ERRQUEUE
from . import socket_options as so
from .flight import EPOCH_NS, Flight, HopAddress
from .path import Path
from .readiness import Watcher
from .socket_options import OVERHEAD, SocketOptions, refusal

MAX_IPV4: Final = 65507  # bytes of payload: 65535 - 20 - 8 (RFC 791, RFC 768)
MAX_IPV6: Final = 65527  # 65535 - 8 (RFC 8200, RFC 768)

FIRST_DESCRIPTOR: Final = 1 << 24
"""Higher than any real descriptor, so that the two are never confused."""

MAX_GROUPS: Final = 20  # net.ipv4.igmp_max_memberships

_descriptors: Final = itertools.count(FIRST_DESCRIPTOR)

_AF_INET: Final = int(socket.AF_INET)
_MAPPED: Final = "::ffff:"
_TIMESPEC: Final = struct.Struct("@ll")
_INT: Final = struct.Struct("=i")
# struct sock_extended_err and a sockaddr, as error_queue reads them.
_EXTENDED_ERROR: Final = struct.Struct("=IBBBxII")
_SOCKADDR_IN: Final = struct.Struct("=HH4s8x")
_SOCKADDR_IN6: Final = struct.Struct("=HHI16sI")
_MSG_PEEK: Final = int(socket.MSG_PEEK)
_MSG_TRUNC: Final = int(getattr(socket, "MSG_TRUNC", 0x20))
_MSG_CTRUNC: Final = int(getattr(socket, "MSG_CTRUNC", 0x8))


Arrived: TypeAlias = tuple[bytes, Any, Flight, int, str]
"""In the receive buffer: payload, sender, record, interface, and address here."""


class IcmpError(NamedTuple):
    """An ICMP error about a datagram."""

    number: int
    icmp_type: int
    icmp_code: int
    offender: str
    mtu: int = 0


class Kernel(Protocol):
    """What a socket needs from its host."""

    def bind_socket(self, sock: SimulatedSocket, ip: str, port: int) -> int: ...
    def release(self, sock: SimulatedSocket) -> None: ...
    def path(self, sock: SimulatedSocket, addr: Any, control: Any) -> Path: ...
    def local_ip(self, sock: SimulatedSocket, ip: str) -> str: ...
    def mtu(self, sock: SimulatedSocket, ip: str) -> int: ...
    def joinable(self, where: int | str) -> int: ...
    def is_current(self, path: Path) -> bool: ...
    def soon(self, ready: Callable[[], None]) -> None: ...


class SimulatedSocket(socket.socket):
    """A UDP socket on a host of a simulated network."""

    __slots__ = (
        "_buffered",
        "_error",
        "_error_queue",
        "_facts",
        "_family",
        "_host",
        "_number",
        "_paths",
        "_queue",
        "_room",
        "bound_ip",
        "carrier",
        "dropped",
        "dual_stack",
        "machine",
        "memberships",
        "options",
        "peer",
        "port",
        "proto_number",
        "watcher",
    )

    def __init__(self, host: Any, family: int, proto: int = 0) -> None:
        # Not super().__init__(), which would make a real socket.
        self._closed = False
        self._host: Kernel = host
        self.machine: Any = host
        self._family = int(family)
        self.proto_number: int = int(proto)
        self._number = next(_descriptors)
        self.options: SocketOptions = SocketOptions(self._family)
        self.bound_ip: str = ""
        """The address it is bound to, as text; ``""`` if it is not bound."""
        self.port: int = 0
        self.peer: HopAddress | None = None
        self.dual_stack: bool = False
        """Whether an IPv6 socket also serves IPv4."""
        self.memberships: dict[tuple[str, int], set[str] | None] = {}
        """Groups and interfaces, with the allowed sources; ``None`` allows all."""
        self.dropped: int = 0
        self.watcher: Watcher = Watcher(self, host.soon)
        self.carrier: Any = None
        """The transport that owns it."""
        self._queue: deque[Arrived] = deque()
        self._room = self.options[so.RCVBUF]
        self._buffered = 0  # bytes that the receive buffer is charged for
        self._error: OSError | None = None
        self._error_queue: deque[tuple[bytes, Any, int, Any]] = deque()
        self._paths: dict[Any, Path] = {}
        self._facts = so.facts(self._family)

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"fd={self._number}"
        return f"<SimulatedSocket {state} local_addr={self._sockname()!r}>"

    def __del__(self) -> None:
        """Do nothing: there is no descriptor to leak."""

    # -- the attributes of socket.socket

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AddressFamily(self._family)

    @property
    def type(self) -> socket.SocketKind:
        return socket.SOCK_DGRAM

    @property
    def proto(self) -> int:
        return self.proto_number

    def fileno(self) -> int:
        return -1 if self._closed else self._number

    def setblocking(self, flag: bool, /) -> None:
        self._check_open()

    def settimeout(self, value: float | None, /) -> None:
        self._check_open()

    def gettimeout(self) -> float | None:
        return 0.0

    def getblocking(self) -> bool:
        return False

    def get_inheritable(self) -> bool:
        return False

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.watcher.close()
            self._host.release(self)
            self._queue.clear()
            self._error_queue.clear()
            self._paths.clear()

    def crash(self) -> None:
        """Close the socket as if the host had crashed."""
        carrier, self.carrier = self.carrier, None
        if carrier is None:
            self.close()
        else:
            carrier.abort()

    def dup(self) -> SimulatedSocket:
        """Return this socket: there is no descriptor to duplicate."""
        return self

    def detach(self) -> int:
        raise refusal(errno.EOPNOTSUPP, "a simulated socket has no descriptor")

    def shutdown(self, how: int, /) -> None:
        self._check_open()
        if self.peer is None:
            raise refusal(errno.ENOTCONN)

    # -- addresses

    def bind(self, address: Any, /) -> None:
        self._check_open()
        if self.bound_ip:
            raise refusal(errno.EINVAL)
        ip, port = self._plain(address, bind=True)
        if self._family == socket.AF_INET6:
            mapped = ":" not in ip
            wild = ip == "::"
            self.dual_stack = (wild or mapped) and not self.options[so.V6ONLY]
            if mapped and not self.dual_stack:
                raise refusal(errno.EADDRNOTAVAIL)
        self.port = self._host.bind_socket(self, ip, port)
        self.bound_ip = ip

    def connect(self, address: Any, /) -> None:
        self._check_open()
        ip, port = self._plain(address)
        if not port:
            raise refusal(errno.EINVAL)
        ip = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(ip, ip)
        self._bind_if_needed()
        self._host.path(self, self._socket_form(ip, port), ())  # or it raises
        local = self._host.local_ip(self, ip)
        self.bound_ip = local
        self.peer = ip, port
        self._paths.clear()

    def getsockname(self) -> Any:
        self._check_open()
        return self._sockname()

    def getpeername(self) -> Any:
        self._check_open()
        if self.peer is None:
            raise refusal(errno.ENOTCONN)
        return self._socket_form(*self.peer)

    def _sockname(self) -> Any:
        unbound = "0.0.0.0" if self._family == socket.AF_INET else "::"
        return self._socket_form(self.bound_ip or unbound, self.port)

    def _socket_form(self, ip: str, port: int) -> Any:
        """Return an address in this socket's form."""
        if self._family == socket.AF_INET:
            return ip, port
        if ":" not in ip:
            return _MAPPED + ip, port, 0, 0
        host, _, scope = ip.partition("%")
        return host, port, 0, int(scope or 0)

    def _plain(self, address: Any, *, bind: bool = False) -> HopAddress:
        """Return host and port of an address in this socket's form."""
        if not isinstance(address, tuple) or len(address) < 2:
            raise TypeError(f"an address is a tuple, not {address!r}")
        host, port = address[0], address[1]
        if not 0 <= port <= 0xFFFF:
            raise OverflowError("port must be 0-65535.")
        if not host:
            host = "0.0.0.0" if self._family == socket.AF_INET else "::"
        elif host == "<broadcast>":
            host = "255.255.255.255"
        try:
            packed = socket.inet_pton(self._family, host.partition("%")[0])
        except OSError:
            raise socket.gaierror(
                socket.EAI_FAMILY, "Address family for hostname not supported"
            ) from None
        if self._family == socket.AF_INET:
            return host, port
        if packed.startswith(bytes(10) + b"\xff\xff"):
            if self.options[so.V6ONLY]:
                raise refusal(errno.EINVAL if bind else errno.ENETUNREACH)
            return socket.inet_ntop(socket.AF_INET, packed[12:]), port
        ip = socket.inet_ntop(socket.AF_INET6, packed)
        if ip.startswith("fe80:"):
            scope = address[3] if len(address) > 3 else 0
            if not scope and bind:
                raise refusal(errno.EINVAL)
            ip = f"{ip}%{scope}"
        return ip, port

    def _bind_if_needed(self) -> None:
        if not self.bound_ip:
            self.bind(("", 0))

    # -- options

    def setsockopt(self, level: int, optname: int, value: Any, *rest: Any) -> None:
        self._check_open()
        key = int(level), int(optname)
        if key in so.JOINS or key in so.SOURCE_JOINS:
            self._change_membership(key, value)
        elif key in (so.ADD_MEMBERSHIP, so.DROP_MEMBERSHIP):
            index = int.from_bytes(value[8:12], "little") if len(value) >= 12 else 0
            group = socket.inet_ntoa(value[:4])
            joins = key == so.ADD_MEMBERSHIP
            local = socket.inet_ntoa(value[4:8])
            self._join_or_leave(group, index or local, None, joins=joins)
        elif key in (so.JOIN_GROUP6, so.LEAVE_GROUP6):
            group = socket.inet_ntop(socket.AF_INET6, value[:16])
            index = int.from_bytes(value[16:20], "little")
            self._join_or_leave(group, index, None, joins=key == so.JOIN_GROUP6)
        else:
            if key == so.V6ONLY and self.bound_ip:
                raise refusal(errno.EINVAL)
            if key == so.MULTICAST_IF and _names_an_address(value):
                value = self._host.joinable(socket.inet_ntoa(value))
            self.options.set(key, value)
            self._room = self.options[so.RCVBUF]
            self._paths.clear()

    def getsockopt(self, level: int, optname: int, buflen: int = 0, /) -> Any:
        self._check_open()
        key = int(level), int(optname)
        if key == so.ERROR:
            error, self._error = self._error, None
            return 0 if error is None else error.errno
        if key == so.MEMINFO:
            words = [self._buffered, self.options[so.RCVBUF], 0, 0, 0, 0, 0, 0]
            return struct.pack("=9I", *words, self.dropped)[:buflen]
        if key in (so.MTU, so.MTU6):
            if self.peer is None:
                raise refusal(errno.ENOTCONN)
            return self._host.mtu(self, self.peer[0])
        if key in self._facts:
            return self._facts[key]
        value = self.options.get(key)
        return _INT.pack(value)[:buflen] if buflen else value

    def _change_membership(self, key: tuple[int, int], value: bytes) -> None:
        index = int.from_bytes(value[:4], "little")
        storage = len(value) - 8 if key in so.JOINS else (len(value) - 8) // 2
        offset = len(value) - (storage if key in so.JOINS else 2 * storage)
        group = self._in_storage(value[offset : offset + storage])
        if key in so.JOINS:
            self._join_or_leave(group, index, None, joins=so.JOINS[key])
        else:
            source = self._in_storage(value[offset + storage :])
            joins = so.SOURCE_JOINS[key]
            self._join_or_leave(group, index, source, joins=joins)

    def _in_storage(self, storage: bytes) -> str:
        """Return the host in a sockaddr_storage."""
        if self._family == socket.AF_INET:
            return socket.inet_ntop(socket.AF_INET, storage[4:8])
        return socket.inet_ntop(socket.AF_INET6, storage[8:24])

    def _join_or_leave(
        self, group: str, index: int | str, source: str | None, *, joins: bool
    ) -> None:
        multicast = (
            group.startswith("ff")
            if ":" in group
            else 224 <= int(group.partition(".")[0]) < 240
        )
        if not multicast:
            raise refusal(errno.EINVAL)
        key = group, self._host.joinable(index)
        sources = self.memberships.get(key, set())
        if joins:
            if sources is None or (source is None and sources):
                raise refusal(errno.EADDRINUSE if source is None else errno.EINVAL)
            if source in sources:
                raise refusal(errno.EADDRNOTAVAIL)
            if key not in self.memberships and len(self.memberships) >= MAX_GROUPS:
                raise refusal(errno.ENOBUFS)
            self.memberships[key] = None if source is None else sources | {source}
        else:
            if key not in self.memberships:
                wrong = errno.EADDRNOTAVAIL if source is None else errno.EINVAL
                raise refusal(wrong)
            if source is not None:
                if sources is None or source not in sources:
                    raise refusal(errno.EADDRNOTAVAIL)
                sources.discard(source)
                if sources:
                    return
            del self.memberships[key]

    # -- sending

    def send(self, data: Any, flags: int = 0, /) -> int:
        if self.peer is None:
            raise refusal(errno.EDESTADDRREQ)
        return self.transmit(data, None, ())

    def sendto(self, data: Any, *rest: Any) -> int:
        return self.transmit(data, rest[-1], ())

    def sendmsg(
        self, buffers: Any, ancdata: Any = (), flags: int = 0, address: Any = None, /
    ) -> int:
        if address is None and self.peer is None:
            raise refusal(errno.EDESTADDRREQ)
        return self.transmit(b"".join(buffers), address, tuple(ancdata))

    def transmit(self, data: Any, addr: Any, control: Any) -> int:
        """Send one datagram to *addr*, or to the peer.

        Raises:
            OSError: As Linux would.
        """
        if self._closed:
            self._check_open()
        if type(data) is not bytes:
            view = memoryview(data)
            if not view.c_contiguous:
                raise BufferError("memoryview: underlying buffer is not C-contiguous")
            data = bytes(view)
        key = (addr, control) if control else addr
        path = self._paths.get(key)
        if path is None or not self._host.is_current(path):
            path = self._find_path(key, addr, control)
        size = len(data)
        if size > path.longest:
            raise refusal(errno.EMSGSIZE)
        if self._error is not None:
            self._raise_error()
        path.launch(path, data)
        return size

    def _find_path(self, key: Any, addr: Any, control: Any) -> Path:
        if addr is None:
            if self.peer is None:
                raise refusal(errno.EDESTADDRREQ)
            addr = self._socket_form(*self.peer)
        plain = self._plain(addr)
        if not plain[1]:
            raise refusal(errno.EINVAL)
        self._bind_if_needed()
        path = self._host.path(self, addr, control)
        if len(self._paths) >= 4096:
            self._paths.clear()
        self._paths[key] = path
        return path

    def plain_destination(self, addr: Any) -> HopAddress:
        """Return host and port of a destination; ``0.0.0.0`` is this host."""
        ip, port = self._plain(addr)
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(ip, ip), port

    # -- receiving: from the host into the buffer

    def take(self, flight: Flight, interface: int, local: str) -> bool:
        """Put a datagram into the receive buffer. Return whether there was room."""
        # Like Linux: only what is already in the buffer counts.
        if self._buffered > self._room:
            self.dropped += 1
            return False
        data = flight.data
        self._buffered += len(data) + OVERHEAD
        addr: Any = flight.source
        if self._family != _AF_INET:
            ip, port = addr
            if "fe80:" in ip:
                ip = f"{ip.partition('%')[0]}%{interface}"
            addr = self._socket_form(ip, port)
        queue = self._queue
        if not queue:
            self.watcher.look()
        queue.append((data, addr, flight, interface, local))
        return True

    def hears_icmp(self) -> bool:
        """Return whether an ICMP error could be delivered."""
        return not self._closed

    def hear(self, flight: Flight, icmp: IcmpError) -> None:
        """Receive an ICMP error about a datagram that this socket has sent."""
        v6 = ":" in flight.destination[0]
        queued = self.options[so.RECVERR6 if v6 else so.RECVERR]
        if self._closed or (self.peer is None and not queued):
            return
        self._error = refusal(icmp.number)
        if queued:
            data = flight.data
            self._error_queue.append(
                (
                    data,
                    [_extended_error(icmp, v6=v6)],
                    MSG_ERRQUEUE,
                    self._socket_form(*flight.destination),
                )
            )
        self.watcher.look()

    def readable(self) -> bool:
        return bool(self._queue)

    def writable(self) -> bool:
        return True

    def failed(self) -> bool:
        return self._error is not None or bool(self._error_queue)

    # -- receiving: from the buffer to the program

    def next_arrived(self) -> Arrived:
        """Take the oldest datagram out of the buffer.

        Raises:
            BlockingIOError: If there is none.
            OSError: The error that is pending.
        """
        if self._error is not None:
            self._raise_error()
        if not self._queue:
            self._check_open()
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        arrived = self._queue.popleft()
        self._buffered -= len(arrived[0]) + OVERHEAD
        return arrived

    def take_all(self, count: int) -> tuple[list[Arrived], int]:
        """Take up to *count* datagrams out of the buffer; return their bytes too."""
        if self._error is not None:
            self._raise_error()
        queue, before = self._queue, self._buffered
        if len(queue) <= count:
            taken = list(queue)
            queue.clear()
            self._buffered = 0
        else:
            taken = [queue.popleft() for _ in range(count)]
            charged = sum([len(one[0]) for one in taken]) + OVERHEAD * count
            self._buffered -= charged
        return taken, before - self._buffered - OVERHEAD * len(taken)

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        data, _, _, addr = self.recvmsg(bufsize, 0, flags)
        return data, addr

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        return self.recvmsg(bufsize, 0, flags)[0]

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        view = memoryview(buffer).cast("B")
        data, _, _, _ = self.recvmsg(1 << 20, 0, flags & ~_MSG_TRUNC)
        size = min(nbytes or len(view), len(data))
        view[:size] = data[:size]
        return len(data) if flags & _MSG_TRUNC else size

    def recvfrom_into(
        self, buffer: Any, nbytes: int = 0, flags: int = 0
    ) -> tuple[int, Any]:
        size, _, _, addr = self.recvmsg_into([buffer], 0, flags)
        return size, addr

    def recvmsg_into(
        self, buffers: Any, ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[int, list[tuple[int, int, bytes]], int, Any]:
        (buffer,) = buffers  # as the batch I/O asks
        view = memoryview(buffer).cast("B")
        data, control, msg_flags, addr = self.recvmsg(len(view), ancbufsize, flags)
        view[: len(data)] = data
        return len(data), control, msg_flags, addr

    def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[bytes, list[tuple[int, int, bytes]], int, Any]:
        if flags & MSG_ERRQUEUE:
            if not self._error_queue:
                self._check_open()
                raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
            return self._error_queue.popleft()
        if flags & _MSG_PEEK and self._queue and self._error is None:
            arrived = self._queue[0]
        else:
            arrived = self.next_arrived()
        msg_flags = 0
        data = arrived[0]
        if len(data) > bufsize:
            data = data[:bufsize]
            msg_flags |= _MSG_TRUNC
        control = self.control_of(arrived)
        if control and not ancbufsize:
            control, msg_flags = [], msg_flags | _MSG_CTRUNC
        return data, control, msg_flags, arrived[1]

    def control_of(self, arrived: Arrived) -> list[tuple[int, int, bytes]]:
        """Return the control messages that the options enable."""
        _, _, flight, interface, local = arrived
        options = self.options
        found = []
        v4 = ":" not in local
        if options[so.TIMESTAMPNS]:
            nanoseconds = EPOCH_NS + round((flight.arrived_at or 0.0) * 1e9)
            stamp = _TIMESPEC.pack(*divmod(nanoseconds, 1_000_000_000))
            found.append((*so.TIMESTAMPNS, stamp))
        hops = flight.hop_limit
        if v4:
            if options[so.PKTINFO]:
                destination = socket.inet_aton(flight.destination[0])
                info = control_data.IN_PKTINFO.pack(
                    interface, socket.inet_aton(local), destination
                )
                found.append((*so.PKTINFO, info))
            if options[so.RECVTTL]:
                found.append((*so.TTL, _INT.pack(hops)))
            if options[so.RECVTOS]:
                found.append((*so.TOS, bytes([flight.tos])))
        else:
            if options[so.RECVPKTINFO6]:
                host = flight.destination[0].partition("%")[0]
                packed = socket.inet_pton(socket.AF_INET6, host)
                info = control_data.IN6_PKTINFO.pack(packed, interface)
                found.append((so.IPV6, control_data.IPV6_PKTINFO, info))
            if options[so.RECVHOPS6]:
                limit = _INT.pack(hops)
                found.append((so.IPV6, control_data.IPV6_HOPLIMIT, limit))
            if options[so.RECVTCLASS6]:
                tclass = _INT.pack(flight.tos)
                found.append((so.IPV6, control_data.IPV6_TCLASS, tclass))
        return found

    # -- helpers

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        assert error is not None
        raise error

    def _check_open(self) -> None:
        if self._closed:
            raise refusal(errno.EBADF)


def _extended_error(icmp: IcmpError, *, v6: bool) -> tuple[int, int, bytes]:
    """Return the control message for an ICMP error (ip(7), IP_RECVERR)."""
    head = _EXTENDED_ERROR.pack(
        icmp.number, 3 if v6 else 2, icmp.icmp_type, icmp.icmp_code, icmp.mtu, 0
    )
    if v6:
        packed = socket.inet_pton(socket.AF_INET6, icmp.offender.partition("%")[0])
        name = _SOCKADDR_IN6.pack(10, 0, 0, packed, 0)
        return so.IPV6, sockets.IPV6_RECVERR, head + name
    name = _SOCKADDR_IN.pack(2, 0, socket.inet_aton(icmp.offender))
    return so.IP, sockets.IP_RECVERR, head + name


def _names_an_address(value: Any) -> bool:
    """Say whether IP_MULTICAST_IF has a ``struct in_addr`` that isn't an index."""
    return not isinstance(value, int) and len(value) == 4 and value[0] != 0
