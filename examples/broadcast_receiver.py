"""Print broadcasts received on the local networks.

Argument: port. You can run several of these on one machine. Press Ctrl-C to stop.
"""

import asyncio
import contextlib
import sys

import aioudp


async def main(port: str = "9999") -> None:
    async with aioudp.open_broadcast(int(port)) as endpoint:
        print("listening on port", endpoint.port, flush=True)
        async for data, addr in endpoint:
            print(f"{addr[0]} port {addr[1]}: {data!r}", flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
