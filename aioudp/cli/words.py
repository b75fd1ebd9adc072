"""Pure: what the library says, in the words of the command line.

The library writes addresses as the tuples, and options as the keywords, that a program
passes. Here they become ``127.0.0.1:7777``, ``[::1]:53`` and ``--broadcast``.
"""

from __future__ import annotations

import os
import re
from typing import Final

from .._system.addresses import format_address
from .escaping import printable

_ADDRESS: Final = re.compile(
    r"\((?P<q>['\"])(?P<host>[^'\"]*)(?P=q), (?P<port>-?\d+)(?:, \d+, (?P<zone>\d+))?\)"
)
_ERROR_NUMBER: Final = re.compile(r"\[Errno -?\d+\] ")
_BROADCAST: Final = re.compile(
    r"if it's a broadcast address, open with broadcast=True or use aioudp\.\w+"
)
_KEYWORDS: Final = {
    "omit interfaces=": "omit --interface",
    "steering=": "steering ",
}


def in_words(text: str, *, broadcast_option: bool = False) -> str:
    """Return a message for a terminal, in one line.

    *broadcast_option*: whether the command has ``--broadcast``, to which a refused
    broadcast is referred; otherwise, to ``aioudp broadcast``.
    """
    text = _ERROR_NUMBER.sub("", text)
    text = _ADDRESS.sub(_written, text)
    where = "--broadcast" if broadcast_option else "'aioudp broadcast'"
    text = _BROADCAST.sub(f"a broadcast address needs {where}", text)
    for keyword, words in _KEYWORDS.items():
        text = text.replace(keyword, words)
    return printable(text)


def message(error: BaseException, *, broadcast_option: bool = False) -> str:
    """Return what an exception says, in words."""
    reason = error.strerror if isinstance(error, OSError) else None
    text = reason or str(error) or type(error).__name__
    if reason and isinstance(error, OSError) and error.filename is not None:
        text = f"{os.fsdecode(error.filename)}: {reason}"
    return in_words(text, broadcast_option=broadcast_option)


def _written(found: re.Match[str]) -> str:
    host, port, zone = found["host"], int(found["port"]), int(found["zone"] or 0)
    if not host:
        return f"port {port}"
    return format_address((host, port, 0, zone) if zone else (host, port))
