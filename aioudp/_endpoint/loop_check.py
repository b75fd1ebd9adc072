"""Raise an error for calls from another thread or event loop.

In debug mode every call is checked, otherwise only those that have to wait.
"""

from __future__ import annotations

import asyncio

from .._transports.base import DatagramTransport


def check_loop(
    loop: asyncio.AbstractEventLoop, transport: DatagramTransport, *, waits: bool
) -> None:
    """Check that a call comes from the event loop of *transport*.

    A call that doesn't wait may also come while no event loop is running.

    Raises:
        RuntimeError: If it doesn't. The message contains the endpoint's address.
    """
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        running = None
    if running is loop:
        return
    if not waits and running is None and not loop.is_running():
        return
    addr = transport.get_extra_info("sockname")
    if loop.is_closed():
        advice = ", which is closed; open it in the coroutine that uses it"
    else:
        advice = (
            "; from another thread, use asyncio.run_coroutine_threadsafe "
            "or loop.call_soon_threadsafe"
        )
    raise RuntimeError(
        f"the endpoint at {addr!r} belongs to another event loop{advice}"
    )
