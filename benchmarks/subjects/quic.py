"""aioquic moves a payload from one end to the other, both on one event loop.

``python -m benchmarks.subjects.quic LOOP BYTES`` prints how many seconds it took, the
handshake included. LOOP is ``asyncio`` or ``uvloop``, each as it is, or
``asyncio+drop-in`` or ``uvloop+drop-in``, with this library's transports below
aioquic, which does not know.
"""

from __future__ import annotations

import asyncio
import datetime
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aioudp

from ..worker import HOST


def loop_factory(name: str) -> asyncio.AbstractEventLoop:
    """Return the event loop of that name."""
    base, _, drop_in = name.partition("+")
    own: Callable[[], asyncio.AbstractEventLoop]
    if base == "uvloop":
        import uvloop

        own = uvloop.new_event_loop
    else:
        own = asyncio.new_event_loop
        sys.modules["uvloop"] = None  # type: ignore[assignment]  # as if not installed
    return aioudp.new_event_loop() if drop_in else own()


async def transfer(size: int) -> float:
    """Send *size* bytes over one stream and return how many seconds that took."""
    from aioquic.asyncio import connect, serve
    from aioquic.quic.configuration import QuicConfiguration

    received: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    tasks: list[asyncio.Task[None]] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.set_result(len(await reader.read()))
        writer.close()

    def on_stream(*stream: Any) -> None:
        tasks.append(asyncio.ensure_future(take(*stream)))

    own = QuicConfiguration(is_client=False)
    with TemporaryDirectory(prefix="aioudp-benchmarks-") as folder:
        own.load_cert_chain(*_certificate(Path(folder)))
    server: Any = await serve(HOST, 0, configuration=own, stream_handler=on_stream)
    port = server._transport.get_extra_info("sockname")[1]
    trusting = QuicConfiguration(is_client=True, verify_mode=ssl.CERT_NONE)
    begin = time.perf_counter()
    async with connect(HOST, port, configuration=trusting) as client:
        _, writer = await client.create_stream()
        writer.write(bytes(size))
        writer.write_eof()
        if await received != size:
            raise RuntimeError("not all of it arrived")
        seconds = time.perf_counter() - begin
        writer.close()
    server.close()
    await asyncio.gather(*tasks)
    return seconds


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate that signs itself, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    hour = datetime.timedelta(hours=1)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - hour)
        .not_valid_after(now + hour)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, private


def main() -> None:
    loop, size = sys.argv[1], int(sys.argv[2])
    with asyncio.Runner(loop_factory=lambda: loop_factory(loop)) as runner:
        print(runner.run(transfer(size)))


if __name__ == "__main__":
    main()
