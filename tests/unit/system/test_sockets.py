"""Making sockets, setting them up, and asking the kernel about them."""

from __future__ import annotations

import errno
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from aioudp._system import sockets
from aioudp._system.sockets import (
    BoundPath,
    Offload,
    advice_on,
    check_adoptable,
    connect,
    enable_gro,
    grow_buffer,
    is_dual_stack,
    kernel_drops,
    open_bound,
    probe_offload,
    set_buffer,
    silence_error_queue,
)

LOOPBACK: Final = ("127.0.0.1", 0)
LOOPBACK6: Final = ("::1", 0, 0, 0)
AF_NETLINK: Final = 16  # include/linux/socket.h

on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="cannot: linux: this is about the Linux kernel"
)
with_unix_sockets = pytest.mark.skipif(
    sockets.AF_UNIX is None, reason="cannot: unix: no UNIX datagram sockets"
)

MakeSocket = Callable[..., socket.socket]


@pytest.fixture
def make_socket() -> Iterator[MakeSocket]:
    """Make bound, non-blocking datagram sockets; the end closes them."""
    with ExitStack() as stack:

        def make(
            addr: Any = LOOPBACK, family: int = socket.AF_INET, **options: Any
        ) -> socket.socket:
            return stack.enter_context(open_bound(addr, family, **options))

        yield make


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


