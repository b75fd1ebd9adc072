"""Batch I/O of a simulated socket: whole batches where a real one makes system calls.

It inherits from the readable twin. There are no trains.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from .._system import control_data
from .._system.addresses import public_address
from .._system.batchio import BatchSocket, Destination
from .._system.send_options import Steered
from .._types import Datagram, Message, Payload
from .simulated_socket import SimulatedSocket

MAX_BATCH: Final = 1024
"""Datagrams per receive, so that other callbacks of the loop run in between."""

_make: Final[Any] = partial(tuple.__new__, Datagram)


class SimulatedBatchSocket(BatchSocket):
    """The reading and writing of one simulated socket."""

    implementation = "simulated"  # type: ignore[misc]

    __slots__ = ("_maps", "_packet_info", "_simulated")

    # As in the base class; some type checkers want to read it again.
    received: int
    received_bytes: int
    sent: int
    sent_bytes: int

    def __init__(
        self,
        sock: SimulatedSocket,
        *,
        gso_segments: int = 1,
        gro: bool = False,
        unmap: bool = True,
        packet_info: bool = False,
    ) -> None:
        super().__init__(
            sock, gso_segments=1, gro=False, unmap=unmap, packet_info=packet_info
        )
        self._simulated = sock
        self._maps = unmap and sock.dual_stack
        self._packet_info = packet_info

    def receive(self, max_datagrams: int, *, thorough: bool = False) -> list[Any]:
        sock = self._simulated
        if not sock._queue and sock._error is None:
            return []
        arrived, size = sock.take_all(min(max_datagrams, MAX_BATCH))
        self.received += len(arrived)
        self.received_bytes += size
        if self._packet_info:
            return [self._message(one) for one in arrived]
        if self._maps:
            return [_make((one[0], public_address(one[1]))) for one in arrived]
        return [_make(one[:2]) for one in arrived]

    def _message(self, arrived: Any) -> Message:
        control = self._simulated.control_of(arrived)
        addr = arrived[1]
        if self._maps:
            addr = public_address(addr)
        return Message(arrived[0], addr, *control_data.parse(control, self._port)[1])

    def send(self, data: Payload, addr: Any = None) -> None:
        self.sent_bytes += self._simulated.transmit(data, addr, ())
        self.sent += 1

    def _send_one(self, data: Payload, addr: Destination) -> None:
        if type(addr) is Steered:
            size = self._simulated.transmit(data, addr.addr, addr.control)
            self.sent_bytes += size
            self.sent += 1
        else:
            self.send(data, addr)

    def send_batch(
        self, datagrams: Sequence[tuple[bytes, Destination]], start: int = 0
    ) -> int:
        position = start
        try:
            for data, addr in datagrams[start:] if start else datagrams:
                self._send_one(data, addr)
                position += 1
        except OSError:
            if position == start:
                raise
        return position - start
