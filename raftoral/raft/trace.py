"""Every step of a core as one line of JSON, in the form that etcd's trace validation reads.

Owns the form: which steps have a name, and which fields stand in an event. Never decides anything,
and costs a core without a tracer one look at a None. The rule it keeps: an event shows the member as
it was when the step began where etcd writes it before the step (`Replicate`, `ChangeConf`,
`ApplyConfChange`, everything received), and as it is afterwards in all others.

The form is read as a sequence of steps of etcd's TLA+ model, which has no pre-votes, reads, joint
changes and no log that begins later than at index 1. So a member is written as that model knows it:

- it begins with its stored state, as if the log held it from index 1 on, and a restart is one
  `InitState` with the state that was stored, after which a membership that was applied since the
  last `Ready` is applied anew;
- a snapshot is an append of all that it stands for; an append tells no commit index beyond its end;
- a message that is ignored does not come; a refusal for its old term is a refusal; a vote that is
  refused though it is free, because its term has a leader already, is neither asked nor answered.

A member is traced by ``Config(..., trace=Tracer(file.write))``, or by ``Host.tracer_of`` before its
group is added. One thread's members share a tracer, and its lines stand in the order of the steps.
A trace is of one group: an event names the node, not the group. ``make sim SEED=n TRACE=file``
writes one, of a run that does only what the model knows.

Source: etcd-io/raft, state_trace.go, tla/etcdraft.tla and tla/Traceetcdraft.tla.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from raftoral.ids import NOBODY, Index
from raftoral.raft.messages import NO_INDEX, ConfOp, MessageType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from raftoral.ids import NodeId, Term
    from raftoral.raft.core import Core
    from raftoral.raft.membership import Membership
    from raftoral.raft.messages import ConfChange, Message

_REQUEST = "AppendEntriesRequest"
_RESPONSE = "AppendEntriesResponse"
_EVENTS: Final = {
    MessageType.APPEND: ("MsgApp", _REQUEST),
    MessageType.HEARTBEAT: ("MsgHeartbeat", _REQUEST),
    MessageType.SNAPSHOT: ("MsgApp", _REQUEST),
    MessageType.APPEND_RESPONSE: ("MsgAppResp", _RESPONSE),
    MessageType.HEARTBEAT_RESPONSE: ("MsgHeartbeatResp", _RESPONSE),
    MessageType.VOTE: ("MsgVote", "RequestVoteRequest"),
    MessageType.VOTE_RESPONSE: ("MsgVoteResp", "RequestVoteResponse"),
}
_ACTIONS: Final = {
    ConfOp.ADD_VOTER: "AddNewServer",
    ConfOp.REMOVE: "RemoveServer",
    ConfOp.ADD_LEARNER: "AddLearner",
}


class Tracer:
    """Writes the steps of one or more cores; ``write`` takes a line with its end."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._stored: dict[NodeId, list[list[str]]] = {}
        """The members that each node had when it was last ready, which a restart begins with."""
        self._restarting: set[NodeId] = set()
        self._left_out: set[tuple[NodeId, NodeId, Term]] = set()
        """Voter, candidate and term of votes that are left out."""

    def begins(self, core: Core, membership: Membership) -> None:
        """Write that a member begins, or take note that it begins again."""
        if core.id in self._stored:
            self._restarting.add(core.id)
            return
        self.node("InitState", core)
        self.change_applied(core, membership)

    def node(self, name: str, core: Core) -> None:
        """Write a step that only the member itself takes part in."""
        if name == "BecomeFollower" and core.id in self._restarting:
            self._restarting.discard(core.id)
            stored = self._stored[core.id]
            self._event("InitState", core, conf=stored)
            if stored != _conf(core.membership):
                self._event("ApplyConfChange", core, conf=stored, prop=_applied(core.membership))
            return
        self._event(name, core)
        if name in ("Ready", "BecomeFollower") and (name == "Ready" or core.id not in self._stored):
            self._stored[core.id] = _conf(core.membership)

    def sent(self, core: Core, message: Message) -> None:
        """Write that ``message`` was queued; an append with the sender's own progress."""
        if message.type not in _EVENTS or self._is_left_out(core.id, message.to, message):
            return
        is_append = _EVENTS[message.type][0] == "MsgApp"
        own = core.progress.get(core.id) if is_append else None
        extra: dict[str, Any] = {}
        if own is not None:
            extra["prop"] = {"match": own.match, "next": own.next}
        self._event(f"Send{_EVENTS[message.type][1]}", core, msg=_message(message), **extra)

    def received(self, core: Core, message: Message) -> None:
        """Write that ``message`` was taken, before it changes anything."""
        if message.type not in _EVENTS or self._is_left_out(message.from_, core.id, message):
            return
        if (
            message.type is MessageType.VOTE
            and message.term == core.term
            and core.vote == NOBODY != core.leader
        ):
            self._left_out.add((core.id, message.from_, message.term))
            return
        self._event(f"Receive{_EVENTS[message.type][1]}", core, msg=_message(message))

    def _is_left_out(self, voter: NodeId, candidate: NodeId, message: Message) -> bool:
        """Tell whether a message is the answer to a request for a vote that was left out."""
        is_answer = message.type is MessageType.VOTE_RESPONSE
        return is_answer and (voter, candidate, message.term) in self._left_out

    def change_proposed(self, core: Core, change: ConfChange) -> None:
        """Write a membership change that enters the log, unless it only leaves a joint one."""
        changes = [
            {"nid": str(node), "action": _ACTIONS[op]}
            for op, node in change.changes
            if op in _ACTIONS
        ]
        if changes:
            self._event("ChangeConf", core, prop={"cc": {"changes": changes}})

    def change_applied(self, core: Core, membership: Membership) -> None:
        """Write that ``membership`` replaces that of ``core``."""
        self._event("ApplyConfChange", core, prop=_applied(membership))

    def _event(
        self, name: str, core: Core, *, conf: list[list[str]] | None = None, **extra: Any
    ) -> None:
        event = {
            "name": name,
            "nid": str(core.id),
            "state": {"term": core.term, "vote": str(core.vote), "commit": core.log.committed},
            "role": "State" + core.role.value.title().replace("-", ""),
            "log": core.log.last,
            "conf": _conf(core.membership) if conf is None else conf,
            **extra,
        }
        self._write(json.dumps({"tag": "trace", "event": event}) + "\n")


def _message(message: Message) -> dict[str, Any]:
    count, commit, reject = len(message.entries), message.commit, message.reject
    if message.snapshot is not None:
        count = commit = message.snapshot.meta.index
    elif message.type is MessageType.APPEND:
        commit = min(commit, Index(message.index + count))
    elif message.type is MessageType.APPEND_RESPONSE and message.index == NO_INDEX:
        reject = True  # Nobody accepts nothing: it tells of a later term.
    return {
        "type": _EVENTS[message.type][0],
        "term": message.term,
        "from": str(message.from_),
        "to": str(message.to),
        "entries": count,
        "logTerm": message.log_term,
        "index": message.index,
        "commit": commit,
        "vote": "0",
        "reject": reject,
        "rejectHint": message.reject_hint,
    }


def _conf(membership: Membership) -> list[list[str]]:
    return [_nodes(membership.voters), _nodes(membership.outgoing)]


def _applied(membership: Membership) -> dict[str, Any]:
    voters = _nodes(membership.voters)
    return {"cc": {"newconf": voters} if voters else {}}


def _nodes(nodes: Iterable[NodeId]) -> list[str]:
    return [str(node) for node in sorted(nodes)]
