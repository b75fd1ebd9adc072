"""The errors of the library's own.

::

    UDPError
     +-- EndpointClosedError    you closed it
     +-- SendManyError          the system refused some datagrams of several
     +-- TruncatedError         a datagram was longer than you allow

Everything the system refuses is raised as the system's own :class:`OSError`
subclass, everything a caller gets wrong as :class:`TypeError` or
:class:`ValueError`.
"""

from __future__ import annotations

from ._types import Address, Message


class UDPError(Exception):
    """Base class of the exceptions that aioudp defines."""


class EndpointClosedError(UDPError):
    """The endpoint was closed, before or during the call."""

    def __str__(self) -> str:
        return "the endpoint is closed"


class SendManyError(UDPError):
    """Some datagrams of one ``send_many`` were refused; the others went out."""

    def __init__(self, errors: dict[int, OSError]) -> None:
        super().__init__(errors)
        self.errors = errors
        """The error of each refused datagram, by its index in the iterable."""

    def __str__(self) -> str:
        index, error = next(iter(self.errors.items()))
        count = len(self.errors)
        noun = "datagram was" if count == 1 else "datagrams were"
        return f"{count} {noun} not sent; the first, at index {index}: {error}"


class TruncatedError(UDPError):
    """A datagram was longer than the option ``max_datagram_size`` allows."""

    def __init__(self, message: Message) -> None:
        super().__init__(message)
        self.message: Message = message
        """What is known of it, as :meth:`Endpoint.recv_message` would return it."""
        self.data: bytes = message.data
        """Its beginning."""
        self.addr: Address = message.addr
        """Who sent it."""
        self.length: int | None = message.full_length
        """The length in bytes that it had."""

    def __str__(self) -> str:
        return (
            f"a datagram of {self.length} bytes from {self.addr!r} "
            f"was cut off after {len(self.data)} (max_datagram_size)"
        )


def with_context(error: OSError, doing: str) -> OSError:
    """Return the same error, same class and ``errno``, that also says what failed."""
    if error.errno is None:  # from the socket module, before it asked the system
        return OSError(f"{error} ({doing})")
    return OSError(error.errno, f"{error.strerror} ({doing})")
