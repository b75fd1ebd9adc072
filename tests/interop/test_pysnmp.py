"""pysnmp: a manager and an agent."""

from __future__ import annotations

import pytest

from .conftest import Run

pytest.importorskip("pysnmp", reason="cannot: pysnmp: not installed")

NAME = "1.3.6.1.2.1.1.5.0"


@pytest.mark.peer("pysnmp")
def test_pysnmp_gets_and_answers(run: Run) -> None:
    """A GET request reaches an agent on another transport, and its value comes back."""
    from pysnmp.carrier.asyncio.dgram import udp
    from pysnmp.entity import config, engine
    from pysnmp.entity.rfc3413 import cmdrsp, context
    from pysnmp.hlapi.v3arch.asyncio import (
        CommunityData,
        ContextData,
        ObjectIdentity,
        ObjectType,
        SnmpEngine,
        UdpTransportTarget,
        get_cmd,
    )

    async def main() -> str:
        agent = engine.SnmpEngine()
        transport = udp.UdpTransport().open_server_mode(("127.0.0.1", 0))
        config.add_transport(agent, udp.DOMAIN_NAME, transport)
        config.add_v1_system(agent, "area", "public")
        config.add_vacm_user(agent, 2, "area", "noAuthNoPriv", (1, 3, 6))
        cmdrsp.GetCommandResponder(agent, context.SnmpContext(agent))
        await transport._lport  # the task that opens it
        port = transport.transport.get_extra_info("sockname")[1]

        manager = SnmpEngine()
        failure, status, _, bindings = await get_cmd(
            manager,
            CommunityData("public"),
            await UdpTransportTarget.create(("127.0.0.1", port), timeout=5, retries=0),
            ContextData(),
            ObjectType(ObjectIdentity("1.3.6.1.2.1.1.2.0")),
        )
        assert not failure, failure
        assert not status, status
        manager.close_dispatcher()
        agent.close_dispatcher()
        return str(bindings[0][1])

    assert run(main(), transports=2).startswith("1.3.6.1")
