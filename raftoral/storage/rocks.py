"""RocksDB as the disk: one database a node, the only door to rocksdict.

Owns the options of the engine and the translation of its errors. Never knows a key. The rule it
keeps: what the engine cannot vouch for is a `CorruptionError`, what it cannot write a
`StorageFailed`, and an iterator that stops early never looks like the end of the data.

Which recovery mode tolerates a torn tail but refuses damage before it was tried by flipping single
bits in, and cutting, a write-ahead log of 20 synced records (RocksDB as of rocksdict 0.3.29):

| mode                 | damaged in the middle              | tail cut short | tail of wrong bytes |
| absolute consistency | refused                            | refused        | refused             |
| tolerate tail        | refused; if it hits the upper byte | accepted       | refused             |
|                      | of a length: cut there, unnoticed  |                |                     |
| point in time        | cut there, unnoticed               | accepted       | accepted            |
| skip any             | cut there, unnoticed               | accepted       | accepted            |

So no mode does it alone: the engine sees one file, in which a length may lie and a torn sector may
hold anything. We take point in time, which accepts every torn tail, and tell a torn tail from a
damaged log by the number of the last synced write, kept beside the database (`folder`): a
database that comes back with fewer writes has lost acknowledged ones and is refused. What no mode
survives, or would jump over, is cut off beforehand (`wal`).
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final, cast
from weakref import WeakSet

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

from raftoral.errors import CorruptionError, RaftoralError, StorageFailed
from raftoral.storage.base import NodeStore
from raftoral.storage.folder import Folder
from raftoral.storage.records import corruption
from raftoral.storage.wal import Room, cut

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from rocksdict import RdictIter, Snapshot

    from raftoral.storage.disk import Batch

_MIB: Final = 1024 * 1024
WRITE_BUFFER_BYTES: Final = 4 * _MIB
BLOCK_CACHE_BYTES: Final = 4 * _MIB
WAL_BYTES_MAX: Final = 16 * _MIB
OPEN_FILES_MAX: Final = 128


class RocksDisk:
    """A RocksDB database in the folder ``path``, claimed for this process."""

    def __init__(self, path: str) -> None:
        """Open or make it.

        Raises `UsageError` if the folder cannot be used or is in use, `CorruptionError` if data
        is damaged or missing, `StorageFailed` if the disk refuses.
        """
        self.path: str | None = path
        self._folder = Folder(path)
        try:
            self._db = _open(self._folder)
        except BaseException:
            self._folder.close()
            raise
        self._views: WeakSet[RocksView] = WeakSet()
        self._room = Room(Path(self._folder.database))
        self._plain = WriteOptions()
        self._synced = WriteOptions()
        self._synced.sync = True

    def get(self, key: bytes) -> bytes | None:
        """Return the value of ``key``, or None."""
        try:
            return cast("bytes | None", self._db.get(key))
        except Exception as error:
            raise _translated(self._folder.path, error) from error

    def scan(
        self, low: bytes, high: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs with low <= key < high in key order, or backwards."""
        return _scan(self._folder.path, self._db, low, high, reverse=reverse)

    def batch(self) -> WriteBatch:
        """Return an empty batch."""
        return WriteBatch(raw_mode=True)

    def write(self, batch: Batch, *, sync: bool) -> None:
        """Write ``batch``; with ``sync`` it and all before it are on the disk on return."""
        assert isinstance(batch, WriteBatch)
        size = batch.size_in_bytes()
        try:
            self._db.write(batch, self._synced if sync else self._plain)
        except Exception as error:
            raise StorageFailed(f"cannot write to {self.path}: {error}") from error
        if sync:
            self._folder.mark(self._db.latest_sequence_number())
        self._room.wrote(size)

    def sync(self) -> None:
        """Return after everything written is on the disk."""
        try:
            self._db.flush_wal(sync=True)
        except Exception as error:
            raise StorageFailed(f"cannot sync {self.path}: {error}") from error
        self._folder.mark(self._db.latest_sequence_number())

    def view(self) -> RocksView:
        """Return the present state; while it lives, what is overwritten keeps its disk space."""
        view = RocksView(self._folder.path, self._db.snapshot())
        self._views.add(view)
        return view

    def close(self) -> None:
        """Let go of database and folder; views end with it."""
        # Whoever still holds a view would keep the database open and locked.
        for view in list(self._views):
            view.close()
        try:
            self._db.close()
        except Exception as error:
            raise StorageFailed(f"cannot close {self.path}: {error}") from error
        finally:
            self._folder.close()


