"""The simulated network: who receives what, and the faults on the way.

The file is long because a simulated host follows many rules of Linux.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import math
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import aioudp
from aioudp import testing
from aioudp._system import machine
from aioudp.testing import SimulatedNetwork

SERVER = ("10.0.0.1", 9999)


async def settle() -> None:
    """Let everything arrive."""
    await asyncio.sleep(100)


def simulated(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a test on the virtual clock."""

    def run() -> None:
        testing.run(test())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def exchange(net: SimulatedNetwork, count: int, pause: float = 0.0) -> list[int]:
    """Send *count* numbers from one host to another; return those that arrive."""
    received: list[int] = []
    async with net.bind(SERVER) as server, net.bind(("10.0.0.2", 0)) as client:

        async def take() -> None:
            async for data, _ in server:
                received.append(int(data))

        task = asyncio.create_task(take())
        for number in range(count):
            await client.send(str(number).encode(), SERVER)
            await asyncio.sleep(pause)
        await settle()
        server.close()
        await task
    return received


# -- options of its sockets, in the forms that Linux takes


def test_multicast_options_in_their_short_forms() -> None:
    """A byte for a number, and an address for an interface (ip(7))."""
    net = SimulatedNetwork()
    with net.host("10.0.0.1"):
        sock = machine.new_socket(socket.AF_INET)
    with sock:
        for value in (b"\xff", 255):
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, value)
            assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == 255
        address = socket.inet_aton("10.0.0.1")
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, address)
        with pytest.raises(OSError):
            sock.setsockopt(
                socket.IPPROTO_IP,
                socket.IP_MULTICAST_IF,
                socket.inet_aton("10.0.0.2"),
            )
        with pytest.raises(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, b"\x01")


# -- the same each time


@functools.cache
def _measured(seed: int, run: int = 0) -> SimulatedNetwork:
    net = SimulatedNetwork(
        seed, loss=0.2, delay=0.05, jitter=0.2, duplicate=0.05, reorder=0.1
    )
    testing.run(exchange(net, 2000, 0.5))
    return net


def test_equal_seeds_have_equal_histories() -> None:
    """Same seed, same history, to the byte; another seed, another history."""
    first, second, other = _measured(3), _measured(3, 1), _measured(2)

    assert first.history.table() == second.history.table()
    assert first.history.digest() == second.history.digest()
    assert first.history.digest() != other.history.digest()


def test_the_statistics_are_those_asked_for() -> None:
    """Losses, duplicates and reordering are within 3 standard deviations."""
    history = _measured(3).history
    originals = [flight for flight in history if not flight.copy]
    lost = sum(flight.fate == "lost" for flight in originals)
    through = len(originals) - lost
    copies = sum(flight.copy for flight in history)
    held = sum("held back" in flight.cause for flight in history)

    assert len(originals) == 2000
    assert abs(lost - 400) <= 3 * math.sqrt(2000 * 0.2 * 0.8)
    assert abs(copies - 0.05 * through) <= 3 * math.sqrt(through * 0.05 * 0.95)
    assert abs(held - 0.1 * through) <= 3 * math.sqrt(through * 0.1 * 0.9) + 5
    delays = [
        (one.arrived_at or 0) - one.sent_at
        for one in history
        if one.arrived_at is not None and not one.cause
    ]
    assert 0.05 <= min(delays) < max(delays) <= 0.25 + 1e-9
    assert abs(sum(delays) / len(delays) - 0.15) < 0.01


SCRIPT = """
import asyncio, sys
from aioudp import testing

async def main():
    net = testing.SimulatedNetwork(
        "any", loss=0.1, delay=0.01, jitter=0.05, duplicate=0.1, reorder=0.2,
        corrupt=0.05, distribution="exponential",
    )
    hosts = [net.host(f"10.0.0.{n}", f"2001:db8:5::{n}") for n in range(1, 6)]
    ends = [await host.bind(("", 7000)) for host in hosts]
    everybody = [await host.open_broadcast(7001) for host in hosts]

    async def echo(end):
        async for data, addr in end:
            if len(data) < 6:
                await end.send(data + b"!", addr)

    tasks = [asyncio.create_task(echo(end)) for end in ends]
    for number in range(50):
        for host in hosts:
            await ends[number % 5].send(b"%d" % number, (host.addresses[0], 7000))
            await ends[number % 5].send(b"%d" % number, (host.addresses[1], 7000))
        await everybody[number % 5].send(b"all")
        await asyncio.sleep(0.02)
    await asyncio.sleep(10)
    for end in [*ends, *everybody]:
        await end.aclose()
    print(len(net.history), net.history.digest())

testing.run(main())
"""


