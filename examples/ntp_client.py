"""Ask a time server how far this machine's clock is off (RFC 5905).

    python ntp_client.py HOST [PORT]

The kernel timestamps the answer, so it doesn't matter how busy the program is.
Datagrams that don't answer the request are ignored until the timeout.
"""

import asyncio
import secrets
import struct
import sys
import time

import aioudp

# Leap, version and mode; stratum, poll, precision; root delay and dispersion,
# reference; then four timestamps: reference, origin, receive, transmit.
PACKET = struct.Struct("!4B 3I 4Q")
CLIENT = 4 << 3 | 3  # version 4, mode 3
SERVER = 4

EPOCH = 2_208_988_800  # seconds from 1900, when NTP's time begins, to 1970


def seconds(timestamp: int) -> float:
    """Convert an NTP timestamp from 1968 to 2104 to seconds since the epoch."""
    if timestamp >> 63 == 0:  # the era that begins in 2036
        timestamp += 1 << 64
    return timestamp / 2**32 - EPOCH


async def ask(endpoint: aioudp.Endpoint) -> tuple[float, float]:
    """Return the clock's offset from the server's and the round-trip delay, in
    seconds.
    """
    # A random number instead of our time: nobody else can guess it and answer.
    cookie = secrets.randbits(64)
    sent = time.time()
    await endpoint.send(PACKET.pack(CLIENT, *[0] * 9, cookie))
    async for message in endpoint.messages():
        if len(message.data) < PACKET.size:
            continue
        first, stratum, *_, origin, arrived, left = PACKET.unpack_from(message.data)
        if first & 7 != SERVER or origin != cookie:
            continue
        if not 0 < stratum < 16:
            raise SystemExit("the server does not know the time")
        received = message.timestamp or time.time()
        there, back = seconds(arrived) - sent, seconds(left) - received
        return (there + back) / 2, there - back
    raise AssertionError("the iteration ends only when the endpoint is closed")


async def main(host: str, port: str = "123") -> None:
    async with aioudp.connect((host, int(port)), packet_info=True) as endpoint:
        for attempt in range(3):
            try:
                async with asyncio.timeout(1 + attempt):
                    offset, delay = await ask(endpoint)
            except OSError:  # nobody listens, or no answer came in time
                continue
            print(f"offset {offset:+.6f} s, delay {delay:.6f} s")
            return
    raise SystemExit(f"no answer from {host}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
