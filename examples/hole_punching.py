"""Connect two peers that are behind NATs, with the help of a server that both reach.

    python hole_punching.py server [HOST PORT]
    python hole_punching.py peer SESSION TEXT [HOST PORT]

Start the peer on two machines with the same SESSION, a secret of 16 bytes or more.
Each prints the other's address and text, which come straight from the other peer.
"""

import asyncio
import sys
from contextlib import suppress

import aioudp

INTERVAL = 0.2  # seconds between two datagrams to one destination
PATIENCE = 30.0  # seconds
SESSIONS = 10_000  # at most, of the server
MINE, HEARD = b"\0", b"\1"  # "this is my text", "and I've got yours"


async def introduce(endpoint: aioudp.Endpoint) -> None:
    """Send the two peers of each session the address of the other."""
    sessions: dict[bytes, list[aioudp.Address]] = {}
    async for session, addr in endpoint:
        if not 16 <= len(session) <= 64:
            continue
        peers = sessions.pop(session, [])
        if addr not in peers:
            peers = [*peers, addr][-2:]
        sessions[session] = peers  # now the newest
        if len(sessions) > SESSIONS:
            del sessions[next(iter(sessions))]
        if len(peers) == 2:
            for peer, other in (peers, peers[::-1]):
                with suppress(OSError):
                    await endpoint.send(f"{other[0]} {other[1]}".encode(), peer)


async def exchange(
    endpoint: aioudp.Endpoint, server: aioudp.Address, session: bytes, text: bytes
) -> aioudp.Datagram | None:
    """Return the other peer's text and address, once it has got ours."""
    other: aioudp.Address | None = None
    found: aioudp.Datagram | None = None

    async def knock() -> None:
        """Send to the peer, which makes our own NAT let in what the peer sends."""
        while True:
            with suppress(OSError):
                if other is None:
                    await endpoint.send(session, server)
                else:
                    mark = HEARD if found else MINE
                    await endpoint.send(mark + session + text, other)
            await asyncio.sleep(INTERVAL)

    knocking = asyncio.create_task(knock())
    try:
        async with asyncio.timeout(PATIENCE):
            async for data, addr in endpoint:
                if addr == server:
                    host, port = data.decode().split()
                    other = other or (host, int(port))
                elif data[1:].startswith(session):
                    # The peer's NAT may show us another port than it shows the server.
                    other = addr
                    found = aioudp.Datagram(data[1 + len(session) :], addr)
                    if data[:1] == HEARD:
                        break
        await asyncio.sleep(3 * INTERVAL)  # our last datagram may get lost: repeat it
    finally:
        knocking.cancel()
    return found


async def serve(host: str = "", port: str = "9999") -> None:
    async with aioudp.bind((host, int(port))) as endpoint:
        print("listening on port", endpoint.port, flush=True)
        await introduce(endpoint)


async def meet(
    session: str, text: str, host: str = "127.0.0.1", port: str = "9999"
) -> None:
    server = await aioudp.resolve(host, int(port))
    async with aioudp.bind() as endpoint:
        found = await exchange(endpoint, server, session.encode(), text.encode())
    if found:
        print(f"{found.addr[0]} port {found.addr[1]}: {found.data!r}")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        if sys.argv[1] == "server":
            asyncio.run(serve(*sys.argv[2:]))
        else:
            asyncio.run(meet(*sys.argv[2:]))
