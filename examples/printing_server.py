"""Print each datagram with its sender.

Arguments: host and port. The default host, an empty string, means every address of
this machine, IPv4 and IPv6. Press Ctrl-C to stop.
"""

import asyncio
import contextlib
import sys

import aioudp


async def main(host: str = "", port: str = "9999") -> None:
    async with aioudp.bind((host, int(port))) as endpoint:
        print("listening on port", endpoint.port, flush=True)
        async for data, addr in endpoint:
            # repr, because payloads may contain line breaks and control sequences.
            print(f"{addr[0]} port {addr[1]}: {data!r}", flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