def test_hash_order_leaks_nowhere() -> None:
    """Processes with different PYTHONHASHSEED have one history."""
    found = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("0", "1", "4242")
    }

    assert len(found) == 1
    assert int(found.pop().split()[0]) > 500


def test_a_real_loop_has_the_same_history() -> None:
    """The network asks the loop for time and timers only: any loop will do.

    The times differ, the decisions do not.
    """

    def decisions(run: Callable[[Coroutine[Any, Any, Any]], Any]) -> list[Any]:
        net = SimulatedNetwork(5, loss=0.3, delay=0.001, duplicate=0.2)

        async def main() -> None:
            async with net.bind(SERVER) as server, net.connect(SERVER) as client:
                for number in range(100):
                    await client.send(b"%d" % number)
                    await asyncio.sleep(0)
                await asyncio.sleep(0.05)
                assert server.stats().received == net.history.fates()["delivered"]

        run(main())
        return [(one.number, one.copy, one.fate, one.cause) for one in net.history]

    assert decisions(asyncio.run) == decisions(testing.run)


# -- faults


@simulated
async def test_loss_in_bursts() -> None:
    """Gilbert-Elliott: as much is lost as its states say, and in runs."""
    net = SimulatedNetwork(1, loss=testing.GilbertElliott(enter=0.02, recover=0.2))
    received = await exchange(net, 5000)
    lost = 5000 - len(received)
    runs = sum(
        one.fate == "lost" and before.fate != "lost"
        for before, one in zip(net.history, net.history[1:], strict=False)
    )

    assert 0.06 < lost / 5000 < 0.13  # 0.02 / 0.22
    assert 3.5 < lost / runs < 7  # 1 / 0.2


@simulated
async def test_corruption_is_dropped_by_the_receiver() -> None:
    """A flipped bit is found by the checksum, so nobody receives wrong bytes."""
    net = SimulatedNetwork(1, corrupt=0.5)
    received = await exchange(net, 200)

    assert net.history.fates()["corrupted"] == 200 - len(received)
    assert 60 < len(received) < 140


@simulated
async def test_reordering_without_delay() -> None:
    """A datagram that is held back arrives behind the next one."""
    net = SimulatedNetwork(1, reorder=0.2)
    received = await exchange(net, 200)

    assert sorted(received) == list(range(200))
    assert received != sorted(received)
    # Each is one place off at most: the next that passes lets it go.
    assert max(abs(place - number) for place, number in enumerate(received)) == 1


@simulated
async def test_what_is_held_back_arrives_at_last() -> None:
    """If nothing follows, it arrives after a second."""
    net = SimulatedNetwork(1, reorder=1.0)
    await exchange(net, 1)

    assert net.history[0].fate == "delivered"
    assert net.history[0].arrived_at == 1.0


@pytest.mark.parametrize("distribution", ["uniform", "normal", "exponential", "pareto"])
def test_jitter_has_its_distribution(distribution: Any) -> None:
    """The mean delay is what the name of the distribution says."""
    net = SimulatedNetwork(2, jitter=0.1, distribution=distribution)
    testing.run(exchange(net, 1000, 1.0))
    delays = [(one.arrived_at or 0) - one.sent_at for one in net.history]
    mean = 0.05 if distribution == "uniform" else 0.1

    assert min(delays) >= 0
    assert abs(sum(delays) / len(delays) - mean) < 0.1 * mean


