"""How a history grows, and what the end of a run means to all that belongs to it.

Owns the bounds of a history and the one place where a run ends. An *arrival* is an event that the
group itself appends; it makes a settlement that is under way stale, so its owner works it out anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.machines import children, layout, runs
from raftoral.machines.events import Settled, Warned
from raftoral.replay import history
from raftoral.replay.history import Ended, encode

if TYPE_CHECKING:
    from raftoral.machines.runs import Run
    from raftoral.machines.step import Step


def too_long(run: Run, events: list[bytes]) -> Ended | None:
    """Return the end that a run gets instead of events that would pass the bounds."""
    if (
        run.length + len(events) <= history.HISTORY_EVENTS_MAX
        and run.size + sum(map(len, events)) <= history.HISTORY_BYTES_MAX
    ):
        return None
    message = (
        f"the history would pass its bound of {history.HISTORY_EVENTS_MAX:,} events or "
        f"{history.HISTORY_BYTES_MAX:,} bytes; restart with what is needed, or split the work into "
        "several runs"
    )
    return Ended("terminated", ["HistoryTooLong", message, {}])


def grow(step: Step, old: Run, run: Run, events: list[bytes]) -> Run:
    """Append events to ``old``, which they make ``run``; store it and tell."""
    grown = runs.append(step.txn, run, events)
    if not grown.warned and _long(grown):
        grown = grown._replace(warned=True)
        text = (
            f"its history has {grown.length:,} events in {grown.size:,} bytes, a quarter of a bound"
        )
        step.events.append(Warned(run.id, text))
    runs.put(step.txn, grown, old)
    step.events.append(Settled(grown, old.length, events))
    return grown


def _long(run: Run) -> bool:
    return 4 * run.length > history.HISTORY_EVENTS_MAX or 4 * run.size > history.HISTORY_BYTES_MAX


def arrive(step: Step, old: Run, run: Run, event: history.Event) -> Run:
    """Append what reached a live run from outside; one that gets too long by it is terminated."""
    data = encode(event, floats=True)
    stop = too_long(old, [data])
    if stop is not None:
        return finish(step, old, stop)
    return grow(step, old, run, [data])


def finish(step: Step, run: Run, event: Ended) -> Run:
    """End a run by the group itself."""
    return grow(step, run, ended(step, run, event), [encode(event)])


def ended(step: Step, run: Run, event: Ended) -> Run:
    """Return the run as its end leaves it, and clear what only a live run has.

    A run that did not complete keeps its mailboxes: retried, it finds what it had not taken.
    """
    prefix = layout.run_prefix(run.id)
    for section in (b"t/", *((b"m/", b"u/") if event.status == "completed" else ())):
        layout.clear(step.txn, prefix + section)
    children.leave_all(step, run)
    run = children.tell(step, run, event)
    return run._replace(status=event.status, ended_at=step.now, reason="", paused=None)
