"""Try one feature with one peer, and print what was seen as a line of JSON.

Arguments: the name of the peer and the title of the feature.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from importlib import metadata
from typing import Any

import anyio

from . import features, peers
from .peers import Peer


def find(name: str) -> Peer:
    if name == "aioudp":
        from .ours import Aioudp

        return Aioudp()
    classes: list[type[Peer]] = [*peers.Protocol.__subclasses__()]
    classes += Peer.__subclasses__()
    return next(one for one in classes if one.name == name)()


def version(peer: Peer) -> str:
    if peer.distribution is None:
        return ".".join(map(str, sys.version_info[:3]))
    if peer.name == "aioudp":
        import aioudp

        return aioudp.__version__
    return metadata.version(peer.distribution)


def main(name: str, title: str) -> None:
    logging.disable()  # a traceback per lost datagram is not the question
    peer = find(name)

    async def check() -> features.Seen:
        if backend == "asyncio":
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        return await features.run(title, peer)

    backend = "trio" if title == features.ON_TRIO else peer.backend
    uvloop = peer.uvloop and backend == "asyncio"
    options: dict[str, Any] = {"use_uvloop": True} if uvloop else {}
    seen = anyio.run(check, backend=backend, backend_options=options)
    print(json.dumps([*seen, version(peer)]), flush=True)
    os._exit(0)  # some can't be closed any more


if __name__ == "__main__":
    main(*sys.argv[1:])
