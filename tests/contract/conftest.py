"""What the contract tests share: a peer, and the third transport.

Every contract also holds on a simulated host: there a whole test runs on a host of a
simulated network that does no harm, on the same event loops. What only a kernel can
show is listed in :data:`REAL`, by the reason.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Final

import pytest

import aioudp
from aioudp import testing
from aioudp._system import interfaces, machine

from .support import plain_socket

REAL: Final = {
    "the test makes sockets of its own and hands them over": {
        "test_broadcast_option",
        "test_fragments_can_be_forbidden",
        "test_nothing_is_shared_unless_asked_for",
        "test_peer_before_the_connect",
        "test_port_cannot_be_taken",
        "test_source_port_0",
        "test_third_party_before_the_connect",
        "test_two_endpoints_on_one_socket",
    },
    "it is about descriptors": {
        "test_descriptor_is_not_inherited",
        "test_no_descriptor_left",
    },
    "it makes a system call fail, or hides what the system has": {
        "test_a_system_that_lists_no_interface",
        "test_an_interface_that_is_gone",
        "test_every_address_without_ipv6",
        "test_failing_system_call",
    },
    "it is about trains": {
        "test_refused_trains",
        "test_refused_trains_are_given_up",
        "test_refused_trains_of_many",
    },
    "an untouched Linux has smaller buffers than the machine of the test": {
        "test_buffers_by_default",
        "test_close_sends_what_waits",
        "test_more_than_a_chunk",
        "test_train",
    },
}

FILES: Final = {
    "test_adopted_state.py": "somebody else's sockets",
    "test_adopting.py": "somebody else's sockets",
    "test_release.py": "descriptors, threads and forked children",
    "test_socket_errors.py": "options of a real socket",
}
"""Whole files that are about what only a kernel can show."""

_HERE: Final = Path(__file__).parent
_REAL: Final = frozenset[str]().union(*REAL.values())


@pytest.fixture(autouse=True)
def _stays_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine have no interface but the loopback's.

    So a test that names none can't broadcast, or search, on a real network.
    """
    found = interfaces.kernel_interfaces

    def loopback() -> list[interfaces.Interface]:
        return [link for link in found() if "loopback" in link.flags]

    monkeypatch.setattr(interfaces, "kernel_interfaces", loopback)


@pytest.fixture(params=["selector", "loop", "simulated"])
def transport(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> aioudp.TransportKind:
    """Return a value for the option ``transport``; see above for ``simulated``."""
    if request.param == "simulated":
        host = testing.SimulatedNetwork().host("10.0.0.1", "2001:db8:0:1::1")
        on_host = ContextVar("aioudp_machine", default=host)
        monkeypatch.setattr(machine, "_current", on_host)
        return "auto"
    kind: aioudp.TransportKind = request.param
    return kind


@pytest.fixture
def peer(request: pytest.FixtureRequest, host: str) -> Iterator[socket.socket]:
    """Return a plain socket, bound to the host of the test, to talk to."""
    if "transport" in request.fixturenames:
        request.getfixturevalue("transport")  # first: it says which machine this is
    with plain_socket(host) as sock:
        yield sock


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what cannot be simulated, before the matrix chooses."""
    items[:] = [item for item in items if not (_simulated(item) and _is_real(item))]


def _simulated(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    return callspec is not None and callspec.params.get("transport") == "simulated"


def _is_real(item: pytest.Item) -> bool:
    assert isinstance(item, pytest.Function)
    return (
        item.path.parent != _HERE
        or item.path.name in FILES
        or item.originalname in _REAL
    )
