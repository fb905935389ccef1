"""What both engines promise alike."""

from __future__ import annotations

from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING

import pytest

from raftoral.errors import CorruptionError, LimitExceeded, PeerError, StorageFailed, UsageError
from raftoral.ids import GroupId, Index, NodeId, Term
from raftoral.raft.log import CompactedError, MissingError
from raftoral.raft.messages import ConfState, Entry, EntryKind, HardState, SnapshotMeta
from raftoral.storage import log as stored_log
from raftoral.storage.base import FORMAT, Identity, NodeStore
from raftoral.storage.memory import MemoryBatch, MemoryDisk, MemoryNodeStore
from raftoral.storage.records import IDENTITY_KEY, seal
from raftoral.storage.rocks import RocksDisk, RocksNodeStore
from raftoral.storage.snapshots import CHUNK_BYTES_MAX, SnapshotImport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from raftoral.storage.disk import Batch, Disk
    from raftoral.storage.group import GroupStore

G = GroupId(7)
CONF = ConfState(voters=(NodeId(1), NodeId(2), NodeId(3)))
NO_LIMIT = 2**40


class Bench:
    """One place to store things, opened as often as a test likes."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._memory = MemoryDisk()
        self._open: NodeStore | None = None

    def open(self) -> NodeStore:
        """Return a store on the same data, after closing the one before."""
        self.close()
        if self._folder is None:
            self._open = MemoryNodeStore(self._memory)
        else:
            self._open = RocksNodeStore(self._folder)
        return self._open

    def disk(self) -> Disk:
        """Return the bare disk, with no store on it."""
        self.close()
        return self._memory if self._folder is None else RocksDisk(str(self._folder))

    def twice(self, group: GroupStore) -> Iterator[GroupStore]:
        """Yield ``group``, and then the same one after a reopening."""
        yield group
        yield self.open().group(group.group)

    def close(self) -> None:
        """Close what is open."""
        if self._open is not None:
            self._open.close()
            self._open = None


@pytest.fixture(params=["memory", "rocks"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A place in memory, and one on the disk."""
    made = Bench(tmp_path / "data" if request.param == "rocks" else None)
    yield made
    made.close()


def entry(index: int, term: int = 1, data: bytes | None = None) -> Entry:
    """Return an entry whose data tells where it belongs."""
    text = f"{index}@{term}".encode() if data is None else data
    return Entry(Term(term), Index(index), EntryKind.NORMAL, text)


def entries(first: int, last: int, term: int = 1) -> list[Entry]:
    """Return the entries first..last of ``term``."""
    return [entry(index, term) for index in range(first, last + 1)]


def everything(group: GroupStore) -> list[Entry]:
    """Return the whole log."""
    return list(group.entries(group.first_index(), Index(group.last_index() + 1), NO_LIMIT))


# ------------------------------------------------------------------ the log
def test_a_new_group_is_empty(bench: Bench) -> None:
    """A group nobody wrote to begins at index 1 with nothing known."""
    group = bench.open().group(G)
    assert (group.first_index(), group.last_index(), group.applied) == (1, 0, 0)
    assert group.initial_state() == (HardState(), ConfState())
    assert group.term(Index(0)) == 0


def test_appended_entries_are_there_before_and_after_the_flush(bench: Bench) -> None:
    """What was buffered is readable at once, and the same after a reopening."""
    store = bench.open()
    group = store.group(G)
    group.append(entries(1, 5))
    assert everything(group) == entries(1, 5)
    store.flush(sync=True)
    assert everything(group) == entries(1, 5)
    assert everything(bench.open().group(G)) == entries(1, 5)


def test_an_append_replaces_the_conflicting_suffix(bench: Bench) -> None:
    """Entries behind the new ones are gone, in memory, on the disk and after a reopening."""
    store = bench.open()
    group = store.group(G)
    group.append(entries(1, 9))
    store.flush(sync=True)
    group.append(entries(4, 5, term=2))
    wanted = entries(1, 3) + entries(4, 5, term=2)
    assert everything(group) == wanted
    store.flush(sync=True)
    assert everything(group) == wanted
    group = bench.open().group(G)
    assert everything(group) == wanted
    assert group.term(Index(5)) == 2


