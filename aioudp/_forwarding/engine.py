"""A connection to NATS that is replaced when lost, and the JetStream requests we use.

The client library can reconnect, but then unanswered messages stay pending forever, and
its buffer refuses what is published meanwhile. So its reconnecting is disabled. When a
connection ends, its client is discarded, and a new one is created after a pause that
grows from 0.1 to 5 seconds. Users of the connection are called when it's established
and when it's lost, and keep unanswered messages themselves (``ledger``).

A server that stops answering without closing the connection is noticed by pings, after
15 seconds at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

logger = logging.getLogger("aioudp")

OLDEST_SERVER: Final = (2, 10, 23)
"""The first that doesn't lose whole streams in a crash (Jepsen, NATS 2.12.1, 2025)."""

CONNECT_TIMEOUT: Final = 5  # seconds
_PING_INTERVAL: Final = 5  # seconds; the third unanswered one ends the connection
_PAUSE_FIRST: Final = 0.1  # seconds, doubled with every failed attempt ...
_PAUSE_LAST: Final = 5.0  # ... up to this
_API_TIMEOUT: Final = 5.0  # seconds
_LOOK: Final = 0.5  # seconds; how often a connection is looked at that says nothing


def client_library() -> Any:
    """Return the module ``nats``.

    Raises:
        ModuleNotFoundError: If it isn't installed; the message explains how to.
    """
    try:
        import nats
    except ModuleNotFoundError as exc:
        raise ModuleNotFoundError(
            "forwarding needs the package nats-py: pip install 'aioudp-endpoint[nats]'",
            name=exc.name,
        ) from None
    return nats


class Engine:
    """One connection at a time to a server of a NATS cluster."""

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        name: str,
        tls: ssl.SSLContext | None = None,
        credentials: str | None = None,
        connected: Callable[[Any], Awaitable[None]],
        disconnected: Callable[[], None] = lambda: None,
    ) -> None:
        client_library()
        self._servers = [url] if isinstance(url, str) else list(url)
        if not self._servers:
            raise ValueError("url must name at least one server")
        self._where = ", ".join(map(_without_secrets, self._servers))
        self._name = name
        self._tls = tls
        self._credentials = credentials
        self._connected = connected
        self._disconnected = disconnected
        self._gone = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self.client: Any = None
        """The client if there is a connection, else ``None``."""
        self.reconnects = 0

    async def start(self) -> None:
        """Connect, and reconnect from now on.

        Raises:
            ConnectionError: If no server can be reached.
            RuntimeError: If the server is too old, or refuses the client.
        """
        await self._connect()
        self._keeper = asyncio.create_task(self._keep_connected())

    def reconnect(self) -> None:
        """Replace a connection whose server doesn't answer."""
        self._gone.set()

    async def aclose(self) -> None:
        """Close the connection. Messages that weren't flushed are lost."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        await self._discard()

    async def _keep_connected(self) -> None:
        while True:
            # The client calls nobody back if its closing fails in the middle.
            while not (self._gone.is_set() or self.client.is_closed):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK):
                        await self._gone.wait()
            await self._discard()
            logger.warning("the connection to %s is gone", self._where)
            pause = _PAUSE_FIRST
            while self.client is None:
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, _PAUSE_LAST)
                try:
                    await self._connect()
                except Exception as exc:  # whatever it is, it may be over next time
                    logger.debug("connecting again failed: %s", exc)
            self.reconnects += 1
            logger.warning("connected again to %s", self._where)

    async def _connect(self) -> None:
        nats = client_library()
        client = nats.aio.client.Client()
        # A new event, because an earlier client may call back late.
        self._gone = gone = asyncio.Event()
        options: dict[str, Any] = {} if self._tls is None else {"tls": self._tls}
        if self._credentials is not None:
            options["user_credentials"] = self._credentials

        async def closed() -> None:
            gone.set()

        async def failed(exc: Exception) -> None:
            logger.debug("NATS: %s", exc)

        task = asyncio.current_task()
        assert task is not None
        cancelled = task.cancelling()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await client.connect(
                    self._servers,
                    name=self._name,
                    allow_reconnect=False,
                    connect_timeout=CONNECT_TIMEOUT,
                    ping_interval=_PING_INTERVAL,
                    closed_cb=closed,
                    disconnected_cb=closed,
                    error_cb=failed,
                    **options,
                )
            if task.cancelling() > cancelled:  # the client swallowed it
                raise asyncio.CancelledError
            self._check_version(client)
            await self._connected(client)
        except BaseException as exc:
            await _close(client)
            # A ValueError: it answered, but not as a NATS server does.
            if isinstance(exc, (OSError, ValueError, nats.errors.Error)):
                reason = str(exc) or type(exc).__name__
                raise ConnectionError(f"connecting to {self._where}: {reason}") from exc
            raise
        self.client = client

    def _check_version(self, client: Any) -> None:
        version = client.connected_server_version
        found = (version.major, version.minor, version.patch)
        if found < OLDEST_SERVER:
            raise RuntimeError(
                f"NATS server {'.'.join(map(str, found))} is too old: before "
                f"{'.'.join(map(str, OLDEST_SERVER))} a crash can lose a whole stream"
            )

    async def _discard(self) -> None:
        client, self.client = self.client, None
        if client is not None:
            await _close(client)
            self._disconnected()


async def _close(client: Any) -> None:
    """Close a client that may have lost its connection in any state."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(1):
            await client.close()
    # What is left if its closing failed in the middle, or took too long.
    for subscription in client._subs.values():
        if (task := subscription._wait_for_msgs_task) is not None:
            task.cancel()
    if client._transport is not None:
        client._transport.close()


def _without_secrets(url: str) -> str:
    """Return a URL without user and password."""
    scheme, separator, rest = url.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


# -- JetStream's API: requests and answers in JSON
# (docs.nats.io/reference/reference-protocols/nats_api_reference)


class ApiError(RuntimeError):
    """JetStream refused a request."""

    def __init__(self, what: str, error: dict[str, Any]) -> None:
        super().__init__(f"{what}: {error.get('description', error)}")
        self.number: int = int(error.get("err_code", 0))


async def ask(client: Any, subject: str, request: dict[str, Any]) -> dict[str, Any]:
    """Send one request to JetStream's API and return the answer.

    Raises:
        ApiError: If it refuses.
        ConnectionError: If there is no answer.
    """
    nats = client_library()
    asked = f"$JS.API.{subject}"
    try:
        answer = await client.request(
            asked, json.dumps(request).encode(), timeout=_API_TIMEOUT
        )
    except nats.errors.NoRespondersError:
        raise ConnectionError(
            "this server has no JetStream (nats-server -js)"
        ) from None
    except (nats.errors.Error, TimeoutError) as exc:
        raise ConnectionError(f"{asked}: {exc or type(exc).__name__}") from exc
    found: dict[str, Any] = json.loads(answer.data)
    if "error" in found:
        raise ApiError(asked, found["error"])
    return found
