"""The library's own errors: their tree, their texts, and what they carry."""

from __future__ import annotations

import errno
import pickle
from typing import Final

import pytest

from aioudp import _errors
from aioudp._errors import (
    EndpointClosedError,
    RequestTimeoutError,
    SendManyError,
    TruncatedError,
    UDPError,
    with_context,
)
from aioudp._types import Message

TOO_LONG: Final = OSError(errno.EMSGSIZE, "Message too long")
CUT_OFF: Final = Message(b"begin", ("192.0.2.1", 9), truncated=True, full_length=1000)
REFUSED: Final = OSError(errno.ECONNREFUSED, "Connection refused")

# Every class of the library's own, an example of it, and what it says.
TEXTS: Final[list[tuple[UDPError, str]]] = [
    (UDPError("something else"), "something else"),
    (
        EndpointClosedError(),
        (
            "the endpoint is closed: its 'async with' block has ended, or close(), "
            "aclose() or drain() was called"
        ),
    ),
    (
        SendManyError({7: TOO_LONG}),
        (
            "1 datagram was not sent; the first, at index 7: "
            f"[Errno {errno.EMSGSIZE}] Message too long"
        ),
    ),
    (
        SendManyError({2: REFUSED, 5: TOO_LONG}),
        (
            "2 datagrams were not sent; the first, at index 2: "
            f"[Errno {errno.ECONNREFUSED}] Connection refused"
        ),
    ),
    (
        RequestTimeoutError(("192.0.2.1", 9), 1, 1.0, 0),
        "no answer from ('192.0.2.1', 9), asked once in 1.000 seconds",
    ),
    (
        RequestTimeoutError(("192.0.2.1", 9), 4, 15.25, 2, REFUSED),
        (
            "no answer from ('192.0.2.1', 9), asked 4 times in 15.250 seconds; "
            "2 other datagrams came; "
            f"the last error: [Errno {errno.ECONNREFUSED}] Connection refused"
        ),
    ),
    (
        TruncatedError(CUT_OFF),
        (
            "a datagram of 1000 bytes from ('192.0.2.1', 9) "
            "was truncated to 5 (max_datagram_size)"
        ),
    ),
]


def test_every_error_class_is_in_the_table() -> None:
    """A new class comes with its text."""
    defined = {
        value
        for value in vars(_errors).values()
        if isinstance(value, type) and issubclass(value, Exception)
    }

    assert {type(error) for error, _ in TEXTS} == defined


@pytest.mark.parametrize(("error", "text"), TEXTS)
def test_an_error_says_what_happened(error: UDPError, text: str) -> None:
    """The text of each class is a sentence that names the facts."""
    assert str(error) == text


@pytest.mark.parametrize("error", [error for error, _ in TEXTS])
def test_an_error_survives_pickling(error: UDPError) -> None:
    """It can cross to another process and still says the same."""
    copy = pickle.loads(pickle.dumps(error))

    assert (type(copy), str(copy)) == (type(error), str(error))


def test_send_many_error_carries_the_errors_by_index() -> None:
    """Whoever catches it learns which datagrams to send again."""
    error = SendManyError({7: TOO_LONG})

    assert error.errors == {7: TOO_LONG}


def test_send_many_error_carries_the_errors_through_pickling() -> None:
    """The indices and the errors arrive on the other side."""
    copy = pickle.loads(pickle.dumps(SendManyError({7: REFUSED})))

    assert {index: type(error) for index, error in copy.errors.items()} == {
        7: ConnectionRefusedError
    }


@pytest.mark.parametrize("cls", [EndpointClosedError, SendManyError])
def test_one_except_clause_catches_them_all(cls: type[UDPError]) -> None:
    """Every class of the library's own descends from UDPError."""
    assert issubclass(cls, UDPError)


@pytest.mark.parametrize("cls", [UDPError, EndpointClosedError, SendManyError])
def test_none_of_them_passes_for_an_error_of_the_system(cls: type[UDPError]) -> None:
    """``except OSError`` is for the system's errors, and catches none of ours."""
    assert not issubclass(cls, OSError)


def test_a_timeout_is_one() -> None:
    """``except TimeoutError`` catches a request that nobody answered."""
    error = RequestTimeoutError(("192.0.2.1", 9), 4, 15.25, 2)

    assert isinstance(error, TimeoutError)
    assert (error.errno, error.strerror) == (None, None)


@pytest.mark.parametrize(
    "number",
    [errno.ECONNREFUSED, errno.EACCES, errno.EPERM, errno.EMSGSIZE, errno.EADDRINUSE],
)
def test_context_keeps_class_and_number(number: int) -> None:
    """An ``except`` clause and a look at ``errno`` work as without the context."""
    error = OSError(number, "as the system says")

    explained = with_context(error, "sending 3 bytes")

    assert (type(explained), explained.errno) == (type(error), number)


def test_context_is_added_to_what_the_system_says() -> None:
    """The message keeps the system's words and adds what failed."""
    explained = with_context(TOO_LONG, "sending 70000 bytes to ('192.0.2.1', 9)")

    assert str(explained) == (
        f"[Errno {errno.EMSGSIZE}] Message too long "
        "(sending 70000 bytes to ('192.0.2.1', 9))"
    )


def test_context_leaves_the_error_alone() -> None:
    """It returns a new error, and does not add to the text of one shared by others."""
    error = OSError(errno.EINVAL, "Invalid argument")

    with_context(error, "sending")

    assert str(error) == f"[Errno {errno.EINVAL}] Invalid argument"


def test_context_is_added_to_an_error_without_a_number() -> None:
    """The socket module raises some of its own before it asks the system."""
    explained = with_context(OSError("AF_UNIX path too long"), "binding to '/long'")

    assert str(explained) == "AF_UNIX path too long (binding to '/long')"
    assert explained.errno is None