def run_on(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the module believe that it runs on that platform."""
    monkeypatch.setattr(sockets, "sys", SimpleNamespace(platform=platform))


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


def _skip_without_ipv6() -> None:
    try:
        open_bound(LOOPBACK6, socket.AF_INET6).close()
    except OSError:
        pytest.skip("cannot: ipv6: ::1 cannot be bound")


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


# -- connecting


def receive_all(sock: socket.socket) -> list[bytes]:
    """Return the payloads that wait in the socket."""
    payloads = []
    while True:
        try:
            payloads.append(sock.recv(65536))
        except BlockingIOError:
            return payloads


@pytest.fixture
def crowd(make_socket: MakeSocket) -> tuple[socket.socket, ...]:
    """Return a bound socket, its peer to be, and a third party."""
    return make_socket(), make_socket(), make_socket()


def test_what_the_peer_sent_before_is_kept(crowd: tuple[socket.socket, ...]) -> None:
    """In order, and with its address."""
    sock, peer, _ = crowd
    for data in (b"first", b"", b"third"):
        peer.sendto(data, sock.getsockname())

    backlog, _ = connect(sock, peer.getsockname())

    addr = peer.getsockname()
    assert backlog == [(b"first", addr), (b"", addr), (b"third", addr)]


def test_what_others_sent_before_is_thrown_away(
    crowd: tuple[socket.socket, ...],
) -> None:
    """The kernel would still deliver it; it is counted instead."""
    sock, peer, other = crowd
    for sender in (other, peer, other, other, peer):
        sender.sendto(b"from %d" % (sender is peer), sock.getsockname())

    backlog, foreign = connect(sock, peer.getsockname())

    assert [data for data, _ in backlog] == [b"from 1", b"from 1"]
    assert foreign == 3


def test_what_others_send_afterwards_is_not_received(
    crowd: tuple[socket.socket, ...],
) -> None:
    """From then on the kernel filters."""
    sock, peer, other = crowd
    connect(sock, peer.getsockname())
    other.sendto(b"other", sock.getsockname())
    peer.sendto(b"peer", sock.getsockname())

    assert receive_all(sock) == [b"peer"]


def test_a_silent_peer_leaves_no_backlog(crowd: tuple[socket.socket, ...]) -> None:
    """Connecting waits for nothing."""
    sock, peer, _ = crowd

    assert connect(sock, peer.getsockname()) == ([], 0)


def test_the_backlog_of_a_dual_stack_socket_has_plain_addresses(
    make_socket: MakeSocket,
) -> None:
    """An IPv4 peer is read as an IPv4 peer."""
    _skip_without_ipv6()
    sock = make_socket(("::", 0), socket.AF_INET6, v6only=False)
    peer = make_socket()
    host, port = peer.getsockname()
    peer.sendto(b"early", ("127.0.0.1", sock.getsockname()[1]))

    backlog, foreign = connect(sock, (f"::ffff:{host}", port, 0, 0))

    assert (backlog, foreign) == ([(b"early", (host, port))], 0)


def test_a_flood_from_the_peer_does_not_keep_connect_busy() -> None:
    """It reads what can have been queued before, and leaves the rest queued."""
    addr = "192.0.2.1", 53
    endless = FakeSocket(buffer=2560, addr=addr)

    backlog, _ = connect(endless.as_socket(), addr)

    # Ten datagrams fill a buffer of 2560 bytes, as each costs 256 at the least.
    assert len(backlog) == endless.reads == 10


class FakeSocket:
    """A socket with more datagrams in it than anybody can read."""

    family = socket.AF_INET

    def __init__(self, *, buffer: int, addr: Any) -> None:
        self._buffer = buffer
        self._addr = addr
        self.reads = 0

    def as_socket(self) -> socket.socket:
        sock: Any = self
        return sock  # type: ignore[no-any-return]

    def connect(self, peer: Any) -> None:
        assert peer == self._addr

    def getsockopt(self, level: int, option: int) -> int:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_RCVBUF)
        return self._buffer

    def getpeername(self) -> Any:
        return self._addr

    def recvfrom(self, size: int) -> tuple[bytes, Any]:
        self.reads += 1
        return bytes(1), self._addr


def test_an_error_of_the_network_ends_the_reading(make_socket: MakeSocket) -> None:
    """It is about a datagram of ours that came back, so connecting succeeds."""
    sock, gone = make_socket(), make_socket()
    dead = gone.getsockname()
    gone.close()
    sock.connect(dead)
    sock.send(b"nobody is there")

    assert connect(sock, dead) == ([], 0)


def test_a_refused_connect_names_the_peer(make_socket: MakeSocket) -> None:
    """Here a broadcast address, without the option for it; the socket stays open."""
    sock = make_socket(None)

    with pytest.raises(OSError, match=r"connecting to \('255\.255\.255\.255', 9\)"):
        connect(sock, ("255.255.255.255", 9))
    assert sock.fileno() >= 0


@pytest.mark.parametrize(
    ("peer", "broadcast", "number", "advises"),
    [
        (("192.0.2.255", 9), False, errno.EACCES, True),
        (("192.0.2.255", 9), True, errno.EACCES, False),
        (("192.0.2.255", 9), False, errno.EPERM, False),
        (("::ffff:192.0.2.255", 9, 0, 0), False, errno.EACCES, True),
        (("2001:db8::1", 9, 0, 0), False, errno.EACCES, False),
        (None, False, errno.EACCES, False),
    ],
)
def test_what_a_broadcast_takes_is_told(
    peer: Any, broadcast: bool, number: int, advises: bool, make_socket: MakeSocket
) -> None:
    """Where it may be what is missing, and nowhere else."""
    sock = make_socket(None, broadcast=broadcast)

    advice = advice_on(sock, OSError(number, "refused"), peer)

    assert ("broadcast=True" in advice) is advises


@with_unix_sockets
def test_a_unix_socket_keeps_what_its_peer_sent_before(
    make_socket: MakeSocket, tmp_path: Path
) -> None:
    """In its queue as well, strangers are told from the peer, however long it is."""
    paths = [str(tmp_path / name) for name in ("one", "two", "three")]
    sock, peer, stranger = (make_socket(path, sockets.AF_UNIX) for path in paths)
    early = bytes(100_000)
    peer.sendto(early, paths[0])
    stranger.sendto(b"stranger", paths[0])

    assert connect(sock, paths[1]) == ([(early, paths[1])], 1)
    assert receive_all(sock) == []


# -- adopting


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_datagram_socket_can_be_adopted(family: int) -> None:
    """Any IP one."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        check_adoptable(sock)


@with_unix_sockets
def test_a_unix_datagram_socket_can_be_adopted(make_socket: MakeSocket) -> None:
    """A non-blocking one just as well."""
    check_adoptable(make_socket(None, sockets.AF_UNIX))


def test_a_stream_socket_cannot_be_adopted() -> None:
    """The error says what it is."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock,
        pytest.raises(ValueError, match=r"a datagram socket, not .*SOCK_STREAM"),
    ):
        check_adoptable(sock)


@on_linux
def test_a_socket_of_another_family_cannot_be_adopted() -> None:
    """Netlink has datagrams too, but no endpoints."""
    with socket.socket(AF_NETLINK, socket.SOCK_DGRAM) as sock:
        what = re.escape(repr(sock))
        with pytest.raises(ValueError, match=f"an IP or a UNIX socket, not {what}"):
            check_adoptable(sock)


@on_linux
@pytest.mark.parametrize("v6only", [True, False])
def test_the_error_queue_is_switched_off(
    host: str, family: int, v6only: bool, make_socket: MakeSocket
) -> None:
    """For both families where a socket serves both."""
    sock = make_socket((host, 0), family, v6only=v6only)
    options = [(socket.IPPROTO_IP, sockets.IP_RECVERR)]
    if family == socket.AF_INET6:
        options.append((socket.IPPROTO_IPV6, sockets.IPV6_RECVERR))
    for option in options:
        sock.setsockopt(*option, 1)

    silence_error_queue(sock)

    assert [sock.getsockopt(*option) for option in options] == [0] * len(options)


@with_unix_sockets
def test_a_unix_socket_has_no_error_queue(make_socket: MakeSocket) -> None:
    """There is nothing to switch off, and nothing is tried."""
    silence_error_queue(make_socket(None, sockets.AF_UNIX))


def test_other_systems_have_no_error_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers mean other options there."""
    run_on("darwin", monkeypatch)
    untouched: Any = SimpleNamespace(family=socket.AF_INET)

    silence_error_queue(untouched)


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


# -- buffers


def test_a_buffer_grows_to_what_is_granted(make_socket: MakeSocket) -> None:
    """The kernel may grant less than asked, and Linux counts twice as much."""
    sock = make_socket()
    set_buffer(sock, socket.SO_RCVBUF, 4096)
    before = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    grow_buffer(sock, socket.SO_RCVBUF, 2 * before)

    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) > before


