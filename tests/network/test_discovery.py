"""Discovery on a host with two interfaces, and a device behind each."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from socket import AF_INET, AF_INET6
from typing import Any, Final

import pytest

import aioudp

from .links import DEVICE, FAR_LOCAL, HAS_IPV6, OTHER_DEVICE, TwoLinks
from .namespaces import Namespace

_QUESTION: Final = b"who is there?"
_TIMEOUT: Final = 0.3  # seconds of a search
_LONG: Final = 15  # seconds; a search that is meant to be left before

WAYS: Final = {"broadcast": None, "ipv4": "239.1.2.3", "ipv6": "ff02::1234"}


class Device:
    """A plain socket that answers with its name, at its own speed."""

    def __init__(
        self, where: Namespace, device: str, group: str | None, port: int
    ) -> None:
        self.name = device.encode()
        family = AF_INET6 if group and ":" in group else AF_INET
        self.socket = where.socket(family, "", port)
        self.port: int = self.socket.getsockname()[1]
        index = struct.pack("@i", where.index(device))
        if family == AF_INET6:
            request = socket.inet_pton(AF_INET6, str(group)) + index
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
        elif group:
            request = socket.inet_aton(group) + bytes(4) + index
            level = socket.IPPROTO_IP
            self.socket.setsockopt(level, socket.IP_ADD_MEMBERSHIP, request)
        self.asked = 0
        asyncio.get_running_loop().add_reader(self.socket, self._answer)

    def _answer(self) -> None:
        data, addr = self.socket.recvfrom(100)
        self.asked += 1
        if data == _QUESTION:
            self.socket.sendto(self.name, addr)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.socket)
        self.socket.close()


class Home:
    """Two devices on one port, one behind each interface."""

    def __init__(self, links: TwoLinks, group: str | None) -> None:
        self.links = links
        self.group = group
        first = Device(links.far[DEVICE], DEVICE, group, 0)
        second = Device(links.far[OTHER_DEVICE], OTHER_DEVICE, group, first.port)
        self.devices: Final = {DEVICE: first, OTHER_DEVICE: second}

    def search(self, **options: Any) -> aioudp.Discovery:
        settings: dict[str, Any] = {"timeout": _TIMEOUT, "group": self.group}
        port = self.devices[DEVICE].port
        return aioudp.discover(_QUESTION, port, **settings | options)


@pytest.fixture(params=WAYS)
async def home(
    request: pytest.FixtureRequest, two_links: TwoLinks
) -> AsyncIterator[Home]:
    """Start two devices."""
    if request.param == "ipv6" and not HAS_IPV6:
        pytest.skip("cannot: ipv6: this kernel does not have it")
    async with AsyncExitStack() as stack:
        home = Home(two_links, WAYS[request.param])
        for device in home.devices.values():
            stack.callback(device.close)
        yield home


def errno_by(outcomes: list[aioudp.SendOutcome]) -> dict[str, int | None]:
    """Return the number of each interface's error, ``None`` where there is none."""
    return {
        one.interface: None if one.error is None else one.error.errno
        for one in outcomes
    }


async def test_both_are_found(home: Home) -> None:
    """Once each, though each is asked three times."""
    search = home.search()

    found = [data async for data, _ in search]

    assert sorted(found) == [DEVICE.encode(), OTHER_DEVICE.encode()]
    assert errno_by(search.outcomes) == {DEVICE: None, OTHER_DEVICE: None}
    assert [device.asked for device in home.devices.values()] == [3, 3]


async def test_the_search_is_left_early(home: Home) -> None:
    """As soon as there is enough."""
    found = set()
    async with home.search(timeout=_LONG) as search:
        async for data, _ in search:
            found.add(data)
            if len(found) == 2:
                break

    assert found == {DEVICE.encode(), OTHER_DEVICE.encode()}


@pytest.mark.parametrize("device", [DEVICE, OTHER_DEVICE])
async def test_one_interface_alone(home: Home, device: str) -> None:
    """Then the device behind the other one is not even asked."""
    for way in (device, home.links.near.index(device)):
        search = home.search(interfaces=[way])

        assert [data async for data, _ in search] == [device.encode()]
        assert errno_by(search.outcomes) == {device: None}
    (other,) = home.devices.keys() - {device}
    assert home.devices[other].asked == 0


