"""Signals: notify a program that it should stop, so that it can finish its work.

``loop.add_signal_handler`` is missing on Windows, doesn't restore the previous handler,
and allows one handler per signal. So this module sets handlers with
:func:`signal.signal`. The interpreter calls them in the main thread, between two
instructions, and they schedule a callback in the event loop. A signal that arrives as
the loop goes to sleep must wake it: if the loop has no wake-up descriptor (asyncio's
selector loop without signal handlers), this module adds one.

Handlers belong to the process, but blocks belong to tasks, which may end in any order.
So a table stores, for each signal, the previous handler and the open blocks. The
previous handler is restored when the last block ends, or when the signal has arrived.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

_UNCATCHABLE: Final = {"SIGKILL", "SIGSTOP"}  # signal(7)


def until_signal(
    *signals: int, call: Callable[[], object] | None = None
) -> AbstractAsyncContextManager[asyncio.Event]:
    """Notify the body of an ``async with`` block when the program should stop.

    ::

        async with (
            aioudp.bind(("", 9999)) as endpoint,
            aioudp.until_signal(call=endpoint.drain),
        ):
            async for data, addr in endpoint:
                await endpoint.send(data, addr)

    Nothing is cancelled. The first signal calls *call* and sets the event that ``as``
    binds; the block ends when its body does. After that, the signals have their
    previous effect, so the second one ends the program at once: SIGTERM kills it, and
    Ctrl-C raises :class:`KeyboardInterrupt`. If the block ends without a signal, their
    previous effect is restored as well.

    Blocks may be nested, and several tasks may have one: a signal notifies all open
    blocks. Handlers set with ``loop.add_signal_handler`` are called too.

    Args:
        signals: The signals to handle. Default: SIGTERM and SIGINT. On Windows,
            ``signal.SIGBREAK`` is Ctrl-Break.
        call: A function to call in the event loop at the first signal, before the event
            is set. Its exceptions go to the loop's exception handler.

    Raises:
        RuntimeError: On entering the block, if this isn't the main thread: other
            threads don't receive signals.
        TypeError: If a signal isn't an int, or *call* isn't callable.
        ValueError: If a signal doesn't exist or can't be caught.
    """
    if call is not None and not callable(call):
        raise TypeError(f"call must be callable, got {call!r}")
    numbers = signals or (signal.SIGTERM, signal.SIGINT)
    return _until_signal([_checked(number) for number in numbers], call)


def _checked(number: int) -> signal.Signals:
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"a signal is a number such as signal.SIGTERM, not {number!r}")
    try:
        checked = signal.Signals(number)
    except ValueError:
        raise ValueError(f"there is no signal {number!r}") from None
    if checked.name in _UNCATCHABLE:
        raise ValueError(f"{checked.name} cannot be caught")
    return checked


@dataclass(slots=True, eq=False)
class _Block:
    """One open ``async with`` block."""

    loop: asyncio.AbstractEventLoop
    signals: list[signal.Signals]
    notify: Callable[[], None]


@dataclass(slots=True, eq=False)
class _Watched:
    """A signal with our handler."""

    before: Any  # what signal.getsignal returned
    blocks: list[_Block]


_watched: Final[dict[int, _Watched]] = {}  # touched by the main thread only


@asynccontextmanager
async def _until_signal(
    signals: list[signal.Signals], call: Callable[[], object] | None
) -> AsyncIterator[asyncio.Event]:
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("until_signal works in the main thread only")
    loop = asyncio.get_running_loop()
    event = asyncio.Event()

    def notify() -> None:
        try:
            if call is not None and not event.is_set():
                call()
        finally:
            event.set()

    block = _Block(loop, signals, notify)
    with _woken_by_signals(loop):
        _watch(block)
        try:
            yield event
        finally:
            _unwatch(block)


def _watch(block: _Block) -> None:
    for number in block.signals:
        if (watched := _watched.get(number)) is not None:
            watched.blocks.append(block)
        else:
            _watched[number] = _Watched(signal.getsignal(number), [block])
            signal.signal(number, _on_signal)


def _unwatch(block: _Block) -> None:
    for number in block.signals:
        watched = _watched.get(number)
        if watched is not None and block in watched.blocks:
            watched.blocks.remove(block)
            if not watched.blocks:
                _restore(number)


def _restore(number: int) -> None:
    """Restore the previous handler, unless other code has replaced ours."""
    watched = _watched.pop(number, None)
    if watched is not None and signal.getsignal(number) is _on_signal:
        # None: the handler wasn't set from Python, and can't be restored.
        signal.signal(number, watched.before or signal.SIG_DFL)


def _on_signal(number: int, frame: FrameType | None) -> None:
    watched = _watched.get(number)
    blocks = [] if watched is None else list(watched.blocks)
    delivered = False
    for block in blocks:
        _unwatch(block)
        with contextlib.suppress(RuntimeError):  # its loop is closed
            block.loop.call_soon_threadsafe(block.notify)
            delivered = True
    if not delivered:  # the last block was just ending, or abandoned: pass it on
        _restore(number)
        signal.raise_signal(number)


@contextmanager
def _woken_by_signals(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Make signals wake the loop, even as it goes to sleep."""
    wakeup = _wakeups.get(loop)
    if wakeup is None:
        installed = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(installed)
        if installed != -1:  # the loop's own
            yield
            return
        wakeup = _wakeups[loop] = _Wakeup(loop)
    wakeup.users += 1
    try:
        yield
    finally:
        wakeup.users -= 1
        if not wakeup.users:
            del _wakeups[loop]
            wakeup.close()


class _Wakeup:
    """A wake-up descriptor for a loop that has none, while blocks are open."""

    __slots__ = ("_loop", "_receiving", "_waking", "users")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.users = 0
        self._loop = loop
        self._receiving, self._waking = socket.socketpair()
        self._receiving.setblocking(False)
        self._waking.setblocking(False)
        signal.set_wakeup_fd(self._waking.fileno(), warn_on_full_buffer=False)
        loop.add_reader(self._receiving, self._read_out)

    def _read_out(self) -> None:
        with contextlib.suppress(OSError):
            self._receiving.recv(4096)

    def close(self) -> None:
        self._loop.remove_reader(self._receiving)
        installed = signal.set_wakeup_fd(-1)
        if installed != self._waking.fileno():  # the loop has added one meanwhile
            signal.set_wakeup_fd(installed)
        self._receiving.close()
        self._waking.close()


_wakeups: Final[dict[asyncio.AbstractEventLoop, _Wakeup]] = {}
