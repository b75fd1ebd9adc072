"""Options of one send: how this datagram leaves, and only this one.

What was sent is read by a plain socket, with the control messages of the kernel.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from unittest.mock import Mock

import pytest

import aioudp
from aioudp._endpoint.endpoint import send_step
from aioudp._system import send_options
from aioudp._transports import exact

from .support import AF_UNIX, linux_only, needs_ipv6, plain_socket, unix_only

if TYPE_CHECKING:
    from tests.conftest import Endpoints, UntilBlocked

LOOPBACK: Final = socket.if_nametoindex("lo") if sys.platform == "linux" else 1

pytestmark = linux_only

# include/uapi/linux/in.h, in6.h: level, option that switches it on, type of message
_TOS = {socket.AF_INET: (0, 13, 1), socket.AF_INET6: (41, 66, 67)}
_HOPS = {socket.AF_INET: (0, 12, 2), socket.AF_INET6: (41, 51, 52)}
SO_NO_CHECK: Final = 11


class Seen(NamedTuple):
    """What a plain socket sees of one datagram."""

    data: bytes
    host: str
    tos: int
    hop_limit: int


class Witness:
    """A plain socket that sees how a datagram came."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock: Any = sock  # on Windows it has no recvmsg
        self.addr = sock.getsockname()
        for level, option, _ in (_TOS[sock.family], _HOPS[sock.family]):
            sock.setsockopt(level, option, 1)

    def see(self, count: int = 1) -> list[Seen]:
        """Return what is to be seen of the next *count* datagrams."""
        return [self._see() for _ in range(count)]

    def _see(self) -> Seen:
        data, control, _, addr = self._sock.recvmsg(1 << 16, 256)
        values = {(level, kind): value for level, kind, value in control}
        numbers = []
        for level, _, kind in (_TOS[self._sock.family], _HOPS[self._sock.family]):
            value = values[level, kind]
            numbers.append(value[0] if len(value) < 4 else struct.unpack("i", value)[0])
        return Seen(data, addr[0], *numbers)


@pytest.fixture
def witness(host: str) -> Iterator[Witness]:
    """Return a plain socket on the host of the test."""
    with plain_socket(host) as sock:
        yield Witness(sock)


@pytest.fixture
def usual(witness: Witness, host: str) -> Seen:
    """Return how a datagram looks that nobody said anything about."""
    with plain_socket(host) as sock:
        sock.sendto(b"usual", witness.addr)
    return witness.see()[0]


# -- one datagram


@pytest.mark.parametrize("connected", [False, True])
async def test_traffic_class_and_hop_limit(
    endpoints: Endpoints, witness: Witness, usual: Seen, connected: bool
) -> None:
    """They hold for the one datagram; the socket stays as it is (B170)."""
    if connected:
        endpoint = await endpoints.connect(witness.addr)
    else:
        endpoint = await endpoints.bind()
    addr = None if connected else witness.addr

    await endpoint.send(b"1", addr, tos=0b1010_11, hop_limit=5)
    await endpoint.send(b"2", addr)
    await endpoint.send(b"3", addr, tos=255)
    await endpoint.send(b"4", addr, hop_limit=255)
    await endpoint.send(b"", addr, hop_limit=1, tos=0)

    host = usual.host
    assert witness.see(5) == [
        (b"1", host, 0b1010_11, 5),
        (b"2", host, usual.tos, usual.hop_limit),
        (b"3", host, 255, usual.hop_limit),
        (b"4", host, usual.tos, 255),
        (b"", host, 0, 1),
    ]
    assert endpoint.stats().sent == 5


@pytest.mark.parametrize("host", ["127.0.0.1"])
@pytest.mark.parametrize("transport", ["selector", "loop"])
async def test_the_address_to_send_from(
    witness: Witness, transport: aioudp.TransportKind
) -> None:
    """Of an endpoint on every address, one is chosen for each send (B172)."""
    async with aioudp.bind(("0.0.0.0", 0), transport=transport) as endpoint:
        for local_addr in ("127.0.0.7", ("127.0.0.8", 1), ("127.0.0.9", 0)):
            await endpoint.send(b"x", witness.addr, local_addr=local_addr)
        await endpoint.send(b"x", witness.addr)

    assert [seen.host for seen in witness.see(4)] == [
        "127.0.0.7",
        "127.0.0.8",
        "127.0.0.9",
        "127.0.0.1",
    ]


