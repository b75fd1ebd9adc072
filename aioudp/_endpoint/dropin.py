"""The drop-in: asyncio's ``create_datagram_endpoint``, and event loops that have it.

Existing protocols and libraries are written for the event loop's own method, so this
keeps its signature and its contract exactly, including the form of addresses: an IPv4
peer of an IPv6 socket is ``::ffff:192.0.2.1``, as reported by the kernel.
``docs/reference/drop-in.md`` lists the intentional differences.
"""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import stat
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

from .._system import adoption, sockets
from .._transports.base import DatagramTransport
from .._types import Datagram
from .opening import start_transport
from .options import Settings

_ProtocolT = TypeVar("_ProtocolT", bound=asyncio.BaseProtocol)
_T = TypeVar("_T")

_HostPort = tuple[str, int]


class _Opened(NamedTuple):
    sock: socket.socket
    default_addr: Any = None
    backlog: tuple[Datagram, ...] = ()
    foreign: int = 0
    loan: adoption.Loan | None = None


async def create_datagram_endpoint(
    protocol_factory: Callable[[], _ProtocolT],
    local_addr: _HostPort | str | None = None,
    remote_addr: _HostPort | str | None = None,
    *,
    family: int = 0,
    proto: int = 0,
    flags: int = 0,
    reuse_port: bool | None = None,
    allow_broadcast: bool | None = None,
    sock: socket.socket | None = None,
) -> tuple[DatagramTransport, _ProtocolT]:
    """Open a datagram transport for any protocol, as the event loop's method does.

    Same arguments, same result, same errors as
    :meth:`asyncio.loop.create_datagram_endpoint`, on this library's transport. What a
    protocol may notice besides the speed:

    * ``sendto`` sends the first datagram of a turn of the event loop at once, and
      gathers the others of that turn into few system calls at its end;
    * ``sendto`` sends empty datagrams, and raises :class:`ValueError` for a host name
      instead of blocking the event loop to look it up;
    * a protocol that defines ``datagrams_received(datagrams)`` gets whole batches, each
      a ``list[Datagram]``, instead of ``datagram_received`` calls.

    Cancelling the call closes the socket. If you pass *sock*, the transport owns it
    once the call returns; if the call raises, you still own it.

    Raises:
        OSError: If the system refuses, or a name isn't found.
        TypeError: If an address has the wrong form.
        ValueError: If no argument determines the family, if the addresses have no
            family in common, if *sock* is combined with arguments that it determines,
            if the family or *sock* isn't for UDP or UNIX datagrams, or if this system
            can't share ports.
    """
    if sock is not None:
        decided = {
            "local_addr": local_addr,
            "remote_addr": remote_addr,
            "family": family,
            "proto": proto,
            "flags": flags,
            "reuse_port": reuse_port,
            "allow_broadcast": allow_broadcast,
        }
        try:
            adoption.check(sock)
        except ValueError as exc:
            raise ValueError(f"A UDP Socket was expected, got {sock!r}: {exc}") from exc
        given = ", ".join(f"{key}={value!r}" for key, value in decided.items() if value)
        if given:
            raise ValueError(
                "socket modifier keyword arguments can not be used when sock is "
                f"specified. ({given})"
            )
        opened = _Opened(sock, loan=adoption.Loan(sock))
    elif not _serves(family, proto):
        raise ValueError(
            "neither UDP nor UNIX datagrams have the family and the protocol "
            f"{family!r}, {proto!r}"
        )
    elif reuse_port and sockets.SO_REUSEPORT is None:
        raise ValueError("reuse_port not supported by socket module")
    else:
        opened = await _open(
            local_addr,
            remote_addr,
            family=family,
            proto=proto,
            flags=flags,
            reuse_port=reuse_port,
            allow_broadcast=allow_broadcast,
        )
    try:
        protocol = protocol_factory()
    except BaseException:
        if sock is None:
            opened.sock.close()
        raise
    transport = await start_transport(
        opened.sock,
        protocol,
        Settings(),
        backlog=opened.backlog,
        foreign=opened.foreign,
        loan=opened.loan,
        default_addr=opened.default_addr,
        drop_in=True,
    )
    return transport, protocol


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop whose ``create_datagram_endpoint`` is this library's.

    It's based on uvloop if uvloop is installed, else on asyncio's default loop.
    Libraries that open their transports with ``loop.create_datagram_endpoint`` run on
    it unmodified. The loop's original method is available as
    ``loop_datagram_endpoint``. It also opens sockets other than UDP and UNIX datagram
    sockets, such as ICMP sockets.
    """
    return _with_drop_in(_base())()


def run(main: Coroutine[Any, Any, _T], *, debug: bool | None = None) -> _T:
    """Run *main* like :func:`asyncio.run`, on a :func:`new_event_loop`.

    Args:
        main: The coroutine to run; its result is returned, its exception raised.
        debug: Whether the event loop runs in debug mode; ``None`` means that the
            environment decides, as in asyncio.

    Raises:
        RuntimeError: If called while an event loop runs in this thread.
        ValueError: If *main* is not a coroutine.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise RuntimeError("run() cannot be called while an event loop is running")
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)


