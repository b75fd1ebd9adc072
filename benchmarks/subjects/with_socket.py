"""A blocking socket, without any event loop."""

from __future__ import annotations

import socket

from ..worker import BURST, HOST, MARK, MAX_DATAGRAM, Job


def receive(job: Job) -> None:
    """Receive with ``recvfrom``."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        job.listening(sock.getsockname())
        sock.recvfrom(MAX_DATAGRAM)
        job.start()
        received = 0
        while True:
            data, _ = sock.recvfrom(MAX_DATAGRAM)
            if len(data) == MARK:
                break
            received += 1
        job.stop(received)


def send(job: Job) -> None:
    """Send with ``send``."""
    payload = job.payload
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.connect(job.peer)
        job.wait_for_go()
        sent = 0
        for burst in job.bursts():
            for _ in range(BURST):
                sock.send(payload)
            sent = burst * BURST
        job.stop(sent)


def echo(job: Job) -> None:
    """Answer with ``sendto`` what ``recvfrom`` brings."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        job.listening(sock.getsockname())
        sock.recvfrom(MAX_DATAGRAM)
        job.start()
        echoed = 0
        while True:
            data, addr = sock.recvfrom(MAX_DATAGRAM)
            if len(data) == MARK:
                break
            sock.sendto(data, addr)
            echoed += 1
        job.stop(echoed)
