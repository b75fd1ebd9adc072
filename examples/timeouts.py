"""Send a request, retry it, and give up after three tries.

Arguments: host, port and request. A datagram may get lost on the way there or on the
way back, so a client must be ready to send its request again.
"""

import asyncio
import sys

import aioudp


async def ask(
    endpoint: aioudp.Endpoint, question: bytes, *, tries: int = 3, patience: float = 0.5
) -> bytes:
    """Return the answer; each try waits up to *patience* seconds."""
    for _ in range(tries):
        await endpoint.send(question)
        try:
            # Cancelling recv, as the timeout does, never loses a datagram.
            async with asyncio.timeout(patience):
                answer, _addr = await endpoint.recv()
        except TimeoutError:
            continue
        return answer
    raise TimeoutError(f"no answer to {tries} questions")


async def main(
    host: str = "127.0.0.1", port: str = "9999", text: str = "hello"
) -> None:
    async with aioudp.connect((host, int(port))) as endpoint:
        try:
            answer = await ask(endpoint, text.encode())
        except TimeoutError as exc:
            print(exc)
        except ConnectionRefusedError:
            print("nobody listens there")
        else:
            print(f"the answer: {answer!r}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
