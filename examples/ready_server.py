"""A service for systemd: its socket may be systemd's, and it reports its state.

    python ready_server.py HOST PORT

If a socket unit has opened the port, the server uses that socket; otherwise, it opens
HOST and PORT itself. In the service unit, ``Type=notify`` makes systemd wait for the
report before it starts what depends on this service (sd_notify(3)). Without systemd,
nothing is reported. SIGTERM lets the server finish what has arrived.
"""

import os
import sys

import aioudp


async def notify(state: str) -> None:
    """Send a state to the service manager, if there is one."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    if path.startswith("@"):  # a name that isn't in the file system (unix(7))
        path = "\0" + path[1:]
    async with aioudp.connect(path) as manager:
        await manager.send(state.encode())


def shout(message: aioudp.Message) -> bytes:
    return message.data.upper()


async def main(host: str, port: str) -> None:
    async with aioudp.until_signal() as stopping:  # a signal that comes early counts
        # With packet_info, a reply leaves from the address that was asked.
        if inherited := aioudp.inherited_sockets():
            endpoint = await aioudp.adopt(inherited[0].sock, packet_info=True)
        else:
            endpoint = await aioudp.bind((host, int(port)), packet_info=True)
        async with aioudp.serve(shout, endpoint) as server:
            print("listening on port", endpoint.port, flush=True)
            await notify("READY=1")
            await stopping.wait()
            await notify("STOPPING=1")
            await server.drain(10)


if __name__ == "__main__":
    aioudp.run(main(*sys.argv[1:]))
