"""What travels between Raft cores and what must survive a crash.

Owns the entry, the hard state, the configuration, the snapshot and the one message type of the
protocol, which are also their forms on the wire. Never decides anything: a `Message` that passes
`check` is well formed, not wise. The rule it keeps: nothing a peer sends reaches the core before
the bounds of its every field were checked; the types were by whoever read it.

Source: Raft paper, figure 2; the message types are those of etcd's Raft.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from raftoral.errors import CorruptionError, PeerError
from raftoral.ids import NOBODY, Index, NodeId, Term

NUMBER_MAX: Final = 2**63 - 1
"""The largest term, index or node id; what a signed 64-bit number holds."""

NO_TERM: Final = Term(0)
NO_INDEX: Final = Index(0)
CONTEXT_BYTES_MAX: Final = 1024
MEMBERS_MAX: Final = 1024
"""How many nodes a configuration or a change of one may name."""


# ------------------------------------------------------------------ the log
class EntryKind(IntEnum):
    """Who reads an entry: the state machine or the core."""

    NORMAL = 0
    CONF = 1


class Entry(NamedTuple):
    """One place of the log. ``data`` is opaque to the core unless ``kind`` is CONF.

    A NORMAL entry without data is the first entry of a new leader.
    """

    term: Term
    index: Index  # type: ignore[assignment]  # an entry is a record, nobody searches in it
    kind: EntryKind
    data: bytes


class HardState(NamedTuple):
    """What a node must have stored before anyone may act on what it says."""

    term: Term = NO_TERM
    vote: NodeId = NOBODY
    commit: Index = NO_INDEX


# ------------------------------------------------------------------ membership
@dataclass(frozen=True, slots=True)
class ConfState:
    """Who votes and who learns, as stored beside a snapshot; each tuple is sorted.

    ``voters_outgoing`` is not empty while two configurations are joint; ``learners_next`` become
    learners when the joint one is left, which the leader does by itself if ``auto_leave``.
    """

    voters: tuple[NodeId, ...] = ()
    learners: tuple[NodeId, ...] = ()
    voters_outgoing: tuple[NodeId, ...] = ()
    learners_next: tuple[NodeId, ...] = ()
    auto_leave: bool = False

    def members(self) -> frozenset[NodeId]:
        """Return every node that this configuration sends entries to."""
        return frozenset(self.voters + self.learners + self.voters_outgoing)

    def to_wire(self) -> list[object]:
        """Return the plain form: four lists and 0 or 1."""
        return [
            list(self.voters),
            list(self.learners),
            list(self.voters_outgoing),
            list(self.learners_next),
            int(self.auto_leave),
        ]

    @classmethod
    def from_wire(cls, wire: object) -> ConfState:
        """Return the configuration of a plain form; `PeerError` if it is none."""
        if not isinstance(wire, list) or len(wire) != 5:
            raise PeerError("a configuration is a list of 5")
        return cls(
            _nodes(wire[0]), _nodes(wire[1]), _nodes(wire[2]), _nodes(wire[3]), _flag(wire[4])
        )


class Transition(IntEnum):
    """How a configuration change of several nodes goes through the joint configuration."""

    AUTO = 0
    """A single node: simple step. More: joint, left automatically."""

    IMPLICIT = 1
    """Joint, left automatically."""

    EXPLICIT = 2
    """Joint, left by a further, empty change."""


class ConfOp(IntEnum):
    """What happens to one node."""

    ADD_VOTER = 0
    REMOVE = 1
    UPDATE = 2
    ADD_LEARNER = 3


@dataclass(frozen=True, slots=True)
class ConfChange:
    """Steps to another membership; one without changes leaves a joint configuration.

    ``context`` is for whoever proposed it (an address, say) and travels along.
    """

    changes: tuple[tuple[ConfOp, NodeId], ...] = ()
    transition: Transition = Transition.AUTO
    context: bytes = b""

    @property
    def leaves_joint(self) -> bool:
        """Whether this change ends a joint configuration."""
        return not self.changes and self.transition is Transition.AUTO

    @property
    def enters_joint(self) -> bool:
        """Whether this change needs a joint configuration."""
        return self.transition is not Transition.AUTO or len(self.changes) > 1

    @property
    def auto_leave(self) -> bool:
        """Whether the joint configuration it enters is left by the leader alone."""
        return self.transition is not Transition.EXPLICIT

    def encode(self) -> bytes:
        """Return the data of a CONF entry; empty for a change that only leaves."""
        if self == ConfChange():
            return b""
        parts = [bytes([self.transition]), len(self.changes).to_bytes(2, "big")]
        parts += [bytes([op]) + node.to_bytes(8, "big") for op, node in self.changes]
        return b"".join(parts) + self.context

    @classmethod
    def decode(cls, data: bytes) -> ConfChange:
        """Return the change that `encode` wrote; `CorruptionError` for other bytes."""
        if not data:
            return cls()
        try:
            transition = Transition(data[0])
            end = 3 + 9 * int.from_bytes(data[1:3], "big")
            if len(data) < end:
                raise CorruptionError("a configuration change ends early")
            changes = tuple(
                (ConfOp(data[at]), NodeId(int.from_bytes(data[at + 1 : at + 9], "big")))
                for at in range(3, end, 9)
            )
        except ValueError as error:
            raise CorruptionError(f"these bytes hold no configuration change: {error}") from None
        return cls(changes, transition, data[end:])


# ------------------------------------------------------------------ snapshots
@dataclass(frozen=True, slots=True)
class SnapshotMeta:
    """Which prefix of the log a snapshot stands for: all entries up to ``index``."""

    index: Index
    term: Term
    conf: ConfState


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state behind ``meta.index``; ``data`` is empty where the state travels on its own."""

    meta: SnapshotMeta
    data: bytes = b""


