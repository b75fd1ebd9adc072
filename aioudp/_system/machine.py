"""Which machine sockets are made on: this one, or a simulated one.

Everything the library asks of the system, it asks through a socket. So a simulated
machine is one that makes its own sockets, and that knows its own interfaces and names.
Which one is meant is a matter of context, like the current event loop: opening calls
take the machine that is current where they are made, and what belongs to a socket asks
the machine that made it.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

_T = TypeVar("_T")


class Machine(Protocol):
    """A simulated machine."""

    def new_socket(self, family: int, proto: int = 0) -> socket.socket:
        """Return a datagram socket on this machine."""

    def batch_socket(self, sock: Any, *, unmap: bool, packet_info: bool) -> Any:
        """Return the batch I/O for a socket of this machine."""

    def interfaces(self) -> list[Any]:
        """Return the interfaces of this machine."""

    def look_up(self, name: str) -> list[str]:
        """Return the addresses that a host name stands for here; maybe none."""


_current: ContextVar[Machine | None] = ContextVar("aioudp_machine", default=None)


def current_machine() -> Machine | None:
    """Return the simulated machine that this code runs on; ``None`` on the real one."""
    return _current.get()


def machine_of(sock: object) -> Machine | None:
    """Return the simulated machine that made *sock*; ``None`` for the real one."""
    machine: Machine | None = getattr(sock, "machine", None)
    return machine


@contextlib.contextmanager
def on_machine(machine: Machine | None) -> Iterator[None]:
    """Run the block, and the tasks that it starts, on *machine*."""
    token = _current.set(machine)
    try:
        yield
    finally:
        _current.reset(token)


def on_this_machine(
    open_: Callable[[], Coroutine[Any, Any, _T]],
) -> Callable[[], Coroutine[Any, Any, _T]]:
    """Return *open_*, to be called later and elsewhere, on the machine current now."""
    machine = _current.get()
    if machine is None:
        return open_

    async def open_there() -> _T:
        with on_machine(machine):
            return await open_()

    return open_there


def new_socket(family: int, proto: int = 0, *, beside: object = None) -> socket.socket:
    """Return a new datagram socket on the current machine, or on that of *beside*.

    UNIX sockets are always real: they are files of this machine, and no network.
    """
    machine = _current.get() if beside is None else machine_of(beside)
    if machine is None or family not in (socket.AF_INET, socket.AF_INET6):
        return socket.socket(family, socket.SOCK_DGRAM, proto)
    return machine.new_socket(family, proto)
