"""A simulated host, as a test holds it in its hand."""

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
    """A host of a :class:`SimulatedNetwork`; made by its method ``host``.

    It has the opening calls of the library. In ``with host:`` the library's own calls
    open on this host, and so do those of every task that is started there: so a program
    that knows nothing of the simulation runs on it.
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
        """Have the host crash: its sockets are gone, and so is what they held.

        Endpoints on it are closed, as :meth:`aioudp.Endpoint.close` closes them.
        Nothing reaches it and nothing is refused until it is lifted: then it is up
        again, and its programs have to open anew.

        Returns:
            A context manager; its end, or its ``lift()``, brings the host back.
        """
        self.down = True
        for sock in self.sockets():
            sock.crash()
        return Lifting(self._restart)

    def _restart(self) -> None:
        self.down = False
