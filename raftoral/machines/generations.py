"""How a run begins anew with its history cut or taken from another: restart, retry, fork.

Each raises the generation, so that what is asked of the world from then on has keys of its own, and
the epoch, so that nothing is settled that was worked out before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from raftoral.ids import Epoch, Position
from raftoral.machines import children, layout, runs, search
from raftoral.machines.events import Regenerated
from raftoral.replay import history

if TYPE_CHECKING:
    from raftoral.machines.runs import Run
    from raftoral.machines.step import Step
    from raftoral.replay.history import Restarted


def restart(step: Step, run: Run, event: Restarted) -> Run:
    """Begin the next generation of a run with another input (semantics 7.1).

    Mailboxes and the ids seen stay, so does its owner. Timers, callbacks and searched cells go;
    children are closed by their policy.
    """
    children.leave_all(step, run)
    search.clear(step.txn, run)
    prefix = layout.run_prefix(run.id)
    for section in (b"h/", b"t/", b"k/"):
        layout.clear(step.txn, prefix + section)
    begun = replace(
        run,
        generation=run.generation + 1,
        epoch=Epoch(step.index),
        length=Position(0),
        size=0,
        cancel_asked=False,
        warned=False,
    )
    parent = children.parent_of(run.parent)
    events: list[history.Event] = [
        history.Started(
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
    return store(step, run, begun, [history.encode(each, floats=True) for each in events])


def store(step: Step, old: Run | None, run: Run, events: list[bytes]) -> Run:
    """Store a run with a history that replaces the one it had; tell."""
    run = runs.append(step.txn, run, events)
    runs.put(step.txn, run, old)
    step.events.append(Regenerated(run))
    return run
