"""Which member of the group acts for a run: members that are up, owners, their epochs.

The rule it keeps: each change of the owner is a new epoch, the index of the entry that made it.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from raftoral.codec import pack_record
from raftoral.errors import UsageError
from raftoral.ids import NOBODY, SLOTS, Epoch, NodeId
from raftoral.machines import runs
from raftoral.machines.events import OwnerChanged
from raftoral.machines.lifecycle import status_of
from raftoral.machines.placement import home_of

if TYPE_CHECKING:
    from raftoral.ids import RunId
    from raftoral.kv import Transaction
    from raftoral.machines import commands
    from raftoral.machines.base import Result
    from raftoral.machines.runs import Run
    from raftoral.machines.step import Step

NOBODY_YET = "no member of the group is up yet"


def own_slots(step: Step, command: commands.OwnSlots) -> Result:
    """Store the slots that the group owns."""
    if len(command.bitmap) != SLOTS // 8:
        raise UsageError(f"a slot map has {SLOTS // 8} bytes, not {len(command.bitmap)}")
    step.txn.put(runs.SLOT_MAP, command.bitmap)
    return ["ok"]


def publish(step: Step, command: commands.Publish) -> Result:
    """Note a member that is up; a new incarnation of it gets the parked runs to try."""
    if command.node == NOBODY:
        raise UsageError("node 0 is nobody")
    known = runs.members(step.txn)
    if known.get(command.node) == (command.incarnation, True):
        return ["ok", "known"]
    known[command.node] = (command.incarnation, True)
    _store_members(step.txn, known)
    for run_id in list(runs.parked_ids(step.txn)):
        _assign(step, run_id, command.node)
    return ["ok", "published"]


def take_over(step: Step, command: commands.TakeOver) -> Result:
    """Spread some runs of the lost node over the living members (semantics 4.1)."""
    if command.lost == NOBODY:
        raise UsageError("node 0 is nobody")
    known = runs.members(step.txn)
    if command.lost in known:
        known[command.lost] = (known[command.lost][0], False)
        _store_members(step.txn, known)
    # The proposer's list may be old; a run that goes to a member that is down would rest there.
    heirs = [node for node in command.members if known.get(node, ("", False))[1]]
    moved = list(islice(runs.owned_ids(step.txn, command.lost), command.limit))
    for run_id in moved:
        _assign(step, run_id, home_of(run_id, heirs))
    return ["ok", len(moved)]


def hand_over(step: Step, command: commands.HandOver) -> Result:
    """Give a run to one member, or to one that has not given it up yet (semantics 4.3)."""
    run = runs.find(step.txn, command.run_id)
    if run is None or not run.live or run.epoch != command.epoch:
        return ["refused", "stale", "the run has another owner"]
    if command.to:
        if command.to not in runs.members_up(step.txn):
            return ["refused", "stale", "that member is not up"]
        _assign(step, run.id, command.to)
        return ["ok", command.to]
    refused = tuple(dict.fromkeys((*run.refused, *filter(None, (run.owner,)))))
    able = [node for node in runs.members_up(step.txn) if node not in refused]
    _assign(step, run.id, home_of(run.id, able), reason=command.reason, refused=refused)
    return ["ok", home_of(run.id, able)]


def housed(step: Step, run: Run) -> Run:
    """Return a run that begins, or begins again, with an owner, a new epoch and its status."""
    owner = home_of(run.id, runs.members_up(step.txn))
    return run._replace(
        owner=owner,
        epoch=Epoch(step.index),
        refused=(),
        status=status_of(owner, run.paused),
        reason="" if owner else NOBODY_YET,
    )


def _assign(
    step: Step,
    run_id: RunId,
    owner: NodeId,
    *,
    reason: str = "",
    refused: tuple[NodeId, ...] = (),
) -> None:
    """Give a run to ``owner`` under a new epoch; to nobody parks it."""
    run = runs.find(step.txn, run_id)
    assert run is not None, "an index names a run that is not there"
    new = run._replace(
        owner=owner,
        epoch=Epoch(step.index),
        refused=refused,
        status=status_of(owner, run.paused),
        reason=reason or ((run.paused or "") if owner else "no member of the group is up"),
    )
    runs.put(step.txn, new, run)
    step.events.append(OwnerChanged(new, run.owner if run.owner != owner else NOBODY))


def _store_members(txn: Transaction, known: dict[NodeId, tuple[str, bool]]) -> None:
    record = [[node, incarnation, up] for node, (incarnation, up) in sorted(known.items())]
    txn.put(runs.MEMBERS, pack_record(record))
