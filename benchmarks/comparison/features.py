"""One function per feature: try it with any peer, and say what was seen.

Each returns what it saw and whether that is the feature: yes, no, or by hand, if the
user has to do it on the socket below. Written with anyio, so that the same lines run
on asyncio, uvloop and trio. Sends to loopback addresses only.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import anyio
import anyio.lowlevel

from .peers import AF_UNIX, HOST, Missing, Peer, Socket

PATIENCE: Final = 2.0  # seconds, after which something hangs
GROUP: Final = "239.192.7.7"
ON_TRIO: Final = "runs on trio"
YES, NO, BY_HAND = "yes", "no", "by hand"


class Seen(NamedTuple):
    verdict: str
    what: str


Check = Callable[[Peer], Awaitable[Seen]]
CHECKS: Final[dict[str, Check]] = {}
"""By the title in the table. The docstring says what is tried."""


def feature(title: str) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        CHECKS[title] = check
        return check

    return register


def send_plainly(data: bytes, addr: Any, count: int = 1) -> None:
    """Send from a socket that has nothing to do with any of them."""
    family = socket.AF_INET6 if ":" in addr[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        for _ in range(count):
            sock.sendto(data, addr)


async def opened(peer: Peer) -> tuple[Socket, Callable[[bytes], object]]:
    """Return a socket that receives, and a function that sends it a datagram."""
    try:
        one = await peer.bind()
    except Missing:
        pass
    else:
        await anyio.lowlevel.checkpoint()
        return one, lambda data: send_plainly(data, one.addr)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.bind((HOST, 0))
        addr = plain.getsockname()
        one = await peer.connect(addr)
        await one.send(b"hello")
        plain.settimeout(PATIENCE)
        _, back = plain.recvfrom(100)
        other = plain.dup()
    return one, lambda data: other.sendto(data, back)


def nobody() -> Any:
    """Return an address at which nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        return sock.getsockname()


# -- receiving


@feature("await a datagram")
async def awaiting(peer: Peer) -> Seen:
    """Await a datagram, together with its sender's address on an unconnected socket."""
    one, send = await opened(peer)
    send(b"hello")
    try:
        data, addr = await one.recv_from()
    except NotImplementedError:
        assert await one.recv() == b"hello"
        return Seen(YES, "received; connected sockets only")
    assert data == b"hello"
    assert addr[0] == HOST
    return Seen(YES, "received, with its sender")


@feature("async for")
async def iterating(peer: Peer) -> Seen:
    """Iterate over datagrams until the socket is closed."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((HOST, 0))
    one = await peer.connect(server.getsockname())
    await one.send(b"hello")
    _, addr = server.recvfrom(100)
    server.sendto(b"1", addr)
    server.close()
    received = 0
    try:
        async for _ in one.iterate():
            received += 1
            await one.close()
    except Exception as exc:
        if not received:
            raise
        return Seen(YES, f"closing it raises {type(exc).__name__}")
    return Seen(YES, "ended when it was closed")


@feature("several datagrams per call")
async def several(peer: Peer) -> Seen:
    """Send 50 datagrams, then receive them in fewer calls."""
    one, send = await opened(peer)
    for _ in range(50):
        send(b"hello")
    calls = received = 0
    while received < 50:
        received += len(await one.recv_several())
        calls += 1
    return Seen(YES if calls < 25 else NO, f"{calls} call for 50 datagrams")


@feature("cancelling loses nothing")
async def cancelling(peer: Peer) -> Seen:
    """Cancel 200 receives, each about when its datagram arrives."""
    one, send = await opened(peer)
    kept = 0

    async def receive() -> None:
        nonlocal kept
        await one.recv()
        kept += 1

    async def with_a_task(number: int) -> None:
        task = asyncio.create_task(receive())
        for _ in range(3):
            await asyncio.sleep(0)
        send(b"%d" % number)
        for _ in range(number % 4):  # the loop reads it, or not yet
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass

    async def with_a_scope(number: int) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
            send(b"%d" % number)
            for _ in range(number % 4):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()

    lost = 0
    for number in range(200):
        await (with_a_scope if peer.cancels_scopes else with_a_task)(number)
        if kept + lost <= number:
            with anyio.move_on_after(0.02):  # it should be there
                await receive()
            lost = number + 1 - kept
    with anyio.move_on_after(0.2):  # on a busy machine, some may only be late
        while True:
            await receive()
    lost = 200 - kept
    return Seen(NO if lost else YES, f"{lost} of 200 lost")


@feature("closing wakes every receiver")
async def waking(peer: Peer) -> Seen:
    """Close a socket that three tasks are waiting on."""
    one, _ = await opened(peer)
    woken: list[str] = []

    async def receive() -> None:
        try:
            await one.recv()
        except Exception as exc:
            woken.append(type(exc).__name__)
            if isinstance(exc, Missing):
                raise

    with anyio.move_on_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(receive)
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            await one.close()
    kinds = ", ".join(sorted(set(woken)))
    verdict = YES if len(woken) == 3 else NO  # some refuse a second receiver
    return Seen(verdict, f"{len(woken)} of 3 tasks ended: {kinds or 'none'}")


@feature("an absent peer raises")
async def refused(peer: Peer) -> Seen:
    """Send to a port that nobody has, then await the answer."""
    addr = nobody()
    one = await peer.connect(addr)
    with anyio.move_on_after(PATIENCE):
        reported = await one.refusal(None)
        return Seen(YES if reported == "ConnectionRefusedError" else NO, reported)
    return Seen(NO, f"still waiting after {PATIENCE:g} s")


@feature("an error leaves it open")
async def surviving(peer: Peer) -> Seen:
    """After the error of an absent peer, exchange datagrams on the same socket."""
    taken = nobody()
    one = await peer.connect(taken)
    with anyio.move_on_after(PATIENCE):
        try:
            await one.refusal(None)
        except Missing:
            raise
        except Exception as exc:
            seen = type(exc).__name__
            if seen != "ConnectionRefusedError":
                return Seen(NO, f"{seen} on an open socket")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(taken)
        server.settimeout(PATIENCE)
        for _ in range(3):  # an older error may be reported first
            try:
                await one.send(b"hello again")
            except ConnectionRefusedError:
                continue
        _, addr = server.recvfrom(100)
        server.sendto(b"and you", addr)
        with anyio.move_on_after(PATIENCE):
            while True:
                try:
                    await one.arrived()
                except ConnectionRefusedError:
                    continue
                return Seen(YES, "goes on")
    return Seen(NO, "received nothing any more")


@feature("empty datagrams")
async def empty(peer: Peer) -> Seen:
    """Send an empty datagram to a plain socket, and receive one from it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.bind((HOST, 0))
        plain.settimeout(PATIENCE / 2)
        one = await peer.connect(plain.getsockname())
        await one.send(b"hello")
        _, addr = plain.recvfrom(100)
        try:
            await one.send(b"")
            assert plain.recvfrom(100)[0] == b""
        except TimeoutError:
            return Seen(NO, "isn't sent")
        except ValueError as exc:
            return Seen(NO, f"isn't sent: {exc}")
        plain.sendto(b"", addr)
        with anyio.move_on_after(PATIENCE):
            data = await one.arrived()
            assert data == b""
            return Seen(YES, "sent and received")
    return Seen(NO, "isn't received")


