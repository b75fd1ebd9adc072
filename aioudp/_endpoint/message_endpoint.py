"""An endpoint whose queue holds messages, and that can return plain datagrams.

A separate class, so that ordinary endpoints don't have to check their items.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from .._errors import EndpointClosedError, TruncatedError
from .._transports.base import DatagramTransport
from .._types import AddressT_co, Datagram, Received
from .endpoint import Endpoint
from .protocol import EndpointProtocol


class MessageEndpoint(Endpoint[AddressT_co]):
    """Receives plain datagrams from a queue of messages."""

    __slots__ = ("_received",)

    def __init__(
        self,
        transport: DatagramTransport,
        protocol: EndpointProtocol,
        *,
        packet_info: bool,
    ) -> None:
        super().__init__(transport, protocol, packet_info=packet_info)
        self._received = protocol.items

    async def recv(self) -> Datagram[AddressT_co]:
        if not self._items or self._protocol.detour:
            await self._protocol.turn()
        return _next_datagram(self._received)

    async def recv_many(
        self, max_datagrams: int | None = None
    ) -> list[Datagram[AddressT_co]]:
        received: list[Any] = await super().recv_many(max_datagrams)
        datagrams = []
        left = deque(received)
        try:
            while left:
                datagrams.append(_next_datagram(left))
        except TruncatedError as exc:
            if not datagrams:
                raise
            left.appendleft(exc.message)
        finally:
            self._received.extendleft(reversed(left))
        return datagrams

    def recv_nowait(self) -> Datagram[AddressT_co]:
        self._protocol.turn_nowait()
        return _next_datagram(self._received)

    async def __anext__(self) -> Datagram[AddressT_co]:
        try:
            return await self.recv()
        except EndpointClosedError:
            raise StopAsyncIteration from None


def _next_datagram(items: deque[Received]) -> Datagram[Any]:
    """Take the oldest item, and return it as a plain datagram.

    Raises:
        TruncatedError: If the datagram was truncated.
    """
    one = items.popleft()
    if isinstance(one, Datagram):
        return one
    if one.truncated:
        raise TruncatedError(one)
    return Datagram(one.data, one.addr)
