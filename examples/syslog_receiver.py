"""Store syslog messages (RFC 3164, RFC 5424) in an SQLite database.

    python syslog_receiver.py DATABASE HOST PORT

    logger -n HOST -P PORT -d 'hello'

It writes in batches: while one is written, in a thread, the next one gathers in the
endpoint's queue. When the queue is full, messages wait in the kernel. Ctrl-C or SIGTERM
stores everything that has arrived, then ends the program.
"""

import asyncio
import re
import sqlite3
import sys
import time
from contextlib import closing

import aioudp

BATCH = 1000  # messages in a transaction
PRIORITY = re.compile(rb"<(\d{1,3})>")
NO_PRIORITY = 13  # a notice of a user's program (RFC 3164 section 4.3.3)

TABLE = """
    CREATE TABLE IF NOT EXISTS messages
    (received REAL, host TEXT, facility INTEGER, severity INTEGER, text TEXT)
"""
INSERT = "INSERT INTO messages VALUES (?, ?, ?, ?, ?)"

Row = tuple[float, str, int, int, str]


def row(datagram: aioudp.Datagram, received: float) -> Row:
    """Split a datagram into the columns of the table."""
    data, addr = datagram
    match = PRIORITY.match(data)
    facility, severity = divmod(int(match[1]) if match else NO_PRIORITY, 8)
    text = data[match.end() if match else 0 :].decode("utf-8", "backslashreplace")
    return received, str(addr[0]), facility, severity, text


def store(database: sqlite3.Connection, rows: list[Row]) -> None:
    """Write a batch, and return when it's on the disk."""
    with database:  # a transaction
        database.executemany(INSERT, rows)


async def receive(endpoint: aioudp.Endpoint, database: sqlite3.Connection) -> None:
    """Store messages until the endpoint has been drained."""
    while True:
        try:
            datagrams = await endpoint.recv_many(BATCH)
        except aioudp.EndpointClosedError:
            return
        now = time.time()
        rows = [row(datagram, now) for datagram in datagrams]
        await asyncio.to_thread(store, database, rows)
        print("stored", len(rows), flush=True)


async def main(path: str, host: str, port: str) -> None:
    with closing(sqlite3.connect(path, check_same_thread=False)) as database:
        database.execute(TABLE)
        async with (
            aioudp.bind((host, int(port)), queue_size=10 * BATCH) as endpoint,
            aioudp.until_signal(call=endpoint.drain),
        ):
            print("listening on port", endpoint.port, flush=True)
            await receive(endpoint, database)
        print("dropped", endpoint.stats().dropped_kernel)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
