"""The stores: what one node keeps for itself and for each of its groups.

Owns a node's identity, and per group the log, the hard state, the configuration and the machine's
range, all over one `Disk`. The rules it keeps: what was buffered is readable at once; one `flush`
is one batch for all groups; the machine's writes and `applied` share a batch; a record that is not
what was written is never returned; after the first failed write nothing more is written.
Never decides what to append, apply or compact.

A group has two ranges for its machine, of which one is in use. A snapshot goes into the other one
as it comes, while the group goes on; one small batch then changes their parts, so that installing
takes no longer for a large machine than for a small one.

Recent entries stay in memory so that the core and the senders read no disk. The last index and
term are kept apart from the log, so that a lost end is noticed when the group is opened.

Source: Raft paper, sections 5 and 7; Alagappan et al., "Protocol-Aware Recovery" (FAST 2018).
"""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import dataclass
from itertools import chain
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from raftoral.errors import StorageFailed, UsageError
from raftoral.ids import NOBODY, GroupId, Index, NodeId, Term
from raftoral.kv import Overlay, prefix_end
from raftoral.raft.log import ENTRY_OVERHEAD_BYTES, CompactedError, MissingError
from raftoral.raft.messages import (
    NUMBER_MAX,
    ConfState,
    Entry,
    HardState,
    Snapshot,
    SnapshotMeta,
)
from raftoral.storage import records
from raftoral.storage.snapshots import SnapshotExport, SnapshotImport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from raftoral.storage.disk import Batch, Disk

FORMAT: Final = 1
"""The version of the stored format; a newer one is refused."""

RECENT_ENTRIES_MAX: Final = 4096
RECENT_BYTES_MAX: Final = 2 * 1024 * 1024
"""What a group keeps of its log in memory beside what is not written yet."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a store belongs to: its cluster, and the node's number and name in it."""

    cluster: str
    node: NodeId
    name: str
    format: int = FORMAT


