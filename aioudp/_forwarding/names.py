"""Pure: the subjects that fronts, workers and the engine use, with a common prefix.

``aioudp.STREAM.in.P``        packed batches of partition P; the stream's only subjects
``aioudp.STREAM.reply.ID``    replies that the front ID will send
``aioudp.STREAM.status``      what fronts and workers publish about themselves

Nothing that arrives in a datagram becomes part of a subject.
"""

from __future__ import annotations

import re
from typing import Final

# Allowed between two dots of a subject, and in names of streams and consumers.
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_name(what: str, name: object) -> str:
    """Return the name of a stream or a group.

    Raises:
        TypeError: If it isn't a str.
        ValueError: If it has characters other than letters, digits, "-" and "_".
    """
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a str, got {name!r}")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f'{what} must be 1 to 64 letters, digits, "-" or "_", got {name!r}'
        )
    return name


def input_subject(stream: str, partition: int | str) -> str:
    """Return the subject of packed batches; ``"*"`` matches all partitions."""
    return f"aioudp.{stream}.in.{partition}"


def reply_subject(stream: str, front: int) -> str:
    """Return the subject of replies for a front."""
    return f"aioudp.{stream}.reply.{front:016x}"


def status_subject(stream: str) -> str:
    """Return the subject of the status of fronts and workers."""
    return f"aioudp.{stream}.status"


def message_id(front: int, partition: int, sequence: int) -> str:
    """Return the id by which the engine recognizes duplicates of a batch."""
    return f"{front:016x}.{partition}.{sequence}"
