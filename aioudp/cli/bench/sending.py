"""Send numbered datagrams: as fast as possible, or at a rate. Both ends do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import aioudp

from . import wire
from .wire import Kind

BATCH: Final = 64  # datagrams per iteration of the event loop
_TICK: Final = 0.002  # seconds between two batches at a given rate
_TRAIN: Final = 65_000  # maximum bytes per send with a segment size

MAX_PAYLOAD: Final = 65_507  # bytes
MAX_SEGMENT: Final = 32_500  # bytes: two fit in a train
MAX_FLOWS: Final = 1024  # of one run; each costs its receiver a window of 64 KiB

Direction: TypeAlias = Literal["to-server", "to-client", "both"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The datagrams to send."""

    payload: int = 1200
    """Bytes per datagram."""
    seconds: float = 5.0
    rate: float | None = None
    """Datagrams per second over all flows; ``None``: as fast as possible."""
    flows: int = 1
    trains: bool = False
    """Whether to send trains, with a segment size."""
    direction: Direction = "to-server"
    """Which end sends. With ``"both"``, each sends all of this."""

    def as_json(self) -> dict[str, Any]:
        """Return what the server must know to send."""
        return {
            "payload": self.payload,
            "seconds": self.seconds,
            "rate": self.rate,
            "trains": self.trains,
            "direction": self.direction,
        }

    @classmethod
    def from_json(cls, content: Any, flows: int) -> Plan:
        """Parse what a client asks for.

        Raises:
            ValueError: If it's invalid.
        """
        try:
            rate = content["rate"]
            plan = cls(
                payload=int(content["payload"]),
                seconds=float(content["seconds"]),
                rate=None if rate is None else float(rate),
                flows=flows,
                trains=content["trains"] is True,
                direction=content["direction"],
            )
        except (KeyError, TypeError, OverflowError):
            raise ValueError("not a plan") from None
        longest = MAX_SEGMENT if plan.trains else MAX_PAYLOAD
        if not (
            wire.HEADER_SIZE <= plan.payload <= longest
            and 0 < plan.seconds < 1e9
            and (plan.rate is None or 0 < plan.rate < 1e12)
            and plan.direction in ("to-server", "to-client", "both")
        ):
            raise ValueError("not a plan")
        return plan


class Flow:
    """Builds and sends the numbered datagrams of one flow.

    *addr* is the destination; ``None`` on a connected endpoint.
    """

    def __init__(
        self,
        endpoint: aioudp.Endpoint[Any],
        run: int,
        flow: int,
        plan: Plan,
        addr: aioudp.Address | None = None,
    ) -> None:
        self.endpoint: aioudp.Endpoint[Any] = endpoint
        self._run = run
        self._flow = flow
        self._payload = plan.payload
        self._trains = plan.trains
        self._addr = addr
        self.number: int = 0
        self.sent: int = 0
        self.send_errors: int = 0

    @property
    def largest(self) -> int:
        """The maximum number of datagrams per :meth:`send`."""
        return max(1, _TRAIN // self._payload) if self._trains else BATCH

    async def send(self, count: int) -> None:
        """Send the next *count* datagrams."""
        refused = 0
        try:
            if self._trains:
                train = self._compose(count)
                await self.endpoint.send(train, self._addr, segment_size=self._payload)
            else:
                await self.endpoint.send_many(self._singles(count))
        except aioudp.SendManyError as exc:
            refused = len(exc.errors)
        except OSError:
            refused = count
        self.sent += count - refused
        self.send_errors += refused
        self.number += count

    def _compose(self, count: int) -> bytearray:
        buffer = bytearray(count * self._payload)
        now = time.monotonic_ns()
        for index in range(count):
            offset, number = index * self._payload, self.number + index
            wire.pack_into(buffer, offset, self._run, self._flow, number, now)
        return buffer

    def _singles(self, count: int) -> Iterator[tuple[bytes, aioudp.Address | None]]:
        padding = bytes(self._payload - wire.HEADER_SIZE)
        for number in range(self.number, self.number + count):
            header = wire.pack(
                Kind.DATA,
                self._run,
                flow=self._flow,
                number=number,
                time=time.monotonic_ns(),
            )
            yield header + padding, self._addr


async def send_all(flows: Sequence[Flow], plan: Plan) -> None:
    """Send what is planned, one flow after the other."""
    begin = time.monotonic()
    if plan.rate is None:
        await _as_fast_as_possible(flows, begin + plan.seconds)
    else:
        await _at(plan.rate, flows, plan.seconds, begin)


async def _as_fast_as_possible(flows: Sequence[Flow], end: float) -> None:
    while True:
        for flow in flows:
            await flow.send(flow.largest)
            await asyncio.sleep(0)
            if time.monotonic() >= end:
                return


async def _at(rate: float, flows: Sequence[Flow], seconds: float, begin: float) -> None:
    """Send the datagrams that are due."""
    total = round(rate * seconds)
    done = sends = 0
    while done < total:
        due = min(total, int((time.monotonic() - begin) * rate) + 1)
        while done < due:
            flow = flows[sends % len(flows)]
            count = min(due - done, flow.largest)
            await flow.send(count)
            done += count
            sends += 1
            await asyncio.sleep(0)
        wait = begin + done / rate - time.monotonic()
        await asyncio.sleep(max(wait, _TICK) if done < total else 0)
