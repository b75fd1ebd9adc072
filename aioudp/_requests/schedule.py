"""Pure: when to repeat a request, and when to give up.

The waits grow exponentially, with jitter, as RFC 8085 section 3.1.1 requires of
retransmissions without congestion control. Random numbers are arguments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

MAX_WAIT: Final = 86_400.0
"""The maximum wait in seconds, regardless of the back-off: a day."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The first wait, the number of retries, and the growth of the waits."""

    timeout: float
    """Seconds to wait for the answer to the first transmission."""
    retries: int
    """Transmissions after the first."""
    backoff: float
    """The factor between one wait and the next."""
    jitter: float
    """The maximum random part to add to a wait, as a fraction."""

    def __post_init__(self) -> None:
        _check_number("timeout", self.timeout)
        if not 0 < self.timeout < math.inf:
            raise ValueError(f"timeout must be positive and finite, got {self.timeout}")
        if not isinstance(self.retries, int) or isinstance(self.retries, bool):
            raise TypeError(f"retries must be an int, got {self.retries!r}")
        if self.retries < 0:
            raise ValueError(f"retries must not be negative, got {self.retries}")
        _check_number("backoff", self.backoff)
        if not 1 <= self.backoff < math.inf:
            raise ValueError(f"backoff must be at least 1, got {self.backoff}")
        _check_number("jitter", self.jitter)
        if not 0 <= self.jitter < math.inf:
            raise ValueError(f"jitter must not be negative, got {self.jitter}")

    def wait(self, transmission: int, random: float) -> float:
        """Return the seconds to wait for an answer.

        Args:
            transmission: The number of earlier transmissions: 0 for the first.
            random: A random number from 0 to 1.
        """
        wait = self.timeout
        if transmission:
            try:
                wait *= self.backoff**transmission
            except OverflowError:
                return MAX_WAIT
        wait *= 1 + self.jitter * random
        return wait if wait < MAX_WAIT else MAX_WAIT


def _check_number(name: str, value: object) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {value!r}")