async def test_two_devices_with_one_address(home: Home) -> None:
    """Concurrent searches, one per interface, distinguish them."""
    near = home.links.near
    for device, far in home.links.far.items():
        for end, host in ((near, 1), (far, 2)):
            end.ip(f"address flush dev {device} scope global")
            end.ip(f"address add 203.0.113.{host}/24 brd + dev {device}")

    async def search(device: str) -> list[aioudp.Datagram]:
        return [answer async for answer in home.search(interfaces=[device])]

    found = await asyncio.gather(*map(search, home.devices))

    for device, answers in zip(home.devices, found, strict=True):
        assert [answer.data for answer in answers] == [device.encode()]
    assert len({answers[0].addr[0] for answers in found}) == 1


async def test_a_host_without_ipv4(home: Home) -> None:
    """IPv6 devices are found. Otherwise only the host itself is left to ask."""
    for device in home.devices:
        home.links.near.ip(f"address flush dev {device} scope global")
    search = home.search()

    found = {data async for data, _ in search}

    if home.group and ":" in home.group:
        assert found == {device.encode() for device in home.devices}
    else:
        assert found == set()
        assert errno_by(search.outcomes) == {"lo": None}


@pytest.mark.parametrize("named", [False, True], ids=["all", "named"])
async def test_a_dead_link_is_reported(home: Home, named: bool) -> None:
    """And the device behind the other one is found."""
    home.links.far[DEVICE].ip(f"link set {DEVICE} down")
    interfaces = [DEVICE, OTHER_DEVICE] if named else None
    search = home.search(interfaces=interfaces)

    assert [data async for data, _ in search] == [OTHER_DEVICE.encode()]
    assert errno_by(search.outcomes) == {DEVICE: errno.ENETDOWN, OTHER_DEVICE: None}


async def test_a_link_that_is_switched_off(home: Home) -> None:
    """If named, it's reported; otherwise, it isn't used."""
    home.links.near.ip(f"link set {DEVICE} down")
    for interfaces, expected in (
        ([DEVICE, OTHER_DEVICE], [DEVICE, OTHER_DEVICE]),
        (None, [OTHER_DEVICE]),
    ):
        search = home.search(interfaces=interfaces)

        assert [data async for data, _ in search] == [OTHER_DEVICE.encode()]
        result = errno_by(search.outcomes)
        assert list(result) == expected
        assert result.pop(OTHER_DEVICE) is None
        assert all(result.values())


async def test_all_links_are_dead(home: Home) -> None:
    """The error of the first is raised, and no silence taken for an answer."""
    for device, far in home.links.far.items():
        far.ip(f"link set {device} down")
    search = home.search(timeout=0.05)

    with pytest.raises(OSError, match=f"on interface {DEVICE}") as caught:
        await anext(search)

    assert caught.value.errno == errno.ENETDOWN


async def test_an_interface_comes_during_the_search(home: Home) -> None:
    """The next question goes there, too. A link that goes loses IPv6 addresses."""
    far = home.links.far[OTHER_DEVICE]
    far.ip(f"link set {OTHER_DEVICE} down")
    async with home.search(timeout=_LONG, repeat=100) as search:
        assert (await anext(search)).data == DEVICE.encode()
        lost = f"address add {FAR_LOCAL}/64 dev {OTHER_DEVICE} nodad"
        far.ip(*[lost] * HAS_IPV6, f"link set {OTHER_DEVICE} up")

        assert (await anext(search)).data == OTHER_DEVICE.encode()
        assert errno_by(search.outcomes) == {DEVICE: None, OTHER_DEVICE: None}


async def test_the_command_reports_a_dead_link(home: Home) -> None:
    """After the answers of the other one."""
    pytest.importorskip("click", reason="cannot: click: it is not installed")
    home.links.far[DEVICE].ip(f"link set {DEVICE} down")
    group = () if home.group is None else ("--group", home.group)
    port = str(home.devices[DEVICE].port)
    question = _QUESTION.decode()

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "aioudp", "discover", port, question),
        *("--timeout", str(_TIMEOUT), *group),
        # The package that this process tests, and not another that is installed.
        env=os.environ | {"PYTHONPATH": str(Path(aioudp.__file__).parents[1])},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(_LONG):
        output, errors = await process.communicate()

    assert output.decode().rstrip().endswith(f" {OTHER_DEVICE}")
    first, second = errors.decode().splitlines()
    assert first.startswith(f"not sent: {DEVICE} ")
    assert "no carrier" in first
    assert second == "1 reply"
    assert process.returncode == 0
