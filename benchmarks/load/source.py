"""Flood a listener: with trains of datagrams where the kernel cuts them, or singly."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from typing import Final

from ..worker import BURST, Job
from . import UDP_SEGMENT, open_socket

_TRAIN: Final = 65000  # bytes: with headers less than the 64 KiB of lo's gso_max_size
_MAX_SEGMENTS: Final = 128  # UDP_MAX_SEGMENTS, include/linux/udp.h, since Linux 6.9
_OLD_MAX_SEGMENTS: Final = 64


def send_trains(job: Job) -> None:
    """Send with UDP_SEGMENT, as many datagrams per call as fit."""
    size = len(job.payload)
    segments = min(_TRAIN // size, _MAX_SEGMENTS)
    train = job.payload * segments
    with open_socket() as sock:
        sock.connect(job.peer)
        sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
        job.wait_for_go()
        sent = 0
        for _ in job.bursts():
            try:
                sock.send(train)
            except OSError as exc:
                if exc.errno != errno.EINVAL or segments <= _OLD_MAX_SEGMENTS:
                    raise
                segments = _OLD_MAX_SEGMENTS
                train = job.payload * segments
            else:
                sent += segments
        job.stop(sent)


def send_singles(job: Job) -> None:
    """Send one datagram per call."""
    with open_socket() as sock:
        sock.connect(job.peer)
        job.wait_for_go()
        sent = 0
        for _ in job.bursts():
            for _ in range(BURST):
                # A full buffer, on systems whose loopback has one.
                with suppress(BlockingIOError):
                    sock.send(job.payload)
                    sent += 1
        job.stop(sent)


def trains_work() -> bool:
    """Return whether this system splits trains (Linux 4.18 or later)."""
    with open_socket() as sock:
        try:
            sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1)
        except OSError:
            return False
    return True
