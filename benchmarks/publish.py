"""Put the figures of a result file into the README and the documentation.

Nobody types a figure: the README's table stands between two markers, the page and the
plots of the documentation are whole files, and a test says when one of them is not
what the published result file gives.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from . import bars, guides, ratios, serving, tables, workers
from .formatting import markdown
from .results import Results

RESULT_FILE: Final = Path("benchmarks/results/published.json")
"""What the published results lack, measured in a run of its own."""
EXPECTATIONS: Final = Path("docs/explanation/_expectations.md")
KNOBS: Final = Path("docs/how-to/_knobs.md")
PAGE: Final = Path("docs/explanation/_benchmarks.md")
PLOTS: Final = Path("docs/explanation/figures")
FRONT: Final = Path("docs/figures")
README: Final = Path("README.md")
REPOSITORY: Final = "https://github.com/aioudp/aioudp/blob/main"
"""Where the README's links lead, so that they work on a package index too."""

_MADE_BY: Final = "<!-- Made by: python -m benchmarks publish -->\n\n"
_BEGIN: Final = "<!-- figures:begin -->\n"
_END: Final = "<!-- figures:end -->"
_PAYLOAD: Final = 64  # bytes, of the README's figures
_LOOPS: Final = ("asyncio", "uvloop")
_README_ROWS: Final = (
    ("receive", "aioudp recv_many"),
    ("receive", "aioudp recv"),
    ("receive", "aioudp drop-in"),
    ("receive", "DatagramProtocol"),
    ("receive", "asyncio-dgram"),
    ("receive", "asyncudp"),
    ("receive", "anyio"),
    ("send", "aioudp send(segment_size=)"),
    ("send", "aioudp send_many"),
    ("send", "aioudp send"),
    ("send", "aioudp drop-in"),
    ("send", "DatagramProtocol"),
    ("echo", "aioudp async for + send"),
    ("echo", "aioudp drop-in"),
    ("echo", "DatagramProtocol"),
)
_UNITS: Final = {
    "receive": "received/s",
    "send": "sent/s",
    "echo": "round trip p50, us",
}


class Part(NamedTuple):
    """The figures of another command, on a page that others include."""

    result_file: Path
    page: Path
    tables: Callable[[dict[str, Any]], str]


def _requests(content: dict[str, Any]) -> str:
    tables = serving.render(content["requests"])
    return f"{_MADE_BY}{tables}\n\n{serving.conditions(content)}\n"


def _workers(content: dict[str, Any]) -> str:
    tables = workers.render(content["workers"])
    return f"{_MADE_BY}{tables}\n\n{workers.conditions(content)}\n"


PARTS: Final = {
    name: Part(
        Path(f"benchmarks/results/{name}.json"),
        Path(f"docs/explanation/_{name}.md"),
        tables,
    )
    for name, tables in (("requests", _requests), ("workers", _workers))
}
"""By the name of the command, which is also that of its figures in the file."""


def publish_part(content: dict[str, Any], root: Path) -> list[Path]:
    """Write the page of *content*, if it's from one of these; return the path."""
    written = []
    for name, part in PARTS.items():
        if name in content:
            (root / part.page).write_text(part.tables(content))
            written.append(root / part.page)
    return written


def in_readme(results: Results) -> str:
    """Return the README's table and the sentence that says what it depends on."""
    header = ["datagrams of 64 bytes, over loopback", *_LOOPS]
    lines = []
    for scenario, subject in _README_ROWS:
        cells = [
            tables.headline(results, scenario, subject, loop, _PAYLOAD)
            for loop in _LOOPS
        ]
        if any(cells):
            lines.append([f"{_UNITS[scenario]}: {subject}", *cells])
    machine, conditions = results.machine, results.conditions
    where = (
        f"Medians of {conditions['rounds']} interleaved rounds of "
        f"{conditions['seconds_per_round']} s on a shared machine: {machine['cpu']}, "
        f"{machine['cores']} cores, {machine['system']} {machine['kernel']}, "
        f"{machine['python']}, uvloop {results.versions.get('uvloop', '-')}. "
        "Receivers are flooded by a C program that sends trains (UDP_SEGMENT), so what "
        "they do not take is lost. All figures, with spread, losses and CPU time: "
        f"[{RESULT_FILE.name}]({REPOSITORY}/{RESULT_FILE.as_posix()})."
    )
    return f"{markdown(header, lines)}\n\n{where}\n"


def in_docs(results: Results) -> str:
    """Return the page of the documentation: ratios, plots and tables."""
    plots = "\n\n".join(map(_plot, _UNITS))
    return (
        f"{_MADE_BY}### Ratios\n\n"
        "Each taken round by round, between two measurements that stood close "
        "together. The last column compares what a datagram cost in CPU time.\n\n"
        f"{ratios.render(results, goals=False)}\n\n### Plots\n\n{plots}\n\n"
        f"### Conditions\n\n{tables.render(results)}\n"
    )


def expectations(results: Results) -> str:
    """Return the table of the documentation that says what to expect."""
    return f"{_MADE_BY}{guides.what_to_expect(results)}\n"


def knobs(results: Results) -> str:
    """Return the table of the documentation that says what each knob brings."""
    return f"{_MADE_BY}{guides.what_knobs_bring(results)}\n"


def publish(results: Results, root: Path) -> list[Path]:
    """Write all of it below *root* and return the paths."""
    from . import plots

    page, readme = root / PAGE, root / README
    page.write_text(in_docs(results))
    readme.write_text(replaced(readme.read_text(), in_readme(results)))
    expected, brought = root / EXPECTATIONS, root / KNOBS
    expected.write_text(expectations(results))
    brought.write_text(knobs(results))
    front = bars.draw(results, root / FRONT)
    return [page, readme, expected, brought, *plots.draw(results, root / PLOTS), *front]


def replaced(text: str, figures: str) -> str:
    """Return the README with other figures between its markers."""
    head, _, rest = text.partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    return f"{head}{_BEGIN}{figures}{_END}{tail}"


def _plot(scenario: str) -> str:
    """Return the plot, where it may scroll: on a telephone it would be too small."""
    image = f"```{{image}} figures/{scenario}.svg\n:alt: {scenario}\n:class: plot\n```"
    return f":::{{container}} wide-figure\n{image}\n:::"