@simulated
async def test_a_rate_fills_a_queue_and_delays() -> None:
    """What comes faster than the link waits; what finds the queue full is dropped."""
    net = SimulatedNetwork(rate=1028, queue=5)
    async with net.bind(SERVER), net.connect(SERVER) as client:
        for _ in range(10):
            await client.send(bytes(1000))
        await settle()
        await client.send(bytes(1000))
        await settle()

    arrivals = [flight.arrived_at for flight in net.history]
    assert arrivals[:6] == [1, 2, 3, 4, 5, 6]
    assert [flight.fate for flight in net.history[6:10]] == ["queue full"] * 4
    assert arrivals[10] == pytest.approx(net.history[10].sent_at + 1)


@simulated
async def test_links_differ_by_pair_and_direction() -> None:
    """A setting holds for its pair, one way if asked, and ends with its block."""
    net = SimulatedNetwork(delay=1.0)
    async with net.bind(SERVER) as server, net.bind(("10.0.0.2", 1)) as client:
        with net.link("10.0.0.1", "10.0.0.2", one_way=True, loss=1.0):
            await server.send(b"lost", ("10.0.0.2", 1))
            await client.send(b"through", SERVER)
            await server.send(b"elsewhere", ("10.0.0.3", 1))
        await server.send(b"lifted", ("10.0.0.2", 1))
        with net.link("10.0.0.1", "10.0.0.2", delay=0.25):
            await client.send(b"fast", SERVER)
        await settle()
        assert await client.recv_many() == [(b"lifted", SERVER)]
        assert [data for data, _ in await server.recv_many()] == [b"fast", b"through"]

    fates = [flight.fate for flight in net.history]
    assert fates == ["lost", "delivered", "nobody there", "delivered", "delivered"]


@simulated
async def test_settings_inherit_and_the_latest_wins() -> None:
    """What is not named stays as it is; lifting takes back the own part alone."""
    net = SimulatedNetwork(delay=1.0)
    everywhere = net.faults(delay=2.0)
    pair = net.link("10.0.0.1", "10.0.0.2", delay=3.0)
    async with net.bind(("10.0.0.2", 1)), net.bind(SERVER) as server:
        await server.send(b"", ("10.0.0.2", 1))
        everywhere.lift()
        await server.send(b"", ("10.0.0.2", 1))
        pair.lift()
        pair.lift()
        await server.send(b"", ("10.0.0.2", 1))
        await settle()

    assert [one.arrived_at for one in net.history] == [3.0, 3.0, 1.0]


@simulated
async def test_a_partition_and_its_end() -> None:
    """Parts do not reach each other, nor does what was in the air; then it heals."""
    net = SimulatedNetwork(delay=1.0)
    async with (
        net.bind(("10.0.0.1", 1)) as one,
        net.bind(("10.0.0.2", 1)) as two,
        net.bind(("10.0.0.3", 1)) as three,
    ):
        await one.send(b"in the air", ("10.0.0.2", 1))
        await asyncio.sleep(0.5)
        with net.partition(["10.0.0.1", "10.0.0.3"], ["10.0.0.2"]):
            await one.send(b"cut", ("10.0.0.2", 1))
            await one.send(b"same part", ("10.0.0.3", 1))
            await asyncio.sleep(2)
        await two.send(b"healed", ("10.0.0.1", 1))
        await settle()
        assert await three.recv_many() == [(b"same part", ("10.0.0.1", 1))]
        assert await one.recv_many() == [(b"healed", ("10.0.0.2", 1))]

    fates = [flight.fate for flight in net.history]
    assert fates == ["cut off", "cut off", "delivered", "delivered"]


@simulated
async def test_a_partition_of_one_group_is_from_everybody() -> None:
    """With a single group the other part is all the others."""
    net = SimulatedNetwork()
    async with (
        net.bind(("10.0.0.1", 1)) as one,
        net.bind(("10.0.0.2", 1)) as two,
        net.bind(("10.0.0.3", 1)),
    ):
        with net.partition("10.0.0.1"):
            await one.send(b"", ("10.0.0.2", 1))
            await two.send(b"", ("10.0.0.1", 1))
            await two.send(b"", ("10.0.0.3", 1))

    assert [one.fate for one in net.history] == ["cut off", "cut off", "delivered"]


