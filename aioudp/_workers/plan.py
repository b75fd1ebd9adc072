"""What a worker gets from its parent."""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from .._endpoint.endpoint import Endpoint
from .._endpoint.options import Options

Main: TypeAlias = Callable[[Endpoint], Coroutine[Any, Any, object]]


class Plan:
    """What a worker gets from its parent."""

    __slots__ = ("lifeline", "main", "options", "reports", "sock")

    def __init__(
        self,
        main: Main,
        sock: socket.socket,
        options: Options,
        *,
        reports: int,
        lifeline: int,
    ) -> None:
        self.main = main
        self.sock = sock
        self.options = options
        self.reports = reports
        self.lifeline = lifeline
