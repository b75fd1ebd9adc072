"""Change the package in many small ways, one at a time, and see whether a test fails.

    python scripts/mutants.py                      60 mutants, seed 0
    python scripts/mutants.py --seed 7 --count 20
    python scripts/mutants.py --only 3,17 --matrix full

Run it in an environment that has the test dependencies, as ``.venv-test/main`` is.

A mutant is one change in the body of a function: another comparison, condition or
constant, or a statement that is gone. The seed selects the mutants among all that the
library has. A mutant is caught if a test fails that passes without it. The others are
missed: either a test is lacking, or the change makes no difference.

The unit, property and contract tests first run once on an unchanged copy of the
project, and coverage records which test runs which line. A mutant, in another copy,
meets only the tests that run its line, up to the first failure. All of them use the
readable twin of the batch I/O. The command line has no mutants: its tests start
processes.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
HANGS_AFTER: Final = 900  # seconds for the tests of one mutant
FEW: Final = 30  # tests, which pytest collects quickly

OTHER_COMPARISON: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OTHER_OPERATOR: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}

# -- the mutants


@dataclass(frozen=True)
class Mutant:
    """One change to one file."""

    path: str
    """Relative to the root of the project."""
    line: int
    before: str
    after: str
    source: str
    """The file with the change."""

    def __str__(self) -> str:
        before, after = (" ".join(x.split()) for x in (self.before, self.after))
        return f"{self.path}:{self.line}: {before[:60]}  ->  {after[:60]}"


def mutants_of(path: str, source: str) -> Iterator[Mutant]:
    """Return every mutant of a file."""
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for node in _nodes(function.body):
                for target, changed in _changes(node):
                    after = ast.unparse(changed)
                    before, mutated = _replace(source, target, after)
                    yield Mutant(path, target.lineno, before, after, mutated)


def _nodes(tree: ast.AST | list[ast.stmt]) -> Iterator[ast.AST]:
    """Return what belongs to a function: not those in it, and no annotations."""
    if isinstance(tree, ast.AST):
        # The parts of an f-string have no position of their own.
        if isinstance(tree, (ast.FunctionDef, ast.AsyncFunctionDef, ast.JoinedStr)):
            return
        yield tree
    children = tree if isinstance(tree, list) else ast.iter_child_nodes(tree)
    for child in children:
        if not (isinstance(tree, ast.AnnAssign) and child is tree.annotation):
            yield from _nodes(child)


def _changes(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, ast.AST]]:
    """Return what can be changed here, and what takes its place."""
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in OTHER_COMPARISON:
            yield node, _with(node, ops=[OTHER_COMPARISON[type(operator)]()])
        case ast.BoolOp():
            other = ast.Or if isinstance(node.op, ast.And) else ast.And
            yield node, _with(node, op=other())
        case ast.UnaryOp(op=ast.Not()):
            yield node, node.operand
        case ast.BinOp() | ast.AugAssign() if type(node.op) in OTHER_OPERATOR:
            yield node, _with(node, op=OTHER_OPERATOR[type(node.op)]())
        case ast.Constant(value=bool(value)):
            yield node, ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield node, ast.Constant(value + 1)
        case ast.If() | ast.While() | ast.IfExp():  # which swaps the branches
            yield node.test, ast.UnaryOp(ast.Not(), node.test)
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.Raise() | ast.Delete():
            yield node, ast.Pass()
        case ast.Assign(targets=[ast.Attribute()]):
            yield node, ast.Pass()
        case ast.Return(value=ast.expr()):
            yield node, ast.Return(ast.Constant(None))
        case ast.Break():
            yield node, ast.Continue()
        case ast.Continue():
            yield node, ast.Break()


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _replace(source: str, node: ast.expr | ast.stmt, text: str) -> tuple[str, str]:
    """Return the text of the node, and the source with another text in its place."""
    lines = source.encode().splitlines(keepends=True)  # columns count bytes
    assert node.end_lineno is not None
    start = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    end = sum(map(len, lines[: node.end_lineno - 1])) + (node.end_col_offset or 0)
    whole = b"".join(lines)
    if isinstance(node, ast.expr):
        text = f"({text})"
    mutated = whole[:start] + text.encode() + whole[end:]
    return whole[start:end].decode(), mutated.decode()


def all_mutants(root: Path) -> list[Mutant]:
    """Return every mutant of the library."""
    return [
        mutant
        for path in sorted(root.glob("aioudp/**/*.py"))
        if path.relative_to(root).parts[1] != "cli"
        for mutant in mutants_of(str(path.relative_to(root)), path.read_text())
    ]


# -- the tests

PLUGIN: Final = """\
import os
import coverage
import pytest

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    name = item.nodeid.partition("[")[0]
    os.environ["MUTANTS_TEST"] = name  # the context of what runs in other processes
    coverage.Coverage.current().switch_context(name)
    return (yield)
