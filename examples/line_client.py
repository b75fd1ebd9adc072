"""Send each line of standard input as a datagram.

Arguments: host and port. Stops at the end of the input (Ctrl-D in a terminal). A
thread reads the lines, so the event loop stays free for the rest of the program.
"""

import asyncio
import sys

import aioudp


async def main(host: str = "127.0.0.1", port: str = "9999") -> None:
    async with aioudp.connect((host, int(port))) as endpoint:
        while line := await asyncio.to_thread(sys.stdin.readline):
            await endpoint.send(line.rstrip("\n").encode())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
