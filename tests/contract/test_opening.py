"""Opening: bind, adopt, resolve; what fails, what is cancelled, and what is left."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

from .support import (
    AF_UNIX,
    descriptors,
    linux_only,
    needs_ipv6,
    outcome,
    plain_socket,
    port_of,
    read,
    refusing_address,
    turns_until,
    unix_only,
)

if TYPE_CHECKING:
    from tests.conftest import Endpoints, UntilBlocked

FOREIGN = {
    socket.AF_INET: "192.0.2.1",
    socket.AF_INET6: "2001:db8::1",
}  # RFC 5737, 3849

OPENINGS = pytest.mark.parametrize(
    "open_", [aioudp.bind, aioudp.connect], ids=["bind", "connect"]
)


def look_up_with(
    monkeypatch: pytest.MonkeyPatch, getaddrinfo: Callable[..., Any]
) -> None:
    """Have the running loop look names up with *getaddrinfo*."""
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)


def found(*addrs: Any) -> list[Any]:
    """Return *addrs* in the form of getaddrinfo."""
    return [
        (
            socket.AF_INET6 if ":" in addr[0] else socket.AF_INET,
            socket.SOCK_DGRAM,
            socket.IPPROTO_UDP,
            "",
            addr,
        )
        for addr in addrs
    ]


class BrokenSocket(socket.socket):
    """A socket of which one method, *broken*, fails."""

    broken = ""

    def __getattribute__(self, name: str) -> Any:
        if name == BrokenSocket.broken:
            raise OSError(errno.ENOBUFS, "broken on purpose")
        return super().__getattribute__(name)


# -- what an opening call returns


async def test_opening_is_awaited(transport: aioudp.TransportKind, host: str) -> None:
    """Awaiting an opening call gives an open endpoint."""
    endpoint = await aioudp.bind((host, 0), transport=transport)

    assert isinstance(endpoint, aioudp.Endpoint)
    assert not endpoint.closed
    await endpoint.aclose()


async def test_opening_is_entered(transport: aioudp.TransportKind, host: str) -> None:
    """An opening call used with async with closes the endpoint at the end."""
    async with aioudp.bind((host, 0), transport=transport) as endpoint:
        assert not endpoint.closed

    assert endpoint.closed


async def test_opening_closes_after_an_exception(
    transport: aioudp.TransportKind, host: str
) -> None:
    """An exception in the block of async with closes the endpoint and is raised."""
    with pytest.raises(LookupError):
        async with aioudp.bind((host, 0), transport=transport) as endpoint:
            raise LookupError

    assert endpoint.closed


async def test_opening_can_be_waited_for(
    transport: aioudp.TransportKind, host: str
) -> None:
    """What takes an awaitable, such as asyncio.wait_for, takes an opening call."""
    opening = aioudp.bind((host, 0), transport=transport)

    endpoint = await asyncio.wait_for(opening, 10)

    assert not endpoint.closed
    await endpoint.aclose()


async def test_opening_opens_anew_each_time(
    transport: aioudp.TransportKind, host: str
) -> None:
    """One opening call that is used twice gives two endpoints."""
    opening = aioudp.bind((host, 0), transport=transport)

    async with opening as first, opening as second:
        assert first.local_addr != second.local_addr

    assert first.closed
    assert second.closed


async def test_unused_opening_opens_nothing(
    transport: aioudp.TransportKind, host: str
) -> None:
    """An opening call that nobody awaits makes no socket."""
    before = descriptors()

    opening = aioudp.bind((host, 0), transport=transport)

    assert descriptors() == before
    del opening


# -- binding


async def test_port_0_lets_the_system_choose(endpoints: Endpoints, host: str) -> None:
    """Binding to port 0 gives a port, and the address is the socket's own (B001)."""
    endpoint = await endpoints.bind()

    assert endpoint.local_addr[0] == host
    assert port_of(endpoint) > 0
    assert endpoint.local_addr == endpoint.get_extra_info("socket").getsockname()


