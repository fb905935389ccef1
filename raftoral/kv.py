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
        low = bisect_left(self._keys, prefix)
        end = prefix_end(prefix)
        high = bisect_left(self._keys, end) if end is not None else len(self._keys)
        if start and not reverse:
            low = max(low, bisect_left(self._keys, start))
        elif start:
            high = min(high, bisect_left(self._keys, start + b"\0"))
        keys = self._keys[low:high]
        for key in reversed(keys) if reverse else keys:
            yield key, self._values[key]

    def items(self) -> dict[bytes, bytes]:
        """Return a copy of everything, for comparison."""
        return dict(self._values)


class Overlay:
    """Writes not yet handed over, on top of a reader.

    `writes` maps each touched key to its new value, None for a deletion; whoever owns the disk
    puts them into its batch and then calls `clear`.
    """

    def __init__(self, base: Reader) -> None:
        self._base = base
        self.writes: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        """Return the value of ``key`` as this transaction sees it."""
        if key in self.writes:
            return self.writes[key]
        return self._base.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Set ``key`` in this transaction."""
        self.writes[key] = value

    def delete(self, key: bytes) -> None:
        """Remove ``key`` in this transaction."""
        self.writes[key] = None

    def scan(
        self, prefix: bytes, start: bytes = b"", *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs under ``prefix``, own writes included; see `Reader.scan`."""
        mine = sorted(
            (
                key
                for key in self.writes
                if key.startswith(prefix)
                and (not start or (key <= start if reverse else key >= start))
            ),
            reverse=reverse,
        )
        position = 0
        for key, value in self._base.scan(prefix, start, reverse=reverse):
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

    def clear(self) -> None:
        """Forget the writes, after they were handed over."""
        self.writes = {}


def prefix_end(prefix: bytes) -> bytes | None:
    """Return the first key behind every key that begins with ``prefix``; None if there is none."""
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return None
    return stripped[:-1] + bytes([stripped[-1] + 1])
