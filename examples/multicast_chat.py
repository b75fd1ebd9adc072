"""A chat over multicast: everybody in the group reads what anybody writes.

Arguments: name, group, port, and the interfaces to use (default: all).
"""

import asyncio
import sys

import aioudp


async def show(endpoint: aioudp.MulticastEndpoint) -> None:
    async for data, _addr in endpoint:
        text = data.decode(errors="replace")
        # Payloads from strangers may contain terminal control sequences.
        print("".join(filter(str.isprintable, text)), flush=True)


async def main(
    name: str = "anonymous",
    group: str = "239.1.2.3",
    port: str = "9999",
    *interfaces: str,
) -> None:
    async with (
        aioudp.open_multicast(
            group, int(port), interfaces=interfaces or None
        ) as endpoint,
        asyncio.TaskGroup() as tasks,
    ):
        print(f"{name} is in {group}, port", endpoint.port, flush=True)
        showing = tasks.create_task(show(endpoint))
        while line := await asyncio.to_thread(sys.stdin.readline):
            for outcome in await endpoint.send(f"{name}: {line.strip()}".encode()):
                if not outcome.sent:
                    print(f"not by {outcome.interface}: {outcome.error}", flush=True)
        showing.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
