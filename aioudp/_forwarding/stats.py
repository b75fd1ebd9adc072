"""Pure: what is counted on the way from a front to the workers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardStats:
    """What became of the datagrams that a front took from its endpoint.

    In datagrams, unless a field says otherwise. Two equations hold at every moment::

        received  == published + dropped + waiting
        published == acknowledged + refused + unknown

    What the endpoint and the kernel dropped before is in ``endpoint.stats()``.
    """

    received: int = 0
    """Taken from the endpoint."""

    waiting: int = 0
    """In memory, not yet published."""

    dropped: int = 0
    """Discarded by the overflow policy, or longer than a message may be."""

    published: int = 0
    """Sent to the engine, each counted once however often it was repeated."""

    acknowledged: int = 0
    """Stored by the engine, as it said."""

    refused: int = 0
    """Not stored by the engine, as it said."""

    republished: int = 0
    """Batches that were published once more for want of an answer."""

    reconnects: int = 0
    """Connections made after the first."""

    replies: int = 0
    """Replies of workers that were sent."""

    replies_failed: int = 0
    """Replies of workers that the system refused."""

    buffered_bytes: int = 0
    """Bytes of the batches in memory, published or not."""

    @property
    def unknown(self) -> int:
        """Published, but without an answer so far."""
        return self.published - self.acknowledged - self.refused

    def as_dict(self) -> dict[str, Any]:
        """Return the counts by name."""
        return {**asdict(self), "unknown": self.unknown}


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscribeStats:
    """What a worker got. In datagrams, unless a field says otherwise."""

    consumed: int = 0
    """In batches that were returned, each counted once."""

    repeated: int = 0
    """In batches that this worker had been given before."""

    acknowledged: int = 0
    """In batches that were acknowledged."""

    damaged: int = 0
    """Messages that are no packed batch; they are discarded."""

    reconnects: int = 0
    """Connections made after the first."""
