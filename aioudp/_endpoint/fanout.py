"""What endpoints that send out of several interfaces have in common.

A broadcast and a multicast endpoint hold an ordinary :class:`~aioudp.Endpoint` and
pass on what it gives for receiving. Sending is their own: one datagram goes out of
each interface, and what became of it is told for each, because one dead interface
must not keep the others from being served.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Self

from .._transports.base import DatagramTransport
from .._types import Address, Datagram, Message, NetworkError, Payload, Stats
from .closing import ClosedAtTheEnd
from .endpoint import Endpoint, UntilClosed, send_step


@dataclass(frozen=True, slots=True)
class SendOutcome:
    """What became of one datagram at one interface."""

    interface: str
    """Its name; of an interface that is not there, what the caller called it."""

    addr: Address
    """Where the datagram was to go."""

    error: OSError | None = None
    """Why it was not sent; ``None`` if the kernel took it."""

    @property
    def sent(self) -> bool:
        """Whether the kernel took it."""
        return self.error is None


class FanoutEndpoint(ClosedAtTheEnd):
    """An endpoint inside, for receiving, closing and looking. Base class."""

    __slots__ = ("_endpoint",)

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def _attempt(
        self, interface: str, addr: Address, step: Callable[[], object]
    ) -> SendOutcome:
        """Make one exact send, *step*, in turn with others, and report a refusal.

        Waits, and is cancelled, as :meth:`Endpoint.send`.
        """
        try:
            await send_step(self._endpoint, step)
        except OSError as exc:
            return SendOutcome(interface, addr, exc)
        return SendOutcome(interface, addr)

    # -- sending to one

    async def send_to(self, data: Payload, addr: Address) -> None:
        """Send one datagram to one address, as :meth:`Endpoint.send` does.

        This is how to answer: whoever asked a group, or everybody, hears the answer
        at the address that the question came from.
        """
        await self._endpoint.send(data, addr)

    async def reply(self, message: Message, data: Payload) -> None:
        """Answer a message, as :meth:`Endpoint.reply` does."""
        await self._endpoint.reply(message, data)

    # -- receiving

    async def recv(self) -> Datagram:
        """Wait for the next datagram, as :meth:`Endpoint.recv` does."""
        return await self._endpoint.recv()

    async def recv_many(self, max_datagrams: int | None = None) -> list[Datagram]:
        """Wait for one datagram and return all that are there, as
        :meth:`Endpoint.recv_many` does.
        """
        return await self._endpoint.recv_many(max_datagrams)

    def recv_nowait(self) -> Datagram:
        """Return the next datagram without waiting, as :meth:`Endpoint.recv_nowait`
        does.
        """
        return self._endpoint.recv_nowait()

    async def recv_message(self) -> Message:
        """Wait for the next datagram, as :meth:`Endpoint.recv_message` does.

        Among what the kernel tells is the interface that it came by.
        """
        return await self._endpoint.recv_message()

    async def recv_messages(self, max_messages: int | None = None) -> list[Message]:
        """Wait for one datagram and return all that are there, as
        :meth:`Endpoint.recv_messages` does.
        """
        return await self._endpoint.recv_messages(max_messages)

    def messages(self) -> AsyncIterator[Message]:
        """Iterate over the datagrams as messages, as :meth:`Endpoint.messages` does."""
        self._endpoint.messages()  # raises if there are none
        return UntilClosed(self.recv_message)

    async def recv_error(self) -> NetworkError:
        """Wait for the next error of the network, as :meth:`Endpoint.recv_error` does.

        Of what was sent to one: nobody answers a broadcast or a group with an error.
        """
        return await self._endpoint.recv_error()

    def errors(self) -> AsyncIterator[NetworkError]:
        """Iterate over these errors, as :meth:`Endpoint.errors` does."""
        return self._endpoint.errors()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Datagram:
        return await self._endpoint.__anext__()

    # -- ending

    def drain(self) -> AsyncIterator[Datagram]:
        """Stop receiving, without losing what has arrived, as :meth:`Endpoint.drain`
        does.
        """
        self._endpoint.drain()
        return UntilClosed(self.recv)

    def close(self) -> None:
        """Close the endpoint, as :meth:`Endpoint.close` does. Idempotent."""
        self._endpoint.close()

    async def aclose(self) -> None:
        """Close the endpoint, as :meth:`Endpoint.aclose` does. Idempotent."""
        await self._endpoint.aclose()

    # -- looking

    def stats(self) -> Stats:
        """Return what happened so far, as :meth:`Endpoint.stats` does."""
        return self._endpoint.stats()

    @property
    def local_addr(self) -> Address:
        """The address the endpoint is bound to; also after it was closed."""
        return self._endpoint.local_addr

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
        """Return what the transport knows, as :meth:`Endpoint.get_extra_info` does."""
        return self._endpoint.get_extra_info(name, default)

    @property
    def transport(self) -> DatagramTransport:
        """The transport below. It does not keep the endpoint open."""
        return self._endpoint.transport

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"local_addr={self.local_addr!r}"
        return f"<{type(self).__name__} {state}>"
