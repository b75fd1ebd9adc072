"""The command line: ``python -m benchmarks``."""

from __future__ import annotations

import asyncio
import json
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from . import (
    catalogue,
    fairness,
    forwarding,
    harness,
    import_time,
    iperf3,
    loops,
    machine,
    memory,
    native,
    publish,
    quic,
    ratios,
    results,
    serving,
    tables,
    workers,
)
from .catalogue import Subject
from .parties import Parties, Pinning
from .processes import MeasurementError, cpus
from .results import Results, Round, Row
from .soak import command as soaking

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Benchmarks of aioudp beside its peers. Method: benchmarks/README.md.",
)

_RESULTS = Path(__file__).parent / "results"

# What a run takes, in seconds; see README.md.
_ROUNDS, _SECONDS, _LIMIT = 7, 0.2, 330.0
_QUICK_ROUNDS, _QUICK_SECONDS, _QUICK_LIMIT = 3, 0.15, 9.5
_QUICK_PAYLOAD = 64

Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write the results, as JSON.")
]
Pin = Annotated[
    str | None,
    typer.Option(metavar="CPU,CPU", help="Where the listener and the talker stay."),
]
PythonLoad = Annotated[
    bool, typer.Option("--python-load", help="Do without the C programs.")
]
ResultFile = Annotated[Path, typer.Argument(help="The JSON file of a run.")]


@app.command()
def run(
    quick: Annotated[
        bool, typer.Option("--quick", help="Ten seconds: a handful, 64 bytes.")
    ] = False,
    by_loop: Annotated[
        bool,
        typer.Option(
            "--loops",
            help="64 bytes on every event loop, for the table by interpreter.",
        ),
    ] = False,
    scenario: Annotated[
        list[str] | None, typer.Option(help="Only this: receive, send or echo.")
    ] = None,
    payload: Annotated[
        list[int] | None, typer.Option(min=8, max=65000, help="Bytes.")
    ] = None,
    subject: Annotated[
        list[str] | None, typer.Option(help="Only subjects with this in the name.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1)] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.001, help="Of each measurement.")
    ] = None,
    limit: Annotated[
        float | None,
        typer.Option(help="Seconds; a round that would end later is not begun."),
    ] = None,
    pin: Pin = None,
    python_load: PythonLoad = False,
    output: Output = None,
) -> None:
    """Measure, and print the tables."""
    known = loops.subjects() if by_loop else catalogue.SUBJECTS
    chosen = _choose(catalogue.quick() if quick else known, scenario, subject)
    if by_loop:
        payload = payload or [loops.PAYLOAD]
        output = output or loops.file(platform.python_version())
    if quick:
        payload = payload or [_QUICK_PAYLOAD]
        rounds, seconds = rounds or _QUICK_ROUNDS, seconds or _QUICK_SECONDS
        limit = limit or _QUICK_LIMIT
    else:
        output = output or _RESULTS / f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.json"
    pinning = _pinning(pin)
    with native.built(wanted=not python_load) as programs:
        parties = Parties(programs, seconds=seconds or _SECONDS, pinning=pinning)
        found = _results(parties)
        reasons = {one: one.missing(compiler=programs is not None) for one in chosen}
        if not quick:
            found.skipped = {
                f"{one.scenario}: {one.label}": why
                for one, why in reasons.items()
                if why is not None
            }
        able = [one for one, why in reasons.items() if why is None]
        sizes = payload or catalogue.PAYLOADS
        cells = [(one, size) for size in sizes for one in able]
        _measure(parties, found, cells, rounds=rounds or _ROUNDS, limit=limit or _LIMIT)
    if output is not None:
        found.write(output)
    typer.echo(tables.render(found, brief=quick))
    if output is not None:
        typer.echo(f"\nThe results are in {output}.")
    if found.failed:
        raise typer.Exit(1)


@app.command()
def table(file: ResultFile) -> None:
    """Print the tables of a result file."""
    typer.echo(tables.render(_read(file)))


@app.command()
def plot(
    file: ResultFile,
    directory: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: beside the file.")
    ] = None,
) -> None:
    """Draw the SVG plots of a result file."""
    if find_spec("matplotlib") is None:
        raise typer.BadParameter("plots need matplotlib: pip install matplotlib")
    from . import plots

    for path in plots.draw(_read(file), directory or file.with_suffix("")):
        typer.echo(path)


