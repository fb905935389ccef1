"""Twin of batch.rwf."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from raftoral import Checkpoint, Compute, Flow, Log, Race, Receive, Sleep, workflow
from raftoral.errors import Cancelled, WorkflowFailed
from raftoral.replay.effects import activity, current_scopes, scope
from raftoral.values import format_span


@dataclass(frozen=True)
class Job:
    id: str
    state: Any


@activity("batch.submit")
def submit(image: str, args: list[str]) -> Job:
    raise NotImplementedError


@activity("batch.look")
def look(id: str) -> Job:
    raise NotImplementedError


@activity("batch.kill")
def kill(id: str) -> None:
    raise NotImplementedError


@workflow("batch.run", version=1)
def run(image: str, args: list[str], patience: timedelta = timedelta(hours=6)) -> Flow[str]:
    run_id = current_scopes.get().run_id
    job = yield from (
        Compute("job", submit, image, args).timeout("30s").idempotency_key(f"job-{run_id}")
    )
    latest = yield from Checkpoint("latest", job.state, object)
    pause, waited = timedelta(seconds=2), timedelta(0)

    try:
        turn = 0
        while latest.value in ("Queued", "Running"):
            with scope(f"while#0[{turn}]"):
                turn += 1
                won = yield from Race(None, abort=Receive("abort"), after=Sleep(pause))
                if won.name == "abort":
                    details = {"id": job.id, "why": won.value["why"]}
                    raise WorkflowFailed("JobFailed", details=details)
                waited += pause
                if waited > patience:
                    why = f"no end after {format_span(waited)}"
                    raise WorkflowFailed("JobFailed", details={"id": job.id, "why": why})
                seen = yield from (
                    Compute("seen", look, job.id).retry(10, first="1s", longest="1m").timeout("10s")
                )
                yield from latest.set(seen.state)
                pause = min(pause * 2, timedelta(minutes=5))
        match latest.value:
            case ["Done", {"output": output}]:
                return str(output)
            case [_, {"why": why}]:
                raise WorkflowFailed("JobFailed", details={"id": job.id, "why": why})
            case _:
                raise WorkflowFailed("Failed", "this cannot be")
    except (WorkflowFailed, Cancelled) as end:
        if isinstance(end, WorkflowFailed) and end.name != "JobFailed":
            raise
        yield from (Compute(None, kill, job.id).retry(20, first="1s", longest="10m").timeout("30s"))
        raise
    finally:
        yield from Log(f"job {job.id} was looked after for {format_span(waited)}")
