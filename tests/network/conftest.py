"""A network of its own for every test here, which lives at the near end of a link.

Overrides ``host``, so that ``endpoints`` of the outer conftest opens on the link.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from .links import NEAR, Link, Path, SilentHost, TwoLinks
from .members import Members
from .namespaces import Namespace
from .traffic import Sink


@pytest.fixture
def link() -> Iterator[Link]:
    """Make two namespaces joined by a link, and run the test inside the near one."""
    with Namespace() as near, Namespace() as far:
        link = Link(near, far, routable=True)
        with near.entered():
            yield link


@pytest.fixture
def path() -> Iterator[Path]:
    """Make a path over two routers, and run the test at its near end."""
    with (
        Namespace() as near,
        Namespace() as one,
        Namespace() as two,
        Namespace() as far,
    ):
        path = Path(near, one, two, far)
        with near.entered():
            yield path


@pytest.fixture
def two_links() -> Iterator[TwoLinks]:
    """Make a host with two links, and run the test on it."""
    with Namespace() as near, Namespace() as one, Namespace() as two:
        links = TwoLinks(near, one, two)
        with near.entered():
            yield links


@pytest.fixture
def host(link: Link, family: socket.AddressFamily) -> str:
    """Return the near end's address on the link."""
    return NEAR[family]


@pytest.fixture
def sink(link: Link, family: socket.AddressFamily) -> Iterator[Sink]:
    """Open a plain socket at the far end."""
    with Sink(link.far, family) as sink:
        yield sink


@pytest.fixture
def silent(link: Link, family: socket.AddressFamily) -> SilentHost:
    """Return a host on the link that does not answer yet."""
    return SilentHost(link, family)


@pytest.fixture
def members() -> Iterator[Members]:
    """Make plain sockets that are in groups."""
    with ExitStack() as stack:
        yield Members(stack)
