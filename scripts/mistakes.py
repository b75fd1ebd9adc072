"""Make ten mistakes, and write down what Python says about each of them.

    python scripts/mistakes.py            print the table
    python scripts/mistakes.py --write    put it into the documentation

Each mistake is a program that runs. So is what to write instead, which must end without
an error. The documentation shows the port 9999; the programs use a free one.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "reference" / "_mistakes.md"

_SHOWN_PORT: Final = "9999"
_PATIENCE: Final = 15  # seconds

# What the lines are part of: *endpoint* is open, and a socket has the port 9999.
_INSIDE: Final = """\
import asyncio

import aioudp

addr = ("127.0.0.1", 9999)


async def main():
    async with aioudp.bind(addr), aioudp.bind() as endpoint:
{}

asyncio.run(main())
"""

# Where the lines start the event loop themselves.
_OUTSIDE: Final = """\
import asyncio

import aioudp


async def open_one():
    return await aioudp.bind(("127.0.0.1", 9999))


async def receive(endpoint):
    async with asyncio.timeout(0.05):
        await endpoint.recv()


async def main():
    async with aioudp.bind(("127.0.0.1", 9999)) as endpoint:
        try:
            await receive(endpoint)
        except TimeoutError:
            pass


{}
"""


@dataclass(frozen=True)
class Mistake:
    """A mistake, and what to write instead."""

    name: str
    wrong: str
    right: str
    frame: str = _INSIDE


MISTAKES: Final = (
    Mistake(
        "a host name in `send`",
        'await endpoint.send(b"hello", ("localhost", 9999))',
        'peer = await aioudp.resolve("localhost", 9999)\n'
        'await endpoint.send(b"hello", peer)',
    ),
    Mistake(
        "text instead of bytes",
        'await endpoint.send("hello", addr)',
        'await endpoint.send("hello".encode(), addr)',
    ),
    Mistake(
        "a port that is text",
        'await endpoint.send(b"hello", ("127.0.0.1", "9999"))',
        'await endpoint.send(b"hello", ("127.0.0.1", int("9999")))',
    ),
    Mistake(
        "a port that is in use",
        'server = await aioudp.bind(("127.0.0.1", 9999))',
        'server = await aioudp.bind(("127.0.0.1", 0))',
    ),
    Mistake(
        "a datagram that is too large",
        "await endpoint.send(bytes(70_000), addr)",
        "await endpoint.send(bytes(70_000), addr, segment_size=1200)",
    ),
    Mistake(
        "a broadcast without permission",
        'await endpoint.send(b"hello", ("127.255.255.255", 9999))',
        "async with aioudp.bind(broadcast=True) as sender:\n"
        '    await sender.send(b"hello", ("127.255.255.255", 9999))',
    ),
    Mistake(
        "using a closed endpoint",
        "async with aioudp.connect(addr) as client:\n"
        '    await client.send(b"hello")\n'
        'await client.send(b"again")',
        "async with aioudp.connect(addr) as client:\n"
        '    await client.send(b"hello")\n'
        '    await client.send(b"again")',
    ),
    Mistake(
        "using an endpoint in another event loop",
        "endpoint = asyncio.run(open_one())\nasyncio.run(receive(endpoint))",
        "asyncio.run(main())  # opens and receives",
        _OUTSIDE,
    ),
    Mistake(
        "opening without `await`",
        'client = aioudp.connect(addr)\nawait client.send(b"hello")',
        'client = await aioudp.connect(addr)\nawait client.send(b"hello")',
    ),
    Mistake(
        "sending without `await`",
        'endpoint.send(b"hello", addr)',
        'await endpoint.send(b"hello", addr)',
    ),
    Mistake(
        "an option that is misspelt",
        "server = await aioudp.bind(queue_sise=100)",
        "server = await aioudp.bind(queue_size=100)",
    ),
)


def run(lines: str, frame: str) -> tuple[int, str]:
    """Run *lines* in their frame; return the exit status and what they say."""
    indent = " " * 8 if frame is _INSIDE else ""
    port = _free_port()
    program = frame.format(textwrap.indent(lines, indent))
    done = subprocess.run(
        [sys.executable, "-c", program.replace(_SHOWN_PORT, port)],
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONASYNCIODEBUG": ""},
        check=False,
    )
    said = done.stderr.replace(port, _SHOWN_PORT)
    return done.returncode, "" if not said else message(said)


def message(text: str) -> str:
    """Return the error or the warning that a traceback ends with."""
    found = re.findall(
        r"^(?:\S+:\d+: )?([\w.]*(?:Error|Warning): .*)$", text, flags=re.M
    )
    said = [line for line in found if "tracemalloc" not in line]
    if not said:
        raise ValueError(f"nobody knows what this says: {text}")
    return str(said[-1]).removeprefix("aioudp._errors.")


def table() -> str:
    """Run everything and return the table.

    Raises:
        ValueError: If a mistake goes unnoticed, or what is right fails.
    """
    lines = ["| mistake | Python says, and what to write instead |", "|---|---|"]
    for one in MISTAKES:
        _, said = run(one.wrong, one.frame)
        if not said:
            raise ValueError(f"nothing happens: {one.wrong}")
        if any(answer := run(one.right, one.frame)):
            raise ValueError(f"this fails: {one.right}: {answer}")
        mistake = f"**{one.name}**<br>{_code(one.wrong)}"
        lines.append(f"| {mistake} | {_code(said)}<br>Instead:<br>{_code(one.right)} |")
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    """Return each line as code, for a cell of a table; keep its indentation."""
    lines = []
    for line in text.splitlines():
        bare = line.lstrip(" ")
        lines.append("&emsp;" * ((len(line) - len(bare)) // 4) + f"`{bare}`")
    return "<br>".join(lines)


def _free_port() -> str:
    """Return a free port of five digits, which nothing else in a message looks like."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            port = str(sock.getsockname()[1])
        if len(port) == 5 and port not in ("65507", "70000"):
            return port


def page() -> str:
    """Return the file of the documentation."""
    return f"<!-- Made by: python scripts/mistakes.py --write -->\n\n{table()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    if parser.parse_args().write:
        PAGE.write_text(page())
    else:
        print(page(), end="")


if __name__ == "__main__":
    main()
