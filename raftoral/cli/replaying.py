"""`replay`: do stored histories fit the code of today? The check to run before a change is deployed."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raftoral.cli.options import AsJson, refuse

if TYPE_CHECKING:
    from raftoral.replay.divergence import Divergence
    from raftoral.runtime.views import HistoryView
    from raftoral.testing.histories import Code


def replay(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE.rhx...", help="From `raftoral history RUN --export FILE`."),
    ],
    app: Annotated[
        str | None,
        typer.Option("--app", metavar="FILE.py:NAME", help="The registry of Python workflows."),
    ] = None,
    on: Annotated[
        Path | None,
        typer.Option("--on", metavar="FILE.rwf", help="A changed text, for histories of `.rwf`."),
    ] = None,
    twice: Annotated[
        bool,
        typer.Option("--twice", help="Also in processes that order sets of text otherwise."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Replay exported histories on the code of today.

    Exits with 1 if one does not fit. No activity is called, and no node is needed.
    """
    from raftoral.errors import UsageError
    from raftoral.registry.apps import load_app
    from raftoral.testing.histories import departure, load

    if twice and on is not None:
        refuse("--twice is for Python workflows; a `.rwf` text has no order that could differ")
    found: list[tuple[Path, HistoryView, Divergence | None]] = []
    try:
        registry = None if app is None else load_app(app)
        for path in files:
            view = load(path)
            found.append((path, view, departure(view, _code(view, registry, on))))
        elsewhere = _elsewhere(files, app) if twice else ""
    except UsageError as error:
        refuse(str(error))
    if as_json:
        _print_json(found)
    else:
        for path, view, why in found:
            _print_text(path, view, why)
        if elsewhere:
            print(elsewhere.rstrip())
    raise typer.Exit(1 if elsewhere or any(why for _, _, why in found) else 0)


def _code(view: HistoryView, registry: Any, on: Path | None) -> Code:
    from raftoral.testing.running import rwf

    return rwf(on, view.name) if on is not None and view.kind != "python" else registry


def _elsewhere(files: list[Path], app: str | None) -> str:
    from raftoral.testing.again import replayed_elsewhere
    from raftoral.testing.elsewhere import Where

    return replayed_elsewhere(files, Where(app=app or ""))


def _print_text(path: Path, view: HistoryView, why: Divergence | None) -> None:
    from raftoral.replay.divergence import render

    what = f"{path}: {view.name} version {view.version}, {len(view.events)} events"
    if why is None:
        print(f"{what}: fits")
        return
    print(f"{what}: does not fit")
    for line in render(why):
        print(f"  {line}".rstrip())
    print("a changed workflow needs a new version; its old runs stay on theirs", file=sys.stderr)


def _print_json(found: list[tuple[Path, HistoryView, Divergence | None]]) -> None:
    from raftoral.cli import render

    render.json(
        [
            {
                "file": str(path),
                "run": view.run_id,
                "workflow": view.name,
                "version": view.version,
                "events": len(view.events),
                "fits": why is None,
                "cause": "" if why is None else why.cause,
                "words": "" if why is None else why.words,
                "differences": [] if why is None else list(why.differences),
                "line": "" if why is None else why.line,
            }
            for path, view, why in found
        ]
    )
