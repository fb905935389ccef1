"""The state machine of groups 1..n: runs, their histories, their owners, what they tell each other.

`Execution.apply` is total and pure: a bad or stale command is a refusal, equal on every node, never
an exception; time is the stamp of the entry and never goes back. This module hands each command to
whom it belongs; the rule it keeps: a refused command has changed nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from raftoral.errors import UsageError
from raftoral.ids import Index, Millis
from raftoral.kv import Overlay
from raftoral.machines import (
    callbacks,
    commands,
    generations,
    layout,
    lifecycle,
    mail,
    outbox,
    owners,
    retention,
    runs,
    schedules,
    settling,
    starting,
)
from raftoral.machines.events import (
    Answered,
    Event,
    Forgotten,
    OutboxGrew,
    OwnerChanged,
    Regenerated,
    RunStarted,
    ScheduleChanged,
    Settled,
    Signalled,
    Warned,
)
from raftoral.machines.step import Refused, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from raftoral.kv import Reader, Transaction
    from raftoral.machines.base import Result
    from raftoral.machines.command import Command

__all__ = [
    "Answered",
    "Event",
    "Execution",
    "Forgotten",
    "OutboxGrew",
    "OwnerChanged",
    "Regenerated",
    "RunStarted",
    "ScheduleChanged",
    "Settled",
    "Signalled",
    "Warned",
]


class Execution:
    """`raftoral.machines.base.StateMachine` of an execution group; it keeps no state of its own."""

    def apply(
        self, index: Index, at: Millis, command: bytes, txn: Transaction
    ) -> tuple[Result, Sequence[Event]]:
        """Apply one committed command.

        Returns its result, ``["ok", ...]`` or ``["refused", code, message, ...]``, and the events
        in the order in which they happened.
        """
        now = Millis(max(at, runs.clock(txn)))
        txn.put(layout.CLOCK, layout.u64(now))
        step = Step(txn, index, now)
        return _apply(step, command, depth=0), step.events

    def clock(self, reader: Reader) -> Millis:
        """Return the stamp of the newest entry applied."""
        return runs.clock(reader)


_HANDLERS: Final[dict[type[Command], Callable[[Step, Any], Result]]] = {
    commands.Settle: settling.settle,
    commands.StartRun: starting.start,
    commands.Cancel: lifecycle.cancel,
    commands.Terminate: lifecycle.terminate,
    commands.Pause: lifecycle.pause,
    commands.Resume: lifecycle.resume,
    commands.RetryRun: generations.retry,
    commands.Adopt: generations.adopt,
    commands.Forget: retention.forget,
    commands.Signal: mail.signal,
    commands.Update: mail.update,
    commands.CompleteCallback: callbacks.complete,
    commands.BeatCallback: callbacks.beat,
    commands.Passed: outbox.passed,
    commands.OutboxDone: outbox.done,
    commands.ChildDone: lifecycle.child_done,
    commands.PutSchedule: schedules.put,
    commands.PauseSchedule: schedules.pause,
    commands.ResumeSchedule: schedules.resume,
    commands.DropSchedule: schedules.drop,
    commands.Fired: schedules.fired,
    commands.Backfill: schedules.backfill,
    commands.ScheduledEnded: schedules.run_ended,
    commands.Publish: owners.publish,
    commands.TakeOver: owners.take_over,
    commands.HandOver: owners.hand_over,
    commands.OwnSlots: owners.own_slots,
}


def _apply(step: Step, data: bytes, depth: int) -> Result:
    """Apply one command. A `Many` holds no other, and a `Delivered` holds neither."""
    try:
        command = commands.decode(data)
        handler = _HANDLERS.get(type(command))
        if handler is not None:
            return _whole(step, handler, command)
        match command:
            case commands.Many(many) if depth == 0:
                return ["ok", [_apply(step, each, depth=1) for each in many]]
            case commands.Delivered() if depth <= 1:
                return _delivered(step, command)
            case _:
                return ["refused", "usage", f"an execution group knows no `{command.tag}` here"]
    except UsageError as error:
        return ["refused", error.code, str(error)]
    except Refused as refused:
        return ["refused", refused.kind, str(refused)]


def _whole(step: Step, handler: Callable[[Step, Any], Result], command: Command) -> Result:
    """Apply a command wholly or not at all: it is played on a draft, which a refusal drops."""
    draft = Overlay(step.txn)
    playing = Step(draft, step.index, step.now, origin=step.origin)
    result = handler(playing, command)
    draft.pour(step.txn)
    step.events += playing.events
    return result


def _delivered(step: Step, command: commands.Delivered) -> Result:
    """Apply what comes from another group, unless it is a late copy (semantics 6.3)."""
    if not outbox.take(step, command.group, command.number, command.low):
        return ["ok", "passed"]
    step.origin = (command.group, command.number)
    try:
        return _apply(step, command.command, depth=2)
    finally:
        step.origin = None