def test_a_suffix_may_be_replaced_twice_before_a_flush(bench: Bench) -> None:
    """Only the last word of several overlapping appends is stored."""
    store = bench.open()
    group = store.group(G)
    group.append(entries(1, 9))
    store.flush(sync=True)
    group.append(entries(3, 12, term=2))
    group.append(entries(5, 6, term=3))
    store.flush(sync=True)
    wanted = entries(1, 2) + entries(3, 4, term=2) + entries(5, 6, term=3)
    assert everything(bench.open().group(G)) == wanted


def test_reading_outside_the_log_says_on_which_side(bench: Bench) -> None:
    """Below the first entry is compacted, above the last is missing, for terms and entries."""
    store = bench.open()
    group = store.group(G)
    group.append(entries(1, 9))
    group.set_applied(Index(6))
    group.stage()
    group.compact(Index(4))
    store.flush(sync=True)
    for opened in bench.twice(group):
        assert opened.term(Index(4)) == 1
        with pytest.raises(CompactedError):
            opened.term(Index(3))
        with pytest.raises(CompactedError):
            opened.entries(Index(4), Index(6), NO_LIMIT)
        with pytest.raises(MissingError):
            opened.term(Index(10))
        with pytest.raises(MissingError):
            opened.entries(Index(8), Index(11), NO_LIMIT)
        assert opened.entries(Index(10), Index(10), NO_LIMIT) == []


def test_entries_are_cut_by_size_but_never_to_nothing(bench: Bench) -> None:
    """A limit of bytes cuts the list, and one entry comes even if it alone is larger."""
    group = bench.open().group(G)
    group.append([entry(index, data=b"x" * 100) for index in range(1, 6)])
    assert len(group.entries(Index(1), Index(6), 0)) == 1
    assert len(group.entries(Index(1), Index(6), 240)) == 2
    assert len(group.entries(Index(1), Index(6), NO_LIMIT)) == 5


