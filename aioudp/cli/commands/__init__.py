"""The commands as users type them: arguments, options and help.

Each module declares one command, as ``command``. It imports its program, and with it
asyncio and the library, when the command is run: help and completion don't need them.
"""

from __future__ import annotations

from typing import Final

from ..parsing import Entry

_DAILY, _SERVERS = "Send and receive", "Servers"
_MEASURE, _MACHINES = "Measure and record", "Many machines"
_SHELL = "Shell"

COMMANDS: Final = {
    "listen": Entry(_DAILY, "Print each received datagram with its sender"),
    "send": Entry(_DAILY, "Send datagrams, and print the replies"),
    "request": Entry(
        _DAILY, "Send a request until it's answered, and print the answer"
    ),
    "discover": Entry(_DAILY, "Ask everybody on the network, and print each reply"),
    "broadcast": Entry(_DAILY, "Send datagrams to everybody on the local networks"),
    "multicast": Entry(_DAILY, "Send to a multicast group, or listen to one"),
    "echo": Entry(_SERVERS, "Send every datagram back to its sender"),
    "serve": Entry(_SERVERS, "Answer each datagram with what a function returns"),
    "relay": Entry(_SERVERS, "Relay datagrams to a server, as a bad network would"),
    "bench": Entry(_MEASURE, "Measure throughput, loss, latency and order on a path"),
    "record": Entry(_MEASURE, "Record received datagrams for Wireshark and replay"),
    "replay": Entry(_MEASURE, "Send the payloads of a capture file, as recorded"),
    "info": Entry(_MEASURE, "Show what this machine and its kernel support"),
    "forward": Entry(_MACHINES, "Publish received datagrams to NATS JetStream"),
    "subscribe": Entry(_MACHINES, "Print the datagrams that other machines received"),
    "completion": Entry(_SHELL, "Print the script that completes commands in a shell"),
}
"""The subcommands, in the order of the help."""
