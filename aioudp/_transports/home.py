"""Where a transport may be closed: at home, that is, in its process and loop thread.

``close``, ``abort`` and ``__del__`` can be called from anywhere. The garbage collector
runs in any thread that allocates, a forked child inherits every endpoint of its parent,
and an event loop may be closed before its endpoints. Each case needs a different
treatment, so every way of closing calls :func:`place_of` first:

==================  ============================================================
place               what may be done
==================  ============================================================
``HERE``            everything: stop watching, free the descriptors, call the
                    protocol
``OTHER_THREAD``    only schedule a call in the loop, which is the only thing
                    that is safe from another thread
``NOWHERE``         only close the descriptors: the loop is closed, or belongs
                    to another process. A forked child shares the epoll instance
                    with its parent, so removing a socket from it would make the
                    parent deaf (epoll(7)); and the file of a UNIX socket belongs
                    to the parent.
==================  ============================================================

A child that runs the loop it inherited has taken the loop over, and is at home there.
"""

from __future__ import annotations

import asyncio
import enum
import os


class Place(enum.Enum):
    """The place of the caller, relative to an event loop."""

    HERE = enum.auto()
    OTHER_THREAD = enum.auto()
    NOWHERE = enum.auto()


def place_of(loop: asyncio.AbstractEventLoop, pid: int) -> Place:
    """Return the caller's place; *pid* is the process in which *loop* was first used.

    A loop that isn't running is at home in every thread of its process.
    """
    if loop.is_closed():
        return Place.NOWHERE
    if asyncio._get_running_loop() is loop:
        return Place.HERE
    if os.getpid() != pid:
        return Place.NOWHERE
    return Place.OTHER_THREAD if loop.is_running() else Place.HERE
