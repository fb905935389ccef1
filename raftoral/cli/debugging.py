"""`repl` and `demo`: two programs that the other commands do not need."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from raftoral.cli.options import DEFAULT_URL, Url


def repl(
    context: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(metavar="FILE|RUN", help="A `.rwf` or `.rhx` file, or the id of a run."),
    ] = None,
    history: Annotated[
        str | None,
        typer.Option(
            "--history", metavar="FILE.rhx|RUN", help="What to step through on a `.rwf` file."
        ),
    ] = None,
    script: Annotated[
        str | None, typer.Option("--script", metavar="FILE", help="Read commands from a file.")
    ] = None,
    app: Annotated[
        str | None,
        typer.Option("--app", metavar="FILE.py:NAME", help="The registry of Python workflows."),
    ] = None,
    node: Url = DEFAULT_URL,
) -> None:
    """Step through a workflow or a run, forth and back."""
    from raftoral_repl.__main__ import main

    # The debugger reads the node from the environment, as every command does.
    os.environ["RAFTORAL_NODE"] = node
    argv = [target] if target is not None else []
    argv += ["--history", history] if history is not None else []
    argv += ["--script", script] if script is not None else []
    argv += ["--app", app] if app is not None else []
    raise typer.Exit(main([*argv, *context.args]))


def demo(
    runs: Annotated[int, typer.Option("--runs", min=3, max=600, help="How many runs.")] = 60,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the folder of the cluster and say where it is.")
    ] = False,
) -> None:
    """Kill an owner among three processes, and verify everything."""
    from raftoral.cli.demo import run_demo

    raise typer.Exit(run_demo(runs, keep=keep))