# ------------------------------------------------------------------ the node
class NodeStore:
    """Everything one process stores, over one disk."""

    def __init__(self, disk: Disk, *, clock: Callable[[], float] = perf_counter) -> None:
        """Open the store on ``disk``; ``clock`` gives seconds and measures the syncs.

        Raises `CorruptionError` or, if a newer version wrote it, `UsageError`.
        """
        self.sync_seconds = 0.0
        """How long the last sync took."""
        self._disk = disk
        self._clock = clock
        self._groups: dict[GroupId, GroupStore] = {}
        self.dirty: dict[GroupId, GroupStore] = {}
        """The groups that have something to flush; for this package only."""
        self._unsynced = False
        self._failure: StorageFailed | None = None
        self._identity = self._read_identity()

    @property
    def path(self) -> str | None:
        """The folder of the store; None if it is in memory."""
        return self._disk.path

    # -------------------------------------------------------------- identity
    def identity(self) -> Identity | None:
        """Return whom the store belongs to; None if it is new."""
        return self._identity

    def set_identity(self, identity: Identity) -> None:
        """Store ``identity``, synced; `UsageError` if the store already has another one."""
        if self._identity is not None and self._identity != identity:
            raise UsageError(
                f"the store in {self.path} belongs to node {self._identity.node} of cluster "
                f"{self._identity.cluster}; use another folder for this node, or remove that one"
            )
        key = records.IDENTITY_KEY
        fields = [identity.format, identity.cluster, identity.node, identity.name]
        batch = self._disk.batch()
        batch.put(key, records.seal(key, fields))
        self.write(batch, sync=True)
        self._identity = identity

    def _read_identity(self) -> Identity | None:
        key = records.IDENTITY_KEY
        data = self._disk.get(key)
        if data is None:
            return None
        # The format stands first: nothing behind it is known before it is checked.
        version, *fields = records.unseal(key, data, self.path)
        if version != FORMAT:
            raise UsageError(
                f"the store in {self.path} has format {version}, this version of Raftoral reads "
                f"format {FORMAT}; start it with the version that wrote it, or a newer one"
            )
        cluster, node, name = fields
        return Identity(cluster, NodeId(node), name, version)

    @property
    def is_retired(self) -> bool:
        """Whether the node has left its cluster, so that the store is of no more use."""
        data = self._disk.get(records.RETIRED_KEY)
        if data is None:
            return False
        records.unseal(records.RETIRED_KEY, data, self.path)
        return True

    def retire(self) -> None:
        """Remove all groups and note that the node has left its cluster, in one synced batch."""
        batch = self._disk.batch()
        for group in self.groups():
            batch.delete_range(records.group_prefix(group), records.group_end(group))
        batch.put(records.RETIRED_KEY, records.seal(records.RETIRED_KEY, []))
        for store in self._groups.values():
            store.abandon()
        self._groups.clear()
        self.dirty.clear()
        self.write(batch, sync=True)

    # -------------------------------------------------------------- groups
    def groups(self) -> list[GroupId]:
        """Return the groups that are stored or open, ascending."""
        found = set(self._groups)
        low = records.group_prefix(GroupId(0))
        while (first := next(self._disk.scan(low, records.NODE), None)) is not None:
            group = GroupId(int.from_bytes(first[0][:4], "big"))
            found.add(group)
            low = records.group_end(group)
        return sorted(found)

    def group(self, group: GroupId) -> GroupStore:
        """Return the store of ``group``, opened or created empty; always the same object.

        Opening reads the whole log once; `CorruptionError` names the entry that is damaged or
        missing. What a crash left of an import is removed here.
        """
        store = self._groups.get(group)
        if store is None:
            store = self._groups[group] = GroupStore(self, self._disk, group)
        return store

    def drop(self, group: GroupId) -> None:
        """Remove all that ``group`` ever stored, synced; its open store must not be used again."""
        store = self._groups.pop(group, None)
        if store is not None:
            store.abandon()
        self.dirty.pop(group, None)
        batch = self._disk.batch()
        batch.delete_range(records.group_prefix(group), records.group_end(group))
        self.write(batch, sync=True)

    # -------------------------------------------------------------- writing
    def flush(self, *, sync: bool) -> None:
        """Write what all groups have buffered, as one batch; with ``sync``, wait for the disk.

        A sync covers all that was ever flushed. Raises `StorageFailed` if a write or sync fails,
        and at every later call: after a failed sync nobody knows what the disk holds.
        """
        self._check()
        if self.dirty:
            batch = self._disk.batch()
            for store in self.dirty.values():
                store.collect(batch)
            self.dirty.clear()
            self.write(batch, sync=sync)
        elif sync and self._unsynced:
            self.write(None, sync=True)

    def close(self) -> None:
        """Flush, sync and let go of the disk; after a failure, let go only."""
        failed = self._failure is not None
        try:
            if not failed:
                self.flush(sync=True)
        finally:
            self._failure = self._failure or StorageFailed("the store is closed")
            self._groups.clear()
            # The disk complains again about what it has complained of.
            with suppress(StorageFailed) if failed else nullcontext():
                self._disk.close()

    # -------------------------------------------------------------- for this package only
    def write(self, batch: Batch | None, *, sync: bool) -> None:
        """Write ``batch`` (None: nothing new) to the disk; the first failure is the last write."""
        self._check()
        started = self._clock()
        try:
            if batch is not None:
                self._disk.write(batch, sync=sync)
            else:
                self._disk.sync()
        except StorageFailed as failure:
            self._failure = failure
            raise
        self._unsynced = not sync
        if sync:
            self.sync_seconds = self._clock() - started

    def _check(self) -> None:
        if self._failure is not None:
            raise StorageFailed(
                f"the store takes nothing more, since this happened: {self._failure}; "
                "see to the disk and start the node again"
            )


