"""avahi-daemon, the responder for multicast DNS of most Linux systems."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..examples import programs
from ..network.links import DEVICE, FAR, Link
from ..network.namespaces import Namespace
from .tools import PATIENCE, path_of

if sys.platform != "linux":
    pytest.skip("cannot: network: only Linux has namespaces", allow_module_level=True)

CONFIG = f"""\
[server]
host-name=printer
use-ipv6=no
allow-interfaces={DEVICE}
enable-dbus=no
[publish]
publish-workstation=no
publish-hinfo=no
"""


@contextmanager
def avahi(config: Path) -> Iterator[None]:
    """Run it, from the time that it answers questions about its name."""
    command = (path_of("avahi-daemon"), "--no-drop-root", "--no-chroot", "-f", config)
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        watchdog = threading.Timer(PATIENCE, process.kill)
        watchdog.start()
        try:
            assert process.stderr is not None
            said = ""
            for line in process.stderr:
                said += line
                if "startup complete" in line:
                    break
            else:
                if "already running" in said:
                    pytest.skip("cannot: avahi-daemon: the machine runs its own")
                pytest.fail(said)
            yield
        finally:
            process.kill()
            watchdog.cancel()
            watchdog.join()


@pytest.mark.no_matrix
@pytest.mark.peer("avahi-daemon")
def test_avahi(tmp_path: Path) -> None:
    """``discover`` on a link finds the address of a host that it runs on."""
    config = tmp_path / "avahi.conf"
    config.write_text(CONFIG)
    with Namespace() as near, Namespace() as far:
        Link(near, far, routable=True)
        with far.entered(), avahi(config), near.entered():
            printed = programs.run("mdns_query", "printer.local", 5353, DEVICE)

    address = next(host for host in FAR.values() if "." in host)
    assert f"printer.local is {address}, says {address}" in printed.splitlines()
