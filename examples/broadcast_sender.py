"""Send one datagram to every machine of the local network.

Arguments: broadcast address, port and text. The default address is that of the
network this machine is in, whatever its number. Only IPv4 has broadcast; without
``broadcast=True`` the system refuses to send to such an address.
"""

import asyncio
import socket
import sys

import aioudp


async def main(
    host: str = "255.255.255.255", port: str = "9999", text: str = "hello, everybody"
) -> None:
    async with aioudp.bind(family=socket.AF_INET, broadcast=True) as endpoint:
        await endpoint.send(text.encode(), (host, int(port)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
