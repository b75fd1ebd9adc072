"""zeroconf: one instance registers a service, another one finds it."""

from __future__ import annotations

import pytest

from .conftest import Run

pytest.importorskip("zeroconf", reason="cannot: zeroconf: not installed")

KIND = "_aioudp._udp.local."


@pytest.mark.peer("zeroconf")
def test_zeroconf_finds_a_service(run: Run) -> None:
    """Multicast DNS on the loopback interface works through our transport."""
    from zeroconf import IPVersion
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

    async def main() -> int | None:
        options = {"interfaces": ["127.0.0.1"], "ip_version": IPVersion.V4Only}
        async with AsyncZeroconf(**options) as host, AsyncZeroconf(**options) as guest:
            await host.zeroconf.async_wait_for_start()
            await guest.zeroconf.async_wait_for_start()
            info = AsyncServiceInfo(
                KIND, f"one.{KIND}", port=4242, parsed_addresses=["127.0.0.1"]
            )
            await (await host.async_register_service(info))
            found = await guest.async_get_service_info(KIND, f"one.{KIND}")
            await (await host.async_unregister_service(info))
            return found.port if found else None

    # Each has a socket to listen and one to send; the guest may find the announcement
    # before it asks, and then never sends.
    assert run(main(), transports=4, idle=1) == 4242
