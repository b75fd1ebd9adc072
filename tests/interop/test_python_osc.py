"""python-osc: its asyncio server, and its blocking client."""

from __future__ import annotations

import asyncio

import pytest

from .conftest import Run

pytest.importorskip("pythonosc", reason="cannot: python-osc: not installed")


@pytest.mark.peer("python-osc")
def test_python_osc_receives(run: Run) -> None:
    """A hundred messages reach their handler, in order."""
    from pythonosc.dispatcher import Dispatcher
    from pythonosc.osc_server import AsyncIOOSCUDPServer
    from pythonosc.udp_client import SimpleUDPClient

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        values: list[int] = []
        complete = asyncio.Event()

        def take(address: str, value: int) -> None:
            values.append(value)
            if len(values) == 100:
                complete.set()

        dispatcher = Dispatcher()
        dispatcher.map("/value", take)
        server = AsyncIOOSCUDPServer(("127.0.0.1", 0), dispatcher, loop)
        transport, _ = await server.create_serve_endpoint()
        client = SimpleUDPClient(*transport.get_extra_info("sockname"))
        for number in range(100):
            client.send_message("/value", number)
        await complete.wait()
        transport.close()
        client._sock.close()
        return values

    assert run(main(), transports=1) == list(range(100))
