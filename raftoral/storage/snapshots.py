"""A group's machine range as a stream of chunks, out of one store and into another.

Owns the stream and the staging of an import. The rules it keeps: an export is one consistent view,
whatever is written meanwhile; an import touches the group only after the whole stream was read back
from the disk, matched its digest and parsed; from its mark on, an import is always finished, by the
next open if need be.

The stream is one format byte, then per pair key length (4), value length (4), key, value, in key
order. It is cut into chunks without regard to pairs, so equal machines give equal chunks.

Source: Raft paper, section 7.
"""

from __future__ import annotations

from hashlib import sha256
from struct import Struct
from typing import TYPE_CHECKING, Final, Protocol

from raftoral.errors import LimitExceeded, PeerError, UsageError
from raftoral.storage.records import letter_end, seal_bytes, unseal_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from raftoral.raft.messages import SnapshotMeta
    from raftoral.storage.disk import Batch, Disk, View

CHUNK_BYTES_MAX: Final = 256 * 1024
BATCH_BYTES: Final = 1024 * 1024
"""About how much of an import is written at a time."""

_FORMAT: Final = 1
_LENGTHS: Final = Struct(">II")


class Writer(Protocol):
    """How a batch reaches the disk: `NodeStore.write`."""

    def __call__(self, batch: Batch, *, sync: bool) -> None:
        """Write ``batch``."""
        ...


class SnapshotExport:
    """The machine of a group at ``meta``, as chunks; close it when done, it holds disk space."""

    def __init__(self, view: View, machine: bytes, meta: SnapshotMeta) -> None:
        self.meta = meta
        self._view: View | None = view
        self._machine = machine
        self._hash = sha256()

    def __iter__(self) -> Iterator[bytes]:
        """Yield chunks of 1 to 256 KiB. A second iteration begins anew."""
        assert self._view is not None, "the export is closed"
        self._hash = sha256()
        for chunk in chunked(self._view.scan(self._machine, letter_end(self._machine)), 5):
            self._hash.update(chunk)
            yield chunk

    @property
    def digest(self) -> bytes:
        """The sha256 over the chunks yielded so far; that of the snapshot after the last one."""
        return self._hash.digest()

    def close(self) -> None:
        """Let go of the view; twice does no harm."""
        if self._view is not None:
            self._view.close()
            self._view = None


class SnapshotImport:
    """Chunks on their way in; nothing of the group changes before `finish` returns True."""

    def __init__(
        self,
        meta: SnapshotMeta,
        disk: Disk,
        write: Writer,
        staged: bytes,
        install: Callable[[SnapshotMeta, int], bool],
    ) -> None:
        self.meta = meta
        self._disk = disk
        self._write = write
        self._staged = staged
        self._install = install
        self._count = 0
        self._open = True
        self._clear()

    @property
    def chunks(self) -> int:
        """How many chunks were added, which is the number of the next one."""
        return self._count

    def add(self, chunk: bytes) -> None:
        """Stage the next chunk.

        Raises `LimitExceeded` above 256 KiB, `UsageError` after the end, `StorageFailed`.
        """
        self._check_open()
        if len(chunk) > CHUNK_BYTES_MAX:
            raise LimitExceeded(
                f"a chunk of {len(chunk):,} bytes; at most {CHUNK_BYTES_MAX:,} are taken"
            )
        key = self._staged + self._count.to_bytes(4, "big")
        batch = self._disk.batch()
        batch.put(key, seal_bytes(key, chunk))
        self._write(batch, sync=False)
        self._count += 1

    def finish(self, digest: bytes) -> bool:
        """Replace machine, log and configuration of the group by the snapshot, synced.

        ``digest`` is the sender's sha256 over all chunks. False, with nothing changed, if the
        group does not need the snapshot: its log holds the entry ``meta`` names, or has applied
        more. Raises `PeerError`, with nothing changed, if the stream is not what was sent.
        """
        self._check_open()
        self._open = False
        try:
            self._verify(digest)
        except PeerError:
            self._clear()
            raise
        if self._install(self.meta, self._count):
            return True
        self._clear()
        return False

    def abort(self) -> None:
        """Drop what was staged; after the end this does nothing."""
        if self._open:
            self._open = False
            self._clear()

    def _verify(self, digest: bytes) -> None:
        running = sha256()
        chunks = 0

        def hashed() -> Iterator[bytes]:
            nonlocal chunks
            for chunk in staged_chunks(self._disk, self._staged):
                running.update(chunk)
                chunks += 1
                yield chunk

        previous: bytes | None = None
        for key, _ in pairs_of(hashed()):
            if previous is not None and key <= previous:
                raise PeerError("a snapshot's keys are not in order")
            previous = key
        if chunks != self._count or running.digest() != digest:
            raise PeerError("a snapshot arrived with another digest than it was sent with")

    def _check_open(self) -> None:
        if not self._open:
            raise UsageError("this import has ended or was replaced by a newer one; begin again")

    def _clear(self) -> None:
        batch = self._disk.batch()
        batch.delete_range(self._staged, letter_end(self._staged))
        self._write(batch, sync=False)


def staged_chunks(view: View, staged: bytes) -> Iterator[bytes]:
    """Yield the chunks that an import has staged, in order, each checked."""
    for key, data in view.scan(staged, letter_end(staged)):
        yield unseal_bytes(key, data, None)


def chunked(pairs: Iterable[tuple[bytes, bytes]], skip: int) -> Iterator[bytes]:
    """Yield the stream of ``pairs`` in chunks, the first ``skip`` bytes of each key left out."""
    buffer = bytearray([_FORMAT])
    for key, value in pairs:
        buffer += _LENGTHS.pack(len(key) - skip, len(value))
        buffer += key[skip:]
        buffer += value
        while len(buffer) >= CHUNK_BYTES_MAX:
            yield bytes(buffer[:CHUNK_BYTES_MAX])
            del buffer[:CHUNK_BYTES_MAX]
    if buffer:
        yield bytes(buffer)


def pairs_of(chunks: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the pairs of a stream; `PeerError` if it is none or ends early."""
    buffer = bytearray()
    started = False
    for chunk in chunks:
        buffer += chunk
        if not started and buffer:
            if buffer[0] != _FORMAT:
                raise PeerError(f"a snapshot of format {buffer[0]}; this version reads {_FORMAT}")
            del buffer[0]
            started = True
        at = 0
        while len(buffer) - at >= _LENGTHS.size:
            key_length, value_length = _LENGTHS.unpack_from(buffer, at)
            key_at = at + _LENGTHS.size
            end = key_at + key_length + value_length
            if end > len(buffer):
                break
            yield (
                bytes(buffer[key_at : key_at + key_length]),
                bytes(buffer[end - value_length : end]),
            )
            at = end
        del buffer[:at]
    if buffer or not started:
        raise PeerError("a snapshot ends in the middle")


def install_pairs(disk: Disk, write: Writer, machine: bytes, staged: bytes, chunks: int) -> Batch:
    """Replace the ``machine`` range by the staged pairs; the last batch is returned unwritten.

    Doing it again gives the same. Raises `CorruptionError` unless all ``chunks`` are there.
    """
    batch = disk.batch()
    batch.delete_range(machine, letter_end(machine))
    size = 0
    for key, value in pairs_of(staged_chunks(disk, staged)):
        batch.put(machine + key, value)
        size += len(key) + len(value)
        if size >= BATCH_BYTES:
            write(batch, sync=False)
            batch, size = disk.batch(), 0
    return batch
