"""One schedule: an endpoint, a kernel and some tasks, and a seed that decides it all.

The endpoint is the real one, on the real protocol, selector transport and readable
batch I/O. In each step the seed chooses what happens next: a callback of the event loop
runs, the socket's readiness is noticed, a datagram or an error arrives, room to send
appears, a task begins a call or is cancelled, the endpoint is drained or closed. The
model beside it knows what may be observed:

* A datagram is returned once, in the order of arrival, or counted as dropped.
* Nobody is overtaken: whoever began to wait before, and was not cancelled, is served
  before.
* An error is raised once at most, and once if it is the last and somebody receives.
* When nothing is left to do, nobody waits for what is there, and an empty queue is
  being filled.
* A send that returned is out, once; one that was cancelled is not. What waits for room
  goes out in order.
* After closing everybody ends; after draining, everybody who receives.

A violation is an ``AssertionError`` with the seed and the steps, and the same seed
gives the same schedule again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import pytest

import aioudp
from aioudp._endpoint import sending
from aioudp._endpoint.endpoint import Endpoint
from aioudp._endpoint.inbox import Inbox
from aioudp._endpoint.protocol import EndpointProtocol
from aioudp._endpoint.sending import Sender
from aioudp._system.batchio import BatchSocket
from aioudp._transports.selector import SelectorTransport

from .kernel import FD, PEER, KernelSocket
from .loop import ExploredLoop

STEPS: Final = 80
_LAST_STEPS: Final = 5_000  # to come to rest; far more than it takes
_TOO_LONG: Final = bytes(2000)


class ExploredTransport(SelectorTransport):
    """The selector transport, watched by the loop here."""

    __slots__ = ()

    def _make_watcher(self) -> Any:
        return self._loop


@dataclass(eq=False)
class Call:
    """One call by one task."""

    name: str
    number: int
    task: asyncio.Task[None] | None = None
    state: Literal["waiting", "cancelled", "over"] = "waiting"
    payloads: list[bytes] = field(default_factory=list)


@dataclass
class Parts:
    """The classes that a schedule runs; a put-back fault replaces one of them."""

    protocol: type[EndpointProtocol] = EndpointProtocol
    transport: type[SelectorTransport] = ExploredTransport
    io: type[BatchSocket] = BatchSocket
    endpoint: type[Endpoint] = Endpoint
    sender: type[Sender] = Sender


class World:
    """What a seed makes of an endpoint."""

    def __init__(self, seed: int, parts: Parts, *, fair: bool = False) -> None:
        self.rng = random.Random(seed)
        self.seed = seed
        self.fair = fair  # senders step aside now and then, and may be overtaken
        self.trace: list[str] = []
        self.loop = ExploredLoop()
        self.sock = KernelSocket(self._meanwhile)
        self.fifo = self.rng.random() < 0.7  # else callbacks run in any order
        overflow: Any = self.rng.choice(
            ["pause", "pause", "drop-oldest", "drop-newest"]
        )
        self.inbox = Inbox(self.rng.choice([1, 2, 4, 100]), overflow)
        self.arrived = 0
        self.returned: list[int] = []
        self.raised: list[OSError] = []
        self.calls: list[Call] = []
        self.sends: list[Call] = []
        self.over: Literal["", "draining", "closed"] = ""
        self.before_the_end = 0  # datagrams that had arrived when it was drained
        self.loop.run(lambda: self._open(parts))

    def _open(self, parts: Parts) -> None:
        self.protocol = parts.protocol(self.loop, self.inbox)
        io = parts.io(self.sock, gso_segments=1, gro=False)  # type: ignore[arg-type]
        sock: Any = self.sock
        self.transport = parts.transport(self.loop, sock, self.protocol, io)
        starting = self.transport.start()
        with contextlib.suppress(StopIteration):
            starting.send(None)
        self.endpoint = parts.endpoint(self.transport, self.protocol)
        self.endpoint._sender = parts.sender(self.transport)

    # -- the model

    def check(self, holds: object, law: str) -> None:
        """Fail with all that is needed to see it again."""
        if not holds:
            steps = "\n  ".join(self.trace)
            raise AssertionError(f"seed {self.seed}: {law}\n  {steps}")

    def _finish(self, call: Call, calls: list[Call]) -> None:
        """A call was served, so none that began to wait before may still wait."""
        call.state = "over"
        if self.fair and calls is self.sends:
            return
        before = calls[: calls.index(call)]
        self.check(
            all(earlier.state != "waiting" for earlier in before),
            f"{call.name} {call.number} has overtaken somebody",
        )

    # -- the tasks

    def _receive(self, name: str, get: Callable[[], Any]) -> None:
        call = Call(name, len(self.calls))
        self.calls.append(call)
        self.trace.append(f"{name} {call.number} begins")

        async def receive() -> None:
            try:
                datagrams = await get()
            except (aioudp.EndpointClosedError, StopAsyncIteration):
                self.check(self.over, f"{name} {call.number} ended too early")
                call.state = "over"
            except OSError as exc:
                self.check(exc not in self.raised, "an error was raised twice")
                self.raised.append(exc)
                self._finish(call, self.calls)
            else:
                numbers = [int(datagram.data) for datagram in datagrams]
                self.trace.append(f"{name} {call.number} returns {numbers}")
                self.returned += numbers
                self._finish(call, self.calls)
                self.check(
                    self.returned == sorted(set(self.returned)),
                    f"out of order, or twice: {self.returned}",
                )

        self._start(call, receive())

    def _start(self, call: Call, coroutine: Coroutine[Any, Any, None]) -> None:
        call.task = self.loop.create_task(coroutine)
        # It begins at once, so that the model and the endpoint agree on who came first.
        while self.loop.ready and call.task in _tasks_of(self.loop.ready[-1]):
            self.loop.run_ready(len(self.loop.ready) - 1)
            break

    def recv(self) -> None:
        async def get() -> list[Any]:
            return [await self.endpoint.recv()]

        self._receive("recv", get)

    def following(self) -> None:
        async def get() -> list[Any]:
            return [await anext(self.endpoint)]

        self._receive("anext", get)

    def recv_many(self) -> None:
        limit = self.rng.choice([None, 1, 2, 3])

        async def get() -> list[Any]:
            return await self.endpoint.recv_many(limit)

        self._receive(f"recv_many({limit})", get)

    def recv_batch(self) -> None:
        limit = self.rng.choice([None, None, 1, 3])

        async def get() -> list[Any]:
            return [*await self.endpoint.recv_batch(limit)]

        self._receive(f"recv_batch({limit})", get)

    def recv_nowait(self) -> None:
        async def get() -> list[Any]:
            try:
                return [self.endpoint.recv_nowait()]
            except BlockingIOError:
                call = self.calls[-1]
                call.state = "cancelled"  # it doesn't wait, and overtakes nobody
                return []

        if not any(call.state == "waiting" for call in self.calls):
            self._receive("recv_nowait", get)

    def send(self) -> None:
        payloads = [
            b"%d-%d" % (len(self.sends), position)
            for position in range(self.rng.choice([1, 1, 3]))
        ]
        many = len(payloads) > 1
        call = Call("send_many" if many else "send", len(self.sends), payloads=payloads)
        self.sends.append(call)
        self.trace.append(f"{call.name} {call.number} begins")

        async def send() -> None:
            try:
                if many:
                    await self.endpoint.send_many([(data, PEER) for data in payloads])
                else:
                    await self.endpoint.send(payloads[0], PEER)
            except aioudp.EndpointClosedError:
                self.check(self.over == "closed", "a send ended too early")
                call.state = "over"
            else:
                self.trace.append(f"{call.name} {call.number} is out")
                self._finish(call, self.sends)
                out = [data for data in self.sock.out if data in payloads]
                self.check(out == payloads, f"{payloads} returned, and {out} is out")

        self._start(call, send())

    def refused_send(self) -> None:
        async def send() -> None:
            try:
                await self.endpoint.send(_TOO_LONG, PEER)
            except aioudp.EndpointClosedError:
                self.check(self.over == "closed", "a send ended too early")
            except OSError as exc:
                self.check(exc.errno == errno.EMSGSIZE, f"somebody else's error: {exc}")
            else:
                self.check(False, "a datagram that is too long went out")

        self.trace.append("a send that is refused")
        self.loop.create_task(send())

    def cancel(self) -> None:
        calls = [*self.calls, *self.sends]
        waiting = [call for call in calls if call.state == "waiting"]
        if not waiting:
            return
        call = self.rng.choice(waiting)
        self.trace.append(f"{call.name} {call.number} is cancelled")
        call.state = "cancelled"
        assert call.task is not None
        call.task.cancel()

    # -- the network

    def arrive(self) -> None:
        for _ in range(self.rng.choice([1, 1, 2, 5])):
            self.trace.append(f"datagram {self.arrived} arrives")
            self.sock.queue.append(b"%d" % self.arrived)
            self.arrived += 1

    def fail(self) -> None:
        self.trace.append("an error arrives")
        self.sock.error = ConnectionRefusedError(errno.ECONNREFUSED, "refused")

    def make_room(self) -> None:
        self.trace.append("there is room")
        self.sock.room += self.rng.choice([1, 2, 4])

    def _meanwhile(self) -> None:
        """Let something arrive between two reads of a batch."""
        chance = self.rng.random()
        if chance < 0.1:
            self.arrive()
        elif chance < 0.2:
            self.fail()

    # -- the end

    def drain(self) -> None:
        if not self.over:
            self.trace.append("drain")
            self.over = "draining"
            self.before_the_end = self.arrived
            self.loop.run(self.endpoint.drain)

    def close(self) -> None:
        self.trace.append("close")
        self.over = "closed"
        self.loop.run(self.endpoint.close)

    # -- the schedule

    def step(self) -> None:
        """Let one thing happen."""
        if self.rng.random() < 0.5 and self._run_one():
            return
        if self.over == "closed":
            self._run_one()
            return
        (action,) = self.rng.choices(
            [
                self.arrive,
                self.fail,
                self.make_room,
                self.cancel,
                self.recv,
                self.following,
                self.recv_many,
                self.recv_batch,
                self.recv_nowait,
                self.send,
                self.refused_send,
                self.drain,
                self.close,
            ],
            [6, 2, 3, 4, 5, 2, 3, 3, 2, 4, 1, 0.3, 0.15],
        )
        action()

    def _run_one(self) -> bool:
        """Let the event loop do one of the things that it may do next."""
        loop, sock = self.loop, self.sock
        choices: list[Callable[[], None]] = []
        if loop.ready:
            index = 0 if self.fifo else self.rng.randrange(len(loop.ready))
            choices.append(lambda: loop.run_ready(index))
        if FD in loop.readers and sock.readable:
            choices.append(lambda: loop.run(loop.readers[FD]))
        if FD in loop.writers and sock.room:
            choices.append(lambda: loop.run(loop.writers[FD]))
        if loop.timers and (not choices or self.rng.random() < 0.1):
            choices.append(loop.run_timer)
        if not choices:
            return False
        self.rng.choice(choices)()
        self.check(not loop.errors, f"the loop's exception handler: {loop.errors}")
        return True

    def rest(self) -> None:
        """Let everything happen that can, and look at what is left."""
        for _ in range(_LAST_STEPS):
            if not self._run_one():
                break
        else:
            self.check(False, "it never comes to rest")
        receivers = [call for call in self.calls if call.state == "waiting"]
        items = self.protocol.items
        if self.over:
            self.check(
                not receivers or (self.over == "draining" and items),
                "receivers still wait after the end",
            )
        else:
            unread = self.sock.readable and not (items and not receivers)
            self.check(not unread, "what the kernel has is not read")
        if receivers:
            self.check(not items, "a receiver waits beside a datagram")
            reported = self.sock.reported
            self.check(
                not reported or reported[-1] in self.raised,
                "a receiver waits beside an error",
            )
        senders = [call for call in self.sends if call.state == "waiting"]
        if senders:
            self.check(self.over != "closed", "a sender still waits after the end")
            self.check(not self.sock.room, "a sender waits beside room")

    def finish(self) -> None:
        """Close, and add everything up."""
        self.rest()
        if self.rng.random() < 0.5 and not self.over:
            self.drain()
            self.rest()
            for _ in range(self.arrived + 1):
                self.recv()
                self.rest()
            self.check(not self.protocol.items, "draining has left something")
            self.check(
                all(int(data) >= self.before_the_end for data in self.sock.queue),
                "draining has left something in the kernel",
            )
        if self.over != "closed":
            self.close()
        self.rest()
        stats = self.endpoint.stats()
        self.check(
            stats.received
            == len(self.returned) + stats.dropped_queue + stats.dropped_close,
            f"a datagram is missing: {stats}, {len(self.returned)} returned",
        )
        self.check(
            stats.received + len(self.sock.queue) == self.arrived,
            f"the kernel's count is another: {stats}",
        )
        self.check(
            len(self.sock.out) == len(set(self.sock.out)), "a datagram went out twice"
        )
        for call in self.sends:
            out = [data for data in self.sock.out if data in call.payloads]
            self.check(
                out == call.payloads[: len(out)], f"{call.payloads}, and {out} is out"
            )
            assert call.task is not None
            if call.task.cancelled() and call.name == "send":
                self.check(not out, "a cancelled send went out")
        for call in [*self.calls, *self.sends]:
            assert call.task is not None
            self.check(call.task.done(), f"{call.name} {call.number} never ends")
            if not call.task.cancelled() and (error := call.task.exception()):
                raise error


def _tasks_of(handle: asyncio.Handle) -> list[object]:
    """Return the task that a handle steps, in a list."""
    return [getattr(handle._callback, "__self__", None)]  # type: ignore[attr-defined]


def explore(seed: int, parts: Parts | None = None, *, allowance: int = 0) -> None:
    """Run the schedule of *seed*, with an *allowance* of sends if it is given.

    Raises:
        AssertionError: If the endpoint breaks one of the laws at the top.
    """
    if not allowance:
        run(World(seed, parts or Parts()))
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sending, "ALLOWANCE", allowance)
        run(World(seed, parts or Parts(), fair=True))


def run(world: World) -> None:
    """Run a schedule from beginning to end."""
    try:
        for _ in range(STEPS):
            world.step()
        world.finish()
    finally:
        world.loop.run(world.endpoint.close)
        for _ in range(_LAST_STEPS):
            if not world._run_one():
                break
