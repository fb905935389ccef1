"""How ended runs are removed: by one entry for many (semantics 7.4)."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from raftoral.machines import layout, outbox, runs, search
from raftoral.machines.events import Forgotten

if TYPE_CHECKING:
    from raftoral.ids import RunId
    from raftoral.machines import commands
    from raftoral.machines.base import Result
    from raftoral.machines.step import Step


def forget(step: Step, command: commands.Forget) -> Result:
    """Remove runs that ended before a time, or beyond the ``keep`` newest, at most ``limit``.

    What another group still counts on is in no index here: a child whose end is not told yet, a run
    of which a second start may come (semantics 6.3).
    """
    outbox.let_go(step)
    finished = sum(layout.number_of(step.txn.get(layout.count_key(each))) for each in runs.ENDED)
    surplus = finished - command.keep
    old: list[RunId] = []
    for ended, run_id in islice(runs.forgettable_ids(step.txn), command.limit):
        if ended >= command.before and len(old) >= surplus:
            break
        old.append(run_id)
    for run_id in old:
        run = runs.find(step.txn, run_id)
        assert run is not None, "an index names a run that is not there"
        search.clear(step.txn, run)
        runs.remove(step.txn, run)
        step.events.append(Forgotten(run_id))
    return ["ok", len(old)]
