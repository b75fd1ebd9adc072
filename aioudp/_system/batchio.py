"""Batch I/O: many datagrams in and out of one socket per call, in readable Python.

Reading. With UDP_GRO, one recvmsg returns a whole train, up to 64 KiB of datagrams from
one sender, and a control message with the segment size. Without that message, a train
looks like one long datagram, so a read with truncated control data is reported as an
error, and its data is never delivered.

Sending. With UDP_SEGMENT, one sendmsg accepts a whole train. Only an attempt shows
whether it works: an older kernel accepts fewer segments, a driver returns EIO, a socket
without checksums EINVAL, a route with a small MTU EMSGSIZE. So a refused train is sent
again one datagram at a time, and only if that succeeds was the train the problem. Then
the next datagrams to that destination are sent singly; ``refusals`` determines for how
long.

Nothing here waits or uses the event loop. Addresses are in the socket's form.

The file is long because it's the reference for the compiled twin: one class, both
directions, most of it docstrings.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import repeat
from typing import Any, Final, TypeAlias

from .._types import Datagram, Message, Payload, Received
from . import control_data, sockets
from .addresses import SOURCES, SocketAddress, public_address
from .datagram_batch import DatagramBatch
from .refusals import Refusals
from .segments import run_end, split_train, train_length
from .send_options import Steered

MAX_READS: Final = 64
"""Reads per :meth:`BatchSocket.receive`, so that a flood can't starve the loop."""

MAX_BYTES: Final = 512 * 1024
"""Bytes after which :meth:`BatchSocket.receive` stops reading: more would not stay in
the cache until delivery, which costs more than another iteration of the loop.
The read that reaches the limit is finished, which is up to 64 KiB more. The compiled
twin reads several messages at a time, as many as there are bytes for if they are like
the last ones; long ones that follow short ones can make a receive of it 2 MiB, once."""

MAX_TRAINS: Final = 16
"""Trains per :meth:`BatchSocket.send_segments`, for the same reason: 1 MiB."""

MAX_SINGLES: Final = 1024
"""The limit in datagrams that replaces :data:`MAX_TRAINS` if there are no trains."""

_LONE_READS: Final = 8
"""After this many single datagrams in a row, only one receive in this many checks for
more. The check costs as much as a read, and delays the answer to a request. Datagrams
that it would have found stay readable, and the next receive returns them."""

_MAX_READ: Final = sockets.MAX_READ
# Room for what ``sockets`` enables, 208 bytes, and what others may have enabled.
_CONTROL_SPACE: Final = 512
# Plain ints: arithmetic on the socket module's enums takes longer than a read.
_TRUNC: Final = int(socket.MSG_TRUNC)
_CUT: Final = _TRUNC | int(socket.MSG_CTRUNC)
_GRO_SIZE: Final = struct.Struct("=i")  # an int, though UDP_SEGMENT takes a u16
_GSO_SIZE: Final = struct.Struct("=H")

_OLD_GSO_SEGMENTS: Final = 64  # UDP_MAX_SEGMENTS before Linux 6.9

# glibc returns free memory at the end of the heap to the system from 128 KiB on, and
# each batch would fault it in again, at twice the cost of receiving. Once a block of
# this size has been freed, glibc keeps twice as much: M_MMAP_THRESHOLD and
# M_TRIM_THRESHOLD in mallopt(3). The block is never touched, so it costs no memory.
bytes(4 * 1024 * 1024)

# Datagram._make without the Python call in between.
_make = partial(tuple.__new__, Datagram)
_make_message = partial(tuple.__new__, Message)


Destination: TypeAlias = Steered | SocketAddress
"""A destination; ``None`` is the connected peer."""


def check_payload(data: object) -> None:
    """Raise a TypeError if *data* isn't a payload."""
    try:  # whatever a socket would take: arrays and mmaps, too
        memoryview(data)  # type: ignore[arg-type]
    except TypeError:
        advice = "; encode text first: text.encode()" if isinstance(data, str) else ""
        raise TypeError(
            f"a bytes-like object is required, not {type(data).__name__!r}{advice}"
        ) from None


