"""Selects the twin: the compiled one if available.

``AIOUDP_SPEEDUPS=0`` in the environment selects the readable one. UNIX datagram sockets
always use it, because they have no trains and gain nothing from batches.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from . import answering, batchio
from .machine import machine_of

if TYPE_CHECKING or os.environ.get("AIOUDP_SPEEDUPS") == "0":
    _fast, answer_each = batchio, answering.answer_each
else:
    try:
        from . import speedups as _fast
        from .speedups import answer_each
    except ImportError:
        _fast, answer_each = batchio, answering.answer_each


def batch_socket(
    sock: socket.socket,
    *,
    gso_segments: int,
    gro: bool,
    unmap: bool = True,
    packet_info: bool = False,
) -> batchio.BatchSocket:
    """Return the batch I/O for *sock*; a simulated machine has its own."""
    if machine := machine_of(sock):
        simulated: batchio.BatchSocket = machine.batch_socket(
            sock, unmap=unmap, packet_info=packet_info
        )
        return simulated
    inet = sock.family in (socket.AF_INET, socket.AF_INET6)
    twin: type[batchio.BatchSocket] = (_fast if inet else batchio).BatchSocket
    return twin(
        sock, gso_segments=gso_segments, gro=gro, unmap=unmap, packet_info=packet_info
    )
