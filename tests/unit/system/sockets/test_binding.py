"""Opening a bound socket: what the kernel can do, addresses, both stacks."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aioudp._system import sockets
from aioudp._system.sockets import (
    Offload,
    enable_gro,
    is_dual_stack,
    open_bound,
    probe_offload,
)

from .support import (
    LOOPBACK,
    MakeSocket,
    _skip_without_ipv6,
    on_linux,
    run_on,
    with_unix_sockets,
)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """Return the sockets that the module makes from now on, in a list that grows."""
    sockets: list[socket.socket] = []

    class Noted(socket.socket):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            sockets.append(self)

    monkeypatch.setattr(socket, "socket", Noted)
    return sockets


@pytest.fixture
def unprobed() -> Iterator[None]:
    """Forget what the kernel was asked, before the test and after it."""
    probe_offload.cache_clear()
    yield
    probe_offload.cache_clear()


def kernel_without(
    monkeypatch: pytest.MonkeyPatch, *missing: int
) -> list[tuple[int, ...]]:
    """Let new sockets refuse these options; return the list of those that are set."""
    attempts: list[tuple[int, ...]] = []

    class Picky(socket.socket):
        def setsockopt(self, *args: Any) -> None:
            attempts.append(args)
            if args[1] in missing:
                raise OSError(errno.ENOPROTOOPT, "Protocol not available")
            super().setsockopt(*args)

    monkeypatch.setattr(socket, "socket", Picky)
    return attempts


# -- what the kernel can do


@on_linux
@pytest.mark.usefixtures("unprobed")
@pytest.mark.parametrize(
    ("missing", "offload"),
    [
        ((sockets.UDP_SEGMENT,), (1, True)),
        ((sockets.UDP_GRO,), (128, False)),
        ((sockets.UDP_SEGMENT, sockets.UDP_GRO), (1, False)),
    ],
)
def test_the_kernel_is_asked_for_each_offload(
    missing: tuple[int, ...],
    offload: tuple[int, bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sending and receiving came with different versions of Linux."""
    _skip_without_offload()
    probe_offload.cache_clear()
    kernel_without(monkeypatch, *missing)

    assert probe_offload() == offload


def _skip_without_offload() -> None:
    if probe_offload() != Offload(128, gro=True):
        pytest.skip("cannot: offload: this kernel has no UDP_SEGMENT or no UDP_GRO")


@pytest.mark.usefixtures("unprobed")
@pytest.mark.parametrize("platform", ["darwin", "win32", "freebsd14"])
def test_other_systems_are_not_asked(
    platform: str, monkeypatch: pytest.MonkeyPatch, made: list[socket.socket]
) -> None:
    """The same numbers mean other options there."""
    run_on(platform, monkeypatch)

    assert (probe_offload(), made) == (Offload(1, gro=False), [])


@on_linux
@pytest.mark.usefixtures("unprobed")
def test_the_kernel_is_asked_once(made: list[socket.socket]) -> None:
    """Its answer does not change while it runs."""
    probe_offload()
    probe_offload()

    assert len(made) == 1


@on_linux
@pytest.mark.usefixtures("unprobed")
def test_probing_leaves_no_socket_open(made: list[socket.socket]) -> None:
    """The question takes a socket, for a moment."""
    probe_offload()

    assert [sock.fileno() for sock in made] == [-1]


@on_linux
def test_gro_is_switched_on(make_socket: MakeSocket) -> None:
    """The socket hands over trains from then on."""
    _skip_without_offload()
    sock = make_socket()

    assert enable_gro(sock)
    assert sock.getsockopt(socket.IPPROTO_UDP, sockets.UDP_GRO) == 1


@on_linux
@with_unix_sockets
def test_gro_is_for_ip_sockets(make_socket: MakeSocket, tmp_path: Path) -> None:
    """A UNIX socket has no trains."""
    sock = make_socket(str(tmp_path / "socket"), sockets.AF_UNIX)

    assert not enable_gro(sock)


@pytest.mark.usefixtures("unprobed")
def test_gro_is_not_asked_for_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Elsewhere the option's number is not touched."""
    run_on("darwin", monkeypatch)
    touched: Any = SimpleNamespace(family=socket.AF_INET)

    assert not enable_gro(touched)


# -- binding


def test_a_socket_is_bound(host: str, family: int, make_socket: MakeSocket) -> None:
    """Port 0 lets the system choose."""
    bound = make_socket((host, 0), family).getsockname()

    assert bound[0] == host
    assert bound[1] > 0


def test_no_address_leaves_the_socket_unbound(make_socket: MakeSocket) -> None:
    """The system binds it when it is connected."""
    assert make_socket(None).getsockname() == ("0.0.0.0", 0)


def test_a_socket_does_not_block(make_socket: MakeSocket) -> None:
    """The event loop is never held up by one."""
    assert not make_socket().getblocking()


def test_a_socket_is_not_inherited(make_socket: MakeSocket) -> None:
    """A child process does not keep the port."""
    assert not make_socket().get_inheritable()


@pytest.mark.parametrize("option", ["SO_REUSEADDR", "SO_REUSEPORT", "SO_BROADCAST"])
def test_nothing_is_switched_on_unasked(option: str, make_socket: MakeSocket) -> None:
    """Above all not the sharing of the port."""
    if not hasattr(socket, option):
        pytest.skip(f"cannot: {option}: this system has no such option")
    sock = make_socket()

    assert sock.getsockopt(socket.SOL_SOCKET, getattr(socket, option)) == 0