def check_start(start: int, length: int) -> None:
    """Raise a ValueError unless *start* is from 0 to *length*."""
    if not 0 <= start <= length:
        raise ValueError(f"start must be from 0 to {length}, got {start}")


def _is_segment_size(level: int, kind: int, value: bytes) -> bool:
    return (
        kind == sockets.UDP_GRO
        and level == sockets.SOL_UDP
        and len(value) >= _GRO_SIZE.size
    )


def remember_last(
    steer: Callable[[object, Any], Destination],
) -> Callable[[object, Any], Destination]:
    """Return *steer* with its last result cached.

    So consecutive datagrams with the same options share a destination, and trains.
    """
    last_addr: object = None
    last_options: Any = None
    target: Destination = None

    def steer_or_remember(addr: object, options: Any) -> Destination:
        nonlocal last_addr, last_options, target
        if addr is not last_addr or options is not last_options:
            target = steer(addr, options)
            last_addr, last_options = addr, options
        return target

    return steer_or_remember


def prepare_steered(
    item: Any, steer: Callable[[object, Any], Destination]
) -> tuple[bytes, Destination]:
    """Check and copy a datagram with options.

    Raises:
        TypeError: If *item* isn't a triple, or its payload isn't bytes-like.
    """
    if not isinstance(item, tuple) or len(item) != 3:
        raise TypeError(f"a pair of payload and address is required, not {item!r}")
    data, addr, options = item
    check_payload(data)
    return bytes(data), steer(addr, options)


