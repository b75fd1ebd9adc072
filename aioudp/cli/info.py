"""The program of ``aioudp info``: show what this machine and its kernel support."""

from __future__ import annotations

import asyncio
import importlib.metadata
import platform
import socket
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import aioudp

from .. import _installation
from .._system.sockets import DEFAULT_BUFFER, probe_offload
from . import console
from .escaping import printable
from .formats import json_object

_SYSCTL: Final = Path("/proc/sys/net/core")

_NAME_WIDTH: Final = 16  # columns


@dataclass(frozen=True, slots=True)
class Buffer:
    """A socket buffer: the sizes requested, granted and possible, in bytes."""

    asked: int
    granted: int
    limit: int | None
    """The maximum for an unprivileged process; ``None`` if unknown."""


@dataclass(frozen=True, slots=True)
class Report:
    """The output of ``aioudp info``; its fields are the keys of the JSON object."""

    aioudp: str
    python: str
    system: str
    loop: str
    uvloop: str | None
    transport: str
    batchio: str
    gso_segments: int
    gro: bool
    ipv6: bool
    receive_buffer: Buffer
    send_buffer: Buffer
    sysctl: str | None
    conflict: str | None
    """What another project did to the installation, and how to repair it."""


async def info(*, as_json: bool) -> int:
    """Print the report."""
    report = await examine()
    if as_json:
        console.emit(json_object(asdict(report)))
    else:
        for line in lines(report):
            console.emit(line)
    return 0


async def examine() -> Report:
    """Open an endpoint on the loopback interface and inspect it."""
    offload = probe_offload()
    loop = type(asyncio.get_running_loop())
    async with aioudp.bind(("127.0.0.1", 0)) as endpoint:
        sock = endpoint.get_extra_info("socket")
        receive_buffer = _buffer(sock, socket.SO_RCVBUF, "rmem_max")
        send_buffer = _buffer(sock, socket.SO_SNDBUF, "wmem_max")
        return Report(
            aioudp=aioudp.__version__,
            python=f"{platform.python_implementation()} {platform.python_version()}",
            system=f"{platform.system()} {platform.release()} {platform.machine()}",
            loop=f"{loop.__module__}.{loop.__qualname__}",
            uvloop=_version_of("uvloop"),
            transport=type(endpoint.transport).__name__,
            batchio=endpoint.get_extra_info("offload")["batchio"],
            gso_segments=offload.gso_segments,
            gro=offload.gro,
            ipv6=await _has_ipv6(),
            receive_buffer=receive_buffer,
            send_buffer=send_buffer,
            sysctl=sysctl_line(receive_buffer, send_buffer),
            conflict=_installation.problem(),
        )


def sysctl_line(receive_buffer: Buffer, send_buffer: Buffer) -> str | None:
    """Return the command that raises the limits that reduced a buffer, if any."""
    wanted = [
        f"net.core.{name}={buffer.asked}"
        for name, buffer in (("rmem_max", receive_buffer), ("wmem_max", send_buffer))
        if buffer.limit is not None and buffer.limit < buffer.asked
    ]
    return " ".join(("sysctl -w", *wanted)) if wanted else None


def lines(report: Report) -> list[str]:
    """Return the report for people, line by line."""
    segments = report.gso_segments
    every: list[tuple[str, str | None]] = [
        ("aioudp", report.aioudp),
        ("Python", report.python),
        ("system", report.system),
        ("event loop", report.loop),
        ("uvloop", report.uvloop or "not installed"),
        ("transport", report.transport),
        ("batch I/O", report.batchio),
        ("GSO", f"up to {segments} datagrams per send" if segments > 1 else "no"),
        ("GRO", _yes(report.gro)),
        ("IPv6", _yes(report.ipv6)),
        ("receive buffer", _describe(report.receive_buffer)),
        ("send buffer", _describe(report.send_buffer)),
        ("to raise them", report.sysctl),
        ("conflict", report.conflict),
    ]
    return [
        f"{name:<{_NAME_WIDTH}}{printable(value)}"
        for name, value in every
        if value is not None
    ]


def _buffer(sock: socket.socket, option: int, limit: str) -> Buffer:
    granted = sock.getsockopt(socket.SOL_SOCKET, option)
    if sys.platform == "linux":
        granted //= 2  # the kernel doubles it for its own overhead: socket(7)
    return Buffer(DEFAULT_BUFFER, granted, _read_limit(_SYSCTL / limit))


def _read_limit(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except OSError:  # another system, or a network namespace without it
        return None


def _version_of(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


async def _has_ipv6() -> bool:
    # socket.has_ipv6 only depends on how Python was built.
    try:
        async with aioudp.bind(("::1", 0)):
            return True
    except OSError:
        return False


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _describe(buffer: Buffer) -> str:
    limit = "unknown" if buffer.limit is None else f"{buffer.limit:,}"
    return (
        f"{buffer.granted:,} bytes granted of {buffer.asked:,} asked (limit: {limit})"
    )
