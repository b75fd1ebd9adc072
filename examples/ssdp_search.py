"""Search the local network for UPnP devices, with SSDP.

Arguments: the search target, the port, and the interfaces to use (default: all).
Prints each device that answers within three seconds, with the URL of its description.
SSDP: UPnP Device Architecture 2.0, section 1.3.
"""

import asyncio
import sys

import aioudp

GROUP = "239.255.255.250"


def question(target: str, port: int) -> bytes:
    lines = (
        "M-SEARCH * HTTP/1.1",
        f"HOST: {GROUP}:{port}",
        'MAN: "ssdp:discover"',
        "MX: 1",  # devices answer after a random delay of up to so many seconds
        f"ST: {target}",
    )
    return "\r\n".join((*lines, "", "")).encode()


def headers(answer: bytes) -> dict[str, str]:
    """Return the headers of an answer, or nothing if it isn't one."""
    status, *lines = answer.decode(errors="replace").split("\r\n")
    if status != "HTTP/1.1 200 OK":
        return {}
    pairs = (line.partition(":") for line in lines)
    return {name.strip().upper(): value.strip() for name, _, value in pairs}


async def main(target: str = "ssdp:all", port: str = "1900", *interfaces: str) -> None:
    async with aioudp.discover(
        question(target, int(port)),
        int(port),
        timeout=3,
        group=GROUP,
        interfaces=interfaces or None,
        # A device answers once for each of its services: print all of them.
        key=lambda answer: headers(answer.data).get("USN"),
    ) as search:
        async for data, addr in search:
            found = headers(data)
            if "USN" in found:
                text = f"{addr[0]}: {found['USN']} at {found.get('LOCATION', '?')}"
                # Answers from strangers may contain terminal control sequences.
                print("".join(filter(str.isprintable, text)), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