def test_a_buffer_never_shrinks(make_socket: MakeSocket) -> None:
    """Whoever runs the machine may have made the default larger than our wish."""
    sock = make_socket()
    before = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)

    grow_buffer(sock, socket.SO_SNDBUF, before // 4)

    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == before


class StrictSocket:
    """A socket of a system that refuses a buffer above its limit."""

    def __init__(self, *, now: int, limit: int) -> None:
        self.size = now
        self.limit = limit
        self.asked: list[int] = []

    def as_socket(self) -> socket.socket:
        sock: Any = self
        return sock  # type: ignore[no-any-return]

    def getsockopt(self, level: int, option: int) -> int:
        return self.size

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_RCVBUF)
        self.asked.append(value)
        if value > self.limit:
            raise OSError(errno.ENOBUFS, "No buffer space available")
        self.size = value


def test_less_is_asked_for_until_it_is_granted() -> None:
    """Some systems refuse what Linux would cut down."""
    strict = StrictSocket(now=1000, limit=2500)

    grow_buffer(strict.as_socket(), socket.SO_RCVBUF, 8000)

    assert (strict.asked, strict.size) == ([8000, 4000, 2000], 2000)


def test_less_than_now_is_not_asked_for() -> None:
    """When nothing more is to be had, the buffer stays as it is."""
    strict = StrictSocket(now=1000, limit=1000)

    grow_buffer(strict.as_socket(), socket.SO_RCVBUF, 8000)

    assert (strict.asked, strict.size) == ([8000, 4000, 2000], 1000)


# -- drops


@on_linux
def test_the_kernel_counts_exactly_what_it_drops(make_socket: MakeSocket) -> None:
    """Of 40 datagrams sent into a tiny buffer, all are either there or counted."""
    receiver, sender = make_socket(), make_socket()
    set_buffer(receiver, socket.SO_RCVBUF, 1)  # the kernel makes it its minimum
    for _ in range(40):
        sender.sendto(bytes(500), receiver.getsockname())

    drops = kernel_drops(receiver)

    assert drops > 0
    assert drops == 40 - len(receive_all(receiver))


@on_linux
def test_a_socket_with_room_has_no_drops(make_socket: MakeSocket) -> None:
    """The count begins at 0, and what was received does not count."""
    receiver, sender = make_socket(), make_socket()
    sender.sendto(b"payload", receiver.getsockname())

    assert kernel_drops(receiver) == 0


def test_drops_are_unknown_elsewhere(
    make_socket: MakeSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other systems are not asked, as the number means another option there."""
    run_on("darwin", monkeypatch)
    unasked: Any = object()

    assert kernel_drops(unasked) == 0


def test_drops_of_a_closed_socket_are_unknown(make_socket: MakeSocket) -> None:
    """Asking too late is not an error."""
    sock = make_socket()
    sock.close()

    assert kernel_drops(sock) == 0


@on_linux
def test_drops_are_unknown_on_an_older_kernel() -> None:
    """One that tells less than the drops is not misread."""
    older: Any = SimpleNamespace(getsockopt=lambda level, option, size: bytes(size - 4))

    assert kernel_drops(older) == 0


# -- the file of a UNIX socket


@with_unix_sockets
def test_the_path_is_removed(make_socket: MakeSocket, tmp_path: Path) -> None:
    """It can be bound again."""
    path = tmp_path / "socket"
    make_socket(str(path), sockets.AF_UNIX)
    bound = BoundPath(str(path))

    bound.remove()

    assert not path.exists()


@with_unix_sockets
def test_another_file_at_the_path_is_left_alone(
    make_socket: MakeSocket, tmp_path: Path
) -> None:
    """Somebody else may have put a socket of their own there meanwhile."""
    path = tmp_path / "socket"
    make_socket(str(path), sockets.AF_UNIX)
    bound = BoundPath(str(path))
    path.rename(tmp_path / "moved")  # keeps the old inode from being used again
    make_socket(str(path), sockets.AF_UNIX)

    bound.remove()

    assert path.exists()


def test_removing_a_path_that_is_gone_does_nothing(tmp_path: Path) -> None:
    """Somebody else may have removed it."""
    path = tmp_path / "socket"
    path.touch()
    bound = BoundPath(str(path))
    path.unlink()

    bound.remove()

    assert not path.exists()


def test_a_path_that_cannot_be_removed_is_not_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing an endpoint succeeds even in a directory that became read-only."""
    path = tmp_path / "socket"
    path.touch()
    bound = BoundPath(str(path))

    def refuse(path: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "unlink", refuse)
    bound.remove()
    monkeypatch.undo()

    assert path.exists()


@pytest.mark.parametrize("name", ["\0abstract", b"\0abstract"])
def test_an_abstract_name_has_no_file(
    name: str | bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So nothing is removed for it."""
    removed: list[object] = []
    bound = BoundPath(name)
    monkeypatch.setattr(os, "unlink", removed.append)

    bound.remove()

    assert removed == []
