"""Serve on a socket opened by systemd, or on our own.

Arguments: host and port, used if systemd passed no socket. With socket activation
(``ListenDatagram=`` in the socket unit), the port stays open while the service
restarts, and may be privileged. See sd_listen_fds(3) for the environment variables.
"""

import asyncio
import contextlib
import os
import socket
import sys

import aioudp

FIRST_PASSED = 3  # SD_LISTEN_FDS_START


def passed_by_systemd() -> int | None:
    """Return the descriptor that systemd passed to this process, if any."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    return FIRST_PASSED if int(os.environ.get("LISTEN_FDS", "0")) else None


def open_socket(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, port))
    return sock


async def main(host: str = "127.0.0.1", port: str = "9999") -> None:
    fd = passed_by_systemd()
    origin = "opened here" if fd is None else "passed by systemd"
    sock = open_socket(host, int(port)) if fd is None else fd
    # The endpoint owns the socket from here on, and closes it.
    async with aioudp.adopt(sock) as endpoint:
        port = str(endpoint.port)
        print(f"listening on a socket {origin}, port {port}", flush=True)
        async for data, addr in endpoint:
            await endpoint.send(data, addr)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
