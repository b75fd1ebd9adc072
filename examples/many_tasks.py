"""Answer slowly, but handle several requests at a time.

Arguments: host and port. The workers share one endpoint: each datagram goes to one of
them, first come, first served. While all are busy, the endpoint queues datagrams, up
to its ``queue_size``; after that, they wait in the kernel's buffer.
"""

import asyncio
import contextlib
import sys

import aioudp

WORKERS = 4


async def work(endpoint: aioudp.Endpoint, name: str) -> None:
    async for data, addr in endpoint:
        await asyncio.sleep(0.1)  # query a database, for example
        await endpoint.send(b"%s from %s" % (data.upper(), name.encode()), addr)


async def main(host: str = "127.0.0.1", port: str = "9999") -> None:
    async with aioudp.bind((host, int(port))) as endpoint:
        print("listening on port", endpoint.port, flush=True)
        async with asyncio.TaskGroup() as workers:
            for number in range(WORKERS):
                workers.create_task(work(endpoint, f"worker {number}"))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
