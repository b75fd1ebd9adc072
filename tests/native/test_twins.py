"""The compiled batch I/O does what the readable one does, byte for byte.

The file is long because it compares the twins in all parts of the batch I/O.
"""

from __future__ import annotations

import importlib
import operator
import os
import random
import socket
import struct
import time
from contextlib import ExitStack
from itertools import pairwise
from types import ModuleType
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aioudp import Datagram, DatagramBatch, Message, SendOptions
from aioudp._system import addresses, batchio, sockets
from aioudp._system.prepared_batch import PreparedBatch
from aioudp._system.send_options import steer

from ..fuzz.fuzz_control_data import CTRUNC, KINDS, compiled, message, reference


@pytest.fixture(scope="module")
def speedups() -> ModuleType:
    """Return the compiled twin."""
    try:
        return importlib.import_module("aioudp._system.speedups")
    except ModuleNotFoundError:
        pytest.skip("cannot: speedups: the accelerator is not built")


class Pair(NamedTuple):
    """Two peers on loopback, and the batch I/O of one module on each."""

    sender: Any
    receiver: Any
    addr: Any
    socks: list[Any]

    def transfer(self, count: int) -> list[bytes]:
        """Return the payloads of *count* datagrams, which are there by now."""
        received: list[bytes] = []
        while batch := self.receiver.receive(count - len(received) or 1):
            received += [data for data, _ in batch]
        return received


def open_pairs(
    stack: ExitStack,
    module: Any,
    host: str,
    *,
    offload: bool,
    packet_info: bool = False,
) -> Pair:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    socks = []
    for _ in range(2):
        sock = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        sock.bind((host, 0))
        socks.append(sock)
    if packet_info:
        sockets.enable_packet_info(socks[1], "software")
    segments = sockets.probe_offload().gso_segments if offload else 1
    return Pair(
        module.BatchSocket(socks[0], gso_segments=segments, gro=False),
        module.BatchSocket(
            socks[1],
            gso_segments=1,
            gro=offload and sockets.enable_gro(socks[1]),
            packet_info=packet_info,
        ),
        socks[1].getsockname(),
        socks,
    )


# Random, so that no two places look alike.
NOISE: Final = random.Random(0).randbytes(100_000)


def noise(size: int, start: int) -> bytes:
    return NOISE[start : start + size]


payloads = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.builds(noise, st.integers(1, 1500), st.integers(0, 90_000)),
        st.builds(noise, st.just(64), st.integers(0, 90_000)),
    ),
    max_size=60,
)

# Trains as a receiver meets them that guesses what comes next by what came before:
# one size for a while, then another, the last datagram of a train often shorter.
trains = st.lists(
    st.tuples(
        st.sampled_from([1, 511, 512, 513, 1200, 1200, 1200, 1452, 9000]),
        st.integers(1, 40),
        st.integers(0, 8999),
        st.integers(0, 30_000),
    ),
    min_size=1,
    max_size=12,
)


@pytest.mark.parametrize("offload", [True, False])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@settings(max_examples=50, deadline=None)
@given(data=payloads)
def test_the_same_datagrams_arrive(
    speedups: ModuleType, host: str, offload: bool, data: list[bytes]
) -> None:
    """Either twin delivers what either twin sends: same payloads, order and counts."""
    with ExitStack() as stack:
        for sending in (batchio, speedups):
            for receiving in (batchio, speedups):
                ours = open_pairs(stack, sending, host, offload=offload)
                theirs = open_pairs(stack, receiving, host, offload=offload)
                batch = [(item, theirs.addr) for item in data]
                done = 0
                while done < len(batch):
                    done += ours.sender.send_batch(batch, done)
                assert theirs.transfer(len(data)) == data
                assert ours.sender.sent == len(data) == theirs.receiver.received
                assert ours.sender.sent_bytes == theirs.receiver.received_bytes


@settings(max_examples=50, deadline=None)
@given(size=st.integers(1, 9000), segment_size=st.integers(1, 3000))
def test_the_same_segments_arrive(
    speedups: ModuleType, size: int, segment_size: int
) -> None:
    """Either twin cuts a buffer into the same datagrams."""
    buffer = os.urandom(size)
    expected = [buffer[i : i + segment_size] for i in range(0, size, segment_size)]
    with ExitStack() as stack:
        for module in (batchio, speedups):
            pair = open_pairs(stack, module, "127.0.0.1", offload=True)
            done = 0
            received: list[bytes] = []
            while done < size:
                done += pair.sender.send_segments(
                    memoryview(buffer)[done:], segment_size, pair.addr
                )
                received += pair.transfer(128 * 64)
            assert received == expected


