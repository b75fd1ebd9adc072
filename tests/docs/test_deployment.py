"""The units, images, manifests and firewall rules of the documentation are valid."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

import aioudp

from .blocks import EXAMPLES, ROOT

if sys.platform != "linux":
    pytest.skip("cannot: linux: these are Linux's", allow_module_level=True)

FILES: Final = ROOT / "docs" / "deploy"
PROGRAM: Final = EXAMPLES / "ready_server.py"
PYTHONPATH: Final = str(Path(aioudp.__file__).parents[1])
PATIENCE: Final = 20  # seconds
RETRY: Final = 0.2  # seconds, after which a question is asked again


def tool(name: str) -> str:
    """Return the path of a program, or skip the test."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"cannot: {name}: it is not installed")
    return found


def run(*command: object, text: str = "") -> str:
    """Run a command that must succeed, and return what it prints."""
    done = subprocess.run(
        [str(word) for word in command],
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        env=os.environ | {"PYTHONPATH": PYTHONPATH},
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


# -- systemd


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """Copy the units, with this Python instead of the one that they name."""
    copies = []
    for name in ("echo.socket", "echo.service"):
        text = (FILES / name).read_text(encoding="utf-8")
        text = text.replace("/opt/echo/.venv/bin/python", sys.executable)
        copies.append(tmp_path / name)
        copies[-1].write_text(text, encoding="utf-8")
    return copies


def test_systemd_accepts_the_units(units: list[Path]) -> None:
    """Each line is one that systemd knows."""
    assert run(tool("systemd-analyze"), "verify", *units) == ""


def test_the_service_is_as_safe_as_the_page_says(units: list[Path]) -> None:
    """systemd's own rating of the service."""
    offline = ("security", "--offline=true", "--no-pager")
    rated = run(tool("systemd-analyze"), *offline, units[1])

    found = re.search(r"exposure level for echo.service: ([\d.]+)", rated)
    assert found is not None
    page = (FILES / "systemd.md").read_text(encoding="utf-8")
    said = re.search(r"rates this unit ([\d.]+),", page)
    assert said is not None
    assert float(found[1]) <= float(said[1])


def test_systemd_waits_longer_than_the_program_drains() -> None:
    """It would be killed while it finishes its work."""
    service = (FILES / "echo.service").read_text(encoding="utf-8")
    program = PROGRAM.read_text(encoding="utf-8")
    pod = (FILES / "echo.yaml").read_text(encoding="utf-8")

    waits = re.search(r"^TimeoutStopSec=(\d+)$", service, re.MULTILINE)
    drains = re.search(r"server\.drain\((\d+)\)", program)
    grace = re.search(r"terminationGracePeriodSeconds: (\d+)", pod)
    sleeps = re.search(r'command: \[sleep, "(\d+)"\]', pod)
    assert waits is not None
    assert drains is not None
    assert grace is not None
    assert sleeps is not None
    assert int(waits[1]) > int(drains[1])
    assert int(grace[1]) > int(drains[1]) + int(sleeps[1])


@contextmanager
def activated(*before: str) -> Iterator[tuple[str, int]]:
    """Have systemd open a port for the program; return the address."""
    activate = tool("systemd-socket-activate")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reserved:
        reserved.bind(("127.0.0.1", 0))
        addr: tuple[str, int] = reserved.getsockname()
    command = [
        *(activate, "--datagram", f"--listen={addr[0]}:{addr[1]}", "--fdname=echo"),
        *(f"--setenv=PYTHONPATH={PYTHONPATH}", *before),
        *(sys.executable, str(PROGRAM), "", "0"),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield addr
            process.send_signal(signal.SIGTERM)
            output, errors = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, errors
            assert output == f"listening on port {addr[1]}\n"
        finally:
            process.kill()


def ask(addr: tuple[str, int]) -> bytes:
    """Ask until there is an answer: systemd needs a moment to open the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(RETRY)
        for _ in range(int(PATIENCE / RETRY)):
            sock.sendto(b"hello", addr)
            with contextlib.suppress(TimeoutError):
                return sock.recv(100)
    raise AssertionError("no answer")


def test_the_program_serves_on_systemds_socket() -> None:
    """It finds the socket, answers, and ends well."""
    with activated() as addr:
        assert ask(addr) == b"HELLO"


def test_the_program_needs_no_network_of_its_own() -> None:
    """With PrivateNetwork=yes, the socket stays in the network where it was opened."""
    if os.geteuid() != 0:
        pytest.skip("cannot: network: needs root to make network namespaces")
    with activated(tool("unshare"), "--net") as addr:
        assert ask(addr) == b"HELLO"


EVERYTHING: Final = """
import asyncio, sys
import aioudp

async def main():
    options = {"icmp_errors": True, "packet_info": True}
    async with (
        aioudp.until_signal(),
        aioudp.bind(("127.0.0.1", 0), **options) as one,
        aioudp.bind(("127.0.0.1", 0), **options, dont_fragment=True) as other,
    ):
        await other.send_many((b"%d" % n, one.local_addr) for n in range(300))
        await other.send(bytes(5000), one.local_addr, segment_size=1000)
        while one.stats().received < 305:
            await one.recv_messages()
        await other.send(b"", ("127.0.0.1", 9))
        await other.recv_error()
        one.stats(), other.mtu(one.local_addr), aioudp.interfaces()
        await aioudp.resolve("localhost", 9)
        async with aioudp.serve(lambda message: message.data, one) as server:
            async with aioudp.open_client(one.local_addr) as client:
                await client.request(b"hello")
    print("ok")

aioudp.run(main())
"""


def allowed_calls() -> set[str]:
    """Return the system calls that the service may use."""
    service = (FILES / "echo.service").read_text(encoding="utf-8")
    allow, deny = re.findall(r"^SystemCallFilter=(.*)$", service, re.MULTILINE)
    return members(allow).difference(*map(members, deny.removeprefix("~").split()))


def members(group: str) -> set[str]:
    """Return the system calls of a group, such as @system-service."""
    lines = run(tool("systemd-analyze"), "syscall-filter", group).splitlines()[1:]
    names = {name for line in lines if (name := line.strip()) and name[0] != "#"}
    groups = {name for name in names if name.startswith("@")}
    return (names - groups).union(*map(members, groups))


def test_the_service_allows_what_the_library_calls(tmp_path: Path) -> None:
    """No system call of the library is among those that the unit forbids."""
    log = tmp_path / "calls"
    traced = (tool("strace"), "--follow-forks", "--output", log)
    try:
        assert run(*traced, sys.executable, "-c", EVERYTHING).endswith("ok\n")
    except AssertionError as exc:
        if "ptrace" in str(exc):
            pytest.skip("cannot: ptrace: it isn't permitted here")
        raise

    text = log.read_text(encoding="utf-8", errors="replace")
    used = set(re.findall(r"^\d+ +([a-z_0-9]+)\(", text, re.MULTILINE))
    assert {"recvmmsg", "recvmsg"} & used
    assert used <= allowed_calls()


WITHOUT_NEW_CODE: Final = """
import ctypes, sys

PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1  # include/uapi/linux/prctl.h, Linux 6.3
if ctypes.CDLL(None).prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0) != 0:
    sys.exit("no MDWE")
"""


def test_the_library_needs_no_memory_that_is_written_and_executed() -> None:
    """MemoryDenyWriteExecute=yes: the kernel refuses such memory."""
    try:
        assert run(sys.executable, "-c", WITHOUT_NEW_CODE + EVERYTHING) == "ok\n"
    except AssertionError as exc:
        if "no MDWE" in str(exc):
            pytest.skip("cannot: mdwe: this kernel can't refuse it")
        raise


# -- containers


def test_the_image_passes_a_linter() -> None:
    """All but the two rules that would have each version pinned."""
    ignored = ("--ignore", "DL3008", "--ignore", "DL3013")

    assert run(tool("hadolint"), *ignored, FILES / "Dockerfile") == ""


def test_kubernetes_accepts_the_manifests() -> None:
    """Each field is one that Kubernetes knows."""
    printed = run(tool("kubernetes-validate"), "--strict", FILES / "echo.yaml")

    assert printed.count(" passed for resource ") == 2


@contextmanager
def server(*before: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run the program, and return it with its port."""
    with subprocess.Popen(
        [*before, sys.executable, str(PROGRAM), "127.0.0.1", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": PYTHONPATH},
    ) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline().rpartition(" ")[2])
        finally:
            process.kill()


def test_the_probe_finds_that_the_server_is_ready() -> None:
    """It succeeds if there is an answer, and fails if nobody listens."""
    pytest.importorskip("click", reason="cannot: click: it is not installed")
    pod = (FILES / "echo.yaml").read_text(encoding="utf-8")
    found = re.search(r"command: \[aioudp, (.*)\]", pod)
    assert found is not None
    words = found[1].replace('"', "").split(", ")

    with server() as (_, port):
        arguments = [word.replace("9999", str(port)) for word in words]
        assert "PING" in run(sys.executable, "-m", "aioudp", *arguments)

    with pytest.raises(AssertionError, match="Connection refused"):
        run(sys.executable, "-m", "aioudp", *arguments)


def test_process_1_ends_on_sigterm() -> None:
    """In a container there is no other process to handle the signal."""
    if os.geteuid() != 0:
        pytest.skip("cannot: network: needs root to make namespaces")
    unshare = tool("unshare"), "--pid", "--fork", "--kill-child"
    with server(*unshare) as (process, _):
        tasks = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        os.kill(int(tasks.read_text()), signal.SIGTERM)

        assert process.wait(PATIENCE) == 0


# -- firewalls


@pytest.mark.parametrize("name", ["echo.nft", "notrack.nft"])
def test_nftables_accepts_the_rules(name: str) -> None:
    """Loaded into a network of their own."""
    if os.geteuid() != 0:
        pytest.skip("cannot: network: needs root to make network namespaces")
    printed = run(tool("unshare"), "--net", tool("nft"), "--file", FILES / name)

    assert printed == ""
