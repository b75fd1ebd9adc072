"""Show the routers on the path to a host. Linux only.

Arguments: the host, and the maximum number of hops. Every router decrements a
datagram's hop limit; the one that reaches 0 drops the datagram and reports it.
"""

import asyncio
import socket
import sys
import time

import aioudp

PORT = 33434  # the first of traceroute's usual ports, on which nobody listens


async def probe(
    endpoint: aioudp.Endpoint, host: str, hops: int, *, patience: float = 1.0
) -> aioudp.NetworkError | None:
    """Return the error from the router that dropped the datagram, if any comes.

    Waits up to *patience* seconds.
    """
    # Each probe has its own port, which identifies late errors about earlier ones.
    # The payload can't do that, because routers don't have to return any of it.
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
