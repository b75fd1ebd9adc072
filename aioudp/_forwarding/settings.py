"""Pure: the options of forwarding, checked."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Final

from .._system.addresses import check_number
from .._types import Overflow

MAX_PARTITIONS: Final = 1024
_INT32: Final = 2**31 - 1
_INT64: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardSettings:
    """See :func:`aioudp.forward`."""

    partitions: int = 1
    ordered: bool = False
    batch_bytes: int = 256 * 1024
    linger: float = 0.02
    buffer: int = 64 * 1024 * 1024
    unanswered: int = 16
    answer_timeout: float = 5.0
    overflow: Overflow | None = None
    drain: float = 10.0
    create: bool = True
    stream_bytes: int = 1024 * 1024 * 1024
    replicas: int = 1
    tls: ssl.SSLContext | None = None
    credentials: str | None = None

    def __post_init__(self) -> None:
        for name, low, high in (
            ("partitions", 1, MAX_PARTITIONS),
            ("batch_bytes", 1024, _INT32),
            ("buffer", 1024, _INT64),
            ("unanswered", 1, 4096),
            ("stream_bytes", 1, _INT64),
            ("replicas", 1, 5),
        ):
            check_number(name, getattr(self, name), low, high)
        for name in ("linger", "answer_timeout", "drain"):
            check_seconds(name, getattr(self, name), zero=name != "answer_timeout")
        if self.overflow not in (None, "pause", "drop-oldest", "drop-newest"):
            raise ValueError(
                'overflow must be "pause", "drop-oldest" or "drop-newest", '
                f"got {self.overflow!r}"
            )


def check_seconds(name: str, value: object, *, zero: bool = False) -> float:
    """Return a number of seconds.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is negative, not finite, or 0 where that means nothing.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds, got {value!r}")
    if not 0 <= value < float("inf") or not (value or zero):
        raise ValueError(f"{name} must be positive and finite, got {value!r}")
    return float(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscribeSettings:
    """See :func:`aioudp.subscribe`."""

    partitions: int = 1
    ordered: bool = False
    prefetch: int = 4
    ack_wait: float = 30.0
    patience: float = 10.0
    tls: ssl.SSLContext | None = None
    credentials: str | None = None

    def __post_init__(self) -> None:
        check_number("partitions", self.partitions, 1, MAX_PARTITIONS)
        check_number("prefetch", self.prefetch, 1, 1000)
        check_seconds("ack_wait", self.ack_wait)
        check_seconds("patience", self.patience, zero=True)