"""
COVERAGE: Final = """\
[run]
source_pkgs = aioudp
parallel = true
patch = subprocess
data_file = {data}
context = ${{MUTANTS_TEST}}
"""
KINDS: Final = ("unit", "properties", "contract")  # those that fail soonest come first


class Project:
    """A copy of the project, in which files may change."""

    def __init__(self, root: Path, home: Path, matrix: str) -> None:
        self.home = home
        files = ("git", "-C", root, "ls-files", "-z", "--cached", "--others")
        listed = subprocess.run(
            (*files, "--exclude-standard"), check=True, capture_output=True, text=True
        ).stdout
        compiled = (str(x.relative_to(root)) for x in root.glob("aioudp/**/*.so"))
        for name in (*listed.split("\0"), *compiled):
            if (root / name).is_file():
                (home / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(root / name, home / name)
        self.environment = {
            **os.environ,
            "AIOUDP_MATRIX": matrix,
            "AIOUDP_SPEEDUPS": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(home),
        }

    def pytest(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run pytest here, under coverage if *more* has its configuration."""
        coverage = ("-m", "coverage", "run") if "COVERAGE_RCFILE" in more else ()
        command = (
            "-X",
            "dev",
            *coverage,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
        )
        return subprocess.run(
            [sys.executable, *command, *arguments],
            cwd=self.home,
            env=self.environment | more,
            capture_output=True,
            text=True,
            timeout=None if coverage else HANGS_AFTER,
        )

    def tests_of_lines(self) -> dict[str, dict[str, list[str]]]:
        """Run all the tests; return which of them run each line of each file."""
        import coverage

        (self.home / "mutants_plugin.py").write_text(PLUGIN)
        rcfile = self.home / "mutants.coveragerc"
        data = self.home / "mutants.coverage"
        rcfile.write_text(COVERAGE.format(data=data))
        done = self.pytest(
            *("-p", "mutants_plugin", *(f"tests/{kind}" for kind in KINDS)),
            COVERAGE_RCFILE=str(rcfile),
            MUTANTS_TEST="",
        )
        print(done.stdout.strip().splitlines()[-1], flush=True)
        measured = coverage.Coverage(config_file=str(rcfile))
        measured.combine()
        found: dict[str, dict[str, list[str]]] = {}
        for file in measured.get_data().measured_files():
            contexts = measured.get_data().contexts_by_lineno(file)
            found[str(Path(file).relative_to(self.home))] = {
                str(line): sorted({x.strip("|") for x in names} - {""}, key=_order)
                for line, names in contexts.items()
            }
        return found


def _order(test: str) -> tuple[int, str]:
    return KINDS.index(test.split("/")[1]), test


def failing_test(project: Project, tests: list[str], unchanged: Project) -> str | None:
    """Return the first test that fails here, and not in the unchanged project."""
    for part in (tests[:FEW], tests[FEW:]):  # most mutants don't get beyond the first
        if failed := _failing(project, list(part), unchanged):
            return failed
    return None


def _failing(project: Project, left: list[str], unchanged: Project) -> str | None:
    while left:
        listed = project.home / "mutants_tests.txt"
        listed.write_text("\n".join(left))
        try:
            done = project.pytest("-x", "-rfE", f"@{listed}")
        except subprocess.TimeoutExpired:
            return f"a hang of {HANGS_AFTER} s"
        if done.returncode == 0:
            return None
        failed = next(
            (
                line.split()[1]
                for line in done.stdout.splitlines()
                if line.startswith(("FAILED ", "ERROR "))
            ),
            None,
        )
        if failed is None or "::" not in failed:
            return f"pytest, with status {done.returncode}"
        if unchanged.pytest(failed).returncode == 0:
            return failed
        left.remove(failed.partition("[")[0])  # it fails by itself
    return None


def main() -> None:
    options = parse()
    root: Path = options.root.resolve()
    mutants = random.Random(options.seed).sample(all_mutants(root), options.count)
    wanted = [int(x) for x in options.only.split(",")] if options.only else None
    caught: dict[int, str | None] = {}
    with tempfile.TemporaryDirectory(prefix="aioudp-mutants-") as name:
        unchanged = Project(root, Path(name) / "unchanged", options.matrix)
        if options.lines and options.lines.exists():
            tests_of_lines = json.loads(options.lines.read_text())
        else:
            tests_of_lines = unchanged.tests_of_lines()
        if options.lines:
            options.lines.write_text(json.dumps(tests_of_lines))
        project = Project(root, Path(name) / "changed", options.matrix)
        for number, mutant in enumerate(mutants):
            if wanted is not None and number not in wanted:
                continue
            began = time.monotonic()
            file = project.home / mutant.path
            original = file.read_text()
            file.write_text(mutant.source)
            tests = tests_of_lines.get(mutant.path, {}).get(str(mutant.line), [])
            caught[number] = failed = failing_test(project, tests, unchanged)
            file.write_text(original)
            seconds = time.monotonic() - began
            outcome = f"caught by {failed}" if failed else "MISSED"
            print(f"{number:3} {mutant}")
            print(f"    {outcome}, {len(tests)} tests, {seconds:.0f} s", flush=True)
    missed = [number for number, failed in caught.items() if failed is None]
    print(f"\n{len(caught) - len(missed)} of {len(caught)} caught; missed: {missed}")


def parse() -> argparse.Namespace:
    description, _, epilog = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="scripts/mutants.py",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--only", help="the numbers of the mutants to try, as in 3,17")
    parser.add_argument(
        "--matrix", default="0", help="the cells that the tests run in: tests/matrix.py"
    )
    parser.add_argument(
        "--root", type=Path, default=ROOT, help="of the checkout to be tested"
    )
    parser.add_argument(
        "--lines",
        type=Path,
        metavar="FILE",
        help="keep here which test runs which line, and read it if it is there",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
