"""Answer from the address that was asked, on a machine that has several.

    python multihomed_echo_server.py [PORT]

An endpoint on every address would otherwise answer from the one that the routes
prefer, and who asked another takes the answer for somebody else's.
"""

import asyncio
import sys

import aioudp


async def main(port: str = "9999") -> None:
    async with aioudp.bind(("", int(port)), packet_info=True) as endpoint:
        print("listening on port", endpoint.local_addr[1], flush=True)
        async for message in endpoint.messages():
            print(message.addr, "asked", message.local_addr, flush=True)
            await endpoint.reply(message, message.data)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
