"""Bytes to frames and back, without I/O.

Owns the shape of everything that travels between nodes: length (u32), crc32 (u32), one record
``[kind, group, body]``. Never reads a socket or a clock. The rule it keeps: a bound is checked
before the bytes behind it are kept or parsed, and whatever is wrong is a `PeerError`, never another
exception. Cluster and sender are not in a frame: the handshake of the connection fixed them.
The shape of this module (feed bytes, ask for the next event) follows h11.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Any, Final, NamedTuple
from zlib import crc32

from raftoral.codec import UNREADABLE, pack_record, record_reader, unpack_record
from raftoral.errors import CorruptionError, LimitExceeded, PeerError
from raftoral.ids import MANAGEMENT, GroupId
from raftoral.raft.messages import Message  # noqa: TC001  # read at run time, for its fields

FRAME_BYTES_MAX: Final = 1024 * 1024
"""Largest record of a frame, without its 8 bytes of header."""

PROTOCOL_VERSION: Final = 1

_HEADER: Final = Struct(">II")
_HEADER_BYTES: Final = _HEADER.size


class Kind(IntEnum):
    """What a frame carries; the body's fields stand beside each."""

    HELLO = 0  # protocol version, cluster, node, name, wall clock in ms
    REFUSED = 1  # why, in words
    BEAT = 2  # wall clock in ms
    RAFT = 3  # (group, message), (group, message), ...
    PROPOSE = 4  # entry kind, wants result, first proposal id, [command, ...]
    PROPOSED = 5  # first proposal id, taken, refused, first index, term, error code, leader, why
    APPLIED = 6  # proposal id, answer, proposal id, answer, ...
    REQUEST = 7  # request id, method, value
    REPLY = 8  # request id, value or None, error
    SNAPSHOT = 9  # transfer id, part number, kind of part, bytes
    SNAPSHOT_ACK = 10  # transfer id, parts taken, verdict
    BULK = 11  # as HELLO, on a connection for SNAPSHOT frames alone


_KINDS: Final = tuple(Kind)


class Frame(NamedTuple):
    """One message between two nodes; ``body`` holds ints, texts, bytes, None and lists of them.

    That of a RAFT frame holds pairs of a group and a `Message`.
    """

    kind: Kind
    group: GroupId
    body: list[Any]


class _RaftFrame(NamedTuple):
    """A RAFT frame as it is read: the types of all fields of all messages are checked at once."""

    kind: Kind
    group: GroupId
    body: list[tuple[GroupId, Message]]


_read_raft: Final = record_reader(_RaftFrame)
_RAFT_HEAD: Final = bytes([0x93, Kind.RAFT])
"""How the record of a RAFT frame begins: a list of three, and the kind."""


def frame_of(kind: Kind, *body: object) -> Frame:
    """Return a frame that belongs to the connection rather than to a group."""
    return Frame(kind, MANAGEMENT, list(body))


def encode(frame: Frame) -> bytes:
    """Return the bytes of one frame; `LimitExceeded` if its record is larger than 1 MiB."""
    record = pack_record(frame)
    if len(record) > FRAME_BYTES_MAX:
        raise LimitExceeded(
            f"a {frame.kind.name} frame of {len(record):,} bytes; a frame may take "
            f"{FRAME_BYTES_MAX:,}"
        )
    return _HEADER.pack(len(record), crc32(record)) + record


class Decoder:
    """Cuts the bytes of one connection into frames; keeps at most one unfinished frame.

    After a `PeerError` the connection is beyond repair: every further call raises it again.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0
        self._later: list[bytes] = []
        self._missing = 0  # bytes that `_later` still lacks before joining is worth it
        self._broken: PeerError | None = None

    def receive(self, data: bytes) -> None:
        """Take in what the connection delivered."""
        if self._at == len(self._buffer) and not self._later:
            self._buffer, self._at, self._missing = data, 0, 0
            return
        # Joined only once a whole frame is there: a frame sent byte by byte stays linear work.
        self._later.append(data)
        self._missing -= len(data)
        if self._missing <= 0:
            self._buffer = b"".join((self._buffer[self._at :], *self._later))
            self._at = 0
            self._later = []

    def next_frame(self) -> Frame | None:
        """Return the next whole frame, or None until more bytes are received."""
        if self._broken is not None:
            raise self._broken
        if self._later:
            return None
        buffer, at = self._buffer, self._at
        if len(buffer) - at < _HEADER_BYTES:
            self._missing = _HEADER_BYTES - len(buffer) + at
            return None
        length, checksum = _HEADER.unpack_from(buffer, at)
        if length > FRAME_BYTES_MAX:
            raise self._break(f"a frame of {length:,} bytes; {FRAME_BYTES_MAX:,} is the most")
        start = at + _HEADER_BYTES
        end = start + length
        if end > len(buffer):
            self._missing = end - len(buffer)
            return None
        record = memoryview(buffer)[start:end]
        if crc32(record) != checksum:
            raise self._break("a frame whose checksum does not fit")
        self._at = end
        if not buffer.startswith(_RAFT_HEAD, start):
            return self._frame(record)
        try:
            frame: Frame = _read_raft(record)
        except UNREADABLE as error:
            raise self._break(f"a RAFT frame that is none: {error}") from None
        if frame.group != MANAGEMENT:
            raise self._break("a RAFT frame of one group")
        return frame

    def _frame(self, record: memoryview) -> Frame:
        try:
            fields = unpack_record(record)
        except CorruptionError as error:
            raise self._break(str(error)) from None
        if len(fields) != 3:
            raise self._break(f"a frame of {len(fields)} fields instead of 3")
        kind, group, body = fields
        if type(kind) is not int or not 0 <= kind < len(_KINDS) or kind == Kind.RAFT:
            raise self._break(f"a frame of the unknown kind {kind!r:.40}")
        if type(group) is not int or group < 0 or type(body) is not list:
            raise self._break(f"a {_KINDS[kind].name} frame with fields of the wrong types")
        return Frame(_KINDS[kind], GroupId(group), body)

    def _break(self, why: str) -> PeerError:
        self._broken = PeerError(f"the peer sent {why}")
        return self._broken


def fields_of(frame: Frame, *kinds: type) -> list[Any]:
    """Return the body, whose fields have exactly these types; `PeerError` if they have not.

    ``object`` stands for any type.
    """
    body = frame.body
    if len(body) != len(kinds) or any(
        kind is not object and type(field) is not kind
        for field, kind in zip(body, kinds, strict=True)
    ):
        raise PeerError(f"the peer sent a {frame.kind.name} frame with a body of another shape")
    return body
