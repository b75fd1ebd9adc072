"""``aioudp send``: send arguments or lines of standard input, and print the replies."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, Final, TypeAlias

import typer

import aioudp

from .._system.addresses import format_address, parse_address
from . import console
from .formats import Format, show, summary
from .options import FormatOption, IPv4Option, IPv6Option, LoopOption, address_family
from .payloads import payloads
from .running import Loop, run

_REFUSAL_GRACE: Final = 0.05
"""Seconds to wait for an ICMP "port unreachable" after the last datagram, without
``--wait``. A guess; enough on most local networks."""

_Route: TypeAlias = tuple[aioudp.Endpoint[Any], aioudp.Address | None]
"""The endpoint and the destination; ``None`` on a connected endpoint."""


def send(
    address: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS",
            help="The destination: HOST:PORT, [IPV6]:PORT, [IPV6%ZONE]:PORT, "
            "unix:PATH, or PORT on this machine (with --broadcast: 255.255.255.255).",
            show_default=False,
        ),
    ],
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT",
            help="Each TEXT is one datagram. Default: each line of standard input, "
            "without its line ending.",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[
        float | None,
        typer.Option(
            "--wait",
            "-w",
            min=0,
            metavar="SECONDS",
            help="Print replies until this long after the last datagram.",
        ),
    ] = None,
    form: FormatOption = Format.TEXT,
    hexadecimal: Annotated[
        bool,
        typer.Option("--hex", help="Read payloads as hexadecimal, spaces allowed."),
    ] = False,
    broadcast: Annotated[
        bool, typer.Option("--broadcast", "-b", help="Allow a broadcast address.")
    ] = False,
    local: Annotated[
        str | None,
        typer.Option("--local", metavar="ADDRESS", help="Send from this address."),
    ] = None,
    ipv4: IPv4Option = False,
    ipv6: IPv6Option = False,
    loop: LoopOption = Loop.AUTO,
) -> None:
    """Send the arguments, or the lines of standard input, as datagrams.

    Exits with status 1 if the peer refuses them. Prints statistics to standard error.
    """
    command = _send(
        address,
        payloads(texts or [], hexadecimal=hexadecimal),
        open_=_open_broadcast if broadcast else _open_connected,
        local=local,
        family=address_family(ipv4, ipv6),
        wait=wait,
        form=form,
    )
    run(command, loop=loop)


async def _send(
    address: str,
    payloads: AsyncIterator[bytes],
    *,
    open_: Callable[[str, aioudp.Address | None, int], Awaitable[_Route]],
    local: str | None,
    family: int,
    wait: float | None,
    form: Format,
) -> int:
    local_addr = None if local is None else parse_address(local)
    endpoint, peer = await open_(address, local_addr, family)
    async with endpoint:
        try:
            await _exchange(endpoint, peer, payloads, wait=wait, form=form)
        except ConnectionRefusedError as exc:
            assert endpoint.remote_addr is not None  # only connected ones get this
            refused = format_address(endpoint.remote_addr)
            reason = f"{refused}: connection refused, nobody listens there"
            raise ConnectionRefusedError(exc.errno, reason) from None
        finally:
            console.note(summary(endpoint.stats()))
    return 0


async def _open_connected(
    address: str, local_addr: aioudp.Address | None, family: int
) -> _Route:
    loopback = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    peer = parse_address(address, default_host=loopback)
    try:
        return await aioudp.connect(peer, local_addr=local_addr, family=family), None
    except PermissionError as exc:
        reason = f"{exc.strerror}; a broadcast address needs --broadcast"
        raise PermissionError(exc.errno, reason) from None


async def _open_broadcast(
    address: str, local_addr: aioudp.Address | None, family: int
) -> _Route:
    peer = parse_address(address, default_host="255.255.255.255")
    if family == socket.AF_INET6 or not isinstance(peer, tuple):
        raise ValueError("only IPv4 has broadcast addresses")
    peer = await aioudp.resolve(peer[0], peer[1], family=socket.AF_INET)
    opening = aioudp.bind(local_addr or ("", 0), family=socket.AF_INET, broadcast=True)
    return await opening, peer


async def _exchange(
    endpoint: aioudp.Endpoint[Any],
    peer: aioudp.Address | None,
    payloads: AsyncIterator[bytes],
    *,
    wait: float | None,
    form: Format,
) -> None:
    """Send all payloads while receiving replies and refusals."""
    try:
        async with asyncio.TaskGroup() as group:
            replies = group.create_task(
                _receive(endpoint, None if wait is None else form)
            )
            async for payload in payloads:
                await endpoint.send(payload, peer)
            await asyncio.sleep(_REFUSAL_GRACE if wait is None else wait)
            replies.cancel()
    except ExceptionGroup as group_error:
        raise group_error.exceptions[0] from None


async def _receive(endpoint: aioudp.Endpoint[Any], form: Format | None) -> None:
    """Print replies; without *form*, only wait for an error."""
    while True:
        datagram = await endpoint.recv()
        if form is not None:
            console.emit(show(datagram, form, time.time()))