# ------------------------------------------------------------------ a group
class GroupStore:
    """One group's log, states and machine range. It is the core's `LogReader`."""

    machine: Overlay
    """The transaction that `apply` writes to; `stage` hands it over."""

    applied: Index
    """The index that the machine stands at, whether stored yet or not."""

    _recent: list[Entry]
    """The newest entries, from `_recent_first` to `_last`; older ones are on the disk only."""
    _recent_first: Index
    _recent_bytes: int
    _stored_first: Index
    """The disk holds the entries from `_stored_first` to `_stored`, of which those before
    `_unwritten` are as they should be."""
    _stored: Index
    _unwritten: Index

    def __init__(self, node: NodeStore, disk: Disk, group: GroupId) -> None:
        """Open or create ``group``; call `NodeStore.group` for it."""
        self.group = group
        self._node = node
        self._dirty = node.dirty
        self._disk = disk
        self._prefix = records.group_prefix(group)
        self._log = self._prefix + records.LOG
        self._machine = _MachineRange(disk)
        self._importing: SnapshotImport | None = None
        self._staged = Overlay(self._machine)
        self.machine = Overlay(self._staged)
        self._pending: dict[bytes, list[Any]] = {}
        self._load()

    def abandon(self) -> None:
        """Drop an import under way; `NodeStore.drop` calls it."""
        if self._importing is not None:
            self._importing.abort()

    # -------------------------------------------------------------- opening
    def _load(self) -> None:
        """Read everything from the disk; remove what is left of an import first."""
        self._unstaged_conf: ConfState | None = None
        self._use_range((self._read(records.RANGE) or [0])[0])
        self._clear_spare()
        base = self._read(records.BASE)
        if base is None:
            self._create()
            base = [0, 0]
        self._base, self._base_term = Index(base[0]), Term(base[1])
        conf = self._read(records.CONF)
        self._conf = ConfState() if conf is None else ConfState.from_wire(conf)
        applied = self._read(records.APPLIED)
        self.applied = self._base if applied is None else Index(applied[0])
        self._hard = self._read_hard()
        self._read_log()
        self._check_log()

    def _use_range(self, which: int) -> None:
        """Let the machine live in one of the two ranges; the other one is for imports."""
        self._range = which
        self._machine.prefix = self._prefix + records.MACHINES[which]
        self._spare = self._prefix + records.MACHINES[1 - which]

    def _clear_spare(self) -> None:
        behind = records.letter_end(self._spare)
        if next(self._disk.scan(self._spare, behind), None) is not None:
            batch = self._disk.batch()
            batch.delete_range(self._spare, behind)
            self._node.write(batch, sync=False)

    def _create(self) -> None:
        """Begin a group; its absence is only believed if nothing else of it is there either."""
        behind = records.group_end(self.group)
        first = next(self._disk.scan(self._prefix, behind), None)
        if first is not None:
            raise records.corruption(
                self._disk.path, f"group {self.group} has no base, but {records.describe(first[0])}"
            )
        self._set(records.BASE, [0, 0])

    def _read_hard(self) -> HardState:
        fields = self._read(records.HARD)
        if fields is None:
            return HardState()
        term, vote, commit = fields
        return HardState(Term(term), NodeId(vote), max(Index(commit), self.applied))

    def _read_log(self) -> None:
        """Read and check every entry; keep the newest ones."""
        self._start_log()
        for entry in self._stored_entries(self.first_index(), NUMBER_MAX):
            self._recent.append(entry)
            self._recent_bytes += len(entry[3]) + ENTRY_OVERHEAD_BYTES
            self._last = self._stored = entry[1]
            self._unwritten = Index(entry[1] + 1)
            self._trim()

    def _check_log(self) -> None:
        """Raise `CorruptionError` unless the log ends where it was written to end."""
        first, last = self.first_index(), self._last
        tail = self._read(records.TAIL) or [self._base, self._base_term]
        if tail != [last, self.term(last)]:
            raise records.corruption(
                self._disk.path,
                f"group {self.group} holds log entries {first} to {last}, but entry {tail[0]} of "
                f"term {tail[1]} was stored as its last",
            )
        known = max(self.applied, self._hard.commit)
        if self.applied < self._base or known > last:
            raise records.corruption(
                self._disk.path,
                f"group {self.group} holds log entries {first} to {last}, but has applied "
                f"{self.applied} and knows of commit {self._hard.commit}",
            )

    # -------------------------------------------------------------- reading the log
    def initial_state(self) -> tuple[HardState, ConfState]:
        """Return the hard state, and the configuration as of `applied`."""
        return self._hard, self._conf

    def first_index(self) -> Index:
        """Return the index behind the compacted ones, whether an entry is there or not."""
        return Index(self._base + 1)

    def last_index(self) -> Index:
        """Return the index of the last entry; `first_index` - 1 if there is none."""
        return self._last

    def term(self, index: Index) -> Term:
        """Return the term of the entry at ``index``, from ``first_index - 1`` to the last.

        Raises `CompactedError` below that and `MissingError` above.
        """
        if index >= self._recent_first and index <= self._last:
            return self._recent[index - self._recent_first][0]
        if index == self._base:
            return self._base_term
        if index < self._base:
            raise CompactedError(f"entry {index} is compacted, the first is {self._base + 1}")
        if index > self._last:
            raise MissingError(f"entry {index} is not there, the last is {self._last}")
        key = self._log + index.to_bytes(8, "big")
        data = self._disk.get(key)
        if data is None:
            records.damaged(key, self._disk.path)
        return records.unseal_entry(key, data, self._disk.path)[0]

    def entries(self, low: Index, high: Index, bytes_max: int) -> Sequence[Entry]:
        """Return the entries of [low, high), cut to ``bytes_max`` but at least one.

        An entry counts its data and `ENTRY_OVERHEAD_BYTES`. Raises `CompactedError` if ``low`` is
        below the first and `MissingError` if ``high - 1`` is above the last.
        """
        if low <= self._base:
            raise CompactedError(f"entry {low} is compacted, the first is {self._base + 1}")
        if high > self._last + 1:
            raise MissingError(f"entry {high - 1} is not there, the last is {self._last}")
        first = self._recent_first
        if low >= first:
            found = self._recent[low - first : high - first]
            return found if self._recent_bytes <= bytes_max else _cut(found, bytes_max)
        older = self._stored_entries(low, min(high, first))
        newer = self._recent[: max(high - first, 0)]
        return _cut(chain(older, newer), bytes_max)

    def snapshot(self) -> Snapshot:
        """Return the present state's meta data; the data itself comes from `export`."""
        return Snapshot(self._meta())

    def _meta(self) -> SnapshotMeta:
        return SnapshotMeta(self.applied, self.term(self.applied), self._conf)

    def _stored_entries(self, low: int, high: int) -> Iterator[Entry]:
        """Yield the entries of [low, high) from the disk, each checked and none left out."""
        path = self._disk.path
        start, end = self._log + low.to_bytes(8, "big"), self._log + high.to_bytes(8, "big")
        expected = low
        for key, data in self._disk.scan(start, end):
            entry = records.unseal_entry(key, data, path)
            if entry[1] != expected:
                break
            yield entry
            expected += 1
        else:
            if high == NUMBER_MAX or expected == high:
                return
        raise records.corruption(path, f"group {self.group}, log entry {expected} is missing")

    # -------------------------------------------------------------- writing the log
    def bootstrap(self, meta: SnapshotMeta) -> None:
        """Begin a fresh group behind ``meta``, whose state the caller puts into `machine`.

        Raises `UsageError` if the group already has a log or a state.
        """
        if self._last or self._hard != HardState():
            raise UsageError(f"group {self.group} has begun already, at index {self._last}")
        self._begin(meta)
        self._set(records.TAIL, [meta.index, meta.term])

    def append(self, entries: Sequence[Entry]) -> None:
        """Buffer ``entries``, which follow each other; they replace what stands at their place.

        Entries behind the last of them go too. The first one continues the log or replaces
        something that is not applied yet.
        """
        if not entries:
            return
        first = entries[0][1]
        assert self.applied < first <= self._last + 1, (self.applied, first, self._last)
        if first <= self._last:
            self._truncate(first)
        self._recent += entries
        self._recent_bytes += sum([len(entry[3]) for entry in entries])
        self._recent_bytes += ENTRY_OVERHEAD_BYTES * len(entries)
        self._last = entries[-1][1]
        assert self._last == self._recent_first + len(self._recent) - 1, "entries leave a gap"
        self._set(records.TAIL, [self._last, entries[-1][0]])

    def set_hard_state(self, hard: HardState) -> None:
        """Take term, vote and commit index; the first two are buffered when they change.

        A commit index alone is not worth a write: the next leader tells it, and `applied` is known.
        """
        vouched = hard[:2] != self._hard[:2]
        self._hard = hard
        if vouched:
            self._set(records.HARD, list(hard))

    def set_conf(self, conf: ConfState) -> None:
        """Buffer the configuration as of `applied`."""
        self._conf = conf
        self._set(records.CONF, conf.to_wire())

    def compact(self, index: Index) -> None:
        """Buffer the removal of the entries up to ``index``, which must be applied.

        The term of ``index`` stays known. An index that is compacted already changes nothing.
        """
        if index <= self._base:
            return
        if index > self.applied:
            raise UsageError(f"entry {index} cannot go, the machine stands at {self.applied}")
        self._base_term = self.term(index)
        self._base = index
        if index >= self._recent_first:
            gone = index + 1 - self._recent_first
            self._forget(gone)
        self._unwritten = max(self._unwritten, Index(index + 1))
        self._set(records.BASE, [index, self._base_term])

    def _truncate(self, first: Index) -> None:
        """Drop the entries from ``first`` on; what is stored of them goes with the next flush."""
        if first < self._recent_first:
            self._recent_first = first
        kept = first - self._recent_first
        self._recent_bytes -= _size(self._recent[kept:])
        del self._recent[kept:]
        self._unwritten = min(self._unwritten, first)

    def _start_log(self) -> None:
        """Set the log in memory to an empty one behind the base."""
        self._recent = []
        self._recent_first = Index(self._base + 1)
        self._recent_bytes = 0
        self._last = self._base
        self._stored_first = Index(self._base + 1)
        self._stored = self._base
        self._unwritten = Index(self._base + 1)

    def _begin(self, meta: SnapshotMeta) -> None:
        """Set everything in memory to the state behind ``meta`` and buffer it."""
        self._base, self._base_term = meta.index, meta.term
        self._start_log()
        self._set(records.BASE, [meta.index, meta.term])
        self.set_conf(meta.conf)
        self.applied = meta.index
        self._set(records.APPLIED, [meta.index])
        hard = self._hard
        vote = hard.vote if hard.term >= meta.term else NOBODY
        self.set_hard_state(
            HardState(max(hard.term, meta.term), vote, max(hard.commit, meta.index))
        )

    def _trim(self) -> None:
        """Keep at most the newest entries in memory, and all that are not written."""
        if len(self._recent) <= RECENT_ENTRIES_MAX and self._recent_bytes <= RECENT_BYTES_MAX:
            return
        # A quarter more than needed goes at once, so that this is rare.
        entries, size = len(self._recent), self._recent_bytes
        gone = 0
        while (
            entries > RECENT_ENTRIES_MAX * 3 // 4 or size > RECENT_BYTES_MAX * 3 // 4
        ) and self._recent_first + gone < self._unwritten - 1:
            size -= len(self._recent[gone][3]) + ENTRY_OVERHEAD_BYTES
            entries -= 1
            gone += 1
        self._forget(gone)

    def _forget(self, count: int) -> None:
        """Drop the oldest ``count`` entries from memory."""
        self._recent_bytes -= _size(self._recent[:count])
        del self._recent[:count]
        self._recent_first = Index(self._recent_first + count)

    # -------------------------------------------------------------- the machine
    def set_applied(self, index: Index, conf: ConfState | None = None) -> None:
        """Say that `machine` holds all up to ``index``; ``conf`` if that changed the members."""
        self.applied = index
        if conf is not None:
            self._conf = self._unstaged_conf = conf

    def stage(self) -> None:
        """Buffer what `machine` was written, with `applied`: one flush takes them together."""
        self._staged.absorb(self.machine)
        self._set(records.APPLIED, [self.applied])
        if self._unstaged_conf is not None:
            self.set_conf(self._unstaged_conf)
            self._unstaged_conf = None

    # -------------------------------------------------------------- snapshots
    def export(self) -> SnapshotExport:
        """Return the machine at `applied` as a stream that later writes do not change.

        Flushes first, without a sync. What is in `machine` must have been staged.
        """
        assert not self.machine.writes, "staged first: a snapshot is never taken inside apply"
        self._node.flush(sync=False)
        return SnapshotExport(self._disk.view(), self._machine.prefix, self._meta())

    def importer(self, meta: SnapshotMeta) -> SnapshotImport:
        """Begin to take in a snapshot; one that was under way is dropped."""
        if self._importing is not None:
            self._importing.abort()
        self._node.flush(sync=False)
        self._importing = SnapshotImport(
            meta, self._disk, self._node.write, self._spare, self._install
        )
        return self._importing

    def _install(self, meta: SnapshotMeta) -> bool:
        """Replace the group by what was imported unless it is not needed."""
        self._importing = None
        if meta.index <= self.applied:
            return False
        # Entries behind it may have been acknowledged: Raft paper, figure 13, rule 6.
        if self._base <= meta.index <= self._last and self.term(meta.index) == meta.term:
            return False
        assert not self.machine.writes, "an import never comes inside apply"
        self._node.flush(sync=False)
        batch = self._disk.batch()
        for gone in (self._machine.prefix, self._log):
            batch.delete_range(gone, records.letter_end(gone))
        self._unstaged_conf = None
        self._begin(meta)
        self._set(records.TAIL, [meta.index, meta.term])
        self._set(records.RANGE, [1 - self._range])
        self._collect_records(batch)
        # The chunks were written before, without a sync: this one covers them too.
        self._node.write(batch, sync=True)
        self._use_range(1 - self._range)
        return True

    # -------------------------------------------------------------- the buffer
    def collect(self, batch: Batch) -> None:
        """Move everything buffered into ``batch``; `NodeStore.flush` calls it."""
        prefix = self._log
        if self._stored_first <= self._base:
            if self._stored_first <= self._stored:
                end = min(self._base, self._stored) + 1
                batch.delete_range(
                    prefix + self._stored_first.to_bytes(8, "big"), prefix + end.to_bytes(8, "big")
                )
            self._stored_first = Index(self._base + 1)
        put = batch.put
        for entry in self._recent[self._unwritten - self._recent_first :]:
            key = prefix + entry[1].to_bytes(8, "big")
            put(key, records.seal_entry(key, entry))
        if self._last < self._stored:
            batch.delete_range(
                prefix + (self._last + 1).to_bytes(8, "big"),
                prefix + (self._stored + 1).to_bytes(8, "big"),
            )
        self._stored = self._last
        self._unwritten = Index(self._last + 1)
        self._collect_records(batch)
        machine = self._machine.prefix
        for name, value in self._staged.writes.items():
            if value is None:
                batch.delete(machine + name)
            else:
                put(machine + name, value)
        self._staged.clear()
        self._trim()

    def _collect_records(self, batch: Batch) -> None:
        for letter, fields in self._pending.items():
            key = self._prefix + letter
            batch.put(key, records.seal(key, fields))
        self._pending.clear()

    def _set(self, letter: bytes, fields: list[Any]) -> None:
        self._pending[letter] = fields
        self._dirty[self.group] = self

    def _read(self, letter: bytes) -> list[Any] | None:
        key = self._prefix + letter
        data = self._disk.get(key)
        return None if data is None else records.unseal(key, data, self._disk.path)


class _MachineRange:
    """The stored part of a machine's range, keys without the prefix."""

    prefix: bytes

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def get(self, key: bytes) -> bytes | None:
        return self._disk.get(self.prefix + key)

    def scan(
        self, prefix: bytes, start: bytes = b"", *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        low = self.prefix + prefix
        high = prefix_end(low)
        assert high is not None, "a machine's range never ends in 0xff"
        if start and not reverse:
            low = max(low, self.prefix + start)
        elif start:
            high = min(high, self.prefix + start + b"\0")
        cut = len(self.prefix)
        for key, value in self._disk.scan(low, high, reverse=reverse):
            yield key[cut:], value


def _size(entries: Sequence[Entry]) -> int:
    return sum([len(entry[3]) for entry in entries]) + ENTRY_OVERHEAD_BYTES * len(entries)


def _cut(entries: Iterable[Entry], bytes_max: int) -> list[Entry]:
    """Return the first ``entries`` that together take ``bytes_max``, at least one."""
    found: list[Entry] = []
    size = 0
    for entry in entries:
        size += len(entry[3]) + ENTRY_OVERHEAD_BYTES
        if size > bytes_max and found:
            break
        found.append(entry)
    return found
