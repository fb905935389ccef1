"""`cancel`, `terminate`, `pause`, `resume`, `retry`, `fork`: how runs stop and go on."""

from __future__ import annotations

from typing import Annotated

import typer

from raftoral.cli.options import (
    DEFAULT_URL,
    AsJson,
    Reason,
    Request,
    RunIdArgument,
    Url,
    client,
    done,
)


def cancel(
    run_id: RunIdArgument,
    reason: Reason = "",
    request: Request = None,
    node: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Ask a run to stop; it may clean up first.

    Its code meets `Cancelled` at its next step, compensations run, and it ends as cancelled.
    """
    with client(node) as http:
        http.cancel(run_id, reason, request=request)
    done(f"run {run_id} is asked to stop; `raftoral show` tells when it has", as_json)


def terminate(
    run_id: RunIdArgument,
    reason: Reason = "",
    request: Request = None,
    node: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """End a run at once.

    None of its code runs any more, and nothing is taken back.
    """
    with client(node) as http:
        http.terminate(run_id, reason, request=request)
    done(f"run {run_id} has ended", as_json)


def pause(
    run_id: RunIdArgument,
    reason: Reason = "",
    request: Request = None,
    node: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Let a run begin nothing more.

    What is under way still ends, and timers go on counting.
    """
    with client(node) as http:
        http.pause(run_id, reason, request=request)
    done(f"run {run_id} is paused; `raftoral resume {run_id}` lets it go on", as_json)


def resume(
    run_id: RunIdArgument,
    request: Request = None,
    node: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Let a paused run go on."""
    with client(node) as http:
        http.resume(run_id, request=request)
    done(f"run {run_id} goes on", as_json)


def retry(run_id: RunIdArgument, node: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Let a run that failed, was cancelled or terminated go on.

    Settled steps stay; the step that it failed by is done again.
    """
    with client(node) as http:
        generation = http.retry(run_id)
    done(f"run {run_id} goes on, in generation {generation}", as_json, {"generation": generation})


def fork(
    run_id: RunIdArgument,
    at: Annotated[
        int,
        typer.Option(
            "--at", min=1, metavar="N", help="Keep its first N events; `raftoral history` has them."
        ),
    ],
    new_id: Annotated[
        str | None, typer.Option("--id", help="The id of the new run; made if not given.")
    ] = None,
    version: Annotated[
        int | None,
        typer.Option("--version", min=1, help="Go on under another version that they fit."),
    ] = None,
    node: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Begin a run with the first steps of another one.

    Prints its id.
    """
    with client(node) as http:
        view = http.fork(run_id, at, new_id=new_id, version=version)
    done(view.id, as_json, view)