def test_old_entries_are_read_from_the_disk(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log longer than what stays in memory reads the same everywhere, across the border too."""
    monkeypatch.setattr(stored_log, "RECENT_ENTRIES_MAX", 8)
    store = bench.open()
    group = store.group(G)
    for first in range(1, 100, 10):
        group.append(entries(first, first + 9))
        store.flush(sync=False)
    for opened in bench.twice(group):
        assert len(opened.log._recent) <= 8
        for low in range(1, 101):
            assert opened.entries(Index(low), Index(101), NO_LIMIT) == entries(low, 100)
            assert opened.entries(Index(low), Index(low + 1), NO_LIMIT) == entries(low, low)
            assert opened.term(Index(low)) == 1
        assert len(opened.entries(Index(1), Index(101), 200)) < 20


def test_truncation_reaches_below_what_is_in_memory(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A suffix that begins among the entries on the disk is replaced all the same."""
    monkeypatch.setattr(stored_log, "RECENT_ENTRIES_MAX", 8)
    store = bench.open()
    group = store.group(G)
    group.append(entries(1, 100))
    store.flush(sync=True)
    group.append(entries(20, 21, term=2))
    wanted = entries(1, 19) + entries(20, 21, term=2)
    assert everything(group) == wanted
    store.flush(sync=True)
    assert everything(group) == wanted
    assert everything(bench.open().group(G)) == wanted


def test_compaction_stops_at_what_is_applied(bench: Bench) -> None:
    """An entry that the machine has not seen cannot be compacted; repeating changes nothing."""
    store = bench.open()
    group = store.group(G)
    group.append(entries(1, 9))
    group.set_applied(Index(5))
    group.stage()
    with pytest.raises(UsageError, match="stands at 5"):
        group.compact(Index(6))
    group.compact(Index(5))
    group.compact(Index(2))
    assert everything(group) == entries(6, 9)
    store.flush(sync=True)
    assert everything(bench.open().group(G)) == entries(6, 9)


def test_a_log_compacted_to_its_end_goes_on(bench: Bench) -> None:
    """With every entry compacted the last index and its term are still known."""
    store = bench.open()
    group = store.group(G)
    group.append(entries(1, 3, term=4))
    group.set_applied(Index(3))
    group.stage()
    group.compact(Index(3))
    store.flush(sync=True)
    store = bench.open()
    group = store.group(G)
    assert (group.first_index(), group.last_index(), group.term(Index(3))) == (4, 3, 4)
    group.append(entries(4, 4, term=5))
    store.flush(sync=True)
    assert everything(bench.open().group(G)) == entries(4, 4, term=5)


def test_a_store_agrees_with_a_list(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random appends, truncations, compactions, flushes and reopenings equal a plain list."""
    monkeypatch.setattr(stored_log, "RECENT_ENTRIES_MAX", 6)
    chance = Random(20)
    store = bench.open()
    group = store.group(G)
    log: dict[int, Entry] = {}
    first, last, applied, term = 1, 0, 0, 1
    for _ in range(400):
        match chance.randrange(6):
            case 0 | 1 | 2:
                term += chance.randrange(2)
                start = chance.randint(applied + 1, last + 1)
                new = entries(start, start + chance.randrange(5), term)
                group.append(new)
                log = {i: e for i, e in log.items() if i < start} | {e[1]: e for e in new}
                last = new[-1][1]
            case 3:
                applied = chance.randint(applied, last)
                group.set_applied(Index(applied))
                group.stage()
            case 4 if applied >= first:
                gone = chance.randint(first, applied)
                group.compact(Index(gone))
                log = {i: e for i, e in log.items() if i > gone}
                first = gone + 1
            case _:
                store.flush(sync=bool(chance.randrange(2)))
                if chance.randrange(3) == 0:
                    store = bench.open()
                    group = store.group(G)
        assert everything(group) == [log[i] for i in sorted(log)]
        assert (group.first_index(), group.last_index()) == (first, last)
        assert group.applied == applied


# ------------------------------------------------------------------ states
def test_hard_state_and_configuration_survive(bench: Bench) -> None:
    """Term, vote and members are the same after a reopening, the commit index what was applied."""
    store = bench.open()
    group = store.group(G)
    conf = ConfState((NodeId(1),), (NodeId(4),), (NodeId(2),), (NodeId(3),), auto_leave=True)
    group.append(entries(1, 8, term=3))
    group.set_hard_state(HardState(Term(3), NodeId(2), Index(5)))
    group.set_hard_state(HardState(Term(3), NodeId(2), Index(8)))
    group.set_conf(conf)
    group.set_applied(Index(6))
    group.stage()
    assert group.initial_state() == (HardState(Term(3), NodeId(2), Index(8)), conf)
    store.flush(sync=True)
    assert bench.open().group(G).initial_state() == (
        HardState(Term(3), NodeId(2), Index(6)),
        conf,
    )


def test_a_change_of_the_membership_takes_the_commit_index_along(bench: Bench) -> None:
    """Whoever comes back with such an entry knows what was committed when it was stored."""
    store = bench.open()
    group = store.group(G)
    group.append(entries(1, 4, term=3))
    group.set_hard_state(HardState(Term(3), NodeId(2), Index(0)))
    store.flush(sync=True)
    group.set_hard_state(HardState(Term(3), NodeId(2), Index(4)))
    group.append([Entry(Term(3), Index(5), EntryKind.CONF, b"")])
    store.flush(sync=True)
    group.set_hard_state(HardState(Term(3), NodeId(2), Index(5)))
    group.append(entries(6, 6, term=3))
    store.flush(sync=True)
    assert bench.open().group(G).initial_state()[0] == HardState(Term(3), NodeId(2), Index(4))


def test_bootstrap_begins_the_log_behind_the_first_state(bench: Bench) -> None:
    """A fresh group starts at its meta data, once; a group that has begun is left alone."""
    store = bench.open()
    group = store.group(G)
    group.bootstrap(SnapshotMeta(Index(5), Term(1), CONF))
    store.flush(sync=True)
    group = bench.open().group(G)
    assert (group.first_index(), group.last_index(), group.applied) == (6, 5, 5)
    assert group.initial_state() == (HardState(Term(1), NodeId(0), Index(5)), CONF)
    with pytest.raises(UsageError, match="has begun"):
        group.bootstrap(SnapshotMeta(Index(5), Term(1), CONF))


def test_writes_of_the_machine_share_a_batch_with_applied(bench: Bench) -> None:
    """A flush without `stage` stores neither the machine's writes nor the applied index."""
    store = bench.open()
    group = store.group(G)
    group.append(entries(1, 3))
    group.machine.put(b"a", b"1")
    group.set_applied(Index(1))
    group.stage()
    group.machine.put(b"a", b"2")
    group.machine.put(b"b", b"2")
    group.set_applied(Index(2), CONF)
    store.flush(sync=True)
    assert group.machine.get(b"a") == b"2"
    group = bench.open().group(G)
    assert group.applied == 1
    assert list(group.machine.scan(b"")) == [(b"a", b"1")]
    assert group.initial_state()[1] == ConfState()


def test_staged_writes_are_readable_before_the_flush(bench: Bench) -> None:
    """Between `stage` and `flush` the machine still sees what it wrote and deleted."""
    store = bench.open()
    group = store.group(G)
    group.append(entries(1, 3))
    for key in (b"a", b"b", b"c"):
        group.machine.put(key, b"1")
    group.stage()
    store.flush(sync=False)
    group.machine.delete(b"b")
    group.machine.put(b"d", b"2")
    group.set_applied(Index(1), CONF)
    group.stage()
    wanted = [(b"a", b"1"), (b"c", b"1"), (b"d", b"2")]
    assert list(group.machine.scan(b"")) == wanted
    assert list(group.machine.scan(b"", reverse=True)) == wanted[::-1]
    assert list(group.machine.scan(b"", b"b")) == wanted[1:]
    assert list(group.machine.scan(b"", b"c", reverse=True)) == wanted[1::-1]
    store.flush(sync=True)
    group = bench.open().group(G)
    assert list(group.machine.scan(b"")) == wanted
    assert list(group.machine.scan(b"", b"c", reverse=True)) == wanted[1::-1]
    assert (group.applied, group.initial_state()[1]) == (1, CONF)


def test_groups_share_a_flush_and_nothing_else(bench: Bench) -> None:
    """Several groups are stored by one flush; dropping one leaves its neighbours alone."""
    store = bench.open()
    for number in (0, 1, 255, 256, 70_000):
        group = store.group(GroupId(number))
        group.append(entries(1, 2, term=number + 1))
        group.machine.put(b"\xff\xff", b"%d" % number)
        group.set_applied(Index(1))
        group.stage()
    store.flush(sync=True)
    store = bench.open()
    assert store.groups() == [0, 1, 255, 256, 70_000]
    store.drop(GroupId(255))
    assert store.groups() == [0, 1, 256, 70_000]
    store = bench.open()
    assert store.groups() == [0, 1, 256, 70_000]
    for number in (0, 1, 256, 70_000):
        group = store.group(GroupId(number))
        assert everything(group) == entries(1, 2, term=number + 1)
        assert list(group.machine.scan(b"")) == [(b"\xff\xff", b"%d" % number)]
    assert store.group(GroupId(255)).last_index() == 0


# ------------------------------------------------------------------ identity
def test_identity_is_kept_and_never_changed(bench: Bench) -> None:
    """A store keeps its first owner and names it to any other."""
    mine = Identity("blue", NodeId(3), "alpha")
    store = bench.open()
    assert store.identity() is None
    store.set_identity(mine)
    store.set_identity(mine)
    store = bench.open()
    assert store.identity() == mine
    with pytest.raises(UsageError, match="belongs to node 3 of cluster blue"):
        store.set_identity(Identity("red", NodeId(3), "alpha"))


def test_a_store_whose_node_has_left_keeps_nothing_but_that(bench: Bench) -> None:
    """Retiring removes every group at once and stays known; identity and owner stay as well."""
    mine = Identity("blue", NodeId(3), "alpha")
    store = bench.open()
    store.set_identity(mine)
    for number in (0, 1, 300):
        store.group(GroupId(number)).append(entries(1, 5))
    store.flush(sync=True)
    store.group(G).append(entries(1, 5))
    assert not store.is_retired
    store.retire()
    assert (store.is_retired, store.groups(), store.identity()) == (True, [], mine)
    store = bench.open()
    assert (store.is_retired, store.groups(), store.identity()) == (True, [], mine)


def test_a_newer_format_is_refused_before_anything_is_read(bench: Bench) -> None:
    """A store of a later version says so, whatever else its record holds."""
    disk = bench.disk()
    batch = disk.batch()
    batch.put(IDENTITY_KEY, seal(IDENTITY_KEY, [FORMAT + 1, "what", "ever", "comes", "later"]))
    disk.write(batch, sync=True)
    disk.close()
    with pytest.raises(UsageError, match=f"has format {FORMAT + 1}"):
        bench.open()


# ------------------------------------------------------------------ snapshots
def filled(store: NodeStore, pairs: dict[bytes, bytes]) -> GroupStore:
    """Return a group of 20 entries whose machine holds ``pairs`` at index 10."""
    group = store.group(G)
    group.append(entries(1, 20, term=2))
    for key, value in pairs.items():
        group.machine.put(key, value)
    group.set_applied(Index(10), CONF)
    group.stage()
    store.flush(sync=True)
    return group


def copied(source: GroupStore, target: GroupStore) -> bool:
    """Send a snapshot from one group to another; True if it was taken."""
    export = source.export()
    incoming = target.importer(export.meta)
    for chunk in export:
        assert 0 < len(chunk) <= CHUNK_BYTES_MAX
        incoming.add(chunk)
    export.close()
    return incoming.finish(export.digest)


def taken(incoming: SnapshotImport, chunks: list[bytes], digest: bytes) -> bool:
    """Let a whole stream in; True if the group took it."""
    for chunk in chunks:
        incoming.add(chunk)
    return incoming.finish(digest)


PAIRS = {
    b"": b"the empty key",
    b"\xff" * 4: b"",
    b"large": bytes(range(256)) * 3000,
} | {b"run/%05d" % number: b"v" * (number % 700) for number in range(3000)}


def test_a_snapshot_makes_an_equal_group(bench: Bench) -> None:
    """Machine, applied index and members arrive; log and old keys go; it survives a reopening."""
    source = filled(MemoryNodeStore(), PAIRS)
    store = bench.open()
    target = store.group(GroupId(9))
    target.append(entries(1, 4, term=1))
    target.machine.put(b"old", b"gone")
    target.set_applied(Index(2))
    target.stage()
    store.flush(sync=True)
    machine = target.machine
    assert copied(source, target)
    assert target.machine is machine
    for group in bench.twice(target):
        assert dict(group.machine.scan(b"")) == PAIRS
        assert (group.first_index(), group.last_index(), group.applied) == (11, 10, 10)
        assert group.term(Index(10)) == 2
        assert group.initial_state() == (HardState(Term(2), NodeId(0), Index(10)), CONF)


def test_equal_machines_export_equal_chunks(bench: Bench) -> None:
    """The digest depends on the pairs alone, not on the engine or the order of writing."""
    source = filled(MemoryNodeStore(), PAIRS)
    target = filled(bench.open(), dict(reversed(PAIRS.items())))
    one, other = source.export(), target.export()
    assert list(one) == list(other)
    assert one.digest == other.digest == sha256(b"".join(one)).digest()


def test_an_export_does_not_see_later_writes(bench: Bench) -> None:
    """Chunks and meta data are of one moment while the group goes on."""
    store = bench.open()
    group = filled(store, PAIRS)
    export = group.export()
    stream = iter(export)
    chunks = [next(stream)]
    for index in range(11, 21):
        for key in PAIRS:
            group.machine.put(key, b"later")
        group.machine.put(b"new%d" % index, b"later")
        group.set_applied(Index(index))
        group.stage()
        store.flush(sync=False)
    chunks += list(stream)
    target = MemoryNodeStore().group(G)
    incoming = target.importer(export.meta)
    for chunk in chunks:
        incoming.add(chunk)
    assert incoming.finish(export.digest)
    assert dict(target.machine.scan(b"")) == PAIRS
    assert target.applied == 10


@pytest.mark.parametrize("damage", ["flip", "lost", "twice", "digest", "short", "format"])
def test_a_stream_that_is_not_what_was_sent_changes_nothing(bench: Bench, damage: str) -> None:
    """With another digest or an unreadable stream the group stays as it was."""
    export = filled(MemoryNodeStore(), PAIRS).export()
    chunks = list(export)
    digest = export.digest
    match damage:
        case "flip":
            chunks[1] = bytes([chunks[1][0] ^ 1]) + chunks[1][1:]
        case "lost":
            del chunks[1]
        case "twice":
            chunks.insert(1, chunks[1])
        case "digest":
            digest = bytes(32)
        case "short":
            chunks[-1] = chunks[-1][:-1]
            digest = sha256(b"".join(chunks)).digest()
        case _:
            chunks[0] = b"\x02" + chunks[0][1:]
            digest = sha256(b"".join(chunks)).digest()
    store = bench.open()
    target = store.group(GroupId(9))
    target.append(entries(1, 4))
    target.machine.put(b"old", b"kept")
    target.stage()
    store.flush(sync=True)
    incoming = target.importer(export.meta)
    with pytest.raises(PeerError):
        taken(incoming, chunks, digest)
    incoming.abort()
    for group in bench.twice(target):
        assert list(group.machine.scan(b"")) == [(b"old", b"kept")]
        assert everything(group) == entries(1, 4)


def test_a_snapshot_that_the_log_already_covers_is_not_taken(bench: Bench) -> None:
    """Entries behind a matching one may be acknowledged, so they stay and the answer is False."""
    source = filled(MemoryNodeStore(), {b"a": b"1"})
    store = bench.open()
    target = store.group(G)
    target.append(entries(1, 15, term=2))
    store.flush(sync=True)
    assert not copied(source, target)
    assert everything(target) == entries(1, 15, term=2)
    target.append(entries(8, 15, term=3))
    store.flush(sync=True)
    assert copied(source, target)
    assert (target.first_index(), target.last_index()) == (11, 10)
    assert not copied(source, target)


def test_an_import_is_over_once(bench: Bench) -> None:
    """After an end, an abort or a newer import, a chunk is refused; too large ones always are."""
    group = bench.open().group(G)
    meta = SnapshotMeta(Index(5), Term(1), CONF)
    first = group.importer(meta)
    with pytest.raises(LimitExceeded):
        first.add(bytes(CHUNK_BYTES_MAX + 1))
    second = group.importer(meta)
    with pytest.raises(UsageError, match="replaced by a newer one"):
        first.add(b"x")
    second.abort()
    second.abort()
    with pytest.raises(UsageError):
        second.finish(bytes(32))
    assert group.last_index() == 0


def test_nothing_of_an_unfinished_import_stays(bench: Bench) -> None:
    """What came of a snapshot goes with an abort, a crash, a refusal and the whole group."""
    export = filled(MemoryNodeStore(), PAIRS).export()
    chunks = list(export)
    store = bench.open()
    for end in ("crash", "abort", "digest", "drop"):
        incoming = store.group(G).importer(export.meta)
        for chunk in chunks:
            incoming.add(chunk)
        match end:
            case "crash":
                store = bench.open()
            case "abort":
                incoming.abort()
            case "digest":
                with pytest.raises(PeerError):
                    incoming.finish(bytes(32))
            case _:
                store.drop(G)
                with pytest.raises(UsageError):
                    incoming.add(b"")
        if end != "drop":
            assert store.group(G).last_index() == 0
            assert not list(store.group(G).machine.scan(b""))
        store.flush(sync=True)
        disk = bench.disk()
        letters = [key[4:5] for key, _ in disk.scan(b"", b"\xff" * 5)]
        assert letters == ([] if end == "drop" else [b"B"])
        disk.close()
        store = bench.open()


def test_the_two_ranges_take_turns(bench: Bench) -> None:
    """Each snapshot replaces the one before, the group goes on meanwhile, and one range is left."""
    store = bench.open()
    target = store.group(G)
    for round_number in range(1, 4):
        source = MemoryNodeStore().group(G)
        index = Index(100 * round_number)
        source.bootstrap(SnapshotMeta(index, Term(2), CONF))
        source.machine.put(b"key", b"%d" % round_number)
        source.stage()
        export = source.export()
        incoming = target.importer(export.meta)
        for chunk in export:
            incoming.add(chunk)
        target.append([Entry(Term(1), Index(target.applied + 1), EntryKind.NORMAL, b"")])
        target.machine.put(b"old", b"goes")
        target.set_applied(Index(target.applied + 1))
        target.stage()
        store.flush(sync=False)
        assert target.machine.get(b"key") != b"%d" % round_number
        assert incoming.finish(export.digest)
        target.machine.put(b"own", b"stays")
        target.stage()
        store.flush(sync=True)
        for group in bench.twice(target):
            state = dict(group.machine.scan(b""))
            assert state == {b"key": b"%d" % round_number, b"own": b"stays"}
            assert group.applied == index
        store = bench.open()
        target = store.group(G)
        store.flush(sync=True)
    disk = bench.disk()
    assert len({key[4:5] for key, _ in disk.scan(b"", b"\xff" * 5)} & {b"M", b"N"}) == 1
    disk.close()


def test_installing_takes_one_write_whatever_the_size() -> None:
    """The end of an import writes little: the loop stands still for no copy of the machine."""
    export = filled(MemoryNodeStore(), PAIRS).export()
    disk = MemoryDisk()
    store = MemoryNodeStore(disk)
    incoming = store.group(G).importer(export.meta)
    for chunk in export:
        incoming.add(chunk)
    sizes: list[int] = []
    write = disk.write

    def counted(batch: Batch, *, sync: bool) -> None:
        assert isinstance(batch, MemoryBatch)
        sizes.append(sum(len(key) + len(value) for _, key, value in batch.steps))
        write(batch, sync=sync)

    disk.write = counted  # type: ignore[method-assign]  # counts and passes on
    assert incoming.finish(export.digest)
    assert len(sizes) == 1
    assert sizes[0] < 500


# ------------------------------------------------------------------ damage
@pytest.mark.parametrize("what", ["flip", "missing", "moved", "last"])
def test_a_log_that_is_not_what_was_written_is_refused(bench: Bench, what: str) -> None:
    """A flipped, missing, misplaced or lost last entry is found at the opening, and named."""
    store = bench.open()
    store.group(G).append(entries(1, 9))
    store.flush(sync=True)
    disk = bench.disk()
    keys = [key for key, _ in disk.scan(b"\0\0\0\x07L", b"\0\0\0\x07M")]
    batch = disk.batch()
    match what:
        case "flip":
            stored = disk.get(keys[4]) or b""
            batch.put(keys[4], stored[:-1] + bytes([stored[-1] ^ 4]))
        case "missing":
            batch.delete(keys[4])
        case "moved":
            batch.put(keys[4], disk.get(keys[3]) or b"")
        case _:
            batch.delete(keys[-1])
    disk.write(batch, sync=True)
    disk.close()
    store = bench.open()
    wanted = "entry 9 of term 1 was stored as its last" if what == "last" else "log entry 5"
    with pytest.raises(CorruptionError, match=f"group 7.*{wanted}"):
        store.group(G)


@pytest.mark.parametrize("letter", [b"A", b"B", b"C", b"H", b"R", b"T"])
def test_a_damaged_state_is_refused(bench: Bench, letter: bytes) -> None:
    """A flipped bit in any small record of a group is found when the group is opened."""
    store = bench.open()
    group = store.group(G)
    assert copied(filled(MemoryNodeStore(), PAIRS), group)
    group.append(entries(11, 19))
    group.set_hard_state(HardState(Term(2), NodeId(1), Index(13)))
    group.set_applied(Index(12), CONF)
    group.stage()
    store.flush(sync=True)
    disk = bench.disk()
    key = b"\0\0\0\x07" + letter
    stored = disk.get(key)
    assert stored is not None
    batch = disk.batch()
    batch.put(key, stored[:-1] + bytes([stored[-1] ^ 1]))
    disk.write(batch, sync=True)
    disk.close()
    store = bench.open()
    with pytest.raises(CorruptionError, match=r"group 7, .* is not what was written"):
        store.group(G)


def test_a_group_without_its_base_is_refused(bench: Bench) -> None:
    """A group never looks new while something of it is still stored."""
    store = bench.open()
    store.group(G).append(entries(1, 2))
    store.flush(sync=True)
    disk = bench.disk()
    batch = disk.batch()
    batch.delete(b"\0\0\0\x07B")
    disk.write(batch, sync=True)
    disk.close()
    with pytest.raises(CorruptionError, match="has no base"):
        bench.open().group(G)


# ------------------------------------------------------------------ the end
def test_a_closed_store_takes_nothing_more(bench: Bench) -> None:
    """After `close` a flush is refused."""
    store = bench.open()
    store.group(G).append(entries(1, 2))
    store.close()
    with pytest.raises(StorageFailed, match="closed"):
        store.flush(sync=True)
    bench._open = None
    assert everything(bench.open().group(G)) == entries(1, 2)
