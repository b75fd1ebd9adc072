"""Show the routers on the way to a host. Linux only.

Arguments: the host, and how many hops to try. Every router counts the hop limit of a
datagram down; the one that gets to 0 throws the datagram away, and says so.
"""

import asyncio
import socket
import sys
import time

import aioudp

PORT = 33434  # and those after it: where nobody listens, by an old custom


async def probe(
    endpoint: aioudp.Endpoint, host: str, hops: int, *, patience: float = 1.0
) -> aioudp.NetworkError | None:
    """Return who threw the datagram away; wait at most *patience* seconds."""
    # A port for each, by which a late error of an earlier one is recognised: of what
    # was in the datagram, a router need not send anything back.
    await endpoint.send(b"", (host, PORT + hops), hop_limit=hops)
    try:
        async with asyncio.timeout(patience):
            async for error in endpoint.errors():
                if error.addr[1] == PORT + hops:
                    return error
    except TimeoutError:
        pass
    return None


async def main(host: str = "127.0.0.1", most: str = "30") -> None:
    addr = await aioudp.resolve(host, PORT)
    family = socket.AF_INET if len(addr) == 2 else socket.AF_INET6
    async with aioudp.bind(family=family, icmp_errors=True) as endpoint:
        for hops in range(1, int(most) + 1):
            began = time.perf_counter()
            error = await probe(endpoint, str(addr[0]), hops)
            took = 1000 * (time.perf_counter() - began)
            if error is None:
                print(f"{hops:2} *", flush=True)
                continue
            print(f"{hops:2} {error.offender}, {took:.1f} ms", flush=True)
            if isinstance(error.error, ConnectionRefusedError):
                print("there")
                return
            used_up = 11 if family == socket.AF_INET else 3  # RFC 792, RFC 4443
            if error.icmp_type != used_up:
                print(f"no further: {error.error.strerror}")
                return


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
