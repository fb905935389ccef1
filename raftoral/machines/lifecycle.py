"""What reaches a run from outside: cancelled, terminated, paused, resumed, told of a child.

Each writes an arrival into the history at any moment. The rule it keeps: asking twice is one event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from raftoral.errors import CorruptionError, UsageError
from raftoral.machines import children, commands, layout, repeats, runs
from raftoral.machines.growing import arrive, finish
from raftoral.machines.runs import PARKED, PAUSED, RUNNING, TERMINATED
from raftoral.machines.step import Refused, canonical, found
from raftoral.replay import history

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.ids import NodeId
    from raftoral.machines.base import Result
    from raftoral.machines.runs import Run
    from raftoral.machines.step import Step
    from raftoral.values import Value

C = TypeVar("C", commands.Cancel, commands.Terminate, commands.Pause, commands.Resume)

REASON_LENGTH_MAX = 2_000


def status_of(owner: NodeId, paused: str | None) -> str:
    """Return the status of a live run, which follows from its owner and its pause."""
    if not owner:
        return PARKED
    return RUNNING if paused is None else PAUSED


def check_reason(reason: str) -> str:
    """Return ``reason`` if it is short enough to be kept."""
    if len(reason) > REASON_LENGTH_MAX:
        raise UsageError(f"a reason has at most {REASON_LENGTH_MAX:,} characters")
    return reason


def check_live(run: Run) -> None:
    """Refuse what only a run that goes on can be asked."""
    if not run.live:
        raise Refused("run_ended", f"run {run.id} has ended: it is {run.status}")


def cancel(step: Step, command: commands.Cancel) -> Result:
    """Ask a run to stop, once: its code meets `Cancelled` at its next effect (semantics 7.3)."""
    return _asked(step, command, _cancel)


def _cancel(step: Step, run: Run, command: commands.Cancel) -> Result:
    if run.cancel_asked:
        return ["ok", "asked"]
    check_live(run)
    event = history.CancelAsked(check_reason(command.reason))
    arrive(step, run, run._replace(cancel_asked=True), event)
    return ["ok", "cancelling"]


def terminate(step: Step, command: commands.Terminate) -> Result:
    """End a run now."""
    return _asked(step, command, _terminate)


def _terminate(step: Step, run: Run, command: commands.Terminate) -> Result:
    if run.status == TERMINATED:
        return ["ok", TERMINATED]
    check_live(run)
    failure: Value = ["Terminated", check_reason(command.reason), {}]
    finish(step, run, history.Ended(TERMINATED, failure))
    return ["ok", TERMINATED]


def pause(step: Step, command: commands.Pause) -> Result:
    """Let the owner begin nothing more; what is under way is still settled."""
    return _asked(step, command, _pause)


def _pause(step: Step, run: Run, command: commands.Pause) -> Result:
    check_live(run)
    if run.paused is not None:
        return ["ok", PAUSED]
    reason = check_reason(command.reason)
    paused = run._replace(
        paused=reason,
        status=status_of(run.owner, reason),
        reason=reason if run.owner else run.reason,
    )
    arrive(step, run, paused, history.Paused(reason))
    return ["ok", PAUSED]


def resume(step: Step, command: commands.Resume) -> Result:
    """Let a paused run go on."""
    return _asked(step, command, _resume)


def _resume(step: Step, run: Run, _command: commands.Resume) -> Result:
    check_live(run)
    if run.paused is None:
        return ["ok", run.status]
    status = status_of(run.owner, None)
    resumed = run._replace(paused=None, status=status, reason="" if run.owner else run.reason)
    arrive(step, run, resumed, history.Resumed())
    return ["ok", status]


def _asked(step: Step, command: C, change: Callable[[Step, Run, C], Result]) -> Result:
    """Change a run as a user asks, the same request once."""
    run = found(step, command.run_id)
    key = layout.requests_key(run.id)
    return repeats.once(step, key, command.request, lambda: change(step, run, command))


def child_done(step: Step, command: commands.ChildDone) -> Result:
    """Give a child's end to the parent that awaits it; to any other it is nothing (semantics 6.3).

    The answer is ok in both cases: the child's group has done its duty.
    """
    value = canonical(command.value, "the end of a child")
    event = history.ChildDone(command.path, command.ok, value)
    try:
        history.check(event)
    except CorruptionError as error:
        raise UsageError(str(error)) from None
    run = runs.find(step.txn, command.parent_id)
    if run is None or not run.live or not children.awaited(step.txn, command):
        return ["ok", "dropped"]
    children.settle(step, run, command.path)
    arrive(step, run, run, event)
    return ["ok", "told"]
