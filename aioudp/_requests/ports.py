"""The source ports of a client: a number of them, chosen at random, and replaced.

A retired port accepts no new requests, and closes when its requests in flight have
ended. So there are never more ports than configured, plus one per request in flight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from .._endpoint.endpoint import Endpoint, end_forgotten
from .._endpoint.mailbox import Mailbox
from .._errors import EndpointClosedError
from .._types import Datagram, Stats
from .port import Key, Port, Tally

USES: Final = 256
"""Requests per port before a fresh one replaces it, if a client uses several ports. A
guess: opening a port costs about as much as ten requests."""


class Ports:
    """Opens ports, chooses among them, and closes them."""

    __slots__ = (
        "_chance",
        "_closed",
        "_count",
        "_key",
        "_open",
        "_opening",
        "_past",
        "_permanent",
        "_ports",
        "_retired",
        "_tally",
        "_unsolicited",
    )

    def __init__(
        self,
        open_: Callable[[], Awaitable[Endpoint[Any]]],
        count: int,
        *,
        permanent: bool,
        chance: Callable[[], float],
        key: Key | None,
        tally: Tally,
        unsolicited: Mailbox[Datagram[Any]],
    ) -> None:
        self._open = open_
        self._count = count
        self._permanent = permanent  # a port that the caller chose
        self._chance = chance
        self._key = key
        self._tally = tally
        self._unsolicited = unsolicited
        self._opening = asyncio.Lock()
        self._ports: list[Port] = []
        self._retired: list[Port] = []
        self._past = Stats()  # of ports that have been closed
        self._closed = False

    @property
    def any(self) -> Port:
        """A port that is open, or was the last one open."""
        return (self._ports or self._retired)[-1]

    def local_addrs(self) -> tuple[Any, ...]:
        """Return the addresses of the ports that aren't retired."""
        return tuple(port.endpoint.local_addr for port in self._ports)

    def __len__(self) -> int:
        """Return the number of ports kept: open ones, and recently closed ones."""
        return len(self._ports) + len(self._retired)

    def choose_nowait(self) -> Port | None:
        """Return a port, or ``None`` if one must be opened first."""
        ports = self._ports
        if len(ports) < self._count:
            return None
        return ports[0] if self._count == 1 else ports[int(self._chance() * len(ports))]

    async def choose(self) -> Port:
        """Return a port, after opening missing ones.

        Raises:
            EndpointClosedError: If the ports are closed meanwhile.
            OSError: If the system refuses.
        """
        async with self._opening:
            while len(self._ports) < self._count:
                if self._closed:
                    raise EndpointClosedError
                endpoint = await self._open()
                if self._closed:
                    endpoint.close()
                    raise EndpointClosedError
                self._ports.append(
                    Port(
                        endpoint,
                        key=self._key,
                        tally=self._tally,
                        unsolicited=self._unsolicited,
                    )
                )
        port = self.choose_nowait()
        # Nothing was awaited since all ports were opened.
        assert port is not None
        return port

    def used(self, port: Port) -> None:
        """Retire a port after enough requests, if there are several ports."""
        if self._count > 1 and port.uses >= USES:
            self.retire(port)

    def retire(self, port: Port) -> None:
        """Send no new requests from this port, unless it's permanent. Idempotent."""
        if port in self._ports and not self._permanent:
            self._sweep()
            self._ports.remove(port)
            self._retired.append(port)
            port.retire()

    def _sweep(self) -> None:
        for port in [one for one in self._retired if one.endpoint.closed]:
            if not self._closed:
                self._retired.remove(port)
                self._past += port.endpoint.stats()

    def stats(self) -> Stats:
        """Return the counters of all endpoints, including closed ones."""
        total = self._past
        for port in (*self._ports, *self._retired):
            total += port.endpoint.stats()
        return total

    def close(self) -> None:
        """Close every port. Idempotent."""
        self._closed = True
        for port in (*self._ports, *self._retired):
            port.close()

    def forget(self, also: Callable[[], object]) -> None:
        """Close every port for a finalizer, which may run in any thread.

        *also* is called in the same one, unless the event loop is closed.
        """
        self._closed = True
        for port in (*self._ports, *self._retired):
            end_forgotten(port.endpoint, also)

    async def aclose(self) -> None:
        """Close, and return when all ports can be bound again."""
        self.close()
        for port in (*self._ports, *self._retired):
            await port.aclose()