class BatchSocket:
    """Reads and writes one non-blocking datagram socket.

    It doesn't own the socket, and never closes it. The counters are public: code that
    reads or writes the socket elsewhere adds to them.
    """

    implementation: Final = "python"

    __slots__ = (
        "_last_size",
        "_lone",
        "_port",
        "_read",
        "_recvmsg",
        "_recvmsg_into",
        "_sendmsg",
        "_sock",
        "_unmap",
        "gro",
        "gso_segments",
        "packet_info",
        "pending",
        "received",
        "received_bytes",
        "refusals",
        "sent",
        "sent_bytes",
        "truncated",
    )

    def __init__(
        self,
        sock: socket.socket,
        *,
        gso_segments: int,
        gro: bool,
        unmap: bool = True,
        packet_info: bool = False,
    ) -> None:
        self._sock = sock
        self.packet_info: bool = packet_info
        self._unmap = unmap  # whether addresses are made public_address()es
        # Windows has neither, and no use for them: there is no offload to probe.
        self._recvmsg: Any = getattr(sock, "recvmsg", None)
        self._recvmsg_into: Any = getattr(sock, "recvmsg_into", None)
        self._sendmsg: Any = getattr(sock, "sendmsg", None)
        self._lone = 0  # consecutive receives with a single datagram
        self._last_size = 0  # bytes of the last batch
        self.gso_segments: int = gso_segments
        """Maximum datagrams per train: 64 once the kernel has refused a longer one."""
        self.refusals: Refusals = Refusals()
        """The destinations to which datagrams are sent singly for a while."""
        self.pending: OSError | None = None
        """The error that a receive met after datagrams, for the next one to raise. The
        kernel has told it and the socket may never be ready again: whoever receives
        looks here, and may take it."""
        self.gro: bool = gro
        if packet_info:
            self._port = sock.getsockname()[1]
            self._read = self._read_messages
        elif gro:
            self._read = self._read_train
        elif sock.family == sockets.AF_UNIX:
            self._read = self._read_unix
        elif sock.family == socket.AF_INET6 and unmap:
            self._read = self._read_inet6
        else:
            self._read = self._read_inet
        self.received: int = 0
        self.received_bytes: int = 0
        self.sent: int = 0
        self.sent_bytes: int = 0
        self.truncated: int = 0

    def receive(self, max_datagrams: int, *, thorough: bool = False) -> list[Any]:
        """Return the datagrams in the socket, oldest first; an empty list if none.

        It stops after :data:`MAX_READS` reads, after :data:`MAX_BYTES` bytes, or when
        it has *max_datagrams*. The last train isn't split, so it may return more. After
        a series of single datagrams, it may leave some for the next call, unless
        *thorough* is true; the socket stays readable then. With packet info, the items
        are messages.

        Raises:
            OSError: The socket's error. If it comes after datagrams, it's kept in
                :attr:`pending`, and the next call raises it.
        """
        if self.pending is not None:
            error, self.pending = self.pending, None
            raise error
        datagrams: list[Received] = []
        lone = self._lone
        enough = self.received_bytes + MAX_BYTES
        ask_again = thorough or lone < _LONE_READS or not lone % _LONE_READS
        try:
            for _ in range(MAX_READS if ask_again else 1):
                self._read(datagrams)
                if len(datagrams) >= max_datagrams or self.received_bytes >= enough:
                    break
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as exc:
            if not datagrams:
                raise
            self.pending = exc
        count = len(datagrams)
        self._lone = lone + 1 if count == 1 else 0
        self.received += count
        return datagrams

    def receive_batch(self, batch: DatagramBatch, max_datagrams: int) -> int:
        """Add the datagrams in the socket to *batch*, and return their number.

        It's always thorough; limits and errors are those of :meth:`receive`.
        """
        if self.pending is not None:
            error, self.pending = self.pending, None
            raise error
        before = len(batch)
        enough = self.received_bytes + MAX_BYTES
        batch._reserve(self._last_size + _MAX_READ)  # now, because growing copies
        try:
            for _ in range(MAX_READS):
                self._read_into(batch)
                if (
                    len(batch) - before >= max_datagrams
                    or self.received_bytes >= enough
                ):
                    break
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as exc:
            if len(batch) == before:
                raise
            self.pending = exc
        count = len(batch) - before
        self._last_size = min(batch._size, MAX_BYTES)
        self.received += count
        return count

    def send(self, data: Payload, addr: SocketAddress = None) -> None:
        """Send one datagram to *addr*, or to the connected peer.

        Raises:
            BlockingIOError: If the kernel's send buffer is full.
            OSError: If the system refuses the datagram.
            TypeError: If *data* isn't bytes-like.
        """
        sock = self._sock
        if addr is None:
            self.sent_bytes += sock.send(data)
        else:
            self.sent_bytes += sock.sendto(data, addr)
        self.sent += 1

    def _send_one(self, data: Payload, addr: Destination) -> None:
        """Send one datagram as :meth:`send` does, or with control messages."""
        if type(addr) is Steered:
            self.sent_bytes += self._sendmsg([data], addr.control, 0, addr.addr)
            self.sent += 1
        else:
            self.send(data, addr)

    def send_segments(
        self, data: memoryview, segment_size: int, addr: Destination = None
    ) -> int:
        """Send *data* as datagrams of *segment_size* bytes; the last may be shorter.

        Returns:
            How many bytes the kernel accepted: whole datagrams, in up to
            :data:`MAX_TRAINS` trains.

        Raises:
            BlockingIOError: If the kernel took none because its buffer is full.
            OSError: If the system refuses the first datagram.
            ValueError: If *segment_size* is less than 1.
        """
        if segment_size < 1:
            raise ValueError(f"segment_size must be at least 1, got {segment_size}")
        position = 0
        try:
            segments = self._most_segments(addr)
            for _ in range(MAX_TRAINS if segments > 1 else MAX_SINGLES):
                length = train_length(segment_size, segments)
                train = data[position : position + length]
                position += self._send_train(train, segment_size, addr)
                if position == len(data):
                    break
                before, segments = segments, self._most_segments(addr)
                if segments > before:  # the next call tries trains again
                    break
        except OSError:
            if not position:
                raise
        return position

    @staticmethod
    def prepare(
        datagrams: Iterable[tuple[Any, ...]],
        translate: Callable[[object], SocketAddress],
        steer: Callable[[object, Any], Destination],
    ) -> list[tuple[bytes, Destination]]:
        """Check and copy datagrams for :meth:`send_batch`.

        *translate* converts an address to a destination; *steer* does it for an address
        with options.

        Raises:
            TypeError: If an item isn't a pair, or a pair and options, or if its payload
                isn't bytes-like.
        """
        prepared = []
        steer = remember_last(steer)
        for item in datagrams:
            try:
                data, addr = item
            except (TypeError, ValueError):
                prepared.append(prepare_steered(item, steer))
                continue
            if type(data) is not bytes:
                check_payload(data)
                data = bytes(data)  # because the caller may change it while it waits
            prepared.append((data, None if addr is None else translate(addr)))
        return prepared

    def send_batch(
        self, datagrams: Sequence[tuple[bytes, Destination]], start: int = 0
    ) -> int:
        """Send *datagrams* from index *start* on, in order, until one is refused.

        Returns:
            How many datagrams the kernel accepted. Like sendmmsg(2), it raises an error
            only for the first datagram; to get a later one's error, call it again
            from there.

        Raises:
            BlockingIOError: If the kernel took none because its buffer is full.
            OSError: If the system refuses the first datagram.
            ValueError: If *start* is out of range.
        """
        check_start(start, len(datagrams))
        position = start
        try:
            while position < len(datagrams):
                data, addr = datagrams[position]
                end = position + 1
                if (segments := self._most_segments(addr)) > 1:
                    end = run_end(datagrams, position, segments)
                if end - position == 1:
                    self._send_one(data, addr)
                    position = end
                else:
                    train = b"".join([item[0] for item in datagrams[position:end]])
                    taken = self._send_train(memoryview(train), len(data), addr)
                    position += -(-taken // len(data))
        except OSError:
            if position == start:
                raise
        return position - start

    def _send_train(
        self, train: memoryview, segment_size: int, addr: Destination
    ) -> int:
        """Send one train, and return how many of its bytes the kernel accepted."""
        length = len(train)
        if length <= segment_size:
            self._send_one(train, addr)
            return length
        size = _GSO_SIZE.pack(segment_size)
        control = [(sockets.SOL_UDP, sockets.UDP_SEGMENT, size)]
        peer = addr
        if type(addr) is Steered:
            control += addr.control
            peer = addr.addr
        try:
            self._sendmsg([train], control, 0, peer)
        except OSError as exc:
            if exc.errno not in (errno.EINVAL, errno.EIO, errno.EMSGSIZE):
                raise
            taken = self._send_singly(train, segment_size, addr)
            self._reduce_gso(length, segment_size, addr, exc)
            return taken
        self.sent += -(-length // segment_size)
        self.sent_bytes += length
        return length

    def _send_singly(
        self, train: memoryview, segment_size: int, addr: Destination
    ) -> int:
        position = 0
        try:
            while position < len(train):
                datagram = train[position : position + segment_size]
                self._send_one(datagram, addr)
                position += len(datagram)
        except OSError:
            if not position:
                raise
        return position

    def _most_segments(self, addr: Destination) -> int:
        """Return the maximum datagrams per train to *addr* at the moment."""
        if self.refusals and self.refusals.covers(addr):
            return 1
        return self.gso_segments

    def _reduce_gso(
        self, length: int, segment_size: int, addr: Destination, refusal: OSError
    ) -> None:
        """Send shorter trains, or none to *addr* for a while, after a refused train.

        The kernel accepted its datagrams singly, so the train was the problem.
        """
        if refusal.errno == errno.EMSGSIZE:
            return  # a segment longer than this route's MTU; the next may be shorter
        if length > segment_size * _OLD_GSO_SEGMENTS:
            self.gso_segments = _OLD_GSO_SEGMENTS
            return
        self.refusals.add(addr, self._sock.fileno(), str(refusal))

    def _read_train(self, datagrams: list[Received]) -> None:
        data, control, flags, addr = self._recvmsg(_MAX_READ, _CONTROL_SPACE)
        if len(addr) == 4 and self._unmap:
            addr = SOURCES[addr]
        if flags & _CUT:
            self._refuse_cut(len(data), control, flags)
        for level, kind, value in control:
            if _is_segment_size(level, kind, value):
                (segment_size,) = _GRO_SIZE.unpack_from(value)
                if 0 < segment_size < len(data):
                    segments = split_train(data, segment_size)
                    datagrams.extend(map(_make, zip(segments, repeat(addr))))
                    self.received_bytes += len(data)
                    return
        datagrams.append(_make((data, addr)))
        self.received_bytes += len(data)

    def _read_into(self, batch: DatagramBatch) -> None:
        """Read a datagram or a train directly into the memory of *batch*."""
        if self._sock.family == sockets.AF_UNIX:
            data, addr = sockets.receive_whole(self._sock)
            addr = public_address(addr) if self._unmap else addr
            batch._extend([Datagram(data, addr)])
            self.received_bytes += len(data)
            return
        batch._reserve()
        segment_size, info = 0, None
        with memoryview(batch._data) as whole, whole[batch._size :] as room:
            if self.gro or self.packet_info:
                length, control, flags, addr = self._recvmsg_into(
                    [room], _CONTROL_SPACE
                )
            else:
                length, addr = self._sock.recvfrom_into(room)
                control, flags = [], 0
        if len(addr) == 4 and self._unmap:
            addr = SOURCES[addr]
        if flags & _CUT:
            self._refuse_cut(length, control, flags)
        if self.packet_info:
            segment_size, info = control_data.parse(control, self._port)
        else:
            for level, kind, value in control:
                if _is_segment_size(level, kind, value):
                    (segment_size,) = _GRO_SIZE.unpack_from(value)
        batch._add_run(length, segment_size if self.gro else 0, addr, info)
        self.received_bytes += length

    def _refuse_cut(
        self, length: int, control: list[tuple[int, int, bytes]], flags: int
    ) -> None:
        """Raise the error for a read that lost payload or its segment size."""
        if flags & _TRUNC:
            self.truncated += 1
            raise OSError(errno.EMSGSIZE, f"datagram cut off after {length} bytes")
        if self.gro and not any(_is_segment_size(*message) for message in control):
            self.truncated += 1
            raise OSError(
                errno.EMSGSIZE,
                f"control data cut off: {length} bytes may be several datagrams",
            )

    def _read_messages(self, datagrams: list[Received]) -> None:
        data, control, flags, addr = self._recvmsg(_MAX_READ, _CONTROL_SPACE)
        if len(addr) == 4 and self._unmap:
            addr = SOURCES[addr]
        if flags & _CUT:
            self._refuse_cut(len(data), control, flags)
        segment_size, info = control_data.parse(control, self._port)
        if self.gro and 0 < segment_size < len(data):
            datagrams.extend(
                _make_message((segment, addr, *info))
                for segment in split_train(data, segment_size)
            )
        else:
            datagrams.append(_make_message((data, addr, *info)))
        self.received_bytes += len(data)

    def _read_inet(self, datagrams: list[Received]) -> None:
        data, addr = self._sock.recvfrom(_MAX_READ)
        datagrams.append(_make((data, addr)))
        self.received_bytes += len(data)

    def _read_inet6(self, datagrams: list[Received]) -> None:
        data, addr = self._sock.recvfrom(_MAX_READ)
        datagrams.append(_make((data, SOURCES[addr])))
        self.received_bytes += len(data)

    def _read_unix(self, datagrams: list[Received]) -> None:
        data, addr = sockets.receive_whole(self._sock)
        if self._unmap:
            addr = public_address(addr)
        datagrams.append(Datagram(data, addr))
        self.received_bytes += len(data)