def is_drop_in(loop: asyncio.AbstractEventLoop) -> bool:
    """Say whether *loop* is one of :func:`new_event_loop`."""
    return isinstance(loop, _DropIn)


class _DropIn:
    """Mixed into a loop class: replaces one method, and keeps the loop's own."""

    async def create_datagram_endpoint(
        self,
        protocol_factory: Callable[[], Any],
        local_addr: Any = None,
        remote_addr: Any = None,
        **options: Any,
    ) -> tuple[Any, Any]:
        sock = options.get("sock")
        if sock is None:
            serves = _serves(options.get("family", 0), options.get("proto", 0))
        else:
            serves = isinstance(sock, socket.socket) and adoption.is_served(sock)
        opens: Callable[..., Any] = self.loop_datagram_endpoint
        if serves:
            opens = create_datagram_endpoint
        opened: tuple[Any, Any] = await opens(
            protocol_factory, local_addr, remote_addr, **options
        )
        return opened

    async def loop_datagram_endpoint(self, *args: Any, **kwargs: Any) -> Any:
        """Call the loop's original ``create_datagram_endpoint``."""
        return await super().create_datagram_endpoint(*args, **kwargs)  # type: ignore[misc]


def _serves(family: int, proto: int) -> bool:
    if family == sockets.AF_UNIX:
        return True
    return family in (0, *sockets.INET) and proto in (0, socket.IPPROTO_UDP)


def _base() -> Any:
    try:
        import uvloop
    except ImportError:
        if sys.platform == "win32":
            return asyncio.ProactorEventLoop
        return asyncio.SelectorEventLoop
    return uvloop.Loop


@functools.cache
def _with_drop_in(base: Any) -> Callable[[], asyncio.AbstractEventLoop]:
    return type("EventLoop", (_DropIn, base), {"__module__": __name__})


async def _open(
    local_addr: Any,
    remote_addr: Any,
    *,
    family: int,
    proto: int,
    flags: int,
    reuse_port: bool | None,
    allow_broadcast: bool | None,
) -> _Opened:
    """Open a socket like asyncio: with the first family that works for both."""
    if family == sockets.AF_UNIX:
        pairs = {(family, proto): _unix_pair(local_addr, remote_addr)}
    elif local_addr or remote_addr:
        pairs = await _look_up_both(local_addr, remote_addr, family, proto, flags)
    elif family:
        pairs = {(family, proto): [None, None]}
    else:
        raise ValueError(
            "unexpected address family: neither an address nor a family is given"
        )
    error: OSError | None = None
    for (chosen, protocol), (local, remote) in pairs.items():
        try:
            return _open_one(
                local, remote, chosen, protocol, reuse_port, allow_broadcast
            )
        except OSError as exc:
            error = error or exc
    assert error is not None
    raise error


