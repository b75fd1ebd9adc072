"""A front: receive statsd lines over UDP, and publish them to NATS JetStream.

Run as many as you like, on as many machines:

    python examples/statsd_front.py nats://127.0.0.1:4222 8125
"""

import asyncio
import sys

import aioudp


async def main(url: str, port: int) -> None:
    async with (
        aioudp.bind(("", port)) as endpoint,
        # SIGTERM drains: whatever was received by then is stored before this ends.
        aioudp.until_signal(call=endpoint.drain),
    ):
        print(f"listening on port {endpoint.port}", flush=True)
        stats = await aioudp.forward(endpoint, url, stream="statsd")
        print(f"{stats.acknowledged} of {stats.received} acknowledged", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
