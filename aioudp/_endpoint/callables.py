"""Pure: checks of functions that the user passes."""

from __future__ import annotations

import functools
import inspect
from typing import Any


def is_asynchronous(function: Any) -> bool:
    """Return whether calling *function* gives a coroutine, as far as it shows."""
    while isinstance(function, functools.partial):
        function = function.func
    return any(map(inspect.iscoroutinefunction, (function, type(function).__call__)))


def check_function(name: str, function: object) -> None:
    """Check an optional function whose result is used at once.

    A coroutine isn't false, and equal to no other. So a filter that is a coroutine
    function would let everything pass, and a key would match nothing.

    Raises:
        TypeError: If it isn't ``None`` and can't be called, or is a coroutine function.
    """
    if function is None:
        return
    if not callable(function):
        raise TypeError(f"{name} must be callable, got {function!r}")
    if is_asynchronous(function):
        raise TypeError(f"{name} can't be a coroutine function, got {function!r}")
