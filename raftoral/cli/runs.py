"""`run`, `list`, `show`, `history`: runs are started and looked at."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raftoral.cli.options import (
    DEFAULT_URL,
    AsJson,
    RunIdArgument,
    Url,
    client,
    fail,
    moment,
    read_json,
    refuse,
    tell,
)

if TYPE_CHECKING:
    from raftoral.client.http import Client
    from raftoral.runtime.views import RunView

STATUSES = ("running", "paused", "parked", "completed", "failed", "cancelled", "terminated")
POLICIES = ("join", "reject", "retry_failed")


def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The workflow's name.")],
    input_: Annotated[
        str,
        typer.Option(
            "--input", "-i", metavar="JSON|@FILE|-", help="An object of parameters, or a list."
        ),
    ] = "{}",
    run_id: Annotated[
        str | None, typer.Option("--id", help="The run's id; one is made if not given.")
    ] = None,
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="The newest one if not given.")
    ] = None,
    policy: Annotated[
        str,
        typer.Option(
            "--policy", metavar="WHAT", help=f"If the id is taken: {', '.join(POLICIES)}."
        ),
    ] = "join",
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait for the end; exit 1 if the run failed.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", min=0, metavar="SECONDS", help="Wait at most so long."),
    ] = None,
    node: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Start a run.

    Prints its id, or with --wait its result as JSON.
    """
    value = read_json(input_, "--input")
    if not isinstance(value, (dict, list)):
        refuse('--input is a JSON object such as {"order_id": "o-1"}, or a list of arguments')
    if policy not in POLICIES:
        refuse(f"--policy is one of {', '.join(POLICIES)}, not {policy!r}")
    chosen: Any = policy
    with client(node) as http:
        view = http.start(name, value, id=run_id, version=version, policy=chosen)
        if wait or timeout is not None:
            _print_end(_waited(http, view.id, timeout), as_json, timeout)
        elif as_json:
            _json(view)
        else:
            print(view.id)


def _waited(http: Client, run_id: str, timeout: float | None) -> RunView:
    """Return the run once it ended or the time is over; say so while nobody goes on with it."""
    try:
        for view in http.watch(run_id, timeout):
            if view.ended:
                return view
            if view.status in ("parked", "paused"):
                tell(f"run {run_id} is {_standing(view)}")
    except KeyboardInterrupt:
        tell(f"run {run_id} goes on without you")
        raise typer.Exit(130) from None
    return http.show(run_id)


def _print_end(view: RunView, as_json: bool, timeout: float | None) -> None:
    """Print the result; exit with 1 if the run did not complete."""
    if as_json:
        _json(view)
    elif view.status == "completed":
        _json(view.result)
    if view.ended and view.status != "completed":
        assert view.error is not None
        word = "failed" if view.status == "failed" else f"was {view.status}"
        fail(f"run {view.id} {word}: {_error_line(view)}")
    if not view.ended:
        fail(
            f"run {view.id} has not ended after {timeout:g} s: {_standing(view)}. "
            f"It goes on; `raftoral show {view.id}` shows it"
        )


def _error_line(view: RunView) -> str:
    if view.error is None:
        return "no reason is known"
    return f"{view.error.name}: {view.error.message}" if view.error.message else view.error.name


def _standing(view: RunView) -> str:
    """Return the status and what the run waits for, in a few words."""
    about = view.reason or (f"waits for {view.waiting_for}" if view.waiting_for else "")
    return f"{view.status}, {about}" if about else view.status