@simulated
async def test_rules_decide() -> None:
    """A rule passes, drops or delays, and the send raises what it raises."""
    net = SimulatedNetwork()

    def by_payload(flight: testing.Flight) -> Any:
        verdicts = {
            b"drop": testing.Drop,
            b"drop too": testing.Drop(),
            b"pass": testing.Pass,
            b"late": testing.Deliver(5.0),
        }
        if flight.data == b"mistake":
            raise ZeroDivisionError
        return verdicts.get(flight.data)

    async with net.bind(SERVER), net.connect(SERVER) as client:
        with net.rule(by_payload):
            for payload in (b"drop", b"drop too", b"pass", b"late", b"other"):
                await client.send(payload)
            with pytest.raises(ZeroDivisionError):
                await client.send(b"mistake")
        await client.send(b"drop")
        await settle()

    fates = [(one.data, one.fate, one.arrived_at) for one in net.history]
    assert fates[:5] == [
        (b"drop", "dropped", None),
        (b"drop too", "dropped", None),
        (b"pass", "delivered", 0.0),
        (b"late", "delivered", 5.0),
        (b"other", "delivered", 0.0),
    ]
    assert fates[6] == (b"drop", "delivered", 0.0)
    assert net.history[0].cause == "by_payload"


@simulated
async def test_a_host_crashes_and_comes_back() -> None:
    """Its endpoints end, nothing is refused while it is down, and it can open again."""
    net = SimulatedNetwork(delay=0.1)
    host = net.host("10.0.0.1")
    server = await host.bind(SERVER)
    waiting = asyncio.create_task(server.recv())
    async with net.connect(SERVER) as client:
        await asyncio.sleep(0)
        with host.crash():
            with pytest.raises(aioudp.EndpointClosedError):
                await waiting
            await client.send(b"to nobody")
            with pytest.raises(OSError, match="crashed"):
                await host.bind(SERVER)
            await settle()
        async with host.bind(SERVER) as again:
            await client.send(b"back")
            assert (await again.recv()).data == b"back"

    assert [one.fate for one in net.history] == ["host down", "delivered"]


# -- what Linux does


@simulated
async def test_a_closed_port_refuses() -> None:
    """A connected endpoint hears of it once, an unconnected one does not."""
    net = SimulatedNetwork(delay=0.1)
    net.host("10.0.0.1")
    async with net.connect(SERVER) as client, net.bind(("10.0.0.3", 0)) as other:
        await client.send(b"")
        await other.send(b"", SERVER)
        with pytest.raises(ConnectionRefusedError):
            await client.recv()
        assert asyncio.get_running_loop().time() == pytest.approx(0.2)
        async with net.bind(SERVER) as server:
            await client.send(b"now")
            assert (await server.recv()).data == b"now"
        with pytest.raises(BlockingIOError):
            other.recv_nowait()


@simulated
async def test_an_absent_host_is_silent() -> None:
    """Where nobody is, nobody answers, not even with an error."""
    net = SimulatedNetwork()
    async with net.connect(SERVER) as client:
        await client.send(b"")
        await settle()
        with pytest.raises(BlockingIOError):
            client.recv_nowait()

    assert [one.fate for one in net.history] == ["nobody there"]


@simulated
async def test_a_full_receive_buffer_drops_and_counts() -> None:
    """What finds the buffer full is dropped, counted, and in the history."""
    net = SimulatedNetwork()
    async with net.bind(SERVER, queue_size=10) as server, net.connect(SERVER) as client:
        for number in range(5000):
            await client.send(b"%d" % number)
        await asyncio.sleep(0)
        first = await server.recv()
        while True:
            try:
                server.recv_nowait()
            except BlockingIOError:
                break
        stats = server.stats()

    fates = net.history.fates()
    assert first.data == b"0"
    assert stats.dropped_kernel == fates["buffer full"] > 3000
    assert stats.received + stats.dropped_kernel == 5000


