"""etcd's words for messages, entries, states and progress, as its transcripts write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.raft.messages import ConfChange, EntryKind, MessageType

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from raftoral.ids import NodeId
    from raftoral.raft.messages import Entry, HardState, Message, Snapshot
    from raftoral.raft.node import ProgressView, Ready, Status

V1 = b"v1"
"""The context of a change that was proposed in etcd's older encoding, which has one step only."""

NAMES = {
    MessageType.APPEND: "MsgApp",
    MessageType.APPEND_RESPONSE: "MsgAppResp",
    MessageType.VOTE: "MsgVote",
    MessageType.VOTE_RESPONSE: "MsgVoteResp",
    MessageType.SNAPSHOT: "MsgSnap",
    MessageType.HEARTBEAT: "MsgHeartbeat",
    MessageType.HEARTBEAT_RESPONSE: "MsgHeartbeatResp",
    MessageType.TRANSFER_LEADER: "MsgTransferLeader",
    MessageType.TIMEOUT_NOW: "MsgTimeoutNow",
    MessageType.READ_INDEX: "MsgReadIndex",
    MessageType.READ_INDEX_RESPONSE: "MsgReadIndexResp",
    MessageType.PRE_VOTE: "MsgPreVote",
    MessageType.PRE_VOTE_RESPONSE: "MsgPreVoteResp",
}


def _camel(words: str) -> str:
    return "State" + words.title().replace("-", "")


def entry(item: Entry) -> str:
    """Return an entry as ``1/3 EntryNormal "text"``."""
    place = f"{item.term}/{item.index}"
    if item.kind is EntryKind.NORMAL:
        return f'{place} EntryNormal "{item.data.decode()}"'
    change = ConfChange.decode(item.data)
    kind = "EntryConfChange" if change.context == V1 else "EntryConfChangeV2"
    return " ".join([place, kind, *(f"{'vrul'[op]}{node}" for op, node in change.changes)])


def snapshot(item: Snapshot) -> str:
    """Return what a snapshot stands for."""
    meta, conf = item.meta, item.meta.conf

    def nodes(ids: tuple[NodeId, ...]) -> str:
        return f"[{' '.join(map(str, ids))}]"

    return (
        f"Index:{meta.index} Term:{meta.term} ConfState:Voters:{nodes(conf.voters)} "
        f"VotersOutgoing:{nodes(conf.voters_outgoing)} Learners:{nodes(conf.learners)} "
        f"LearnersNext:{nodes(conf.learners_next)} AutoLeave:{str(conf.auto_leave).lower()}"
    )


def line(
    head: str,
    *,
    term: int = 0,
    log: tuple[int, int] = (0, 0),
    rejected: int | None = None,
    commit: int = 0,
    vote: int = 0,
    entries: Sequence[Entry] = (),
    with_snapshot: Snapshot | None = None,
    responses: Iterable[str] = (),
) -> str:
    """Return anything that travels; ``head`` is ``1->2 MsgApp``, ``log`` a term and an index."""
    text = f"{head} Term:{term} Log:{log[0]}/{log[1]}"
    if rejected is not None:
        text += f" Rejected (Hint: {rejected})"
    text += f" Commit:{commit}" * bool(commit) + f" Vote:{vote}" * bool(vote)
    if len(entries) == 1:
        text += f" Entries:[{entry(entries[0])}]"
    elif entries:
        text += "".join([" Entries:[", *(f"\n  {entry(item)}" for item in entries), "\n]"])
    if with_snapshot is not None:
        text += f"\n  Snapshot: {snapshot(with_snapshot)}"
    inner = [f"\n  {part}" for answer in responses for part in answer.splitlines()]
    if inner:
        text += "".join([" Responses:[", *inner, "\n]"])
    return text


def message(item: Message) -> str:
    """Return a message between members."""
    if item.type is MessageType.TRANSFER_LEADER and item.index:
        # Passed on, etcd's comes from whom it is about; here it is said in so many words.
        return line(f"{item.index}->{item.to} {NAMES[item.type]}", term=item.term)
    return line(
        f"{item.from_}->{item.to} {NAMES[item.type]}",
        term=item.term,
        log=(item.log_term, item.index),
        rejected=item.reject_hint if item.reject else None,
        commit=item.commit,
        entries=item.entries,
        with_snapshot=item.snapshot,
    )


def _hard_state(state: HardState) -> str:
    vote = f" Vote:{state.vote}" if state.vote else ""
    return f"Term:{state.term}{vote} Commit:{state.commit}"


def ready(item: Ready, messages: Iterable[str]) -> list[str]:
    """Return the lines of a `Ready` that sends ``messages``."""
    lines = []
    if item.soft_state is not None:
        lines.append(f"Lead:{item.soft_state.leader} State:{_camel(item.soft_state.role.value)}")
    if item.hard_state is not None:
        lines.append(f"HardState {_hard_state(item.hard_state)}")
    if item.entries:
        lines += ["Entries:", *map(entry, item.entries)]
    if item.snapshot is not None:
        lines.append(f"Snapshot {snapshot(item.snapshot)}")
    if item.committed:
        lines += ["CommittedEntries:", *map(entry, item.committed)]
    sent = [part for text in messages for part in text.splitlines()]
    if sent:
        lines += ["Messages:", *sent]
    if not lines:
        return ["<empty Ready>"]
    return [f"Ready MustSync={str(item.must_sync).lower()}:", *lines]


def state(item: Status) -> str:
    """Return a member as one line."""
    voters = item.conf.voters + item.conf.voters_outgoing
    return (
        f"{item.id}: {_camel(item.role.value)} "
        f"({'Voter' if item.id in voters else 'Non-Voter'}) Term:{item.term} Lead:{item.leader}"
    )


def progress(view: ProgressView) -> str:
    """Return a follower as its leader sees it."""
    text = f"{_camel(view.state.value)} match={view.match} next={view.next}"
    text += " learner" * view.is_learner + " paused" * view.paused
    if view.pending_snapshot:
        text += f" pendingSnap={view.pending_snapshot}"
    text += " inactive" * (not view.active)
    if view.inflight:
        text += f" inflight={view.inflight}" + "[full]" * view.inflight_full
    return text
