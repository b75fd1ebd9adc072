"""Opening endpoints. The only module that names the concrete transports.

An opening call checks its arguments at once and does the rest when it is awaited or
entered. Whatever fails or is cancelled on the way closes the socket again.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar, Unpack
from weakref import WeakValueDictionary

from .._system import addresses, adoption, error_queue, path_mtu, sockets
from .._system.addresses import SocketAddress
from .._system.implementation import batch_socket
from .._transports.error_queue import ErrorQueueTransport
from .._transports.loop import LoopTransport
from .._transports.selector import SelectorTransport, watches_descriptors
from .._transports.socket_transport import SocketTransport
from .._types import Address, Datagram, Received
from .endpoint import Endpoint
from .error_inbox import ErrorInbox
from .inbox import Inbox
from .message_endpoint import MessageEndpoint
from .options import Options, Settings, check
from .protocol import EndpointProtocol

LocalAddress: TypeAlias = Address | tuple[None, int] | os.PathLike[str]
"""Where to bind. The host may be a name; ``""`` or ``None`` is every address."""

RemoteAddress: TypeAlias = Address | os.PathLike[str]
"""Whom to connect to. The host may be a name."""


class _Closable(Protocol):
    async def aclose(self) -> None: ...


_T = TypeVar("_T", bound=_Closable)


class Opening(AbstractAsyncContextManager[_T]):
    """What an opening call returns: await it, or use it with ``async with``.

    ``async with`` closes what was opened at the end of the block. Each use opens
    anew. Cancelling while it opens leaves nothing behind.
    """

    __slots__ = ("_open", "_opened")

    def __init__(self, open_: Callable[[], Coroutine[Any, Any, _T]]) -> None:
        self._open = open_
        self._opened: list[_T] = []

    def __await__(self) -> Generator[Any, Any, _T]:
        return self._open().__await__()

    async def __aenter__(self) -> _T:
        opened = await self._open()
        self._opened.append(opened)
        return opened

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._opened.pop().aclose()


def bind(
    local_addr: LocalAddress = ("", 0), **options: Unpack[Options]
) -> Opening[Endpoint]:
    """Open an unconnected endpoint: it receives from and sends to anyone.

    Args:
        local_addr: ``(host, port)``. Port 0 lets the system choose. Host ``""`` or
            ``None`` is every address of the machine, IPv4 and IPv6 at once where
            there is IPv6; so is ``"::"``. A host name is looked up without blocking
            the event loop. A path makes a UNIX datagram socket; closing the endpoint
            removes the file. A path is an :class:`os.PathLike`, text with a ``/`` in
            it, or an abstract name, which begins with a zero byte.
        options: See :class:`aioudp.Options`.

    Raises:
        OSError: If the system refuses; the message names the address.
        TypeError: If *local_addr* is no address, or an option is unknown.
        ValueError: If *local_addr* is other text, such as ``"127.0.0.1:9999"``, if the
            port or an option is out of range, or if the host is of another family than
            the option ``family`` asks for.
    """
    settings = check(options)
    if not addresses.is_path(local_addr):
        addresses.host_and_port(local_addr)
    return Opening(lambda: _bind(local_addr, settings))


def connect(
    remote_addr: RemoteAddress,
    *,
    local_addr: LocalAddress | None = None,
    **options: Unpack[Options],
) -> Opening[Endpoint]:
    """Open an endpoint with one peer.

    It sends without an address, hears only its peer, and learns from ICMP that nobody
    listens there: :meth:`Endpoint.recv` raises :class:`ConnectionRefusedError`.
    Nothing is exchanged by connecting, so it succeeds whether the peer is there or not.

    Args:
        remote_addr: ``(host, port)`` of the peer, or the path of a UNIX datagram
            socket, written as in :func:`bind`. A host name is looked up without
            blocking the event loop.
        local_addr: Where to send from, as in :func:`bind`; default: the system
            chooses.
        options: See :class:`aioudp.Options`.

    Raises:
        OSError: If the system refuses; the message names the address.
        TypeError: If an address is none, or an option is unknown.
        ValueError: If an address is text and no path, if a port or an option is out of
            range, or if the two addresses and the option ``family`` do not agree on a
            family.
    """
    settings = check(options)
    if addresses.is_path(remote_addr):
        if local_addr is not None and not addresses.is_path(local_addr):
            addresses.host_and_port(local_addr)  # text is told what it should be
            addresses.unix_path(local_addr)
    else:
        host, port = addresses.host_and_port(remote_addr)
        if not host or not port:
            raise ValueError(
                f"a peer has a host and a port other than 0: {remote_addr!r}"
            )
        if local_addr is not None:
            addresses.host_and_port(local_addr)
    return Opening(lambda: _connect(remote_addr, local_addr, settings))


def adopt(
    sock_or_fd: socket.socket | int, **options: Unpack[Options]
) -> Opening[Endpoint]:
    """Open an endpoint over an existing datagram socket, and own it from then on.

    For sockets made by systemd, by a parent process, or with options of your own. A
    connected socket makes a connected endpoint, and what third parties had sent to it
    before it was connected is thrown away, as by :func:`connect`. An unbound socket is
    bound to a port that the system chooses.

    Options of the socket that would change what an endpoint sends, receives or counts
    are set to what it needs (on Linux): the blocking mode, UDP_GRO, UDP_SEGMENT,
    UDP_CORK, IP_RECVERR, timestamps, packet information and their like. When the
    endpoint closes, they are restored for whoever else holds the socket, unless
    somebody has changed them since. Drops and errors from before are not the
    endpoint's. Everything else, such as TTL, groups or filters, stays.

    If opening fails or is cancelled, the socket is still the caller's, and as it was,
    unless the event loop's own transport had got hold of it: then that has closed it.

    Args:
        sock_or_fd: A socket or a descriptor, UDP or UNIX.
        options: See :class:`aioudp.Options`. ``family`` and ``reuse_port`` are
            refused: the socket has decided them.

    Raises:
        OSError: If the descriptor is not a socket, or the system refuses.
        TypeError: If *sock_or_fd* is neither, or an option is unknown.
        ValueError: If the socket is not a UDP or UNIX datagram socket, was shut down
            for reading or already carries an endpoint, or if an option is out of range
            or was decided by the socket. A socket for ICMP or a raw one is no UDP
            socket.
    """
    decided = sorted({"family", "reuse_port"} & options.keys())
    if decided:
        raise ValueError(f"an adopted socket has decided: {', '.join(decided)}")
    if not isinstance(sock_or_fd, (socket.socket, int)) or isinstance(sock_or_fd, bool):
        raise TypeError(f"a socket or a descriptor is required, not {sock_or_fd!r}")
    settings = check(options)
    return Opening(lambda: _adopt(sock_or_fd, settings))


async def resolve(host: str, port: int, *, family: int = 0) -> Address:
    """Look a host name up, without blocking the event loop.

    Args:
        host: A name or a numeric address.
        port: The port of the result.
        family: ``socket.AF_INET`` or ``socket.AF_INET6`` to get only that. An endpoint
            bound to every address sends to both.

    Returns:
        The first address found, to be passed to :meth:`Endpoint.send`.

    Raises:
        OSError: If the name is not found (:class:`socket.gaierror`).
        TypeError: If *host* is not a str or *port* not an int.
        ValueError: If *port* is out of range, *host* is empty, or a numeric *host* is
            of another family.
    """
    if not isinstance(host, str):
        raise TypeError(f"a host is a str, not {host!r}")
    if not host:
        raise ValueError("a host that is empty stands for no address")
    found = await _look_up((host, port), family)
    return addresses.public_address(found[0].addr)


class _Candidate(NamedTuple):
    """One socket that could be opened for what the caller asked."""

    family: int
    addr: SocketAddress
    dual_stack: bool = False


async def _bind(local_addr: LocalAddress, settings: Settings) -> Endpoint:
    if addresses.is_path(local_addr):
        return await _bind_path(local_addr, settings)
    candidates = _every_address(local_addr, settings.family) or await _look_up(
        local_addr, settings.family
    )
    sock = _first_that_opens(candidates, lambda one: _open(one, settings))
    return await _start(sock, settings)


async def _connect(
    remote_addr: RemoteAddress, local_addr: LocalAddress | None, settings: Settings
) -> Endpoint:
    if addresses.is_path(remote_addr):
        return await _connect_path(remote_addr, local_addr, settings)
    remotes = await _look_up(remote_addr, settings.family)
    if local_addr is None:
        locals_ = [_Candidate(one.family, None) for one in remotes]
    else:
        locals_ = _every_address(local_addr, socket.AF_INET, socket.AF_INET6)
        locals_ = locals_ or await _look_up(local_addr, settings.family)
    pairs = [(mine, peer) for peer in remotes for mine in locals_ if mine[0] == peer[0]]
    if not pairs:
        raise ValueError(
            f"family mismatch: {local_addr!r} cannot reach {remote_addr!r}"
        )

    def open_pair(
        pair: tuple[_Candidate, _Candidate],
    ) -> tuple[socket.socket, list[Datagram], int]:
        mine, peer = pair
        purpose = f"connecting to {peer.addr!r}" if mine.addr is None else None
        sock = _open(mine, settings, purpose)
        try:
            return sock, *sockets.connect(sock, peer.addr)
        except BaseException:
            sock.close()
            raise

    sock, backlog, foreign = _first_that_opens(pairs, open_pair)
    return await _start(sock, settings, backlog=backlog, foreign=foreign)


async def _bind_path(local_addr: object, settings: Settings) -> Endpoint:
    _refuse_ip_options(settings)
    path = addresses.unix_path(local_addr)
    sock = sockets.open_bound(path, _unix_family())
    return await _start(sock, settings, path=sockets.BoundPath(path))


async def _connect_path(
    remote_addr: object, local_addr: object, settings: Settings
) -> Endpoint:
    _refuse_ip_options(settings)
    peer = addresses.unix_path(remote_addr)
    # Without a name of its own nobody could answer. Linux makes one up (unix(7),
    # "autobind"); elsewhere the endpoint stays unnamed and can only send.
    name: str | bytes | None = "" if sys.platform == "linux" else None
    if local_addr is not None:
        name = addresses.unix_path(local_addr)
    purpose = None if name else f"connecting to {peer!r}"
    sock = sockets.open_bound(name, _unix_family(), purpose=purpose)
    path = sockets.BoundPath(name) if name else None
    try:
        backlog, foreign = sockets.connect(sock, peer)
    except BaseException:
        sock.close()
        if path is not None:
            path.remove()
        raise
    return await _start(sock, settings, backlog=backlog, foreign=foreign, path=path)


# Which descriptors carry an endpoint: a loop watches each for one party only, and
# would silently forget the first.
_carriers: WeakValueDictionary[int, SocketTransport] = WeakValueDictionary()


async def _adopt(sock_or_fd: socket.socket | int, settings: Settings) -> Endpoint:
    if isinstance(sock_or_fd, socket.socket):
        sock = sock_or_fd
    else:
        sock = socket.socket(fileno=sock_or_fd)
    try:
        adoption.check(sock)
        if sock.family == sockets.AF_UNIX:
            _refuse_ip_options(settings)
        carrier = _carriers.get(sock.fileno())
        if carrier is not None and not carrier.is_closing():
            raise ValueError(f"{sock!r} already carries an endpoint")
        loan = adoption.Loan(sock)
        if sock.family != sockets.AF_UNIX and not sock.getsockname()[1]:
            sock.bind(("", 0))
        return await _start(sock, settings, loan=loan)
    except BaseException:
        if sock is not sock_or_fd:
            sock.detach()
        raise


async def _start(
    sock: socket.socket,
    settings: Settings,
    *,
    backlog: Sequence[Datagram] = (),
    foreign: int = 0,
    path: sockets.BoundPath | None = None,
    loan: adoption.Loan | None = None,
) -> Endpoint:
    """Put transport, protocol and endpoint on *sock*, as :func:`start_transport`."""
    loop = asyncio.get_running_loop()
    errors = ErrorInbox(settings.queue_size) if settings.icmp_errors else None
    inbox = Inbox(settings.queue_size, settings.overflow)
    protocol = EndpointProtocol(loop, inbox, errors)
    transport = await start_transport(
        sock,
        protocol,
        settings,
        backlog=backlog,
        foreign=foreign,
        path=path,
        loan=loan,
    )
    if settings.packet_info or settings.max_datagram_size is not None:
        return MessageEndpoint(transport, protocol, packet_info=settings.packet_info)
    return Endpoint(transport, protocol)


async def start_transport(
    sock: socket.socket,
    protocol: asyncio.BaseProtocol,
    settings: Settings,
    *,
    backlog: Sequence[Received] = (),
    foreign: int = 0,
    path: sockets.BoundPath | None = None,
    loan: adoption.Loan | None = None,
    default_addr: SocketAddress = None,
    drop_in: bool = False,
) -> SocketTransport:
    """Put a transport between *sock* and *protocol*; close the socket if that fails.

    A socket on *loan* stays open until a transport owns it, and is as it was before if
    this fails. A *drop_in* does as asyncio's transports do: it names peers as the
    kernel does, warns if it is forgotten, and keeps the buffers of a socket on loan
    that somebody has sized.
    """
    loop = asyncio.get_running_loop()
    try:
        if loan is not None:
            loan.take_over(
                [name for name in adoption.OPTIONS if getattr(settings, name)]
            )
            if settings.broadcast:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        _size_buffers(sock, settings, keep=loan is not None and drop_in)
        transport_class = _transport_class(loop, settings)
        reads = issubclass(transport_class, SelectorTransport)
        if settings.dont_fragment:
            path_mtu.forbid_fragments(sock)
        if settings.icmp_errors:
            error_queue.enable(sock)
        inet = sock.family != sockets.AF_UNIX
        tells = settings.packet_info and sockets.enable_packet_info(
            sock, settings.timestamps or "software"
        )
        reading: dict[str, Any] = {
            "gro": reads and settings.offload and sockets.enable_gro(sock),
            "unmap": not drop_in,
            "packet_info": tells and reads,
        }
        if loan is not None:
            backlog, foreign = loan.queued(**reading)
        gso = settings.offload and inet
        io = batch_socket(
            sock,
            gso_segments=sockets.probe_offload().gso_segments if gso else 1,
            **reading,
        )
        if loan is not None:
            loan.settle()
        transport = transport_class(
            loop,
            sock,
            protocol,
            io,
            backlog=backlog,
            foreign=foreign,
            path=path,
            loan=loan,
            default_addr=default_addr,
            drop_in=drop_in,
            packet_info=settings.packet_info,
            max_datagram_size=settings.max_datagram_size,
        )
    except BaseException:
        if loan is None:
            sock.close()
        else:
            loan.restore()
        if path is not None:
            path.remove()
        raise
    _carriers[sock.fileno()] = transport
    try:
        await transport.start()
    except BaseException:
        transport.abort()
        raise
    return transport


def _transport_class(
    loop: asyncio.AbstractEventLoop, settings: Settings
) -> type[SelectorTransport | LoopTransport]:
    watches = watches_descriptors(loop)
    if (settings.transport == "selector" or settings.icmp_errors) and not watches:
        wanted = "icmp_errors" if settings.icmp_errors else 'transport="selector"'
        raise ValueError(f"{wanted} needs a loop with add_reader; {loop!r} has none")
    if settings.icmp_errors:
        return ErrorQueueTransport
    if settings.transport == "loop" or not watches:
        return LoopTransport
    return SelectorTransport


def _size_buffers(sock: socket.socket, settings: Settings, *, keep: bool) -> None:
    for option, size in (
        (socket.SO_RCVBUF, settings.receive_buffer),
        (socket.SO_SNDBUF, settings.send_buffer),
    ):
        if size is None:
            if not keep or sockets.has_default_buffer(sock, option):
                sockets.grow_buffer(sock, option, sockets.DEFAULT_BUFFER)
        else:
            sockets.set_buffer(sock, option, size)


def _open(
    candidate: _Candidate, settings: Settings, purpose: str | None = None
) -> socket.socket:
    return sockets.open_bound(
        candidate.addr,
        candidate.family,
        v6only=not candidate.dual_stack,
        reuse_port=settings.reuse_port,
        broadcast=settings.broadcast,
        purpose=purpose,
    )


_C = TypeVar("_C")
_R = TypeVar("_R")


def _first_that_opens(candidates: Sequence[_C], open_: Callable[[_C], _R]) -> _R:
    """Return what the first possible candidate gives; raise the last one's error."""
    error: OSError | None = None
    for candidate in candidates:
        try:
            return open_(candidate)
        except OSError as exc:
            error = exc
            if exc.errno == errno.EADDRINUSE:
                break  # another family would only hide that the port is taken
    assert error is not None  # there is at least one candidate
    raise error