@app.command("publish")
def publish_(file: ResultFile) -> None:
    """Put the figures of a result file into README and documentation."""
    content = json.loads(file.read_text())
    for name, part in publish.PARTS.items():
        if name in content:
            part.result_file.write_text(json.dumps(content, indent=1) + "\n")
            for path in publish.publish_part(content, Path()):
                typer.echo(path)
            return
    if find_spec("matplotlib") is None:
        raise typer.BadParameter("plots need matplotlib: pip install matplotlib")
    found = _read(file)
    found.write(publish.RESULT_FILE)
    for path in publish.publish(found, Path()):
        typer.echo(path)


@app.command("publish-soak")
def publish_soak(file: ResultFile) -> None:
    """Put a result of `soak` into the documentation, with its plot."""
    if find_spec("matplotlib") is None:
        raise typer.BadParameter("plots need matplotlib: pip install matplotlib")
    try:
        paths = soaking.publish(file, Path())
    except (OSError, ValueError) as exc:
        raise typer.BadParameter(str(exc)) from None
    for path in paths:
        typer.echo(path)


@app.command("loops")
def loops_() -> None:
    """Write the table of event loops and interpreters into the documentation."""
    loops.PAGE.write_text(loops.render(loops.read(Path())))
    typer.echo(loops.PAGE)


@app.command("ratios")
def ratios_(
    file: ResultFile,
    check: Annotated[
        bool, typer.Option("--check", help="Fail if one is not reached.")
    ] = False,
) -> None:
    """Print the ratios that are aimed at, and those to C."""
    found = _read(file)
    typer.echo(ratios.render(found))
    if check and ratios.missed(found):
        raise typer.Exit(1)


@app.command("memory")
def memory_(
    count: Annotated[int, typer.Option(min=100, help="Endpoints.")] = 10_000,
    output: Output = None,
) -> None:
    """Measure the memory of idle endpoints."""
    rows = asyncio.run(memory.measure(_loops(), count))
    typer.echo(memory.render(rows))
    typer.echo(f"\nPromised: at most {memory.PROMISE} bytes each.")
    _write(output, "memory", rows)


@app.command("import-time")
def import_time_(
    rounds: Annotated[int, typer.Option(min=1)] = 21,
    output: Output = None,
) -> None:
    """Measure what `import aioudp` adds to `import asyncio`."""
    result = import_time.measure(rounds)
    typer.echo(import_time.render(result))
    typer.echo(f"\nPromised: at most {import_time.PROMISE * 1e3:.0f} ms added.")
    _write(output, "import_time", result)


@app.command("quic")
def quic_(
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    mebibytes: Annotated[int, typer.Option(min=1, help="Of each transfer.")] = 16,
    output: Output = None,
) -> None:
    """Measure what aioquic gains by the drop-in."""
    if why := quic.missing():
        raise typer.BadParameter(why)
    result = quic.measure(_loops(), rounds, mebibytes * 1024 * 1024)
    typer.echo(quic.render(result))
    _write(output, "quic", result)


@app.command("forwarding")
def forwarding_(
    seconds: Annotated[float, typer.Option(min=1, help="Of each measurement.")] = 60.0,
    rate: Annotated[
        int, typer.Option(min=1000, help="Datagrams per second to send.")
    ] = 600_000,
    size: Annotated[int, typer.Option(min=1, max=600, help="Bytes of each.")] = 64,
    output: Output = None,
) -> None:
    """Measure datagrams through NATS JetStream, acknowledged."""
    if why := forwarding.missing():
        raise typer.BadParameter(why)
    rows = [
        forwarding.measure(seconds, rate, size, naive=False),
        forwarding.measure(min(seconds, 10.0), 50_000, size, naive=True),
    ]
    typer.echo(forwarding.render(rows))
    _write(output, "forwarding", rows)


