"""A group's machine range as a stream of chunks, out of one store and into another.

Owns the stream and the way in. The rules it keeps: an export is one consistent view, whatever is
written meanwhile; an import writes beside the group, chunk by chunk as they come, and the group
changes only after the whole stream parsed and matched its digest, in one batch.

The stream is one format byte, then per pair key length (4), value length (4), key, value, in key
order. It is cut into chunks without regard to pairs, so equal machines give equal chunks.

Source: Raft paper, section 7.
"""

from __future__ import annotations

from hashlib import sha256
from struct import Struct
from typing import TYPE_CHECKING, Final, Protocol

from raftoral.errors import LimitExceeded, PeerError, UsageError
from raftoral.storage.records import letter_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from raftoral.raft.messages import SnapshotMeta
    from raftoral.storage.disk import Batch, Disk, View

CHUNK_BYTES_MAX: Final = 256 * 1024
PAIR_BYTES_MAX: Final = 64 * 1024 * 1024
"""The largest pair that is taken; it bounds what an import holds in memory."""

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
        spare: bytes,
        install: Callable[[SnapshotMeta], bool],
    ) -> None:
        """The pairs go to ``spare``; ``install`` makes that the group's, if it needs it."""
        self.meta = meta
        self._disk = disk
        self._write = write
        self._spare = spare
        self._install = install
        self._pairs = Pairs()
        self._hash = sha256()
        self._count = 0
        self._open = True
        self._clear()

    @property
    def chunks(self) -> int:
        """How many chunks were added, which is the number of the next one."""
        return self._count

    def add(self, chunk: bytes) -> None:
        """Store the pairs that the next chunk completes.

        Raises `LimitExceeded` above 256 KiB, `PeerError` for what is no part of such a stream,
        `UsageError` after the end, `StorageFailed`.
        """
        self._check_open()
        if len(chunk) > CHUNK_BYTES_MAX:
            raise LimitExceeded(
                f"a chunk of {len(chunk):,} bytes; at most {CHUNK_BYTES_MAX:,} are taken"
            )
        batch = self._disk.batch()
        put, spare = batch.put, self._spare
        for key, value in self._pairs.take(chunk):
            put(spare + key, value)
        self._write(batch, sync=False)
        self._hash.update(chunk)
        self._count += 1

    def finish(self, digest: bytes) -> bool:
        """Replace machine, log and configuration of the group by the snapshot, synced.

        It takes one small write, whatever the size of the machine. ``digest`` is the sender's
        sha256 over all chunks. False, with nothing changed, if the group does not need the
        snapshot: its log holds the entry ``meta`` names, or has applied more. Raises `PeerError`,
        with nothing changed, if the stream is not what was sent.
        """
        self._check_open()
        try:
            self._check_stream(digest)
        except PeerError:
            self.abort()
            raise
        self._open = False
        if self._install(self.meta):
            return True
        self._clear()
        return False

    def abort(self) -> None:
        """Drop what came so far; after the end this does nothing."""
        if self._open:
            self._open = False
            self._clear()

    def _check_stream(self, digest: bytes) -> None:
        self._pairs.check_end()
        if self._hash.digest() != digest:
            raise PeerError("a snapshot arrived with another digest than it was sent with")

    def _check_open(self) -> None:
        if not self._open:
            raise UsageError("this import has ended or was replaced by a newer one; begin again")

    def _clear(self) -> None:
        batch = self._disk.batch()
        batch.delete_range(self._spare, letter_end(self._spare))
        self._write(batch, sync=False)


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


class Pairs:
    """Cuts a stream of chunks into pairs; keeps at most one unfinished pair."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._started = False
        self._previous: bytes | None = None

    def take(self, chunk: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs that ``chunk`` completes; `PeerError` if this is no such stream."""
        buffer = self._buffer
        buffer += chunk
        at = 0
        if not self._started and buffer:
            if buffer[0] != _FORMAT:
                raise PeerError(f"a snapshot of format {buffer[0]}; this version reads {_FORMAT}")
            self._started = True
            at = 1
        while len(buffer) - at >= _LENGTHS.size:
            key_length, value_length = _LENGTHS.unpack_from(buffer, at)
            if key_length + value_length > PAIR_BYTES_MAX:
                raise PeerError(f"a snapshot with a pair of {key_length + value_length:,} bytes")
            key_at = at + _LENGTHS.size
            value_at = key_at + key_length
            end = value_at + value_length
            if end > len(buffer):
                break
            key = bytes(buffer[key_at:value_at])
            if self._previous is not None and key <= self._previous:
                raise PeerError("a snapshot's keys are not in order")
            self._previous = key
            yield key, bytes(buffer[value_at:end])
            at = end
        del buffer[:at]

    def check_end(self) -> None:
        """Raise `PeerError` unless the stream may end here."""
        if self._buffer or not self._started:
            raise PeerError("a snapshot ends in the middle")
