"""The source ports of a client: so many, chosen at random, replaced when spent.

A port that is retired takes no new request, and closes when those that are out from it
have ended; so there are never more ports than were asked for and requests are out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from .._endpoint.endpoint import Endpoint
from .._endpoint.mailbox import Mailbox
from .._errors import EndpointClosedError
from .._types import Address, Datagram, Stats
from .port import Key, Port, Tally

USES: Final = 256
"""Requests from one port, where a client spreads over several, before a fresh one takes
its place. A guess: opening one costs about as much as ten requests."""


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
        "_ports",
        "_retired",
        "_tally",
        "_unsolicited",
    )

    def __init__(
        self,
        open_: Callable[[], Awaitable[Endpoint]],
        count: int,
        *,
        chance: Callable[[], float],
        key: Key | None,
        tally: Tally,
        unsolicited: Mailbox[Datagram],
    ) -> None:
        self._open = open_
        self._count = count
        self._chance = chance
        self._key = key
        self._tally = tally
        self._unsolicited = unsolicited
        self._opening = asyncio.Lock()
        self._ports: list[Port] = []
        self._retired: list[Port] = []
        self._past = Stats()  # of ports that are no more
        self._closed = False

    @property
    def any(self) -> Port:
        """A port that is open, or was the last to be."""
        return (self._ports or self._retired)[-1]

    def local_addrs(self) -> tuple[Address, ...]:
        """Return the addresses of the ports that are not retired."""
        return tuple(port.endpoint.local_addr for port in self._ports)

    def __len__(self) -> int:
        """Return how many ports are kept: open, or closed since one was retired."""
        return len(self._ports) + len(self._retired)

    def choose_nowait(self) -> Port | None:
        """Return a port, or ``None`` if one has to be opened first."""
        ports = self._ports
        if len(ports) < self._count:
            return None
        return ports[0] if self._count == 1 else ports[int(self._chance() * len(ports))]

    async def choose(self) -> Port:
        """Return a port, after opening those that are missing.

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
        # Nothing was awaited since they were complete.
        assert port is not None
        return port

    def used(self, port: Port) -> None:
        """Retire a port that has served its time, where there are several."""
        if self._count > 1 and port.uses >= USES:
            self.retire(port)

    def retire(self, port: Port) -> None:
        """Send nothing new from this port. Idempotent."""
        if port in self._ports:
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
        """Return the counts of all endpoints, those that are no more included."""
        total = self._past
        for port in (*self._ports, *self._retired):
            total += port.endpoint.stats()
        return total

    def close(self) -> None:
        """Close every port. Idempotent."""
        self._closed = True
        for port in (*self._ports, *self._retired):
            port.close()

    async def aclose(self) -> None:
        """Close, and return when all can be bound again."""
        self.close()
        for port in (*self._ports, *self._retired):
            await port.aclose()