@feature("what it drops is counted")
async def counting(peer: Peer) -> Seen:
    """Send 20,000 datagrams of 1,000 bytes that nobody awaits; account for each."""
    one, send = await opened(peer)
    sent = 20_000
    for number in range(sent):
        send(bytes(1000))
        if number % 100 == 0:
            await anyio.lowlevel.checkpoint()
    await anyio.sleep(0.05)
    received = 0
    receive = one.arrived
    while True:
        with anyio.move_on_after(0.2) as scope:
            await receive()
        if scope.cancelled_caught:
            break
        received += 1
    if received == sent:
        return Seen(NO, "queued all of them: its queue has no limit")
    missing = sent - received
    try:
        dropped = one.dropped()
    except Missing:
        return Seen(NO, f"{missing:,} are missing, none counted")
    verdict = YES if dropped == missing else NO
    return Seen(verdict, f"{missing:,} are missing, {dropped:,} counted")


@feature("destination address")
async def destination(peer: Peer) -> Seen:
    """Receive a datagram on the wildcard address; say which address it was sent to."""
    one = await peer.bind_any_ipv4()
    await anyio.lowlevel.checkpoint()
    with anyio.move_on_after(PATIENCE):
        send_plainly(b"hello", ("127.1.2.3", one.addr[1]))
        said = await one.destination()
        return Seen(BY_HAND if "by hand" in said else YES, said)
    return Seen(NO, "nothing received")


@feature("IPv4 peers on IPv6 sockets")
async def dual_stack(peer: Peer) -> Seen:
    """Receive from IPv4 on a dual-stack socket; see the address that is shown."""
    one = await peer.bind_dual_stack()
    send_plainly(b"hello", (HOST, one.addr[1]))
    _, addr = await one.arrived_from()
    plain = addr[0] == HOST
    return Seen(YES if plain else NO, f"shown as {addr[0]}")


# -- sending


@feature("a datagram too large raises")
async def too_large(peer: Peer) -> Seen:
    """Send 70,000 bytes."""
    server = await peer.connect(nobody())
    try:
        await server.send(bytes(70_000))
    except OSError as exc:
        expected = exc.errno == errno.EMSGSIZE
        return Seen(
            YES if expected else NO, f"OSError {errno.errorcode[exc.errno or 0]}"
        )
    except ValueError as exc:
        return Seen(YES, type(exc).__name__)
    await anyio.sleep(0.05)
    protocol = getattr(server, "protocol", None)
    if protocol is not None and not protocol.errors.empty():
        return Seen(NO, "error_received is called later")
    return Seen(NO, "silence")


