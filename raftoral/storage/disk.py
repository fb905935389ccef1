"""What a key-value engine must offer so that the stores of this package can live on it.

Owns nothing but three small protocols. The promises they name are the whole difference between
memory and RocksDB; everything above them (`base`, `group`, `log`) is written once. Never knows a
group or a log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Batch(Protocol):
    """Writes that happen together or not at all, in the order in which they were added."""

    def put(self, key: bytes, value: bytes) -> None:
        """Set ``key``."""
        ...

    def delete(self, key: bytes) -> None:
        """Remove ``key``; nothing happens if it is absent."""
        ...

    def delete_range(self, low: bytes, high: bytes) -> None:
        """Remove every key with low <= key < high."""
        ...


class View(Protocol):
    """Ordered keys to read. Damage that the engine notices is a `CorruptionError`."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of ``key``, or None."""
        ...

    def scan(
        self, low: bytes, high: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs with low <= key < high in key order, or backwards.

        It sees the keys as they were when it began.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds; what was written survives unless the machine fails."""
        ...


class Disk(View, Protocol):
    """One engine, opened by one process. What was written is readable at once."""

    @property
    def path(self) -> str | None:
        """The folder, or None where nothing outlives the process."""
        ...

    def batch(self) -> Batch:
        """Return an empty batch for `write`."""
        ...

    def write(self, batch: Batch, *, sync: bool) -> None:
        """Write ``batch``; with ``sync`` it and all before it are on the disk on return.

        After a crash a prefix of the batches is there, whole ones, and no synced one is missing.
        Raises `StorageFailed` if anything went wrong; what is stored is then unknown.
        """
        ...

    def sync(self) -> None:
        """Return after everything written is on the disk; `StorageFailed` if it may not be."""
        ...

    def view(self) -> View:
        """Return the present state as a view that later writes do not change."""
        ...
