"""Every example is run, as the program that it is."""

from __future__ import annotations

import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from ..output import without_slowness
from .programs import ENVIRONMENT, EXAMPLES, PATIENCE, command, run, serving

linux_only = pytest.mark.skipif(
    sys.platform != "linux", reason="cannot: linux: other systems report less"
)


@pytest.fixture
def client() -> Iterator[socket.socket]:
    """Return a bound socket of the loopback interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.bind(("127.0.0.1", 0))
        yield sock


def test_every_example_is_run() -> None:
    """No example is left to rot: it runs here, or in a test that names its file."""
    tested = set()
    for path in Path(__file__).parents[1].rglob("test_*.py"):
        run_by = r'(?:(?:run|serving)\(|EXAMPLES / )"(\w+)'
        tested |= set(re.findall(run_by, path.read_text()))

    assert {path.stem for path in EXAMPLES.glob("*.py")} <= tested


def test_every_example_is_listed() -> None:
    """The list in the folder names each program."""
    listed = set(re.findall(r"\((\w+)\.py\)", (EXAMPLES / "README.md").read_text()))

    assert {path.stem for path in EXAMPLES.glob("*.py")} == listed


def test_echo() -> None:
    """The client prints what the server sent back."""
    with serving("echo_server", "127.0.0.1", 0) as server:
        printed = run("echo_client", "127.0.0.1", server.port, "hello there")

    assert printed == f"b'hello there' from ('127.0.0.1', {server.port})\n"


def test_printing_server_and_line_client() -> None:
    """Each line of the client's input is printed by the server, with its sender."""
    with serving("printing_server", "", 0) as server:
        text = "one\ntwo\tthree\n\nlast"
        assert run("line_client", "127.0.0.1", server.port, text=text) == ""
        lines = [server.line() for _ in range(4)]

    senders, payloads = zip(*(line.split(": ") for line in lines), strict=True)
    assert payloads == ("b'one'", r"b'two\tthree'", "b''", "b'last'")
    assert len(set(senders)) == 1
    assert re.fullmatch(r"127\.0\.0\.1 port \d+", senders[0])


def test_broadcast() -> None:
    """What is broadcast is printed by everybody who listens."""
    with (
        serving("broadcast_receiver", 0) as one,
        serving("broadcast_receiver", one.port) as two,
    ):
        printed = run("broadcast_sender", one.port, "all", "127.0.0.1")
        lines = [one.line(), two.line()]

    assert re.fullmatch(r"\w+, to 127\.255\.255\.255: sent\n", printed)
    for line in lines:
        assert re.fullmatch(r"127\.0\.0\.1 port \d+: b'all'", line)


def test_ssdp_search() -> None:
    """Each service is printed once, and what is no answer is passed over."""
    request = socket.inet_aton("239.255.255.250") + socket.inet_aton("127.0.0.1")
    answer = (
        "HTTP/1.1 200 OK\r\nST: ssdp:all\r\nusn: uuid:{0}::service\r\n"
        "Location: http://192.0.2.7/{0}.xml\x1b\r\n\r\n"
    )
    asked: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        device.settimeout(PATIENCE)
        device.bind(("", 0))
        option = socket.IP_ADD_MEMBERSHIP
        device.setsockopt(socket.IPPROTO_IP, option, request)
        port = device.getsockname()[1]

        def respond() -> None:
            for _ in range(3):
                data, addr = device.recvfrom(1000)
                asked.append(data)
                for name in ("one", "two"):
                    device.sendto(answer.format(name).encode(), addr)
                for noise in (b"", b"\xff", b"NOTIFY * HTTP/1.1\r\nUSN: x\r\n\r\n"):
                    device.sendto(noise, addr)

        thread = threading.Thread(target=respond)
        thread.start()
        printed = run("ssdp_search", "upnp:rootdevice", port, "127.0.0.1")
        thread.join()

    lines = printed.splitlines()
    assert [re.sub(r"^[\d.]+: ", "", line) for line in lines] == [
        f"uuid:{name}::service at http://192.0.2.7/{name}.xml"
        for name in ("one", "two")
    ]
    assert len(set(asked)) == 1
    request_line, *rest = asked[0].decode().split("\r\n")
    assert request_line == "M-SEARCH * HTTP/1.1"
    assert 'MAN: "ssdp:discover"' in rest
    assert "ST: upnp:rootdevice" in rest
    assert f"HOST: 239.255.255.250:{port}" in rest
    assert rest[-2:] == ["", ""]