@app.command("features")
def features_(
    python: Annotated[
        list[Path] | None,
        typer.Option(help="Another interpreter, for one more column of asyncio."),
    ] = None,
) -> None:
    """Try what aioudp and its peers can do, and write the comparison in the docs."""
    from .comparison import table as features  # needs libraries that others don't

    if why := features.missing():
        raise typer.BadParameter(why)
    console = Console(stderr=True)
    with console.status("", spinner="line") as status:
        found = features.measure(
            lambda *cell: status.update(": ".join(cell)), python or ()
        )
    features.write(found)
    typer.echo(f"Written: {features.RESULT_FILE}, {features.PAGE}")


@app.command("requests")
def requests_(
    rounds: Annotated[int, typer.Option(min=1)] = 15,
    seconds: Annotated[
        float, typer.Option(min=0.05, help="Of each measurement.")
    ] = 0.3,
    pin: Pin = None,
    output: Output = None,
) -> None:
    """Measure `serve` and `request`, beside the same by hand."""
    pinning = _pinning(pin)
    with native.built() as programs, _progress() as done:
        if programs is None:
            raise typer.BadParameter("the C programs were not built")
        parties = Parties(programs, seconds=seconds, pinning=pinning)
        measured = asyncio.run(serving.measure(parties, _loops(), rounds, done))
    typer.echo(serving.render(measured))
    conditions = {"seconds_per_round": seconds, "rounds": rounds, **pinning._asdict()}
    _write(output, "requests", {"conditions": conditions, **measured})


@app.command("workers")
def workers_(
    most: Annotated[int, typer.Option(min=1, help="Workers.")] = 4,
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    seconds: Annotated[float, typer.Option(min=0.2, help="Of each measurement.")] = 1.0,
    output: Output = None,
) -> None:
    """Measure an echo and a sink with 1 to N workers."""
    if why := workers.missing():
        raise typer.BadParameter(why)
    with native.built() as programs, _progress() as done:
        if programs is None:
            raise typer.BadParameter("the C programs were not built")
        parties = Parties(programs, seconds=seconds, pinning=Pinning())
        rows = workers.measure(parties, most, rounds, done)
    typer.echo(workers.render(rows))
    _write(output, "workers", rows)


@app.command("iperf3")
def iperf3_(
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    seconds: Annotated[
        int, typer.Option(min=1, help="Of each measurement; iperf3 counts whole ones.")
    ] = 1,
    output: Output = None,
) -> None:
    """Measure iperf3 -u on this machine, to compare with."""
    if why := iperf3.missing():
        raise typer.BadParameter(why)
    rows = iperf3.measure(catalogue.PAYLOADS[:2], rounds, seconds)
    typer.echo(iperf3.render(rows))
    _write(output, "iperf3", rows)


@app.command("fairness")
def fairness_(
    overflow: Annotated[
        list[str] | None, typer.Option(help="Only with this overflow policy.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of each flood.")] = 2.0,
    pin: Pin = None,
    python_load: PythonLoad = False,
    output: Output = None,
) -> None:
    """Flood one endpoint and see what becomes of the rest of the program."""
    pinning = _pinning(pin)
    with native.built(wanted=not python_load) as programs:
        parties = Parties(programs, seconds=seconds, pinning=pinning)
        rows = asyncio.run(_flood(parties, overflow or fairness.POLICIES))
    typer.echo(fairness.render(rows))
    typer.echo(
        f"\nPromised: ticks {fairness.LATENESS_PROMISE * 1e3:.0f} ms late at most "
        f"(p99), hand-over within {fairness.HAND_OVER_PROMISE * 1e3:.0f} ms, nothing "
        "unaccounted."
    )
    _write(output, "fairness", rows)


