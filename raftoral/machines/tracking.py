"""What a group keeps beside a history because of single events: timers, and cells that are searched.

The same functions follow a settlement and rebuild everything from a history. Only `check_fired` can
refuse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.machines import layout, search
from raftoral.machines.step import Refused

if TYPE_CHECKING:
    from raftoral.kv import Transaction
    from raftoral.machines.runs import Run
    from raftoral.machines.step import Step
    from raftoral.replay.history import Set, TimerSet


def cell_set(step: Step, run: Run, event: Set) -> Run:
    """Note a cell that lists may ask for."""
    if event.path in run.search:
        search.put(step, run, event.path, event.value)
    return run


def timer_set(step: Step, run: Run, event: TimerSet) -> Run:
    """Set a timer."""
    step.txn.put(layout.timer_key(run.id, event.path), layout.u64(event.due))
    return run


def check_fired(step: Step, run: Run, path: str) -> None:
    """Refuse a timer that is not set, or not due (semantics 5.2)."""
    due = step.txn.get(layout.timer_key(run.id, path))
    if due is None:
        raise Refused("stale", f"no timer `{path}` is set")
    if layout.number_of(due) > step.now:
        raise Refused("early", f"timer `{path}` is not due yet")


def timer_over(txn: Transaction, run: Run, path: str) -> None:
    """Drop a timer, if it is there."""
    txn.delete(layout.timer_key(run.id, path))
