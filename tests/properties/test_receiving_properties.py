"""Receiving, against a model: nothing lost, nothing twice, nobody overtaken.

A state machine plays the network (batches and errors arrive), the tasks of a program
(they receive one datagram or many, and are cancelled) and the event loop (a single
turn, or as many as it takes), in any order. The model is a plain list of what should
be in the queue; whatever a task returns is held against it at the very moment.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import count
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from aioudp._endpoint.endpoint import Endpoint
from aioudp._endpoint.inbox import Inbox
from aioudp._endpoint.protocol import EndpointProtocol
from aioudp._errors import EndpointClosedError
from aioudp._types import Datagram, Overflow

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

Call = tuple[str, int | None]
CALLS = st.tuples(
    st.sampled_from(["recv", "iterate", "recv_many"]), st.none() | st.integers(1, 4)
)

TURNS = 20  # of the loop, and everything that could happen has happened


class FakeTransport:
    """A transport whose kernel is a list. It delivers when the machine says so."""

    can_pause = True
    try_send = None  # an endpoint takes hold of it; nothing is sent here

    def __init__(self, machine: ReceivingMachine) -> None:
        self._machine = machine
        self.kernel: list[Datagram] = []
        self.reading = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def poll(self, max_datagrams: int | None = None) -> list[Datagram]:
        return self._machine.look(max_datagrams)

    def abort(self) -> None:
        self.reading = False
        self.kernel.clear()


class ReceivingMachine(RuleBasedStateMachine):
    """An endpoint on a fake transport, the tasks that use it, and the model."""

    def __init__(self, loop_factory: LoopFactory) -> None:
        super().__init__()
        self.loop = loop_factory()
        self.loop.set_debug(False)  # which notes a traceback for every future
        self.problems: list[dict[str, Any]] = []
        self.loop.set_exception_handler(
            lambda loop, context: self.problems.append(context)
        )
        self.numbers = count()
        self.tasks: list[asyncio.Task[None]] = []
        self.cancelled: set[asyncio.Task[None]] = set()
        # The model: what is in the queue, what the call that runs has found besides,
        # and what has become of the rest.
        self.queue: list[Datagram] = []
        self.found: list[Datagram] = []
        self.receiving_now = False  # that call puts what it finds into the queue
        self.arrived = self.taken = self.dropped = self.discarded = 0
        self.error: OSError | None = None

    @initialize(
        capacity=st.integers(1, 6),
        overflow=st.sampled_from(["pause", "drop-oldest", "drop-newest"]),
    )
    def open(self, capacity: int, overflow: Overflow) -> None:
        self.capacity, self.overflow = capacity, overflow
        self.transport = FakeTransport(self)
        transport: Any = self.transport
        self.protocol = EndpointProtocol(self.loop, Inbox(capacity, overflow))
        self.protocol.connection_made(transport)
        self.endpoint = Endpoint(transport, self.protocol)

    # -- the network

    @precondition(lambda self: not self.protocol.closed)
    @rule(
        size=st.integers(1, 6),
        readable=st.booleans(),
        calls=st.lists(CALLS),
        cancelled=st.integers(0, 2),
    )
    def arrive(
        self, size: int, readable: bool, calls: list[Call], cancelled: int
    ) -> None:
        """Let datagrams arrive, and maybe be read at once.

        In the same turn tasks start, and those that are to be served are cancelled.
        """
        for call in calls:
            self.receive(call, at_once=False)
        self.arrived += size
        self.transport.kernel += [
            Datagram(b"%d" % next(self.numbers), ("192.0.2.1", 1)) for _ in range(size)
        ]
        if readable:
            self.deliver()
        for task in self.unfinished()[:cancelled]:
            self.cancel(task)

    def deliver(self) -> None:
        """Read a batch, as the transport does when the socket is readable."""
        kernel = self.transport.kernel
        if not self.transport.reading or not kernel:
            return
        wanted = self.protocol.datagrams_wanted()
        if not wanted:
            self.transport.pause_reading()
            return
        batch = self.read(wanted)
        self.protocol.datagrams_received(list(batch))
        self.model_put(batch)

    def look(self, wanted: int | None) -> list[Datagram]:
        """Read a batch for a receive call that asks what else has arrived."""
        if not self.transport.reading:
            return []
        batch = self.read(len(self.transport.kernel) if wanted is None else wanted)
        if self.receiving_now:
            self.model_put(batch)
        else:
            self.found += batch
        return list(batch)

    def read(self, wanted: int) -> list[Datagram]:
        # Like a train, a batch may go one beyond what is wanted.
        assert wanted >= 0
        kernel, size = self.transport.kernel, wanted + 1
        batch, kernel[:] = kernel[:size], kernel[size:]
        return batch

    def model_put(self, batch: list[Datagram]) -> None:
        self.queue += batch
        excess = len(self.queue) - self.capacity
        if excess > 0 and self.overflow != "pause":
            self.dropped += excess
            if self.overflow == "drop-oldest":
                del self.queue[:excess]
            else:
                del self.queue[-excess:]

    @precondition(lambda self: not self.protocol.closed)
    @rule()
    def fail(self) -> None:
        """Report an error of the network; a newer one replaces an older one."""
        self.error = OSError(errno.EHOSTUNREACH, "No route to host")
        self.protocol.error_received(self.error)

    # -- the program

    def took(self, datagrams: list[Datagram]) -> None:
        """Hold what a call returned against the model: the oldest, in order."""
        assert datagrams
        assert self.error is None  # it would have come first
        self.queue += self.found
        self.found.clear()
        assert datagrams == self.queue[: len(datagrams)]
        del self.queue[: len(datagrams)]
        self.taken += len(datagrams)
        self.model_put([])  # what is left of a batch has to have room

    def failed(self, error: OSError) -> None:
        """Hold an error that was raised against the model: it comes once."""
        assert error is self.error
        self.error = None

    async def _receive(self, kind: str, limit: int | None) -> None:
        try:
            match kind:
                case "recv":
                    self.took([await self.endpoint.recv()])
                case "iterate":
                    self.took([await anext(self.endpoint)])
                case _:
                    many = await self.endpoint.recv_many(limit)
                    there = len(self.queue) + len(self.found)
                    assert len(many) == min(limit or there, there)
                    self.took(many)
        except (EndpointClosedError, StopAsyncIteration):
            assert self.protocol.closed
        except OSError as exc:
            self.failed(exc)

    @rule(call=CALLS, at_once=st.booleans())
    def receive(self, call: Call, at_once: bool) -> None:
        """Start a task that receives, from a running loop or for its next turn."""
        coroutine = self._receive(*call)
        if at_once:
            self.loop.run_until_complete(self._spawn(coroutine))
        else:
            self.tasks.append(self.loop.create_task(coroutine))

    async def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(coroutine))

    @rule()
    def receive_now(self) -> None:
        """Receive without waiting; never what somebody is waiting for."""
        waiting = bool(self.protocol._waiters)
        self.receiving_now = True
        try:
            self.took([self.endpoint.recv_nowait()])
            assert not waiting
        except BlockingIOError:
            assert waiting or not (self.queue or self.error)
        except EndpointClosedError:
            assert self.protocol.closed
        except OSError as exc:
            self.failed(exc)
        finally:
            self.receiving_now = False

    @precondition(lambda self: self.unfinished())
    @rule(data=st.data())
    def cancel_one(self, data: st.DataObject) -> None:
        """Cancel one of the tasks, wherever it stands."""
        places = st.integers(0, len(self.unfinished()) - 1)
        self.cancel(self.unfinished()[data.draw(places)])

    def cancel(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        self.cancelled.add(task)

    @rule(really=st.integers(0, 9).map(lambda number: number == 0))
    def close(self, really: bool) -> None:
        """Close the endpoint, now and then; what was not received is discarded."""
        if really and not self.protocol.closed:
            self.discarded = len(self.queue) + len(self.transport.kernel)
            self.queue.clear()
            self.error = None
            self.endpoint.close()

    # -- the event loop

    async def _turns(self, turns: int) -> None:
        for _ in range(turns):
            self.deliver()  # the socket is readable as long as there is something
            await asyncio.sleep(0)

    @rule(turns=st.sampled_from([1, 2, TURNS, TURNS]))
    def turn(self, turns: int) -> None:
        """Let the event loop turn, a little or until nothing happens any more."""
        self.loop.run_until_complete(self._turns(turns))
        if turns == TURNS:
            self.look_around()

    def look_around(self) -> None:
        """Hold the tasks that are waiting still against what there is."""
        waiting = self.unfinished()
        assert not self.cancelled & set(waiting)
        if waiting:
            # Nobody waits while there is something to take, or for what cannot come.
            assert not self.queue
            assert self.error is None
            assert not self.protocol.closed
            assert self.transport.reading
            # First come, first served: whoever still waits came after the others.
            first = self.tasks.index(waiting[0])
            served = set(self.tasks) - set(waiting) - self.cancelled
            assert all(self.tasks.index(task) < first for task in served)
        for task in self.tasks:
            if task.done() and not task.cancelled():
                task.result()  # an assertion that failed in it fails here
        self.tasks = waiting

    def unfinished(self) -> list[asyncio.Task[None]]:
        return [task for task in self.tasks if not task.done()]

    # -- what always holds

    @invariant()
    def the_queue_is_the_models(self) -> None:
        assert list(self.protocol.items) == self.queue

    @invariant()
    def every_datagram_is_accounted_for(self) -> None:
        somewhere = len(self.queue) + len(self.transport.kernel)
        gone = self.taken + self.dropped + self.discarded
        assert self.arrived == somewhere + gone
        assert self.protocol.inbox.dropped == self.dropped

    @invariant()
    def the_queue_is_bounded(self) -> None:
        assert len(self.queue) <= self.capacity + 1
        assert not self.found

    @invariant()
    def nothing_went_wrong_unseen(self) -> None:
        assert self.problems == []

    def teardown(self) -> None:
        try:
            self.turn(TURNS)
            self.close(really=True)
            self.turn(TURNS)
            assert self.unfinished() == []
        finally:
            self.endpoint.close()
            self.loop.run_until_complete(self._turns(TURNS))
            self.loop.close()


@pytest.mark.timeout(180)  # a failure is made small before it is shown
def test_receiving_follows_the_model(loop_factory: LoopFactory) -> None:
    """Whatever happens, in whichever order."""
    machine: Any = partial(ReceivingMachine, loop_factory)
    run_state_machine_as_test(
        machine,
        settings=settings(stateful_step_count=40, report_multiple_bugs=False),
    )