def _open_one(
    local: Any,
    remote: Any,
    family: int,
    proto: int,
    reuse_port: bool | None,
    allow_broadcast: bool | None,
) -> _Opened:
    sock = sockets.open_bound(
        local,
        family,
        proto=proto,
        v6only=None,
        reuse_port=bool(reuse_port),
        broadcast=bool(allow_broadcast),
    )
    if remote is None:
        return _Opened(sock)
    if allow_broadcast:
        # Not connected, because the answer to a broadcast comes from another address.
        return _Opened(sock, default_addr=remote)
    try:
        backlog, foreign = sockets.connect(sock, remote, unmap=False)
    except BaseException:
        sock.close()
        raise
    # Nothing can be sent to port 0: with this default, each send raises that error.
    port_0 = remote if family in sockets.INET and not remote[1] else None
    return _Opened(sock, port_0, tuple(backlog), foreign)


def _unix_pair(local_addr: Any, remote_addr: Any) -> list[Any]:
    for addr in (local_addr, remote_addr):
        if addr is not None and not isinstance(addr, str):
            raise TypeError(f"string is expected, not {addr!r}")
    if local_addr and not local_addr.startswith("\0"):
        try:
            if stat.S_ISSOCK(os.stat(local_addr).st_mode):
                os.remove(local_addr)
        except OSError:
            pass  # bind() raises the error
    return [local_addr or None, remote_addr or None]


async def _look_up_both(
    local_addr: Any, remote_addr: Any, family: int, proto: int, flags: int
) -> dict[tuple[int, int], list[Any]]:
    """Return the local and the remote address for each family that has both."""
    found: dict[tuple[int, int], list[Any]] = {}
    for index, addr in enumerate((local_addr, remote_addr)):
        if addr is None:
            continue
        if not isinstance(addr, tuple) or len(addr) != 2:
            raise TypeError(f"2-tuple is expected, (host, port), not {addr!r}")
        for key, address in await _look_up(addr, family, proto, flags):
            pair = found.setdefault(key, [None, None])
            pair[index] = pair[index] or address
    complete = {
        key: (local, remote)
        for key, (local, remote) in found.items()
        if (not local_addr or local) and (not remote_addr or remote)
    }
    if not complete:
        raise ValueError(
            "can not get address information: no family is common to "
            f"{local_addr!r} and {remote_addr!r}"
        )
    return {key: list(pair) for key, pair in complete.items()}


async def _look_up(
    addr: tuple[Any, Any], family: int, proto: int, flags: int
) -> list[tuple[tuple[int, int], Any]]:
    """Return each (family, protocol) and address that *addr* stands for.

    As in asyncio, one that is numeric is not looked up: that would take a thread.
    """
    host, port = addr
    if isinstance(host, str) and proto in (0, socket.IPPROTO_UDP):
        for known in (socket.AF_INET, socket.AF_INET6):
            numeric = _numeric(host, port, known) if family in (0, known) else None
            if numeric is not None:
                return [((known, socket.IPPROTO_UDP), numeric)]
    infos = await asyncio.get_running_loop().getaddrinfo(
        host, port, family=family, type=socket.SOCK_DGRAM, proto=proto, flags=flags
    )
    if not infos:
        raise OSError(f"getaddrinfo() returned empty list for {addr!r}")
    return [((info[0], info[2]), info[4]) for info in infos]


def _numeric(host: str, port: Any, family: int) -> Any:
    """Return the socket's address for a numeric host, or ``None``.

    uvloop's ``getaddrinfo`` ignores zones, so zones are handled here as well.
    """
    if not (port is None or isinstance(port, int)):
        return None
    bare, _, zone = host.partition("%")
    try:
        socket.inet_pton(family, bare)
        scope_id = socket.if_nametoindex(zone) if zone else 0
    except (OSError, ValueError):
        return None
    if family == socket.AF_INET6:
        return bare, port or 0, 0, scope_id
    return None if zone else (bare, port or 0)
