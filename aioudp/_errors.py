"""The library's own exceptions.

::

    UDPError
     +-- EndpointClosedError    the endpoint was closed
     +-- SendManyError          the system refused some of several datagrams
     +-- RequestTimeoutError    nobody answered (also a TimeoutError)
     +-- TruncatedError         a datagram was longer than allowed

System errors are raised as the system's own :class:`OSError` subclass, and invalid
arguments as :class:`TypeError` or :class:`ValueError`.
"""

from __future__ import annotations

from typing import Any, Self

from ._types import IPAddress, Message


class UDPError(Exception):
    """Base class of the exceptions that aioudp defines."""


class EndpointClosedError(UDPError):
    """The endpoint was closed, before or during the call."""

    def __str__(self) -> str:
        return (
            "the endpoint is closed: its 'async with' block has ended, or close(), "
            "aclose() or drain() was called"
        )


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

    def __init__(self, message: Message[Any]) -> None:
        super().__init__(message)
        self.message: Message[Any] = message
        """The datagram, as :meth:`Endpoint.recv_message` returns it."""
        self.data: bytes = message.data
        """The beginning of its payload."""
        self.addr: IPAddress = message.addr
        """The sender's address. Its type is for IP; a UNIX socket has a path here."""
        self.length: int | None = message.full_length
        """Its original length in bytes."""

    def __str__(self) -> str:
        return (
            f"a datagram of {self.length} bytes from {self.addr!r} "
            f"was truncated to {len(self.data)} (max_datagram_size)"
        )


class RequestTimeoutError(UDPError, TimeoutError):
    """A request was sent as often as was asked for, and no answer came."""

    def __init__(
        self,
        addr: IPAddress,
        attempts: int,
        elapsed: float,
        ignored: int,
        last_error: OSError | None = None,
    ) -> None:
        self.addr = addr
        """Who was asked. The type is for IP; a UNIX socket has a path here."""
        self.attempts = attempts
        """How often the request was sent."""
        self.elapsed = elapsed
        """Seconds from the first transmission to the end."""
        self.ignored = ignored
        """Datagrams that the client received in this time and that answered no
        request."""
        self.last_error = last_error
        """What the system said of the last transmission that it refused, if any."""
        # One argument: of several, OSError makes its errno and strerror.
        super().__init__(str(self))

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        # That of OSError would take some of the arguments for an error number.
        return type(self), (
            self.addr,
            self.attempts,
            self.elapsed,
            self.ignored,
            self.last_error,
        )

    def __str__(self) -> str:
        times = "once" if self.attempts == 1 else f"{self.attempts} times"
        text = (
            f"no answer from {self.addr!r}, asked {times} in {self.elapsed:.3f} seconds"
        )
        if self.ignored:
            noun = "datagram" if self.ignored == 1 else "datagrams"
            text += f"; {self.ignored} other {noun} came"
        if self.last_error is not None:
            text += f"; the last error: {self.last_error}"
        return text


def with_context(error: OSError, doing: str) -> OSError:
    """Return an error of the same class and ``errno``, with the failed operation."""
    if error.errno is None:  # raised by the socket module, without a system call
        return OSError(f"{error} ({doing})")
    return OSError(error.errno, f"{error.strerror} ({doing})")
