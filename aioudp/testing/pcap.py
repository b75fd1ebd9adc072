"""Pure: the history as a capture file, for tshark and Wireshark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from .._system.pcap import FILE_HEADER, headers, record
from .flight import Fate, Flight

# These were never on the network.
_UNSENT: Final[frozenset[Fate]] = frozenset({"too large", "queue full"})


def capture(flights: Iterable[Flight], *, epoch_ns: int, arrived: bool) -> bytes:
    """Return a capture file.

    Args:
        flights: What to put into it.
        epoch_ns: When the clock of the event loop showed 0, in nanoseconds since 1970.
        arrived: Whether to capture at the receivers: only datagrams that arrived, with
            the times of their arrival. Otherwise, capture at the senders.
    """
    parts = [FILE_HEADER]
    for time, flight in _in_order(flights, arrived=arrived):
        parts.append(record(epoch_ns + round(time * 1e9), packet_of(flight)))
    return b"".join(parts)


def _in_order(
    flights: Iterable[Flight], *, arrived: bool
) -> Iterator[tuple[float, Flight]]:
    if arrived:
        seen = [(one.arrived_at, one) for one in flights if one.arrived_at is not None]
        yield from sorted(seen, key=lambda pair: pair[0])
    else:
        for one in flights:
            if not one.copy and one.fate not in _UNSENT:
                yield one.sent_at, one


def packet_of(flight: Flight) -> bytes:
    """Return the IP packet of a datagram, in one piece."""
    made = headers(
        flight.source,
        flight.destination,
        len(flight.data),
        tos=flight.tos,
        hop_limit=flight.hop_limit,
        number=flight.number,
        data=flight.data,
    )
    return made + flight.data