@pytest.mark.parametrize("at_once", [1, 2, 12])
@settings(max_examples=100, deadline=None)
@given(trains=trains)
def test_the_same_trains_arrive(
    speedups: ModuleType, at_once: int, trains: list[tuple[int, int, int, int]]
) -> None:
    """Either twin hands trains over as they were sent, whatever came before."""
    expected: dict[str, list[bytes]] = {}
    received: dict[str, list[bytes]] = {}
    with ExitStack() as stack:
        for module in (batchio, speedups):
            pair = open_pairs(stack, module, "127.0.0.1", offload=True)
            sent = expected[module.BatchSocket.implementation] = []
            there = received[module.BatchSocket.implementation] = []
            for number, (size, count, shorter, start) in enumerate(trains, 1):
                length = min(size * count - shorter % size, 60_000)
                train = noise(length, start)
                done = 0
                while done < length:
                    done += pair.sender.send_segments(
                        memoryview(train)[done:], size, pair.addr
                    )
                sent += [train[i : i + size] for i in range(0, length, size)]
                if number % at_once == 0:
                    there += pair.transfer(100_000)
            there += pair.transfer(100_000)
            assert pair.receiver.received == len(sent)
            assert pair.receiver.received_bytes == sum(map(len, sent))
    assert received == expected


def transfer_batches(
    receiver: Any, count: int, chance: random.Random
) -> list[DatagramBatch]:
    """Return what is there in batches, some new and some recycled, some limited."""
    batches: list[DatagramBatch] = []
    received = 0
    while received < count or received == 0:
        batch = DatagramBatch()
        if chance.random() < 0.5:
            receiver.receive_batch(batch, 1)
        receiver.receive_batch(batch, chance.choice([1, 5, 1000]))
        if not batch:
            break
        received += len(batch)
        batches.append(batch)
    return batches


@pytest.mark.parametrize("packet_info", [False, True])
@pytest.mark.parametrize("offload", [True, False])
@settings(max_examples=60, deadline=None)
@given(trains=trains, data=payloads, seed=st.integers(0, 99))
def test_the_same_batches_arrive(
    speedups: ModuleType,
    offload: bool,
    packet_info: bool,
    trains: list[tuple[int, int, int, int]],
    data: list[bytes],
    seed: int,
) -> None:
    """Either twin reads into a batch what it would have made objects of."""
    with ExitStack() as stack:
        for module in (batchio, speedups):
            chance = random.Random(seed)
            pair = open_pairs(
                stack, module, "127.0.0.1", offload=offload, packet_info=packet_info
            )
            addr = pair.socks[0].getsockname()
            recycled = DatagramBatch()
            total = 0
            for size, count, shorter, start in trains:
                length = min(size * count - shorter % size, 60_000)
                train = noise(length, start)
                done = 0
                while done < length:
                    done += pair.sender.send_segments(
                        memoryview(train)[done:], size, pair.addr
                    )
                expected = [train[i : i + size] for i in range(0, length, size)]
                batch = [(item, pair.addr) for item in data[: chance.randrange(9)]]
                done = 0
                while done < len(batch):
                    done += pair.sender.send_batch(batch, done)
                expected += [item for item, _ in batch]
                if chance.random() < 0.5:
                    recycled._recycle()
                    pair.receiver.receive_batch(recycled, 3)
                    there = [*recycled]
                else:
                    there = []
                for one in transfer_batches(
                    pair.receiver, len(expected) - len(there), chance
                ):
                    check_columns(one, packet_info)
                    there += one
                assert there == [(item, addr) for item in expected]
                total += len(expected)
            assert pair.receiver.received == total
            recycled._recycle()


def check_columns(batch: DatagramBatch, packet_info: bool) -> None:
    """The columns say what the rows do."""
    offsets = batch.offsets.tolist()
    sizes = [end - begin for begin, end in pairwise(offsets)]
    assert (offsets[0], offsets[-1]) == (0, len(batch.data))
    assert sizes == [len(data) for data, _ in batch]
    assert batch.segment_size == (sizes[0] if len(set(sizes)) == 1 else None)
    assert len(batch.source_index) == len(batch)
    assert (batch.tos is not None) == packet_info
    if packet_info:
        assert batch.hop_limit is not None
        assert batch.hop_limit.tolist() == [64] * len(batch)
        assert batch.timestamps_ns is not None
        assert all(batch.timestamps_ns)
        assert batch.local_addrs is not None
        assert len(batch.local_addrs) == 1


