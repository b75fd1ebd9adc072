"""UDP for asyncio: ``await endpoint.recv()``, ``await endpoint.send()``.

::

    async with aioudp.bind(("127.0.0.1", 9999)) as endpoint:
        async for data, addr in endpoint:
            await endpoint.send(data, addr)
"""

from __future__ import annotations

from ._endpoint.dropin import create_datagram_endpoint, new_event_loop, run
from ._endpoint.endpoint import Endpoint
from ._endpoint.fanout import SendOutcome
from ._endpoint.opening import Opening, adopt, bind, connect, resolve
from ._endpoint.options import Options
from ._errors import (
    EndpointClosedError,
    RequestTimeoutError,
    SendManyError,
    TruncatedError,
    UDPError,
)
from ._system.datagram_batch import DatagramBatch
from ._system.interfaces import Interface, interfaces
from ._system.send_options import SendOptions
from ._transports.base import DatagramTransport
from ._types import (
    Address,
    Datagram,
    Message,
    NetworkError,
    Overflow,
    Payload,
    Stats,
    Timestamps,
    TransportKind,
)
from .broadcast import BroadcastEndpoint, open_broadcast
from .client import Client, ClientStats, open_client
from .discovery import Discovery, discover
from .forwarding import (
    ForwardedBatch,
    Forwarder,
    ForwardStats,
    SubscribeStats,
    Subscription,
    forward,
    subscribe,
)
from .inherited import InheritedSocket, inherited_sockets
from .multicast import MulticastEndpoint, open_multicast
from .server import RateLimit, Server, ServerStats, serve
from .signals import until_signal
from .workers import WorkersStats, run_workers

__version__ = "0.1.0"

__all__ = [
    "Address",
    "BroadcastEndpoint",
    "Client",
    "ClientStats",
    "Datagram",
    "DatagramBatch",
    "DatagramTransport",
    "Discovery",
    "Endpoint",
    "EndpointClosedError",
    "ForwardStats",
    "ForwardedBatch",
    "Forwarder",
    "InheritedSocket",
    "Interface",
    "Message",
    "MulticastEndpoint",
    "NetworkError",
    "Opening",
    "Options",
    "Overflow",
    "Payload",
    "RateLimit",
    "RequestTimeoutError",
    "SendManyError",
    "SendOptions",
    "SendOutcome",
    "Server",
    "ServerStats",
    "Stats",
    "SubscribeStats",
    "Subscription",
    "Timestamps",
    "TransportKind",
    "TruncatedError",
    "UDPError",
    "WorkersStats",
    "__version__",
    "adopt",
    "bind",
    "connect",
    "create_datagram_endpoint",
    "discover",
    "forward",
    "inherited_sockets",
    "interfaces",
    "new_event_loop",
    "open_broadcast",
    "open_client",
    "open_multicast",
    "resolve",
    "run",
    "run_workers",
    "serve",
    "subscribe",
    "until_signal",
]
