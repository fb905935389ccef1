"""The table of commands, in the order that `raftoral --help` shows them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

# Where each command lives; of one that is called nothing else is imported or built.
_COMMANDS: Final = {
    "start": "serving.start",
    "dev": "serving.dev",
    "check": "checking.check",
    "test": "testing.run_tests",
    "fmt": "formatting.fmt",
    "graph": "drawing.graph",
    "explain": "explaining.explain",
    "lsp": "editing.lsp",
    "lint": "linting.lint",
    "replay": "replaying.replay",
    "deploy": "definitions.deploy",
    "run": "runs.run",
    "list": "runs.list_",
    "show": "runs.show",
    "history": "runs.history",
    "query": "sending.query",
    "signal": "sending.signal",
    "update": "sending.update",
    "complete": "sending.complete",
    "fail": "sending.fail_",
    "beat": "sending.beat",
    "cancel": "lifecycle.cancel",
    "terminate": "lifecycle.terminate",
    "pause": "lifecycle.pause",
    "resume": "lifecycle.resume",
    "retry": "lifecycle.retry",
    "fork": "lifecycle.fork",
    "status": "cluster.status",
    "demo": "debugging.demo",
    "version": "cluster.version",
    "repl": "debugging.repl",
    "schedules": "schedules.app",
    "nodes": "nodes.app",
    "certs": "certs.app",
}
_SETTINGS: Final = {"repl": {"allow_extra_args": True, "ignore_unknown_options": True}}


def app_for(words: Sequence[str]) -> typer.Typer:
    """Return the application for a command line: with the command it calls, else with all."""
    app = typer.Typer(
        name="raftoral",
        help="Durable workflows inside your own processes.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # plain help and errors: quick to import, and the same in a pipe
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    called = words[0] if words else ""
    for name in [called] if called in _COMMANDS else _COMMANDS:
        found = _found(_COMMANDS[name])
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name, context_settings=_SETTINGS.get(name))(found)
    return app


def _found(place: str) -> Any:
    module, _, name = place.partition(".")
    return getattr(import_module(f"raftoral.cli.{module}"), name)


def _version(wanted: bool) -> None:
    if wanted:
        from raftoral.cli import cluster

        cluster.version()
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Durable workflows inside your own processes."""
