"""Pure: the outcome of sending on each interface, as a table or as JSON lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aioudp import SendOutcome

from .._system.addresses import format_address
from .escaping import printable
from .formats import address_fields, json_object


def show_outcomes(outcomes: Sequence[SendOutcome], *, as_json: bool) -> Iterator[str]:
    """Yield a line per interface: its name, the destination, and the outcome."""
    if as_json:
        for one in outcomes:
            entry = {
                "interface": one.interface,
                **address_fields(one.addr),
                "sent": one.sent,
                "error": _reason(one),
            }
            yield json_object(entry)
        return
    rows = [
        (printable(one.interface), format_address(one.addr), _reason(one) or "sent")
        for one in outcomes
    ]
    names = max((len(row[0]) for row in rows), default=0)
    addresses = max((len(row[1]) for row in rows), default=0)
    for name, addr, result in rows:
        yield f"{name:<{names}}  {addr:<{addresses}}  {result}"


def _reason(outcome: SendOutcome) -> str | None:
    error = outcome.error
    return None if error is None else printable(error.strerror or str(error))
