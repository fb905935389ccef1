"""The table of commands, in the order that `raftoral --help` shows them."""

from __future__ import annotations

from typing import Annotated

import typer

from raftoral.cli import (
    certs,
    cluster,
    debugging,
    definitions,
    drawing,
    formatting,
    lifecycle,
    linting,
    nodes,
    replaying,
    runs,
    schedules,
    sending,
    serving,
)

app = typer.Typer(
    name="raftoral",
    help="Durable workflows inside your own processes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help and plain errors: quick to import, and the same in a pipe
    context_settings={"help_option_names": ["-h", "--help"]},
)

_COMMANDS = (
    ("start", serving.start),
    ("dev", serving.dev),
    ("fmt", formatting.fmt),
    ("graph", drawing.graph),
    ("lint", linting.lint),
    ("replay", replaying.replay),
    ("deploy", definitions.deploy),
    ("run", runs.run),
    ("list", runs.list_),
    ("show", runs.show),
    ("history", runs.history),
    ("query", sending.query),
    ("signal", sending.signal),
    ("update", sending.update),
    ("complete", sending.complete),
    ("fail", sending.fail_),
    ("beat", sending.beat),
    ("cancel", lifecycle.cancel),
    ("terminate", lifecycle.terminate),
    ("pause", lifecycle.pause),
    ("resume", lifecycle.resume),
    ("retry", lifecycle.retry),
    ("fork", lifecycle.fork),
    ("status", cluster.status),
    ("demo", debugging.demo),
    ("version", cluster.version),
)
for _name, _command in _COMMANDS:
    app.command(_name)(_command)
app.command("repl", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    debugging.repl
)
app.add_typer(schedules.app, name="schedules")
app.add_typer(nodes.app, name="nodes")
app.add_typer(certs.app, name="certs")


def _version(wanted: bool) -> None:
    if wanted:
        cluster.version()
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Durable workflows inside your own processes."""
