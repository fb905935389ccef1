"""Who is in which group: brings in who is meant to be there, takes out who is not any more.

Owns the steps by which nodes come into groups and leave them. Every tick, in each group that this
node leads, it takes the next step that is due, as what group 0 holds and the group itself show it;
so it does not matter who leads, or led before. The rules it keeps: one change of members at a time;
a voter is added before one is removed, unless who is to be added does not answer; no change that
the rest could not decide without a majority that answers now.

A node that is to leave goes in this order: it leads nothing, it owns nothing new and hands over what
it owns (`raftoral.runtime.executor`), it is taken out of the execution groups, it stops voting in
group 0, it is forgotten, which it learns from the log of group 0 itself, and then that group goes on
without it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from raftoral.ids import MANAGEMENT, NOBODY, GroupId, Index, NodeId
from raftoral.machines import management, runs
from raftoral.machines.commands import FillGroups, ForgetNode, Placed, RemoveNode
from raftoral.raft.messages import ConfChange, ConfOp

if TYPE_CHECKING:
    from collections.abc import Collection

    from raftoral.groups.host import Host
    from raftoral.kv import Reader
    from raftoral.raft.node import Status
    from raftoral.runtime.config import NodeConfig
    from raftoral.runtime.steps import Steps

log = logging.getLogger("raftoral.manager")

CAUGHT_UP_ENTRIES: Final = 64
"""How near the leader's commit index a learner must be before it votes."""

GIVEN_UP_S: Final = 10.0
"""How long a node must be silent until nothing waits for it to come into a group."""

FAREWELL_S: Final = 5.0
"""How long a forgotten node may take to learn it before group 0 goes on without it."""