def test_multicast_chat() -> None:
    """What one writes the other reads, without its control characters."""
    group = "239.255.77.1"
    with serving(
        "multicast_chat", "ann", group, 0, "127.0.0.1", stdin=subprocess.PIPE
    ) as ann:
        text = "hello\nbe\x1bll\n"
        run("multicast_chat", "bob", group, ann.port, "127.0.0.1", text=text)

        assert [ann.line(), ann.line()] == ["bob: hello", "bob: bell"]
        assert ann.process.stdin is not None
        ann.process.stdin.write("hi\n")
        ann.process.stdin.flush()
        assert ann.line() == "ann: hi"


def test_mdns_query() -> None:
    """The answers are printed, and what strangers send besides does no harm."""
    pytest.importorskip("dns", reason="cannot: dnspython: it is not installed")
    name, pointer = b"\x07printer\x05local\x00", b"\xc0\x0c"  # to the first name
    four = pointer + struct.pack("!2HIH", 1, 0x8001, 120, 4) + bytes([192, 0, 2, 7])
    six = pointer + struct.pack("!2HIH", 28, 1, 120, 16) + bytes(15) + b"\x01"
    short = pointer + struct.pack("!2HIH", 1, 0x8001, 120, 3) + bytes(3)
    questions = (name + struct.pack("!2H", 1, 1), pointer + struct.pack("!2H", 28, 1))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as responder:
        responder.settimeout(PATIENCE)
        responder.bind(("", 0))
        group = socket.inet_aton("224.0.0.251") + socket.inet_aton("127.0.0.1")
        responder.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)

        def respond() -> None:
            asked, addr = responder.recvfrom(1000)
            (number,) = struct.unpack_from("!H", asked)
            if asked[2:] != struct.pack("!5H", 0, 2, 0, 0, 0) + b"".join(questions):
                return

            def answer(number: int, counts: tuple[int, int], *parts: bytes) -> bytes:
                header = struct.pack("!6H", number, 0x8400, *counts, 0, 0)
                return header + b"".join(parts)

            for message in (
                b"noise",
                answer(number, (0, 1), b"\x01a", pointer),  # a name without an end
                answer(number, (1, 1), questions[0], short),
                answer(number ^ 1, (1, 1), questions[0], four),  # to somebody else
                answer(number, (1, 2), questions[0], four, six),
            ):
                responder.sendto(message, addr)

        thread = threading.Thread(target=respond)
        thread.start()
        port = responder.getsockname()[1]
        printed = run("mdns_query", "printer.local", port, "127.0.0.1")
        thread.join()

    lines = (
        r"printer\.local is 192\.0\.2\.7, says (\S+)\nprinter\.local is ::1, says \1\n"
    )
    assert re.fullmatch(lines, printed)


def test_timeouts_with_an_answer() -> None:
    """An answer in time is printed."""
    with serving("echo_server", "127.0.0.1", 0) as server:
        assert run("timeouts", "127.0.0.1", server.port) == "the answer: b'hello'\n"


def test_timeouts_without_an_answer(client: socket.socket) -> None:
    """It asks three times, and gives up."""
    port = client.getsockname()[1]

    assert run("timeouts", "127.0.0.1", port) == "no answer to 3 questions\n"
    assert [client.recv(100) for _ in range(3)] == [b"hello"] * 3


def test_timeouts_without_a_listener(client: socket.socket) -> None:
    """A refusal comes at once."""
    port = client.getsockname()[1]
    client.close()

    assert run("timeouts", "127.0.0.1", port) == "nobody listens there\n"


@linux_only
def test_traceroute(host: str) -> None:
    """To this machine it is one hop."""
    printed = run("traceroute", host)

    assert re.fullmatch(rf" 1 {host}, [\d.]+ ms\nthere\n", printed)


