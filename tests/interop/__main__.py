"""Run all tests of this folder, on both loops, and write their table into the docs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .table import PAGE, Collector, render


def main() -> int:
    collector = Collector()
    folder = str(Path(__file__).parent)
    itself = f"--ignore={folder}/test_table.py"
    arguments = ["-q", "--matrix=full", itself, folder]
    if status := pytest.main(arguments, plugins=[collector]):
        return int(status)
    if collector.others:
        print("Not written, because not all have run:", *collector.others, sep="\n")
        return 1
    PAGE.write_text(render(collector.ran))
    print(f"Written: {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
