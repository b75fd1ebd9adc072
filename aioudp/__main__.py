"""The ``aioudp`` command, also ``python -m aioudp``.

The commands are in ``cli``, which needs click and rich (the extra ``cli``); the
library doesn't. If they're missing, this file prints how to install them.
"""

from __future__ import annotations

import sys

from . import _installation


def main() -> None:
    """Run the command line and exit with its status."""
    try:
        _installation.check()
    except ImportError as exc:
        sys.exit(f"aioudp: {exc}")
    try:
        from .cli.app import main as run

        run()
    except ModuleNotFoundError as exc:
        missing = (exc.name or "").partition(".")[0]
        if missing not in ("click", "rich"):
            raise
        sys.exit(
            f"aioudp: the command line needs {missing}, which is not installed; "
            "run: pip install 'aioudp-endpoint[cli]'"
        )


if __name__ == "__main__":
    main()
