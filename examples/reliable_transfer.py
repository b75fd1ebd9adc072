"""Copy a file over a bad network: each block is sent until it's acknowledged.

    python reliable_transfer.py receive DIRECTORY HOST PORT
    python reliable_transfer.py send FILE HOST PORT [TIMEOUT]

The receiver stores each file under a random name, which the sender chooses. Blocks may
come in any order, and twice. The last request carries the file's length and hash; its
answer reports whether the copy is complete.
"""

import asyncio
import hashlib
import secrets
import struct
import sys
from pathlib import Path

import aioudp

HEADER = struct.Struct("!8sI")  # the file's name, the block's number
BLOCK = 1200  # bytes, which fit every network
WINDOW = 32  # blocks in flight
LAST = 2**32 - 1  # the number of the request that ends the transfer
END = struct.Struct("!Q32s")  # the file's length, its SHA-256
MOST_BLOCKS = 1_000_000


def key(packet: bytes) -> bytes:
    """Return what a request and its answer have in common."""
    if len(packet) < HEADER.size:
        raise ValueError("no header")
    return packet[: HEADER.size]


async def send(path: str, host: str, port: str, timeout: str = "1") -> None:  # noqa: ASYNC109
    data = await asyncio.to_thread(Path(path).read_bytes)
    name = secrets.token_bytes(8)
    async with aioudp.open_client(
        (host, int(port)), key=key, timeout=float(timeout), retries=12, backoff=1.3
    ) as client:
        numbers = iter(range(-(-len(data) // BLOCK)))

        async def send_blocks() -> None:
            for number in numbers:  # which all of these tasks share
                block = data[number * BLOCK : (number + 1) * BLOCK]
                await client.request(HEADER.pack(name, number) + block)

        async with asyncio.TaskGroup() as group:
            for _ in range(WINDOW):
                group.create_task(send_blocks())
        end = END.pack(len(data), hashlib.sha256(data).digest())
        answer = await client.request(HEADER.pack(name, LAST) + end)
        if answer.data != HEADER.pack(name, LAST) + b"complete":
            raise SystemExit("the copy is damaged")
        print(name.hex(), "sent again:", client.stats().retransmitted)


class Receiver:
    """Writes blocks to files."""

    def __init__(self, directory: str) -> None:
        self.directory = Path(directory)

    def receive(self, packet: bytes, addr: aioudp.Address) -> bytes | None:
        """Write a block, and return the acknowledgement."""
        header, rest = key(packet), packet[HEADER.size :]
        name, number = HEADER.unpack(header)
        path = self.directory / name.hex()
        path.touch()
        if number == LAST:
            length, digest = END.unpack(rest)
            copy = path.read_bytes()
            same = len(copy) == length and hashlib.sha256(copy).digest() == digest
            return header + (b"complete" if same else b"damaged")
        if number >= MOST_BLOCKS or len(rest) > BLOCK:
            return None
        with path.open("r+b") as file:
            file.seek(number * BLOCK)
            file.write(rest)
        return header


async def receive(directory: str, host: str, port: str) -> None:
    receiver = Receiver(directory)
    async with aioudp.serve(receiver.receive, (host, int(port))) as server:
        print("listening on port", server.port, flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    _, command, *arguments = sys.argv
    aioudp.run(send(*arguments) if command == "send" else receive(*arguments))