@linux_only
def test_path_mtu(client: socket.socket) -> None:
    """The loopback interface is as wide as a datagram can be long."""
    port = client.getsockname()[1]
    client.close()

    printed = run("path_mtu", "127.0.0.1", port)

    first, last = printed.splitlines()
    assert re.fullmatch(r"sent: \d+ bytes with headers, \d+ without", first)
    assert last == "127.0.0.1: Connection refused"


def test_many_tasks(client: socket.socket) -> None:
    """Every question is answered, and the workers share them."""
    questions = {b"QUESTION %d" % number for number in range(8)}
    with serving("many_tasks", "127.0.0.1", 0) as server:
        for question in questions:
            client.sendto(question.lower(), ("127.0.0.1", server.port))
        answers = [client.recv(100).split(b" from ") for _ in range(8)]

    assert {question for question, _ in answers} == questions
    assert {worker for _, worker in answers} == {b"worker %d" % n for n in range(4)}


def test_protocol_server(client: socket.socket) -> None:
    """The protocol answers, and does not notice whose transport it has."""
    with serving("protocol_server", "127.0.0.1", 0) as server:
        client.sendto(b"hello there", ("127.0.0.1", server.port))
        assert client.recv(100) == b"HELLO THERE"


@pytest.mark.skipif(
    sys.platform != "linux", reason="cannot: linux: 127.0.0.5 is an address there alone"
)
def test_multihomed_echo_server() -> None:
    """Each address that is asked is the one that answers."""
    with serving("multihomed_echo_server", 0) as server:
        for host in ("127.0.0.1", "127.0.0.5"):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
                asker.settimeout(PATIENCE)
                asker.connect((host, server.port))  # so it hears that address alone
                asker.send(b"hello")
                assert asker.recv(100) == b"hello"
                asked = host, server.port
                assert server.line() == f"{asker.getsockname()} asked {asked}"


NTP_EPOCH: Final = 2_208_988_800  # seconds from 1900 to 1970


def ntp_answer(request: bytes, *, ahead: float) -> bytes:
    """Return what a server says whose clock is so many seconds ahead."""
    now = int((time.time() + ahead + NTP_EPOCH) * 2**32)
    cookie = request[40:48]
    return (
        struct.pack("!4B3IQ", 4 << 3 | 4, 2, 6, 0xE8, 0, 0, 0, now - 2**36)
        + cookie
        + struct.pack("!2Q", now, now)
    )


def test_ntp_client(client: socket.socket) -> None:
    """The offset is right, and what is no answer to the question is ignored."""

    def serve() -> None:
        client.recvfrom(100)  # the first question gets lost
        request, addr = client.recvfrom(100)
        right = ntp_answer(request, ahead=1000)
        wrong_cookie = right[:24] + bytes(8) + right[32:]
        for answer in (b"", wrong_cookie, right[:47], right):
            client.sendto(answer, addr)

    thread = threading.Thread(target=serve)
    thread.start()
    printed = run("ntp_client", "127.0.0.1", client.getsockname()[1])
    thread.join()

    found = re.fullmatch(r"offset \+(\d+\.\d+) s, delay (-?\d+\.\d+) s\n", printed)
    assert found is not None
    assert float(found[1]) == pytest.approx(1000, abs=0.5)
    assert -0.001 < float(found[2]) < 1


def test_ntp_client_of_a_server_without_time(client: socket.socket) -> None:
    """Stratum 0 is a refusal."""

    def serve() -> None:
        request, addr = client.recvfrom(100)
        answer = ntp_answer(request, ahead=0)
        client.sendto(answer[:1] + b"\0" + answer[2:], addr)

    thread = threading.Thread(target=serve)
    thread.start()
    done = subprocess.run(
        command("ntp_client", "127.0.0.1", client.getsockname()[1]),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=ENVIRONMENT,
        check=False,
    )
    thread.join()

    assert done.returncode == 1
    assert without_slowness(done.stderr) == "the server does not know the time\n"


