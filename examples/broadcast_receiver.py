"""Print what is broadcast on the local network.

Argument: port. Receiving needs no option, but the endpoint must be bound to every
address: one that is bound to a single address gets no broadcasts. Ctrl-C ends it.
"""

import asyncio
import contextlib
import sys

import aioudp


async def main(port: str = "9999") -> None:
    async with aioudp.bind(("0.0.0.0", int(port))) as endpoint:
        print("listening on port", endpoint.local_addr[1], flush=True)
        async for data, addr in endpoint:
            print(f"{addr[0]} port {addr[1]}: {data!r}", flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
