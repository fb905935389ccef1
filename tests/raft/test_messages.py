"""What travels between cores: the wire form and the encoding of membership changes."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest

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
    from_wire,
    to_wire,
)

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
    Snapshot(SnapshotMeta(Index(7), Term(4), CONF), b"state"),
)
PLACES = ["type", "to", "from", "term", "log_term", "index", "commit", "entries", "reject"]
PLACES += ["hint", "context", "snapshot"]


@pytest.mark.parametrize("type_", list(MessageType))
def test_a_message_survives_the_wire(type_: MessageType) -> None:
    """Every field of every message type comes back as it was sent."""
    assert from_wire(to_wire(FULL._replace(type=type_))) == FULL._replace(type=type_)
    bare = Message(type_, NodeId(1), NodeId(2), Term(1))
    assert from_wire(to_wire(bare)) == bare


def test_the_wire_form_is_plain() -> None:
    """The wire form holds nothing but lists, ints, bytes and None, each of exactly that type."""

    def walk(value: object) -> None:
        assert type(value) in (list, int, bytes, type(None))
        if isinstance(value, list):
            for item in value:
                walk(item)

    walk(to_wire(FULL))


@pytest.mark.parametrize("place", range(len(PLACES)), ids=PLACES)
@pytest.mark.parametrize("bad", ["text", -1, 2**63, 1.5, [[]], {}, [1, 2], True])
def test_a_bad_field_is_a_peer_error(place: int, bad: object) -> None:
    """No field takes a value of another type or beyond its bounds."""
    wire = to_wire(FULL)
    wire[place] = bad
    with pytest.raises(PeerError):
        from_wire(wire)


@pytest.mark.parametrize(
    "entry",
    [
        [4, 8, 0],
        [0, 8, 0, b""],
        [4, 9, 0, b""],
        [4, 8, 2, b""],
        [4, 8, -1, b""],
        [4, 8, 0, "text"],
        [4, 8.0, 0, b""],
        [2**63, 8, 0, b""],
        (4, 8, 0, b""),
        None,
    ],
)
def test_a_bad_entry_is_a_peer_error(entry: object) -> None:
    """An entry must have its form, its bounds, and stand right behind the one before it."""
    wire = to_wire(FULL)
    wire[PLACES.index("entries")] = [entry]
    with pytest.raises(PeerError):
        from_wire(wire)


@pytest.mark.parametrize("wire", [None, b"", [], [1], list(range(13)), "twelve chars"])
def test_what_is_no_message_is_a_peer_error(wire: object) -> None:
    """Anything but a list of twelve is refused."""
    with pytest.raises(PeerError):
        from_wire(wire)


def test_a_context_is_bounded() -> None:
    """A peer cannot make others carry more context than the bound."""
    with pytest.raises(PeerError, match="context"):
        from_wire(to_wire(FULL._replace(context=bytes(CONTEXT_BYTES_MAX + 1))))


def test_only_a_read_request_has_no_term() -> None:
    """A term of 0 would pass as the receiver's own, so only a read request may have it."""
    with pytest.raises(PeerError, match="term"):
        from_wire(to_wire(FULL._replace(term=Term(0))))
    read = Message(MessageType.READ_INDEX, NodeId(1), NodeId(2))
    assert from_wire(to_wire(read)) == read


def test_random_bytes_are_refused_or_read() -> None:
    """Random damage to a wire form gives a message or a `PeerError`, never anything else."""
    random = Random(7)
    junk: list[object] = [0, -5, 2**64, b"x", None, "s", [], [[1, 1, 0, b""]], [1, 2, 3, 4], 1e9]
    for _ in range(2000):
        wire = to_wire(FULL)
        for _ in range(random.randint(1, 3)):
            wire[random.randrange(len(wire))] = random.choice(junk)
        with suppress(PeerError):
            assert isinstance(from_wire(wire), Message)


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
