"""Pure: the kinds of operations and of faults, which are columns of the result file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

DONE: Final = (
    # opened
    "bind",
    "connect",
    "unix",
    "adopt",
    "create_datagram_endpoint",
    "open_broadcast",
    "open_multicast",
    "open_client",
    "serve",
    "discover",
    "closed loop",
    # sent, in datagrams
    "send",
    "tos",
    "segments",
    "send_many",
    "send_many_list",
    "relayed",
    "sendto",
    "sent on all interfaces",
    # received, in datagrams
    "recv",
    "recv_many",
    "recv_many_max",
    "recv_batch",
    "recv_batch_into",
    "recv_nowait",
    "async_for",
    "recv_message",
    "recv_messages",
    "messages",
    "groups",
    "broadcasts",
    # requests that were answered
    "request",
    "request of a standing client",
    # ended, and used again
    "drain",
    "close",
    "aclose",
    "used again",
)

FAULTS: Final = (
    "icmp error",
    "queue overflow",
    "kernel buffer full",
    "send buffer full",
    "truncated",
    "no more descriptors",
    "an interface that came, went or changed",
    "an interface that is down or gone",
    "an address that is gone",
    "cancelled receiver",
    "cancelled sender",
    "cancelled opening",
    "cancelled request",
    "cancelled search",
    "closed while a receive waits",
    "closed while a send waits",
    "closed with a full queue",
    "closed with a full kernel buffer",
    "a request that isn't answered",
    "a request that timed out",
    "a handler that fails",
    "a server closed with running handlers",
    "a loop closed with endpoints open",
    "forgotten open",
)

_NETWORK: Final = {
    "open_broadcast",
    "open_multicast",
    "discover",
    "sent on all interfaces",
    "groups",
    "broadcasts",
    "an interface that came, went or changed",
    "an interface that is down or gone",
    "an address that is gone",
    "cancelled search",
}

_BY_CHANCE: Final = {
    # Seldom enough for a short run on a busy machine to do without.
    "recv_message",
    "recv_messages",
    "messages",
    "truncated",
    "cancelled search",
    "cancelled request",
    "a handler that fails",
    "a request that timed out",
}


def needed(*, network: bool, seconds: float) -> Mapping[str, tuple[str, ...]]:
    """Return what must have happened at least once in a run of *seconds*."""
    left_out: set[str] = set() if network else set(_NETWORK)
    if seconds < 600:
        left_out |= _BY_CHANCE
    return {
        group: tuple(name for name in names if name not in left_out)
        for group, names in (("done", DONE), ("faults", FAULTS))
    }