class Members:
    """The membership of the groups that one node leads."""

    def __init__(self, node: NodeId, config: NodeConfig, host: Host, steps: Steps) -> None:
        self._node = node
        self._config = config
        self._host = host
        self._steps = steps
        self._began = self._now()
        self._leads_since: dict[GroupId, float] = {}
        self._gone_since: dict[NodeId, float] = {}
        self._changed: dict[GroupId, tuple[list[NodeId], Index]] = {}
        """The members of each group that were seen last, and the index at which they were first."""

    def tick(self, topology: Reader) -> None:
        """Take the next step in each group that this node leads."""
        voters = management.management_voters(topology)
        learners = [each for each in management.staying(topology) if each not in voters]
        for group, members in [(MANAGEMENT, voters), *management.groups(topology).items()]:
            if group not in self._host.groups:
                continue
            if not self._host.groups[group].raw.is_leader:
                self._leads_since.pop(group, None)
                continue
            self._leads_since.setdefault(group, self._now())
            if group == MANAGEMENT:
                self._fill_groups(topology)
                self._remove_lost(topology)
                self._step(topology, group, members, learners)
            else:
                self._tell(topology, group)
                self._step(topology, group, members, [])

    # -------------------------------------------------------------- one group
    def _step(
        self, topology: Reader, group: GroupId, voters: list[NodeId], learners: list[NodeId]
    ) -> None:
        """Take one step from the members of now towards ``voters`` and ``learners``."""
        status = self._host.groups[group].raw.status()
        present = status.conf.members()
        for node in (*voters, *learners):
            if node not in present:
                self._steps.change(group, ConfChange(((ConfOp.ADD_LEARNER, node),)))
                return
        # Whoever else is there and not meant to be may have come after what this node knows.
        unwanted = [each for each in sorted(present) if _leaves(topology, each)]
        if self._node in unwanted:
            self._hand_over(group, status, voters)
            return
        if self._promote(group, status, voters):
            return
        late = [each for each in voters if each not in status.conf.voters]
        if any(self._silent_s(each) < GIVEN_UP_S for each in late):
            return
        for node in unwanted:
            op = self._way_out(topology, group, status, node)
            if op is not None and self._can_spare(status, node):
                log.info("group %d: node %d leaves (%s)", group, node, op.name.lower())
                self._steps.change(group, ConfChange(((op, node),)))
                return

    def _promote(self, group: GroupId, status: Status, voters: list[NodeId]) -> bool:
        """Let a learner that has caught up vote; tell whether there was one."""
        for node in voters:
            progress = status.progress.get(node)
            if node not in status.conf.learners or progress is None or not progress.match:
                continue  # It has never answered: somebody who asked to join and did not come.
            caught_up = progress.match + CAUGHT_UP_ENTRIES >= status.commit
            if caught_up and self._answers(node) and self._decide({*status.conf.voters, node}):
                self._steps.change(group, ConfChange(((ConfOp.ADD_VOTER, node),)))
                return True
        return False

    def _way_out(
        self, topology: Reader, group: GroupId, status: Status, node: NodeId
    ) -> ConfOp | None:
        """Return the change that brings a node nearer to its end in the group; None for not yet."""
        if group != MANAGEMENT:
            owns = any(runs.owned_ids(self._host.groups[group].state, node))
            return None if owns else ConfOp.REMOVE
        if management.is_gone(topology, node):
            waited = self._now() - self._gone_since.setdefault(node, self._now())
            # It stops once it has applied that it is gone. Until then its log must go on.
            return None if self._answers(node) and waited < FAREWELL_S else ConfOp.REMOVE
        if management.is_placed(topology, node):
            return None
        if node in status.conf.voters:
            return ConfOp.ADD_LEARNER
        self._steps.propose(MANAGEMENT, f"gone-{node}", ForgetNode(node).encode())
        return None

    def _hand_over(self, group: GroupId, status: Status, voters: list[NodeId]) -> None:
        """Let another voter lead a group that this node is to leave."""
        heirs = [
            (progress.match, node)
            for node, progress in status.progress.items()
            if node in voters and node in status.conf.voters and self._answers(node)
        ]
        if not heirs:
            # Nobody can lead yet, so whoever is to come in has to come in first.
            self._promote(group, status, voters)
        elif status.transferee == NOBODY:
            self._host.transfer_leadership(group, max(heirs)[1])

    def _can_spare(self, status: Status, node: NodeId) -> bool:
        """Tell whether a majority answers, of the voters of now and of those without ``node``."""
        rest = {*status.conf.voters} - {node}
        return bool(rest) and self._decide(rest) and self._decide({*status.conf.voters})

    def _decide(self, voters: Collection[NodeId]) -> bool:
        return 2 * sum(map(self._answers, voters)) > len(voters)

    # -------------------------------------------------------------- what group 0 is told
    def _tell(self, topology: Reader, group: GroupId) -> None:
        """Tell group 0 who is in an execution group, if it does not know, and a majority does.

        Who reads there that it is out stops. Before that majority knows it, an election without
        this leader is still one among the members of before, and may need the vote of who is out.
        """
        members = self._host.groups[group]
        present = sorted(members.raw.conf.members())
        told = management.placed(topology, group)
        if told is not None and told[1] == present:
            return
        seen, since = self._changed.get(group, (None, members.store.applied))
        if seen != present:
            since = members.store.applied
            self._changed[group] = present, since
        status = members.raw.status()
        sure = [
            node
            for node, progress in status.progress.items()
            if node in status.conf.voters and (node == self._node or progress.commit_known >= since)
        ]
        if 2 * len(sure) > len(status.conf.voters):
            command = Placed(group, members.store.applied, present)
            self._steps.propose(MANAGEMENT, f"placed-{group}", command.encode())

    def _fill_groups(self, topology: Reader) -> None:
        """Give free places in groups to nodes that came, or came back, later."""
        living = [each for each in management.staying(topology) if self._answers(each)]
        meant = management.groups(topology).values()
        free = (each for each in meant if len(each) < management.GROUP_MEMBERS_MAX)
        if any(not set(living) <= set(members) for members in free):
            self._steps.propose(MANAGEMENT, "fill", FillGroups(living).encode())

    def _remove_lost(self, topology: Reader) -> None:
        """Remove a node that was silent for too long, if that is wished and others can take over."""
        if self._config.remove_lost_after is None or management.leaving(topology):
            return
        limit = self._config.remove_lost_after.total_seconds()
        stay = management.staying(topology)
        living = [each for each in stay if self._answers(each)]
        before = management.groups(topology)
        for node in stay:
            if self._silent_s(node) < limit or self._leads_for_s(MANAGEMENT) < limit:
                continue
            after = management.after_removal(topology, node, living)
            if all(len(after[group]) >= len(members) for group, members in before.items()):
                log.warning("node %d was not heard for %.0f s: it is removed", node, limit)
                self._steps.propose(MANAGEMENT, "lost", RemoveNode(node, living).encode())
                return

    # -------------------------------------------------------------- who is there
    def _answers(self, node: NodeId) -> bool:
        return node == self._node or self._host.heard(node) <= self._config.election_timeout_s

    def _silent_s(self, node: NodeId) -> float:
        """Return for how many seconds a node was not heard; at most since this node runs."""
        if node == self._node:
            return 0.0
        # Just started, this node has heard nobody, which says nothing about them.
        return min(self._host.heard(node), self._now() - self._began)

    def _leads_for_s(self, group: GroupId) -> float:
        return self._now() - self._leads_since[group]

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _leaves(topology: Reader, node: NodeId) -> bool:
    return node in management.leaving(topology) or management.is_gone(topology, node)