def _every_address(local_addr: object, *families: int) -> list[_Candidate]:
    """Return how to bind to every address, if that is what *local_addr* asks for."""
    host, port = addresses.host_and_port(local_addr)
    if host not in ("", "::"):
        return []
    if families == (0,):
        both = _Candidate(socket.AF_INET6, ("::", port, 0, 0), dual_stack=True)
        only_ipv4 = _Candidate(socket.AF_INET, ("0.0.0.0", port))
        return [both] if host else [both, only_ipv4]
    candidates = []
    if socket.AF_INET6 in families:
        candidates.append(_Candidate(socket.AF_INET6, ("::", port, 0, 0)))
    if socket.AF_INET in families and not host:
        candidates.append(_Candidate(socket.AF_INET, ("0.0.0.0", port)))
    return candidates


async def _look_up(addr: object, family: int) -> list[_Candidate]:
    """Return what a host stands for. A numeric one is not looked up."""
    host, port = addresses.host_and_port(addr)
    if numeric_family := addresses.numeric_family(host):
        return [_numeric(addr, family or numeric_family)]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, family=family, type=socket.SOCK_DGRAM
        )
    except socket.gaierror as exc:
        raise socket.gaierror(exc.errno, f"{exc.strerror}: {host!r}") from None
    candidates = [
        _Candidate(info[0], info[4])
        for info in found
        if info[0] in (socket.AF_INET, socket.AF_INET6)
    ]
    if not candidates:
        raise OSError(errno.EADDRNOTAVAIL, f"no address was found for {host!r}")
    return candidates


def _numeric(addr: object, family: int) -> _Candidate:
    return _Candidate(family, addresses.socket_address(addr, family, any_port=True))


def _refuse_ip_options(settings: Settings) -> None:
    """Refuse what a UNIX socket cannot have, rather than ignore it."""
    for name in ("icmp_errors", "dont_fragment"):
        if getattr(settings, name):
            raise ValueError(
                f"{name} is for IP sockets; a UNIX socket has no such thing"
            )


def _unix_family() -> int:
    if sockets.AF_UNIX is None:
        raise ValueError("this system has no UNIX datagram sockets")
    return sockets.AF_UNIX
