"""Answer every datagram in capitals, with a protocol written for plain asyncio.

Arguments: host and port. Only the call that opens the transport uses this library;
the protocol is unchanged.
"""

import asyncio
import sys

import aioudp


class Capitals(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.DatagramTransport)
        self.transport = transport

    def datagram_received(self, data: bytes, addr: aioudp.Address) -> None:
        self.transport.sendto(data.upper(), addr)

    def error_received(self, exc: Exception) -> None:
        print("an answer was refused:", exc, file=sys.stderr)


async def main(host: str = "127.0.0.1", port: str = "9999") -> None:
    # Was: asyncio.get_running_loop().create_datagram_endpoint(...)
    transport, _protocol = await aioudp.create_datagram_endpoint(
        Capitals, local_addr=(host, int(port))
    )
    print("listening on port", transport.get_extra_info("sockname")[1], flush=True)
    try:
        await asyncio.Event().wait()  # until it is cancelled
    finally:
        transport.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
