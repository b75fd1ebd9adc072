"""The errors of the network that an endpoint keeps until somebody asks for them."""

from __future__ import annotations

from typing import TypeAlias

from .._types import NetworkError
from .mailbox import Mailbox

ErrorInbox: TypeAlias = Mailbox[NetworkError]
