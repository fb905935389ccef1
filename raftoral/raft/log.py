"""The log as the core sees it: what is stored, and behind it what is not stored yet.

Owns the indexes `committed`, `applied` and `stable` and the entries that are still in memory. Never
writes: whoever takes a `Ready` stores its entries and tells so by `stored_to`. The rule it keeps: a
committed entry is never replaced. Entries stay in memory for a while after they were stored and
applied, so that sending them to a follower reads no disk.

Source: Raft paper, sections 5.3 and 5.4; thesis section 10.2.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from raftoral.errors import CorruptionError
from raftoral.ids import Index, Term
from raftoral.raft.messages import NUMBER_MAX, Entry, EntryKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from raftoral.raft.messages import ConfState, HardState, Snapshot

NO_LIMIT: Final = NUMBER_MAX
ENTRY_OVERHEAD_BYTES: Final = 16
"""What an entry counts beyond its data where bytes are limited."""


class CompactedError(LookupError):
    """The entry is gone: a snapshot stands for it."""


class MissingError(LookupError):
    """The entry is not there (yet)."""


class SnapshotNotReadyError(LookupError):
    """No snapshot can be had just now; ask again later."""


class LogReader(Protocol):
    """Read access to one group's stored log; what was appended is readable at once."""

    def initial_state(self) -> tuple[HardState, ConfState]:
        """Return what was stored before the start; the configuration is that of `applied`."""
        ...

    def first_index(self) -> Index:
        """Return the first index that is still there, or would be if any were."""
        ...

    def last_index(self) -> Index:
        """Return the last index; one less than `first_index` if no entry is there."""
        ...

    def term(self, index: Index) -> Term:
        """Return the term of the entry at ``index``, from ``first_index - 1`` to the last.

        Raises `CompactedError` below that and `MissingError` above.
        """
        ...

    def entries(self, low: Index, high: Index, bytes_max: int) -> Sequence[Entry]:
        """Return the entries of [low, high), cut to ``bytes_max`` of data but at least one.

        Raises `CompactedError` if ``low`` is below the first, `MissingError` if ``high - 1`` is
        above the last.
        """
        ...

    def snapshot(self) -> Snapshot:
        """Return the newest snapshot, with or without its data; `SnapshotNotReadyError`."""
        ...