@app.command("soak")
def soak_(
    seconds: Annotated[float, typer.Option(min=5, help="Of the whole run.")] = 120.0,
    rate: Annotated[
        float, typer.Option(min=0.01, max=2, help="Processors to use, all in all.")
    ] = 0.25,
    seed: Annotated[int, typer.Option(help="Of everything by chance.")] = 0,
    loop: Annotated[
        list[str] | None, typer.Option(help="Only this event loop.")
    ] = None,
    output: Output = None,
) -> None:
    """Run mixed traffic with faults for long, and see that nothing grows."""
    if why := soaking.missing():
        raise typer.BadParameter(why)
    loops = tuple(loop or _loops())
    if unknown := set(loops) - set(_loops()):
        raise typer.BadParameter(f"there is no loop {', '.join(sorted(unknown))}")
    plan = soaking.Plan(loops, seconds, seed, rate, network=soaking.network())
    head = {
        "date": _now(),
        "commit": machine.commit(),
        "machine": machine.describe(),
        "versions": catalogue.versions(),
    }
    if not soaking.soak(plan, head, output):
        raise typer.Exit(1)


async def _flood(parties: Parties, policies: Sequence[str]) -> list[dict[str, Any]]:
    kinds = (False, True) if parties.has_trains else (False,)
    return [
        await fairness.measure(parties, loop, policy, trains=trains)
        for trains in kinds
        for loop in _loops()
        for policy in policies
    ]


def _choose(
    subjects: Sequence[Subject], scenarios: list[str] | None, names: list[str] | None
) -> list[Subject]:
    chosen = [
        one
        for one in subjects
        if (not scenarios or one.scenario in scenarios)
        and (not names or any(name in one.label for name in names))
    ]
    if not chosen:
        raise typer.BadParameter("no subject is left")
    return chosen


def _measure(
    parties: Parties,
    found: Results,
    cells: list[tuple[Subject, int]],
    *,
    rounds: int,
    limit: float,
) -> None:
    """Measure *cells* into *found*, with a bar on the terminal."""
    rows: dict[tuple[Subject, int], Row] = {}
    for subject, payload in cells:
        row = Row(subject.scenario, subject.name, subject.loop, payload)
        rows[subject, payload] = row
        found.rows.append(row)
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        auto_refresh=False,  # a thread of its own would disturb what is measured
    ) as progress:
        task = progress.add_task("", total=len(cells) * rounds)

        def done(
            subject: Subject, payload: int, outcome: Round | MeasurementError
        ) -> None:
            name = f"{subject.scenario}: {subject.label}"
            if isinstance(outcome, Round):
                rows[subject, payload].rounds.append(outcome)
            else:
                found.failed[f"{name}, {payload} bytes"] = str(outcome)
            progress.update(task, description=name, advance=1, refresh=True)

        begun = asyncio.run(
            harness.run_rounds(parties, cells, rounds=rounds, limit=limit, done=done)
        )
    found.conditions["rounds"] = begun
    found.rows = [row for row in found.rows if row.rounds]


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Show on a terminal what was measured last."""
    console = Console(stderr=True)

    def done(name: str) -> None:
        if console.is_terminal:
            console.print(f"{name:60}", end="\r")

    yield done


def _results(parties: Parties) -> Results:
    return Results(
        date=_now(),
        commit=machine.commit(),
        machine=machine.describe(),
        versions=catalogue.versions(),
        conditions=parties.conditions(),
    )


def _pinning(pin: str | None) -> Pinning:
    if pin is None:
        return Pinning()
    try:
        listener, talker = map(int, pin.split(","))
    except ValueError:
        raise typer.BadParameter("--pin takes two numbers, like 0,1") from None
    if not {listener, talker} <= cpus():
        raise typer.BadParameter(f"cannot keep a process on CPUs {listener}, {talker}")
    return Pinning(listener, talker)


def _read(file: Path) -> Results:
    try:
        return results.read(file)
    except (OSError, ValueError) as exc:
        raise typer.BadParameter(str(exc)) from None


def _write(output: Path | None, name: str, measured: object) -> None:
    if output is None:
        return
    content = {
        "format": results.FORMAT,
        "date": _now(),
        "commit": machine.commit(),
        "machine": machine.describe(),
        "versions": catalogue.versions(),
        name: measured,
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(content, indent=1) + "\n")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _loops() -> list[str]:
    return [loop for loop in ("asyncio", "uvloop") if find_spec(loop) is not None]
