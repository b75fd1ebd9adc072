# The types of the compiled twin; _batchio has the words.

import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from ._address import SocketAddress
from ._types import Datagram, Payload

MAX_READS: Final[int]
MAX_TRAINS: Final[int]

def segment_size(control: bytes, flags: int) -> int: ...

class BatchSocket:
    implementation: Final[str]
    gso_segments: int
    gro: bool
    received: int
    received_bytes: int
    sent: int
    sent_bytes: int
    truncated: int

    def __init__(
        self, sock: socket.socket, *, gso_segments: int, gro: bool, unmap: bool = True
    ) -> None: ...
    def receive(
        self, max_datagrams: int, *, thorough: bool = False
    ) -> list[Datagram]: ...
    @staticmethod
    def prepare(
        datagrams: Iterable[tuple[Payload, object]], translate: Callable[[object], Any]
    ) -> list[tuple[bytes, SocketAddress]]: ...
    def send(self, data: Payload, addr: SocketAddress = None) -> None: ...
    def send_segments(
        self, data: memoryview, segment_size: int, addr: SocketAddress = None
    ) -> int: ...
    def send_batch(
        self, datagrams: Sequence[tuple[bytes, SocketAddress]], start: int = 0
    ) -> int: ...
