"""Opening endpoints. The only module that names the concrete transports.

An opening call checks its arguments at once, and opens the endpoint when it's awaited
or entered. If that fails or is cancelled, the socket is closed again.

The file is long because each opening call has its full signature and contract here.
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
from typing import (
    TYPE_CHECKING,
    Any,
    NamedTuple,
    Protocol,
    TypeAlias,
    TypeVar,
    Unpack,
    overload,
)

from .._system import addresses, adoption, error_queue, path_mtu, sockets
from .._system.addresses import SocketAddress
from .._system.implementation import batch_socket
from .._system.machine import machine_of, on_this_machine
from .._transports.error_queue import ErrorQueueTransport
from .._transports.loop import LoopTransport
from .._transports.selector import SelectorTransport, watches_descriptors
from .._transports.simulated import (
    SimulatedErrorQueueTransport,
    SimulatedTransport,
)
from .._transports.socket_transport import SocketTransport, carriers
from .._types import Address, AddressT, Datagram, IPAddress, Received, UnixAddress
from .endpoint import Endpoint
from .error_inbox import ErrorInbox
from .inbox import Inbox
from .message_endpoint import MessageEndpoint
from .options import Options, Settings, check
from .protocol import EndpointProtocol

IPRemote: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
"""An IP address to connect to. The host may be a name."""

IPLocal: TypeAlias = IPRemote | tuple[None, int]
"""An IP address to bind. The host may be a name; ``""`` or ``None`` is any address."""

UnixPath: TypeAlias = UnixAddress | os.PathLike[str]
"""The path or abstract name of a UNIX datagram socket."""

LocalAddress: TypeAlias = Address | tuple[None, int] | os.PathLike[str]
"""An address to bind, of any kind."""

RemoteAddress: TypeAlias = Address | os.PathLike[str]
"""An address to connect to, of any kind."""


class _Closable(Protocol):
    async def aclose(self) -> None: ...


_T = TypeVar("_T", bound=_Closable)


class Opening(AbstractAsyncContextManager[_T]):
    """The result of an opening call: await it, or use it with ``async with``.

    ``async with`` closes the endpoint at the end of the block. Each use opens a new
    one. Cancelling while it opens leaves nothing behind.
    """

    __slots__ = ("_open", "_opened")

    def __init__(self, open_: Callable[[], Coroutine[Any, Any, _T]]) -> None:
        self._open = on_this_machine(open_)
        self._opened: list[tuple[Any, _T]] = []  # with the task that entered

    def __await__(self) -> Generator[Any, Any, _T]:
        return self._open().__await__()

    if not TYPE_CHECKING:  # a type checker would think that every attribute exists

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                kind = type(self).__name__
                raise AttributeError(f"{kind!r} object has no attribute {name!r}")
            raise AttributeError(
                f"not open yet, so there is no {name!r}; open it with 'async with' or "
                "'await', as in: endpoint = await aioudp.bind(...)",
                name=name,
                obj=self,
            )

        def __enter__(self) -> Any:
            raise TypeError("use 'async with' to open it, not 'with'")

        def __exit__(self, *exc_info: object) -> None:
            pass

    async def __aenter__(self) -> _T:
        opened = await self._open()
        self._opened.append((asyncio.current_task(), opened))
        return opened

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Several tasks may be in a block of the same object at a time: each closes its
        # own. A block may also end in another task, as that of a generator does.
        task = asyncio.current_task()
        mine = [n for n, (entered, _) in enumerate(self._opened) if entered is task]
        _, opened = self._opened.pop(mine[-1] if mine else -1)
        await opened.aclose()


@overload
def bind(
    local_addr: IPLocal = ("", 0), **options: Unpack[Options]
) -> Opening[Endpoint]: ...
@overload
def bind(
    local_addr: UnixPath, **options: Unpack[Options]
) -> Opening[Endpoint[UnixAddress]]: ...
def bind(
    local_addr: LocalAddress = ("", 0), **options: Unpack[Options]
) -> Opening[Any]:
    """Open an unconnected endpoint, which receives from and sends to anyone.

    Args:
        local_addr: ``(host, port)``. Port 0 lets the system choose. Host ``""`` or
            ``None`` means every address of the machine, both IPv4 and IPv6 if the
            machine supports IPv6; so does ``"::"``. A host name is looked up without
            blocking the event loop. A path opens a UNIX datagram socket; closing the
            endpoint removes the file. A path is an :class:`os.PathLike`, text that
            contains a ``/``, or an abstract name, which starts with a zero byte.
        options: See :class:`aioudp.Options`.

    Raises:
        OSError: If the system refuses; the message names the address.
        TypeError: If *local_addr* isn't an address, or an option is unknown.
        ValueError: If *local_addr* is any other text, such as ``"127.0.0.1:9999"``, if
            the port or an option is out of range, or if the host contradicts the
            option ``family``.
    """
    settings = check(options, bind)
    if not addresses.is_path(local_addr):
        addresses.host_and_port(local_addr)
    return Opening(lambda: _bind(local_addr, settings))


@overload
def connect(
    remote_addr: IPRemote,
    *,
    local_addr: LocalAddress | None = None,
    **options: Unpack[Options],
) -> Opening[Endpoint]: ...
@overload
def connect(
    remote_addr: UnixPath,
    *,
    local_addr: LocalAddress | None = None,
    **options: Unpack[Options],
) -> Opening[Endpoint[UnixAddress]]: ...
def connect(
    remote_addr: RemoteAddress,
    *,
    local_addr: LocalAddress | None = None,
    **options: Unpack[Options],
) -> Opening[Any]:
    """Open an endpoint with one peer.

    It sends without an address, and receives from its peer only. If ICMP reports that
    nobody listens there, :meth:`Endpoint.recv` raises :class:`ConnectionRefusedError`.
    Connecting doesn't exchange any datagrams, so it succeeds even if the peer doesn't
    exist.

    Args:
        remote_addr: ``(host, port)`` of the peer, or the path of a UNIX datagram
            socket, as in :func:`bind`. A host name is looked up without blocking the
            event loop.
        local_addr: The address to send from, as in :func:`bind`. Default: chosen by
            the system.
        options: See :class:`aioudp.Options`.

    Raises:
        OSError: If the system refuses; the message names the address.
        TypeError: If an address has the wrong type, or an option is unknown.
        ValueError: If an address is text but not a path, if a port or an option is out
            of range, or if the addresses and the option ``family`` are of different
            families.
    """
    settings = check(options, connect)
    if addresses.is_path(remote_addr):
        if local_addr is not None and not addresses.is_path(local_addr):
            addresses.host_and_port(local_addr)  # raises a helpful error for text
            addresses.unix_path(local_addr)
    else:
        host, port = addresses.host_and_port(remote_addr)
        if not host or not port:
            raise ValueError(
                f"a peer needs a host and a port other than 0: {remote_addr!r}"
            )
        if local_addr is not None:
            addresses.host_and_port(local_addr)
    return Opening(lambda: _connect(remote_addr, local_addr, settings))


def adopt(
    sock_or_fd: socket.socket | int, **options: Unpack[Options]
) -> Opening[Endpoint[AddressT]]:
    """Open an endpoint over an existing datagram socket, and take ownership of it.

    Use it for sockets opened by systemd or by a parent process, or with custom options.
    A connected socket becomes a connected endpoint; datagrams that third parties sent
    to it before it was connected are dropped, as by :func:`connect`. An unbound socket
    is bound to a port that the system chooses.

    Socket options that would change what an endpoint sends, receives or counts are set
    to the values it needs (on Linux): the blocking mode, UDP_GRO, UDP_SEGMENT,
    UDP_CORK, IP_RECVERR, timestamps, packet info and similar ones. When the endpoint
    is closed, they're restored for other processes that hold the socket, unless they
    were changed meanwhile. Earlier drops and errors don't count for the endpoint. All
    other options, such as TTL, groups or filters, stay unchanged.

    If opening fails or is cancelled, the caller still owns the socket, in its original
    state, unless the event loop's own transport has already closed it.

    Type checkers take the socket for a UDP socket. For a UNIX datagram socket, declare
    the endpoint: ``endpoint: Endpoint[UnixAddress] = await adopt(sock)``.

    Args:
        sock_or_fd: A UDP or UNIX datagram socket, or its descriptor.
        options: See :class:`aioudp.Options`. ``family`` and ``reuse_port`` are
            refused, because the socket determines them.

    Raises:
        OSError: If the descriptor isn't a socket, or the system refuses.
        TypeError: If *sock_or_fd* is neither, or an option is unknown.
        ValueError: If the socket isn't a UDP or UNIX datagram socket (ICMP and raw
            sockets aren't), was shut down for reading or already has an endpoint, or if
            an option is out of range or determined by the socket.
    """
    decided = sorted({"family", "reuse_port"} & options.keys())
    if decided:
        raise ValueError(f"the adopted socket determines {', '.join(decided)}")
    if not isinstance(sock_or_fd, (socket.socket, int)) or isinstance(sock_or_fd, bool):
        raise TypeError(f"a socket or a descriptor is required, not {sock_or_fd!r}")
    settings = check(options, adopt)
    return Opening(lambda: _adopt(sock_or_fd, settings))


async def resolve(host: str, port: int, *, family: int = 0) -> IPAddress:
    """Look up a host name, without blocking the event loop.

    Args:
        host: A name or a numeric address.
        port: The port of the result.
        family: ``socket.AF_INET`` or ``socket.AF_INET6`` to get only that family. An
            endpoint bound to every address can send to both.

    Returns:
        The first address found, for :meth:`Endpoint.send`.

    Raises:
        OSError: If the name isn't found (:class:`socket.gaierror`).
        TypeError: If *host* isn't a str or *port* isn't an int.
        ValueError: If *port* is out of range, *host* is empty, or a numeric *host* is
            of another family.
    """
    if not isinstance(host, str):
        raise TypeError(f"host must be a str, got {host!r}")
    if not host:
        raise ValueError("host must not be empty")
    found = await _look_up((host, port), family)
    addr: IPAddress = addresses.public_address(found[0].addr)
    return addr


class _Candidate(NamedTuple):
    """A socket to try to open."""

    family: int
    addr: SocketAddress
    dual_stack: bool = False


async def _bind(local_addr: LocalAddress, settings: Settings) -> Endpoint[Any]:
    if addresses.is_path(local_addr):
        return await _bind_path(local_addr, settings)
    return await _start(await bound_socket(local_addr, settings), settings)


async def bound_socket(local_addr: LocalAddress, settings: Settings) -> socket.socket:
    """Return the socket that :func:`bind` opens for a host and a port."""
    candidates = _every_address(local_addr, settings.family) or await _look_up(
        local_addr, settings.family
    )
    return _first_that_opens(candidates, lambda one: _open(one, settings))


async def _connect(
    remote_addr: RemoteAddress, local_addr: LocalAddress | None, settings: Settings
) -> Endpoint[Any]:
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
    ) -> tuple[socket.socket, list[Datagram[Any]], int]:
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


async def _bind_path(local_addr: object, settings: Settings) -> Endpoint[Any]:
    _refuse_ip_options(settings)
    path = addresses.unix_path(local_addr)
    sock = sockets.open_bound(path, _unix_family())
    return await _start(sock, settings, path=sockets.BoundPath(path))


async def _connect_path(
    remote_addr: object, local_addr: object, settings: Settings
) -> Endpoint[Any]:
    _refuse_ip_options(settings)
    peer = addresses.unix_path(remote_addr)
    # Peers can't answer a socket without a name. Linux assigns one (unix(7),
    # "autobind"); elsewhere, the endpoint stays unnamed and can only send.
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


async def _adopt(sock_or_fd: socket.socket | int, settings: Settings) -> Endpoint[Any]:
    if isinstance(sock_or_fd, socket.socket):
        sock = sock_or_fd
    else:
        sock = socket.socket(fileno=sock_or_fd)
    try:
        adoption.check(sock)
        if sock.family == sockets.AF_UNIX:
            _refuse_ip_options(settings)
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
    backlog: Sequence[Datagram[Any]] = (),
    foreign: int = 0,
    path: sockets.BoundPath | None = None,
    loan: adoption.Loan | None = None,
) -> Endpoint[Any]:
    """Create transport, protocol and endpoint on *sock*, like
    :func:`start_transport`.
    """
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
    """Create a transport between *sock* and *protocol*; close the socket on failure.

    A socket on *loan* isn't closed, but restored. The transport uses a duplicate of it:
    closing the original doesn't pull the descriptor, whose number the next socket gets,
    from under the transport. A *drop_in* behaves like asyncio's transports: it uses the
    kernel's form of IPv4 peers, warns if it's garbage collected while open, and keeps
    the buffers of a socket on loan that have a custom size.
    """
    loop = asyncio.get_running_loop()
    given = sock
    if loan is not None:
        carrier = carriers.get(given.fileno())
        if carrier is not None and carrier.carries(given):
            raise ValueError(f"{given!r} already has an endpoint")
        sock = given.dup()
    try:
        if loan is not None:
            loan.take_over(
                [name for name in adoption.OPTIONS if getattr(settings, name)]
            )
            sock.setblocking(False)  # the duplicate has a timeout of its own
            if settings.broadcast:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        _size_buffers(sock, settings, keep=loan is not None and drop_in)
        transport_class = _transport_class(loop, settings, sock)
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
        sock.close()
        if loan is not None:
            loan.restore()
        if path is not None:
            path.remove()
        raise
    carriers[sock.fileno()] = carriers[given.fileno()] = transport
    try:
        await transport.start()
    except BaseException:
        if loan is not None:
            loan.restore()
        transport.abort()
        raise
    if loan is not None:
        transport.take_over(given)
    return transport


def _transport_class(
    loop: asyncio.AbstractEventLoop, settings: Settings, sock: socket.socket
) -> type[SelectorTransport | LoopTransport]:
    if machine_of(sock) is not None:
        if settings.icmp_errors:
            return SimulatedErrorQueueTransport
        return SimulatedTransport
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
    """Open the first candidate that can be opened; raise the last one's error."""
    error: OSError | None = None
    for candidate in candidates:
        try:
            return open_(candidate)
        except OSError as exc:
            error = exc
            if exc.errno == errno.EADDRINUSE:
                break  # trying another family would hide that the port is in use
    assert error is not None  # there is at least one candidate
    raise error


def _every_address(local_addr: object, *families: int) -> list[_Candidate]:
    """Return candidates for every address, if *local_addr* means that."""
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
    """Return the addresses of a host. A numeric one isn't looked up."""
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
        raise OSError(errno.EADDRNOTAVAIL, f"no address found for {host!r}")
    return candidates


def _numeric(addr: object, family: int) -> _Candidate:
    return _Candidate(family, addresses.socket_address(addr, family, any_port=True))


def _refuse_ip_options(settings: Settings) -> None:
    """Refuse options that UNIX sockets don't support, rather than ignore them."""
    for name in ("icmp_errors", "dont_fragment"):
        if getattr(settings, name):
            raise ValueError(f"{name} isn't supported on UNIX sockets")


def _unix_family() -> int:
    if sockets.AF_UNIX is None:
        raise ValueError("UNIX datagram sockets aren't supported on this system")
    return sockets.AF_UNIX
