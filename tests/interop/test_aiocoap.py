"""aiocoap: a CoAP server and a client, on its portable transports."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Run

aiocoap = pytest.importorskip("aiocoap", reason="cannot: aiocoap: not installed")


@pytest.mark.peer("aiocoap")
def test_aiocoap_request(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A confirmable request gets its response, block-wise where it is long."""
    from aiocoap import resource

    # Its default transport reads its own socket; these two ask the event loop.
    monkeypatch.setenv("AIOCOAP_CLIENT_TRANSPORT", "simple6")
    monkeypatch.setenv("AIOCOAP_SERVER_TRANSPORT", "simplesocketserver")

    class Upper(resource.Resource):  # type: ignore[misc]
        async def render_post(self, request: Any) -> Any:
            return aiocoap.Message(payload=request.payload.upper())

    async def main() -> bytes:
        site = resource.Site()
        site.add_resource(["upper"], Upper())
        server = await aiocoap.Context.create_server_context(site, bind=("::1", 0))
        port = port_of(server)
        client = await aiocoap.Context.create_client_context()
        request = aiocoap.Message(
            code=aiocoap.POST, uri=f"coap://[::1]:{port}/upper", payload=b"abc" * 2000
        )
        response = await client.request(request).response
        await client.shutdown()
        await server.shutdown()
        payload: bytes = response.payload
        return payload

    assert run(main(), transports=2) == b"ABC" * 2000


def port_of(context: Any) -> int:
    """Return the port that the server was given; it keeps it to itself."""
    message_interface = context.request_interfaces[0].token_interface.message_interface
    port: int = message_interface._pool._transport.get_extra_info("sockname")[1]
    return port
