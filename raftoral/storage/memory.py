"""A disk in memory: for tests, nodes without a folder, and the simulator.

Owns `MemoryDisk`, which outlives the store on it as a disk outlives a process, and keeps its
promises to the letter: after `crash` every synced batch is there, of the others a prefix, whole
ones. Never rolls dice: the caller says how many unsynced batches survive and which write fails.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Final

from raftoral.errors import StorageFailed
from raftoral.kv import MemoryKeyValue
from raftoral.storage.base import NodeStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from raftoral.storage.disk import Batch

_PUT: Final = 0
_DELETE: Final = 1
_DELETE_RANGE: Final = 2


class MemoryBatch:
    """Writes in the order in which they were added."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, bytes, bytes]] = []

    def put(self, key: bytes, value: bytes) -> None:
        """Set ``key``."""
        self.steps.append((_PUT, key, value))

    def delete(self, key: bytes) -> None:
        """Remove ``key``."""
        self.steps.append((_DELETE, key, b""))

    def delete_range(self, low: bytes, high: bytes) -> None:
        """Remove every key with low <= key < high."""
        self.steps.append((_DELETE_RANGE, low, high))


class MemoryView:
    """Ordered keys in memory."""

    def __init__(self, pairs: MemoryKeyValue) -> None:
        self.pairs = pairs
        """What is stored, synced or not; tests and the simulator may damage it."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of ``key``, or None."""
        return self.pairs.get(key)

    def scan(
        self, low: bytes, high: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs with low <= key < high in key order, or backwards."""
        return iter(list(self.pairs.between(low, high, reverse=reverse)))

    def close(self) -> None:
        """Do nothing: memory stays as it is."""


class MemoryDisk(MemoryView):
    """What would be on a disk. Keep it to open another store on it after a crash."""

    path: str | None = None

    def __init__(self) -> None:
        super().__init__(MemoryKeyValue())
        self._undo: list[list[tuple[bytes, bytes | None]]] = []
        self._failing: str | None = None
        self._writes_left = 0

    @property
    def unsynced(self) -> int:
        """How many batches a crash may take away."""
        return len(self._undo)

    def crash(self, keep: int = 0) -> None:
        """Lose the unsynced batches except the oldest ``keep``; a new store may open now."""
        assert 0 <= keep <= self.unsynced, (keep, self.unsynced)
        while len(self._undo) > keep:
            for key, value in reversed(self._undo.pop()):
                self._replace(key, value)
        self._undo.clear()
        self._failing = None

    def fail(self, reason: str, *, after: int = 0) -> None:
        """Let every write and sync fail, once ``after`` more of them have worked."""
        self._failing, self._writes_left = reason, after

    def batch(self) -> MemoryBatch:
        """Return an empty batch."""
        return MemoryBatch()

    def write(self, batch: Batch, *, sync: bool) -> None:
        """Write ``batch``; see `Disk.write`."""
        assert isinstance(batch, MemoryBatch)
        self._may_fail()
        undo: list[tuple[bytes, bytes | None]] = []
        for step, key, value in batch.steps:
            if step == _DELETE_RANGE:
                for found, _ in self.scan(key, value):
                    undo.append((found, self.pairs.get(found)))
                    self.pairs.delete(found)
            else:
                undo.append((key, self.pairs.get(key)))
                self._replace(key, value if step == _PUT else None)
        self._undo.append(undo)
        if sync:
            self._undo.clear()

    def sync(self) -> None:
        """Let everything written so far survive a crash."""
        self._may_fail()
        self._undo.clear()

    def view(self) -> MemoryView:
        """Return a copy of the present state."""
        return MemoryView(MemoryKeyValue(self.pairs.items()))

    def _replace(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self.pairs.delete(key)
        else:
            self.pairs.put(key, value)

    def _may_fail(self) -> None:
        if self._failing is None:
            return
        if self._writes_left == 0:
            raise StorageFailed(self._failing)
        self._writes_left -= 1


class MemoryNodeStore(NodeStore):
    """A store on a `MemoryDisk`, a new one unless given."""

    def __init__(
        self, disk: MemoryDisk | None = None, *, clock: Callable[[], float] = perf_counter
    ) -> None:
        super().__init__(MemoryDisk() if disk is None else disk, clock=clock)
