"""Ask the local network for the address of a host, with multicast DNS (RFC 6762).

Arguments: a name such as printer.local, the port, and the interfaces to use; without
any, all of them. Prints each answer that comes within two seconds.
"""

import asyncio
import ipaddress
import struct
import sys
from collections.abc import Iterator

import aioudp

GROUP = "224.0.0.251"
A, IN = 1, 1  # an IPv4 address, of the Internet: RFC 1035, section 3.2


def question(name: str) -> bytes:
    header = struct.pack("!6H", 0, 0, 1, 0, 0, 0)  # one question and nothing else
    labels = (label.encode() for label in name.split("."))
    encoded = b"".join(bytes([len(label)]) + label for label in labels)
    return header + encoded + b"\0" + struct.pack("!2H", A, IN)


def read_name(message: bytes, offset: int) -> tuple[str, int]:
    """Return the name at *offset*, and where it ends. Names may point to others."""
    labels: list[str] = []
    end = 0
    while length := message[offset]:
        if length < 0xC0:
            labels.append(message[offset + 1 : offset + 1 + length].decode())
            offset += 1 + length
            continue
        pointer = struct.unpack_from("!H", message, offset)[0] & 0x3FFF
        if pointer >= offset:  # or a name could point to itself, for ever
            raise ValueError("a name points ahead")
        end = end or offset + 2
        offset = pointer
    return ".".join(labels), end or offset + 1


def addresses(message: bytes, wanted: str) -> Iterator[str]:
    """Yield the addresses that an answer gives for a name."""
    _id, flags, questions, answers, _, _ = struct.unpack_from("!6H", message)
    if not flags & 0x8000:
        return  # a question: our own, or somebody else's
    offset = 12
    for _ in range(questions):
        offset = read_name(message, offset)[1] + 4
    for _ in range(answers):
        name, offset = read_name(message, offset)
        kind, _class, _ttl, length = struct.unpack_from("!2HIH", message, offset)
        offset += 10
        if kind == A and name.lower() == wanted.lower():
            yield str(ipaddress.IPv4Address(message[offset : offset + length]))
        offset += length


async def main(
    name: str = "printer.local", port: str = "5353", *interfaces: str
) -> None:
    async with aioudp.open_multicast(
        GROUP, int(port), interfaces=interfaces or None, ttl=255
    ) as endpoint:
        await endpoint.send(question(name))
        try:
            async with asyncio.timeout(2):
                async for data, addr in endpoint:
                    try:
                        found = list(addresses(data, name))
                    except (ValueError, IndexError, struct.error):
                        continue  # not DNS, or not well formed
                    for address in found:
                        print(f"{name} is {address}, says {addr[0]}")
        except TimeoutError:
            pass


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
