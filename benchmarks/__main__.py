"""``python -m benchmarks``."""

from __future__ import annotations

import sys
from importlib.util import find_spec

if __name__ == "__main__":
    missing = [name for name in ("typer", "rich") if find_spec(name) is None]
    if missing:
        sys.exit(f"benchmarks need {' and '.join(missing)}: pip install typer rich")
    from .cli import app

    app(prog_name="python -m benchmarks")
