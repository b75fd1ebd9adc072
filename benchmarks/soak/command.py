"""The command ``python -m benchmarks soak``: a run, its file, its verdict."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..processes import MeasurementError
from . import namespace, recording
from .kinds import needed
from .page import PAGE, PLOT, RESULT_FILE, in_docs
from .page import grown as grown_table
from .recording import Recorded, Recorder
from .run import Plan, run
from .verdict import MIB, Verdict, judge

__all__ = ["Plan", "judge_all", "missing", "network", "publish", "soak"]


def missing() -> str | None:
    """Return why there can be no run on this system, or ``None``."""
    if sys.platform != "linux":
        return "what a process has is read from /proc, which only Linux has"
    return None


def network() -> bool:
    """Return whether the processes can have networks of their own; print why not.

    Raises:
        RuntimeError: If they can't, and must: ``AIOUDP_REQUIRE`` says so.
    """
    why = namespace.missing()
    if why is None:
        return True
    if "network" in os.environ.get("AIOUDP_REQUIRE", "").split(","):
        raise RuntimeError(f"AIOUDP_REQUIRE wants a network: {why}")
    print(f"SKIPPED cannot: network: no interfaces come and go: {why}")
    return False


def soak(plan: Plan, head: Mapping[str, Any], output: Path | None) -> bool:
    """Run, print the samples and the verdict, and return whether it's good."""
    with tempfile.TemporaryDirectory() as scratch:
        path = output or Path(scratch) / "soak.json"
        recorder = Recorder(path, {**head, "conditions": plan.conditions()})
        grown: dict[str, dict[str, int]] = {}
        died: list[str] = []
        try:
            asyncio.run(run(plan, recorder, _show, grown))
        except* MeasurementError as group:
            died = [str(exc) for exc in group.exceptions]
        finally:
            recorder.close()
        recorded = recording.read(path)
    verdicts = judge_all(recorded)
    print(f"\n{grown_table(verdicts)}\n")
    good = not died
    for why in died:
        print(f"a process didn't reach its end: {why}")
    for loop in plan.loops:
        verdict = verdicts.get(loop)
        complaints: tuple[str, ...] = ("it ended without a sample",)
        if verdict is not None:
            complaints = verdict.complaints
        for complaint in complaints:
            print(f"{loop}: {complaint}")
        if complaints:
            good = False
            print(f"{loop}: more objects than after the warm-up: {grown.get(loop)}")
    print("good" if good else "NOT good")
    if output is not None:
        print(f"\nThe samples are in {output}.")
    return good


def judge_all(recorded: Recorded) -> dict[str, Verdict]:
    """Judge each process of a run."""
    wanted = needed(
        network=recorded.conditions["network"], seconds=recorded.conditions["seconds"]
    )
    return {
        loop: judge(samples, needed=wanted)
        for loop, samples in recorded.samples.items()
    }


def publish(file: Path, root: Path) -> list[Path]:
    """Put a result file and what is made from it below *root*; return the paths."""
    from .plot import draw

    recorded = recording.read(file)
    verdicts = judge_all(recorded)
    kept, page, plot = (root / one for one in (RESULT_FILE, PAGE, PLOT))
    kept.write_bytes(file.read_bytes())
    page.write_text(in_docs(recorded, verdicts))
    draw(recorded, verdicts, plot)
    return [kept, page, plot]


def _show(loop: str, sample: dict[str, Any]) -> None:
    print(
        f"{sample['seconds']:7.1f} s {loop:8}"
        f" rss {sample['rss'] / MIB:6.2f} MiB"
        f" descriptors {sample['descriptors']}"
        f" objects {sample['objects']} ({sample['objects_aioudp']} of aioudp)"
        f" sent {sample['sent']}"
        f" faults {sum(sample['faults'].values())}"
        f" unaccounted {sample['unaccounted']}",
        flush=True,
    )
