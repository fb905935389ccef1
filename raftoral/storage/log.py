"""The log of one group: all of it on the disk, and its newest entries in memory.

Owns which entries there are, and which of them the disk still lacks. Recent entries stay in memory
so that the core and the senders read no disk. The rule it keeps: an entry that is not what was
written is never returned. Never decides what to append or compact, nor when anything is written.

Source: Raft paper, sections 5 and 7.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

from raftoral.ids import Index, Term
from raftoral.raft.log import ENTRY_OVERHEAD_BYTES, CompactedError, MissingError
from raftoral.raft.messages import NUMBER_MAX, Entry
from raftoral.storage import records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from raftoral.ids import GroupId
    from raftoral.storage.disk import Batch, Disk

RECENT_ENTRIES_MAX: Final = 4096
RECENT_BYTES_MAX: Final = 2 * 1024 * 1024
"""What a group keeps of its log in memory beside what is not written yet."""


class StoredLog:
    """The entries of one group, from behind its base to the last."""

    base: Index
    """The entry before the first one, which is compacted; its term is still known."""
    base_term: Term
    last: Index
    """The last entry; the base if there is none."""

    _recent: list[Entry]
    """The newest entries, from `_recent_first` to `last`; older ones are on the disk only."""
    _recent_first: Index
    _recent_bytes: int
    _stored_first: Index
    """The disk holds the entries from `_stored_first` to `_stored`, of which those before
    `_unwritten` are as they should be."""
    _stored: Index
    _unwritten: Index

    def __init__(self, disk: Disk, group: GroupId) -> None:
        self.prefix = records.group_prefix(group) + records.LOG
        self._disk = disk
        self._group = group
        self.restart(Index(0), Term(0))

    def restart(self, base: Index, base_term: Term) -> None:
        """Set the log in memory to an empty one behind the base; the disk is the caller's."""
        self.base, self.base_term = base, base_term
        self._recent = []
        self._recent_first = Index(base + 1)
        self._recent_bytes = 0
        self.last = base
        self._stored_first = Index(base + 1)
        self._stored = base
        self._unwritten = Index(base + 1)

    def load(self, base: Index, base_term: Term) -> None:
        """Read and check every entry behind the base; keep the newest ones."""
        self.restart(base, base_term)
        for entry in self._stored_entries(self.first, NUMBER_MAX):
            self._recent.append(entry)
            self._recent_bytes += len(entry[3]) + ENTRY_OVERHEAD_BYTES
            self.last = self._stored = entry[1]
            self._unwritten = Index(entry[1] + 1)
            self._trim()

    # -------------------------------------------------------------- reading
    @property
    def first(self) -> Index:
        """The index behind the base, whether an entry is there or not."""
        return Index(self.base + 1)

    def term(self, index: Index) -> Term:
        """Return the term of the entry at ``index``, from the base to the last.

        Raises `CompactedError` below that and `MissingError` above.
        """
        if index >= self._recent_first and index <= self.last:
            return self._recent[index - self._recent_first][0]
        if index == self.base:
            return self.base_term
        if index < self.base:
            raise CompactedError(f"entry {index} is compacted, the first is {self.base + 1}")
        if index > self.last:
            raise MissingError(f"entry {index} is not there, the last is {self.last}")
        key = self.prefix + index.to_bytes(8, "big")
        data = self._disk.get(key)
        if data is None:
            records.damaged(key, self._disk.path)
        return records.unseal_entry(key, data, self._disk.path)[0]

    def entries(self, low: Index, high: Index, bytes_max: int) -> Sequence[Entry]:
        """Return the entries of [low, high), cut to ``bytes_max`` but at least one.

        An entry counts its data and `ENTRY_OVERHEAD_BYTES`. Raises `CompactedError` if ``low`` is
        below the first and `MissingError` if ``high - 1`` is above the last.
        """
        if low <= self.base:
            raise CompactedError(f"entry {low} is compacted, the first is {self.base + 1}")
        if high > self.last + 1:
            raise MissingError(f"entry {high - 1} is not there, the last is {self.last}")
        first = self._recent_first
        if low >= first:
            found = self._recent[low - first : high - first]
            return found if self._recent_bytes <= bytes_max else _cut(found, bytes_max)
        older = self._stored_entries(low, min(high, first))
        newer = self._recent[: max(high - first, 0)]
        return _cut(chain(older, newer), bytes_max)

    def _stored_entries(self, low: int, high: int) -> Iterator[Entry]:
        """Yield the entries of [low, high) from the disk, each checked and none left out."""
        path = self._disk.path
        start, end = self.prefix + low.to_bytes(8, "big"), self.prefix + high.to_bytes(8, "big")
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
        raise records.corruption(path, f"group {self._group}, log entry {expected} is missing")

    # -------------------------------------------------------------- changing
    def append(self, entries: Sequence[Entry]) -> None:
        """Add ``entries``, at least one, which follow each other.

        They replace what stands at their place and behind it.
        """
        first = entries[0][1]
        assert first <= self.last + 1, (first, self.last)
        if first <= self.last:
            self._truncate(first)
        self._recent += entries
        self._recent_bytes += sum([len(entry[3]) for entry in entries])
        self._recent_bytes += ENTRY_OVERHEAD_BYTES * len(entries)
        self.last = entries[-1][1]
        assert self.last == self._recent_first + len(self._recent) - 1, "entries leave a gap"

    def compact(self, index: Index) -> None:
        """Drop the entries up to ``index``, which is one of them; its term stays known."""
        self.base_term = self.term(index)
        self.base = index
        if index >= self._recent_first:
            self._forget(index + 1 - self._recent_first)
        self._unwritten = max(self._unwritten, Index(index + 1))

    def _truncate(self, first: Index) -> None:
        """Drop the entries from ``first`` on; what is stored of them goes with the next flush."""
        if first < self._recent_first:
            self._recent_first = first
        kept = first - self._recent_first
        self._recent_bytes -= _size(self._recent[kept:])
        del self._recent[kept:]
        self._unwritten = min(self._unwritten, first)

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

    # -------------------------------------------------------------- writing
    def collect(self, batch: Batch) -> None:
        """Move into ``batch`` what makes the disk hold this log."""
        prefix, put = self.prefix, batch.put
        if self._stored_first <= self.base:
            if self._stored_first <= self._stored:
                end = min(self.base, self._stored) + 1
                batch.delete_range(
                    prefix + self._stored_first.to_bytes(8, "big"), prefix + end.to_bytes(8, "big")
                )
            self._stored_first = Index(self.base + 1)
        for entry in self._recent[self._unwritten - self._recent_first :]:
            key = prefix + entry[1].to_bytes(8, "big")
            put(key, records.seal_entry(key, entry))
        if self.last < self._stored:
            batch.delete_range(
                prefix + (self.last + 1).to_bytes(8, "big"),
                prefix + (self._stored + 1).to_bytes(8, "big"),
            )
        self._stored = self.last
        self._unwritten = Index(self.last + 1)
        self._trim()


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
