"""`lint`: finds what makes Python workflows unrepeatable, before they run."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raftoral.cli.options import refuse

if TYPE_CHECKING:
    from raftoral.lint.check import Checked


class Format(Enum):
    """How the findings are printed."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"


def lint(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH|MODULE:NAME]...",
            help="Files, folders, or a workflow or registry by its name. Default: this folder.",
        ),
    ] = None,
    output: Annotated[
        Format, typer.Option("--format", help="For people, for programs, or for code hosts.")
    ] = Format.TEXT,
) -> None:
    """Check Python workflows for what no replay could repeat.

    Files are only read; MODULE:NAME and FILE.py:NAME are imported. Exits with 1 if there are errors.
    """
    from raftoral.lint.check import Checked

    found = [_checked(target) for target in targets or ["."]]
    reports = {report.source.path: report for one in found for report in one.reports}
    checked = Checked(
        tuple(name for one in found for name in one.workflows), tuple(reports.values())
    )
    match output:
        case Format.TEXT:
            _print_text(checked)
        case Format.JSON:
            _print_json(checked)
        case Format.SARIF:
            _print_sarif(checked)
    raise typer.Exit(1 if checked.has_errors else 0)


def _checked(target: str) -> Checked:
    """Return what was found in one target, its paths as they are seen from here."""
    from raftoral.lang.source import Source
    from raftoral.lint.check import Checked, Report, check_paths, check_workflows

    path = Path(target)
    if path.suffix == ".rwf":
        refuse(f"{target} is no Python; the compiler checks such files: raftoral deploy {target}")
    if path.exists():
        try:
            checked = check_paths([path])
        except OSError as error:
            refuse(f"cannot read {error.filename}: {error.strerror}")
    elif ":" in target:
        from raftoral.errors import UsageError
        from raftoral.registry.apps import load_workflows

        try:
            checked = check_workflows(load_workflows(target))
        except UsageError as error:
            refuse(str(error))
    else:
        refuse(f"there is no {target} here; give a file, a folder, or MODULE:NAME")
    here = Path.cwd()
    return Checked(
        checked.workflows,
        tuple(
            Report(Source(_from(here, one.source.path), one.source.text), one.diagnostics)
            for one in checked.reports
        ),
    )


def _from(here: Path, path: str) -> str:
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def _print_text(checked: Checked) -> None:
    from raftoral.lang.render import render_all

    for report in checked.reports:
        print(render_all(report.diagnostics, report.source), end="")
    severities = [one.severity for report in checked.reports for one in report.diagnostics]
    errors, warnings = severities.count("error"), severities.count("warning")
    count = len(checked.workflows)
    if not count:
        print("no workflow was found: nothing is decorated with @workflow(...)", file=sys.stderr)
    what = f"{_counted(count, 'workflow')} checked"
    if not severities:
        print(f"{what}: nothing found")
    else:
        print(f"{what}: {_counted(errors, 'error')}, {_counted(warnings, 'warning')}")
        print("an example of each code: raftoral explain CODE", file=sys.stderr)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _print_json(checked: Checked) -> None:
    from raftoral.cli import render
    from raftoral.lang.output import findings

    render.json(findings(checked.reports))


def _print_sarif(checked: Checked) -> None:
    from raftoral import __version__
    from raftoral.cli import render
    from raftoral.lang.output import sarif
    from raftoral.lint.codes import explanations

    render.json(sarif(checked.reports, explanations(), "raftoral lint", __version__))
