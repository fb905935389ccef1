"""The disk in memory fails and crashes as a disk does."""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING

import pytest

from raftoral.errors import StorageFailed
from raftoral.ids import GroupId, Index, NodeId, Term
from raftoral.raft.messages import ConfState, Entry, EntryKind, HardState, SnapshotMeta
from raftoral.storage.memory import MemoryDisk, MemoryNodeStore
from raftoral.storage.snapshots import CHUNK_BYTES_MAX

if TYPE_CHECKING:
    from raftoral.storage.base import NodeStore
    from raftoral.storage.group import GroupStore

G = GroupId(1)
CONF = ConfState(voters=(NodeId(1),))


def advance(store: NodeStore, to: int, *, sync: bool) -> None:
    """Append one entry and apply it in one flush."""
    group = store.group(G)
    group.append([Entry(Term(1), Index(to), EntryKind.NORMAL, b"%d" % to)])
    group.machine.put(b"sum", b"%d" % to)
    group.set_applied(Index(to))
    group.stage()
    store.flush(sync=sync)


def test_a_crash_takes_what_was_not_synced() -> None:
    """Synced batches survive a crash, the others do not, nor does what was only buffered."""
    disk = MemoryDisk()
    store = MemoryNodeStore(disk)
    advance(store, 1, sync=True)
    advance(store, 2, sync=False)
    store.group(G).append([Entry(Term(1), Index(3), EntryKind.NORMAL, b"3")])
    assert disk.unsynced == 1
    disk.crash()
    group = MemoryNodeStore(disk).group(G)
    assert (group.last_index(), group.applied, group.machine.get(b"sum")) == (1, 1, b"1")


def test_a_crash_may_keep_a_prefix() -> None:
    """Of the unsynced batches the oldest may survive, each whole, whatever the caller draws."""
    for seed in range(40):
        chance = Random(seed)
        disk = MemoryDisk()
        store = MemoryNodeStore(disk)
        synced = 0
        for index in range(1, 20):
            sync = chance.randrange(4) == 0
            advance(store, index, sync=sync)
            synced = index if sync else synced
        keep = chance.randrange(disk.unsynced + 1)
        disk.crash(keep)
        group = MemoryNodeStore(disk).group(G)
        assert group.last_index() == group.applied == synced + keep
        assert group.machine.get(b"sum") == (b"%d" % (synced + keep) if synced + keep else None)


def test_a_later_sync_covers_earlier_flushes() -> None:
    """A sync with nothing new to write makes the flushes before it survive."""
    disk = MemoryDisk()
    store = MemoryNodeStore(disk)
    advance(store, 1, sync=False)
    store.flush(sync=True)
    assert disk.unsynced == 0


def test_the_first_failure_is_the_last_write() -> None:
    """After one failed flush every later one fails too, though the disk would work again."""
    disk = MemoryDisk()
    store = MemoryNodeStore(disk)
    disk.fail("no space left", after=1)
    advance(store, 1, sync=True)
    with pytest.raises(StorageFailed, match="no space left"):
        advance(store, 2, sync=True)
    disk.crash()
    with pytest.raises(StorageFailed, match=r"takes nothing more.*no space left"):
        store.flush(sync=False)
    with pytest.raises(StorageFailed, match=r"takes nothing more.*no space left"):
        store.drop(G)
    store.close()
    assert MemoryNodeStore(disk).group(G).last_index() == 1


def test_the_time_of_a_sync_is_measured() -> None:
    """`sync_seconds` is the time the last sync took by the clock that was given."""
    ticks = iter(range(100))
    store = MemoryNodeStore(clock=lambda: float(next(ticks)))
    advance(store, 1, sync=True)
    assert store.sync_seconds == 1.0


def _imported(group: GroupStore, meta: SnapshotMeta, chunks: list[bytes], digest: bytes) -> None:
    incoming = group.importer(meta)
    for chunk in chunks:
        incoming.add(chunk)
    assert incoming.finish(digest)


def test_an_import_is_all_or_nothing_at_every_crash() -> None:
    """Wherever a crash or a failing write hits an import, the group is the old one or the new."""
    source = MemoryNodeStore()
    group = source.group(G)
    group.append([Entry(Term(3), Index(1), EntryKind.NORMAL, b"")])
    for number in range(10):
        group.machine.put(b"key%d" % number, bytes([number]) * CHUNK_BYTES_MAX)
    group.machine.put(b"sum", b"new")
    group.set_applied(Index(1), CONF)
    group.stage()
    export = group.export()
    chunks, new = list(export), dict(group.machine.scan(b""))
    meta = SnapshotMeta(Index(50), Term(3), CONF)
    outcomes = set()
    for crash_at in range(len(chunks) + 20):
        for keep_all in (False, True):
            disk = MemoryDisk()
            store = MemoryNodeStore(disk)
            for index in range(1, 4):
                advance(store, index, sync=True)
            store.group(G).set_hard_state(HardState(Term(2), NodeId(1), Index(3)))
            store.flush(sync=True)
            disk.fail("crash", after=crash_at)
            with suppress(StorageFailed):
                _imported(store.group(G), meta, chunks, export.digest)
            disk.crash(disk.unsynced if keep_all else 0)
            found = MemoryNodeStore(disk).group(G)
            state = dict(found.machine.scan(b""))
            hard = found.initial_state()[0]
            if found.applied == 50:
                assert state == new
                assert (found.first_index(), found.last_index()) == (51, 50)
                assert hard == HardState(Term(3), NodeId(0), Index(50))
            else:
                assert state == {b"sum": b"3"}
                assert (found.first_index(), found.last_index()) == (1, 3)
                assert hard == HardState(Term(2), NodeId(1), Index(3))
            outcomes.add(int(found.applied))
            ranges = {key[4:5] for key in disk.pairs.items() if key[4:5] in (b"M", b"N")}
            assert len(ranges) == 1
    assert outcomes == {3, 50}
