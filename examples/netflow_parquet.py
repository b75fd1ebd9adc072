"""Write NetFlow version 5 records to a Parquet file; needs pyarrow and numpy.

    python examples/netflow_parquet.py FILE.parquet [HOST [PORT [DATAGRAMS]]]

The layout: https://www.cisco.com/c/en/us/td/docs/net_mgmt/netflow_collection_engine/3-6/user/guide/format.html
"""

import asyncio
import sys
from itertools import pairwise
from typing import Any

import numpy
import pyarrow
import pyarrow.parquet

import aioudp

HEADER = 24  # bytes
RECORD: Any = numpy.dtype(
    [
        ("source", ">u4"),
        ("destination", ">u4"),
        ("next_hop", ">u4"),
        ("input", ">u2"),
        ("output", ">u2"),
        ("packets", ">u4"),
        ("bytes", ">u4"),
        ("first", ">u4"),
        ("last", ">u4"),
        ("source_port", ">u2"),
        ("destination_port", ">u2"),
        ("pad1", "u1"),
        ("tcp_flags", "u1"),
        ("protocol", "u1"),
        ("tos", "u1"),
        ("source_as", ">u2"),
        ("destination_as", ">u2"),
        ("source_mask", "u1"),
        ("destination_mask", "u1"),
        ("pad2", ">u2"),
    ]
)
COLUMNS = [name for name in RECORD.names or () if not name.startswith("pad")]


def table(batch: aioudp.DatagramBatch) -> pyarrow.Table:
    """Return the records of a batch as columns; other datagrams are left out."""
    parts: list[Any] = [numpy.empty(0, RECORD)]
    offsets = batch.offsets.tolist()
    for begin, end in pairwise(offsets):
        header = bytes(batch.data[begin : min(end, begin + 4)])
        count = int.from_bytes(header[2:], "big")
        if header[:2] == b"\0\5" and end - begin == HEADER + count * RECORD.itemsize:
            parts.append(numpy.frombuffer(batch.data, RECORD, count, begin + HEADER))
    records = numpy.concatenate(parts)
    native = {
        name: records[name].astype(RECORD[name].newbyteorder("=")) for name in COLUMNS
    }
    return pyarrow.table(native)


async def main(
    path: str, host: str = "127.0.0.1", port: str = "2055", wanted: str = "0"
) -> None:
    schema = table(aioudp.DatagramBatch()).schema
    received = 0
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        async with aioudp.bind((host, int(port))) as endpoint:
            print("listening on port", endpoint.port, flush=True)
            async with aioudp.until_signal(call=endpoint.drain):
                while not int(wanted) or received < int(wanted):
                    try:
                        batch = await endpoint.recv_batch()
                    except aioudp.EndpointClosedError:
                        break
                    received += len(batch)
                    await asyncio.to_thread(writer.write_table, table(batch))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
