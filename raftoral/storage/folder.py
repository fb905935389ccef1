"""The folder of a store: who uses it, and how far it was synced.

Owns two small files beside the database. `lock` is held by one process and holds its pid. `synced`
holds the number of the last synced write, apart from the database: a database that comes back with
fewer writes than that has lost something it had promised to keep. Never touches the database.

The rule `synced` keeps: it is written after a sync, so it never claims too much; it is written to
one of two places in turn, so a torn write leaves the other one; and it is synced itself once a
second and not every time, so it costs no latency. After a power failure it may thus be a second
late and notice that much less; after a mere crash of the process it is exact.

It is written through a memory map: a `pwrite` after each sync took a third as long as the sync
itself with three processes on one disk, because both wait for the file system's journal.

Source: Alagappan et al., "Protocol-Aware Recovery" (FAST 2018), section 3.3, on telling a torn
write from a damaged one by an identifier stored elsewhere.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final
from zlib import crc32

from raftoral.errors import StorageFailed, UsageError
from raftoral.storage.records import corruption

if TYPE_CHECKING:
    from collections.abc import Callable

MARK_SYNC_SECONDS: Final = 1.0

_SLOT_BYTES: Final = 12
_PLACES: Final = (0, 4096)
_MARK_BYTES: Final = _PLACES[-1] + _SLOT_BYTES
_DISK_ERRORS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


class Folder:
    """A folder claimed for this process until `close`."""

    def __init__(self, path: str, *, clock: Callable[[], float] = monotonic) -> None:
        """Claim the folder at ``path``; if only its last part is missing, it is made, for its owner alone.

        Raises `UsageError` if it cannot be used or another process uses it, `CorruptionError` if
        its mark is gone.
        """
        self.path = path
        self.database = str(Path(path) / "db")
        self._clock = clock
        self._mark_due = clock() + MARK_SYNC_SECONDS
        self._turn = 0
        try:
            # Inputs and results of all runs are in it, and the database makes files for everybody.
            Path(path).mkdir(mode=0o700, exist_ok=True)
            self._lock = os.open(Path(path) / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                self._claim()
                self._mark = self._open_mark()
            except BaseException:
                os.close(self._lock)
                raise
        except OSError as error:
            raise _refusal(path, error) from error
        self.synced = self._read_mark()
        """The number of the last write that is known to be synced; 0 for a new folder."""
        self._map = mmap.mmap(self._mark, _MARK_BYTES)

    def mark(self, number: int) -> None:
        """Note that the write ``number`` and all before it are synced; `StorageFailed`."""
        data = number.to_bytes(8, "big")
        self._turn ^= 1
        try:
            place = _PLACES[self._turn]
            self._map[place : place + _SLOT_BYTES] = data + crc32(data).to_bytes(4, "big")
            now = self._clock()
            if now >= self._mark_due:
                os.fdatasync(self._mark)
                self._mark_due = now + MARK_SYNC_SECONDS
        except OSError as error:
            raise StorageFailed(f"cannot write to {self.path}: {error.strerror}") from error
        self.synced = number

    def close(self) -> None:
        """Let go of the folder."""
        self._map.close()
        os.close(self._mark)
        os.close(self._lock)

    def _claim(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(self._lock, 20, 0).decode("ascii", "replace").strip()
            raise UsageError(
                f"the folder {self.path} is in use by process {pid or '(unknown)'}; "
                "stop that process, or give this node a folder of its own"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def _open_mark(self) -> int:
        """Open the mark; make it, synced, before there is a database that could need it."""
        path = Path(self.path) / "synced"
        if path.exists():
            return os.open(path, os.O_RDWR)
        if Path(self.database).exists():
            raise corruption(self.path, "the file `synced` is missing beside the database")
        # Under another name until it is whole: a crash half-way must not look like damage.
        draft = path.with_suffix(".new")
        mark = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        data = bytes(8)
        for place in _PLACES:
            os.pwrite(mark, data + crc32(data).to_bytes(4, "big"), place)
        os.fsync(mark)
        draft.rename(path)
        for folder in (self.path, Path(self.path).parent):
            _sync_folder(folder)
        return mark

    def _read_mark(self) -> int:
        numbers: list[int] = []
        whole = os.fstat(self._mark).st_size >= _MARK_BYTES
        for place in _PLACES if whole else ():
            data = os.pread(self._mark, _SLOT_BYTES, place)
            if len(data) == _SLOT_BYTES and crc32(data[:8]).to_bytes(4, "big") == data[8:]:
                numbers.append(int.from_bytes(data[:8], "big"))
        if numbers:
            return max(numbers)
        os.close(self._mark)
        os.close(self._lock)
        raise corruption(self.path, "the file `synced` is not what was written")


def _sync_folder(path: str | Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _refusal(path: str, error: OSError) -> UsageError | StorageFailed:
    if error.errno in _DISK_ERRORS:
        return StorageFailed(f"cannot write to {path}: {error.strerror}")
    return UsageError(
        f"cannot keep data in {path}: {error.strerror} ({error.filename}); "
        "give a folder that this process may write to, in a folder that exists"
    )
