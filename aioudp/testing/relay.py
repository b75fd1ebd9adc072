"""A relay that adds network faults between real programs.

Its lanes and random draws are those of the simulated network; only the ends are real
sockets. The relay uses a separate port towards the server for each client, so the
server can distinguish clients, and replies reach the right one. If there are too many
clients, the one that was silent longest is removed.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self, Unpack

from .._endpoint.endpoint import Endpoint
from .._endpoint.opening import LocalAddress, RemoteAddress, bind, connect
from .._errors import EndpointClosedError
from .._types import Address, IPAddress
from .faults import FaultOptions, Faults
from .flight import Flight, HopAddress
from .history import History
from .lane import Happening, Lane

MAX_CLIENTS: Final = 1000
"""Maximum clients at once, each with a socket of its own. A guess."""


class _Delivery:
    """What a flight of a relay has besides its record: the socket to send from."""

    __slots__ = ("addr", "endpoint", "hop_limit", "tos")

    def __init__(self, endpoint: Endpoint[Any], addr: Address | None) -> None:
        self.endpoint = endpoint
        self.addr = addr
        self.tos = 0
        self.hop_limit = 64


class LossyRelay:
    """A relay that loses, delays, duplicates and reorders; an async context manager.

    ::

        async with testing.LossyRelay(("127.0.0.1", 0), server, loss=0.1) as relay:
            ...  # point the client to relay.local_addr

    It doesn't interpret payloads. Its decisions depend on *seed*; their timing
    depends on the programs.

    Args:
        local_addr: The address that clients send to, as in :func:`aioudp.bind`.
        remote_addr: The server, as in :func:`aioudp.connect`.
        seed: Any int or str.
        faults: See :class:`aioudp.testing.FaultOptions`. They apply in each direction.
            With an ``mtu``, datagrams that would be fragmented are lost more often.

    Raises:
        OSError: On entering, if the system refuses.
        TypeError: If a setting is unknown or has the wrong type.
        ValueError: If a value is out of range; the message names it.
    """

    def __init__(
        self,
        local_addr: LocalAddress,
        remote_addr: RemoteAddress,
        *,
        seed: int | str = 0,
        **faults: Unpack[FaultOptions],
    ) -> None:
        self._faults = Faults().changed(faults)
        self._local_addr = local_addr
        self._remote_addr = remote_addr
        self.history: History = History()
        """What happened to every datagram."""
        self.judge: Callable[[Happening], bool] | None = None
        self._forth = Lane(self, seed, "client", "server")
        self._back = Lane(self, seed, "server", "client")
        for lane in (self._forth, self._back):
            lane.set_faults(self._faults)
        self._numbers = 0
        self._clients: OrderedDict[Address, Endpoint[Any]] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._front: Endpoint[Any] | None = None

    # -- opening and closing

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        # Fail now if the server's address is wrong, not when the first client sends.
        async with connect(self._remote_addr) as probe:
            assert probe.remote_addr is not None
            self._server = probe.remote_addr
        self._front = await bind(self._local_addr)
        self._start(self._serve(self._front))
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._front is not None
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for endpoint in [self._front, *self._clients.values()]:
            await endpoint.aclose()
        self._clients.clear()

    @property
    def local_addr(self) -> IPAddress:
        """The address that clients send to.

        Raises:
            RuntimeError: If the relay isn't open yet.
        """
        if self._front is None:
            raise RuntimeError("the relay is not open: use it with async with")
        addr: IPAddress = self._front.local_addr
        return addr

    @property
    def clients(self) -> int:
        """How many clients it relays for."""
        return len(self._clients)

    def change(self, **faults: Unpack[FaultOptions]) -> None:
        """Change the settings in both directions, from now on."""
        self._faults = self._faults.changed(faults)
        for lane in (self._forth, self._back):
            lane.set_faults(self._faults)

    # -- relaying

    def _start(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, front: Endpoint[Any]) -> None:
        async for data, addr in front:
            towards = self._clients.get(addr)
            if towards is None or towards.closed:
                try:
                    towards = await connect(self._server)
                except OSError:  # such as too many open files: a later one may succeed
                    continue
                self._clients[addr] = towards
                self._start(self._answer(front, towards, addr))
                if len(self._clients) > MAX_CLIENTS:
                    self._clients.popitem(last=False)[1].close()
            else:
                self._clients.move_to_end(addr)
            self._carry(self._forth, data, addr, self._server, towards, None)

    async def _answer(
        self, front: Endpoint[Any], towards: Endpoint[Any], addr: Address
    ) -> None:
        while True:
            try:
                data, _ = await towards.recv()
            except EndpointClosedError:
                return
            except OSError:  # the server isn't listening at the moment
                continue
            self._carry(self._back, data, self._server, addr, front, addr)

    def _carry(
        self,
        lane: Lane,
        data: bytes,
        source: Address,
        destination: Address,
        endpoint: Endpoint[Any],
        addr: Address | None,
    ) -> None:
        number, self._numbers = self._numbers, self._numbers + 1
        flight = Flight(
            number,
            self._loop.time(),
            _pair(source),
            _pair(destination),
            data,
            _Delivery(endpoint, addr),
        )
        self.history.append(flight)
        lane.carry(flight)

    # -- called by the lanes

    def note(self, flight: Flight) -> None:
        self.history.append(flight)

    def arrive(self, flight: Flight, at: float) -> None:
        flight._due += 1
        if at <= self._loop.time():
            self._deliver(flight, flight._due, None)
            return
        handle: list[asyncio.TimerHandle] = []
        timer = self._loop.call_at(at, self._deliver, flight, flight._due, handle)
        handle.append(timer)
        self._timers.add(timer)

    def _deliver(
        self, flight: Flight, due: int, handle: list[asyncio.TimerHandle] | None
    ) -> None:
        if handle is not None:
            self._timers.discard(handle[0])
        if flight._due != due or flight.fate != "in flight":
            return  # it was held back, and has been released already
        delivery: _Delivery = flight._path
        flight.arrived_at = self._loop.time()
        try:
            delivery.endpoint.transport.try_send(flight.data, delivery.addr)
        except EndpointClosedError:
            flight.ended("host down", "the client was silent for too long")
        except OSError as exc:
            flight.ended("dropped", exc.strerror or str(exc))
        else:
            flight.ended("delivered")


def _pair(addr: Address) -> HopAddress:
    """Return host and port; for a UNIX socket, its path and 0."""
    if isinstance(addr, tuple):
        return addr[0], addr[1]
    return str(addr), 0