@simulated
async def test_too_long_for_the_path() -> None:
    """EMSGSIZE at once for the own MTU; for a link's, once ICMP has told."""
    net = SimulatedNetwork(mtu=1500, delay=0.1)
    async with (
        net.bind(SERVER) as server,
        net.connect(SERVER, dont_fragment=True) as client,
        net.connect(SERVER) as fragmenting,
    ):
        with pytest.raises(OSError, match="1500 bytes") as caught:
            await client.send(bytes(1473))
        assert caught.value.errno == errno.EMSGSIZE
        await client.send(bytes(1472))
        await fragmenting.send(bytes(9000))
        with net.link(None, None, mtu=1280):
            await client.send(bytes(1472))
            await settle()
            assert client.mtu() == 1280
            with pytest.raises(OSError, match="1280 bytes"):
                await client.send(bytes(1472))
        assert [len(data) for data, _ in await server.recv_many()] == [1472, 9000]

    assert [one.fate for one in net.history][2] == "too large"
    assert net.history[1].cause == "7 fragments"


def test_fragments_make_loss_worse() -> None:
    """A datagram is lost if any of its fragments is."""
    net = SimulatedNetwork(1, mtu=1500, loss=0.1)

    async def main() -> None:
        async with net.bind(SERVER), net.connect(SERVER) as client:
            for _ in range(1000):
                await client.send(bytes(6000))  # 5 fragments

    testing.run(main())

    expected = 1 - 0.9**5
    deviation = math.sqrt(1000 * expected * (1 - expected))
    assert abs(net.history.fates()["lost"] - 1000 * expected) < 3 * deviation


@simulated
async def test_broadcast_stays_on_its_network() -> None:
    """Everybody on the sender's network hears it, and nobody elsewhere."""
    net = SimulatedNetwork()
    near = [net.host(f"10.0.0.{n}") for n in (1, 2, 3)]
    far = net.host("10.9.0.1")
    ends = [await host.open_broadcast(9999) for host in [*near, far]]
    outcomes = await ends[0].send(b"hello")
    await settle()

    assert [(one.interface, one.addr) for one in outcomes] == [
        ("eth0", ("10.0.0.255", 9999))
    ]
    heard = []
    for end in ends:
        try:
            heard.append(end.recv_nowait().addr)
        except BlockingIOError:
            heard.append(("", 0))
        await end.aclose()
    assert heard == [SERVER, SERVER, SERVER, ("", 0)]


@simulated
async def test_groups_are_heard_by_members() -> None:
    """A group reaches who has joined it; joining and leaving take effect."""
    net = SimulatedNetwork()
    hosts = [net.host(f"10.0.0.{n}", f"2001:db8:9::{n}") for n in (1, 2)]
    for group in ("239.1.2.3", "ff02::1234"):
        one = await hosts[0].open_multicast(group, 7777)
        two = await hosts[1].open_multicast(group, 7777)
        async with hosts[1].bind(("", 7777 + 1)) as bystander:
            await one.send(b"first")
            assert (await two.recv()).data == b"first"
            two.leave(group)
            await one.send(b"second")
            two.join(group)
            await one.send(b"third")
            assert (await two.recv()).data == b"third"
            with pytest.raises(BlockingIOError):
                bystander.recv_nowait()
        await one.aclose()
        await two.aclose()


@simulated
async def test_discovery_finds_everybody() -> None:
    """Whoever answers is found, from every network, losses notwithstanding."""
    net = SimulatedNetwork(7, loss=0.2, delay=0.05)

    async def answer(host: testing.Host) -> None:
        async with host.open_broadcast(9999) as end:
            async for data, addr in end:
                await end.send_to(b"here: " + data, addr)

    hosts = [net.host(f"10.0.{n}.1") for n in range(5)]
    tasks = [asyncio.create_task(answer(host)) for host in hosts]
    await asyncio.sleep(0)
    async with net.discover(b"who?", 9999, timeout=5, repeat=8) as search:
        found = {addr[0] async for _, addr in search}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert found == {host.addresses[0] for host in hosts}