class RocksView:
    """A RocksDB snapshot."""

    def __init__(self, path: str, snapshot: Snapshot) -> None:
        self._path = path
        self._snapshot: Snapshot | None = snapshot
        self._scans: WeakSet[Generator[tuple[bytes, bytes]]] = WeakSet()

    def get(self, key: bytes) -> bytes | None:
        """Return the value of ``key``, or None."""
        try:
            return cast("bytes", self._open()[key])
        except KeyError:
            return None
        except RaftoralError:
            raise
        except Exception as error:
            raise _translated(self._path, error) from error

    def scan(
        self, low: bytes, high: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs with low <= key < high in key order, or backwards."""
        pairs = _scan(self._path, self._open(), low, high, reverse=reverse)
        self._scans.add(pairs)
        yield from pairs
        # A scan that `close` ended must not look complete.
        self._open()

    def close(self) -> None:
        """Let go of the snapshot; a scan under way fails."""
        self._snapshot = None
        for pairs in list(self._scans):
            pairs.close()

    def _open(self) -> Snapshot:
        if self._snapshot is None:
            raise StorageFailed("the view was closed while it was read")
        return self._snapshot


class RocksNodeStore(NodeStore):
    """A store in a folder, which is made if only its last part is missing."""

    def __init__(self, path: str | Path, *, clock: Callable[[], float] = perf_counter) -> None:
        """Open or make it; see `RocksDisk` and `NodeStore` for the errors."""
        disk = RocksDisk(str(path))
        try:
            super().__init__(disk, clock=clock)
        except BaseException:
            disk.close()
            raise


def _scan(
    path: str, source: Rdict | Snapshot, low: bytes, high: bytes, *, reverse: bool
) -> Generator[tuple[bytes, bytes]]:
    # No lower bound is set: in rocksdict 0.3.29 that call sets the upper one.
    bounds = ReadOptions()
    bounds.set_iterate_upper_bound(high)
    try:
        pairs: RdictIter = source.iter(bounds)
        if reverse:
            pairs.seek_to_last()
            while (key := pairs.key()) is not None and key >= low:
                yield key, pairs.value()
                pairs.prev()
        else:
            pairs.seek(low)
            while (key := pairs.key()) is not None:
                yield key, pairs.value()
                pairs.next()
        # An iterator ends in the same way at the last key and at a block it cannot read.
        pairs.status()
    except RaftoralError:
        raise
    except Exception as error:
        raise _translated(path, error) from error


def _open(folder: Folder) -> Rdict:
    try:
        cut(Path(folder.database))
        database = Rdict(folder.database, _options(create=folder.synced == 0))
    except Exception as error:
        raise _translated(folder.path, error) from error
    found = database.latest_sequence_number()
    if found < folder.synced:
        database.close()
        raise corruption(
            folder.path,
            f"the database holds the writes up to number {found}, but those up to "
            f"{folder.synced} were synced",
        )
    return database


def _options(*, create: bool) -> Options:
    """Return options for a small database beside an application: little memory, few files."""
    options = Options(raw_mode=True)
    options.create_if_missing(create)
    options.set_wal_recovery_mode(DBRecoveryMode.point_in_time())
    options.set_paranoid_checks(True)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(3)
    options.set_max_total_wal_size(WAL_BYTES_MAX)
    options.set_allow_concurrent_memtable_write(False)  # there is one writer
    options.set_compression_type(DBCompressionType.lz4())
    options.set_max_background_jobs(2)
    options.set_avoid_unnecessary_blocking_io(True)
    options.set_max_open_files(OPEN_FILES_MAX)
    options.set_max_manifest_file_size(4 * _MIB)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(_MIB)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    table = BlockBasedOptions()
    table.set_block_cache(Cache(BLOCK_CACHE_BYTES))
    table.set_bloom_filter(10, block_based=False)
    options.set_block_based_table_factory(table)
    return options


def _translated(path: str, error: Exception) -> CorruptionError | StorageFailed:
    """Return our error for one of RocksDB, which are told apart by the status they begin with."""
    text = str(error)
    missing = "No such file" in text or "does not exist" in text
    if missing or text.startswith("Corruption"):
        return corruption(path, f"the database says: {text}")
    return StorageFailed(f"cannot read {path}: {text}")
