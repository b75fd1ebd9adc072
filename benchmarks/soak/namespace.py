"""A network of this process's own, and a hand that changes its interfaces.

Linux, as root: see network_namespaces(7), ip-link(8), veth(4). The
process moves before it has threads; everything in it disappears with the process.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import socket
import subprocess
import sys
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_CLONE_NEWNET: Final = 0x40000000  # include/uapi/linux/sched.h
_QUEUE: Final = Path("/proc/sys/net/unix/max_dgram_qlen")  # of each network
_PORTS: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")  # of each, too
FIRST_PORT: Final = 40_000
"""The first of those that the system chooses from."""
_MANY: Final = 256  # of them: each was used after a while, and no address is new
_FEW: Final = 10  # datagrams that wait for a UNIX socket: it's full soon
_PATIENCE: Final = 30.0  # seconds for commands of ip(8)


def missing() -> str | None:
    """Return why this process can't have a network of its own, or ``None``."""
    if sys.platform != "linux":
        return "only Linux has network namespaces"
    if os.geteuid() != 0:
        return "needs root to make a network namespace"
    if shutil.which("ip") is None:
        return "needs ip(8) of iproute2"
    attempt = subprocess.run(
        [sys.executable, "-m", __name__], capture_output=True, text=True, check=False
    )
    return attempt.stderr.strip().rpartition("\n")[2] or None


def enter() -> None:
    """Move to a new network, with a loopback interface.

    Raises:
        OSError: If the system refuses.
    """
    library = ctypes.CDLL(None, use_errno=True)  # os.unshare needs Python 3.12
    if library.unshare(_CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "unshare")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    _QUEUE.write_text(f"{_FEW}\n")
    _PORTS.write_text(f"{FIRST_PORT} {FIRST_PORT + _MANY - 1}\n")


class Hand:
    """An ip(8) that waits for commands, so that none has to be started for each."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["ip", "-force", "-batch", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )
        self._names = count()
        self._turn = asyncio.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def new_name(self) -> str:
        """Return a name that no interface has had."""
        return f"soak{next(self._names)}"

    async def do(self, *commands: str) -> None:
        """Run commands, and return when they are done.

        Raises:
            RuntimeError: If they aren't done in half a minute.
        """
        mark = self.new_name()
        lines = (*commands, *adding(mark))
        async with self._turn:
            self._write(*lines)
            await self._until(mark, there=True)
            self._write(f"link del dev {mark}")
            await self._until(mark, there=False)

    def _write(self, *lines: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("".join(f"{line}\n" for line in lines))
        self._process.stdin.flush()

    async def _until(self, name: str, *, there: bool) -> None:
        async with asyncio.timeout(_PATIENCE):
            while exists(name) != there:  # noqa: ASYNC110  # nothing tells us
                await asyncio.sleep(0.001)


def adding(name: str) -> list[str]:
    """Return the commands that add an interface: one end of a cable, the other is up.

    Removing the one removes the other.
    """
    other = f"{name}x"
    return [
        f"link add dev {name} type veth peer name {other}",
        f"link set dev {other} up",
        f"link set dev {name} up",
    ]


def exists(name: str) -> bool:
    """Return whether there is an interface of that name."""
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


if __name__ == "__main__":  # an attempt, see missing()
    enter()
