"""Ask a time server how far this machine's clock is off (RFC 5905).

    python ntp_client.py HOST [PORT]

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


def cookie(packet: bytes) -> int:
    """Return the number that a request carries in one field, its answer in another."""
    first, *_, origin, _, transmit = PACKET.unpack_from(packet)
    return int(origin if first & 7 == SERVER else transmit)


async def ask(client: aioudp.Client, timeout: float) -> tuple[float, float]:  # noqa: ASYNC109
    """Return the clock's offset from the server's and the round-trip delay, in
    seconds.
    """
    # A random number instead of our time: nobody else can guess it and answer.
    request = PACKET.pack(CLIENT, *[0] * 9, secrets.randbits(64))
    sent = time.time()
    # A repeated request would blur the measurement, so each one is sent once.
    answer = await client.request(request, timeout=timeout, retries=0)
    received = time.time()
    first, stratum, *_, arrived, left = PACKET.unpack_from(answer.data)
    if first & 7 != SERVER or not 0 < stratum < 16:
        raise SystemExit("the server does not know the time")
    there, back = seconds(arrived) - sent, seconds(left) - received
    return (there + back) / 2, there - back


async def main(host: str, port: str = "123") -> None:
    async with aioudp.open_client((host, int(port)), key=cookie) as client:
        for attempt in range(3):
            try:
                offset, delay = await ask(client, 1 + attempt)
            except OSError:  # nobody listens, or no answer came in time
                continue
            print(f"offset {offset:+.6f} s, delay {delay:.6f} s")
            return
    raise SystemExit(f"no answer from {host}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
