"""Each fuzz target runs for a moment, with inputs that are the same in each run."""

from __future__ import annotations

import importlib
import importlib.util
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from . import driver

HERE: Final = Path(__file__).parent
TARGETS: Final = sorted(path.stem for path in HERE.glob("fuzz_*.py"))
INPUTS: Final = 500


def target(name: str) -> Any:
    if name == "fuzz_control_data" and not importlib.util.find_spec(
        "aioudp._system.speedups"
    ):
        pytest.skip("cannot: speedups: the accelerator is not built")
    if name == "fuzz_inherited" and sys.platform == "win32":
        pytest.skip("cannot: posix: no descriptors of sockets")
    return importlib.import_module(f"tests.fuzz.{name}")


@pytest.mark.parametrize("name", TARGETS)
def test_target(name: str) -> None:
    """No input shows a fault, whether it's nearly right or quite wrong."""
    module = target(name)
    rng = random.Random(1)

    for number in range(INPUTS):
        module.test_one_input(module.mutated(rng))
        module.test_one_input(rng.randbytes(number % 100))


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_get_past_the_first_check(name: str) -> None:
    """Some of what is tried is accepted; else the target looks at an error only."""
    module = target(name)
    rng = random.Random(1)
    lines: set[int] = set()

    def trace(frame: Any, event: str, arg: object) -> Any:
        if frame.f_code is module.test_one_input.__code__ and event == "line":
            lines.add(frame.f_lineno)
        return trace if frame.f_code is module.test_one_input.__code__ else None

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        for _ in range(INPUTS):
            module.test_one_input(module.mutated(rng))
    finally:
        sys.settrace(previous)

    written = {line for _, _, line in module.test_one_input.__code__.co_lines() if line}
    assert written - lines <= {module.test_one_input.__code__.co_firstlineno}


def test_the_command_line(tmp_path: Path) -> None:
    """It runs a target for some time, writes a corpus, and tries one input again."""
    corpus = tmp_path / "corpus"
    module = [sys.executable, "-m", "tests.fuzz.fuzz_address"]
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[1])}

    for arguments in (["--corpus", str(corpus)], ["--input", str(corpus / "000")]):
        subprocess.run([*module, *arguments], check=True, env=environment)

    assert len(list(corpus.iterdir())) > 100


def test_a_fault_is_found_and_can_be_repeated() -> None:
    """The exception says which input it was."""

    def refuse(data: bytes) -> None:
        assert b"9" not in data

    address = target("fuzz_address")
    with pytest.raises(AssertionError) as caught:
        driver.at_random(refuse, address.mutated, seconds=20, seed=0)

    (note,) = caught.value.__notes__
    assert note.startswith("input ")
    assert "9" in note
