"""What travels between cores: the wire form and the encoding of membership changes."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any, cast
from zlib import crc32

import pytest

from raftoral.codec import pack_record, unpack_record
from raftoral.errors import CorruptionError, PeerError
from raftoral.ids import Index, NodeId, Term
from raftoral.raft.messages import (
    CONTEXT_BYTES_MAX,
    ConfChange,
    ConfOp,
    ConfState,
    Entry,
    EntryKind,
    Message,
    MessageType,
    Snapshot,
    SnapshotMeta,
    Transition,
    check,
)
from raftoral.transport.frame import Decoder, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

CONF = ConfState((NodeId(1), NodeId(2)), (NodeId(3),), (NodeId(1),), (NodeId(2),), auto_leave=True)
FULL = Message(
    MessageType.APPEND,
    NodeId(2),
    NodeId(1),
    Term(5),
    Term(4),
    Index(7),
    Index(6),
    (
        Entry(Term(4), Index(8), EntryKind.NORMAL, b"a"),
        Entry(Term(5), Index(9), EntryKind.CONF, b""),
    ),
    True,
    Index(3),
    b"context",
)
PLACES = ["type", "to", "from", "term", "log_term", "index", "commit", "entries", "reject"]
PLACES += ["hint", "context", "snapshot"]


def wire_of(message: Message) -> list[Any]:
    """Return the fields that ``message`` has on the wire."""
    return unpack_record(pack_record(message))


def read(wire: Sequence[Any]) -> Message:
    """Return the message of these fields, whatever they are, as a node takes it from a peer."""
    record = pack_record([Kind.RAFT, 0, [[1, wire]]])
    decoder = Decoder()
    decoder.receive(len(record).to_bytes(4, "big") + crc32(record).to_bytes(4, "big") + record)
    frame = decoder.next_frame()
    assert frame is not None
    ((_, message),) = frame.body
    check(message)
    return cast(Message, message)


@pytest.mark.parametrize("type_", [each for each in MessageType if each != MessageType.SNAPSHOT])
def test_a_message_survives_the_wire(type_: MessageType) -> None:
    """Every field of every message type comes back as it was sent, in its own type."""
    message = read(FULL._replace(type=type_))
    assert message == FULL._replace(type=type_)
    assert [type(field) for field in message] == [type(field) for field in FULL]
    assert [type(entry) for entry in message.entries] == [Entry, Entry]
    bare = Message(type_, NodeId(1), NodeId(2), Term(1))
    assert read(bare) == bare


def test_a_snapshot_does_not_travel_as_a_message() -> None:
    """It has a way of its own; neither its type nor its data pass here."""
    with pytest.raises(PeerError, match="snapshot"):
        read(FULL._replace(type=MessageType.SNAPSHOT))
    with pytest.raises(PeerError, match="snapshot"):
        read(FULL._replace(snapshot=Snapshot(SnapshotMeta(Index(7), Term(4), CONF), b"state")))


@pytest.mark.parametrize("place", range(len(PLACES)), ids=PLACES)
@pytest.mark.parametrize("bad", ["text", -1, 2**64 - 1, 1.5, [[]], {}, [1, 2], True])
def test_a_bad_field_is_a_peer_error(place: int, bad: object) -> None:
    """No field takes a value of another type or beyond its bounds."""
    wire = wire_of(FULL)
    wire[place] = 1 if PLACES[place] == "reject" and bad is True else bad
    if PLACES[place] in ("to", "from") and bad in (-1, 2**64 - 1):
        assert read(wire) != FULL  # compared with the ends of the connection
        return
    with pytest.raises(PeerError):
        read(wire)


@pytest.mark.parametrize(
    "entry",
    [
        [4, 8, 0],
        [4, 8, 0, b"", 0],
        [0, 8, 0, b""],
        [4, 9, 0, b""],
        [4, 8, 2, b""],
        [4, 8, -1, b""],
        [4, 8, 0, "text"],
        [4, 8.0, 0, b""],
        [2**63, 8, 0, b""],
        None,
    ],
)
def test_a_bad_entry_is_a_peer_error(entry: object) -> None:
    """An entry must have its form, its bounds, and stand right behind the one before it."""
    wire = wire_of(FULL)
    wire[PLACES.index("entries")] = [entry]
    with pytest.raises(PeerError):
        read(wire)


@pytest.mark.parametrize("wire", [None, b"", [], [1], list(range(13)), "twelve chars"])
def test_what_is_no_message_is_a_peer_error(wire: Any) -> None:
    """Anything but the fields of a message is refused."""
    with pytest.raises(PeerError):
        read(wire)


def test_a_context_is_bounded() -> None:
    """A peer cannot make others carry more context than the bound."""
    with pytest.raises(PeerError, match="context"):
        read(FULL._replace(context=bytes(CONTEXT_BYTES_MAX + 1)))


def test_only_a_read_request_has_no_term() -> None:
    """A term of 0 would pass as the receiver's own, so only a read request may have it."""
    with pytest.raises(PeerError, match="term"):
        read(FULL._replace(term=Term(0)))
    request = Message(MessageType.READ_INDEX, NodeId(1), NodeId(2))
    assert read(request) == request


def test_random_bytes_are_refused_or_read() -> None:
    """Random damage to a wire form gives a message or a `PeerError`, never anything else."""
    random = Random(7)
    junk: list[object] = [0, -5, 2**63, b"x", None, "s", [], [[1, 1, 0, b""]], [1, 2, 3, 4], 1e9]
    for _ in range(2000):
        wire = wire_of(FULL)
        for _ in range(random.randint(1, 3)):
            wire[random.randrange(len(wire))] = random.choice(junk)
        with suppress(PeerError):
            assert isinstance(read(wire), Message)


def test_a_long_list_that_is_not_there_takes_no_memory() -> None:
    """A length that the bytes do not hold is refused before anything is made for it."""
    record = pack_record([Kind.RAFT, 0, []])[:-1] + b"\xdd\xff\xff\xff\xff"
    decoder = Decoder()
    decoder.receive(len(record).to_bytes(4, "big") + crc32(record).to_bytes(4, "big") + record)
    tracemalloc.start()
    with pytest.raises(PeerError):
        decoder.next_frame()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_a_membership_change_survives_its_encoding() -> None:
    """Changes, transition and context come back; a bare one that leaves a joint one is empty."""
    random = Random(3)
    for _ in range(200):
        steps = tuple(
            (random.choice(list(ConfOp)), NodeId(random.getrandbits(63)))
            for _ in range(random.randrange(5))
        )
        change = ConfChange(steps, random.choice(list(Transition)), random.randbytes(4))
        assert ConfChange.decode(change.encode()) == change
    assert ConfChange().encode() == b""
    assert ConfChange.decode(b"") == ConfChange()


@pytest.mark.parametrize("data", [b"\0", b"\0\0\1", b"\7\0\0", b"\0\0\1\x09" + bytes(8)])
def test_damaged_changes_are_corruption(data: bytes) -> None:
    """Bytes that hold no change are named as corruption."""
    with pytest.raises(CorruptionError):
        ConfChange.decode(data)
