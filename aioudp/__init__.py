"""UDP for asyncio: ``await endpoint.recv()``, ``await endpoint.send()``.

::

    async with aioudp.bind(("127.0.0.1", 9999)) as endpoint:
        async for data, addr in endpoint:
            await endpoint.send(data, addr)

Each name is imported from its module when it's used for the first time, so a program
that only sends doesn't load servers, workers and forwarding, and the command line
shows its help without loading asyncio.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
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
    from ._system.interfaces import Interface, interface, interfaces
    from ._system.send_options import SendOptions
    from ._transports.base import DatagramTransport
    from ._types import (
        Address,
        Datagram,
        IPAddress,
        Message,
        NetworkError,
        Overflow,
        Payload,
        Stats,
        Timestamps,
        TransportKind,
        UnixAddress,
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

__distribution__ = "aioudp-endpoint"  # whose file this is: see _installation
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
    "IPAddress",
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
    "UnixAddress",
    "WorkersStats",
    "__version__",
    "adopt",
    "bind",
    "connect",
    "create_datagram_endpoint",
    "discover",
    "forward",
    "inherited_sockets",
    "interface",
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

# Where each public name is defined; a test compares it with the imports above.
_WHERE: Final = {
    "Address": "_types",
    "BroadcastEndpoint": "broadcast",
    "Client": "client",
    "ClientStats": "client",
    "Datagram": "_types",
    "DatagramBatch": "_system.datagram_batch",
    "DatagramTransport": "_transports.base",
    "Discovery": "discovery",
    "Endpoint": "_endpoint.endpoint",
    "EndpointClosedError": "_errors",
    "ForwardStats": "forwarding",
    "ForwardedBatch": "forwarding",
    "Forwarder": "forwarding",
    "IPAddress": "_types",
    "InheritedSocket": "inherited",
    "Interface": "_system.interfaces",
    "Message": "_types",
    "MulticastEndpoint": "multicast",
    "NetworkError": "_types",
    "Opening": "_endpoint.opening",
    "Options": "_endpoint.options",
    "Overflow": "_types",
    "Payload": "_types",
    "RateLimit": "server",
    "RequestTimeoutError": "_errors",
    "SendManyError": "_errors",
    "SendOptions": "_system.send_options",
    "SendOutcome": "_endpoint.fanout",
    "Server": "server",
    "ServerStats": "server",
    "Stats": "_types",
    "SubscribeStats": "forwarding",
    "Subscription": "forwarding",
    "Timestamps": "_types",
    "TransportKind": "_types",
    "TruncatedError": "_errors",
    "UDPError": "_errors",
    "UnixAddress": "_types",
    "WorkersStats": "workers",
    "adopt": "_endpoint.opening",
    "bind": "_endpoint.opening",
    "connect": "_endpoint.opening",
    "create_datagram_endpoint": "_endpoint.dropin",
    "discover": "discovery",
    "forward": "forwarding",
    "inherited_sockets": "inherited",
    "interface": "_system.interfaces",
    "interfaces": "_system.interfaces",
    "new_event_loop": "_endpoint.dropin",
    "open_broadcast": "broadcast",
    "open_client": "client",
    "open_multicast": "multicast",
    "resolve": "_endpoint.opening",
    "run": "_endpoint.dropin",
    "run_workers": "workers",
    "serve": "server",
    "subscribe": "forwarding",
    "until_signal": "signals",
}

_MODULES: Final = frozenset(
    {
        "broadcast",
        "client",
        "discovery",
        "forwarding",
        "inherited",
        "multicast",
        "server",
        "signals",
        "workers",
    }
)

if not TYPE_CHECKING:  # type checkers would take every name for one that exists

    def __getattr__(name: str) -> object:
        if name in _WHERE:
            value = getattr(import_module(f".{_WHERE[name]}", __name__), name)
            globals()[name] = value  # the next time, this function isn't called
            return value
        if name in _MODULES:
            return import_module(f".{name}", __name__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES})
