"""ICMP errors that an endpoint keeps until they are received."""

from __future__ import annotations

from typing import Any, TypeAlias

from .._types import NetworkError
from .mailbox import Mailbox

ErrorInbox: TypeAlias = Mailbox[NetworkError[Any]]
