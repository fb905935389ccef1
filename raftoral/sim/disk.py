"""A disk that breaks in every way a disk may, and remembers what it has promised.

Owns `SimDisk`: a `MemoryDisk` that fails, is slow, dies with its process in the middle, loses or
tears what was not synced and flips bits; and beside it `Promised`, what every synced batch said,
kept apart for the checkers. Never rolls dice: whoever simulates says what breaks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftoral.errors import StorageFailed
from raftoral.ids import Index, NodeId, Term
from raftoral.raft.messages import HardState
from raftoral.storage import records
from raftoral.storage.memory import MemoryBatch, MemoryDisk

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.storage.disk import Batch

_PUT, _DELETE, _DELETE_RANGE = range(3)
_SEALED: Final = frozenset({b"A", b"B", b"C", b"H", b"L", b"T"})


class Promised:
    """What one group has on a disk for good: the log, and the hard state."""

    __slots__ = ("base", "hard", "terms")

    def __init__(self) -> None:
        self.base = (Index(0), Term(0))
        self.hard = HardState()
        self.terms: dict[int, int] = {}

    @property
    def last(self) -> Index:
        """The last index that survives a crash."""
        return Index(max(self.terms, default=self.base[0]))

    def holds(self, index: Index, term: Term) -> bool:
        """Whether the entry survives a crash, in the log or inside the machine's state."""
        return index <= self.base[0] or self.terms.get(index) == term

    def put(self, key: bytes, value: bytes) -> None:
        """Take note of one stored record."""
        letter = key[4:5]
        if letter == records.LOG:
            self.terms[int.from_bytes(key[5:], "big")] = int.from_bytes(value[4:12], "big")
        elif letter == records.HARD:
            term, vote, commit = records.unseal(key, value, None)
            self.hard = HardState(Term(term), NodeId(vote), Index(commit))
        elif letter == records.BASE:
            index, term = records.unseal(key, value, None)
            self.base = (Index(index), Term(term))

    def cut(self, low: bytes, high: bytes) -> None:
        """Take note of a range of log keys that is gone."""
        first = int.from_bytes(low[5:13], "big")
        if high[4:5] == records.LOG:
            behind = int.from_bytes(high[5:13], "big")
            for index in range(max(first, min(self.terms, default=0)), behind):
                self.terms.pop(index, None)
        else:
            self.terms = {index: term for index, term in self.terms.items() if index < first}


class SimDisk(MemoryDisk):
    """One node's disk, for all its processes."""

    def __init__(self) -> None:
        super().__init__()
        self.promised: dict[int, Promised] = {}
        self.flipped: dict[bytes, bytes] = {}
        """Damaged keys, with the value that is damaged."""
        self.fails_after_taking = False
        """Whether a failing sync leaves its batch where a crash may or may not keep it."""
        self.failures = 0
        self.on_step: Callable[[str], None] = lambda _what: None
        """Called before and after whatever reaches the disk; it may raise to kill the process."""
        self.on_sync: Callable[[], None] = lambda: None
        self._unsynced_steps: list[list[tuple[int, bytes, bytes]]] = []

    # -------------------------------------------------------------- writing
    def write(self, batch: Batch, *, sync: bool) -> None:
        """Write ``batch``; see `Disk.write`."""
        assert isinstance(batch, MemoryBatch)
        self.on_step("write")
        if self.fails_after_taking:
            self._take(batch)
        try:
            if not self.fails_after_taking:
                self._may_fail()
                self._take(batch)
            elif sync:
                self._may_fail()
        except StorageFailed:
            self.failures += 1
            raise
        self.on_step("written")
        if sync:
            self._synced()

    def sync(self) -> None:
        """Let everything written so far survive a crash."""
        self.on_step("sync")
        try:
            self._may_fail()
        except StorageFailed:
            self.failures += 1
            raise
        self._synced()

    def _take(self, batch: MemoryBatch) -> None:
        failing, self._failing = self._failing, None
        super().write(batch, sync=False)
        self._failing = failing
        self._unsynced_steps.append(batch.steps)

    def _synced(self) -> None:
        self.on_sync()
        self._undo.clear()
        for steps in self._unsynced_steps:
            self._promise(steps)
        self._unsynced_steps.clear()
        self.on_step("synced")

    # -------------------------------------------------------------- damage
    def crash(self, keep: int = 0) -> None:
        """Lose the unsynced batches except the oldest ``keep``."""
        super().crash(keep)
        for steps in self._unsynced_steps[:keep]:
            self._promise(steps)
        self._unsynced_steps.clear()
        self.fails_after_taking = False

    def repair(self) -> None:
        """Let writes work again, if none has failed yet."""
        self._failing = None
        self.fails_after_taking = False

    def flip(self, key: bytes, bit: int) -> None:
        """Damage the value of ``key``."""
        value = bytearray(self.pairs.get(key) or b"")
        value[bit // 8 % len(value)] ^= 1 << bit % 8
        self.pairs.put(key, bytes(value))
        self.flipped[key] = bytes(value)

    def damaged(self) -> list[bytes]:
        """Return the keys that still hold damage."""
        return [key for key, value in self.flipped.items() if self.pairs.get(key) == value]

    def cold_records(self) -> list[bytes]:
        """Return the keys of all log records but each group's newest."""
        found = []
        for gid, promised in self.promised.items():
            prefix = gid.to_bytes(4, "big") + records.LOG
            found += [
                key
                for index in list(promised.terms)[:-1]
                if self.pairs.get(key := prefix + index.to_bytes(8, "big")) is not None
            ]
        return found

    def sealed_records(self) -> list[bytes]:
        """Return the keys of all records with a checksum."""
        return [key for key in self.pairs.items() if key[4:5] in _SEALED and len(key) >= 5]

    # -------------------------------------------------------------- remembering
    def _promise(self, steps: list[tuple[int, bytes, bytes]]) -> None:
        for step, key, value in steps:
            if step == _PUT:
                letter = key[4:5]
                if letter in (records.LOG, records.HARD, records.BASE) and key[:4] != records.NODE:
                    self.group(int.from_bytes(key[:4], "big")).put(key, value)
            elif step == _DELETE_RANGE:
                gid = int.from_bytes(key[:4], "big")
                if len(key) == 4:
                    self.promised.pop(gid, None)
                elif key[4:5] == records.LOG:
                    self.group(gid).cut(key, value)

    def group(self, gid: int) -> Promised:
        """Return what is promised to a group."""
        promised = self.promised.get(gid)
        if promised is None:
            promised = self.promised[gid] = Promised()
        return promised
