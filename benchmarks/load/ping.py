"""Send a datagram, wait for its echo, send the next: round trip times."""

from __future__ import annotations

import socket
import struct
import time
from typing import Final

from ..worker import MAX_DATAGRAM, Job
from . import open_socket

_NUMBER: Final = struct.Struct("=q")
_PATIENCE: Final = struct.pack("@ll", 0, 200_000)  # struct timeval: 0.2 s, then lost


def ping(job: Job) -> None:
    """Measure round trips. Each datagram starts with its number.

    So an echo that comes after its time was up is not taken for the next one's.
    """
    rest = job.payload[_NUMBER.size :]
    times = []
    clock = time.perf_counter
    with open_socket() as sock:
        sock.connect(job.peer)
        # Not settimeout(), which asks poll(2) before every read.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _PATIENCE)
        job.wait_for_go()
        sent = 0
        for burst in job.bursts():
            sent = burst
            question = _NUMBER.pack(sent) + rest
            sent_at = clock()
            sock.send(question)
            try:
                while sock.recv(MAX_DATAGRAM) != question:
                    pass
            except BlockingIOError:
                continue
            times.append(clock() - sent_at)
        if not times:
            raise TimeoutError("no echo came back")
        times.sort()
        job.stop(
            sent,
            received=len(times),
            p50_seconds=times[len(times) * 50 // 100],
            p99_seconds=times[len(times) * 99 // 100],
        )