def list_(
    status: Annotated[
        str | None, typer.Option("--status", help=f"{', '.join(STATUSES)}.", metavar="STATUS")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Only runs of this workflow.")] = None,
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="Only runs of this version.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="INSTANT|SPAN", help="Started then or later, or 2h ago."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="INSTANT|SPAN", help="Started before that.")
    ] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            "--attr", metavar="CELL=JSON", help="A searched cell has this value (repeatable)."
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 100,
    after: Annotated[
        str | None, typer.Option("--after", help="Only what is older than this run.")
    ] = None,
    node: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    with client(node) as http:
        views = http.runs(
            status,
            name,
            limit,
            after,
            version=version,
            started_after=moment(since, "--since"),
            started_before=moment(until, "--until"),
            attributes=dict(map(_attribute, attribute or ())),
        )
    from raftoral.cli import render

    if as_json:
        render.json(views)
        return
    render.table(
        ("id", "workflow", "status", "owner", "events", "started", "waits for"),
        [
            (
                v.id,
                f"{v.name} v{v.version}",
                v.status,
                str(v.owner or ""),
                str(v.events),
                render.moment(v.started_at),
                v.reason or v.waiting_for,
            )
            for v in views
        ],
    )
    if len(views) == limit:
        print(f"more: raftoral list --after {views[-1].id}", file=sys.stderr)


def _attribute(text: str) -> tuple[str, Any]:
    """Return cell and value of ``CELL=JSON``; what is no JSON is a text."""
    from raftoral.convert import from_json
    from raftoral.errors import InvalidInput

    path, equals, value = text.partition("=")
    if not equals or not path:
        refuse(f"--attr is CELL=JSON, such as status=paid, not {text!r}")
    try:
        return path, from_json(value)
    except InvalidInput:
        return path, value


def show(
    run_id: RunIdArgument,
    node: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show one run: its standing, owner, result or failure."""
    with client(node) as http:
        view = http.show(run_id)
    from raftoral.cli import render

    if as_json:
        render.json(view)
        return
    lines = [
        ("run", view.id),
        ("workflow", f"{view.name} version {view.version}"),
        ("status", _standing(view)),
        ("owner", f"node {view.owner}, epoch {view.epoch}, group {view.group}"),
        ("steps", f"{view.events} settled"),
        ("started", render.moment(view.started_at)),
    ]
    if view.parent:
        lines.append(("asked by", view.parent))
    if view.generation:
        lines.append(("generation", str(view.generation)))
    if view.attributes:
        lines.append(("attributes", render.json_text(view.attributes)))
    if view.ended_at is not None:
        took = (view.ended_at - view.started_at) / 1000
        lines.append(("ended", f"{render.moment(view.ended_at)} after {took:.3f} s"))
    if view.status == "completed":
        lines.append(("result", render.json_text(view.result)))
    if view.error is not None:
        lines.append(("error", _error_line(view)))
        if view.error.details:
            lines.append(("details", render.json_text(view.error.details)))
    render.facts(lines)


def history(
    run_id: RunIdArgument,
    local: Annotated[
        bool, typer.Option("--local", help="The node's own copy, however old it is.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="FILE.rhx", help="Write it to a file for the REPL."),
    ] = None,
    node: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show the settled steps of a run."""
    from raftoral.cli import render

    if follow:
        if local or export is not None:
            refuse("--follow goes with neither --local nor --export")
        _follow(node, run_id, as_json)
        return
    with client(node) as http:
        body = http.history_body(run_id, local=local)
    if as_json and export is None:
        render.json(body)
        return
    from raftoral.client.http import history_of

    view = history_of(body)
    if export is not None:
        from raftoral.runtime.rhx import write_rhx

        try:
            export.write_bytes(write_rhx(view))
        except OSError as error:
            fail(f"cannot write {export}: {error.strerror}")
        print(f"{len(view.events)} events of run {view.run_id} written to {export}")
        return
    render.table(
        ("#", "event"),
        [(str(e["position"]), e["text"]) for e in body["events"]],
    )
    print(
        f"{view.name} version {view.version}, {len(view.events)} events, copy of node {view.node}, "
        f"sha256 {view.sha256}"
    )


def _follow(node: str, run_id: str, as_json: bool) -> None:
    """Print each step as it is settled: a line for people, or one of JSON."""
    from raftoral.convert import to_json

    with client(node) as http:
        generation = 0
        try:
            for step in http.follow(run_id):
                if as_json:
                    print(to_json(step).decode(), flush=True)
                    continue
                if step["generation"] != generation:
                    generation = step["generation"]
                    print(f"-- generation {generation}")
                print(f"{step['position']:>5}  {step['text']}", flush=True)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


def _json(value: object) -> None:
    from raftoral.cli import render

    render.json(value)