def test_adopt_socket_of_its_own(client: socket.socket) -> None:
    """Without systemd the program opens the socket itself."""
    with serving("adopt_socket", "127.0.0.1", 0) as server:
        assert server.first_line.startswith("listening on a socket opened here")
        client.sendto(b"hello", ("127.0.0.1", server.port))
        assert client.recv(100) == b"hello"


def test_adopt_socket_of_systemd(client: socket.socket) -> None:
    """A socket that was passed keeps what came before the service had started."""
    # What systemd does: descriptor 3, and two variables for the very process.
    code = (
        "import os, sys\n"
        "os.dup2(int(sys.argv[1]), 3)\n"
        "os.environ |= {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '1'}\n"
        "os.execv(sys.argv[2], sys.argv[2:])\n"
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as passed:
        passed.bind(("127.0.0.1", 0))
        port = passed.getsockname()[1]
        client.sendto(b"early", ("127.0.0.1", port))
        program = command("adopt_socket")
        argv = [sys.executable, "-c", code, str(passed.fileno()), *program]
        with serving("adopt_socket", argv=argv, pass_fds=[passed.fileno()]) as server:
            assert server.first_line.startswith("listening on a socket passed by")
            assert server.port == port
            assert client.recv(100) == b"early"


def test_backpressure() -> None:
    """Each policy keeps what it says, and nothing is lost without being counted."""
    printed = run("backpressure")
    found = re.findall(
        r"([\w-]+): (\d+) of 300 came, (\d+) were dropped;\n"
        r" +the first was (\d+), the last (\d+)\n",
        printed,
    )
    results = {policy: tuple(map(int, numbers)) for policy, *numbers in found}

    assert results["pause"] == (300, 0, 0, 299)
    for policy in ("drop-oldest", "drop-newest"):
        came, dropped, _first, _last = results[policy]
        assert came + dropped == 300
        assert dropped > 0
    assert results["drop-oldest"][3] == 299
    assert results["drop-newest"][2] == 0


def test_file_transfer() -> None:
    """The search finds the bug, and shrinks it to the two faults that it needs."""
    printed = run("file_transfer")

    assert "fails: AssertionError: the file is now" in printed
    assert "2 of " in printed
    assert "duplicate of datagram 4 on 10.0.0.2>10.0.0.1" in printed
    assert "loss of datagram 5 on 10.0.0.2>10.0.0.1" in printed


def test_count_statsd(client: socket.socket) -> None:
    """Counters are summed over datagrams and lines; other lines don't count."""
    with serving("count_statsd", "127.0.0.1", 0, 3) as server:
        for data in (b"a:1|c\nb:2|c", b"a:10|c\nt:5|ms", b"nonsense"):
            client.sendto(data, ("127.0.0.1", server.port))
        assert [server.line(), server.line(), server.line()] == ["a 11", "b 2", ""]


def test_netflow_parquet(client: socket.socket, tmp_path: Path) -> None:
    """The records of all datagrams are in the file, in order; the rest is left out."""
    pytest.importorskip("pyarrow", reason="cannot: pyarrow: it is not installed")
    pytest.importorskip("numpy", reason="cannot: numpy: it is not installed")
    from pyarrow import parquet

    layout = struct.Struct("!IIIHHIIIIHHBBBBHHBBH")
    rows = [(n, 2, 3, 4, 5, n * 100, *range(7, 21)) for n in range(5)]
    flows = [layout.pack(*row) for row in rows]
    path = tmp_path / "flows.parquet"
    with serving("netflow_parquet", path, "127.0.0.1", 0, 3) as server:
        for part in (flows[:3], [], flows[3:]):
            header = struct.pack("!HH20x", 5 if part else 9, len(part))
            client.sendto(header + b"".join(part), ("127.0.0.1", server.port))
        assert server.line() == ""
        assert server.process.wait(PATIENCE) == 0

    table = parquet.read_table(path)
    assert table["source"].to_pylist() == [0, 1, 2, 3, 4]
    assert table["packets"].to_pylist() == [0, 100, 200, 300, 400]
    assert table["destination_port"].to_pylist() == [11] * 5
