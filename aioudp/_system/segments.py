"""Pure: cut coalesced buffers into datagrams, and find what can be sent as one train.

A *train* is one buffer that the kernel accepts or returns as many datagrams of equal
size, of which only the last may be shorter: UDP_SEGMENT (GSO) when sending,
UDP_GRO when receiving (udp(7)).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from typing import Any

from .._types import Message, Received

MAX_TRAIN_BYTES = 65536 - 14 - 40 - 8
"""Longest train, in bytes.

A train with its Ethernet, IPv6 and UDP headers must stay below the 64 KiB that a device
accepts in one piece (``gso_max_size``, ip-link(8)). The kernel splits longer trains in
software, which costs as much as trains save.
"""

_shape = lru_cache(maxsize=64)(Struct)


def split_train(train: bytes, segment_size: int) -> list[bytes]:
    """Return the datagrams of *train*, each of *segment_size* bytes but the last."""
    whole, remainder = divmod(len(train), segment_size)
    # One unpack makes all the slices in C: five times faster than slicing.
    datagrams: list[Any] = list(
        _shape(f"{segment_size}s" * whole + f"{remainder}s" * (remainder > 0)).unpack(
            train
        )
    )
    return datagrams


def cut_off(
    datagrams: Sequence[Received], max_datagram_size: int
) -> tuple[list[Received], int]:
    """Return *datagrams*, the too long ones cut off and marked, and how many were."""
    kept: list[Received] = []
    truncated = 0
    for one in datagrams:
        if (length := len(one.data)) > max_datagram_size:
            truncated += 1
            message = one if isinstance(one, Message) else Message(*one)
            one = message._replace(
                data=one.data[:max_datagram_size], truncated=True, full_length=length
            )
        kept.append(one)
    return kept, truncated


def train_length(segment_size: int, max_segments: int) -> int:
    """Return how many bytes of *segment_size* datagrams one train may carry.

    It is at least one datagram: a segment too long for a train goes alone.
    """
    return segment_size * max(1, min(max_segments, MAX_TRAIN_BYTES // segment_size))


def run_end(
    datagrams: Sequence[tuple[bytes, object]], start: int, max_segments: int
) -> int:
    """Return the end of the longest train that begins at index *start*.

    The datagrams of a train go to one peer and have one size; one shorter datagram
    may end it. An empty datagram is never part of a train of several: the kernel
    has no way to write one down.
    """
    data, addr = datagrams[start]
    size = len(data)
    end = start + 1
    if not size:
        return end
    limit = min(len(datagrams), start + train_length(size, max_segments) // size)
    while end < limit:
        data, other = datagrams[end]
        length = len(data)
        if other != addr or length > size or not length:
            break
        end += 1
        if length < size:
            break
    return end
