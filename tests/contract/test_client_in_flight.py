"""Ten thousand requests in flight at once, over a relay that is a bad network."""

from __future__ import annotations

import asyncio
import gc

import pytest

import aioudp
from aioudp import testing
from aioudp._requests.table import Entry

from .support import linux_only

_REQUESTS = 10_000
_RETRIES = 8


def _key(data: bytes) -> bytes:
    return data[:4]


def _question(number: int) -> bytes:
    return number.to_bytes(4, "big") + b"question"


def _answer(data: bytes, addr: object) -> bytes:
    return data[:4] + b"answer"


async def _ask_all(addr: aioudp.Address) -> tuple[int, aioudp.ClientStats]:
    async with aioudp.open_client(
        addr,
        key=_key,
        timeout=1.0,
        retries=_RETRIES,
        backoff=1.0,
        in_flight=_REQUESTS,
    ) as client:

        async def ask(number: int) -> bool:
            try:
                answer = await client.request(_question(number))
            except aioudp.RequestTimeoutError as error:
                return error.attempts != _RETRIES + 1  # which would count as answered
            assert answer.data == _answer(_question(number), None)
            return True

        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(ask(number)) for number in range(_REQUESTS)]
            await asyncio.sleep(0)  # each task begins
            assert client.in_flight == _REQUESTS
        assert (client.in_flight, client.waiting) == (0, 0)
        assert len(client._turns) == 0
        assert all(len(port._table) == 0 for port in client._ports._ports)
        return sum(task.result() for task in asking), client.stats()


@linux_only  # whose send buffers take such a burst
@pytest.mark.timeout(90)
def test_ten_thousand_requests_in_flight() -> None:
    """Each answered request has its own answer, and no state is left behind."""

    async def main() -> tuple[int, aioudp.ClientStats]:
        async with (
            aioudp.serve(_answer, ("127.0.0.1", 0)) as server,
            testing.LossyRelay(
                ("127.0.0.1", 0),
                server.local_addr,
                seed=1,
                loss=0.2,
                duplicate=0.05,
                reorder=0.1,
            ) as relay,
        ):
            return await _ask_all(relay.local_addr)

    answered, stats = aioudp.run(main(), debug=False)  # as it is slow with -X dev

    assert answered == stats.answered
    assert answered >= 0.99 * _REQUESTS
    assert stats.answered + stats.timed_out == stats.requests == _REQUESTS
    assert stats.endpoint.sent == stats.requests + stats.retransmitted
    assert 0.3 * _REQUESTS < stats.retransmitted <= _RETRIES * _REQUESTS
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, Entry)]
