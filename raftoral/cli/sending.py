"""`signal`, `update`, `query`, `complete`, `fail`, `beat`: what a run is told and asked."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from raftoral.cli.options import (
    DEFAULT_URL,
    AsJson,
    RunIdArgument,
    Url,
    client,
    done,
    fail,
    read_json,
    refuse,
)

Payload = Annotated[
    str, typer.Option("--payload", "-p", metavar="JSON|@FILE|-", help="What it carries.")
]
Token = Annotated[
    str, typer.Argument(metavar="TOKEN", help="The token that the workflow made; - reads it.")
]


def signal(
    run_id: RunIdArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The signal's name.")],
    payload: Payload = "null",
    signal_id: Annotated[
        str | None,
        typer.Option("--id", help="The same id is one signal, however often it is sent."),
    ] = None,
    node: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Send a signal to a run."""
    value = read_json(payload, "--payload")
    with client(node) as http:
        http.signal(run_id, name, value, id=signal_id)
    if as_json:
        done("", as_json)


def update(
    run_id: RunIdArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The update's name.")],
    payload: Payload = "null",
    update_id: Annotated[
        str | None, typer.Option("--id", help="The same id is one request with one answer.")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", min=0, metavar="SECONDS", help="Wait at most so long."),
    ] = None,
    node: Url = DEFAULT_URL,
) -> None:
    """Send a request to a run and print its answer.

    Exits with 1 if the run refuses it, or does not answer in time.
    """
    from raftoral.cli import render

    value = read_json(payload, "--payload")
    with client(node) as http:
        try:
            answer = http.update(run_id, name, value, id=update_id, timeout=timeout)
        except TimeoutError as error:
            fail(str(error))
    render.json(answer)


def query(
    run_id: RunIdArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The query's name.")],
    consistent: Annotated[
        bool, typer.Option("--consistent", help="Bring the answering node up to date first.")
    ] = False,
    node: Url = DEFAULT_URL,
) -> None:
    """Ask a run something and print the answer.

    It is worked out from the run's committed cells; the run does not notice.
    """
    from raftoral.cli import render

    with client(node) as http:
        render.json(http.query(run_id, name, consistent=consistent))


def complete(
    token: Token,
    payload: Annotated[
        str,
        typer.Option("--payload", "-p", metavar="JSON|@FILE|-", help="What the step results in."),
    ] = "null",
    node: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Complete a step that waits for whoever holds its token.

    The same completion again is fine, another one is refused.
    """
    if [token, payload].count("-") > 1:
        refuse("read either TOKEN or --payload from standard input, not both")
    value = read_json(payload, "--payload")
    with client(node) as http:
        http.complete_callback(_token(token), value)
    done("the step is completed", as_json)


def fail_(
    token: Token,
    name: Annotated[str, typer.Option("--name", help="The name of the failure.")] = "Failed",
    message: Annotated[str, typer.Option("--message", "-m", help="What happened.")] = "",
    details: Annotated[
        str, typer.Option("--details", metavar="JSON|@FILE|-", help="More about it, an object.")
    ] = "{}",
    node: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Fail a step that waits for whoever holds its token."""
    more = read_json(details, "--details")
    if not isinstance(more, dict):
        refuse('--details is a JSON object such as {"code": 51}')
    with client(node) as http:
        http.fail_callback(_token(token), name, message, more)
    done("the step has failed", as_json)


def beat(token: Token, node: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Tell that the holder of a token is still at it."""
    with client(node) as http:
        http.beat_callback(_token(token))
    done("the step waits on", as_json)


def _token(text: str) -> str:
    """Return a token; from standard input it stands in no list of processes."""
    return sys.stdin.read().strip() if text == "-" else text