# ------------------------------------------------------------------ messages
class MessageType(IntEnum):
    """What a message asks or answers. The numbers are the wire's; gaps are etcd's local ones."""

    APPEND = 3
    APPEND_RESPONSE = 4
    VOTE = 5
    VOTE_RESPONSE = 6
    SNAPSHOT = 7
    HEARTBEAT = 8
    HEARTBEAT_RESPONSE = 9
    TRANSFER_LEADER = 13
    TIMEOUT_NOW = 14
    READ_INDEX = 15
    READ_INDEX_RESPONSE = 16
    PRE_VOTE = 17
    PRE_VOTE_RESPONSE = 18


class Message(NamedTuple):
    """One message of the protocol; which fields count depends on ``type``.

    ``log_term`` and ``index`` name the entry before ``entries`` (APPEND), the candidate's last
    entry (VOTE), or where two logs last agree (a rejected APPEND_RESPONSE, with ``reject_hint``).
    ``context`` carries a read request through heartbeats and marks a forced election.
    """

    type: MessageType
    to: NodeId
    from_: NodeId
    term: Term = NO_TERM
    log_term: Term = NO_TERM
    index: Index = NO_INDEX  # type: ignore[assignment]  # as in Entry
    commit: Index = NO_INDEX
    entries: tuple[Entry, ...] = ()
    reject: bool = False
    reject_hint: Index = NO_INDEX
    context: bytes = b""
    snapshot: Snapshot | None = None


# ------------------------------------------------------------------ what a peer may send
def check(message: Message) -> None:
    """Raise `PeerError` unless ``message``, whose fields have their types, is well formed.

    Its numbers are within bounds, and its entries follow each other without a gap, right behind
    ``index``. A snapshot does not travel as a message.
    """
    type_, _, _, term, log_term, index, commit, entries, _, hint, context, snapshot = message
    numbers = (term, log_term, index, commit, hint)
    if min(numbers) < 0 or max(numbers) > NUMBER_MAX:
        raise PeerError(f"a term or an index is 0 to 2**63 - 1, not one of {numbers}")
    if term == 0 and type_ is not MessageType.READ_INDEX:
        raise PeerError("only a read request has no term")
    if len(context) > CONTEXT_BYTES_MAX:
        raise PeerError(f"the context of a Raft message is at most {CONTEXT_BYTES_MAX} bytes")
    if snapshot is not None or type_ is MessageType.SNAPSHOT:
        raise PeerError("a snapshot does not travel as a message")
    expected: int = index
    for entry_term, entry_index, _, _ in entries:
        expected += 1
        if entry_index != expected or not 0 < entry_term <= NUMBER_MAX:
            raise PeerError(
                f"entry {entry_index} of term {entry_term} stands behind {expected - 1}"
            )


# ------------------------------------------------------------------ plain forms
def meta_to_wire(meta: SnapshotMeta) -> list[object]:
    """Return ``meta`` as a list of 3."""
    return [meta.index, meta.term, meta.conf.to_wire()]


def meta_from_wire(wire: object) -> SnapshotMeta:
    """Return the meta data of a plain form; `PeerError` if it is none."""
    if type(wire) is not list or len(wire) != 3:
        raise PeerError("the meta data of a snapshot is a list of 3")
    index, term, conf = wire
    return SnapshotMeta(Index(_number(index)), Term(_number(term)), ConfState.from_wire(conf))


def _nodes(wire: object) -> tuple[NodeId, ...]:
    if type(wire) is not list or len(wire) > MEMBERS_MAX:
        raise PeerError(f"the members of a configuration are a list of at most {MEMBERS_MAX}")
    return tuple(sorted({NodeId(_number(node)) for node in wire}))


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value <= NUMBER_MAX:
        raise PeerError(f"a term, an index or a node is 0 to 2**63 - 1, not {value!r:.40}")
    return value


def _flag(value: object) -> bool:
    if type(value) is not int or not 0 <= value <= 1:
        raise PeerError(f"a flag is 0 or 1, not {value!r:.40}")
    return value == 1
