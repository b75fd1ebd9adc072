"""The relay between real sockets."""

from __future__ import annotations

import asyncio

import pytest

import aioudp
from aioudp import testing

from ...contract.support import turns_until

LOCAL = ("127.0.0.1", 0)


async def echo(endpoint: aioudp.Endpoint) -> None:
    async for data, addr in endpoint:
        await endpoint.send(data, addr)


async def test_two_clients_get_their_own_answers() -> None:
    """Each has its port towards the server, and nothing is lost without faults."""
    async with aioudp.bind(LOCAL) as server:
        task = asyncio.create_task(echo(server))
        async with (
            testing.LossyRelay(LOCAL, server.local_addr) as relay,
            aioudp.connect(relay.local_addr) as one,
            aioudp.connect(relay.local_addr) as two,
        ):
            for number in range(50):
                await one.send(b"one %d" % number)
                await two.send(b"two %d" % number)
                assert (await one.recv()).data == b"one %d" % number
                assert (await two.recv()).data == b"two %d" % number
            assert relay.clients == 2
            assert relay.history.fates() == {"delivered": 200}
        server.close()
        await task


async def test_faults_and_their_change() -> None:
    """What is asked for happens, is in the history, and can be changed."""
    async with (
        aioudp.bind(LOCAL) as server,
        aioudp.bind(LOCAL) as client,
        testing.LossyRelay(
            LOCAL, server.local_addr, seed=1, loss=0.5, duplicate=0.5
        ) as relay,
    ):
        for number in range(200):
            await client.send(b"%d" % number, relay.local_addr)
            await asyncio.sleep(0)
        through = 0
        relay.change(loss=0.0, duplicate=0.0)
        await client.send(b"last", relay.local_addr)
        while True:
            data, _ = await server.recv()
            if data == b"last":
                break
            through += 1
        fates = relay.history.fates()
        copies = sum(one.copy for one in relay.history)

    assert fates["lost"] + fates["delivered"] - copies == 201
    assert 60 < fates["lost"] < 140
    assert through == fates["delivered"] - 1
    assert copies > 20


async def test_delay_and_close_while_datagrams_fly() -> None:
    """Closing forgets what is under way, and leaves no timer and no socket behind."""
    async with aioudp.bind(LOCAL) as server, aioudp.bind(LOCAL) as client:
        async with testing.LossyRelay(LOCAL, server.local_addr, delay=0.02) as relay:
            before = asyncio.get_running_loop().time()
            await client.send(b"late", relay.local_addr)
            assert (await server.recv()).data == b"late"
            assert asyncio.get_running_loop().time() - before > 0.015
            relay.change(delay=60.0)
            await client.send(b"never", relay.local_addr)
            await turns_until(lambda: len(relay.history) == 2)
        with pytest.raises(BlockingIOError):
            server.recv_nowait()


async def test_mistakes_are_named() -> None:
    """Settings are checked at once; the address is there once it is open."""
    with pytest.raises(ValueError, match="loss must be from 0 to 1"):
        testing.LossyRelay(LOCAL, ("127.0.0.1", 9), loss=2)
    with pytest.raises(RuntimeError, match="use it with async with"):
        _ = testing.LossyRelay(LOCAL, ("127.0.0.1", 9)).local_addr
