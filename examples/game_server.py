"""Send the state of a game to all players, 60 times a second.

    python game_server.py HOST PORT

A player joins with an empty datagram, and gets a ticket. The ticket, sent back, proves
that the player is at that address; without it, anybody could make the server flood a
victim. After that, each datagram of a player is a push of the ball: two signed bytes,
for x and y. A player who is silent for five seconds has left.
"""

import asyncio
import hmac
import secrets
import struct
import sys

import aioudp

TICKS = 60  # a second
MOST_PLAYERS = 1000
PATIENCE = 5.0  # seconds

PUSH = struct.Struct("!bb")
STATE = struct.Struct("!IHii")  # the tick, the players, and the ball's position


class Game:
    """Where the ball is, and who plays."""

    def __init__(self) -> None:
        self.secret = secrets.token_bytes(32)
        self.tick = self.x = self.y = 0
        self.players: dict[aioudp.Address, float] = {}  # when each was last heard

    def receive(self, data: bytes, addr: aioudp.Address) -> bytes | None:
        """Take what a player, or anybody, has sent."""
        now = asyncio.get_running_loop().time()
        if addr in self.players:
            self.players[addr] = now
            if len(data) == PUSH.size:
                x, y = PUSH.unpack(data)
                self.x += x
                self.y += y
            return None
        # No longer than 8 bytes, so a forged sender gets hardly more than was sent.
        ticket = hmac.digest(self.secret, repr(addr).encode(), "sha256")[:8]
        if not hmac.compare_digest(data, ticket):
            return None if data else ticket
        if len(self.players) < MOST_PLAYERS:
            self.players[addr] = now
        return None

    def state(self) -> bytes:
        """Return what all players get."""
        return STATE.pack(self.tick, len(self.players), self.x, self.y)

    def forget_silent_players(self, now: float) -> None:
        """Remove those who have left."""
        for addr, heard in list(self.players.items()):
            if now - heard > PATIENCE:
                del self.players[addr]


async def play(game: Game, endpoint: aioudp.Endpoint) -> None:
    """Send a state at each tick. After a delay, the missed ticks follow at once."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    while True:
        game.tick += 1
        await asyncio.sleep(start + game.tick / TICKS - loop.time())
        try:
            await endpoint.send_to_all(game.state(), [*game.players])
        except aioudp.SendManyError as error:
            print("not sent to", len(error.errors), flush=True)
        except aioudp.EndpointClosedError:
            return
        if game.tick % TICKS == 0:
            game.forget_silent_players(loop.time())
            print("tick", game.tick, "players", len(game.players), flush=True)


async def main(host: str, port: str) -> None:
    game = Game()
    endpoint = await aioudp.bind((host, int(port)))
    print("listening on port", endpoint.port, flush=True)
    async with aioudp.serve(game.receive, endpoint) as server:
        playing = asyncio.create_task(play(game, endpoint))
        await server.serve_forever()
        playing.cancel()


if __name__ == "__main__":
    aioudp.run(main(*sys.argv[1:]))
