"""The same datagrams on other machines, through NATS JetStream.

A *front* owns the socket and publishes what it receives; *workers*, anywhere, take it
and acknowledge it. In between a stream engine keeps what nobody has acknowledged yet.
The unit is the packed batch: a message for each datagram is a hundred times slower.

Needs the extra ``nats``, and a NATS server from 2.10.23 on with JetStream.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any, Final, Literal

from ._endpoint.endpoint import Endpoint
from ._endpoint.opening import Opening
from ._forwarding.batch import ForwardedBatch
from ._forwarding.consumer import Subscription
from ._forwarding.engine import client_library
from ._forwarding.front import Forwarder
from ._forwarding.names import check_name
from ._forwarding.settings import ForwardSettings, SubscribeSettings
from ._forwarding.stats import ForwardStats, SubscribeStats
from ._forwarding.stream_server import StreamServer
from ._serving.service import Accept, Handler
from ._types import Overflow
from .server import schemes

__all__ = [
    "ForwardStats",
    "ForwardedBatch",
    "Forwarder",
    "SubscribeStats",
    "Subscription",
    "forward",
    "subscribe",
]


def forward(
    endpoint: Endpoint,
    url: str | Sequence[str],
    *,
    stream: str,
    partition: Literal["source"] | None = None,
    partitions: int = 8,
    batch_bytes: int = 256 * 1024,
    linger: float = 0.02,
    buffer: int = 64 * 1024 * 1024,
    unanswered: int = 16,
    answer_timeout: float = 5.0,
    overflow: Overflow | None = None,
    drain: float = 10.0,
    create: bool = True,
    stream_bytes: int = 1024 * 1024 * 1024,
    replicas: int = 1,
    tls: ssl.SSLContext | None = None,
    credentials: str | None = None,
) -> Forwarder:
    """Publish what an endpoint receives, until it ends. Await the result.

    A batch is kept in memory until the engine says that it has stored it. One that
    isn't answered in time, or whose connection is gone, is published again; the engine
    knows it by its id and stores it once. A lost connection is made again, with growing
    pauses, for as long as it takes. While the engine is away, or full, up to *buffer*
    bytes are kept, and then the overflow policy decides.

    After :meth:`Endpoint.drain`, everything received is published and answered before
    this returns. Cancelling stops at once: what the engine hasn't acknowledged may or
    may not be stored.

    Workers' replies are sent from the endpoint; open it with ``packet_info=True`` and
    they leave from the address that was asked.

    Args:
        endpoint: What to receive from; nobody else should.
        url: The server, or several of one cluster: ``"nats://host:4222"``, or
            ``"tls://..."``.
        stream: The name of the stream: letters, digits, ``-`` and ``_``.
        partition: ``"source"`` keeps the datagrams of each source in order on their way
            to the workers, which must ask for the same.
        partitions: Over how many subjects the sources are spread then.
        batch_bytes: Close a batch at this size, in bytes; never more than the server
            takes in one message.
        linger: Close it this long after its first datagram, in seconds.
        buffer: Bytes to keep in memory at most, published or not.
        unanswered: Batches that may be published and not answered.
        answer_timeout: Publish a batch again after so many seconds without an answer.
        overflow: What to do when *buffer* is full, as in :class:`aioudp.Options`.
            Default: as the endpoint does. ``"pause"`` leaves datagrams in the kernel,
            which counts what it drops then.
        drain: How long to wait for the last answers, in seconds.
        create: Make the stream if there is none: it keeps each batch until it is
            acknowledged, and refuses more than it has room for.
        stream_bytes: The room of a stream made so, in bytes.
        replicas: How many servers of the cluster hold it.
        tls: How to check the server, and show a certificate.
        credentials: The path of a NATS credentials file.

    Returns:
        A :class:`Forwarder`: awaiting it returns its :class:`ForwardStats`;
        ``stats()`` returns them at any time.

    Raises:
        ConnectionError: When awaited, if no server can be reached at first.
        ModuleNotFoundError: If the package ``nats-py`` is not installed.
        RuntimeError: When awaited, if the server is too old, or refuses the stream.
        TypeError: If an argument is of a wrong type.
        ValueError: If an argument is out of range.
    """
    client_library()
    settings = ForwardSettings(
        partitions=_partitions(partition, partitions),
        ordered=partition is not None,
        batch_bytes=batch_bytes,
        linger=linger,
        buffer=buffer,
        unanswered=unanswered,
        answer_timeout=answer_timeout,
        overflow=overflow,
        drain=drain,
        create=create,
        stream_bytes=stream_bytes,
        replicas=replicas,
        tls=tls,
        credentials=credentials,
    )
    return Forwarder(endpoint, url, check_name("stream", stream), settings)


def subscribe(
    url: str | Sequence[str],
    *,
    stream: str,
    group: str,
    partition: Literal["source"] | None = None,
    partitions: int = 8,
    prefetch: int = 4,
    ack_wait: float = 30.0,
    patience: float = 10.0,
    tls: ssl.SSLContext | None = None,
    credentials: str | None = None,
) -> Opening[Subscription]:
    """Open an asynchronous iterator over the batches of a stream.

    ::

        async with aioudp.subscribe(url, stream="statsd", group="sums") as batches:
            async for batch in batches:
                for data, addr in batch:
                    ...
                await batch.ack()

    All subscriptions of a group, on any machine, share the work: each batch goes to one
    of them. One that isn't acknowledged within *ack_wait* seconds goes to another. So
    each batch comes at least once, and :attr:`ForwardedBatch.id` shows which one it is.

    Args:
        url: As in :func:`forward`.
        stream: As in :func:`forward`.
        group: The name of the group; its place in the stream outlives its workers.
        partition: ``"source"``: as the fronts do. Then one batch of a partition is out
            at a time, so that the datagrams of a source are handled in order.
        partitions: As the fronts have it.
        prefetch: Batches to hold here, ready for the next iteration.
        ack_wait: Seconds until a batch that isn't acknowledged goes to another worker.
            The first subscription of a group decides it.
        patience: Seconds to wait for a stream that isn't there yet.
        tls: As in :func:`forward`.
        credentials: As in :func:`forward`.

    Raises:
        ConnectionError: If no server can be reached.
        ModuleNotFoundError: If the package ``nats-py`` is not installed.
        RuntimeError: If the server is too old, or refuses the group: a stream made by
            :func:`forward` has one group.
        TypeError: If an argument is of a wrong type.
        ValueError: If an argument is out of range.
    """
    client_library()
    settings = SubscribeSettings(
        partitions=_partitions(partition, partitions),
        ordered=partition is not None,
        prefetch=prefetch,
        ack_wait=ack_wait,
        patience=patience,
        tls=tls,
        credentials=credentials,
    )
    check_name("stream", stream)
    check_name("group", group)
    return Opening(lambda: Subscription(url, stream, group, settings).start())


def _serve(
    handler: Handler,
    url: str,
    *,
    concurrency: int,
    accept: Accept | None,
    options: Any,
) -> Opening[StreamServer]:
    """Open what :func:`aioudp.serve` returns for a URL."""
    taken = {"stream", "group", "packet_info", *_SUBSCRIBE_OPTIONS}
    if unknown := sorted(options.keys() - taken):
        raise TypeError(f"not an option of serving a stream: {', '.join(unknown)}")
    if missing := sorted({"stream", "group"} - options.keys()):
        raise TypeError(f"serving a stream needs the options {', '.join(missing)}")
    given = {name: options[name] for name in _SUBSCRIBE_OPTIONS if name in options}
    opening = subscribe(url, stream=options["stream"], group=options["group"], **given)

    async def open_() -> StreamServer:
        return StreamServer(
            await opening,
            handler,
            concurrency=concurrency,
            accept=accept,
            packet_info=options.get("packet_info", False),
            ack_wait=given.get("ack_wait", 30.0),
        )

    return Opening(open_)


_SUBSCRIBE_OPTIONS: Final = (
    "partition",
    "partitions",
    "prefetch",
    "ack_wait",
    "patience",
    "tls",
    "credentials",
)
schemes.update(nats=_serve, tls=_serve)


def _partitions(partition: object, partitions: int) -> int:
    if partition not in (None, "source"):
        raise ValueError(f'partition must be None or "source", got {partition!r}')
    return partitions if partition == "source" else 1
