"""Send one datagram and wait up to one second for the answer."""

import asyncio
import sys

import aioudp


async def main(
    host: str = "127.0.0.1", port: str = "9999", text: str = "hello"
) -> None:
    async with aioudp.connect((host, int(port))) as endpoint:
        await endpoint.send(text.encode())
        async with asyncio.timeout(1):
            data, addr = await endpoint.recv()
        print(data, "from", addr)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
