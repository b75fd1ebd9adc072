"""Notice that another distribution has written into this package.

``aioudp`` and ``aio-udp-server`` on PyPI are other projects with the same import name.
pip doesn't mind that two distributions own a file: the last one that is installed
overwrites ``__init__``, ``client`` and ``server`` of the other, and whichever is
uninstalled deletes them.

``__init__`` says whose it is. ``_types``, which nearly every
module imports, checks that; so what is left of the package explains itself. The check
costs one attribute. Everything else here runs after it has failed, or for
``aioudp info``.
"""

from __future__ import annotations

import sys
from typing import Final

DISTRIBUTION: Final = "aioudp-endpoint"


def check() -> None:
    """Check that the package's ``__init__`` is the one that belongs to this module.

    Raises:
        ImportError: If another distribution has overwritten or deleted it. The
            message says which one, and how to repair the installation.
    """
    package = sys.modules[__package__]
    if getattr(package, "__distribution__", None) != DISTRIBUTION:
        raise ImportError(problem(), name=__package__)


def problem() -> str | None:
    """Return what is wrong with the installation and how to repair it, if anything."""
    package = sys.modules[__package__]
    whole = getattr(package, "__distribution__", None) == DISTRIBUTION
    others = other_distributions()
    if whole and not others:
        return None
    names = " and ".join(f"{name} {version}" for name, version in others.items())
    if others and whole:
        found = f"{names}, another project, owns files of this package too"
    elif others:
        found = f"{names}, another project, has overwritten files of this package"
    else:
        found = "another project has overwritten or deleted files of this package"
    uninstall = " ".join(("pip uninstall --yes", *others, DISTRIBUTION))
    return f"{found}; run: {uninstall}; then install {DISTRIBUTION} again"


def other_distributions() -> dict[str, str]:
    """Return the other distributions that install this package: names and versions.

    Reads the metadata of everything that is installed.
    """
    from importlib import metadata  # it takes longer than all else here

    owners = metadata.packages_distributions().get(__package__, [])
    return {
        name: metadata.version(name)
        for name in sorted(set(owners))
        if name.replace("_", "-").lower() != DISTRIBUTION
    }
