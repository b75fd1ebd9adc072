"""Forwarding: datagrams are handled on other machines, through NATS JetStream.

A *front* owns the socket and publishes what it receives. *Workers*, on any machine,
consume the datagrams and acknowledge them. In between, the stream engine keeps whatever
isn't acknowledged yet. Each message is a packed batch, because one message per datagram
is a hundred times slower.

It needs the extra ``nats``, and a NATS server 2.10.23 or later with JetStream.
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
    endpoint: Endpoint[Any],
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
    """Publish what an endpoint receives, until the endpoint ends. Await the result.

    Each batch is kept in memory until the engine acknowledges it. If there is no
    answer in time, or the connection is lost, the batch is published again; the engine
    recognizes its id and stores it once. A lost connection is replaced, however long it
    takes, with growing pauses between attempts. While the engine is unreachable or
    full, up to *buffer* bytes are kept; then the overflow policy applies.

    After :meth:`Endpoint.drain`, everything received is published and answered before
    this returns. Cancelling stops at once: batches that the engine hasn't acknowledged
    may or may not be stored.

    Workers' replies are sent from the endpoint. If it was opened with
    ``packet_info=True``, they're sent from the address that received the request.

    Args:
        endpoint: The endpoint to receive from; nothing else should receive from it.
        url: The server, or several servers of a cluster: ``"nats://host:4222"`` or
            ``"tls://..."``.
        stream: The name of the stream: letters, digits, ``-`` and ``_``.
        partition: ``"source"`` keeps the datagrams of each source in order on their way
            to the workers, which must use the same option.
        partitions: The number of subjects that the sources are spread over then.
        batch_bytes: Publish a batch when it reaches this size, in bytes. The server's
            limit for messages applies, too.
        linger: Publish a batch this long after its first datagram, in seconds.
        buffer: Maximum bytes in memory, published or not.
        unanswered: Maximum batches that are published and not answered yet.
        answer_timeout: Publish a batch again after this many seconds without an answer.
        overflow: What to do when *buffer* is full, as in :class:`aioudp.Options`.
            Default: the endpoint's policy. ``"pause"`` leaves datagrams in the kernel,
            which counts those it drops.
        drain: How long to wait for the last answers, in seconds.
        create: Whether to create the stream if it doesn't exist. It keeps each batch
            until a worker acknowledges it, and refuses batches when it's full.
        stream_bytes: The maximum size of a stream created this way, in bytes.
        replicas: How many servers of the cluster store it.
        tls: The TLS context, to verify the server and to present a certificate.
        credentials: The path of a NATS credentials file.

    Returns:
        A :class:`Forwarder`: awaiting it returns its :class:`ForwardStats`;
        ``stats()`` returns them at any time.

    Raises:
        ConnectionError: When awaited, if the first connection fails.
        ModuleNotFoundError: If the package ``nats-py`` isn't installed.
        RuntimeError: When awaited, if the server is too old, or refuses the stream.
        TypeError: If an argument has the wrong type.
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

    The subscriptions of a group, on any machine, share the batches: each batch goes to
    one of them. If it isn't acknowledged within *ack_wait* seconds, it goes to another.
    So each batch is delivered at least once; :attr:`ForwardedBatch.id` identifies it.

    Args:
        url: As in :func:`forward`.
        stream: As in :func:`forward`.
        group: The name of the group. Its position in the stream outlives its workers.
        partition: As in :func:`forward`. With ``"source"``, the engine delivers one
            batch per partition at a time, so that the datagrams of a source are handled
            in order.
        partitions: As in :func:`forward`.
        prefetch: How many batches to fetch ahead. With *partition*, it can be one per
            partition if that is more.
        ack_wait: Seconds until a batch that isn't acknowledged goes to another worker.
            The first subscription of a group sets it for all; see
            :attr:`Subscription.ack_wait`.
        patience: Seconds to wait for a stream that doesn't exist yet.
        tls: As in :func:`forward`.
        credentials: As in :func:`forward`.

    Raises:
        ConnectionError: If no server can be reached.
        ModuleNotFoundError: If the package ``nats-py`` isn't installed.
        RuntimeError: If the server is too old, or refuses the group: a stream that
            :func:`forward` created has one group.
        TypeError: If an argument has the wrong type.
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
    """Open the server that :func:`aioudp.serve` returns for a URL."""
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
