"""Where a transport may be taken apart: at home, in its process and its loop's thread.

``close``, ``abort`` and ``__del__`` can come from anywhere. The garbage collector runs
in whatever thread happens to allocate, a forked child inherits every endpoint of its
parent, and an event loop may be closed before what was opened on it. Each of these
needs another treatment, so every way to the end asks :func:`place_of` first:

==================  ============================================================
place               what may be done
==================  ============================================================
``HERE``            everything: stop watching, free the descriptors, call the
                    protocol
``OTHER_THREAD``    nothing but to ask the loop, which is the one thing about it
                    that is safe from another thread
``NOWHERE``         only to close the descriptors: the loop is closed, or belongs
                    to another process. A forked child shares the epoll instance
                    with its parent, so that taking a socket out of it would make
                    the parent deaf (epoll(7)); and the file of a UNIX socket is
                    the parent's.
==================  ============================================================

A child that runs the loop it inherited is at home in it: it has taken the loop over.
"""

from __future__ import annotations

import asyncio
import enum
import os


class Place(enum.Enum):
    """Where the caller is, as seen from an event loop."""

    HERE = enum.auto()
    OTHER_THREAD = enum.auto()
    NOWHERE = enum.auto()


def place_of(loop: asyncio.AbstractEventLoop, pid: int) -> Place:
    """Return where the caller is; *pid* is the process in which *loop* was first used.

    A loop that doesn't run is at home in every thread of its process.
    """
    if loop.is_closed():
        return Place.NOWHERE
    if asyncio._get_running_loop() is loop:
        return Place.HERE
    if os.getpid() != pid:
        return Place.NOWHERE
    return Place.OTHER_THREAD if loop.is_running() else Place.HERE
