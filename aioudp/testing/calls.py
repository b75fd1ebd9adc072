"""The opening calls of the library, on a simulated host.

They have the same names, arguments and results: each makes the library's own call with
the host as the current machine.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, Unpack

from .. import client, server
from .._endpoint import dropin, opening
from .._endpoint.endpoint import Endpoint
from .._endpoint.opening import LocalAddress, Opening, RemoteAddress
from .._endpoint.options import Options
from .._requests.port import Key
from .._requests.schedule import Schedule
from .._serving.service import Accept, Handler
from .._serving.tasks import WhenBusy
from .._system import addresses
from .._system.group_address import GroupAddress, Interfaces
from .._system.machine import Machine, on_machine
from .._transports.base import DatagramTransport
from .._types import Datagram, Payload
from ..broadcast import BroadcastEndpoint, open_broadcast
from ..client import Client
from ..discovery import Discovery, discover
from ..multicast import MulticastEndpoint, open_multicast

_ProtocolT = TypeVar("_ProtocolT", bound=asyncio.BaseProtocol)


class OpeningCalls:
    """The opening calls: the base class of hosts and of the network."""

    __slots__ = ()

    @abstractmethod
    def _machine_at(self, local_addr: object) -> Machine:
        """Return the host to open on, for a local address or ``None``."""

    @abstractmethod
    def _chance(self, purpose: str) -> Callable[[], float]:
        """Return a function that draws numbers from 0 to 1, seeded for a purpose."""

    def _prepare_for(self, remote_addr: object) -> None:
        """Prepare for a peer whose host may not exist yet."""

    def bind(
        self, local_addr: LocalAddress = ("", 0), **options: Unpack[Options]
    ) -> Opening[Endpoint]:
        """Open an unconnected endpoint, as :func:`aioudp.bind` does."""
        with on_machine(self._machine_at(local_addr)):
            opened: Opening[Any] = opening.bind(local_addr, **options)
            return opened

    def connect(
        self,
        remote_addr: RemoteAddress,
        *,
        local_addr: LocalAddress | None = None,
        **options: Unpack[Options],
    ) -> Opening[Endpoint]:
        """Open an endpoint with one peer, as :func:`aioudp.connect` does."""
        self._prepare_for(remote_addr)
        with on_machine(self._machine_at(local_addr)):
            opened: Opening[Any] = opening.connect(
                remote_addr, local_addr=local_addr, **options
            )
            return opened

    def open_broadcast(self, port: int, **options: Any) -> Opening[BroadcastEndpoint]:
        """Open an endpoint that broadcasts, as :func:`aioudp.open_broadcast` does."""
        with on_machine(self._machine_at(None)):
            return open_broadcast(port, **options)

    def open_multicast(
        self, group: GroupAddress, port: int, **options: Any
    ) -> Opening[MulticastEndpoint]:
        """Open an endpoint in a group, as :func:`aioudp.open_multicast` does."""
        with on_machine(self._machine_at(None)):
            return open_multicast(group, port, **options)

    def discover(
        self,
        data: Payload,
        port: int,
        *,
        timeout: float,
        repeat: int = 3,
        interfaces: Interfaces = None,
        group: GroupAddress | None = None,
        key: Callable[[Datagram], Hashable] | None = None,
    ) -> Discovery:
        """Discover peers, as :func:`aioudp.discover` does."""
        with on_machine(self._machine_at(None)):
            return discover(
                data,
                port,
                timeout=timeout,
                repeat=repeat,
                interfaces=interfaces,
                group=group,
                key=key,
            )

    def open_client(
        self,
        remote_addr: RemoteAddress | None = None,
        *,
        key: Key | None = None,
        timeout: float = 1.0,
        retries: int = 3,
        backoff: float = 2.0,
        jitter: float = 0.1,
        in_flight: int = 256,
        ports: int = 1,
        local_addr: LocalAddress | None = None,
        **options: Unpack[Options],
    ) -> Opening[Client]:
        """Open a client, as :func:`aioudp.open_client` does.

        Its random waits and ports are derived from the network's seed.
        """
        return client.opening_on(
            self,
            remote_addr,
            chance=self._chance("jitter of clients"),
            secret=self._chance("ports of clients"),
            key=key,
            schedule=Schedule(timeout, retries, backoff, jitter),
            in_flight=in_flight,
            ports=ports,
            local_addr=local_addr,
            options=options,
        )

    def serve(
        self,
        handler: Handler,
        local_addr: LocalAddress,
        *,
        concurrency: int = 100,
        when_busy: WhenBusy = "drop-newest",
        accept: Accept | None = None,
        dedupe: Callable[[bytes], Hashable] | None = None,
        amplification: float | None = None,
        **options: Unpack[Options],
    ) -> Opening[server.Server]:
        """Open a server, as :func:`aioudp.serve` does."""
        return server.serving_on(
            self,
            handler,
            local_addr,
            concurrency=concurrency,
            when_busy=when_busy,
            accept=accept,
            dedupe=dedupe,
            amplification=amplification,
            options=options,
        )

    async def create_datagram_endpoint(
        self,
        protocol_factory: Callable[[], _ProtocolT],
        local_addr: tuple[str, int] | None = None,
        remote_addr: tuple[str, int] | None = None,
        **options: Any,
    ) -> tuple[DatagramTransport, _ProtocolT]:
        """Open a transport for any protocol, as
        :func:`aioudp.create_datagram_endpoint` does.
        """
        if remote_addr is not None:
            self._prepare_for(remote_addr)
        with on_machine(self._machine_at(local_addr)):
            return await dropin.create_datagram_endpoint(
                protocol_factory, local_addr, remote_addr, **options
            )


def host_in(addr: object) -> str:
    """Return the host in an address; ``""`` for none, and for wildcards."""
    if not isinstance(addr, tuple) or not addr or not isinstance(addr[0], str):
        return ""
    host = addr[0]
    if host in ("0.0.0.0", "::", "<broadcast>"):
        return ""
    try:
        return addresses.numeric_host(host, addr)[0]
    except ValueError:
        return host
