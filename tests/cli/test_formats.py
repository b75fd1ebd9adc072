"""What is shown of a datagram is safe to show, and nothing of it is lost."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aioudp import Datagram, Stats
from aioudp.cli.escaping import escape
from aioudp.cli.formats import Format, hex_dump, json_line, show, summary

PEER = ("192.0.2.1", 5000)

payloads = (
    st.binary(max_size=80)
    | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.text("\\xu\x1b\x7f\x85\n\u202e0a", max_size=20).map(str.encode)
)
paths = st.text(max_size=20).map(lambda text: "/" + text.replace("\0", ""))


def unescape(text: str) -> bytes:
    """Undo :func:`escape`, from its description."""

    def decode(match: re.Match[str]) -> bytes:
        token = match[0]
        if token in (r"\\", r"\n", r"\r", r"\t"):
            return {"\\": b"\\", "n": b"\n", "r": b"\r", "t": b"\t"}[token[1]]
        if token.startswith(r"\x"):
            return bytes([int(token[2:], 16)])
        if len(token) > 1:
            return chr(int(token[2:], 16)).encode()
        return token.encode()

    pattern = r"\\x..|\\u....|\\U.{8}|\\[\\nrt]|[^\\]"
    assert re.sub(pattern, "", text) == ""  # there is nothing else in it
    return b"".join(map(decode, re.finditer(pattern, text)))


PEER_AS_JSON = '"addr": "192.0.2.1:5000", "host": "192.0.2.1", "port": 5000, '


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"hello", "hello"),
        (b"", ""),
        ("dünn 🚀".encode(), "dünn 🚀"),
        (b"a\nb\r\tc", r"a\nb\r\tc"),
        (b"\x1b[2J\x00\x7f", r"\x1b[2J\x00\x7f"),
        (rb"\n", r"\\n"),
        (b"\xff\x80", r"\xff\x80"),
        ("\x85\u2028\u202e".encode(), r"\u0085\u2028\u202e"),
        ("\U000e0001".encode(), r"\U000e0001"),
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),
    ],
)
def test_escape(data: bytes, shown: str) -> None:
    """Printable text stays as it is; each of the rest has its own escape."""
    assert escape(data) == shown


@given(payloads)
@settings(deadline=None)
def test_escaped_text_is_printable_and_shows_every_byte(data: bytes) -> None:
    """No control character comes out, and different payloads look different."""
    text = escape(data)

    assert text.isprintable()
    assert unescape(text) == data


@given(payloads)
@settings(deadline=None)
def test_hex_dump_is_printable_and_shows_every_byte(data: bytes) -> None:
    """The digits of a dump are the payload; the rest of it is printable ASCII."""
    lines = list(hex_dump(data))

    assert all(line.isascii() and line.isprintable() for line in lines)
    assert bytes.fromhex("".join(line[6:54] for line in lines)) == data
    assert [int(line[:4], 16) for line in lines] == list(range(0, len(data), 16))


def test_hex_dump_columns() -> None:
    """A short last line keeps its ASCII in the column of the others."""
    assert list(hex_dump(b"0123456789abcdef\x00~")) == [
        "0000  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  |0123456789abcdef|",
        "0010  00 7e                                            |.~|",
    ]


@given(payloads, st.just(PEER) | paths, st.floats(0, 2**32))
@example(b"\x7f", PEER, 0.0)
@settings(deadline=None)
def test_json_line_is_one_line_and_has_everything(
    data: bytes, addr: Any, time: float
) -> None:
    """A JSON line is printable ASCII, and holds time, sender and payload."""
    line = json_line(Datagram(data, addr), time)
    entry = json.loads(line)

    assert line.isascii()
    assert line.isprintable()
    assert entry["time"] == pytest.approx(time, abs=1e-6)
    assert entry["addr"] == (f"unix:{addr}" if addr != PEER else "192.0.2.1:5000")
    assert entry["size"] == len(data)
    if "hex" in entry:
        assert bytes.fromhex(entry["hex"]) == data
        with pytest.raises(UnicodeDecodeError):
            data.decode()
    else:
        assert entry["data"].encode() == data


@given(payloads, paths)
@settings(deadline=None)
def test_a_hostile_sender_address_is_shown_safely(data: bytes, path: str) -> None:
    """The path of a UNIX socket is chosen by its owner: it is escaped as well."""
    addr: Any = path
    for form in set(Format) - {Format.RAW}:
        shown = show(Datagram(data, addr), form, 0.0)

        assert all(line.isprintable() for line in shown.split("\n"))
        assert "\n" not in shown or form is Format.HEX


@pytest.mark.parametrize(
    ("form", "data", "shown"),
    [
        (Format.TEXT, b"hi\n", r"192.0.2.1:5000 hi\n"),
        (Format.HEX, b"", "192.0.2.1:5000 0 bytes"),
        (Format.HEX, b"!", f"192.0.2.1:5000 1 byte\n0000  21 {'':45} |!|"),
        (
            Format.JSON,
            b"hi",
            '{"time": 1.5, ' + PEER_AS_JSON + '"size": 2, "data": "hi"}',
        ),
        (
            Format.JSON,
            b"\xff",
            '{"time": 1.5, ' + PEER_AS_JSON + '"size": 1, "hex": "ff"}',
        ),
    ],
)
def test_show(form: Format, data: bytes, shown: str) -> None:
    """Each format shows who sent what."""
    assert show(Datagram(data, PEER), form, 1.5) == shown


def test_summary_counts_every_loss_and_every_error() -> None:
    """What was dropped, and what failed, is the sum of its kinds."""
    stats = Stats(
        received=1,
        received_bytes=2,
        sent=3,
        sent_bytes=4,
        dropped_queue=10,
        dropped_kernel=20,
        dropped_kernel_max=20,
        truncated=40,
        send_errors=100,
        receive_errors=200,
    )

    assert summary(stats, unanswered=400) == (
        "received 1 (2 bytes), sent 3 (4 bytes), dropped 70, errors 700"
    )


def test_summary_leaves_open_what_the_kernel_does() -> None:
    """Dropped trains make it a range."""
    stats = Stats(dropped_queue=1, dropped_kernel=2, dropped_kernel_max=256)

    assert "dropped 3 to 257, errors 0" in summary(stats)