@pytest.mark.parametrize("offload", [True, False])
@settings(max_examples=60, deadline=None)
@given(trains=trains, data=payloads)
def test_the_same_rows_leave(
    speedups: ModuleType,
    offload: bool,
    trains: list[tuple[int, int, int, int]],
    data: list[bytes],
) -> None:
    """Either twin sends the rows of a batch as it would send the objects."""
    batch = DatagramBatch()
    peers = [("192.0.2.1", 1), ("192.0.2.2", 2)]
    for number, (size, count, _, start) in enumerate(trains):
        length = min(size * count, 60_000)
        batch._reserve()
        batch._data[batch._size : batch._size + length] = noise(length, start)
        batch._add_run(length, size, peers[number % 2])
        batch._extend(Datagram(item, peers[0]) for item in data[:5])
    rows = list(batch)
    with ExitStack() as stack:
        for module in (batchio, speedups):
            ours = open_pairs(stack, module, "127.0.0.1", offload=offload)
            theirs = [
                open_pairs(stack, batchio, "127.0.0.1", offload=True) for _ in range(2)
            ]
            prepared = PreparedBatch(
                batch, [pair.addr for pair in theirs], batch.source_index
            )
            received: list[list[bytes]] = [[], []]
            done = 0
            while done < len(prepared):
                done += ours.sender.send_batch(
                    prepared.part(0, min(len(prepared), done + 100)), done
                )
                for number in range(2):
                    received[number] += theirs[number].transfer(100_000)
            assert received == [
                [one.data for one in rows if one.addr == peer] for peer in peers
            ]
            assert ours.sender.sent == len(rows)


class Sent(NamedTuple):
    """Some datagrams of one size that leave in the same way."""

    size: int
    times: int
    options: SendOptions
    as_segments: bool