async def test_default_is_every_address(
    transport: aioudp.TransportKind, family: socket.AddressFamily
) -> None:
    """Without an address an endpoint is bound to all of its family (B002) (B003)."""
    async with aioudp.bind(family=family, transport=transport) as endpoint:
        assert endpoint.family == family
        assert endpoint.local_addr[0] in ("0.0.0.0", "::")
        assert port_of(endpoint) > 0


@pytest.mark.parametrize(
    "every", ["", None, pytest.param("::", marks=needs_ipv6)], ids=repr
)
async def test_every_address(
    transport: aioudp.TransportKind, host: str, every: Any
) -> None:
    """The hosts "", None and "::" are every address, IPv4 and IPv6 (B002)."""
    async with aioudp.bind((every, 0), transport=transport) as server:
        addr = (host, port_of(server))
        async with aioudp.connect(addr, transport=transport) as client:
            await client.send(b"hello")
            data, sender = await server.recv()

            assert (data, sender) == (b"hello", client.local_addr)


async def test_every_address_without_ipv6(
    transport: aioudp.TransportKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without IPv6 binds every address of IPv4 (B003)."""

    class OnlyIPv4(socket.socket):
        def __init__(self, family: int = -1, *args: Any, **kwargs: Any) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "no IPv6 here")
            super().__init__(family, *args, **kwargs)

    monkeypatch.setattr(socket, "socket", OnlyIPv4)

    async with aioudp.bind(transport=transport) as endpoint:
        assert endpoint.local_addr[0] == "0.0.0.0"


async def test_taken_port(endpoints: Endpoints, host: str) -> None:
    """A port that is taken is refused, with the address in the message (B005)."""
    first = await endpoints.bind()
    port = port_of(first)

    with pytest.raises(OSError) as caught:
        await endpoints.bind(port=port)

    assert caught.value.errno == errno.EADDRINUSE
    assert host in str(caught.value)
    assert str(port) in str(caught.value)


async def test_taken_port_of_every_address(transport: aioudp.TransportKind) -> None:
    """Every address is refused, not half of them, if IPv4 has the port taken (B005)."""
    with plain_socket("0.0.0.0") as taken:
        port = taken.getsockname()[1]

        with pytest.raises(OSError) as caught:
            await aioudp.bind(("", port), transport=transport)

    assert caught.value.errno == errno.EADDRINUSE


async def test_twenty_failures(endpoints: Endpoints) -> None:
    """Failing twenty times gives twenty errors and leaves no descriptor (B006)."""
    first = await endpoints.bind()
    before = descriptors()

    for _ in range(20):
        with pytest.raises(OSError):
            await endpoints.bind(port=port_of(first))

    assert descriptors() == before


async def test_foreign_address(
    transport: aioudp.TransportKind, family: socket.AddressFamily
) -> None:
    """An address of another machine is refused, and named (B007)."""
    before = descriptors()

    with pytest.raises(OSError) as caught:
        await aioudp.bind((FOREIGN[family], 0), transport=transport)

    assert caught.value.errno == errno.EADDRNOTAVAIL
    assert FOREIGN[family] in str(caught.value)
    assert descriptors() == before


@pytest.mark.parametrize(
    ("host", "family"),
    [("127.0.0.1", socket.AF_INET6), ("::1", socket.AF_INET), ("::", socket.AF_INET)],
    ids=["ipv4-as-ipv6", "ipv6-as-ipv4", "every-ipv6-as-ipv4"],
)
async def test_address_of_another_family(
    transport: aioudp.TransportKind, host: str, family: int
) -> None:
    """An address that is not of the family asked for is refused (B009) (B032)."""
    before = descriptors()

    with pytest.raises(ValueError, match="family mismatch"):
        await aioudp.bind((host, 0), family=family, transport=transport)

    assert descriptors() == before


@OPENINGS
@pytest.mark.parametrize(
    "addr",
    [
        5,
        object(),
        [],
        (),
        ("127.0.0.1",),
        ["127.0.0.1", 9],
        ("::1", 9, 0, 0, 0),
        (b"127.0.0.1", 9),
        (127, 9),
        ("127.0.0.1", "9"),
        ("127.0.0.1", 9.0),
        ("127.0.0.1", None),
        ("::1", 9, 0, "lo"),
    ],
    ids=repr,
)
def test_what_is_no_address(open_: Callable[..., Any], addr: Any) -> None:
    """What has not the shape of an address is refused at the call (B011)."""
    with pytest.raises(TypeError):
        open_(addr)


@OPENINGS
@pytest.mark.parametrize(
    ("addr", "shown"),
    [
        ("127.0.0.1:9999", ("127.0.0.1", 9999)),
        ("[::1]:53", ("::1", 53)),
        ("localhost:0", ("localhost", 0)),
        (":9999", ("", 9999)),
    ],
    ids=repr,
)
def test_text_is_no_address(open_: Callable[..., Any], addr: Any, shown: Any) -> None:
    """Text without a slash is no path; the error shows the tuple to write (B011)."""
    with pytest.raises(ValueError, match="is not an address") as caught:
        open_(addr)
    assert repr(addr) in str(caught.value)
    assert repr(shown) in str(caught.value)


@pytest.mark.parametrize("addr", ["localhost", "echo.sock", b"echo.sock", "9999", ""])
@pytest.mark.parametrize("remote", [("127.0.0.1", 9), "/run/peer"], ids=repr)
def test_text_is_no_local_addr(addr: Any, remote: Any) -> None:
    """Nor is it one to send from, of either kind (B011)."""
    with pytest.raises(ValueError, match="address"):
        aioudp.bind(addr)
    with pytest.raises(ValueError, match="address"):
        aioudp.connect(remote, local_addr=addr)


@pytest.mark.parametrize("port", [-1, 65536, 70000, 2**31, 2**64])
def test_port_out_of_range(port: int, host: str) -> None:
    """A port out of range is refused at the call, never cut short (B049) (B086)."""
    with pytest.raises(ValueError, match="port"):
        aioudp.bind((host, port))


async def test_descriptor_is_not_inherited(endpoints: Endpoints) -> None:
    """A program that is started inherits no endpoint (B030)."""
    endpoint = await endpoints.bind()

    assert not os.get_inheritable(endpoint.fileno())


async def test_a_hundred_endpoints_at_once(
    transport: aioudp.TransportKind, host: str
) -> None:
    """A hundred endpoints open at once, each on its own port (B029)."""
    async with AsyncExitStack() as stack:
        openings = (aioudp.bind((host, 0), transport=transport) for _ in range(100))
        opened = await asyncio.gather(*openings)
        for endpoint in opened:
            stack.push_async_callback(endpoint.aclose)

        assert len({endpoint.local_addr for endpoint in opened}) == 100

    assert all(endpoint.closed for endpoint in opened)


@OPENINGS
async def test_no_descriptor_left(
    transport: aioudp.TransportKind,
    host: str,
    open_: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the process has no descriptor left the error names the address (B017)."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "__init__", refuse)
        patch.setattr(socket.socket, "__del__", lambda self: None, raising=False)
        with pytest.raises(OSError) as caught:
            await open_((host, 9), transport=transport)

    assert caught.value.errno == errno.EMFILE
    assert host in str(caught.value)


@OPENINGS
@pytest.mark.parametrize("broken", ["setblocking", "setsockopt", "bind", "getsockname"])
async def test_failing_system_call(
    transport: aioudp.TransportKind,
    host: str,
    broken: str,
    open_: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever call fails, its error is raised and the socket closed (B017) (B054)."""
    with plain_socket(host) as peer:
        addr = peer.getsockname() if open_ is aioudp.connect else (host, 0)
        options: dict[str, Any] = {"transport": transport, "receive_buffer": 65536}
        if open_ is aioudp.connect:
            options["local_addr"] = (host, 0)
        before = descriptors()

        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", BrokenSocket)
            patch.setattr(BrokenSocket, "broken", broken)
            with pytest.raises(OSError) as caught:
                await open_(addr, **options)

        assert caught.value.errno == errno.ENOBUFS
        assert descriptors() == before


# -- cancelling


@OPENINGS
@pytest.mark.parametrize("turns", range(5))
async def test_cancelled_opening(
    transport: aioudp.TransportKind, host: str, turns: int, open_: Callable[..., Any]
) -> None:
    """Cancelling in whatever turn of the loop leaves no descriptor (B019) (B020)."""
    with plain_socket(host) as peer:
        addr = peer.getsockname() if open_ is aioudp.connect else (host, 0)
        before = descriptors()
        opening = asyncio.ensure_future(open_(addr, transport=transport))
        for _ in range(turns):
            await asyncio.sleep(0)

        opening.cancel()

        endpoint: Any = await outcome(opening)
        if isinstance(endpoint, aioudp.Endpoint):  # it was faster
            await endpoint.aclose()
        else:
            assert isinstance(endpoint, asyncio.CancelledError)
        await turns_until(lambda: descriptors() == before)


@OPENINGS
async def test_cancelled_look_up(
    transport: aioudp.TransportKind,
    open_: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    until_blocked: UntilBlocked,
) -> None:
    """Cancelling while a host name is looked up leaves no descriptor (B019) (B020)."""

    async def never(*args: Any, **kwargs: Any) -> None:
        await asyncio.get_running_loop().create_future()

    look_up_with(monkeypatch, never)
    before = descriptors()
    opening = asyncio.ensure_future(open_(("name.invalid", 9), transport=transport))
    await until_blocked(opening)

    opening.cancel()

    with pytest.raises(asyncio.CancelledError):
        await opening
    assert descriptors() == before


# -- host names


async def test_host_name_is_looked_up(
    transport: aioudp.TransportKind, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host name is looked up by the event loop and the result is bound."""
    asked = []

    async def answer(name: str, port: int, **kwargs: Any) -> Any:
        asked.append((name, port))
        return found((host, port))

    look_up_with(monkeypatch, answer)

    async with aioudp.bind(("name.invalid", 0), transport=transport) as endpoint:
        assert endpoint.local_addr[0] == host
    assert asked == [("name.invalid", 0)]


async def test_next_address_of_a_host_name(
    transport: aioudp.TransportKind,
    family: socket.AddressFamily,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the first address of a name cannot be bound, the next one is."""

    async def answer(name: str, port: int, **kwargs: Any) -> Any:
        return found((FOREIGN[family], port), ("127.0.0.1", port))

    look_up_with(monkeypatch, answer)

    async with aioudp.bind(("name.invalid", 0), transport=transport) as endpoint:
        assert endpoint.local_addr[0] == "127.0.0.1"


@OPENINGS
async def test_numeric_host_is_not_looked_up(
    transport: aioudp.TransportKind,
    host: str,
    open_: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A numeric host never reaches the resolver (B014)."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        pytest.fail("the resolver was called")

    look_up_with(monkeypatch, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with plain_socket(host) as peer:
        addr = peer.getsockname() if open_ is aioudp.connect else (host, 0)

        async with open_(addr, transport=transport) as endpoint:
            await endpoint.send(b"hello", peer.getsockname())

        assert read(peer) == [b"hello"]


@OPENINGS
async def test_look_up_without_result(
    transport: aioudp.TransportKind,
    open_: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A look-up that finds nothing is an OSError that names the host (B015)."""

    async def answer(*args: Any, **kwargs: Any) -> Any:
        return []

    look_up_with(monkeypatch, answer)
    before = descriptors()

    with pytest.raises(OSError, match=r"name\.invalid"):
        await open_(("name.invalid", 9), transport=transport)

    assert descriptors() == before


@OPENINGS
async def test_look_up_that_fails(
    transport: aioudp.TransportKind,
    open_: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error of the resolver is raised, and names the host (B016)."""

    async def answer(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    look_up_with(monkeypatch, answer)
    before = descriptors()

    with pytest.raises(socket.gaierror, match=r"name\.invalid") as caught:
        await open_(("name.invalid", 9), transport=transport)

    assert caught.value.errno == socket.EAI_NONAME
    assert descriptors() == before


async def test_retry_after_a_failed_look_up(
    transport: aioudp.TransportKind, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same opening call succeeds once the resolver does (B053)."""
    answers: list[Any] = [socket.gaierror(socket.EAI_AGAIN, "try again")]

    async def answer(name: str, port: int, **kwargs: Any) -> Any:
        if answers:
            raise answers.pop()
        return found((host, port))

    look_up_with(monkeypatch, answer)
    opening = aioudp.connect(("name.invalid", 9), transport=transport)
    with pytest.raises(socket.gaierror):
        await opening

    async with opening as endpoint:
        assert endpoint.remote_addr is not None
        assert endpoint.remote_addr[0] == host


# -- resolve


@pytest.mark.parametrize(
    ("host", "result"),
    [
        ("127.0.0.1", ("127.0.0.1", 53)),
        ("::1", ("::1", 53, 0, 0)),
        ("0:0:0:0:0:0:0:1", ("::1", 53, 0, 0)),
        ("fe80::1%1", ("fe80::1", 53, 0, 1)),
        ("::ffff:127.0.0.1", ("127.0.0.1", 53)),
    ],
)
async def test_resolve_numeric(
    host: str, result: aioudp.Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A numeric host is resolved without the resolver (B014)."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        pytest.fail("the resolver was called")

    look_up_with(monkeypatch, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)

    assert await aioudp.resolve(host, 53) == result


async def test_resolve_a_name(family: socket.AddressFamily, host: str) -> None:
    """A name is resolved to an address of the family asked for."""
    loop = asyncio.get_running_loop()
    try:
        await loop.getaddrinfo("localhost", 53, family=family)
    except socket.gaierror:
        pytest.skip(f"cannot: localhost: it has no address of {family.name}")

    addr = await aioudp.resolve("localhost", 53, family=family)

    assert addr[:2] == (host, 53)


async def test_resolved_address_is_sent_to(endpoints: Endpoints) -> None:
    """What resolve returns, send takes."""
    server, client = await endpoints.bind(), await endpoints.bind()
    addr = await aioudp.resolve(str(server.local_addr[0]), port_of(server))

    await client.send(b"hello", addr)

    assert await server.recv() == (b"hello", client.local_addr)


async def test_resolve_asks_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is looked up by the event loop, off the event loop's thread."""

    async def answer(name: str, port: int, **kwargs: Any) -> Any:
        assert name == "name.invalid"
        return found(("192.0.2.7", port), ("2001:db8::7", port, 0, 0))

    look_up_with(monkeypatch, answer)

    assert await aioudp.resolve("name.invalid", 53) == ("192.0.2.7", 53)


async def test_resolve_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is not found is the resolver's error, and is named (B016)."""

    async def answer(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    look_up_with(monkeypatch, answer)

    with pytest.raises(socket.gaierror, match=r"name\.invalid"):
        await aioudp.resolve("name.invalid", 53)


@pytest.mark.parametrize(
    ("host", "port"),
    [(None, 53), (b"localhost", 53), (1, 53), ("localhost", "53"), ("::1", 53.0)],
    ids=repr,
)
async def test_resolve_what_is_no_name(host: Any, port: Any) -> None:
    """Resolving takes a str and an int (B010)."""
    with pytest.raises(TypeError):
        await aioudp.resolve(host, port)


@pytest.mark.parametrize("port", [-1, 65536, 2**64])
async def test_resolve_port_out_of_range(port: int, host: str) -> None:
    """Resolving with a port out of range is refused (B086)."""
    with pytest.raises(ValueError, match="port"):
        await aioudp.resolve(host, port)


async def test_resolve_nothing() -> None:
    """An empty host is refused: it names no peer."""
    with pytest.raises(ValueError, match="host"):
        await aioudp.resolve("", 53)


@pytest.mark.parametrize(
    ("host", "family"), [("127.0.0.1", socket.AF_INET6), ("::1", socket.AF_INET)]
)
async def test_resolve_another_family(host: str, family: int) -> None:
    """A numeric host of another family than asked for is refused (B032)."""
    with pytest.raises(ValueError, match="family mismatch"):
        await aioudp.resolve(host, 53, family=family)


# -- adopting

AS = pytest.mark.parametrize("as_", ["socket", "fd"])


def given(sock: socket.socket, as_: str) -> socket.socket | int:
    """Return the socket, or a descriptor that is the only one to own it."""
    return sock if as_ == "socket" else sock.detach()


@AS
async def test_adopt_bound(
    transport: aioudp.TransportKind, host: str, as_: str
) -> None:
    """An adopted socket keeps its address and works (B021)."""
    with plain_socket(host) as sock, plain_socket(host) as peer:
        addr = sock.getsockname()

        async with aioudp.adopt(given(sock, as_), transport=transport) as endpoint:
            assert endpoint.local_addr == addr
            assert endpoint.remote_addr is None
            peer.sendto(b"question", addr)
            assert await endpoint.recv() == (b"question", peer.getsockname())
            await endpoint.send(b"answer", peer.getsockname())
            assert read(peer) == [b"answer"]


async def test_adopted_socket_does_not_block(
    transport: aioudp.TransportKind, host: str
) -> None:
    """A blocking socket is made non-blocking (B021)."""
    with plain_socket(host) as sock:
        sock.setblocking(True)

        async with aioudp.adopt(sock, transport=transport) as endpoint:
            assert endpoint.get_extra_info("socket").gettimeout() == 0


@AS
async def test_adopt_connected(
    transport: aioudp.TransportKind, host: str, as_: str
) -> None:
    """An adopted socket that is connected makes a connected endpoint (B022)."""
    with plain_socket(host) as sock, plain_socket(host) as peer:
        sock.connect(peer.getsockname())

        async with aioudp.adopt(given(sock, as_), transport=transport) as endpoint:
            assert endpoint.remote_addr == peer.getsockname()
            await endpoint.send(b"hello")
            assert read(peer) == [b"hello"]


@AS
async def test_adopt_unbound(
    transport: aioudp.TransportKind, family: socket.AddressFamily, as_: str
) -> None:
    """An adopted socket without an address is bound to a free port (B003)."""
    sock = socket.socket(family, socket.SOCK_DGRAM)

    async with aioudp.adopt(given(sock, as_), transport=transport) as endpoint:
        assert port_of(endpoint) > 0


@needs_ipv6
@pytest.mark.parametrize("fields", [2, 4])
async def test_adopted_dual_stack_socket(
    transport: aioudp.TransportKind, fields: int
) -> None:
    """An adopted socket for IPv4 and IPv6 reads and writes plain addresses (B190)."""
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", 0))
    host = "127.0.0.1" if fields == 2 else "::1"
    async with aioudp.adopt(sock, transport=transport) as endpoint:
        with plain_socket(host) as peer:
            peer.sendto(b"question", (host, port_of(endpoint)))
            data, addr = await endpoint.recv()
            await endpoint.send(b"answer", addr)

            assert (data, addr) == (b"question", peer.getsockname())
            assert len(addr) == fields
            assert read(peer) == [b"answer"]


@pytest.mark.parametrize(
    "sock_or_fd", [None, "3", b"3", 3.0, object(), True, False], ids=repr
)
def test_adopt_what_is_no_socket(sock_or_fd: Any) -> None:
    """Only a socket or a descriptor is adopted; a bool is neither (B027)."""
    with pytest.raises(TypeError):
        aioudp.adopt(sock_or_fd)


@pytest.mark.parametrize("option", ["family", "reuse_port"])
def test_adopt_with_a_decided_option(option: str) -> None:
    """What the socket has decided is refused, and the option named (B026)."""
    options: dict[str, Any] = {option: True}
    with plain_socket("127.0.0.1") as sock, pytest.raises(ValueError, match=option):
        aioudp.adopt(sock, **options)


@AS
async def test_adopt_stream(
    transport: aioudp.TransportKind, family: int, as_: str
) -> None:
    """A stream socket is refused, and still the caller's (B023)."""
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock_or_fd = sock if as_ == "socket" else sock.fileno()

        with pytest.raises(ValueError, match="datagram"):
            await aioudp.adopt(sock_or_fd, transport=transport)

        os.fstat(sock.fileno())  # still open
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == sock.type


async def test_adopt_another_family(transport: aioudp.TransportKind) -> None:
    """A datagram socket that is neither IP nor UNIX is refused (B027)."""
    if not hasattr(socket, "AF_NETLINK"):
        pytest.skip("cannot: netlink: no other family to try")
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM) as sock:
        with pytest.raises(ValueError, match="IP or a UNIX socket"):
            await aioudp.adopt(sock, transport=transport)

        os.fstat(sock.fileno())  # still open


async def test_adopt_closed_descriptor(transport: aioudp.TransportKind) -> None:
    """A descriptor that is not open is refused with EBADF (B027)."""
    with plain_socket("127.0.0.1") as sock:
        fd = sock.fileno()

    with pytest.raises(OSError) as caught:
        await aioudp.adopt(fd, transport=transport)

    assert caught.value.errno == errno.EBADF


async def test_adopt_closed_socket(transport: aioudp.TransportKind) -> None:
    """A socket that is closed is refused with EBADF (B027)."""
    with plain_socket("127.0.0.1") as sock:
        pass

    with pytest.raises(OSError) as caught:
        await aioudp.adopt(sock, transport=transport)

    assert caught.value.errno == errno.EBADF


async def test_adopt_what_is_a_file(transport: aioudp.TransportKind) -> None:
    """A descriptor of something else is refused, and still open (B027)."""
    with open(os.devnull, "rb") as file:  # noqa: ASYNC230 - it does not block
        with pytest.raises(OSError) as caught:
            await aioudp.adopt(file.fileno(), transport=transport)

        assert caught.value.errno == errno.ENOTSOCK
        os.fstat(file.fileno())  # still open


async def test_adopt_twice(
    endpoints: Endpoints, transport: aioudp.TransportKind
) -> None:
    """A socket that carries an endpoint is refused, and goes on (B025)."""
    server, client = await endpoints.pair()

    with pytest.raises(ValueError, match="already"):
        await aioudp.adopt(server.fileno(), transport=transport)

    await client.send(b"hello")
    assert await server.recv() == (b"hello", client.local_addr)


async def test_adopt_twice_at_once(transport: aioudp.TransportKind, host: str) -> None:
    """Of two tasks that adopt one socket at once only one gets it (B025)."""
    with plain_socket(host) as sock:
        results = await asyncio.gather(
            aioudp.adopt(sock, transport=transport),
            aioudp.adopt(sock, transport=transport),
            return_exceptions=True,
        )

        opened = [one for one in results if isinstance(one, aioudp.Endpoint)]
        for endpoint in opened:
            await endpoint.aclose()
        assert len(opened) == 1


@AS
async def test_adopt_again_after_close(
    transport: aioudp.TransportKind, host: str, as_: str
) -> None:
    """A descriptor whose endpoint is closed is adopted like any other (B025)."""
    for _ in range(3):  # the system gives the lowest free number again
        sock = socket.socket(
            socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM
        )

        async with aioudp.adopt(given(sock, as_), transport=transport) as endpoint:
            assert not endpoint.closed


async def test_closing_closes_the_adopted_socket(
    transport: aioudp.TransportKind, host: str
) -> None:
    """Closing the endpoint closes the socket it was made of (B028)."""
    with plain_socket(host) as sock:
        endpoint = await aioudp.adopt(sock, transport=transport)

        await endpoint.aclose()

        assert sock.fileno() == -1


async def test_closing_closes_the_adopted_descriptor(
    transport: aioudp.TransportKind, host: str
) -> None:
    """Closing the endpoint closes the descriptor it was made of (B028)."""
    with plain_socket(host) as sock:
        fd = sock.detach()
    endpoint = await aioudp.adopt(fd, transport=transport)

    await endpoint.aclose()

    with pytest.raises(OSError) as caught:
        os.fstat(fd)
    assert caught.value.errno == errno.EBADF


@AS
async def test_failed_adoption(transport: aioudp.TransportKind, as_: str) -> None:
    """After a failed adoption the socket is still the caller's, and open (B017)."""
    with plain_socket("127.0.0.1") as plain:
        sock = BrokenSocket(fileno=plain.detach())
    with sock:
        sock_or_fd = sock if as_ == "socket" else sock.fileno()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket, "socket", BrokenSocket)
            patch.setattr(BrokenSocket, "broken", "setsockopt")
            with pytest.raises(OSError) as caught:
                await aioudp.adopt(
                    sock_or_fd, receive_buffer=65536, transport=transport
                )

        assert caught.value.errno == errno.ENOBUFS
        assert sock.fileno() != -1
        os.fstat(sock.fileno())  # still open


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@AS
@pytest.mark.parametrize("turns", range(4))
async def test_cancelled_adoption(
    transport: aioudp.TransportKind, as_: str, turns: int
) -> None:
    """After a cancelled adoption the socket is the caller's, or closed (B019).

    It is closed only if the event loop's own transport had got hold of it.
    """
    with plain_socket("127.0.0.1") as sock:
        sock_or_fd = sock if as_ == "socket" else sock.fileno()
        opening = asyncio.ensure_future(aioudp.adopt(sock_or_fd, transport=transport))
        for _ in range(turns):
            await asyncio.sleep(0)

        opening.cancel()

        endpoint: Any = await outcome(opening)
        if isinstance(endpoint, aioudp.Endpoint):  # it was faster, and owns it
            await endpoint.aclose()
            sock.detach()
        else:
            assert isinstance(endpoint, asyncio.CancelledError)
            for _ in range(4):
                await asyncio.sleep(0)  # the loop's transport closes in a later turn
            if transport == "loop" and not is_open(sock.fileno()):
                sock.detach()
                return
            async with aioudp.adopt(sock.detach(), transport=transport) as endpoint:
                assert not endpoint.closed


@unix_only
async def test_adopt_one_of_a_pair(transport: aioudp.TransportKind) -> None:
    """One end of a socket pair is adopted, and talks to the other (B022)."""
    mine, other = socket.socketpair(AF_UNIX, socket.SOCK_DGRAM)
    with other:
        async with aioudp.adopt(mine, transport=transport) as endpoint:
            await endpoint.send(b"question")
            assert read(other) == [b"question"]
            other.send(b"answer")
            assert await endpoint.recv() == (b"answer", "")


@linux_only
async def test_adopted_socket_has_no_error_queue(
    transport: aioudp.TransportKind, until_blocked: UntilBlocked
) -> None:
    """Adopting switches IP_RECVERR off, which would keep the loop awake (B137)."""
    with plain_socket("127.0.0.1") as sock:
        sock.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR

        async with aioudp.adopt(sock, transport=transport) as endpoint:
            assert sock.getsockopt(socket.IPPROTO_IP, 11) == 0
            with refusing_address("127.0.0.1") as nobody:
                await endpoint.send(b"hello", nobody)
            receiving = asyncio.ensure_future(endpoint.recv())
            await until_blocked(receiving)

            assert not receiving.done()
            receiving.cancel()
