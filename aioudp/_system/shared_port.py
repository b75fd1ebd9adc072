"""A port that several sockets share, for what every one of them gets a copy of.

That is broadcast and multicast. What is sent to one address goes to one socket only,
so nothing else is opened here, see ``sockets``.
"""

from __future__ import annotations

import socket
import sys

from .._errors import with_context
from .sockets import SO_REUSEPORT


def open_shared(family: int, port: int, *, reuse_port: bool = False) -> socket.socket:
    """Return a non-blocking socket on *port* of every address, shared with others.

    An IPv6 socket leaves out IPv4. The BSDs ask for SO_REUSEPORT where Linux and
    Windows ask for SO_REUSEADDR.

    Raises:
        OSError: If the system refuses; the message names the port.
    """
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM)
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
    # For who shares, Linux may choose a port of others who share. Elsewhere it never
    # does, and on Windows an option that is set later has no effect.
    chosen_alone = sys.platform == "linux" and not port
    if chosen_alone:
        sock.bind(("", 0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if SO_REUSEPORT is not None and (reuse_port or sys.platform != "linux"):
        sock.setsockopt(socket.SOL_SOCKET, SO_REUSEPORT, 1)
    if not chosen_alone:
        sock.bind(("", port))
