"""RocksDB's write-ahead logs: given room while RocksDB writes, looked at before it opens them.

Owns the room behind the end of a log, and where a log must be cut. Never looks into a payload.

Room: a sync that makes a file longer also waits for the file system's journal. With three processes
on one disk (ext4) a synced write took 237 us into a log that grows, 185 us into one that was made
longer beforehand and 167 us where it was also filled with zeros, which writes everything twice. So
the log that is written now is made longer once, to about what it will hold. RocksDB has its own idea
of where the log ends and does not notice.

Two things in a log must not reach RocksDB 9.8 (rocksdict 0.3.29). It never returns from opening one
in which a record, other than the first, claims one of the types of recycled logs and another log's
number: one flipped bit makes such a type out of the usual one, and so does one torn tail in fifty.
We recycle no logs, so the record is damaged whatever else it says. And it takes a header of zeros
for unused room and goes on with the next block: if a crash kept a later block of the room and not
an earlier one, it would go on behind what is missing. Each log is cut before the first of either,
which is where recovery to a point in time has to stop. Whether anything synced was lost is judged
afterwards, by `folder`.

Source: RocksDB's wiki, "Write Ahead Log File Format".
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

ROOM_BYTES: Final = 5 * 1024 * 1024
"""The length of a log with its room: a little more than fits into the memory that it protects."""
LOOK_EVERY_BYTES: Final = 64 * 1024
"""How much is written before it is looked whether RocksDB has begun another log."""

_BLOCK: Final = 32 * 1024
_HEADER: Final = 7
"""Checksum (4), length (2, little endian), type (1)."""

_RECYCLED: Final = frozenset({5, 6, 7, 8, 11})


class Room:
    """Makes the log that RocksDB writes now longer than what it holds."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._newest: Path | None = None
        self._unlooked = 0

    def wrote(self, size: int) -> None:
        """Note that ``size`` bytes were written, in the thread that writes."""
        self._unlooked += size
        if self._unlooked >= LOOK_EVERY_BYTES:
            self._unlooked = 0
            self._make()

    def _make(self) -> None:
        newest = max(self._database.glob("*.log"), key=_number, default=None)
        if newest is None or newest == self._newest or not hasattr(os, "posix_fallocate"):
            return
        self._newest = newest
        # Without room it is only slower; a full disk is told by the write that hits it.
        with suppress(OSError), newest.open("r+b") as log:
            os.posix_fallocate(log.fileno(), 0, ROOM_BYTES)


def _number(log: Path) -> int:
    return int(log.stem)


def cut(database: Path) -> None:
    """Cut each log in the folder ``database`` where its recovery has to stop."""
    for log in sorted(database.glob("*.log")):
        data = log.read_bytes()
        end = end_of(data)
        if end < len(data):
            os.truncate(log, end)


def end_of(data: bytes) -> int:
    """Return where the first record of a recycled type, or the room, begins; else the length.

    Behind a damaged length this reads headers where there are none; recovery has stopped before.
    """
    at = 0
    while at + _HEADER <= len(data):
        left = _BLOCK - at % _BLOCK
        if left < _HEADER:
            at += left  # too little for a header
            continue
        if data[at + 6] in _RECYCLED or not any(data[at : at + _HEADER]):
            return at
        at += _HEADER + int.from_bytes(data[at + 4 : at + 6], "little")
    return len(data)
