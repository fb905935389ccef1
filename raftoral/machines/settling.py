"""How an owner extends a history: each event checked against the state as the ones before leave it.

The rules it keeps: a history only grows by a settlement of the current epoch at the current end
(semantics 3.1); each event is checked against what the ones before it leave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from raftoral.errors import CorruptionError, UsageError
from raftoral.machines import callbacks, children, generations, mail, runs, tracking
from raftoral.machines.growing import ended, finish, grow, too_long
from raftoral.machines.runs import PAUSED, RUNNING
from raftoral.replay import history
from raftoral.replay.history import Ended

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.machines import commands
    from raftoral.machines.base import Result
    from raftoral.machines.runs import Run
    from raftoral.machines.step import Step


def settle(step: Step, command: commands.Settle) -> Result:
    """Extend a run's history, or say where it stands."""
    run = runs.find(step.txn, command.run_id)
    if run is None or run.status not in (RUNNING, PAUSED):
        return ["refused", "stale", "the run does not go on", 0, 0]
    if (command.epoch, command.base, command.chain) != (run.epoch, run.length, run.chain):
        why = "another owner" if command.epoch != run.epoch else "the history went on"
        return ["refused", "stale", why, run.epoch, run.length]
    events = _decoded(command.events)
    last = events[-1]
    stop = None if isinstance(last, history.Restarted) else too_long(run, command.events)
    if stop is not None:
        return ["ok", finish(step, run, stop).length]
    grown = run
    for event in events:
        take = _TAKE.get(type(event))
        if take is not None:
            grown = take(step, grown, event)
    if isinstance(last, Ended):
        grown = ended(step, grown, last)
    grown = grow(step, run, grown, command.events)
    if isinstance(last, history.Restarted):
        grown = generations.restart(step, grown, last)
    return ["ok", grown.length]


def _decoded(events: list[bytes]) -> list[history.Event]:
    """Return the events of a settlement, each of the right form, and what ends it at its end."""
    if not events or not all(0 < len(data) <= history.EVENT_BYTES_MAX for data in events):
        raise UsageError(
            f"a settlement has events, each of at most {history.EVENT_BYTES_MAX:,} bytes"
        )
    try:
        decoded = [history.take(data) for data in events]
    except CorruptionError as error:
        raise UsageError(str(error)) from None
    if any(isinstance(event, Ended | history.Restarted) for event in decoded[:-1]):
        raise UsageError("nothing comes after the end of a run, or of a generation")
    return decoded


# ------------------------------------------------------------------ one event
def _timer_fired(step: Step, run: Run, event: history.TimerFired) -> Run:
    tracking.check_fired(step, run, event.path)
    tracking.timer_over(step.txn, run, event.path)
    return run


def _taken(step: Step, run: Run, event: history.Taken) -> Run:
    mail.take(step, run, event)
    tracking.timer_over(step.txn, run, event.path)
    return run


def _updated(step: Step, run: Run, event: history.Updated) -> Run:
    mail.answer(step, run, event)
    return run


def _child_left(step: Step, run: Run, event: history.ChildLeft) -> Run:
    children.leave(step, run, event.path)
    return run


def _callback_opened(step: Step, run: Run, event: history.CallbackOpened) -> Run:
    callbacks.opened(step, run, event)
    return run


def _callback_done(step: Step, run: Run, event: history.CallbackDone) -> Run:
    callbacks.timed_out(step, run, event)
    return run


def _ended(_step: Step, run: Run, event: Ended) -> Run:
    if event.status == "terminated":
        raise UsageError("only a group terminates a run")
    return run


def _never(_step: Step, _run: Run, event: history.Event) -> Run:
    raise UsageError(f"only a group writes {type(event).__name__} into a history")


_TAKE: Final[dict[type[history.Event], Callable[[Step, Run, Any], Run]]] = {
    history.Set: tracking.cell_set,
    history.TimerSet: tracking.timer_set,
    history.TimerFired: _timer_fired,
    history.Taken: _taken,
    history.Updated: _updated,
    history.ChildAsked: children.ask,
    history.ChildLeft: _child_left,
    history.CallbackOpened: _callback_opened,
    history.CallbackDone: _callback_done,
    history.Ended: _ended,
    history.Started: _never,
    history.ChildDone: _never,
    history.CancelAsked: _never,
    history.Paused: _never,
    history.Resumed: _never,
}
"""What is to be done for an event, and checked before; nothing for the other kinds."""
