"""A worker: sum statsd counters from NATS JetStream, each batch exactly once.

Workers share the batches. A batch comes again when its worker dies before it
acknowledges. So its sums are stored together with its id, in one transaction:

    python examples/statsd_worker.py nats://127.0.0.1:4222 sums.sqlite
"""

import asyncio
import sqlite3
import sys
from collections import Counter

import aioudp


def counters(batch: aioudp.ForwardedBatch) -> Counter[str]:
    """Return the sums of the lines "name:value|c"."""
    sums = Counter[str]()
    for data, _ in batch:
        for line in data.decode(errors="replace").splitlines():
            name, _, rest = line.partition(":")
            value, _, kind = rest.partition("|")
            if kind == "c" and value.lstrip("-").isdecimal():
                sums[name] += int(value)
    return sums


def store(database: sqlite3.Connection, batch: aioudp.ForwardedBatch) -> None:
    """Add the sums of a batch, unless they were added before."""
    with database:  # one transaction
        new = database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (batch.id,))
        if new.rowcount:
            database.executemany(
                "INSERT INTO sums VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                counters(batch).items(),
            )


async def main(url: str, path: str) -> None:
    database = sqlite3.connect(path, timeout=30, check_same_thread=False)
    database.executescript(
        "PRAGMA journal_mode = WAL;"
        "CREATE TABLE IF NOT EXISTS seen (batch TEXT PRIMARY KEY);"
        "CREATE TABLE IF NOT EXISTS sums (name TEXT PRIMARY KEY, value INTEGER);"
    )
    async with aioudp.subscribe(
        url, stream="statsd", group="sums", ack_wait=5.0
    ) as batches:
        print("ready", flush=True)
        async for batch in batches:
            await asyncio.to_thread(store, database, batch)
            await batch.ack()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
