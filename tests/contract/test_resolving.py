"""Host names: looked up when an endpoint is opened, and by ``resolve``."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

from .support import descriptors, plain_socket, port_of, read

if TYPE_CHECKING:
    from tests.conftest import Endpoints

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


def local_name(host: str) -> str:
    """Return a name of *host* that is looked up on this machine alone: hosts(5)."""
    hosts = Path("/etc/hosts")
    for line in hosts.read_text().splitlines() if hosts.exists() else ():
        address, *names = line.partition("#")[0].split() or [""]
        if address == host and names:
            return names[0]
    pytest.skip(f"cannot: hosts: no name of {host} in {hosts}")


async def test_resolve_a_name(family: socket.AddressFamily, host: str) -> None:
    """A name is resolved to an address of the family asked for."""
    name = local_name(host)

    addr = await aioudp.resolve(name, 53, family=family)

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


@pytest.mark.no_matrix
@pytest.mark.parametrize(
    ("host", "port"),
    [(None, 53), (b"localhost", 53), (1, 53), ("localhost", "53"), ("::1", 53.0)],
    ids=repr,
)
async def test_resolve_what_is_no_name(host: Any, port: Any) -> None:
    """Resolving takes a str and an int (B010)."""
    with pytest.raises(TypeError):
        await aioudp.resolve(host, port)


@pytest.mark.no_matrix
@pytest.mark.parametrize("port", [-1, 65536, 2**64])
async def test_resolve_port_out_of_range(port: int, host: str) -> None:
    """Resolving with a port out of range is refused (B086)."""
    with pytest.raises(ValueError, match="port"):
        await aioudp.resolve(host, port)


@pytest.mark.no_matrix
async def test_resolve_nothing() -> None:
    """An empty host is refused: it names no peer."""
    with pytest.raises(ValueError, match="host"):
        await aioudp.resolve("", 53)


@pytest.mark.no_matrix
@pytest.mark.parametrize(
    ("host", "family"), [("127.0.0.1", socket.AF_INET6), ("::1", socket.AF_INET)]
)
async def test_resolve_another_family(host: str, family: int) -> None:
    """A numeric host of another family than asked for is refused (B032)."""
    with pytest.raises(ValueError, match="family mismatch"):
        await aioudp.resolve(host, 53, family=family)
