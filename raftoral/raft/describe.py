"""Stable text for what goes in and out of a core: logs, transcripts, the REPL.

Owns the wording; decides nothing. Equal values give equal lines, so a transcript that changes shows
a change of the protocol. A place of the log is written ``term/index``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.raft.messages import ConfChange, ConfOp, EntryKind, Transition

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raftoral.ids import NodeId
    from raftoral.raft.messages import ConfState, Entry, HardState, Message, SnapshotMeta
    from raftoral.raft.node import ProgressView, Ready, Status

_OPS = {
    ConfOp.ADD_VOTER: "v",
    ConfOp.ADD_LEARNER: "l",
    ConfOp.REMOVE: "r",
    ConfOp.UPDATE: "u",
}


def describe_change(change: ConfChange) -> str:
    """Return a membership change as ``v2 l3 r4``, with its transition unless that is automatic."""
    if change.leaves_joint:
        return "leave joint"
    steps = " ".join(f"{_OPS[op]}{node}" for op, node in change.changes)
    how = "" if change.transition is Transition.AUTO else change.transition.name.lower()
    return " ".join(part for part in (steps, how) if part)


def describe_entry(entry: Entry) -> str:
    """Return an entry as ``1/3 "text"`` or ``1/4 conf v2``."""
    place = f"{entry.term}/{entry.index}"
    if entry.kind is EntryKind.CONF:
        return f"{place} conf {describe_change(ConfChange.decode(entry.data))}"
    text = entry.data.decode("utf-8", "backslashreplace")
    return f'{place} "{text}"'


def describe_conf(conf: ConfState) -> str:
    """Return a membership as ``voters=(1 2)&&(1) learners=(3)``."""
    voters = f"voters={_set(conf.voters)}"
    if conf.voters_outgoing:
        voters += f"&&{_set(conf.voters_outgoing)}"
    parts = [voters]
    if conf.learners:
        parts.append(f"learners={_set(conf.learners)}")
    if conf.learners_next:
        parts.append(f"learners_next={_set(conf.learners_next)}")
    if conf.auto_leave:
        parts.append("autoleave")
    return " ".join(parts)


def describe_message(message: Message) -> str:
    """Return a message on one line; its entries follow in brackets."""
    parts = [
        f"{message.from_}->{message.to}",
        message.type.name.lower(),
        f"term={message.term}",
    ]
    if message.index or message.log_term:
        parts.append(f"at={message.log_term}/{message.index}")
    if message.commit:
        parts.append(f"commit={message.commit}")
    if message.reject:
        parts.append(f"rejected hint={message.reject_hint}")
    if message.context:
        parts.append(f"context={message.context.hex()}")
    if message.snapshot is not None:
        parts.append(f"snapshot {describe_meta(message.snapshot.meta)}")
    if message.entries:
        parts.append(f"[{', '.join(map(describe_entry, message.entries))}]")
    return " ".join(parts)


def describe_meta(meta: SnapshotMeta) -> str:
    """Return what a snapshot stands for."""
    return f"{meta.term}/{meta.index} {describe_conf(meta.conf)}"


def describe_hard_state(state: HardState) -> str:
    """Return a hard state; nobody's vote is left out."""
    vote = f" vote={state.vote}" if state.vote else ""
    return f"term={state.term}{vote} commit={state.commit}"


def describe_ready(ready: Ready) -> list[str]:
    """Return a `Ready` as lines, in the order in which its parts are done."""
    lines = []
    if ready.soft_state is not None:
        lines.append(f"leader={ready.soft_state.leader} role={ready.soft_state.role.value}")
    lines += [f"send {describe_message(message)}" for message in ready.messages]
    if ready.snapshot is not None:
        lines.append(f"install {describe_meta(ready.snapshot.meta)}")
    lines += [f"append {describe_entry(entry)}" for entry in ready.entries]
    if ready.hard_state is not None:
        lines.append(f"store {describe_hard_state(ready.hard_state)}")
    if ready.must_sync:
        lines.append("sync")
    lines += [f"send {describe_message(message)}" for message in ready.messages_after_sync]
    lines += [f"apply {describe_entry(entry)}" for entry in ready.committed]
    lines += [f"read {state.context!r} at {state.index}" for state in ready.read_states]
    return lines


def describe_progress(progress: ProgressView) -> str:
    """Return what a leader knows of one follower."""
    parts = [f"{progress.state.value} match={progress.match} next={progress.next}"]
    if progress.is_learner:
        parts.append("learner")
    if progress.paused:
        parts.append("paused")
    if progress.pending_snapshot:
        parts.append(f"snapshot={progress.pending_snapshot}")
    if not progress.active:
        parts.append("inactive")
    if progress.inflight:
        parts.append(f"inflight={progress.inflight}" + "[full]" * progress.inflight_full)
    return " ".join(parts)


def describe_status(status: Status) -> list[str]:
    """Return a member's state as one line, and one more for each of a leader's followers."""
    head = (
        f"{status.id} {status.role.value} term={status.term} leader={status.leader} "
        f"commit={status.commit} applied={status.applied} last={status.last} "
        f"{describe_conf(status.conf)}"
    )
    rows = [f"  {node}: {describe_progress(view)}" for node, view in status.progress.items()]
    return [head, *rows]


def _set(nodes: Iterable[NodeId]) -> str:
    return f"({' '.join(map(str, nodes))})"
