"""aioice and aiortc: ICE between two agents, and a WebRTC data channel."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from .conftest import Run

aioice = pytest.importorskip("aioice", reason="cannot: aioice: not installed")


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gather candidates on the loopback interface only."""
    import aioice.ice

    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: ["127.0.0.1"])


@pytest.mark.peer("aioice")
def test_aioice_connects(run: Run) -> None:
    """Two agents check their candidates, and exchange data over the pair they chose."""

    async def main() -> tuple[bytes, bytes]:
        one = aioice.Connection(ice_controlling=True)
        other = aioice.Connection(ice_controlling=False)
        for each, peer in ((one, other), (other, one)):
            await each.gather_candidates()
            for candidate in each.local_candidates:
                await peer.add_remote_candidate(candidate)
            await peer.add_remote_candidate(None)
            peer.remote_username = each.local_username
            peer.remote_password = each.local_password
        await asyncio.gather(one.connect(), other.connect())
        await one.send(b"from one")
        await other.send(b"from the other")
        received = await other.recv(), await one.recv()
        await asyncio.gather(one.close(), other.close())
        return received

    assert run(main(), transports=2) == (b"from one", b"from the other")


@pytest.mark.peer("aiortc")
def test_aiortc_opens_a_data_channel(run: Run) -> None:
    """A message crosses a data channel and comes back: SCTP over DTLS over ICE."""
    aiortc = pytest.importorskip("aiortc", reason="cannot: aiortc: not installed")

    async def main() -> str:
        alone = aiortc.RTCConfiguration(iceServers=[])
        caller = aiortc.RTCPeerConnection(alone)
        callee = aiortc.RTCPeerConnection(alone)
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        channel = caller.createDataChannel("chat")
        channel.on("open", lambda: channel.send("hello"))
        channel.on("message", answer.set_result)

        def accepted(theirs: Any) -> None:
            theirs.on("message", lambda text: theirs.send(text.upper()))

        callee.on("datachannel", accepted)
        await caller.setLocalDescription(await caller.createOffer())
        await callee.setRemoteDescription(caller.localDescription)
        await callee.setLocalDescription(await callee.createAnswer())
        await caller.setRemoteDescription(callee.localDescription)
        result = await answer
        await caller.close()
        await callee.close()
        return result

    assert run(main(), transports=2) == "HELLO"
