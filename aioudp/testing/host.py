"""The simulated host that a test uses."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Token
from types import TracebackType
from typing import Any, Self

from .._system import machine
from .._system.machine import Machine
from .calls import OpeningCalls
from .kernel import Fabric, Kernel
from .lifting import Lifting


class Host(Kernel, OpeningCalls):
    """A host of a :class:`SimulatedNetwork`, returned by its method ``host``.

    It has the library's opening calls as methods. Inside ``with host:``, the library's
    own calls open on this host, in tasks that are started there, too. So a program that
    knows nothing about the simulation can run on it.
    """

    def __init__(self, fabric: Fabric, realm: Any, name: str) -> None:
        super().__init__(fabric, realm, name)
        self._tokens: list[Token[Machine | None]] = []

    def __repr__(self) -> str:
        down = " down" if self.down else ""
        return f"<Host {self.name} {' '.join(self.addresses)}{down}>"

    def _machine_at(self, local_addr: object) -> Machine:
        return self

    def _chance(self, purpose: str) -> Callable[[], float]:
        return self._fabric.chance(f"{purpose} on {self.name}")

    def __enter__(self) -> Self:
        self._tokens.append(machine._current.set(self))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        machine._current.reset(self._tokens.pop())

    def crash(self) -> Lifting:
        """Crash the host: its sockets and the datagrams in them are gone.

        Endpoints on it are closed, as by :meth:`aioudp.Endpoint.close`. While it's
        down, datagrams to it disappear: they cause no ICMP errors. After it's back,
        programs must open their endpoints again.

        Returns:
            A context manager. Leaving it, or its ``lift()``, brings the host back.
        """
        self.down: bool = True
        for sock in self.sockets():
            sock.crash()
        return Lifting(self._restart)

    def _restart(self) -> None:
        self.down = False
