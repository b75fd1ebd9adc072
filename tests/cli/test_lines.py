"""Lines are read from files, pipes and terminals while the event loop stays free."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aioudp.cli.lines import MAX_LINE, read_lines

# Neither a line end in it, nor half of one at its end.
line_texts = (
    st.binary(max_size=20)
    .map(lambda data: data.replace(b"\n", b""))
    .map(lambda data: data.rstrip(b"\r"))
)


async def lines_of(fd: int) -> list[bytes]:
    return [line async for line in read_lines(fd)]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Return the reading and the writing end of a pipe."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Callable[[bytes], int]]:
    """Make regular files, open for reading."""
    opened: list[int] = []

    def make(content: bytes) -> int:
        path = tmp_path / "input"
        path.write_bytes(content)
        opened.append(os.open(path, os.O_RDONLY))
        return opened[-1]

    yield make
    for fd in opened:
        os.close(fd)


def no_reader_is_left() -> bool:
    """Wait for the reading threads to end."""
    for thread in threading.enumerate():
        if thread.name == "aioudp-stdin":
            thread.join(10)
            return not thread.is_alive()
    return True


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"one", [b"one"]),
        (b"one\n", [b"one"]),
        (b"one\r\ntwo\r\n", [b"one", b"two"]),
        (b"\n\nthree", [b"", b"", b"three"]),
        (b"a\rb\r", [b"a\rb"]),
        (b"\xff\x00\n", [b"\xff\x00"]),
    ],
)
async def test_lines_of_a_file(
    file: Callable[[bytes], int], content: bytes, lines: list[bytes]
) -> None:
    """Line ends are taken off; an empty line and an unended last one count."""
    assert await lines_of(file(content)) == lines


@given(st.lists(line_texts, max_size=8), st.booleans(), st.booleans())
@settings(
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_lines_are_read_back(
    file: Callable[[bytes], int], lines: list[bytes], ended: bool, dos: bool
) -> None:
    """What is written as lines is read as the same lines."""
    end = b"\r\n" if dos else b"\n"
    content = end.join([*lines, b""]) if ended else end.join(lines)
    expected = lines if ended or not lines or lines[-1] else lines[:-1]

    assert asyncio.run(lines_of(file(content))) == expected


async def test_lines_longer_than_one_read(file: Callable[[bytes], int]) -> None:
    """A line is put together again however it is cut by the reading."""
    lines = [b"a" * 40_000, b"b" * MAX_LINE, b"c" * 40_000]

    assert await lines_of(file(b"\n".join(lines))) == lines


@pytest.mark.parametrize("end", [b"", b"\n", b"x" * 200_000])
async def test_a_line_longer_than_a_datagram_is_refused(
    file: Callable[[bytes], int], end: bytes
) -> None:
    """It is refused as soon as it is too long: memory stays bounded."""
    fd = file(b"fine\n" + b"x" * (MAX_LINE + 1) + end)

    with pytest.raises(ValueError, match="line 2 of the input is too long"):
        await lines_of(fd)

    assert os.lseek(fd, 0, os.SEEK_CUR) <= 2 * MAX_LINE


async def test_the_loop_stays_free_while_nothing_is_typed(
    pipe: tuple[int, int],
    until_blocked: Callable[..., Coroutine[Any, Any, None]],
) -> None:
    """Waiting for a line suspends only the task that waits."""
    reading, writing = pipe
    async with aclosing(read_lines(reading)) as lines:
        waiting = asyncio.ensure_future(anext(lines))
        await until_blocked(waiting)
        assert not waiting.done()

        os.write(writing, b"typed\n")

        assert await waiting == b"typed"


async def test_a_line_that_comes_after_cancelling_is_ignored(
    pipe: tuple[int, int],
    until_blocked: Callable[..., Coroutine[Any, Any, None]],
) -> None:
    """The thread that still waits for it does no harm."""
    reading, writing = pipe
    waiting = asyncio.ensure_future(lines_of(reading))
    await until_blocked(waiting)
    waiting.cancel()
    await asyncio.wait([waiting])

    os.write(writing, b"late\n")

    assert await asyncio.to_thread(no_reader_is_left)
    await asyncio.sleep(0)  # what the thread has asked of the loop is done now
    assert waiting.cancelled()


def test_a_line_that_comes_after_the_loop_is_ignored(pipe: tuple[int, int]) -> None:
    """The thread that still waits for it does no harm then either."""
    reading, writing = pipe

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await lines_of(reading)

    asyncio.run(give_up())
    os.write(writing, b"late\n")

    assert no_reader_is_left()


async def test_an_unreadable_descriptor_is_an_error(pipe: tuple[int, int]) -> None:
    """What the system says is raised to the reader of the lines."""
    _, writing = pipe

    with pytest.raises(OSError, match="Bad file descriptor"):
        await lines_of(writing)
