# The types of the compiled twin; batchio.py and answering.py have the words.

import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from .._types import Datagram, Payload
from .addresses import SocketAddress
from .batchio import Destination
from .control_data import Info
from .datagram_batch import DatagramBatch
from .refusals import Refusals

MAX_READS: Final[int]
MAX_TRAINS: Final[int]

def answer_each(
    handler: Callable[..., Any], datagrams: Iterator[Datagram], replies: list[Any]
) -> tuple[Datagram, Any] | None: ...
def parse(control: bytes, flags: int, port: int) -> tuple[int, Info]: ...

class BatchSocket:
    implementation: Final[str]
    gso_segments: int
    gro: bool
    packet_info: bool
    pending: OSError | None
    received: int
    received_bytes: int
    refusals: Refusals
    sent: int
    sent_bytes: int
    truncated: int

    def __init__(
        self,
        sock: socket.socket,
        *,
        gso_segments: int,
        gro: bool,
        unmap: bool = True,
        packet_info: bool = False,
    ) -> None: ...
    def receive(self, max_datagrams: int, *, thorough: bool = False) -> list[Any]: ...
    def receive_batch(self, batch: DatagramBatch, max_datagrams: int) -> int: ...
    @staticmethod
    def prepare(
        datagrams: Iterable[tuple[Any, ...]],
        translate: Callable[[object], SocketAddress],
        steer: Callable[[object, Any], Destination],
    ) -> list[tuple[bytes, Destination]]: ...
    def send(self, data: Payload, addr: SocketAddress = None) -> None: ...
    def send_segments(
        self, data: memoryview, segment_size: int, addr: Destination = None
    ) -> int: ...
    def send_batch(
        self, datagrams: Sequence[tuple[bytes, Destination]], start: int = 0
    ) -> int: ...
