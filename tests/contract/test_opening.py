"""Opening: what ``bind`` gives, and what goes wrong before there is an endpoint."""

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
    descriptors,
    needs_ipv6,
    outcome,
    plain_socket,
    port_of,
    turns_until,
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


async def test_tasks_that_share_an_opening(
    transport: aioudp.TransportKind, host: str
) -> None:
    """Each block closes its own endpoint, in whatever order the blocks end."""
    opening = aioudp.bind((host, 0), transport=transport)
    both, first_is_out = asyncio.Barrier(2), asyncio.Event()

    async def first() -> None:
        async with opening as endpoint:
            await both.wait()
        assert endpoint.closed
        first_is_out.set()

    async def second() -> None:
        async with opening as endpoint:
            await both.wait()
            await first_is_out.wait()
            assert not endpoint.closed
        assert endpoint.closed

    await asyncio.gather(first(), second())


async def test_a_block_that_ends_in_another_task(
    transport: aioudp.TransportKind, host: str
) -> None:
    """As that of a generator does, which another task closes."""
    opening = aioudp.bind((host, 0), transport=transport)
    endpoint = await asyncio.create_task(opening.__aenter__())

    await asyncio.create_task(opening.__aexit__(None, None, None))

    assert endpoint.closed


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


async def test_port(
    transport: aioudp.TransportKind, family: socket.AddressFamily, host: str
) -> None:
    """It's the one the socket has, and is known after closing as well."""
    for local_addr in [(host, 0), ("", 0)]:
        async with aioudp.bind(local_addr, transport=transport) as endpoint:
            port = endpoint.get_extra_info("socket").getsockname()[1]
            assert endpoint.port == port > 0
        assert endpoint.port == port


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


@pytest.mark.no_matrix
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


# -- what isn't open yet


@pytest.mark.parametrize("name", ["send", "recv", "local_addr", "request"])
def test_use_without_await(name: str) -> None:
    """Who forgets to await the call is told so."""
    opening: Any = aioudp.bind(("127.0.0.1", 0))

    with pytest.raises(AttributeError) as caught:
        getattr(opening, name)

    assert f"{name!r}; open it with 'async with' or 'await'" in str(caught.value)
    assert not hasattr(opening, name)


def test_private_attributes_are_missing_as_ever() -> None:
    """Nobody is told to await who copies or inspects the object."""
    opening: Any = aioudp.bind(("127.0.0.1", 0))

    with pytest.raises(AttributeError) as caught:
        getattr(opening, "__wrapped__")  # noqa: B009, useless as an expression

    assert "await" not in str(caught.value)


def test_with_instead_of_async_with() -> None:
    """The error shows the difference."""
    opening: Any = aioudp.bind(("127.0.0.1", 0))

    with pytest.raises(TypeError, match="use 'async with'"), opening:
        pass
