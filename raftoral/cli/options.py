"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from raftoral.client.http import Client

Url = Annotated[
    str,
    typer.Option("--node", metavar="URL", envvar="RAFTORAL_NODE", help="The node to talk to."),
]
DEFAULT_URL = "http://127.0.0.1:7480"
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text for people.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the history.")]
Request = Annotated[
    str | None,
    typer.Option("--request", metavar="ID", help="The same id is one change, however often."),
]
_LAYOUT = "\n\t"

RunIdArgument = Annotated[str, typer.Argument(metavar="RUN", help="The id of a run.")]


def leaves_to_subcommand(context: typer.Context) -> bool:
    """Tell whether the words go on with a subcommand; an option before it is refused, not lost."""
    if context.invoked_subcommand is None:
        return False
    for param in context.command.params:
        source = context.get_parameter_source(param.name or "")
        if source is not None and source.name == "COMMANDLINE":
            refuse(f"write {param.opts[0]} behind `{context.invoked_subcommand}`")
    return True


def client(url: str) -> Client:
    """Return a client of the node at ``url``; close it by using it as a context."""
    from raftoral.client.http import Client
    from raftoral.errors import UsageError

    from . import logs

    logs.set_up("warning")
    try:
        return Client(url)
    except UsageError as error:
        refuse(str(error))


def tell(message: str) -> None:
    """Print a message on stderr; what somebody else has put into it does not drive the terminal."""
    from raftoral.replay.text import visible

    print(f"raftoral: {visible(message, keep=_LAYOUT)}", file=sys.stderr)


def refuse(message: str) -> NoReturn:
    """Say that the command was called wrongly, and exit with 2."""
    tell(message)
    raise typer.Exit(2)


def fail(message: str) -> NoReturn:
    """Say what failed, and exit with 1."""
    tell(message)
    raise typer.Exit(1)


def read_json(text: str, option: str) -> Any:
    """Return the value of a JSON text, of the file behind ``@``, or of standard input for ``-``."""
    from raftoral.convert import from_json
    from raftoral.errors import InvalidInput

    try:
        if text == "-":
            return from_json(sys.stdin.buffer.read())
        if text.startswith("@"):
            return from_json(Path(text[1:]).read_bytes())
        return from_json(text)
    except OSError as error:
        refuse(f"{option}: cannot read {text[1:]}: {error.strerror}")
    except InvalidInput as error:
        refuse(f'{option}: {error}. Write {option} \'{{"name": "value"}}\', @FILE or -')


def done(text: str, as_json: bool, answer: object = None) -> None:
    """Say what was done: ``text`` for people, or ``answer`` (none: that it worked) as JSON."""
    if not as_json:
        print(text)
        return
    from raftoral.cli import render

    render.json({"ok": True} if answer is None else answer)


def moment(text: str | None, option: str) -> datetime | None:
    """Return the instant that an option says, or how long ago it was (``2h``); None for none."""
    return None if text is None else needed_moment(text, option)


def needed_moment(text: str, option: str) -> datetime:
    """Return the instant that an option says; without a zone it is meant in UTC."""
    from datetime import UTC, datetime

    from raftoral.values import parse_span

    try:
        return datetime.now(UTC) - parse_span(text)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        refuse(f"{option} is an instant such as 2026-11-25T09:00Z, or how long ago, such as 2h")
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def host_port(text: str, option: str) -> tuple[str, int]:
    """Return the parts of ``HOST:PORT``, the host as it is written; the port is from 0 to 65535."""
    from raftoral.errors import UsageError
    from raftoral.transport.addresses import split_address

    try:
        _, port = split_address(text)
    except UsageError:
        refuse(f"{option} is HOST:PORT, such as 127.0.0.1:7480, not {text!r}")
    return text.rpartition(":")[0], port


def split(values: Sequence[str]) -> list[str]:
    """Return the parts of a repeatable option whose values may also be separated by commas."""
    return [part.strip() for value in values for part in value.split(",") if part.strip()]
