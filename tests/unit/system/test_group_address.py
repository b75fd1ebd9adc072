"""Groups as callers write them."""

from __future__ import annotations

from socket import AF_INET, AF_INET6
from typing import Any

import pytest

from aioudp._system.group_address import Target, is_group, parse_group


@pytest.mark.parametrize(
    ("group", "interfaces", "target"),
    [
        ("239.1.2.3", None, Target(AF_INET, "239.1.2.3", None)),
        ("239.1.2.3", ["eth0", 2], Target(AF_INET, "239.1.2.3", ("eth0", 2))),
        ("FF15:0::1", None, Target(AF_INET6, "ff15::1", None)),
        ("ff02::1%eth0", None, Target(AF_INET6, "ff02::1", ("eth0",))),
        ("ff02::1%7", None, Target(AF_INET6, "ff02::1", (7,))),
        (("ff02::1", 9, 0, 7), None, Target(AF_INET6, "ff02::1", (7,))),
        (("ff02::1", 9, 0, 0), [3], Target(AF_INET6, "ff02::1", (3,))),
        (("ff02::1%eth0", 9, 0, 7), None, Target(AF_INET6, "ff02::1", ("eth0",))),
    ],
)
def test_group(group: Any, interfaces: Any, target: Target) -> None:
    """The scope becomes the interface."""
    assert parse_group(group, interfaces, None) == target


def test_source_in_its_usual_spelling() -> None:
    """So that leaving finds what was joined; the zone is the group's business."""
    target = parse_group("ff02::1", None, "FE80:0::2%eth0")

    assert target.source == "fe80::2"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("224.0.0.0", True),
        ("239.255.255.255", True),
        ("240.0.0.0", False),
        ("223.255.255.255", False),
        ("ff02::1%eth0", True),
        ("fe80::1", False),
        ("example.org", False),
        (None, False),
    ],
)
def test_is_group(host: object, expected: bool) -> None:
    """224.0.0.0/4 and ff00::/8 are groups."""
    assert is_group(host) is expected
