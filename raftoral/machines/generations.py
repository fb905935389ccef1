"""How a run begins anew with its history cut or taken from another: restart, retry, fork.

Each raises the generation, so that what is asked of the world from then on has keys of its own, and
the epoch, so that nothing is settled that was worked out before.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from raftoral.codec import pack
from raftoral.errors import CorruptionError, LimitExceeded, UsageError
from raftoral.ids import NOBODY, Epoch, Position
from raftoral.machines import (
    callbacks,
    children,
    cutting,
    layout,
    mail,
    outbox,
    owners,
    runs,
    search,
    tracking,
)
from raftoral.machines.events import Regenerated
from raftoral.machines.runs import COMPLETED, NEVER, RUNNING, Run
from raftoral.machines.starting import check_room
from raftoral.machines.step import Refused, check_slot, found
from raftoral.replay import history
from raftoral.replay.history import CancelAsked, ChildAsked, Started, Taken, Updated, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.machines import commands
    from raftoral.machines.base import Result
    from raftoral.machines.step import Step
    from raftoral.replay.history import Event, Restarted

FORK_BYTES_MAX: Final = 384 * 1024
"""How many bytes of history one entry can carry."""


# ------------------------------------------------------------------ restart
def restart(step: Step, run: Run, event: Restarted) -> Run:
    """Begin the next generation of a run with another input (semantics 7.1).

    Mailboxes and the ids seen stay, so does its owner. Timers, callbacks and searched cells go;
    children are closed by their policy.
    """
    children.leave_all(step, run)
    _clear(step, run)
    parent = children.parent_of(run.parent)
    begun = run._replace(generation=run.generation + 1, epoch=Epoch(step.index), cancel_asked=False)
    events: list[Event] = [
        Started(
            run.name,
            run.version,
            run.meaning_hash,
            event.input,
            step.now,
            "" if parent is None else parent.id,
            begun.generation,
        )
    ]
    if run.paused is not None:
        events.append(history.Paused(run.paused))
    return _store(step, run, begun, events)


def _clear(step: Step, run: Run) -> None:
    """Remove the history of a run and all that was kept because of it; not its mailboxes."""
    search.clear(step.txn, run)
    for section in (b"h/", b"t/", b"k/"):
        layout.clear(step.txn, layout.run_prefix(run.id) + section)


def _store(step: Step, old: Run | None, run: Run, events: Sequence[Event]) -> Run:
    """Store a run with a history that replaces the one it had; tell."""
    run = run._replace(length=Position(0), size=0, warned=False)
    run = runs.append(step.txn, run, [encode(event, floats=True) for event in events])
    runs.put(step.txn, run, old)
    step.events.append(Regenerated(run))
    return run


# ------------------------------------------------------------------ retry
def retry(step: Step, command: commands.RetryRun) -> Result:
    """Let a run that ended and did not complete go on, from before what it failed by."""
    run = found(step, command.run_id)
    if run.generation > command.generation:
        return ["ok", "retried", run.generation]
    if run.generation < command.generation:
        raise Refused(
            "run_conflict",
            f"run {run.id} is at generation {run.generation}, not {command.generation}; look at it",
        )
    if run.live or run.status == COMPLETED:
        raise Refused(
            "run_conflict",
            f"run {run.id} is {run.status}; only a run that failed, was cancelled or terminated "
            "can be retried",
        )
    check_room(step.txn)
    cut = cutting.for_retry([history.decode(data) for data in runs.history(step.txn, run.id)])
    for event in cut.dropped:
        if isinstance(event, Taken | Updated):
            mail.put_back(step.txn, run.id, event)
    _clear(step, run)
    outbox.drop(step.txn, run.untold)
    begun = run._replace(
        generation=run.generation + 1,
        ended_at=NEVER,
        untold=0,
        cancel_asked=any(isinstance(event, CancelAsked) for event in cut.kept),
    )
    begun = owners.housed(step, begun)
    events = _with_children_asked_again(step, begun, cut.kept)
    _rebuild(step, begun, events)
    return ["ok", "retried", _store(step, run, begun, events).generation]


def _with_children_asked_again(step: Step, run: Run, events: list[Event]) -> list[Event]:
    """Ask anew for the children that are still awaited; those they were have been closed.

    Their records carry the ids of the new generation; children that have ended keep theirs.
    """
    waiting = cutting.open_steps(events)
    result: list[Event] = []
    for event in events:
        match event:
            case Started():
                result.append(event._replace(generation=run.generation))
            case ChildAsked(path) if waiting.get(path) is event:
                asked = event._replace(id=f"{run.id}/{run.generation}/{path}")
                children.ask(step, run, asked)
                result.append(asked)
            case _:
                result.append(event)
    return result


def _rebuild(step: Step, run: Run, events: Sequence[Event]) -> None:
    """Keep beside a history what a settlement of its events would have left; no mail, no children."""
    for event in events:
        match event:
            case history.Set():
                tracking.cell_set(step, run, event)
            case history.TimerSet():
                tracking.timer_set(step, run, event)
            case history.TimerFired(path) | history.Taken(path):
                tracking.timer_over(step.txn, run, path)
            case history.CallbackOpened():
                callbacks.note_opened(step, run, event)
            case history.CallbackDone():
                callbacks.note_done(step.txn, run, event)
            case _:
                pass


# ------------------------------------------------------------------ fork
def adopt(step: Step, command: commands.Adopt) -> Result:
    """Begin a run with the first events of another one."""
    runs.check_run_id(command.run_id)
    runs.check_child_id(command.source_id)
    check_slot(step.txn, command.run_id)
    search.check_names(command.search)
    source = f"{command.source_id}@{command.position}"
    known = runs.find(step.txn, command.run_id)
    if known is not None:
        same = (source, command.name, command.version)
        if (known.source, known.name, known.version) != same:
            raise Refused("run_conflict", f"run {known.id} exists; fork under another id")
        return ["ok", "joined", known.version]
    check_room(step.txn)
    events = _prefix(command)
    started = events[0]
    assert isinstance(started, Started), "checked with the prefix"
    run = Run(
        command.run_id,
        command.name,
        command.version,
        command.meaning_hash,
        sha256(pack(started.input, floats=True)).digest(),
        command.catalog_index,
        RUNNING,
        NOBODY,
        Epoch(step.index),
        Position(0),
        0,
        step.now,
        generation=command.generation + 1,
        cancel_asked=any(isinstance(event, CancelAsked) for event in events),
        search=tuple(command.search),
        source=source,
    )
    run = owners.housed(step, run)
    events[0] = Started(
        run.name, run.version, run.meaning_hash, started.input, step.now, "", run.generation
    )
    _rebuild(step, run, events)
    _store(step, None, run, events)
    return ["ok", "started", run.version]


def _prefix(command: commands.Adopt) -> list[Event]:
    """Return the events of a fork, which have to be the beginning of a history."""
    if sum(map(len, command.events)) > FORK_BYTES_MAX:
        raise LimitExceeded(
            f"the first {command.position:,} events take more than {FORK_BYTES_MAX:,} bytes, which "
            "one entry can carry; fork at an earlier position"
        )
    if not 0 < len(command.events) == command.position < history.HISTORY_EVENTS_MAX:
        raise UsageError(f"{len(command.events):,} events are not {command.position:,}")
    try:
        events = [history.take(data) for data in command.events]
    except CorruptionError as error:
        raise UsageError(str(error)) from None
    ends = (Started, history.Restarted, history.Ended)
    if not isinstance(events[0], Started) or any(isinstance(each, ends) for each in events[1:]):
        raise UsageError(
            "a fork takes the events of one generation from its first one on, not its end"
        )
    if events[0].name != command.name:
        raise UsageError(f"those are events of workflow {events[0].name}, not {command.name}")
    for path, opening in cutting.open_steps(events).items():
        what = "child" if isinstance(opening, ChildAsked) else "callback"
        raise UsageError(
            f"{what} `{path}` is open there, and it belongs to run {command.source_id}; fork before "
            "it was asked for, or after it was done"
        )
    return events
