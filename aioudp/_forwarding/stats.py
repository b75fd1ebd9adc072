"""Pure: the counters of fronts and workers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardStats:
    """What happened to the datagrams that a front received from its endpoint.

    Fields count datagrams unless they say otherwise. Two equations always hold::

        received  == published + dropped + waiting
        published == acknowledged + refused + unknown

    ``endpoint.stats()`` has what the endpoint and the kernel dropped before.
    """

    received: int = 0
    """Received from the endpoint."""

    waiting: int = 0
    """In memory, not yet published."""

    dropped: int = 0
    """Dropped by the overflow policy, or too long for a message."""

    published: int = 0
    """Sent to the engine; each counts once, even if it was published again."""

    acknowledged: int = 0
    """Stored by the engine, according to its answer."""

    refused: int = 0
    """Not stored by the engine, according to its answer."""

    republished: int = 0
    """Batches that were published again because there was no answer."""

    reconnects: int = 0
    """Connections made after the first."""

    replies: int = 0
    """Workers' replies that were sent."""

    replies_failed: int = 0
    """Workers' replies that the system refused."""

    buffered_bytes: int = 0
    """Bytes of the batches in memory, published or not."""

    @property
    def unknown(self) -> int:
        """Published, but not answered yet."""
        return self.published - self.acknowledged - self.refused

    def as_dict(self) -> dict[str, Any]:
        """Return the counts by name."""
        return {**asdict(self), "unknown": self.unknown}


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscribeStats:
    """What a worker received. Fields count datagrams unless they say otherwise."""

    consumed: int = 0
    """In batches that were returned, each counted once."""

    repeated: int = 0
    """In batches that this worker had received before."""

    acknowledged: int = 0
    """In batches that were acknowledged."""

    damaged: int = 0
    """Messages that aren't packed batches; they're discarded."""

    reconnects: int = 0
    """Connections made after the first."""
