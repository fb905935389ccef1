"""Every step of a core as one line of JSON, in the form that etcd's trace validation reads.

Owns the form: which steps have a name, and which fields stand in an event. Never decides anything,
and costs a core without a tracer one look at a None. The rule it keeps: an event shows the member as
it was when the step began where etcd writes it before the step (`InitState`, `Replicate`,
`ChangeConf`, `ApplyConfChange`, everything received), and as it is afterwards in all others.

A member is traced by ``Config(..., trace=Tracer(file.write))``, or by ``Host.tracer_of`` before its
group is added. One thread's members share a tracer, and its lines stand in the order of the steps.
A trace is of one group: an event names the node, not the group. So ``make sim SEED=n TRACE=file``
opens the file, and every host that it starts, restarts included, gives the same ``Tracer(file.write)``
to one group and None to the others.

There are 17 events, and two names that etcd's form knows and never writes: a snapshot is sent and
received as an append whose ``type`` is ``MsgSnap`` and whose ``entries`` count the log that it
stands for. Pre-votes, reads and transfers are no part of the form.

Source: etcd-io/raft, state_trace.go and tla/Traceetcdraft.tla.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from raftoral.raft.messages import ConfOp, MessageType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from raftoral.ids import NodeId
    from raftoral.raft.core import Core
    from raftoral.raft.membership import Membership
    from raftoral.raft.messages import ConfChange, Message

_REQUEST = "AppendEntriesRequest"
_RESPONSE = "AppendEntriesResponse"
_EVENTS: Final = {
    MessageType.APPEND: ("MsgApp", _REQUEST),
    MessageType.HEARTBEAT: ("MsgHeartbeat", _REQUEST),
    MessageType.SNAPSHOT: ("MsgSnap", _REQUEST),
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

    def node(self, name: str, core: Core) -> None:
        """Write a step that only the member itself takes part in."""
        self._event(name, core)

    def sent(self, core: Core, message: Message) -> None:
        """Write that ``message`` was queued; an append with the sender's own progress."""
        if message.type not in _EVENTS:
            return
        own = core.progress.get(core.id) if message.type is MessageType.APPEND else None
        extra = {"prop": {"match": own.match, "next": own.next}} if own is not None else {}
        self._event(f"Send{_EVENTS[message.type][1]}", core, msg=_message(message), **extra)

    def received(self, core: Core, message: Message) -> None:
        """Write that ``message`` was taken, before it changes anything."""
        if message.type in _EVENTS:
            self._event(f"Receive{_EVENTS[message.type][1]}", core, msg=_message(message))

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
        voters = _nodes(membership.voters)
        self._event("ApplyConfChange", core, prop={"cc": {"newconf": voters} if voters else {}})

    def _event(self, name: str, core: Core, **extra: Any) -> None:
        membership = core.membership
        event = {
            "name": name,
            "nid": str(core.id),
            "state": {"term": core.term, "vote": str(core.vote), "commit": core.log.committed},
            "role": "State" + core.role.value.title().replace("-", ""),
            "log": core.log.last,
            "conf": [_nodes(membership.voters), _nodes(membership.outgoing)],
            **extra,
        }
        self._write(json.dumps({"tag": "trace", "event": event}) + "\n")


def _message(message: Message) -> dict[str, Any]:
    snapshot = message.snapshot
    return {
        "type": _EVENTS[message.type][0],
        "term": message.term,
        "from": str(message.from_),
        "to": str(message.to),
        "entries": len(message.entries) if snapshot is None else snapshot.meta.index,
        "logTerm": message.log_term,
        "index": message.index,
        "commit": message.commit,
        "vote": "0",
        "reject": message.reject,
        "rejectHint": message.reject_hint,
    }


def _nodes(nodes: Iterable[NodeId]) -> list[str]:
    return [str(node) for node in sorted(nodes)]