@needs_ipv6
async def test_dual_stack() -> None:
    """To an IPv4 peer the options are those of IPv4."""
    async with aioudp.bind(("", 0)) as endpoint:
        with plain_socket("127.0.0.1") as v4, plain_socket("::1") as v6:
            old, new = Witness(v4), Witness(v6)
            await endpoint.send(
                b"4", old.addr, tos=9, hop_limit=8, local_addr="127.0.0.3"
            )
            await endpoint.send(
                b"6", new.addr[:2], tos=7, hop_limit=6, local_addr=("::1", 0, 0, 0)
            )
            assert old.see() == [(b"4", "127.0.0.3", 9, 8)]
            assert new.see() == [(b"6", "::1", 7, 6)]
            with pytest.raises(ValueError, match="family mismatch"):
                await endpoint.send(b"x", old.addr, local_addr="::1")
            with pytest.raises(ValueError, match="family mismatch"):
                await endpoint.send(b"x", new.addr, local_addr="127.0.0.1")


@pytest.mark.parametrize("interface", [LOOPBACK, "lo", str(LOOPBACK)])
async def test_the_interface_to_leave_by(
    endpoints: Endpoints, witness: Witness, interface: int | str
) -> None:
    """By its index or its name."""
    endpoint = await endpoints.bind()

    await endpoint.send(b"x", witness.addr, interface=interface)

    assert [seen.data for seen in witness.see()] == [b"x"]


# -- many datagrams


@pytest.mark.parametrize("offload", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3, 200])
async def test_segments(
    endpoints: Endpoints, witness: Witness, usual: Seen, offload: bool, count: int
) -> None:
    """Every datagram of one buffer leaves in the same way, and nothing after it."""
    endpoint = await endpoints.bind(offload=offload)
    payload = bytes(range(100)) * count

    await endpoint.send(
        payload, witness.addr, segment_size=100, tos=8, hop_limit=7, interface="lo"
    )
    await endpoint.send(b"after" * 40, witness.addr, segment_size=100)

    assert witness.see(count) == [(payload[:100], usual.host, 8, 7)] * count
    for seen in witness.see(2):
        assert (seen.tos, seen.hop_limit) == (usual.tos, usual.hop_limit)


async def test_refused_trains(endpoints: Endpoints, witness: Witness) -> None:
    """Where the kernel refuses a train, each of its datagrams keeps the options."""
    endpoint = await endpoints.bind()
    sock = endpoint.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)  # then there are no trains

    await endpoint.send(b"x" * 50, witness.addr, segment_size=20, tos=3, hop_limit=2)
    await endpoint.send_many([(b"y", witness.addr)] * 3, tos=4, hop_limit=6)

    seen = witness.see(6)
    assert [(len(one.data), *one[2:]) for one in seen[:3]] == [
        (20, 3, 2),
        (20, 3, 2),
        (10, 3, 2),
    ]
    assert [one[2:] for one in seen[3:]] == [(4, 6)] * 3


@pytest.mark.parametrize("offload", [True, False])
async def test_each_of_many_has_its_own(
    endpoints: Endpoints, witness: Witness, usual: Seen, offload: bool
) -> None:
    """Pairs have what the call says, triples what they say themselves."""
    endpoint = await endpoints.bind(offload=offload)
    addr = witness.addr
    plain = aioudp.SendOptions()

    datagrams: list[Any] = [
        (b"1", addr),
        (b"2", addr, aioudp.SendOptions(tos=1)),
        (b"3", addr, aioudp.SendOptions(tos=1)),
        (b"4", addr, aioudp.SendOptions(tos=2)),
        (b"5", addr, None),
        (b"6", addr, plain),
        (bytearray(b"7"), addr),
        [b"8", addr],  # not what the types say, but as good as a pair
    ]
    await endpoint.send_many(datagrams, tos=40, hop_limit=50)

    data_and_numbers = [(seen.data, *seen[2:]) for seen in witness.see(8)]
    assert data_and_numbers == [
        (b"1", 40, 50),
        (b"2", 1, usual.hop_limit),
        (b"3", 1, usual.hop_limit),
        (b"4", 2, usual.hop_limit),
        (b"5", usual.tos, usual.hop_limit),
        (b"6", usual.tos, usual.hop_limit),
        (b"7", 40, 50),
        (b"8", 40, 50),
    ]


