"""Forward DNS queries to another server (RFC 1035), as the resolver of a router does.

    python dns_forwarder.py UPSTREAM [UPSTREAM_PORT [HOST [PORT]]]

    dig @127.0.0.1 -p 5353 example.org

Each query goes upstream under a random id and from one of several ports, so that
forging an answer means guessing both. It's repeated until it's answered.
"""

import secrets
import sys

import aioudp

HEADER = 12  # bytes: id, flags, and four counts
QUERY_OR_ANSWER = 0x80  # in the third byte: set in answers
SERVER_FAILURE = 2


def transaction(message: bytes) -> tuple[bytes, bytes]:
    """Return the id and the question. An answer must repeat both.

    Raises IndexError for a message that is cut off.
    """
    end = HEADER
    while message[end]:  # a name: labels, each after its length
        end += 1 + message[end]
    end += 5  # the length 0, the type and the class
    return message[:2], message[HEADER:end]


def is_query(data: bytes, addr: aioudp.Address) -> bool:
    """Never answer an answer: two forwarders could do that forever."""
    return len(data) > HEADER and not data[2] & QUERY_OR_ANSWER


def failure(query: bytes) -> bytes:
    """Return the answer that there's no answer."""
    _, question = transaction(query)
    flags = bytes([query[2] | QUERY_OR_ANSWER, SERVER_FAILURE])
    counts = bytes([0, 1, 0, 0, 0, 0, 0, 0])  # one question, and no records
    return query[:2] + flags + counts + question


async def main(
    upstream: str, upstream_port: str = "53", host: str = "127.0.0.1", port: str = "0"
) -> None:
    client = await aioudp.open_client(
        (upstream, int(upstream_port)), key=transaction, retries=2, ports=8
    )

    async def forward(query: bytes, addr: aioudp.Address) -> bytes:
        try:
            answer = await client.request(secrets.token_bytes(2) + query[2:])
        except OSError:  # no answer in time, or nobody listens there
            return failure(query)
        return query[:2] + answer.data[2:]

    async with (
        client,
        aioudp.serve(
            forward, (host, int(port)), accept=is_query, concurrency=1000
        ) as server,
    ):
        print("listening on port", server.port, flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    aioudp.run(main(*sys.argv[1:]))