@simulated
async def test_messages_know_what_the_kernel_knows() -> None:
    """Packet information, type of service and time are there, as on Linux."""
    net = SimulatedNetwork(delay=0.5)
    net.host("10.0.0.1", "2001:db8:1::1")
    async with (
        net.host("10.0.0.1").bind(("", 9999), packet_info=True) as server,
        net.host("10.0.0.2", "2001:db8:1::2").bind(("", 0)) as client,
    ):
        for host in ("10.0.0.1", "2001:db8:1::1"):
            await client.send(b"?", (host, 9999), tos=0x2E, hop_limit=9)
            message = await server.recv_message()
            assert message.local_addr is not None
            assert message.local_addr[0] == host
            assert (message.tos, message.hop_limit) == (0x2E, 9)
            assert message.interface == 2
            assert message.unicast
        await server.reply(message, b"!")
        assert (await client.recv()).addr[:2] == ("2001:db8:1::1", 9999)
        assert message.timestamp == 946_684_800 + 1.0


@simulated
async def test_network_errors_name_their_datagram() -> None:
    """With icmp_errors, who sent it, where to, and what it was."""
    net = SimulatedNetwork(delay=0.1)
    net.host("10.0.0.1", "2001:db8:1::1")
    async with net.host("10.0.0.2", "2001:db8:1::2").bind(
        ("", 0), icmp_errors=True
    ) as client:
        for host in ("10.0.0.1", "2001:db8:1::1"):
            await client.send(b"anybody?", (host, 9))
            error = await client.recv_error()
            assert isinstance(error.error, ConnectionRefusedError)
            assert (error.offender, error.data) == (host, b"anybody?")


# -- NAT


async def _behind(net: SimulatedNetwork, kind: Any, address: str) -> aioudp.Endpoint:
    inside = net.nat(address, kind=kind, timeout=30.0)
    return await inside.host("192.168.1.2").bind(("", 5000))


@simulated
async def test_a_nat_lets_answers_in_and_nobody_else() -> None:
    """Only whom the inside has sent to, from the port that it was sent to."""
    net = SimulatedNetwork()
    inside = await _behind(net, "port-restricted", "203.0.113.1")
    async with net.bind(SERVER) as server, net.bind(("10.0.0.1", 1)) as stranger:
        await inside.send(b"hello", SERVER)
        data, addr = await server.recv()
        assert (data, addr) == (b"hello", ("203.0.113.1", 5000))
        await stranger.send(b"let me in", addr)
        await server.send(b"welcome", addr)
        assert await inside.recv_many() == [(b"welcome", SERVER)]
        await asyncio.sleep(31)
        await server.send(b"too late", addr)
    await inside.aclose()

    fates = net.history.fates()
    assert fates["no mapping"] == 2


@pytest.mark.parametrize(
    ("kind", "works"),
    [("full-cone", True), ("port-restricted", True), ("symmetric", False)],
)
def test_hole_punching(kind: str, works: bool) -> None:
    """Two behind NATs meet through a server, unless their NATs are symmetric."""

    async def main() -> bool:
        net = SimulatedNetwork(delay=0.02)
        ends = [await _behind(net, kind, f"203.0.113.{number}") for number in (1, 2)]
        async with net.bind(SERVER) as meeting:
            seen = []
            for end in ends:
                await end.send(b"I am here", SERVER)
                seen.append((await meeting.recv()).addr)
        for _ in range(3):
            await ends[0].send(b"punch", seen[1])
            await ends[1].send(b"punch", seen[0])
            await asyncio.sleep(1)
        got = [end.stats().received for end in ends]
        for end in ends:
            await end.aclose()
        return all(got)

    assert testing.run(main()) is works


# -- programs that know nothing of it


