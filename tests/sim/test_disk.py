"""The disk that breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raftoral.errors import CorruptionError, StorageFailed
from raftoral.ids import GroupId, Index, NodeId, Term
from raftoral.raft.messages import ConfState, Entry, EntryKind, HardState, SnapshotMeta
from raftoral.sim.disk import SimDisk
from raftoral.storage.base import NodeStore

if TYPE_CHECKING:
    from raftoral.storage.group import GroupStore

G = GroupId(1)
META = SnapshotMeta(Index(1), Term(1), ConfState((NodeId(1),)))


def begun(disk: SimDisk) -> tuple[NodeStore, GroupStore]:
    """Return a store whose group has begun, synced."""
    node = NodeStore(disk)
    group = node.group(G)
    group.bootstrap(META)
    node.flush(sync=True)
    return node, group


def entry(index: int, term: int = 2) -> Entry:
    """Return an entry with some data."""
    return Entry(Term(term), Index(index), EntryKind.NORMAL, b"data")


def test_a_promise_is_what_was_synced() -> None:
    """Only synced entries and hard states count as promised, and they survive."""
    disk = SimDisk()
    node, group = begun(disk)
    group.append([entry(2), entry(3)])
    group.set_hard_state(HardState(Term(2), NodeId(1), Index(1)))
    node.flush(sync=True)
    group.append([entry(3, 3)])
    node.flush(sync=False)
    promised = disk.group(G)
    assert promised.terms == {2: 2, 3: 2}
    assert promised.hard.term == 2
    disk.crash()
    assert NodeStore(disk).group(G).term(Index(3)) == 2
    assert promised.holds(Index(3), Term(2))


def test_a_torn_tail_keeps_whole_batches() -> None:
    """Of what was not synced a crash may keep the oldest batches, which then are promised."""
    disk = SimDisk()
    node, group = begun(disk)
    for index in (2, 3):
        group.append([entry(index)])
        node.flush(sync=False)
    disk.crash(keep=1)
    assert disk.group(G).terms == {2: 2}
    assert NodeStore(disk).group(G).last_index() == 2


@pytest.mark.parametrize("keep", [0, 1])
def test_a_failed_sync_may_or_may_not_have_worked(keep: int) -> None:
    """A batch whose sync failed is refused to the caller, and there or not after a crash."""
    disk = SimDisk()
    node, group = begun(disk)
    disk.fails_after_taking = True
    disk.fail("the sync failed")
    group.append([entry(2)])
    with pytest.raises(StorageFailed):
        node.flush(sync=True)
    disk.crash(keep)
    assert NodeStore(disk).group(G).last_index() == 1 + keep


def test_a_flipped_bit_is_known_until_it_is_gone() -> None:
    """Damage is found when the group is opened, and is no more once it was overwritten."""
    disk = SimDisk()
    node, group = begun(disk)
    group.append([entry(2), entry(3)])
    node.flush(sync=True)
    (cold,) = disk.cold_records()
    disk.flip(cold, 100)
    assert disk.damaged() == [cold]
    with pytest.raises(CorruptionError):
        NodeStore(disk).group(G)
    group.append([entry(2, 3)])
    node.flush(sync=True)
    assert not disk.damaged()
