"""aioquic: a QUIC server and a QUIC client, 16 MiB from one to the other."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import ssl
from pathlib import Path

import pytest

from .conftest import Run

SIZE = 16 * 1024 * 1024  # bytes


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for localhost that signs itself, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


@pytest.mark.timeout(120)
@pytest.mark.peer("aioquic")
def test_aioquic_transfers_16_mib(run: Run, tmp_path: Path) -> None:
    """Both ends of an aioquic connection run on our transport, and nothing is lost."""
    pytest.importorskip("aioquic", reason="cannot: aioquic: not installed")
    from aioquic.asyncio import connect, serve
    from aioquic.quic.configuration import QuicConfiguration

    payload = hashlib.shake_128(b"aioudp").digest(SIZE)

    async def main() -> bytes:
        received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def take(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            received.set_result(await reader.read())
            writer.close()

        tasks = []
        server_config = QuicConfiguration(is_client=False)
        server_config.load_cert_chain(*certificate(tmp_path))
        server = await serve(
            "127.0.0.1",
            0,
            configuration=server_config,
            stream_handler=lambda *stream: tasks.append(
                asyncio.ensure_future(take(*stream))
            ),
        )
        port = server._transport.get_extra_info("sockname")[1]
        client_config = QuicConfiguration(is_client=True, verify_mode=ssl.CERT_NONE)
        async with connect("127.0.0.1", port, configuration=client_config) as client:
            _, writer = await client.create_stream()
            writer.write(payload)
            writer.write_eof()
            result = await received
            writer.close()
        server.close()
        await asyncio.gather(*tasks)
        return result

    assert run(main(), transports=2) == payload