@simulated
async def test_the_librarys_own_calls_run_on_a_host() -> None:
    """In ``with host``, aioudp's own calls and the tasks started there are on it."""
    net = SimulatedNetwork(delay=0.1)

    async def program() -> None:
        async with aioudp.bind(("", 53)) as endpoint:
            async for data, addr in endpoint:
                await endpoint.send(data.upper(), addr)

    with net.host("10.0.0.1"):
        task = asyncio.create_task(program())
    await asyncio.sleep(0)
    with net.host("10.0.0.2"):
        async with aioudp.connect(("10.0.0.1", 53)) as client:
            await client.send(b"hello")
            assert (await client.recv()).data == b"HELLO"
            assert client.local_addr[0] == "10.0.0.2"
            assert [one.name for one in aioudp.interfaces()] == ["lo", "eth0"]
            assert "10.0.0.2" in aioudp.interface("eth0").addresses
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@simulated
async def test_protocols_run_on_it() -> None:
    """create_datagram_endpoint gives any protocol a transport; so does the loop's."""
    net = SimulatedNetwork(delay=0.1)

    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            self.got: list[tuple[bytes, Any]] = []

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.got.append((data, addr))
            if len(data) < 3:
                self.transport.sendto(data + b"!", addr)

    server, echo = await net.create_datagram_endpoint(Echo, SERVER)
    with net.host("10.0.0.2"):
        loop = asyncio.get_running_loop()
        client, other = await loop.create_datagram_endpoint(Echo, remote_addr=SERVER)
    client.sendto(b"?")
    await settle()
    server.close()
    client.close()

    assert echo.got[0] == (b"?", ("10.0.0.2", 49152))
    assert other.got[0] == (b"?!", SERVER)


@simulated
async def test_a_client_asks_until_it_is_answered() -> None:
    """open_client retries on the virtual clock, with waits drawn from the seed."""

    async def course() -> tuple[str, int]:
        net = SimulatedNetwork(11, loss=0.4, delay=0.05)

        async def answer() -> None:
            async with net.bind(SERVER) as server:
                async for data, addr in server:
                    await server.send(data.upper(), addr)

        task = asyncio.create_task(answer())
        await asyncio.sleep(0)
        async with net.host("10.0.0.2").open_client(SERVER, retries=20) as client:
            for number in range(20):
                reply = await client.request(b"q%d" % number)
                assert reply.data == b"Q%d" % number
            retransmitted = client.stats().retransmitted
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return net.history.digest(), retransmitted

    first = await course()

    assert first[1] > 5


# -- mistakes


def test_mistakes_are_named() -> None:
    """What cannot be is refused where it is said, with its value."""
    with pytest.raises(ValueError, match=r"loss must be from 0 to 1, got 1\.5"):
        SimulatedNetwork(loss=1.5)
    with pytest.raises(ValueError, match="delay must be from 0 up"):
        SimulatedNetwork(delay=-1)
    with pytest.raises(ValueError, match="mtu must be from 68"):
        SimulatedNetwork(mtu=10)
    with pytest.raises(TypeError, match="no setting 'lose'"):
        SimulatedNetwork(lose=0.5)
    net = SimulatedNetwork()
    with pytest.raises(TypeError, match="no setting 'lose'"):
        net.link("10.0.0.1", "10.0.0.2", lose=0.5)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="distribution must be one of"):
        net.faults(distribution="flat")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'nowhere' is no numeric address"):
        net.link("nowhere", None, loss=1.0)
    with pytest.raises(ValueError, match="at least one"):
        net.host()
    with pytest.raises(ValueError, match="kind must be one of"):
        net.nat("203.0.113.1", kind="soft")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be callable"):
        net.rule(5)  # type: ignore[arg-type]
    net.host("10.0.0.1")
    with pytest.raises(ValueError, match=r"10\.0\.0\.1 is another host's"):
        net.host("10.0.0.2", "10.0.0.1")


@simulated
async def test_thousands_of_hosts() -> None:
    """A network of 3000 hosts works."""
    net = SimulatedNetwork(delay=0.01)
    ends = [await net.bind((f"10.{n >> 8}.{n & 255}.1", 7)) for n in range(3000)]
    for number, end in enumerate(ends):
        await end.send(b"%d" % number, ends[(number * 7 + 1) % 3000].local_addr)
    await settle()
    assert net.history.fates() == {"delivered": 3000}
    for end in ends:
        await end.aclose()


@simulated
async def test_closing_while_datagrams_fly() -> None:
    """What arrives after its socket was closed is refused, and harms nobody."""
    net = SimulatedNetwork(delay=1.0)
    server = await net.bind(SERVER)
    async with net.connect(SERVER) as client:
        for _ in range(10):
            await client.send(b"")
        await asyncio.sleep(1.0)
        await client.send(b"")
        await server.aclose()
        with pytest.raises(ConnectionRefusedError):
            await client.recv()

    fates = net.history.fates()
    assert fates["refused"] == 1
