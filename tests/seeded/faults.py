"""Faults of the endpoint, client and server, each with the test that catches it.

A fault is a piece of a file, which must be there once, and what stands there instead.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]


class Fault(NamedTuple):
    """One change to one file, and the test that must fail."""

    what: str
    """What the changed library does, in a few words."""
    path: str
    """Relative to ``aioudp``."""
    old: str
    new: str
    test: str
    """A file in ``tests``, ``::`` and the name of a test function in it."""

    def changed(self, root: Path) -> str:
        """Return the text of the file with the fault.

        Raises:
            ValueError: If it doesn't have the old text exactly once.
        """
        text = (root / "aioudp" / self.path).read_text()
        if (count := text.count(self.old)) != 1:
            raise ValueError(f"{self.path} has {self.old!r} {count} times")
        return text.replace(self.old, self.new)


_PROTOCOL: Final = "_endpoint/protocol.py"
_INBOX: Final = "_endpoint/inbox.py"
_PORT: Final = "_requests/port.py"
_SERVICE: Final = "_serving/service.py"

_ON_BAD: Final = "simulated/test_requests.py::test_requests_on_a_bad_network"
_WITHOUT_KEY: Final = (
    "simulated/test_requests.py::test_requests_without_a_key_on_a_bad_network"
)

FAULTS: Final = {
    "endpoint": [
        Fault(
            "a cancelled receiver keeps its turn",
            _PROTOCOL,
            "self._wake()  # pass on a turn that came with the cancellation",
            "pass",
            "contract/test_cancelling.py"
            "::test_the_turn_of_a_cancelled_task_is_the_next_ones",
        ),
        Fault(
            "a receiver overtakes those that wait",
            _PROTOCOL,
            "if waiters or not (self.items or self.detour & _DECIDED):\n"
            "            if self.detour",
            "if not (self.items or self.detour & _DECIDED):\n"
            "            if self.detour",
            "contract/test_many_receivers.py::test_nobody_overtakes",
        ),
        Fault(
            "what close discards isn't counted",
            _PROTOCOL,
            "self.dropped_close += len(self.items)",
            "pass",
            "contract/test_draining.py::test_close_counts_what_it_discards",
        ),
        Fault(
            "draining wakes nobody",
            _PROTOCOL,
            "self.detour |= DRAINED\n        self._wake()",
            "self.detour |= DRAINED",
            "simulated/test_receivers.py::test_receivers_that_give_up",
        ),
        Fault(
            "an error stays after it was raised",
            _PROTOCOL,
            "error, self._error = self._error, None\n"
            "            self.detour = self.detour & ~ERROR or False",
            "error = self._error",
            "contract/test_errors.py::test_iteration_goes_on_after_it",
        ),
        Fault(
            "drop-oldest drops the newest",
            _INBOX,
            'if self.overflow == "drop-oldest" else',
            'if self.overflow != "drop-oldest" else',
            "contract/test_queue.py::test_drop_oldest",
        ),
        Fault(
            "drops are counted once a batch",
            _INBOX,
            "self.dropped += excess",
            "self.dropped += 1",
            "contract/test_queue.py::test_drop_newest",
        ),
        Fault(
            "reading doesn't resume after recv_many",
            "_endpoint/endpoint.py",
            "if protocol.detour:\n            protocol.resume_if_empty()",
            "pass",
            "contract/test_queue.py::test_an_emptied_queue_is_filled_again",
        ),
    ],
    "client": [
        Fault(
            "one retry too few",
            "client.py",
            "if transmissions > schedule.retries:",
            "if transmissions >= schedule.retries:",
            _ON_BAD,
        ),
        Fault(
            "the waits don't grow",
            "_requests/schedule.py",
            "self.backoff**transmission",
            "self.backoff**0",
            _ON_BAD,
        ),
        Fault(
            "an answer with another id counts",
            _PORT,
            "request = asked.get(id)\n",
            "request = asked.get(id) or next(iter(asked.values()))\n",
            _ON_BAD,
        ),
        Fault(
            "a late answer reaches the next request",
            "client.py",
            "if self._key is None and ",
            "if False and ",
            _WITHOUT_KEY,
        ),
        Fault(
            "peers are never forgotten",
            "_requests/table.py",
            "del self._peers[entry.peer]",
            "pass",
            _ON_BAD,
        ),
        Fault(
            "round trips of repeated requests are measured",
            "client.py",
            "if transmissions == 1:",
            "if transmissions:",
            _ON_BAD,
        ),
        Fault(
            "two requests with one id are in flight",
            "client.py",
            "turn = peer, id\n",
            "turn = peer, object()\n",
            _WITHOUT_KEY,
        ),
        Fault(
            "the timer ignores a wait that ends earlier",
            _PORT,
            "if self._timer is None or due < self._due:",
            "if self._timer is None:",
            "contract/test_client.py::test_a_short_wait_after_a_long_one",
        ),
    ],
    "server": [
        Fault(
            "a repeated request isn't answered",
            _SERVICE,
            "replies += self.outgoing(one, known.replies or ())",
            "pass",
            "simulated/test_requests.py::test_a_repeated_request_is_handled_once",
        ),
        Fault(
            "requests of two clients with one id are one",
            _SERVICE,
            "key = one.addr, self._dedupe(one.data)",
            "key = None, self._dedupe(one.data)",
            "simulated/test_requests.py::test_a_repeated_request_is_handled_once",
        ),
        Fault(
            "a request is remembered a second too long",
            "_serving/dedupe.py",
            "now - oldest.since < self._seconds",
            "now - oldest.since < self._seconds + 1",
            "simulated/test_requests.py::test_a_request_is_remembered_for_247_seconds",
        ),
        Fault(
            "a request whose handler failed is remembered",
            _SERVICE,
            'self.failures.note("the handler", exc, addr)\n'
            "        self.forget(request)",
            'self.failures.note("the handler", exc, addr)',
            "contract/test_server.py::test_dedupe_of_a_request_that_was_not_handled",
        ),
        Fault(
            "what is sent to a forged address isn't subtracted",
            "_serving/amplification.py",
            "self._left[peer] = left - granted",
            "self._left[peer] = left",
            "contract/test_server.py::test_amplification",
        ),
        Fault(
            "the rate limit costs no tokens",
            "_serving/buckets.py",
            "tokens -= 1",
            "pass",
            "contract/test_server.py::test_rate_limit",
        ),
        Fault(
            "one handler more than the concurrency allows",
            "_serving/tasks.py",
            "if len(self._running) < self._places:\n            self._run(job)",
            "if len(self._running) <= self._places:\n            self._run(job)",
            "contract/test_server.py::test_drop_newest",
        ),
        Fault(
            "draining drops what has arrived",
            "server.py",
            "self._service.endpoint.drain()",
            "self._service.endpoint.close()",
            "contract/test_server.py::test_drain",
        ),
    ],
}
"""The faults, by the part of the library."""


def table() -> str:
    """Return the faults as the Markdown table of ``tests/MUTANTS.md``."""
    lines = ["| part | fault | file | caught by |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {part} | {fault.what} | `{fault.path}` | `{fault.test}` |"
        for part, faults in FAULTS.items()
        for fault in faults
    ]
    return "\n".join(lines)
