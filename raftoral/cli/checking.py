"""`check`: everything that is wrong with `.rwf` files, and how long a history can become."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raftoral.cli.options import refuse
from raftoral.cli.sources import Paths, rewrite, sources

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from raftoral.lang.diagnostics import Diagnostic
    from raftoral.lang.ir import Unit
    from raftoral.lang.source import Source
    from raftoral.registry.app import Registry


class Format(Enum):
    """How the findings are printed."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found in one file."""

    source: Source
    diagnostics: tuple[Diagnostic, ...]
    units: tuple[Unit, ...]
    fixed: int = 0


def check(
    paths: Paths,
    fix: Annotated[
        bool, typer.Option("--fix", help="Make the changes that can only be meant so.")
    ] = False,
    output: Annotated[
        Format, typer.Option("--format", help="For people, for programs, or for code hosts.")
    ] = Format.TEXT,
    app: Annotated[
        str | None,
        typer.Option("--with", metavar="FILE.py:NAME", help="Compare with its activities."),
    ] = None,
) -> None:
    """Check `.rwf` files, and tell how long histories can be.

    All mistakes are told at once, each with its place and what to write. --with imports the
    application and compares the signatures of its activities with what the files declare. Exit code
    0: no errors (there may be warnings); 1: errors.
    """
    registry = _registry(app)
    found = [_checked(source, registry, fix=fix) for source in sources(paths)]
    match output:
        case Format.TEXT:
            _print_text(found)
        case Format.JSON:
            _print_json(found)
        case Format.SARIF:
            _print_sarif(found)
    errors = any(one.severity == "error" for checked in found for one in checked.diagnostics)
    raise typer.Exit(1 if errors else 0)


def _registry(app: str | None) -> Registry | None:
    if app is None:
        return None
    from raftoral.errors import UsageError
    from raftoral.registry.apps import load_app

    try:
        return load_app(app)
    except UsageError as error:
        refuse(str(error).replace("--app", "--with"))


def _checked(source: Source, registry: Registry | None, *, fix: bool) -> Checked:
    from raftoral.lang.read import read
    from raftoral.registry.files import beside

    load = beside(Path(source.path))
    clean, fixed = source.clean(), 0
    if fix:
        clean, fixed = _mended(source, load)
    found = read(clean, load)
    diagnostics = found.diagnostics.all()
    if registry is not None and found.units:
        from raftoral.registry.contracts import broken

        diagnostics += broken(found, clean, registry)
        diagnostics = tuple(sorted(diagnostics, key=lambda one: (one.span.start, one.code)))
    return Checked(clean, diagnostics, found.units, fixed)


def _mended(source: Source, load: Callable[[str], Source | None]) -> tuple[Source, int]:
    """Make the safe changes of a file, and write it if there are any."""
    from raftoral.lang.fixing import mended
    from raftoral.lang.read import read

    if source.path == "<stdin>":
        refuse("--fix changes files, and standard input is none")
    clean, done = mended(source.clean(), lambda text: read(text, load).diagnostics.all())
    if done:
        rewrite(Path(source.path), clean.text)
    return clean, len(done)


# ------------------------------------------------------------------ what is printed
def _print_text(found: Sequence[Checked]) -> None:
    from raftoral.cli import render
    from raftoral.lang.check.size import largest
    from raftoral.lang.render import render_all

    for one in found:
        render.reports(render_all(one.diagnostics, one.source))
    for one in found:
        for unit in one.units:
            print(f"{unit.name} version {unit.version}: at most {largest(unit.body)}")
    fixed = sum(one.fixed for one in found)
    if fixed:
        print(f"{_counted(fixed, 'mistake')} fixed", file=sys.stderr)
    severities = [one.severity for checked in found for one in checked.diagnostics]
    errors, warnings = severities.count("error"), severities.count("warning")
    told = f"{_counted(errors, 'error')}, {_counted(warnings, 'warning')}"
    what = told if severities else "nothing found"
    print(f"{_counted(len(found), 'file')} checked: {what}", file=sys.stderr)
    if severities:
        print("what a code means: raftoral explain CODE", file=sys.stderr)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _print_json(found: Sequence[Checked]) -> None:
    from raftoral.cli import render
    from raftoral.lang.check.size import largest
    from raftoral.lang.output import findings

    workflows: list[dict[str, Any]] = []
    for one in found:
        for unit in one.units:
            size = largest(unit.body)
            turns = [{"loop": name, "events": events} for name, events in size.turns]
            workflows.append(
                {
                    "file": one.source.path,
                    "name": unit.name,
                    "version": unit.version,
                    "meaning_hash": unit.meaning_hash(),
                    "largest_history": {"events": size.events, "for_each_turn": turns},
                }
            )
    render.json({"findings": findings(found), "workflows": workflows})


def _print_sarif(found: Sequence[Checked]) -> None:
    from raftoral import __version__
    from raftoral.cli import render
    from raftoral.lang.output import sarif
    from raftoral.lang.pages import pages

    render.json(sarif(found, pages(), "raftoral check", __version__))
