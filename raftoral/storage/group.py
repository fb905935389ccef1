"""The store of one group: its log, its hard state, its configuration and its machine's range.

The rules it keeps: what was buffered is readable at once; the machine's writes and `applied` share
a batch. Never decides what to append, apply or compact.

A group has two ranges for its machine, of which one is in use. A snapshot goes into the other one
as it comes, while the group goes on; one small batch then changes their parts, so that installing
takes no longer for a large machine than for a small one.

The last index and term are kept apart from the log, so that a lost end is noticed when the group is
opened.

Source: Raft paper, sections 5 and 7; Alagappan et al., "Protocol-Aware Recovery" (FAST 2018).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raftoral.errors import UsageError
from raftoral.ids import NOBODY, GroupId, Index, NodeId, Term
from raftoral.kv import Overlay, prefix_end
from raftoral.raft.messages import ConfState, EntryKind, HardState, Snapshot, SnapshotMeta
from raftoral.storage import records
from raftoral.storage.log import StoredLog
from raftoral.storage.snapshots import SnapshotExport, SnapshotImport

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from raftoral.raft.messages import Entry
    from raftoral.storage.base import NodeStore
    from raftoral.storage.disk import Batch, Disk


class GroupStore:
    """One group's log, states and machine range. It is the core's `LogReader`."""

    machine: Overlay
    """The transaction that `apply` writes to; `stage` hands it over."""

    applied: Index
    """The index that the machine stands at, whether stored yet or not."""

    def __init__(self, node: NodeStore, disk: Disk, group: GroupId) -> None:
        """Open or create ``group``; call `NodeStore.group` for it."""
        self.group = group
        self._node = node
        self._dirty = node.dirty
        self._disk = disk
        self._prefix = records.group_prefix(group)
        self.log = StoredLog(disk, group)
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
        conf = self._read(records.CONF)
        self._conf = ConfState() if conf is None else ConfState.from_wire(conf)
        applied = self._read(records.APPLIED)
        self.applied = Index(base[0]) if applied is None else Index(applied[0])
        self._hard = self._read_hard()
        self._commit_counts = False
        """Whether the next batch has to hold the commit index; see `set_hard_state`."""
        self.log.load(Index(base[0]), Term(base[1]))
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

    def _check_log(self) -> None:
        """Raise `CorruptionError` unless the log ends where it was written to end."""
        first, last = self.log.first, self.log.last
        tail = self._read(records.TAIL) or [self.log.base, self.log.base_term]
        if tail != [last, self.log.term(last)]:
            raise records.corruption(
                self._disk.path,
                f"group {self.group} holds log entries {first} to {last}, but entry {tail[0]} of "
                f"term {tail[1]} was stored as its last",
            )
        known = max(self.applied, self._hard.commit)
        if self.applied < self.log.base or known > last:
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
        return self.log.first

    def last_index(self) -> Index:
        """Return the index of the last entry; `first_index` - 1 if there is none."""
        return self.log.last

    def term(self, index: Index) -> Term:
        """Return the term of the entry at ``index``, from ``first_index - 1`` to the last.

        Raises `CompactedError` below that and `MissingError` above.
        """
        return self.log.term(index)

    def entries(self, low: Index, high: Index, bytes_max: int) -> Sequence[Entry]:
        """Return the entries of [low, high), cut to ``bytes_max`` but at least one.

        An entry counts its data and `ENTRY_OVERHEAD_BYTES`. Raises `CompactedError` if ``low`` is
        below the first and `MissingError` if ``high - 1`` is above the last.
        """
        return self.log.entries(low, high, bytes_max)

    def snapshot(self) -> Snapshot:
        """Return the present state's meta data; the data itself comes from `export`."""
        return Snapshot(self._meta())

    def _meta(self) -> SnapshotMeta:
        return SnapshotMeta(self.applied, self.log.term(self.applied), self._conf)

    # -------------------------------------------------------------- writing the log
    def bootstrap(self, meta: SnapshotMeta) -> None:
        """Begin a fresh group behind ``meta``, whose state the caller puts into `machine`.

        Raises `UsageError` if the group already has a log or a state.
        """
        if self.log.last or self._hard != HardState():
            raise UsageError(f"group {self.group} has begun already, at index {self.log.last}")
        self._begin(meta)
        self._set(records.TAIL, [meta.index, meta.term])

    def append(self, entries: Sequence[Entry]) -> None:
        """Buffer ``entries``, which follow each other; they replace what stands at their place.

        Entries behind the last of them go too. The first one continues the log or replaces
        something that is not applied yet.
        """
        if not entries:
            return
        assert self.applied < entries[0][1], (self.applied, entries[0][1])
        self.log.append(entries)
        self._set(records.TAIL, [self.log.last, entries[-1][0]])
        if any(kind is EntryKind.CONF for _, _, kind, _ in entries):
            self._commit_counts = True

    def set_hard_state(self, hard: HardState) -> None:
        """Take term, vote and commit index; the first two are buffered when they change.

        A commit index alone is not worth a write: the next leader tells it, and `applied` is known.
        But a member that holds a change of the membership has to know, whatever else it loses, that
        the change before is committed. Else it might stand for election among those of two changes
        ago, whose majority and that of now may share nobody. So the commit index is stored in one
        batch with such an entry; the leader made it only when the one before was committed.
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
        if index <= self.log.base:
            return
        if index > self.applied:
            raise UsageError(f"entry {index} cannot go, the machine stands at {self.applied}")
        self.log.compact(index)
        self._set(records.BASE, [index, self.log.base_term])

    def _begin(self, meta: SnapshotMeta) -> None:
        """Set everything in memory to the state behind ``meta`` and buffer it."""
        self.log.restart(meta.index, meta.term)
        self._set(records.BASE, [meta.index, meta.term])
        self.set_conf(meta.conf)
        self.applied = meta.index
        self._set(records.APPLIED, [meta.index])
        hard = self._hard
        vote = hard.vote if hard.term >= meta.term else NOBODY
        self.set_hard_state(
            HardState(max(hard.term, meta.term), vote, max(hard.commit, meta.index))
        )

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
        log = self.log
        # Entries behind it may have been acknowledged: Raft paper, figure 13, rule 6.
        if log.base <= meta.index <= log.last and log.term(meta.index) == meta.term:
            return False
        assert not self.machine.writes, "an import never comes inside apply"
        self._node.flush(sync=False)
        batch = self._disk.batch()
        for gone in (self._machine.prefix, log.prefix):
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
        self.log.collect(batch)
        if self._commit_counts:
            self._set(records.HARD, list(self._hard))
            self._commit_counts = False
        self._collect_records(batch)
        machine = self._machine.prefix
        for name, value in self._staged.writes.items():
            if value is None:
                batch.delete(machine + name)
            else:
                batch.put(machine + name, value)
        self._staged.clear()

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
