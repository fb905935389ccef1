"""`test`: runs the test blocks of `.rwf` files, and again with crashes and faults."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raftoral.cli.sources import sources

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from raftoral.lang.compile import Compiled
    from raftoral.lang.source import Source, Span
    from raftoral.testing import Coverage, Covered, Verdict


class Format(Enum):
    """How the outcomes are printed."""

    TEXT = "text"
    TAP = "tap"
    JUNIT = "junit"


class Crash(Enum):
    """Where runs are crashed."""

    EVERY = "every"


class Faults(Enum):
    """Which attempts of activities fail."""

    EACH = "each"


@dataclass(frozen=True, slots=True)
class Harder:
    """What each test is to stand besides its own run, and whether what it reaches is noted."""

    crashes: bool
    faults: bool
    coverage: bool


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one test: of its run, of ``crashes`` with one crash, of ``faults`` with one.

    ``wrong`` has, for each thing that is not as expected, where it stands, and what was seen.
    """

    title: str
    place: str
    wrong: tuple[tuple[str, str], ...]
    crashes: int = 0
    faults: int = 0


@dataclass(frozen=True, slots=True)
class Tested:
    """What came of one file: its tests, or the reports of what is wrong with the file itself."""

    path: str
    tried: tuple[Tried, ...]
    broken: str = ""
    covered: tuple[Covered, ...] = ()


def run_tests(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="`.rwf` files, folders, or - for stdin. Default: this folder.",
        ),
    ] = None,
    crash: Annotated[
        Crash | None,
        typer.Option("--crash", help="Run each test again for each event, with a crash behind it."),
    ] = None,
    faults: Annotated[
        Faults | None,
        typer.Option("--faults", help="Run it again for each failure that each attempt may have."),
    ] = None,
    coverage: Annotated[
        bool,
        typer.Option(
            "--coverage", help="Tell which lines and branches of workflows no test reaches."
        ),
    ] = False,
    output: Annotated[
        Format, typer.Option("--format", help="For people, for a TAP harness, or for CI servers.")
    ] = Format.TEXT,
) -> None:
    """Run the tests of `.rwf` files, on a clock that jumps.

    Nothing is called but what a test mocks, and no node is needed. With --crash every, the history
    and the time of each run with a crash have to be those of the run without. With --faults each,
    each attempt of an activity fails once with each error that it declares and once with
    Unavailable: the run has to end, and only with errors that are declared or the language's own.
    With --coverage what no run reaches is told by lines: statements, and branches (the ways of an
    if, a match, a loop, a catch, a parallel, a race, an await with else and a require).
    Exit code 0: all tests pass; 1: one does not, or a file has mistakes.
    """
    harder = Harder(crashes=crash is not None, faults=faults is not None, coverage=coverage)
    found = (_tested(source, harder) for source in sources(paths or ["."]))
    match output:
        case Format.TEXT:
            done = _print_text(found)
        case Format.TAP:
            from raftoral.cli.outcomes import tap

            done = list(found)
            print(tap(done), end="")
        case Format.JUNIT:
            from raftoral.cli.outcomes import junit

            done = list(found)
            print(junit(done))
    failed = any(one.broken or any(each.wrong for each in one.tried) for one in done)
    raise typer.Exit(1 if failed else 0)


# ------------------------------------------------------------------ running
def _tested(source: Source, harder: Harder) -> Tested:
    from raftoral.lang.compile import compile_source
    from raftoral.lang.render import render_all
    from raftoral.registry.files import beside
    from raftoral.testing import Coverage, run_trial

    compiled = compile_source(source, beside(Path(source.path)))
    if compiled.has_errors:
        return Tested(source.path, (), render_all(compiled.diagnostics, compiled.source))
    coverage = Coverage(compiled) if harder.coverage else None
    verdicts = (run_trial(trial, compiled, coverage=coverage) for trial in compiled.trials)
    tried = tuple(_tried(one, compiled, harder, coverage) for one in verdicts)
    covered = () if coverage is None else tuple(coverage.covered())
    return Tested(source.path, tried, covered=covered)


def _tried(
    verdict: Verdict, compiled: Compiled, harder: Harder, coverage: Coverage | None
) -> Tried:
    from raftoral.cli import render
    from raftoral.lang.render import harmless
    from raftoral.testing import crash_trial, fault_trial

    trial = verdict.trial
    wrong = [(_quoted(compiled.source, span), seen) for span, seen in verdict.wrong]
    place = _quoted(compiled.source, trial.span)
    if wrong:  # runs that are harder would say the same again
        return Tried(trial.title, place, tuple(wrong))
    crashes, faults = [], []
    if harder.crashes:
        runs = crash_trial(trial, compiled, verdict)
        crashes = list(render.followed(runs, harmless(trial.title), len(verdict.settled)))
    if harder.faults:
        runs = fault_trial(trial, compiled, verdict, coverage)
        faults = list(render.followed(runs, harmless(trial.title), None))
    wrong = [(place, told) for told in (*crashes, *faults) if told]
    return Tried(trial.title, place, tuple(wrong), len(crashes), len(faults))


def _quoted(source: Source, span: Span) -> str:
    """Return a place as `file:line:column: the text of the line`."""
    line, column = source.place(span.start)
    return f"{source.path}:{line}:{column}: {source.line(line).strip()}"


# ------------------------------------------------------------------ what is printed
def _print_text(found: Iterator[Tested]) -> list[Tested]:
    """Print what comes of each file as soon as it is known; return it all."""
    from raftoral.cli import render
    from raftoral.cli.outcomes import coverage_line
    from raftoral.lang.render import harmless

    done = []
    for one in found:
        done.append(one)
        if one.broken:
            print(f"{one.path}: not run, it has mistakes")
            render.reports(one.broken)
            continue
        print(one.path if one.tried else f"{one.path}: no tests")
        for each in one.tried:
            for line in _lines(each):
                print(harmless(line))
        for covered in one.covered:
            print(f"  {coverage_line(covered)}")
    print(summary(done), file=sys.stderr)
    return done


def _lines(tried: Tried) -> Iterator[str]:
    runs = [(tried.crashes, "crash"), (tried.faults, "fault")]
    told = ", ".join(_counted(count, what) for count, what in runs if count)
    again = f" ({told})" if told else ""
    yield f"  {'FAILED' if tried.wrong else 'ok    '}  {tried.title}{again}"
    for place, seen in tried.wrong:
        yield f"          {place}"
        yield from (f"            {line}".rstrip() for line in seen.splitlines())


def summary(done: Sequence[Tested]) -> str:
    """Return how many tests passed and failed, and how many runs had a crash or a fault."""
    tried = [each for one in done for each in one.tried]
    failed = sum(1 for each in tried if each.wrong)
    words = [f"{_counted(len(tried) - failed, 'test')} passed"]
    if failed:
        words.append(f"{failed} failed")
    broken = sum(1 for one in done if one.broken)
    if broken:
        words.append(f"{_counted(broken, 'file')} with mistakes")
    crashes = sum(each.crashes for each in tried)
    if crashes:
        words.append(f"{_counted(crashes, 'run')} with a crash")
    faults = sum(each.faults for each in tried)
    if faults:
        words.append(f"{_counted(faults, 'run')} with a fault")
    return f"{_counted(len(done), 'file')}: {', '.join(words)}"


def _counted(count: int, what: str) -> str:
    if count == 1:
        return f"1 {what}"
    return f"{count} {what}es" if what.endswith("sh") else f"{count} {what}s"
