"""The examples of the patterns: NATs, keep-alive, and congestion."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

from aioudp import testing

from .programs import ENVIRONMENT, EXAMPLES, PATIENCE, command, run, serving

SESSION: Final = "0123456789abcdef"


def imported(name: str) -> ModuleType:
    """Import an example, to run a part of it."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -- hole punching


def test_hole_punching_on_loopback() -> None:
    """As programs: each peer prints the text of the other, and from where."""
    with serving("hole_punching", "server", "127.0.0.1", 0) as server:
        peers = [
            subprocess.Popen(
                command(
                    "hole_punching", "peer", SESSION, text, "127.0.0.1", server.port
                ),
                stdout=subprocess.PIPE,
                text=True,
                env=ENVIRONMENT,
            )
            for text in ("from one", "from the other")
        ]
        printed = [peer.communicate(timeout=PATIENCE)[0] for peer in peers]

    assert [peer.returncode for peer in peers] == [0, 0]
    assert re.fullmatch(r"127\.0\.0\.1 port \d+: b'from the other'\n", printed[0])
    assert re.fullmatch(r"127\.0\.0\.1 port \d+: b'from one'\n", printed[1])


async def meet(
    kinds: tuple[testing.NatKind, testing.NatKind],
) -> list[tuple[bytes, str] | str]:
    """Let two peers behind NATs meet; return what each got, and from which host."""
    example = imported("hole_punching")
    net = testing.SimulatedNetwork(seed=3, loss=0.2, delay=0.03)
    server = ("198.51.100.1", 9999)

    async def peer(number: int) -> tuple[bytes, str] | str:
        private = net.nat(f"203.0.113.{number + 1}", kind=kinds[number])
        async with private.host("192.168.1.2").bind(("192.168.1.2", 5000)) as endpoint:
            try:
                found = await example.exchange(
                    endpoint, server, SESSION.encode(), b"%d" % number
                )
            except TimeoutError:
                return "timeout"
        return found.data, found.addr[0]

    async with net.bind(server) as rendezvous:
        introducing = asyncio.create_task(example.introduce(rendezvous))
        results = await asyncio.gather(peer(0), peer(1))
        introducing.cancel()
    return list(results)


@pytest.mark.parametrize(
    "kinds",
    [
        ("full-cone", "full-cone"),
        ("address-restricted", "port-restricted"),
        ("port-restricted", "port-restricted"),
        ("symmetric", "full-cone"),
        ("symmetric", "address-restricted"),
    ],
)
def test_hole_punching_through_nats(
    kinds: tuple[testing.NatKind, testing.NatKind],
) -> None:
    """Though the network loses a fifth, both get the other's text, straight from it."""
    results = testing.run(meet(kinds))

    assert results == [(b"1", "203.0.113.2"), (b"0", "203.0.113.1")]


@pytest.mark.parametrize("kind", ["port-restricted", "symmetric"])
def test_hole_punching_that_fails(kind: testing.NatKind) -> None:
    """A symmetric NAT doesn't meet one that looks at ports; the page says so."""
    assert testing.run(meet(("symmetric", kind))) == ["timeout", "timeout"]


# -- keep-alive


def test_keep_alive() -> None:
    """Only who keeps the way open gets the news, and notices the end."""
    lines = run("keep_alive").splitlines()

    assert lines[:2] == ["nothing came", "after 300 s: b'news'"]
    gone = re.fullmatch(r"after (\d+) s: it's gone", lines[2])
    assert gone is not None
    assert 400 + 60 < int(gone[1]) <= 400 + 100 + 1
    assert len(lines) == 3


# -- congestion


def test_paced_transfer() -> None:
    """All at once, nearly all is lost; paced, all arrives at the speed of the link."""
    printed = run("paced_transfer")

    found = re.fullmatch(
        r"500 sent in 0\.0 s\n(\d+) of 500 arrived\n"
        r"(\d+) sent in (\d+\.\d) s\n500 of 500 arrived\n",
        printed,
    )
    assert found is not None
    arrived, sent, seconds = int(found[1]), int(found[2]), float(found[3])
    assert arrived < 50
    assert sent < 600
    assert 500 * 1028 / 100_000 < seconds < 6.5


def test_every_example_here_is_short() -> None:
    """An example has less than 100 lines."""
    for path in Path(EXAMPLES).glob("*.py"):
        assert len(path.read_text().splitlines()) < 100, path