@feature("broadcast")
async def broadcasting(peer: Peer) -> Seen:
    """Open a socket with a permission to broadcast, and send to 127.255.255.255."""
    by_hand = False
    try:
        one = await peer.bind_broadcast()
    except Missing:
        one = await peer.bind()
        if one.raw is None:
            raise
        one.raw.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        by_hand = True
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.bind(("127.255.255.255", 0))
        plain.settimeout(PATIENCE / 2)
        await one.send(b"hello", plain.getsockname())
        assert plain.recvfrom(100)[0] == b"hello"
    return Seen(BY_HAND if by_hand else YES, "received by a plain socket")


@feature("multicast groups")
async def multicast(peer: Peer) -> Seen:
    """Join a group on the loopback interface; look for it in /proc/net/igmp."""
    by_hand = False
    try:
        one = await peer.bind_group(GROUP)
    except Missing:
        one = await peer.bind()
        if one.raw is None:
            raise
        request = struct.pack("4s4s", socket.inet_aton(GROUP), socket.inet_aton(HOST))
        one.raw.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        by_hand = True
    listed = int.from_bytes(socket.inet_aton(GROUP), sys.byteorder)
    memberships = Path("/proc/net/igmp").read_text()  # noqa: ASYNC240, from memory
    assert f"{listed:08X}" in memberships
    await one.close()
    return Seen(BY_HAND if by_hand else YES, "a member")


# -- opening and closing


@feature("UNIX datagram sockets")
async def unix(peer: Peer) -> Seen:
    """Receive on a path."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "socket"
        one = await peer.bind_path(path)
        with socket.socket(AF_UNIX, socket.SOCK_DGRAM) as plain:
            plain.sendto(b"hello", str(path))
            with anyio.fail_after(PATIENCE):
                await one.arrived()
    return Seen(YES, "received")


@feature("take over a socket")
async def adopting(peer: Peer) -> Seen:
    """Receive on a socket that was bound before."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((HOST, 0))
    sock.setblocking(False)
    one = await peer.adopt(sock)
    send_plainly(b"hello", sock.getsockname())
    with anyio.fail_after(PATIENCE):
        await one.arrived()
    return Seen(YES, "received")


@feature("the port is free at once")
async def rebinding(peer: Peer) -> Seen:
    """Close a socket, and bind its port on the next line."""
    one, _ = await opened(peer)
    await one.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        try:
            plain.bind(one.addr)
        except OSError:
            return Seen(NO, "still in use")
    return Seen(YES, "bound again")


# -- above the socket


@feature("requests with retry")
async def requests(peer: Peer) -> Seen:
    """Lose the first datagram of a request; await its answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.bind((HOST, 0))
        plain.settimeout(PATIENCE)

        def answer_the_second() -> None:
            plain.recvfrom(100)
            data, addr = plain.recvfrom(100)
            plain.sendto(data, addr)

        async with anyio.create_task_group() as tasks:
            try:
                asked = peer.request(plain.getsockname())
                tasks.start_soon(anyio.to_thread.run_sync, answer_the_second)
                await asked
            except Missing:
                plain.sendto(b"", plain.getsockname())
                plain.sendto(b"", plain.getsockname())
                raise
    return Seen(YES, "answered at the second attempt")


@feature("servers from a function")
async def serving(peer: Peer) -> Seen:
    """Answer a datagram with what a function returns."""
    addr, close = await peer.serve(bytes.upper)

    def ask() -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
            plain.settimeout(PATIENCE)
            plain.sendto(b"hello", addr)
            return plain.recvfrom(100)[0]

    assert await anyio.to_thread.run_sync(ask) == b"HELLO"
    with anyio.move_on_after(PATIENCE):
        await close()
    return Seen(YES, "answered")


@feature("a simulated network")
async def simulating(peer: Peer) -> Seen:
    """Send a datagram between two hosts that don't exist."""
    return Seen(YES, (await peer.simulate()).decode())


@feature(ON_TRIO)
async def on_trio(peer: Peer) -> Seen:
    """Receive a datagram in a program that runs on trio."""
    one, send = await opened(peer)
    send(b"hello")
    await one.arrived()
    return Seen(YES, "received")


@feature("type hints")
async def typed(peer: Peer) -> Seen:
    """Look for the marker of PEP 561 in the distribution."""
    if peer.distribution is None:
        return Seen(YES, "in typeshed")
    found = peer.has_hints()
    return Seen(YES if found else NO, "py.typed" if found else "no py.typed")


async def run(title: str, peer: Peer) -> Seen:
    """Try one feature; whatever goes wrong is the answer no, with the reason."""
    begin = time.monotonic()
    try:
        with anyio.fail_after(PATIENCE * 3):
            return await CHECKS[title](peer)
    except TimeoutError:
        return Seen(NO, f"hangs, for {time.monotonic() - begin:.0f} s at least")
    except BaseExceptionGroup as group:
        (exc, *_) = group.exceptions
        return _failed(exc)
    except Exception as exc:
        return _failed(exc)


def _failed(exc: BaseException) -> Seen:
    if isinstance(exc, Missing):
        return Seen(NO, str(exc))
    said = str(exc).splitlines()[0] if str(exc) else ""
    return Seen(NO, f"{type(exc).__name__}: {said}".rstrip(": "))
