"""Pure: the subjects that fronts, workers and the engine share, all below one prefix.

``aioudp.STREAM.in.P``        packed batches of partition P; the stream's only subjects
``aioudp.STREAM.reply.ID``    replies for the front ID to send
``aioudp.STREAM.status``      what fronts and workers publish about themselves

Nothing that arrives in a datagram becomes part of a subject.
"""

from __future__ import annotations

import re
from typing import Final

# What may stand between two dots of a subject, and name a stream and a consumer.
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_name(what: str, name: object) -> str:
    """Return the name of a stream or a group.

    Raises:
        TypeError: If it is not a str.
        ValueError: If it has other characters than letters, digits, "-" and "_".
    """
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a str, got {name!r}")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f'{what} must be 1 to 64 letters, digits, "-" or "_", got {name!r}'
        )
    return name


def input_subject(stream: str, partition: int | str) -> str:
    """Return where packed batches are published; of all partitions for ``"*"``."""
    return f"aioudp.{stream}.in.{partition}"


def reply_subject(stream: str, front: int) -> str:
    """Return where a front listens for replies."""
    return f"aioudp.{stream}.reply.{front:016x}"


def status_subject(stream: str) -> str:
    """Return where fronts and workers publish about themselves."""
    return f"aioudp.{stream}.status"


def message_id(front: int, partition: int, sequence: int) -> str:
    """Return the id by which the engine knows a batch that comes twice."""
    return f"{front:016x}.{partition}.{sequence}"
