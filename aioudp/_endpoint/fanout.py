"""The common base of endpoints that send on several interfaces.

Broadcast and multicast endpoints wrap an ordinary :class:`~aioudp.Endpoint`, which
receives for them. They implement sending: one datagram on each interface, with an
outcome for each, because a failing interface must not prevent sending on the others.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Self

from .._system.datagram_batch import DatagramBatch
from .._transports.base import DatagramTransport
from .._types import (
    Address,
    Datagram,
    IPAddress,
    Message,
    NetworkError,
    Payload,
    Stats,
)
from .closing import ClosedAtTheEnd
from .endpoint import Endpoint, UntilClosed, send_step


@dataclass(frozen=True, slots=True)
class SendOutcome:
    """The outcome of sending one datagram on one interface."""

    interface: str
    """The name of the interface; if it doesn't exist, as passed by the caller."""

    addr: IPAddress
    """The destination."""

    error: OSError | None = None
    """The error if the datagram wasn't sent; ``None`` if the kernel accepted it."""

    @property
    def sent(self) -> bool:
        """Whether the kernel accepted the datagram."""
        return self.error is None


class FanoutEndpoint(ClosedAtTheEnd):
    """Base class that wraps an endpoint for everything but sending."""

    __slots__ = ("_endpoint",)

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def _attempt(
        self, interface: str, addr: IPAddress, step: Callable[[], object]
    ) -> SendOutcome:
        """Make one exact send, *step*, in order with others; return the outcome.

        Waits and can be cancelled like :meth:`Endpoint.send`.
        """
        try:
            await send_step(self._endpoint, step)
        except OSError as exc:
            return SendOutcome(interface, addr, exc)
        return SendOutcome(interface, addr)

    # -- sending to one

    async def send_to(self, data: Payload, addr: Address) -> None:
        """Send one datagram to one address, like :meth:`Endpoint.send`.

        Use it to answer a request: the peer expects the reply at the address that it
        sent the request from.
        """
        await self._endpoint.send(data, addr)

    async def reply(self, message: Message[Any], data: Payload) -> None:
        """Answer a message, like :meth:`Endpoint.reply`."""
        await self._endpoint.reply(message, data)

    # -- receiving

    async def recv(self) -> Datagram:
        """Wait for the next datagram, like :meth:`Endpoint.recv`."""
        return await self._endpoint.recv()

    async def recv_many(self, max_datagrams: int | None = None) -> list[Datagram]:
        """Wait for one datagram and return all available ones, like
        :meth:`Endpoint.recv_many`.
        """
        return await self._endpoint.recv_many(max_datagrams)

    async def recv_batch(
        self,
        max_datagrams: int | None = None,
        *,
        into: DatagramBatch[Any] | None = None,
    ) -> DatagramBatch:
        """Wait for one datagram and return all available ones in columns, like
        :meth:`Endpoint.recv_batch`.
        """
        return await self._endpoint.recv_batch(max_datagrams, into=into)

    def recv_nowait(self) -> Datagram:
        """Return the next datagram without waiting, like
        :meth:`Endpoint.recv_nowait`.
        """
        return self._endpoint.recv_nowait()

    async def recv_message(self) -> Message:
        """Wait for the next message, like :meth:`Endpoint.recv_message`.

        It includes the interface on which the datagram arrived.
        """
        return await self._endpoint.recv_message()

    async def recv_messages(self, max_messages: int | None = None) -> list[Message]:
        """Wait for one message and return all available ones, like
        :meth:`Endpoint.recv_messages`.
        """
        return await self._endpoint.recv_messages(max_messages)

    def messages(self) -> AsyncIterator[Message]:
        """Iterate over the datagrams as messages, like :meth:`Endpoint.messages`."""
        self._endpoint.messages()  # raises if there are none
        return UntilClosed(self.recv_message)

    async def recv_error(self) -> NetworkError:
        """Wait for the next ICMP error, like :meth:`Endpoint.recv_error`.

        Only unicast datagrams cause errors: hosts don't answer broadcast or multicast
        datagrams with ICMP errors.
        """
        return await self._endpoint.recv_error()

    def errors(self) -> AsyncIterator[NetworkError]:
        """Iterate over ICMP errors, like :meth:`Endpoint.errors`."""
        return self._endpoint.errors()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Datagram:
        return await self._endpoint.__anext__()

    # -- ending

    def drain(self) -> AsyncIterator[Datagram]:
        """Stop receiving, without losing datagrams that have arrived, like
        :meth:`Endpoint.drain`.
        """
        self._endpoint.drain()
        return UntilClosed(self.recv)

    def close(self) -> None:
        """Close the endpoint, like :meth:`Endpoint.close`. Idempotent."""
        self._endpoint.close()

    async def aclose(self) -> None:
        """Close the endpoint, like :meth:`Endpoint.aclose`. Idempotent."""
        await self._endpoint.aclose()

    # -- information

    def stats(self) -> Stats:
        """Return the counters, like :meth:`Endpoint.stats`."""
        return self._endpoint.stats()

    @property
    def local_addr(self) -> IPAddress:
        """The address the endpoint is bound to, even after it was closed."""
        return self._endpoint.local_addr

    @property
    def port(self) -> int:
        """The port the endpoint is bound to, even after it was closed."""
        return self._endpoint.port

    @property
    def family(self) -> int:
        """The address family, one of the ``AF_`` constants of :mod:`socket`."""
        return self._endpoint.family

    @property
    def closed(self) -> bool:
        """Whether the endpoint was closed."""
        return self._endpoint.closed

    def fileno(self) -> int:
        """Return the socket's descriptor; -1 once it is closed."""
        return self._endpoint.fileno()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return information about the transport, like
        :meth:`Endpoint.get_extra_info`.
        """
        return self._endpoint.get_extra_info(name, default)

    @property
    def transport(self) -> DatagramTransport:
        """The endpoint's transport. It doesn't keep the endpoint open."""
        return self._endpoint.transport

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"local_addr={self.local_addr!r}"
        return f"<{type(self).__name__} {state}>"
