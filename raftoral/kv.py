"""Ordered keys and values: what a state machine is allowed to see of a disk.

Owns the small interface and two forms of it: `MemoryKeyValue`, a sorted map for tests, in-memory
nodes and the simulator, and `Overlay`, the transaction in which one `apply` collects its writes.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Reader(Protocol):
    """Read access to ordered keys."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of ``key``, or None."""
        ...

    def scan(
        self, prefix: bytes, start: bytes = b"", *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs whose key begins with ``prefix``, ascending, from ``start`` on.

        ``start`` is a whole key (not relative to the prefix); empty means from the first one.
        With ``reverse`` the order is descending, from ``start`` (inclusive) down. What happens to
        pairs written during the scan is undefined: collect before you write.
        """
        ...


class Transaction(Reader, Protocol):
    """A reader that can also write; it reads its own writes."""

    def put(self, key: bytes, value: bytes) -> None:
        """Set ``key``."""
        ...

    def delete(self, key: bytes) -> None:
        """Remove ``key``; nothing happens if it is absent."""
        ...


class MemoryKeyValue:
    """A sorted map in memory with the interface of a disk."""

    def __init__(self, pairs: Mapping[bytes, bytes] | None = None) -> None:
        self._values: dict[bytes, bytes] = dict(pairs or {})
        self._keys: list[bytes] = sorted(self._values)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of ``key``, or None."""
        return self._values.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Set ``key``."""
        if key not in self._values:
            insort(self._keys, key)
        self._values[key] = value

    def delete(self, key: bytes) -> None:
        """Remove ``key``; nothing happens if it is absent."""
        if self._values.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]

    def scan(
        self, prefix: bytes, start: bytes = b"", *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs under ``prefix``; see `Reader.scan`."""
        low, high = _bounds(prefix, start, reverse=reverse)
        return self.between(low, high, reverse=reverse)

    def between(
        self, low: bytes, high: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs with low <= key < high; None as ``high`` means to the end."""
        keys = _slice(self._keys, low, high)
        for key in reversed(keys) if reverse else keys:
            yield key, self._values[key]

    def items(self) -> dict[bytes, bytes]:
        """Return a copy of everything, for comparison."""
        return dict(self._values)


class Overlay:
    """Writes not yet handed over, on top of a reader.

    `writes` maps each touched key to its new value, None for a deletion; it is for reading only.
    Whoever owns the disk puts them into its batch and then calls `clear`.
    """

    def __init__(self, base: Reader) -> None:
        self._base = base
        self.writes: dict[bytes, bytes | None] = {}
        self._order: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        """Return the value of ``key`` as this transaction sees it."""
        if key in self.writes:
            return self.writes[key]
        return self._base.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Set ``key`` in this transaction."""
        if key not in self.writes:
            insort(self._order, key)
        self.writes[key] = value

    def delete(self, key: bytes) -> None:
        """Remove ``key`` in this transaction."""
        if key not in self.writes:
            insort(self._order, key)
        self.writes[key] = None

    def scan(
        self, prefix: bytes, start: bytes = b"", *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs under ``prefix``, own writes included; see `Reader.scan`."""
        stored = self._base.scan(prefix, start, reverse=reverse)
        low, high = _bounds(prefix, start, reverse=reverse)
        mine = _slice(self._order, low, high)
        if not mine:
            return stored
        if reverse:
            mine.reverse()
        return self._merged(mine, stored, reverse=reverse)

    def _merged(
        self, mine: list[bytes], stored: Iterator[tuple[bytes, bytes]], *, reverse: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        position = 0
        for key, value in stored:
            while position < len(mine) and (
                mine[position] > key if reverse else mine[position] < key
            ):
                written = self.writes[mine[position]]
                if written is not None:
                    yield mine[position], written
                position += 1
            if position < len(mine) and mine[position] == key:
                continue
            yield key, value
        for own in mine[position:]:
            written = self.writes[own]
            if written is not None:
                yield own, written

    def absorb(self, newer: Overlay) -> None:
        """Take over the writes of ``newer``, which is empty afterwards."""
        if self.writes:
            self._order += [key for key in newer._order if key not in self.writes]
            self._order.sort()
            self.writes.update(newer.writes)
        else:
            self.writes, self._order = newer.writes, newer._order
        newer.clear()

    def pour(self, txn: Transaction) -> None:
        """Put the writes into ``txn``."""
        for key, value in self.writes.items():
            if value is None:
                txn.delete(key)
            else:
                txn.put(key, value)

    def clear(self) -> None:
        """Forget the writes, after they were handed over."""
        self.writes = {}
        self._order = []


def _bounds(prefix: bytes, start: bytes, *, reverse: bool) -> tuple[bytes, bytes | None]:
    """Return the first key of a scan and the first one behind it; None if there is no end."""
    end = prefix_end(prefix)
    if not start:
        return prefix, end
    if not reverse:
        return max(prefix, start), end
    behind = start + b"\0"
    return prefix, behind if end is None else min(end, behind)


def _slice(keys: list[bytes], low: bytes, high: bytes | None) -> list[bytes]:
    """Return the sorted ``keys`` with low <= key < high."""
    first = bisect_left(keys, low)
    return keys[first:] if high is None else keys[first : bisect_left(keys, high)]


def prefix_end(prefix: bytes) -> bytes | None:
    """Return the first key behind every key that begins with ``prefix``; None if there is none."""
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return None
    return stripped[:-1] + bytes([stripped[-1] + 1])
