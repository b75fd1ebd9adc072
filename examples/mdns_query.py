"""Look up the addresses of a host on the local network, with multicast DNS (RFC 6762).

Arguments: a name such as printer.local, the port, and the interfaces to use (default:
all). Prints each address received within two seconds. The question is sent from a
port of its own, so the answers come to that port (section 6.7). Needs dnspython.
"""

import asyncio
import ipaddress
import sys

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype

import aioudp

GROUP = "224.0.0.251"
KINDS = dns.rdatatype.A, dns.rdatatype.AAAA


def question(name: dns.name.Name) -> dns.message.Message:
    message = dns.message.QueryMessage()  # its number is random
    for kind in KINDS:
        message.find_rrset(message.question, name, dns.rdataclass.IN, kind, create=True)
    return message


def addresses(
    data: bytes, asked: dns.message.Message, name: dns.name.Name
) -> list[str]:
    """Return the addresses in an answer to the question; none from anything else."""
    try:
        answer = dns.message.from_wire(data)
        if answer.id != asked.id or not answer.flags & dns.flags.QR:
            return []
        return [
            # Some hosts set a bit in the class, and dnspython does not parse those.
            str(ipaddress.ip_address(record.to_generic().data))
            for records in answer.answer
            if records.name == name and records.rdtype in KINDS
            for record in records
        ]
    except (dns.exception.DNSException, ValueError):
        return []  # anybody can send anything


async def main(
    host: str = "printer.local", port: str = "5353", *interfaces: str
) -> None:
    name = dns.name.from_text(host)
    asked = question(name)
    async with aioudp.discover(
        asked.to_wire(),
        int(port),
        timeout=2,
        repeat=2,  # not more than once a second: section 5.2
        group=GROUP,
        interfaces=interfaces or None,
        key=lambda answer: answer,  # IPv4 and IPv6 addresses may come separately
    ) as search:
        async for data, addr in search:
            for address in addresses(data, asked, name):
                print(f"{host} is {address}, says {addr[0]}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
