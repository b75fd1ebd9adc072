"""The benchmarks run: very short, through the command line that their users call.

Nothing here says how fast anything is. What is checked is that every number is there
and that the numbers agree with each other.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.timeout(120),  # many processes, one after the other
    pytest.mark.skipif(
        sys.platform == "win32", reason="cannot: posix: the load needs recvmsg_into"
    ),
    *(
        pytest.mark.skipif(
            find_spec(name) is None, reason=f"cannot: {name}: it is not installed"
        )
        for name in ("typer", "rich")
    ),
]


def benchmarks(*arguments: str | Path) -> str:
    """Run ``python -m benchmarks`` and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=["native", "python"])
def result_file(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Run a few subjects, with the C programs if there is a compiler, and without."""
    file = tmp_path_factory.mktemp("results") / "run.json"
    subjects = (
        "aioudp recv (asyncio)",
        "aioudp recv_many (asyncio)",
        "aioudp recv_many, in Python",
        "segment_size=) (asyncio)",
        "async for",
        "drop-in (asyncio)",
        "DatagramProtocol (asyncio)",
    )
    load = ["--python-load"]
    if request.param == "native":
        load = []
        for name in ("C recvmmsg", "64 sources", "1,000 peers (asyncio)"):
            load += ["--subject", name]
    benchmarks(
        "run",
        *load,
        *(argument for name in subjects for argument in ("--subject", name)),
        *("--payload", "64", "--payload", "1200"),
        *("--rounds", "1", "--seconds", "0.02"),
        *("--output", file),
    )
    return file


@pytest.fixture
def result(result_file: Path) -> dict[str, Any]:
    """Return the content of the file."""
    content: dict[str, Any] = json.loads(result_file.read_text())
    return content


def test_file_says_what_the_numbers_depend_on(result: dict[str, Any]) -> None:
    """Machine, kernel, versions, date, commit and conditions are in the file."""
    assert result["format"] == 1
    assert {"date", "commit", "versions", "skipped", "failed"} <= result.keys()
    assert {"cpu", "cores", "kernel", "python"} <= result["machine"].keys()
    assert result["conditions"]["rounds"] == 1
    assert result["conditions"]["seconds_per_round"] == 0.02
    assert result["conditions"]["pinning"] == {"listener": None, "talker": None}
    assert {"source", "sink", "echo_client"} <= result["conditions"].keys()
    assert result["versions"]["aioudp"]


def test_every_subject_that_can_run_has_a_row(result: dict[str, Any]) -> None:
    """Nothing fails, and nothing is missing but what is skipped with a reason."""
    measured = {(row["scenario"], row["subject"]) for row in result["rows"]}

    assert result["failed"] == {}
    assert {
        ("receive", "aioudp recv"),
        ("receive", "aioudp recv_many"),
        ("receive", "DatagramProtocol"),
        ("send", "aioudp send(segment_size=)"),
        ("send", "DatagramProtocol"),
        ("echo", "aioudp async for + send"),
        ("echo", "DatagramProtocol"),
    } <= measured
    assert all(reason for reason in result["skipped"].values())


def test_numbers_agree(result: dict[str, Any]) -> None:
    """What was sent was received or is lost, and took its time."""
    for row in result["rows"]:
        (one,) = row["rounds"]
        assert one["sent"] > 0, row
        assert one["received"] > 0, row
        assert one["lost"] >= 0, row
        assert one["received"] + one["lost"] == one["sent"], row
        assert (one["kernel_drops"] or 0) <= one["lost"], row
        assert one["seconds"] > 0, row
        assert one["cpu_seconds"] >= 0, row
        if row["scenario"] == "echo":
            assert 0 < one["p50_seconds"] <= one["p99_seconds"] < 1, row


def test_tables_and_ratios_come_from_the_file(result_file: Path) -> None:
    """There is a table for each scenario and payload, and one of the ratios."""
    tables = benchmarks("table", result_file)
    ratios = benchmarks("ratios", result_file)

    for scenario in ("Receive", "Send", "Echo"):
        for payload in (64, 1200):
            assert f"### {scenario}, {payload} bytes" in tables
    assert "| aioudp recv (asyncio)" in tables
    assert "receive: aioudp recv (asyncio) / DatagramProtocol (asyncio)" in ratios


@pytest.mark.skipif(
    find_spec("matplotlib") is None, reason="cannot: matplotlib: it is not installed"
)
def test_plots_come_from_the_file(result_file: Path, tmp_path: Path) -> None:
    """There is an SVG for each scenario, and drawing it again gives the same."""
    printed = benchmarks("plot", result_file, "--output", tmp_path / "one")
    benchmarks("plot", result_file, "--output", tmp_path / "two")

    for name in ("receive.svg", "send.svg", "echo.svg"):
        drawn = tmp_path / "one" / name
        assert name in printed
        assert ElementTree.parse(drawn).getroot().tag.endswith("svg")
        assert "aioudp" in drawn.read_text()
        assert drawn.read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_memory_of_idle_endpoints(tmp_path: Path) -> None:
    """Each loop has its row, with what an endpoint costs."""
    file = tmp_path / "memory.json"
    printed = benchmarks("memory", "--count", "200", "--output", file)

    rows = json.loads(file.read_text())["memory"]
    assert "aioudp (asyncio)" in printed
    assert {row["subject"] for row in rows} == {"aioudp", "DatagramProtocol"}
    assert all(row["endpoints"] == 200 for row in rows)
    assert all(row["python_bytes_each"] > 0 for row in rows)


def test_import_time(tmp_path: Path) -> None:
    """Every import was timed in an interpreter of its own."""
    file = tmp_path / "import.json"
    printed = benchmarks("import-time", "--rounds", "2", "--output", file)

    result = json.loads(file.read_text())["import_time"]
    assert "added by aioudp" in printed
    assert all(len(times) == 2 for times in result["seconds"].values())


@pytest.mark.skipif(
    find_spec("aioquic") is None, reason="cannot: aioquic: not installed"
)
def test_quic(tmp_path: Path) -> None:
    """Every transfer was timed, with the drop-in and without."""
    file = tmp_path / "quic.json"
    options = ("--rounds", "1", "--mebibytes", "1", "--output", file)
    printed = benchmarks("quic", *options)

    result = json.loads(file.read_text())["quic"]
    assert "asyncio+drop-in" in printed
    assert {"asyncio", "asyncio+drop-in"} <= result["seconds"].keys()
    assert all(taken > 0 for (taken,) in result["seconds"].values())


@pytest.mark.skipif(
    shutil.which("iperf3") is None, reason="cannot: iperf3: not installed"
)
def test_iperf3(tmp_path: Path) -> None:
    """Each payload has its row, in the units of the other tables."""
    file = tmp_path / "iperf3.json"
    printed = benchmarks("iperf3", "--rounds", "1", "--output", file)

    rows = json.loads(file.read_text())["iperf3"]
    assert "iperf3 -u" in printed
    assert [row["payload"] for row in rows] == [64, 1200]
    assert all(one["sent"] > 0 for row in rows for one in row["rounds"])


def test_fairness_accounts_for_every_datagram(tmp_path: Path) -> None:
    """Single datagrams that were sent were received or dropped, exactly."""
    file = tmp_path / "fairness.json"
    options = ("--seconds", "0.2", "--overflow", "drop-oldest", "--output", file)
    printed = benchmarks("fairness", *options)

    rows = json.loads(file.read_text())["fairness"]
    assert "asyncio, drop-oldest, singles" in printed
    for row in rows:
        assert row["sent"] > 0
        # A loop's timers may be early by the resolution of its clock.
        assert row["tick_lateness_p99_seconds"] > -0.01
        assert row["hand_over_highest_seconds"] > 0
        if row["flood"] == "singles":
            assert row["unaccounted"] == 0


def test_quick_run_ends_in_a_table() -> None:
    """What scripts/demo calls writes no file and prints the promises."""
    printed = benchmarks("run", "--quick", "--seconds", "0.02", "--rounds", "1")

    assert "| aioudp recv (asyncio)" in printed
    assert "results are in" not in printed


compiler_only = pytest.mark.skipif(
    shutil.which("cc") is None or sys.platform != "linux",
    reason="cannot: compiler: there is no C compiler",
)


@compiler_only
def test_requests(tmp_path: Path) -> None:
    """Every server answers, and every client is answered, on each loop."""
    file = tmp_path / "requests.json"
    options = ("--rounds", "1", "--seconds", "0.1", "--output", file)
    printed = benchmarks("requests", *options)

    measured = json.loads(file.read_text())["requests"]
    assert "serve / recv_many + send_many" in printed or not find_spec("uvloop")
    for row in measured["servers"]:
        (one,) = row["rounds"]
        assert one["sent"] > 0
        assert one["answered"] > 0
        # What was answered before the clocks started comes on top.
        assert 0 < one["answers"] <= one["sent"]
    for row in measured["round_trips"]:
        (one,) = row["rounds"]
        assert 0 < one["request"] < 1
    for row in measured["in_flight"]:
        (one,) = row["rounds"]
        assert one["datagrams"] > 0


@compiler_only
def test_workers(tmp_path: Path) -> None:
    """Each number of workers has its rows, with what each worker handled."""
    file = tmp_path / "workers.json"
    options = ("--most", "2", "--rounds", "1", "--seconds", "0.3", "--output", file)
    printed = benchmarks("workers", *options)

    rows = json.loads(file.read_text())["workers"]
    assert "Answered by an echo" in printed
    assert len(rows) == 2 * (1 + 3)
    for row in rows:
        (one,) = row["rounds"]
        assert len(one["handled"]) == row["workers"]
        assert sum(one["handled"]) > 0
