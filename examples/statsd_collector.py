"""Sum up the counters that programs send in the format of statsd.

    python statsd_collector.py HOST PORT

    echo -n 'logins:1|c' | nc -u -w0 HOST PORT

Each second, it prints the sum of each counter in that second. The sums are exact:
decimal fractions stay fractions, and samples (``requests:1|c|@0.1``) are scaled up when
they're printed. Ctrl-C or SIGTERM prints what has arrived by then.
"""

import asyncio
import re
import sys
from fractions import Fraction

import aioudp

# A name, a value, and the rate of a sample. Anybody can send numbers with a million
# digits, so their length is limited.
COUNTER = re.compile(
    rb"([\w.-]{1,100}):(-?\d{1,15}(?:\.\d{1,9})?)\|c(?:\|@(0?\.\d{1,9}|1(?:\.0)?))?"
)
MOST_COUNTERS = 10_000  # names and rates in a second; the others are not summed up


class Collector:
    """The sums since the last report."""

    def __init__(self) -> None:
        self.sums: dict[tuple[bytes, bytes], Fraction] = {}
        self.refused = 0

    def add(self, data: bytes, addr: aioudp.Address) -> None:
        """Add a datagram: one counter in each line."""
        for line in data.splitlines():
            match = COUNTER.fullmatch(line)
            if match is None or not float(match[3] or 1):
                self.refused += 1
                continue
            name, value, rate = match.groups(b"1")
            key = name, rate
            if key not in self.sums and len(self.sums) >= MOST_COUNTERS:
                self.refused += 1
                continue
            self.sums[key] = self.sums.get(key, Fraction(0)) + Fraction(value.decode())

    def report(self) -> None:
        """Print the sums, and begin again with nothing."""
        totals: dict[str, Fraction] = {}
        for (name, rate), total in self.sums.items():
            text, scale = name.decode(), Fraction(rate.decode())
            totals[text] = totals.get(text, Fraction(0)) + total / scale
        for text, sum_ in sorted(totals.items()):
            print(text, sum_)
        if self.refused:
            print("statsd.refused", self.refused)
        sys.stdout.flush()
        self.sums.clear()
        self.refused = 0


async def report_each_second(collector: Collector) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due += 1
        await asyncio.sleep(due - loop.time())
        collector.report()


async def main(host: str, port: str) -> None:
    collector = Collector()
    async with aioudp.serve(collector.add, (host, int(port))) as server:
        print("listening on port", server.port, flush=True)
        reports = asyncio.create_task(report_each_second(collector))
        await server.serve_forever()
        reports.cancel()
        collector.report()


if __name__ == "__main__":
    aioudp.run(main(*sys.argv[1:]))
