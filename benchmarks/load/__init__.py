"""The other process of each measurement, in Python, where there is no C compiler.

``source`` floods the listener of a receive benchmark, ``sink`` drains the socket of a
send benchmark, ``ping`` asks the server of an echo benchmark. ``native`` has the same
in C, which takes less of the machine; results say which was used.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Final

# include/uapi/linux/udp.h; Python's socket module does not have them.
UDP_SEGMENT: Final = 103
UDP_GRO: Final = 104

_BUFFER_SIZE: Final = 4 << 20  # bytes asked of the kernel, as aioudp asks


def open_socket() -> socket.socket:
    """Return a blocking IPv4 socket with the largest buffers that are granted."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        with suppress(OSError):  # BSD refuses what Linux cuts down
            sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER_SIZE)
    return sock