@pytest.mark.parametrize(
    ("name", "option"),
    [("reuse_port", "SO_REUSEPORT"), ("broadcast", "SO_BROADCAST")],
)
def test_what_was_asked_for_is_switched_on(
    name: str, option: str, make_socket: MakeSocket
) -> None:
    """Each option sets its own and no other."""
    if not hasattr(socket, option):
        pytest.skip(f"cannot: {option}: this system has no such option")
    sock = make_socket(**{name: True})

    number = getattr(socket, option)
    others = {socket.SO_REUSEADDR, socket.SO_BROADCAST} - {number}
    assert sock.getsockopt(socket.SOL_SOCKET, number) != 0
    assert [sock.getsockopt(socket.SOL_SOCKET, other) for other in others] == [0] * len(
        others
    )


@pytest.mark.parametrize(
    ("options", "only"),
    [({}, True), ({"v6only": True}, True), ({"v6only": False}, False)],
)
def test_an_ipv6_socket_serves_ipv4_only_if_asked(
    options: dict[str, bool], only: bool, make_socket: MakeSocket
) -> None:
    """Whatever the system's default is (``net.ipv6.bindv6only``)."""
    _skip_without_ipv6()
    sock = make_socket(("::", 0), socket.AF_INET6, **options)

    assert bool(sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)) is only


def test_the_system_may_decide_whether_ipv6_serves_ipv4(
    make_socket: MakeSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``None`` nothing is set, so it stays as the system made it."""
    _skip_without_ipv6()
    only = socket.IPPROTO_IPV6, socket.IPV6_V6ONLY
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as untouched:
        default = untouched.getsockopt(*only)
    attempts = kernel_without(monkeypatch)

    sock = make_socket(None, socket.AF_INET6, v6only=None)

    assert only not in [attempt[:2] for attempt in attempts]
    assert sock.getsockopt(*only) == default


def test_the_protocol_can_be_named(make_socket: MakeSocket) -> None:
    """The system's own choice for datagrams, UDP, is the default."""
    named = make_socket(proto=socket.IPPROTO_UDP)
    assert (make_socket().proto, named.proto) == (0, socket.IPPROTO_UDP)

    with pytest.raises(OSError, match="binding to"):
        make_socket(proto=socket.IPPROTO_TCP)


def test_a_port_in_use_is_refused(make_socket: MakeSocket) -> None:
    """The error names the address."""
    taken = make_socket().getsockname()

    with pytest.raises(OSError) as caught:
        make_socket(taken)
    assert caught.value.errno == errno.EADDRINUSE
    assert f"binding to {taken!r}" in str(caught.value)


def test_a_foreign_address_is_refused(make_socket: MakeSocket) -> None:
    """192.0.2.1 is reserved for documentation (RFC 5737), so it is never ours."""
    with pytest.raises(OSError) as caught:
        make_socket(("192.0.2.1", 0))
    assert caught.value.errno == errno.EADDRNOTAVAIL
    assert "192.0.2.1" in str(caught.value)


@pytest.mark.parametrize(
    ("addr", "error"),
    [(("192.0.2.1", 0), OSError), (("127.0.0.1", "a port"), TypeError)],
)
def test_a_socket_that_cannot_be_bound_is_closed(
    addr: Any, error: type[Exception], made: list[socket.socket]
) -> None:
    """Nothing leaks, whatever the reason."""
    with pytest.raises(error):
        open_bound(addr, socket.AF_INET)
    assert [sock.fileno() for sock in made] == [-1]


def test_windows_gets_the_port_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """There a port can be taken from a socket that does not forbid it."""
    stand_in = socket.SO_KEEPALIVE  # which any system takes, and which does no harm
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", stand_in, raising=False)
    attempts = kernel_without(monkeypatch)
    run_on("win32", monkeypatch)

    open_bound(LOOPBACK, socket.AF_INET).close()

    assert attempts == [(socket.SOL_SOCKET, stand_in, 1)]


# -- dual-stack


@pytest.mark.parametrize(
    ("host", "v6only", "serves_both"),
    [
        ("::", False, True),
        ("::", True, False),
        ("::1", False, False),
        ("::1", True, False),
        ("::ffff:127.0.0.1", False, True),
    ],
)
def test_a_dual_stack_socket_is_recognised(
    host: str, v6only: bool, serves_both: bool, make_socket: MakeSocket
) -> None:
    """It takes the option and an address that IPv4 peers can reach."""
    _skip_without_ipv6()
    sock = make_socket((host, 0), socket.AF_INET6, v6only=v6only)

    assert is_dual_stack(sock) is serves_both


def test_an_ipv4_socket_is_not_dual_stack(make_socket: MakeSocket) -> None:
    """It has no such option to ask for."""
    assert not is_dual_stack(make_socket())


def test_an_address_of_another_machine_comes_with_advice() -> None:
    """192.0.2.0/24 is for documentation (RFC 5737): no machine has it."""
    with pytest.raises(OSError, match="this machine doesn't have this address") as info:
        open_bound(("192.0.2.1", 0), socket.AF_INET)

    assert info.value.errno == errno.EADDRNOTAVAIL