class RaftLog:
    """The whole log of one group: a reader of the stored part and the tail in memory.

    ``applied`` is what the state machine has; ``kept_bytes_max`` bounds the data of stored and
    applied entries that stay in memory. With ``stored_only`` no entry is applied before it is on the
    own disk, which matters only where a `Ready` need not be done before the next.

    ``handed`` and ``applying`` are ahead of `stable` and `applied` by what a `Ready` holds that is
    not done yet.
    """

    __slots__ = (
        "_kept",
        "_kept_bytes",
        "_kept_bytes_max",
        "_kept_first",
        "_reader",
        "_stored_only",
        "_waits",
        "applied",
        "applying",
        "applying_bytes",
        "committed",
        "handed",
        "last",
        "pending_snapshot",
        "snapshot_handed",
        "stable",
    )

    def __init__(
        self, reader: LogReader, applied: Index, kept_bytes_max: int, *, stored_only: bool = False
    ) -> None:
        self._reader = reader
        self._stored_only = stored_only
        self.applied: Index = Index(max(applied, reader.first_index() - 1))
        self.applying: Index = self.applied
        self.applying_bytes = 0
        self._waits = False
        """Whether what follows `applying` is too large to go beside it."""
        self.committed: Index = self.applied
        self.last: Index = reader.last_index()
        self.stable: Index = self.last
        self.handed: Index = self.last
        self.pending_snapshot: Snapshot | None = None
        self.snapshot_handed = False
        # Entries from _kept_first to `last`, in order; those above `stable` are nowhere else.
        self._kept: list[Entry] = []
        self._kept_first: Index = Index(self.last + 1)
        self._kept_bytes = 0
        self._kept_bytes_max = kept_bytes_max
        if self.applied > self.last:
            raise CorruptionError(
                f"the state machine has applied entry {self.applied}, the log ends at {self.last}"
            )

    # -------------------------------------------------------------- looking
    def first_index(self) -> Index:
        """Return the first index that has not been compacted."""
        if self.pending_snapshot is not None:
            return Index(self.pending_snapshot.meta.index + 1)
        return self._reader.first_index()

    def term(self, index: Index) -> Term:
        """Return the term at ``index``; `CompactedError` or `MissingError` if nobody knows."""
        if self._kept_first <= index <= self.last:
            return self._kept[index - self._kept_first].term
        if index > self.last:
            raise MissingError(index)
        if self.pending_snapshot is not None:
            meta = self.pending_snapshot.meta
            if index == meta.index:
                return meta.term
            raise CompactedError(index)
        return self._reader.term(index)

    def term_or_zero(self, index: Index) -> Term:
        """Return the term at ``index``, or 0 where it is not known."""
        try:
            return self.term(index)
        except LookupError:
            return Term(0)

    @property
    def last_term(self) -> Term:
        """The term of the last entry, or of the snapshot before the first."""
        return self._kept[-1].term if self._kept else self.term(self.last)

    def matches(self, index: Index, term: Term) -> bool:
        """Whether the entry at ``index`` is known and has this term."""
        try:
            return self.term(index) == term
        except LookupError:
            return False

    def is_up_to_date(self, index: Index, term: Term) -> bool:
        """Whether a log that ends with (index, term) is at least as good as this one (5.4.1)."""
        own = self.last_term
        return term > own or (term == own and index >= self.last)

    def find_conflict_by_term(self, index: Index, term: Term) -> tuple[Index, Term]:
        """Return the last place up to ``index`` whose term is at most ``term``, and its term.

        Logs that differ at a place differ from the first entry of its term on, so no place of a
        higher term can be where they agree. The term is 0 if the place was compacted.
        """
        while index > 0:
            try:
                own = self.term(index)
            except LookupError:
                return index, Term(0)
            if own <= term:
                return index, own
            index = Index(index - 1)
        return index, Term(0)

    def slice(self, low: Index, high: Index, bytes_max: int) -> Sequence[Entry]:
        """Return the entries of [low, high), cut to ``bytes_max`` but at least one.

        Raises `CompactedError` or `MissingError` where ``low`` or ``high`` is out of the log.
        """
        if low >= high:
            return ()
        if high > self.last + 1:
            raise MissingError(high - 1)
        if low >= self._kept_first:
            begin = low - self._kept_first
            if high == low + 1:
                return (self._kept[begin],)
            return _cut(self._kept[begin : high - self._kept_first], bytes_max)
        if low < self.first_index():
            raise CompactedError(low)
        stored = self._reader.entries(low, Index(min(high, self._kept_first)), bytes_max)
        if low + len(stored) < self._kept_first or high <= self._kept_first:
            return stored
        return _cut((*stored, *self._kept[: high - self._kept_first]), bytes_max)

    def unstable(self) -> tuple[Entry, ...]:
        """Return the entries that are not stored and not on their way to the disk."""
        return tuple(self._kept[self.handed + 1 - self._kept_first :])

    def appliable(self, bytes_max: int) -> Index:
        """Return the last index that may be applied; `applying` if nothing new may.

        Nothing new may while a snapshot waits to be installed, or while so much is being applied that
        ``bytes_max`` is reached or the next entry would go beyond it.
        """
        if self.pending_snapshot is not None or self._waits:
            return self.applying
        if 0 < bytes_max <= self.applying_bytes:
            return self.applying
        return max(self._ripe(), self.applying)

    def _ripe(self) -> Index:
        """Return the last index that a machine may have, were there no bounds."""
        return min(self.committed, self.stable) if self._stored_only else self.committed

    def next_committed(self, bytes_max: int) -> Sequence[Entry]:
        """Return the next entries to apply, up to `appliable` and ``bytes_max``, at least one."""
        if self.committed == self.applying:
            return ()
        high = Index(self.appliable(bytes_max) + 1)
        return self.slice(Index(self.applying + 1), high, bytes_max - self.applying_bytes)

    def has_unapplied_conf_change(self) -> bool:
        """Whether a committed change of the membership waits to be applied."""
        low, high = Index(self.applied + 1), Index(self.committed + 1)
        while low < high:
            page = self.slice(low, high, 1 << 20)
            if any(entry.kind is EntryKind.CONF for entry in page):
                return True
            low = Index(low + len(page))
        return False

    def snapshot(self) -> Snapshot:
        """Return the snapshot for a follower that is too far behind."""
        if self.pending_snapshot is not None:
            return self.pending_snapshot
        return self._reader.snapshot()

    # -------------------------------------------------------------- growing
    def append(self, entry: Entry) -> None:
        """Add ``entry`` behind the last one."""
        self._kept.append(entry)
        self._kept_bytes += len(entry.data) + ENTRY_OVERHEAD_BYTES
        self.last = entry.index

    def maybe_append(
        self, prev_index: Index, prev_term: Term, entries: tuple[Entry, ...], commit: Index
    ) -> Index | None:
        """Take a leader's entries if the one before them is ours; return their last index.

        Entries that are here already change nothing; the first that differs replaces all from its
        place on. ``commit`` counts up to the last of ``entries``. None means: no match.
        """
        if not self.matches(prev_index, prev_term):
            return None
        last_new = Index(prev_index + len(entries))
        if prev_index < self.last:
            entries = self._new_part(entries)
        if entries:
            self._replace_from(entries)
        if commit > self.committed:
            self.commit_to(Index(min(commit, last_new)))
        return last_new

    def commit_to(self, index: Index) -> None:
        """Raise `committed` to ``index``; a lower one changes nothing."""
        if index <= self.committed:
            return
        if index > self.last:
            raise CorruptionError(
                f"entry {index} is committed, but this log ends at {self.last}; entries that were "
                "acknowledged are gone from this node's disk"
            )
        self.committed = index

    def restore(self, snapshot: Snapshot) -> None:
        """Forget every entry: ``snapshot`` stands for all of them, once it is installed."""
        index = snapshot.meta.index
        self.pending_snapshot, self.snapshot_handed = snapshot, False
        self._kept, self._kept_bytes, self._kept_first = [], 0, Index(index + 1)
        self.committed = self.last = self.stable = self.handed = index

    @property
    def storage_is_ahead(self) -> bool:
        """Whether a snapshot that is newer than what was applied is in the storage already."""
        return self._reader.first_index() - 1 > self.applied

    # -------------------------------------------------------------- settling
    def hand_out(self, committed: Sequence[Entry]) -> None:
        """Note that a `Ready` holds all that is not stored, and ``committed``."""
        self.handed = self.last
        self.snapshot_handed = self.pending_snapshot is not None
        if committed:
            self.applying = committed[-1].index
            if self._stored_only:
                self.applying_bytes += _size(committed)
                self._waits = self.applying < self._ripe()

    def stored_to(self, index: Index, term: Term) -> None:
        """Note that the entries up to ``index`` are on disk, unless they were replaced since."""
        if index > self.stable and self.matches(index, term):
            self.stable = index
            self.handed = max(self.handed, index)

    def snapshot_installed(self, index: Index) -> None:
        """Note that the snapshot at ``index`` is on disk and in the state machine."""
        pending = self.pending_snapshot
        if pending is not None and pending.meta.index == index:
            self.pending_snapshot, self.snapshot_handed = None, False
        self.applied = max(self.applied, index)
        self.applying = max(self.applying, index)

    def applied_to(self, index: Index, size: int = 0) -> None:
        """Note that the state machine has everything up to ``index``, and forget old entries.

        ``size`` counts the bytes of the entries that were not applied before.
        """
        assert self.applied <= index <= self.committed, (self.applied, index, self.committed)
        self.applied = index
        self._waits = False
        if index < self.applying:
            self.applying_bytes = max(0, self.applying_bytes - size)
        else:
            self.applying, self.applying_bytes = index, 0
        free = min(index, self.stable) + 1 - self._kept_first
        count = 0
        while count < free and self._kept_bytes > self._kept_bytes_max:
            self._kept_bytes -= len(self._kept[count].data) + ENTRY_OVERHEAD_BYTES
            count += 1
        if count:
            del self._kept[:count]
            self._kept_first = Index(self._kept_first + count)

    def _new_part(self, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        for at, entry in enumerate(entries):
            if not self.matches(entry.index, entry.term):
                return entries[at:]
        return ()

    def _replace_from(self, entries: tuple[Entry, ...]) -> None:
        index = entries[0].index
        if index <= self.last:
            self._cut_off(index)
        self._kept += entries
        self._kept_bytes += _size(entries)
        self.last = entries[-1].index

    def _cut_off(self, index: Index) -> None:
        """Forget the entries from ``index`` on."""
        if index <= self.committed:
            raise CorruptionError(f"a leader replaces entry {index}, which is committed")
        if index < self._kept_first:
            self._kept, self._kept_bytes, self._kept_first = [], 0, index
        else:
            at = index - self._kept_first
            self._kept_bytes -= _size(self._kept[at:])
            del self._kept[at:]
        self.stable = Index(min(self.stable, index - 1))
        self.handed = Index(min(self.handed, index - 1))


def _cut(entries: Iterable[Entry], bytes_max: int) -> tuple[Entry, ...]:
    """Return as many of ``entries`` as fit into ``bytes_max``, at least the first."""
    taken: list[Entry] = []
    room = bytes_max
    for entry in entries:
        room -= len(entry.data) + ENTRY_OVERHEAD_BYTES
        if room < 0 and taken:
            break
        taken.append(entry)
    return tuple(taken)


def _size(entries: Sequence[Entry]) -> int:
    return sum([len(entry.data) for entry in entries]) + ENTRY_OVERHEAD_BYTES * len(entries)
