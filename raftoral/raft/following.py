"""What a follower does with its leader's messages.

Owns the follower's side of replication, snapshots, transfer and reads. The rule it keeps: the log
changes only behind `committed`, and an answer never claims more than was taken.

Source: Raft paper, sections 5.3 and 7; thesis sections 3.10 and 6.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.errors import PeerError
from raftoral.ids import Index
from raftoral.raft import elections
from raftoral.raft.config import OnRemoval
from raftoral.raft.membership import Change, Membership
from raftoral.raft.messages import NO_INDEX, MessageType
from raftoral.raft.reads import ReadState

if TYPE_CHECKING:
    from raftoral.raft.core import Core
    from raftoral.raft.messages import Message, Snapshot


def step_follower(core: Core, message: Message) -> None:
    """Take a message as follower, of the own term."""
    match message.type:
        case MessageType.APPEND:
            _hear(core, message)
            on_append(core, message)
        case MessageType.HEARTBEAT:
            _hear(core, message)
            core.log.commit_to(message.commit)
            # Only a leader that was removed and still leads wants to know who has heard of it.
            hand_over = core.config.on_removal is OnRemoval.HAND_OVER
            core.send(
                MessageType.HEARTBEAT_RESPONSE,
                message.from_,
                commit=core.log.committed if hand_over else NO_INDEX,
                context=message.context,
            )
        case MessageType.SNAPSHOT:
            _hear(core, message)
            on_snapshot(core, message)
        case MessageType.TIMEOUT_NOW:
            # No pre-vote: the leader asked for it, so nobody is disturbed.
            elections.hup(core, elections.Campaign.TRANSFER)
        case MessageType.READ_INDEX_RESPONSE:
            core.read_states.append(ReadState(message.index, message.context))
        case _:
            pass  # A late answer, or a request for a leader; who asked asks again.


def _hear(core: Core, message: Message) -> None:
    core.election_elapsed = 0
    core.leader = message.from_


def on_append(core: Core, message: Message) -> None:
    """Take the entries if they fit, else say where the logs may agree."""
    log = core.log
    if message.index < log.committed:
        core.send(MessageType.APPEND_RESPONSE, message.from_, index=log.committed)
        return
    last_new = log.maybe_append(message.index, message.log_term, message.entries, message.commit)
    if last_new is not None:
        core.send(MessageType.APPEND_RESPONSE, message.from_, index=last_new)
        return
    # The leader has no higher term than log_term up to there, so skip ours that are higher.
    hint, term = log.find_conflict_by_term(Index(min(message.index, log.last)), message.log_term)
    core.send(
        MessageType.APPEND_RESPONSE,
        message.from_,
        index=message.index,
        reject=True,
        reject_hint=hint,
        log_term=term,
    )


def on_snapshot(core: Core, message: Message) -> None:
    """Take the snapshot if it is news, and say how far the log reaches now."""
    if message.snapshot is None:
        raise PeerError("a SNAPSHOT message carries a snapshot")
    restored = restore(core, message.snapshot)
    index = core.log.last if restored else core.log.committed
    core.send(MessageType.APPEND_RESPONSE, message.from_, index=index)


def wants_snapshot(core: Core, snapshot: Snapshot) -> bool:
    """Whether `restore` would replace the log: news, for this member, that the log lacks."""
    meta = snapshot.meta
    if meta.index <= core.log.committed or core.id not in meta.conf.members():
        return False
    return core.log.storage_is_ahead or not core.log.matches(meta.index, meta.term)


def restore(core: Core, snapshot: Snapshot) -> bool:
    """Replace log and membership by those of ``snapshot``; False if it was not needed."""
    meta = snapshot.meta
    if not wants_snapshot(core, snapshot):
        if meta.index > core.log.committed and core.log.matches(meta.index, meta.term):
            core.log.commit_to(meta.index)  # All of it is here: it only proves the commit.
        return False
    core.log.restore(snapshot)
    core.switch_membership(Change(Membership.of(meta.conf), kept=frozenset()))
    return True
