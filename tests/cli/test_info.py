"""``aioudp info``, as a process and in parts."""

from __future__ import annotations

import errno
import importlib.metadata
import importlib.util
import json
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("click", reason="cannot: click: it is not installed")

import aioudp
from aioudp.cli import info

if TYPE_CHECKING:
    from tests.cli.conftest import Program

    Start = Callable[..., Program]

PLENTY = info.Buffer(asked=1000, granted=1000, limit=1000)
SHORT = info.Buffer(asked=1000, granted=200, limit=200)
UNKNOWN = info.Buffer(asked=1000, granted=200, limit=None)


def render(report: info.Report) -> str:
    return "\n".join(info.lines(report))


def test_the_readable_batch_io(start: Start) -> None:
    """AIOUDP_SPEEDUPS=0 selects it, and info says so."""
    _, lines, _ = start("info", "--json", env={"AIOUDP_SPEEDUPS": "0"}).end()

    assert json.loads("\n".join(lines))["batchio"] == "python"


def test_json(start: Start, loop: str) -> None:
    """--json prints one object, for programs."""
    status, lines, errors = start("info", "--json", "--loop", loop).end()
    report = json.loads("\n".join(lines))

    assert (status, errors) == (0, [])
    assert report["aioudp"] == aioudp.__version__
    assert report["python"].split()[1] == sys.version.split()[0]
    assert report["loop"].startswith(f"{loop}.")
    assert report["transport"] == "SelectorTransport"
    built = importlib.util.find_spec("aioudp._system.speedups") is not None
    wanted = os.environ.get("AIOUDP_SPEEDUPS") != "0"
    assert report["batchio"] == ("compiled" if built and wanted else "python")
    assert report["gso_segments"] >= 1
    assert isinstance(report["gro"], bool)
    assert (report["uvloop"] is not None) or loop == "asyncio"
    for name in ("receive_buffer", "send_buffer"):
        assert 0 < report[name]["granted"] <= report[name]["asked"]


def test_table(start: Start) -> None:
    """For people it is a table, which a pipe does not wrap."""
    status, lines, errors = start("info").end()
    rows = {line[:16].strip(): line[16:].strip() for line in lines}

    assert (status, errors) == (0, [])
    assert rows["aioudp"] == aioudp.__version__
    assert "bytes granted of" in rows["receive buffer"]
    assert {"GSO", "GRO", "IPv6", "uvloop", "event loop", "batch I/O"} <= rows.keys()


async def test_what_is_granted_is_what_the_kernel_says() -> None:
    """Half of what Linux reports: it doubles every size for its own bookkeeping."""
    report = await info.examine()

    async with aioudp.bind(("127.0.0.1", 0)) as endpoint:
        sock = endpoint.get_extra_info("socket")
        reported = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    factor = 2 if sys.platform == "linux" else 1
    assert report.receive_buffer.granted * factor == reported


@pytest.mark.parametrize(
    ("receive_buffer", "send_buffer", "line"),
    [
        (PLENTY, PLENTY, None),
        (UNKNOWN, UNKNOWN, None),
        (SHORT, PLENTY, "sysctl -w net.core.rmem_max=1000"),
        (PLENTY, SHORT, "sysctl -w net.core.wmem_max=1000"),
        (SHORT, SHORT, "sysctl -w net.core.rmem_max=1000 net.core.wmem_max=1000"),
    ],
)
def test_sysctl_line(
    receive_buffer: info.Buffer, send_buffer: info.Buffer, line: str | None
) -> None:
    """It raises the limits that are too low, and only those."""
    assert info.sysctl_line(receive_buffer, send_buffer) == line


async def test_table_of_a_poor_machine() -> None:
    """What is missing is said in words."""
    report = replace(
        await info.examine(),
        uvloop=None,
        gso_segments=1,
        gro=False,
        ipv6=False,
        receive_buffer=SHORT,
        send_buffer=UNKNOWN,
        sysctl="sysctl -w something",
        conflict="two projects in one folder",
    )

    text = render(report)

    for line in (
        "uvloop          not installed",
        "GSO             no",
        "GRO             no",
        "IPv6            no",
        "receive buffer  200 bytes granted of 1,000 asked (limit: 200)",
        "send buffer     200 bytes granted of 1,000 asked (limit: unknown)",
        "to raise them   sysctl -w something",
        "conflict        two projects in one folder",
    ):
        assert line in text


async def test_table_of_a_rich_machine() -> None:
    """Where no limit is too low, none is to be raised."""
    report = replace(await info.examine(), gso_segments=64, gro=True, sysctl=None)

    text = render(report)

    assert "GSO             up to 64 datagrams per send" in text
    assert "GRO             yes" in text
    assert "to raise" not in text
    assert "conflict" not in text


async def test_what_the_system_does_not_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A limit, a package or a family that is not there is no error."""
    monkeypatch.setattr(info, "_SYSCTL", tmp_path)
    monkeypatch.setattr(importlib.metadata, "version", _not_found)
    monkeypatch.setattr(aioudp, "bind", _bind_ipv4_only)

    report = await info.examine()

    assert report.receive_buffer.limit is None
    assert report.uvloop is None
    assert not report.ipv6


def _bind_ipv4_only(
    addr: tuple[str, int], bind: Callable[..., Any] = aioudp.bind
) -> Any:
    if ":" in addr[0]:
        raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
    return bind(addr)


def _not_found(name: str) -> str:
    raise importlib.metadata.PackageNotFoundError(name)


@pytest.mark.parametrize("platform", ["linux", "darwin"])
async def test_only_linux_doubles(
    monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    """Other systems report what was asked for."""
    async with aioudp.bind(("127.0.0.1", 0)) as endpoint:
        sock = endpoint.get_extra_info("socket")
        monkeypatch.setattr(sys, "platform", platform)
        reported = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        buffer = info._buffer(sock, socket.SO_SNDBUF, "wmem_max")

    assert buffer.granted == (reported // 2 if platform == "linux" else reported)
