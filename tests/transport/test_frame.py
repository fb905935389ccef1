"""The frame decoder, against whole, cut and hostile bytes."""

from __future__ import annotations

import struct
import zlib
from random import Random

import msgpack
import pytest

from raftoral.errors import LimitExceeded, PeerError
from raftoral.ids import GroupId, Index, NodeId, Term
from raftoral.raft.messages import Entry, EntryKind, Message, MessageType
from raftoral.transport.frame import (
    FRAME_BYTES_MAX,
    Decoder,
    Frame,
    Kind,
    encode,
    fields_of,
    frame_of,
)

APPEND = Message(
    MessageType.APPEND,
    NodeId(2),
    NodeId(1),
    Term(3),
    Term(3),
    Index(9),
    Index(8),
    (Entry(Term(3), Index(10), EntryKind.NORMAL, b"two" * 100),),
)
FRAMES = [
    frame_of(Kind.BEAT, 1_700_000_000_000),
    Frame(Kind.RAFT, GroupId(0), [(GroupId(1), APPEND), (GroupId(2), APPEND)]),
    frame_of(Kind.HELLO, 1, "cluster", 3, "name", 5),
    Frame(Kind.PROPOSE, GroupId(7), [0, 1, 12, [b"", b"x" * 70_000]]),
    frame_of(Kind.REFUSED),
]


def drained(decoder: Decoder) -> list[Frame]:
    """Return every frame that is whole by now."""
    frames = []
    while (frame := decoder.next_frame()) is not None:
        frames.append(frame)
    return frames


def sealed(record: bytes) -> bytes:
    """Return a frame around any bytes."""
    return struct.pack(">II", len(record), zlib.crc32(record)) + record


def test_split_at_every_byte() -> None:
    """Two frames are read the same wherever the stream is cut in two."""
    data = encode(FRAMES[0]) + encode(FRAMES[1])
    for cut in range(len(data) + 1):
        decoder = Decoder()
        decoder.receive(data[:cut])
        frames = drained(decoder)
        decoder.receive(data[cut:])
        assert frames + drained(decoder) == FRAMES[:2]


def test_byte_by_byte() -> None:
    """A stream that arrives one byte at a time gives the same frames."""
    decoder = Decoder()
    frames = []
    for byte in b"".join(map(encode, FRAMES[:3])):
        decoder.receive(bytes([byte]))
        frames += drained(decoder)
    assert frames == FRAMES[:3]


@pytest.mark.parametrize("seed", range(20))
def test_random_cuts(seed: int) -> None:
    """Any cutting of a stream gives the same frames, drained between cuts or not."""
    random = Random(seed)
    expected = random.choices(FRAMES, k=30)
    data = b"".join(map(encode, expected))
    decoder = Decoder()
    frames: list[Frame] = []
    while data:
        size = random.choice([1, 7, 8, 9, 300, 80_000])
        decoder.receive(data[:size])
        data = data[size:]
        if random.random() < 0.7:
            frames += drained(decoder)
    assert frames + drained(decoder) == expected


def test_oversize_is_refused_from_the_header_alone() -> None:
    """A frame above the bound is refused before any of its bytes is kept."""
    decoder = Decoder()
    decoder.receive(struct.pack(">II", FRAME_BYTES_MAX + 1, 0))
    with pytest.raises(PeerError, match="is the most"):
        decoder.next_frame()


def test_largest_frame_passes() -> None:
    """A record of exactly the bound passes, one byte more cannot be encoded."""
    room = FRAME_BYTES_MAX - len(encode(frame_of(Kind.SNAPSHOT, b"x" * 70_000))) + 8 + 70_000
    whole = frame_of(Kind.SNAPSHOT, b"x" * room)
    decoder = Decoder()
    decoder.receive(encode(whole))
    assert decoder.next_frame() == whole
    with pytest.raises(LimitExceeded):
        encode(frame_of(Kind.SNAPSHOT, b"x" * (room + 1)))


def test_every_flipped_bit_is_noticed() -> None:
    """No single flipped bit of a frame gives a frame."""
    data = encode(FRAMES[1])
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        decoder = Decoder()
        decoder.receive(bytes(damaged))
        try:
            assert decoder.next_frame() is None  # a longer length waits for more
        except PeerError:
            continue


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\xc1",
        msgpack.packb("text"),
        msgpack.packb([1, 2]),
        msgpack.packb([1, 2, [], 4]),
        msgpack.packb([99, 0, []]),
        msgpack.packb([-1, 0, []]),
        msgpack.packb([True, 0, []]),
        msgpack.packb(["3", 0, []]),
        msgpack.packb([4, -1, []]),
        msgpack.packb([3, -1, []]),
        msgpack.packb([4, None, []]),
        msgpack.packb([3, None, []]),
        msgpack.packb([4, 0, {}]),
        msgpack.packb([3, 0, {}]),
        msgpack.packb([4, 0, {"a": 1}]),
        msgpack.packb([3, 0, {"a": 1}]),
        msgpack.packb([4, 0, []]) + b"\0",
        msgpack.packb([3, 0, []]) + b"\0",
        msgpack.packb([4, 0, [b"abc"]])[:-1],
        msgpack.packb([3, 0, [b"abc"]])[:-1],
        b"\x93\x04\x00\xdd\xff\xff\xff\xff",
        b"\x93\x03\x00\xdd\xff\xff\xff\xff",
        b"\x91" * 100_000,
        b"\xdc\x00\x03\x03\x00\x90",  # a RAFT frame with a longer head than needed
        msgpack.packb([3, 0, [[1, [3, 2, 1]], [1]]]),
        msgpack.packb([3, 0, [[1, 2]]]),
        msgpack.packb([3, 0, [["1", [3, 2, 1]]]]),
        b"\x93\x04\x00\x91\xa2\xff\xfe",
        b"\x93\x03\x00\x91\xa2\xff\xfe",
        b"\x93\x04\x00\x91\xd4\x01\x00",
        b"\x93\x03\x00\x91\xd4\x01\x00",
    ],
)
def test_hostile_records(record: bytes) -> None:
    """Well-sealed nonsense is a peer's error, and stays one."""
    decoder = Decoder()
    decoder.receive(sealed(record))
    for _ in range(2):
        with pytest.raises(PeerError):
            decoder.next_frame()


def test_frames_before_a_bad_one_are_read() -> None:
    """What came before a bad frame was good and is handed out."""
    decoder = Decoder()
    decoder.receive(encode(FRAMES[0]) + sealed(b"nonsense"))
    assert decoder.next_frame() == FRAMES[0]
    with pytest.raises(PeerError):
        decoder.next_frame()


def test_fields_of() -> None:
    """A body of another shape than the kind's is a peer's error; bool is no int."""
    assert fields_of(frame_of(Kind.BEAT, 5), int) == [5]
    for body in ([], [5, 6], ["5"], [True], [None]):
        with pytest.raises(PeerError, match="BEAT"):
            fields_of(frame_of(Kind.BEAT, *body), int)
