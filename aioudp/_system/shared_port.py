"""Sockets that share a port, for broadcast and multicast.

Each of them gets a copy of broadcast and multicast datagrams. A datagram sent to one
address goes to only one socket, so all other endpoints use ``sockets``.
"""

from __future__ import annotations

import socket
import sys

from .._errors import with_context
from .machine import new_socket
from .sockets import SO_REUSEPORT


def open_shared(family: int, port: int, *, reuse_port: bool = False) -> socket.socket:
    """Return a non-blocking socket that shares *port* on every address.

    An IPv6 socket doesn't serve IPv4. The BSDs need SO_REUSEPORT for what SO_REUSEADDR
    does on Linux and Windows.

    Raises:
        OSError: If the system refuses; the message names the port.
    """
    try:
        sock = new_socket(family)
        try:
            _bind_shared(sock, port, reuse_port)
        except BaseException:
            sock.close()
            raise
    except OSError as exc:
        raise with_context(exc, f"binding to port {port}") from None
    return sock


def _bind_shared(sock: socket.socket, port: int, reuse_port: bool) -> None:
    sock.setblocking(False)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    # If the option is set, Linux may choose a port that others share. Other systems
    # don't, and on Windows, an option that is set later has no effect.
    bind_first = sys.platform == "linux" and not port
    if bind_first:
        sock.bind(("", 0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if SO_REUSEPORT is not None and (reuse_port or sys.platform != "linux"):
        sock.setsockopt(socket.SOL_SOCKET, SO_REUSEPORT, 1)
    if not bind_first:
        sock.bind(("", port))
