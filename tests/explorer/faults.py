"""Faults put back on purpose: each is one that other libraries have, or this one had.

A fault is a piece of the library's text and what stands there instead, in a subclass
made in memory. If the text changes, the fault no longer fits, and its test says so.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from typing import Any, Final

from aioudp._endpoint.endpoint import Endpoint
from aioudp._endpoint.protocol import EndpointProtocol
from aioudp._endpoint.sending import Sender
from aioudp._system.batchio import BatchSocket
from aioudp._transports.selector import SelectorTransport

from .world import ExploredTransport, Parts

Change = tuple[type, str, str, str]
"""A class, the name of a method, a piece of its text, and what replaces it."""

_WOKEN: Final = "if waiters[0] is waiter and (self.items or self.detour & _DECIDED):"
_PLACE: Final = "waiter = waiters[place] = self._loop.create_future()"

FAULTS: Final[dict[str, list[Change]]] = {
    "an error after datagrams waits for the next event": [
        (
            SelectorTransport,
            "_receive",
            "self._loop.call_soon(self._on_pending_error)",
            "pass",
        )
    ],
    "a datagram is handed over with the wake-up": [
        (
            EndpointProtocol,
            "_wake",
            "waiter.set_result(None)",
            "waiter.set_result(self.items.popleft() if self.items else None)",
        ),
        (
            EndpointProtocol,
            "turn",
            "await waiter\n",
            "self.items.extendleft(filter(None, [await waiter]))\n",
        ),
    ],
    "closing wakes nobody": [(EndpointProtocol, "close", "self._wake()", "pass")],
    "draining wakes nobody": [(EndpointProtocol, "_drained", "self._wake()", "pass")],
    "an error wakes nobody": [
        (EndpointProtocol, "error_received", "self._wake()", "pass")
    ],
    "a turn is lost with a cancellation": [
        (EndpointProtocol, "turn", "self._wake()  #", "pass  #")
    ],
    "the next is not woken": [
        (EndpointProtocol, "turn", "self._loop.call_soon(self._wake)", "pass")
    ],
    "newcomers push in": [(EndpointProtocol, "turn", "if waiters or not", "if not")],
    "whoever runs first is served": [
        (
            EndpointProtocol,
            "turn",
            _WOKEN,
            _WOKEN.replace("waiters[0] is waiter", "True"),
        )
    ],
    "a place is lost when woken in vain": [
        (
            EndpointProtocol,
            "turn",
            _PLACE,
            "del waiters[place]; waiters.append(waiter := self._loop.create_future())",
        )
    ],
    "reading doesn't resume with the last datagram": [
        (EndpointProtocol, "_look_after", "len(self.items) == 1", "False")
    ],
    "what closing discards isn't counted": [
        (EndpointProtocol, "close", "self.dropped_close += len(self.items)", "pass")
    ],
    "draining forgets the kernel": [
        (
            SelectorTransport,
            "drain",
            "self._read_remaining(Remaining(self._sock), done)",
            "done()",
        )
    ],
    "an error is raised again and again": [
        (
            EndpointProtocol,
            "_look_after",
            "self.detour = self.detour & ~ERROR or False",
            "self._error = error",
        )
    ],
    "recv_many takes more than it may": [
        (Endpoint, "recv_many", "datagrams += more[:missing]", "pass")
    ],
    "senders that wait have no order": [
        (Sender, "_later", "async with self._line:", "if True:")
    ],
    "a sender goes out while others wait": [
        (Sender, "_later", "self.allowance = 0", "pass")
    ],
    "a send with room waits for more": [
        (Sender, "_later", "await self._transport.wait_writable()", "raise")
    ],
}


def parts_with(changes: list[Change]) -> Parts:
    """Return what a schedule runs, changed."""
    methods: dict[type, dict[str, Any]] = {}
    for cls, name, old, new in changes:
        methods.setdefault(cls, {})[name] = _changed(cls, name, old, new)
    changed: dict[type, Any] = {}
    for cls, own in methods.items():
        base = ExploredTransport if cls is SelectorTransport else cls
        changed[cls] = type(cls.__name__, (base,), own)
    return Parts(
        protocol=changed.get(EndpointProtocol, EndpointProtocol),
        transport=changed.get(SelectorTransport, ExploredTransport),
        io=changed.get(BatchSocket, BatchSocket),
        endpoint=changed.get(Endpoint, Endpoint),
        sender=changed.get(Sender, Sender),
    )


def _changed(cls: type, name: str, old: str, new: str) -> Any:
    text = textwrap.dedent(inspect.getsource(getattr(cls, name)))
    assert text.count(old) == 1, f"{old!r} is not in {cls.__name__}.{name} once"
    space = dict(vars(sys.modules[cls.__module__]))
    exec(text.replace(old, new), space)
    return space[name]