async def test_many_more_than_one_batch(endpoints: Endpoints, witness: Witness) -> None:
    """Runs with equal options may share a train; none gets what is another's."""
    endpoint = await endpoints.bind()
    classes = [number // 7 % 60 * 4 for number in range(1000)]

    for start in range(0, 1000, 100):  # fewer than the witness's buffer holds
        await endpoint.send_many(
            (b"%03d" % number, witness.addr, aioudp.SendOptions(tos=classes[number]))
            for number in range(start, start + 100)
        )
        for number, seen in enumerate(witness.see(100), start):
            assert (seen.data, seen.tos) == (b"%03d" % number, classes[number])


async def test_equal_options_share_trains(
    endpoints: Endpoints, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What holds for all of a call is worked out once."""
    steered = Mock(wraps=send_options.steer)
    monkeypatch.setattr(exact, "steer", steered)
    endpoint = await endpoints.bind()

    await endpoint.send_many([(b"x", witness.addr)] * 50, tos=4)

    assert {one.tos for one in witness.see(50)} == {4}
    assert steered.call_count == 1


async def test_connected_without_an_address(
    endpoints: Endpoints, witness: Witness
) -> None:
    """``None`` is the peer, also in a triple."""
    endpoint = await endpoints.connect(witness.addr)

    await endpoint.send_many([(b"1", None, aioudp.SendOptions(tos=1)), (b"2", None)])
    await endpoint.send_many([(b"3", None)], tos=3)

    assert [(one.data, one.tos) for one in witness.see(3)] == [
        (b"1", 1),
        (b"2", 0),
        (b"3", 3),
    ]


@needs_ipv6
@pytest.mark.parametrize("host", ["127.0.0.1"])
async def test_connected_to_a_mapped_address(witness: Witness) -> None:
    """What leaves as IPv4 has the options of IPv4, whatever the socket is."""
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.connect((f"::ffff:{witness.addr[0]}", witness.addr[1]))
    async with aioudp.adopt(sock) as endpoint:
        await endpoint.send(b"1", tos=5, hop_limit=6)
        await endpoint.send(b"2" * 20, witness.addr, segment_size=10, tos=7)

    assert [(one.tos, one.data) for one in witness.see(3)] == [
        (5, b"1"),
        (7, b"2" * 10),
        (7, b"2" * 10),
    ]


# -- what is refused


@pytest.mark.no_matrix
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tos": -1}, ValueError, "tos must be from 0 to 255, got -1"),
        ({"tos": 256}, ValueError, "tos must be from 0 to 255, got 256"),
        ({"tos": "1"}, TypeError, "tos must be an int, got '1'"),
        ({"tos": True}, TypeError, "tos must be an int, got True"),
        ({"hop_limit": 0}, ValueError, "hop_limit must be from 1 to 255, got 0"),
        ({"hop_limit": 256}, ValueError, "hop_limit must be from 1 to 255, got 256"),
        ({"hop_limit": 1.0}, TypeError, "hop_limit must be an int, got 1.0"),
        ({"interface": 0}, ValueError, "interface must be from 1 to"),
        ({"interface": 2**31}, ValueError, "interface must be from 1 to"),
        ({"interface": "0"}, ValueError, "interface must be from 1 to"),
        ({"interface": "99999999999"}, ValueError, "interface must be from 1 to"),
        ({"interface": b"lo"}, TypeError, "interface must be an int, got b'lo'"),
        ({"interface": "nosuch0"}, ValueError, "no interface 'nosuch0'"),
        ({"local_addr": "localhost"}, ValueError, "'localhost' is not a numeric"),
        ({"local_addr": ""}, ValueError, "'' is not a numeric"),
        ({"local_addr": 5}, TypeError, "local_addr must be a host or an address"),
        ({"local_addr": (5, 5)}, TypeError, "local_addr must be a host or an address"),
        ({"local_addr": ()}, TypeError, "local_addr must be a host or an address"),
        ({"local_addr": ("::1", 0, 0, "lo")}, TypeError, "interface must be an int"),
        ({"local_addr": ("::1", 0, 0, -1)}, ValueError, "interface must be from 1"),
        ({"local_addr": "fe80::1%99999999999"}, ValueError, "interface must be from"),
    ],
)
async def test_what_is_no_option(
    endpoints: Endpoints,
    witness: Witness,
    options: Any,
    error: type[Exception],
    message: str,
) -> None:
    """It is refused by the call, with its value, and the endpoint goes on (B203)."""
    endpoint = await endpoints.bind()

    for call in (
        endpoint.send(b"x", witness.addr, **options),
        endpoint.send(b"x" * 9, witness.addr, segment_size=2, **options),
        endpoint.send_many([(b"x", witness.addr)], **options),
    ):
        with pytest.raises(error) as caught:
            await call
        assert message in str(caught.value)
    with pytest.raises(error):
        aioudp.SendOptions(**options)

    await endpoint.send(b"fine", witness.addr)
    assert [seen.data for seen in witness.see()] == [b"fine"]


@pytest.mark.no_matrix
async def test_what_are_no_options(endpoints: Endpoints, witness: Witness) -> None:
    """A triple's third is SendOptions or nothing; there is no fourth."""
    endpoint = await endpoints.bind()

    bad: Any
    for bad in (
        (b"x", witness.addr, {"tos": 1}),
        (b"x", witness.addr, 5),
        (b"x", witness.addr, None, None),
        [b"x", witness.addr, None],
    ):
        with pytest.raises(TypeError):
            await endpoint.send_many([bad])


async def test_an_address_that_is_not_ours(
    endpoints: Endpoints, witness: Witness, host: str
) -> None:
    """The system refuses it; the error says what was asked, and the next is fine."""
    endpoint = await endpoints.bind()
    foreign = "2001:db8::1" if ":" in host else "192.0.2.1"

    with pytest.raises(OSError, match=f"1 bytes to .*local_addr='{foreign}'"):
        await endpoint.send(b"x", witness.addr, local_addr=foreign)
    with pytest.raises(aioudp.SendManyError) as caught:
        await endpoint.send_many(
            [
                (b"1", witness.addr),
                (b"2", witness.addr, aioudp.SendOptions(local_addr=foreign)),
                (b"3", witness.addr),
            ]
        )

    assert list(caught.value.errors) == [1]
    assert [seen.data for seen in witness.see(2)] == [b"1", b"3"]


async def test_no_address_at_all(endpoints: Endpoints) -> None:
    """It is the system that says so, as without options."""
    endpoint = await endpoints.bind()

    with pytest.raises(OSError) as caught:
        await endpoint.send(b"x", tos=1)
    assert caught.value.errno == errno.EDESTADDRREQ


@unix_only
async def test_unix(tmp_path: Path) -> None:
    """A UNIX datagram socket has nothing of the kind."""
    with socket.socket(AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "peer"))
        async with aioudp.connect(str(tmp_path / "peer")) as endpoint:
            with pytest.raises(ValueError, match="UNIX"):
                await endpoint.send(b"x", tos=1)


async def test_closed(endpoints: Endpoints, witness: Witness) -> None:
    """As without options."""
    endpoint = await endpoints.bind()
    endpoint.close()

    for call in (
        endpoint.send(b"x", witness.addr, tos=1),
        endpoint.send(b"x" * 9, witness.addr, segment_size=2, tos=1),
        endpoint.send_many([(b"x", witness.addr)], tos=1),
    ):
        with pytest.raises(aioudp.EndpointClosedError):
            await call


def test_options_are_values() -> None:
    """Equal ones are equal, and none can be changed; an address keeps its zone."""
    options = aioudp.SendOptions(local_addr=("fe80::1", 5, 0, 7), tos=1)

    assert options == aioudp.SendOptions(local_addr="fe80::1", interface=7, tos=1)
    assert hash(options) == hash(
        aioudp.SendOptions(local_addr="fe80::1", interface=7, tos=1)
    )
    with pytest.raises(AttributeError):
        options.tos = 2  # type: ignore[misc]


async def hold_the_line(endpoint: aioudp.Endpoint, may_end: asyncio.Event) -> None:
    """Be a sender that finds no room, and that others wait behind."""

    def attempt() -> None:
        if not may_end.is_set():
            raise BlockingIOError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(endpoint.transport, "wait_writable", may_end.wait)
        await send_step(endpoint, attempt)


async def test_order_behind_a_sender_that_waits(
    endpoints: Endpoints, witness: Witness, until_blocked: UntilBlocked
) -> None:
    """A send with options keeps its place like any other, and can be cancelled."""
    endpoint = await endpoints.bind()
    may_end = asyncio.Event()
    first = asyncio.create_task(hold_the_line(endpoint, may_end))
    await until_blocked(first)
    waiting = [
        asyncio.create_task(endpoint.send(b"1", witness.addr, tos=1)),
        asyncio.create_task(endpoint.send(b"2", witness.addr, tos=2)),
        asyncio.create_task(endpoint.send(b"3", witness.addr)),
    ]
    await until_blocked(*waiting)
    waiting[1].cancel()
    may_end.set()

    await asyncio.gather(first, *waiting, return_exceptions=True)

    assert [(seen.data, seen.tos) for seen in witness.see(2)] == [(b"1", 1), (b"3", 0)]
