"""Report to systemd when the server is ready, and when it stops (sd_notify(3)).

    python ready_server.py HOST PORT

In the unit, ``Type=notify`` makes systemd wait for the report before it starts what
depends on this service. Without systemd, nothing is reported.
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


def shout(data: bytes, addr: aioudp.Address) -> bytes:
    return data.upper()


async def main(host: str, port: str) -> None:
    async with (
        aioudp.serve(shout, (host, int(port))) as server,
        aioudp.until_signal() as stopping,
    ):
        print("listening on port", server.port, flush=True)
        await notify("READY=1")
        await stopping.wait()
        await notify("STOPPING=1")
        await server.drain(10)


if __name__ == "__main__":
    aioudp.run(main(*sys.argv[1:]))
