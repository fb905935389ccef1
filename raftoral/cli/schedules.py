"""`schedules`: runs that begin by the calendar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from raftoral.cli.options import (
    DEFAULT_URL,
    AsJson,
    Reason,
    Request,
    Url,
    client,
    done,
    leaves_to_subcommand,
    moment,
    needed_moment,
    read_json,
    refuse,
)

if TYPE_CHECKING:
    from raftoral.runtime.views import ScheduleView

OVERLAPS = ("skip", "buffer_one", "allow", "cancel_other", "terminate_other")

Id = Annotated[str, typer.Argument(metavar="SCHEDULE", help="The id of a schedule.")]

app = typer.Typer(help="List the schedules, or change them.")


@app.callback(invoke_without_command=True)
def schedules(context: typer.Context, node: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """List the schedules, or change them."""
    if leaves_to_subcommand(context):
        return
    with client(node) as http:
        views = http.schedules()
    from raftoral.cli import render

    if as_json:
        render.json(views)
        return
    render.table(
        ("id", "workflow", "when", "zone", "next", "last", "fired", "left out", "current"),
        [
            (
                view.id,
                _workflow(view),
                view.spec.when,
                view.spec.zone,
                "paused" if view.paused else _moment(view.next_at),
                _moment(view.last_at),
                str(view.fired),
                str(view.left_out or ""),
                view.current,
            )
            for view in views
        ],
    )


@app.command()
def put(
    schedule: Id,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The workflow's name.")],
    when: Annotated[
        str,
        typer.Option("--when", help="A cron expression such as '0 9 * * MON-FRI', or 'every 15m'."),
    ],
    input_: Annotated[
        str,
        typer.Option(
            "--input", "-i", metavar="JSON|@FILE|-", help="An object of parameters, or a list."
        ),
    ] = "{}",
    zone: Annotated[
        str, typer.Option("--zone", help="Whose clock, such as Europe/Berlin.")
    ] = "UTC",
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="The newest one each time if not given.")
    ] = None,
    overlap: Annotated[
        str,
        typer.Option(
            "--overlap", help=f"While the last run goes on: {', '.join(OVERLAPS)}.", metavar="WHAT"
        ),
    ] = "skip",
    start: Annotated[
        str | None, typer.Option("--start", metavar="INSTANT", help="No time before it counts.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--end", metavar="INSTANT", help="No time after it counts.")
    ] = None,
    catch_up: Annotated[
        str | None,
        typer.Option(
            "--catch-up", metavar="SPAN", help="Leave out what is later than that; 7d if not given."
        ),
    ] = None,
    node: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Store a schedule, in place of the one of this id.

    The run of a time is called SCHEDULE@2026-11-25T09:00:00Z.
    """
    value = read_json(input_, "--input")
    if not isinstance(value, (dict, list)):
        refuse('--input is a JSON object such as {"order_id": "o-1"}, or a list of arguments')
    if overlap not in OVERLAPS:
        refuse(f"--overlap is one of {', '.join(OVERLAPS)}, not {overlap!r}")
    chosen: Any = overlap
    with client(node) as http:
        view = http.put_schedule(
            schedule,
            name,
            value,
            when=when,
            zone=zone,
            version=version,
            overlap=chosen,
            start=moment(start, "--start"),
            end=moment(end, "--end"),
            catch_up=catch_up,
        )
    next_at = f"fires next at {_moment(view.next_at)}" if view.next_at else "never fires"
    done(f"schedule {view.id} {next_at}", as_json, view)


@app.command()
def show(schedule: Id, node: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show one schedule."""
    from raftoral.cli import render

    with client(node) as http:
        view = http.schedule(schedule)
    if as_json:
        render.json(view)
        return
    spec = view.spec
    lines = [
        ("schedule", view.id),
        ("workflow", _workflow(view)),
        ("input", render.json_text(spec.input)),
        ("when", f"{spec.when} ({spec.zone}), overlap {spec.overlap}"),
        ("next", f"paused: {view.reason}" if view.paused else _moment(view.next_at) or "never"),
        ("fired", f"{view.fired} times, {view.left_out} left out"),
    ]
    for label, at in (("last", view.last_at), ("from", spec.start_at), ("to", spec.end_at)):
        if at:
            lines.append((label, _moment(at)))
    if spec.catch_up_ms:
        lines.append(("catch up", f"{spec.catch_up_ms / 1000:g} s"))
    if view.current:
        lines.append(("current", view.current))
    if view.waiting_at:
        lines.append(("waiting", f"the run of {_moment(view.waiting_at)}"))
    render.facts(lines)


@app.command()
def pause(
    schedule: Id,
    reason: Reason = "",
    request: Request = None,
    node: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Let a schedule fire no more."""
    with client(node) as http:
        http.pause_schedule(schedule, reason, request=request)
    done(f"schedule {schedule} is paused", as_json)


@app.command()
def resume(
    schedule: Id, request: Request = None, node: Url = DEFAULT_URL, as_json: AsJson = False
) -> None:
    """Let a paused schedule fire again, from now on."""
    with client(node) as http:
        http.resume_schedule(schedule, request=request)
    done(f"schedule {schedule} goes on", as_json)


@app.command()
def drop(schedule: Id, node: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Remove a schedule; its runs go on."""
    with client(node) as http:
        http.drop_schedule(schedule)
    done(f"schedule {schedule} is removed", as_json)


@app.command()
def trigger(schedule: Id, node: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Start a run of a schedule now, whatever goes on.

    Prints its id.
    """
    with client(node) as http:
        run_id = http.trigger_schedule(schedule)
    done(run_id, as_json, {"runs": [run_id]})


@app.command()
def backfill(
    schedule: Id,
    start: Annotated[str, typer.Option("--from", metavar="INSTANT", help="The first time.")],
    end: Annotated[str, typer.Option("--to", metavar="INSTANT", help="The last time.")],
    node: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Start the runs of a schedule's times that have passed.

    Prints their ids; those that were there already start no second time.
    """
    first, last = needed_moment(start, "--from"), needed_moment(end, "--to")
    with client(node) as http:
        run_ids = http.backfill_schedule(schedule, first, last)
    if run_ids or as_json:
        done("\n".join(run_ids), as_json, {"runs": run_ids})


def _workflow(view: ScheduleView) -> str:
    return f"{view.spec.name} v{view.spec.version}" if view.spec.version else view.spec.name


def _moment(millis: int) -> str:
    from raftoral.cli import render

    return render.moment(millis) if millis else ""
