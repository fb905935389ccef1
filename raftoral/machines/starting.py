"""How a run begins, and what happens if its id is taken.

The rule it keeps: one id is one run. Starting it again joins it, or is refused (semantics 6.2).
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from raftoral.errors import UsageError
from raftoral.ids import Epoch, Position
from raftoral.machines import children, layout, outbox, runs, search
from raftoral.machines.children import parent_of
from raftoral.machines.commands import POLICIES, REJECT, RETRY_FAILED
from raftoral.machines.events import RunStarted
from raftoral.machines.lifecycle import status_of
from raftoral.machines.owners import NOBODY_YET
from raftoral.machines.placement import home_of
from raftoral.machines.repeats import check_request
from raftoral.machines.runs import COMPLETED, Run
from raftoral.machines.step import Refused, check_slot, value_of
from raftoral.replay import history
from raftoral.replay.history import Ended

if TYPE_CHECKING:
    from raftoral.kv import Reader
    from raftoral.machines import commands
    from raftoral.machines.base import Result
    from raftoral.machines.children import Parent
    from raftoral.machines.step import Step

LIVE_RUNS_MAX: Final = 200_000


def start(step: Step, command: commands.StartRun) -> Result:
    """Begin a run, or join it."""
    parent = parent_of(command.parent)
    _check_id(command.run_id, parent)
    check_slot(step.txn, command.run_id)
    if command.policy not in POLICIES:
        raise UsageError(f"a policy is one of {', '.join(POLICIES)}, not {command.policy!r:.40}")
    search.check_names(command.search)
    check_request(command.request)
    known = runs.find(step.txn, command.run_id)
    if known is not None and not _gives_way(known, command):
        return _join(step, known, command, parent)
    check_room(step.txn)
    run = outbox.begun(step, _new(step, command, known))
    started = history.Started(
        run.name,
        run.version,
        run.meaning_hash,
        value_of(command.input),
        step.now,
        "" if parent is None else parent.id,
        run.generation,
    )
    event = history.encode(started, floats=True)
    if known is not None:
        search.clear(step.txn, known)
        runs.remove(step.txn, known)
    run = runs.append(step.txn, run, [event])
    runs.put(step.txn, run, None)
    step.events.append(RunStarted(run, event))
    return ["ok", "started", run.version]


def _check_id(run_id: str, parent: Parent | None) -> None:
    if parent is None or not parent.path:
        runs.check_run_id(run_id)
        if parent is not None and not run_id.startswith(f"{parent.id}@"):
            raise UsageError(f"run {run_id} is none of schedule {parent.id}")
        return
    runs.check_child_id(run_id)
    if run_id != parent.child():
        raise UsageError(f"the child of that step is {parent.child()}, not {run_id:.200}")


def check_room(reader: Reader) -> None:
    """Refuse, for now, to have more live runs than the group can carry."""
    live = sum(layout.number_of(reader.get(layout.count_key(each))) for each in runs.LIVE)
    if live >= LIVE_RUNS_MAX:
        raise Refused("unavailable", f"the group has {live:,} live runs, its bound; try later")


def _new(step: Step, command: commands.StartRun, old: Run | None) -> Run:
    owner = home_of(command.run_id, runs.members_up(step.txn))
    return Run(
        command.run_id,
        command.name,
        command.version,
        command.meaning_hash,
        sha256(command.input).digest(),
        command.catalog_index,
        status_of(owner, None),
        owner,
        Epoch(step.index),
        Position(0),
        0,
        step.now,
        generation=0 if old is None else old.generation + 1,
        reason="" if owner else NOBODY_YET,
        parent=command.parent,
        search=tuple(command.search),
        origin=() if old is None else old.origin,
        request=command.request,
    )


def _gives_way(known: Run, command: commands.StartRun) -> bool:
    """Tell whether a run that ended makes room for another one; refuse if it is in the way."""
    if command.request and command.request == known.request:
        return False
    if command.policy == REJECT:
        raise Refused(
            "run_conflict", f"run {known.id} exists, it is {known.status}; use another id"
        )
    if command.parent and known.parent == command.parent:
        return False
    if command.policy == RETRY_FAILED and not known.live and known.status != COMPLETED:
        return True
    same = known.name == command.name
    if same and known.input_hash == sha256(command.input).digest():
        return False
    other = "another input" if same else f"workflow {known.name}"
    raise Refused(
        "run_conflict",
        f"run {command.run_id} exists with {other}; an id names one run. Use another id, or the "
        "same workflow and input to join it",
    )


def _join(step: Step, known: Run, command: commands.StartRun, parent: Parent | None) -> Result:
    """Leave the run as it is; who awaits it is told its end, even if it has been before."""
    run = outbox.begun(step, known)
    if parent is not None and parent.awaited:
        run = run._replace(parent=command.parent)
        if not run.live and (not run.untold or run.parent != known.parent):
            last = history.decode(runs.last_event(step.txn, run))
            assert isinstance(last, Ended), "a run that has ended has an end"
            run = children.tell(step, run, last)
    if run != known:
        runs.put(step.txn, run, known)
    return ["ok", "joined", known.version]
