"""Drain a socket and count its datagrams, with UDP_GRO where the kernel has it."""

from __future__ import annotations

import socket
import struct
import sys
from contextlib import suppress
from typing import Final

from ..worker import HOST, MARK, MAX_DATAGRAM, Job
from . import UDP_GRO, open_socket

assert sys.platform != "win32"  # there is no recvmsg_into

_SEGMENT_SIZE: Final = struct.Struct("=i")
_CONTROL_SPACE: Final = 64  # bytes


def drain(job: Job) -> None:
    """Count the datagrams between the marks."""
    with open_socket() as sock:
        sock.bind((HOST, 0))
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        job.listening(sock.getsockname())
        buffer = bytearray(MAX_DATAGRAM)
        sock.recv_into(buffer)
        job.start()
        received = 0
        while True:
            length, control, _, _ = sock.recvmsg_into([buffer], _CONTROL_SPACE)
            if length == MARK:
                break
            segment_size = length
            for level, kind, value in control:
                if level == socket.IPPROTO_UDP and kind == UDP_GRO:
                    (segment_size,) = _SEGMENT_SIZE.unpack(value)
            received += -(-length // segment_size)
        job.stop(received)