sendings = st.lists(
    st.builds(
        Sent,
        st.sampled_from([1, 64, 600, 1200]),
        st.integers(1, 20),
        st.builds(SendOptions, tos=st.integers(0, 255), hop_limit=st.integers(1, 255)),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


@pytest.mark.parametrize("offload", [True, False])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
@settings(max_examples=30, deadline=None)
@given(sendings=sendings)
def test_the_same_messages_arrive(
    speedups: ModuleType, host: str, offload: bool, sendings: list[Sent]
) -> None:
    """Either twin receives the packet info that either twin sent."""
    loopback = socket.if_nametoindex("lo")
    with ExitStack() as stack:
        for sending in (batchio, speedups):
            for receiving in (batchio, speedups):
                ours, theirs = (
                    open_pairs(stack, module, host, offload=offload, packet_info=True)
                    for module in (sending, receiving)
                )
                expected = []
                before = time.time_ns()
                for number, one in enumerate(sendings):
                    addr = steer(theirs.addr, one.options, ipv6=host == "::1")
                    payload = noise(one.size, number)
                    if one.as_segments:
                        train = memoryview(payload * one.times)
                        while train:
                            sent = ours.sender.send_segments(train, one.size, addr)
                            train = train[sent:]
                    else:
                        batch = [(payload, addr)] * one.times
                        done = 0
                        while done < one.times:
                            done += ours.sender.send_batch(batch, done)
                    expected += [
                        (payload, one.options.tos, one.options.hop_limit)
                    ] * one.times
                messages: list[Any] = []
                while more := theirs.receiver.receive(len(expected)):
                    messages += more

                assert [(x.data, x.tos, x.hop_limit) for x in messages] == expected
                assert all(before <= x.timestamp_ns <= time.time_ns() for x in messages)
                (common,) = {
                    x._replace(
                        data=b"", tos=0, hop_limit=0, timestamp=None, timestamp_ns=None
                    )
                    for x in messages
                }
                assert common == Message(
                    b"",
                    addresses.public_address(ours.socks[0].getsockname()),
                    addresses.public_address(theirs.addr),
                    loopback,
                    0,
                    0,
                    unicast=True,
                )


IPV6_RECVDSTOPTS: Final = 58  # include/uapi/linux/in6.h
IPV6_DSTOPTS: Final = 59


@pytest.mark.parametrize("packet_info", [False, True])
def test_control_data_without_end(speedups: ModuleType, packet_info: bool) -> None:
    """Where it is cut off, there may have been a segment size: that is an error.

    Options for the destination fill it, which only an adopted socket could ask for.
    """
    # Three of type 0x1E (RFC 4727), in a header of 96 times 8 bytes (RFC 8200, 4.6).
    options = bytes([17, 95]) + (bytes([0x1E, 253]) + bytes(253)) * 3 + b"\0"
    for module in (batchio, speedups):
        with ExitStack() as stack:
            pair = open_pairs(stack, module, "::1", offload=True)
            sender, receiver = pair.socks
            receiver.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVDSTOPTS, 1)
            batch = module.BatchSocket(
                receiver, gso_segments=1, gro=True, packet_info=packet_info
            )
            control = [(socket.IPPROTO_IPV6, IPV6_DSTOPTS, options)]
            try:
                sender.sendmsg([b"x"], control, 0, pair.addr)
            except PermissionError:
                pytest.skip("cannot: options: they are for root")
            sender.sendto(b"next", pair.addr)

            seen: list[Any] = []
            while len(seen) < 2:  # the twins differ in which is first
                try:
                    seen += [one.data for one in batch.receive(1)]
                except OSError as exc:
                    seen.append(str(exc))
            seen.remove(b"next")
            assert "1 bytes may be several datagrams" in seen[0]
            assert (batch.truncated, batch.received) == (1, 1)


@given(
    host=st.one_of(
        st.ip_addresses(v=4).map(str).map("::ffff:{}".format),
        st.ip_addresses(v=6).map(str),
    ),
    port=st.integers(1, 65535),
)
def test_the_same_addresses_are_read(host: str, port: int) -> None:
    """What one form of an address becomes, and back, does not depend on the twin."""
    addr = addresses.socket_address((host, port), socket.AF_INET6, dual_stack=True)
    public = addresses.public_address(addr)
    assert (
        addresses.socket_address(public, socket.AF_INET6, dual_stack=True)[:2]
        == addr[:2]
    )


messages = st.builds(
    message,
    st.sampled_from([17, 0, 1, 41]),
    st.sampled_from([kind for _, kind in KINDS]),
    st.binary(max_size=48),
    claim=st.one_of(st.just(0), st.integers(-16, 2**40)),
)


@settings(max_examples=1000, deadline=None)
@given(
    control=st.one_of(
        st.binary(max_size=80), st.lists(messages, max_size=8).map(b"".join)
    ),
    flags=st.sampled_from([0, CTRUNC]),
)
@example(control=message(0, 8, bytes(12)) + message(0, 8, bytes(11)), flags=0)
@example(control=message(0, 8, bytes(12)) + message(41, 50, bytes(20)), flags=0)
@example(control=message(41, 50, bytes(20)) + message(41, 50, bytes(19)), flags=0)
@example(
    control=message(1, 35, struct.pack("@ll", 5, 6)) + message(1, 35, bytes(16)),
    flags=0,
)
@example(control=message(0, 1, b"\1") + message(0, 1, b""), flags=0)
def test_control_data_is_read_within_its_bounds(
    speedups: ModuleType, control: bytes, flags: int
) -> None:
    """Whatever stands in control data, the compiled parser reads what cmsg(3) says."""
    assert compiled(control, flags) == reference(control, flags)


@pytest.mark.parametrize(
    "datagrams",
    [
        [b"xy"],
        [(b"xy",)],
        [(b"xy", None, None)],
        [("xy", None)],
        [(bytearray(b"xy"), None)],
        [[b"xy", None]],
        [(b"xy", None), 3],
        [(b"xy", None), (b"xy", None), ("xy", None)],
    ],
)
def test_a_batch_that_was_not_prepared_is_refused(
    speedups: ModuleType, datagrams: list[Any]
) -> None:
    """It is an error and no crash, and the buffers can be used again after it."""
    with ExitStack() as stack:
        pair = open_pairs(stack, speedups, "127.0.0.1", offload=True)

        with pytest.raises(TypeError):
            pair.sender.send_batch(datagrams)
        pair.sender.send_batch([(b"1", pair.addr), (b"2", pair.addr)])

        assert pair.transfer(2) == [b"1", b"2"]


def test_a_batch_is_a_list(speedups: ModuleType) -> None:
    """What ``prepare`` gives, and nothing else."""
    with ExitStack() as stack:
        pair = open_pairs(stack, speedups, "127.0.0.1", offload=True)

        with pytest.raises(TypeError):
            pair.sender.send_batch(((b"1", pair.addr),))


@pytest.mark.parametrize("made", [tuple, Datagram._make])
def test_received_datagrams_are_sent_as_they_are(
    speedups: ModuleType, made: Any
) -> None:
    """A Datagram is as good as a pair, and no other object is made of it."""
    with ExitStack() as stack:
        pair = open_pairs(stack, speedups, "127.0.0.1", offload=True)
        datagrams = [made((b"%d" % number, pair.addr)) for number in range(3)]

        prepared = speedups.BatchSocket.prepare(datagrams, lambda addr: addr, None)
        pair.sender.send_batch(prepared)

        assert all(map(operator.is_, prepared, datagrams))
        assert pair.transfer(3) == [b"0", b"1", b"2"]
