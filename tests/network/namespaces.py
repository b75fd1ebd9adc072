"""Network namespaces, and the commands that furnish them.

A namespace has its own interfaces, addresses, routes, neighbours and firewall. A
socket belongs to the namespace in which its thread was when it made the socket, for
good: a test enters a namespace, opens there, and uses the socket from anywhere. These
namespaces have no name, so there is nothing to clean up: they are gone with the last
descriptor and the last socket, also when the test, or the whole process, dies.

A machine that lacks what it takes skips the test. Knows nothing of the library. See
namespaces(7), network_namespaces(7), setns(2).
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import pytest

_CLONE_NEWNET: Final = 0x40000000  # include/uapi/linux/sched.h

# What the tools say of a kernel that was built without something.
_LACKS: Final = ("Unknown device type", "qdisc kind is unknown", "ot supported")


class Namespace:
    """A network namespace with nothing in it but a loopback interface."""

    _fd: int

    def __init__(self) -> None:
        if sys.platform != "linux":
            pytest.skip("cannot: network: only Linux has network namespaces")
        try:
            with _excursion("unshare", _CLONE_NEWNET):
                self._fd = _open_current()
        except PermissionError:
            pytest.skip("cannot: network: needs root to make network namespaces")
        try:
            self.ip("link set lo up")
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.close(self._fd)

    @property
    def path(self) -> str:
        """A file name for the namespace that other programs understand."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Have this thread, and what it starts, live in the namespace for a while."""
        with _excursion("setns", self._fd, _CLONE_NEWNET):
            yield

    def ip(self, *commands: str) -> str:
        """Run commands of ip(8) inside, and return what they print."""
        return self.run("ip", "-batch", "-", lines=commands)

    def run(self, program: str, *arguments: str, lines: Sequence[str] = ()) -> str:
        """Run a program inside, give it lines to read, and return what it prints."""
        if shutil.which(program) is None:
            word = "nft" if program == "nft" else "network"
            pytest.skip(f"cannot: {word}: {program} is not installed")
        with self.entered():
            done = subprocess.run(
                [program, *arguments],
                input="".join(f"{line}\n" for line in lines),
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode:
            what = " ".join([program, *arguments, *lines])
            if any(lack in done.stderr for lack in _LACKS):
                pytest.skip(f"cannot: network: {what}: {done.stderr}")
            raise RuntimeError(f"{what}: {done.stderr}")
        return done.stdout

    def index(self, device: str) -> int:
        """Return the index of an interface inside, the scope id of its addresses."""
        with self.entered():
            return socket.if_nametoindex(device)

    def sysctl(self, name: str, value: str) -> None:
        """Set a kernel parameter of the namespace's own, as sysctl(8) does."""
        with self.entered():
            try:
                Path("/proc/sys", *name.split(".")).write_text(value)
            except OSError as exc:
                pytest.skip(f"cannot: network: {exc}")

    def socket(self, family: int, host: str, port: int = 0) -> socket.socket:
        """Return a non-blocking datagram socket that lives inside, bound to *host*."""
        with self.entered():
            sock = socket.socket(family, socket.SOCK_DGRAM)
            sock.setblocking(False)
            sock.bind((host, port))
        return sock


@contextmanager
def _excursion(function: str, *arguments: int) -> Iterator[None]:
    """Move this thread to another namespace, and bring it back to its own."""
    home = _open_current()
    try:
        _call(function, *arguments)
        try:
            yield
        finally:
            _call("setns", home, _CLONE_NEWNET)
    finally:
        os.close(home)


def _open_current() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


def _call(function: str, *arguments: int) -> None:
    """Call a function of the C library: os.setns and os.unshare need Python 3.12."""
    if getattr(ctypes.CDLL(None, use_errno=True), function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), function)
