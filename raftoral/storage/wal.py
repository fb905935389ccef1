"""RocksDB's write-ahead logs, looked at before RocksDB opens them.

Owns one repair. RocksDB 9.8 (rocksdict 0.3.29) never returns from opening a log in which a record,
other than the first, claims one of the types of recycled logs and another log's number: one flipped
bit makes such a type out of the usual one, and so does one torn tail in fifty. We recycle no logs,
so the record is damaged whatever else it says; the log is cut before it, which is where recovery to
a point in time would have stopped. Whether anything synced was lost is judged afterwards, by
`folder`. Never looks into a payload.

Source: RocksDB's wiki, "Write Ahead Log File Format".
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK: Final = 32 * 1024
_HEADER: Final = 7
"""Checksum (4), length (2, little endian), type (1)."""

_RECYCLED: Final = frozenset({5, 6, 7, 8, 11})


def cut_recycled(database: Path) -> None:
    """Cut each log in the folder ``database`` before its first record of a recycled type."""
    for log in sorted(database.glob("*.log")):
        at = recycled_at(log.read_bytes())
        if at is not None:
            os.truncate(log, at)


def recycled_at(data: bytes) -> int | None:
    """Return where the first record of a recycled type begins; None if there is none.

    Behind a damaged length this reads headers where there are none; recovery has stopped before.
    """
    at = 0
    while at + _HEADER <= len(data):
        room = _BLOCK - at % _BLOCK
        if room < _HEADER or not any(data[at : at + _HEADER]):
            at += room  # the rest of a block is unused, or was never written
            continue
        if data[at + 6] in _RECYCLED:
            return at
        at += _HEADER + int.from_bytes(data[at + 4 : at + 6], "little")
    return None
