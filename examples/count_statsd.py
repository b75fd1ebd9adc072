"""Count statsd counters from batches, without an object for each datagram.

    python examples/count_statsd.py [HOST [PORT [DATAGRAMS]]]

The payloads of a batch are one block of memory, and the offsets show where each begins.
"""

import asyncio
import sys
from collections import Counter
from itertools import pairwise

import aioudp


def count(batch: aioudp.DatagramBatch, sums: Counter[str]) -> None:
    """Add the lines "name:value|c" of a batch."""
    data, offsets = bytes(batch.data), batch.offsets.tolist()
    for begin, end in pairwise(offsets):
        for line in data[begin:end].splitlines():
            name, _, rest = line.partition(b":")
            value, _, kind = rest.partition(b"|")
            if kind == b"c" and value.isdigit():
                sums[name.decode(errors="replace")] += int(value)


async def main(host: str = "127.0.0.1", port: str = "8125", wanted: str = "0") -> None:
    sums = Counter[str]()
    batch: aioudp.DatagramBatch | None = None
    received = 0
    async with aioudp.bind((host, int(port))) as endpoint:
        print("listening on port", endpoint.port, flush=True)
        async with aioudp.until_signal(call=endpoint.drain):
            while not int(wanted) or received < int(wanted):
                try:
                    batch = await endpoint.recv_batch(into=batch)
                except aioudp.EndpointClosedError:
                    break
                received += len(batch)
                count(batch, sums)
    for name, total in sorted(sums.items()):
        print(name, total)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
