"""Answer each request from the address it was sent to, on a multihomed machine.

    python multihomed_echo_server.py [PORT]

Otherwise, an endpoint bound to all addresses answers from the one that the routing
table prefers, and a client that sent to another address ignores the answer.
"""

import asyncio
import sys

import aioudp


async def main(port: str = "9999") -> None:
    async with aioudp.bind(("", int(port)), packet_info=True) as endpoint:
        print("listening on port", endpoint.port, flush=True)
        async for message in endpoint.messages():
            print(message.addr, "asked", message.local_addr, flush=True)
            await endpoint.reply(message, message.data)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
