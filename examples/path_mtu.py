"""Find how long a datagram may be that reaches a host in one piece. Linux only.

Arguments: host and port. A router that cannot pass a datagram on says how long it may
be, and the kernel remembers that for the next one.
"""

import asyncio
import socket
import sys

import aioudp

HEADERS = {socket.AF_INET: 20 + 8, socket.AF_INET6: 40 + 8}  # bytes of IP and UDP


async def next_error(endpoint: aioudp.Endpoint) -> aioudp.NetworkError | None:
    """Return what the network says within a second."""
    try:
        async with asyncio.timeout(1):
            return await endpoint.recv_error()
    except TimeoutError:
        return None


async def main(host: str = "127.0.0.1", port: str = "9") -> None:
    async with aioudp.connect(
        (host, int(port)), dont_fragment=True, icmp_errors=True
    ) as endpoint:
        headers = HEADERS[socket.AddressFamily(endpoint.family)]
        while mtu := endpoint.mtu():
            await endpoint.send(bytes(mtu - headers))
            print(f"sent: {mtu} bytes with headers, {mtu - headers} without")
            error = await next_error(endpoint)
            if error is None:
                print("nobody objects")  # which is no proof that it has arrived
                return
            if error.mtu is None:
                print(f"{error.offender}: {error.error.strerror}")
                return
            print(f"{error.offender}: too long, at most {error.mtu} bytes")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
