"""What may leave a node, looked at as it leaves: votes and acknowledgements, and what they vouch for.

Durability is judged by what the disks have promised, never by what a process believes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.ids import Term
from raftoral.raft.messages import MessageType
from raftoral.sim.evidence import DISK_BEFORE_WIRE, ONE_VOTE, TRUE_ACKNOWLEDGEMENTS, has

if TYPE_CHECKING:
    from collections.abc import Mapping

    from raftoral.groups.group import Group
    from raftoral.ids import GroupId, NodeId
    from raftoral.raft.messages import Message
    from raftoral.sim.disk import Promised
    from raftoral.sim.evidence import Chosen, Evidence


class Wire:
    """The sentences about messages; ``groups`` are those that are open, by node."""

    def __init__(self, evidence: Evidence, groups: Mapping[tuple[NodeId, GroupId], Group]) -> None:
        self._evidence = evidence
        self._groups = groups

    def on_message(
        self, node: NodeId, gid: GroupId, message: Message, chosen: Chosen, promised: Promised
    ) -> None:
        """Compare one message with what its sender's disk has promised, and with earlier votes."""
        kind, term = message.type, message.term
        if kind is MessageType.APPEND_RESPONSE:
            if (
                not message.reject
                and message.index
                and not (message.index in promised.terms or message.index <= promised.base[0])
            ):
                self._evidence.fail(
                    DISK_BEFORE_WIRE,
                    f"group {gid}, node {node} acknowledges entry {message.index} before its sync",
                )
            if message.reject:
                self._evidence.count["appends refused"] += 1
            elif message.index:
                self._check_acknowledgement(node, gid, message, promised)
        elif kind is MessageType.VOTE_RESPONSE:
            if not message.reject:
                self._on_vote(node, gid, message, chosen)
            else:
                self._evidence.count["votes refused"] += 1
        elif kind is MessageType.VOTE:
            if chosen.votes.setdefault((node, term), node) != node:
                self._evidence.fail(
                    ONE_VOTE, f"group {gid}, node {node} stands in term {term} after its vote"
                )
        elif kind is MessageType.PRE_VOTE_RESPONSE:
            if message.reject:
                self._evidence.count["pre-votes refused"] += 1
            return
        elif kind is MessageType.TIMEOUT_NOW:
            self._evidence.count["leadership handed over"] += 1
            return
        else:
            return
        if promised.hard.term < term:
            self._evidence.fail(
                DISK_BEFORE_WIRE,
                f"group {gid}, node {node} sends {kind.name} of term {term}, its disk has "
                f"{promised.hard.term}",
            )
        if term > chosen.spoke_in.get(node, 0):
            chosen.spoke_in[node] = term

    def _check_acknowledgement(
        self, node: NodeId, gid: GroupId, message: Message, promised: Promised
    ) -> None:
        leader = self._groups.get((message.to, gid))
        if leader is None or not leader.raw.is_leader or leader.raw.term != message.term:
            return
        term = promised.terms.get(message.index)
        if term is not None and not has(leader, message.index, Term(term)):
            self._evidence.fail(
                TRUE_ACKNOWLEDGEMENTS,
                f"group {gid}, node {node} acknowledges entry {message.index} of term {term} to "
                f"node {message.to}, which does not have it",
            )

    def _on_vote(self, node: NodeId, gid: GroupId, message: Message, chosen: Chosen) -> None:
        known = chosen.votes.setdefault((node, message.term), message.to)
        if known != message.to:
            self._evidence.fail(
                ONE_VOTE,
                f"group {gid}, node {node} votes for {message.to} in term {message.term} after "
                f"{known}",
            )
