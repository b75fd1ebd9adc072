"""Find the longest datagram that reaches a host without fragmentation. Linux only.

Arguments: host and port. A router that can't forward a datagram because of its length
reports the maximum, and the kernel remembers it for the next datagram.
"""

import asyncio
import socket
import sys

import aioudp

HEADERS = {socket.AF_INET: 20 + 8, socket.AF_INET6: 40 + 8}  # bytes of IP and UDP


async def next_error(endpoint: aioudp.Endpoint) -> aioudp.NetworkError | None:
    """Return an error that the network reports within one second."""
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
                print("nobody objects")  # this doesn't prove that it arrived
                return
            if error.mtu is None:
                print(f"{error.offender}: {error.error.strerror}")
                return
            print(f"{error.offender}: too long, at most {error.mtu} bytes")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
