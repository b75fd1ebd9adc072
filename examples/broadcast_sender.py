"""Send one datagram to every machine on the local networks.

Arguments: port, text, and the interfaces to use (default: all). Prints, for each
interface, the datagram's destination and whether it was sent.
"""

import asyncio
import sys

import aioudp


async def main(
    port: str = "9999", text: str = "hello, everybody", *interfaces: str
) -> None:
    async with aioudp.open_broadcast(0, interfaces=interfaces or None) as endpoint:
        for outcome in await endpoint.send(text.encode(), int(port)):
            result = "sent" if outcome.sent else f"not sent: {outcome.error}"
            print(f"{outcome.interface}, to {outcome.addr[0]}: {result}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
