"""Send every datagram back to its sender."""

import asyncio
import sys

import aioudp


async def main(host: str = "127.0.0.1", port: str = "9999") -> None:
    async with aioudp.bind((host, int(port))) as endpoint:
        print("listening on port", endpoint.port, flush=True)
        async for data, addr in endpoint:
            await endpoint.send(data, addr)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
