"""Keeps this node's groups as group 0 says they should be, one small step at a time.

Owns no state but what it has just seen. Every tick it compares what group 0 holds with what is: it
opens the groups that this node belongs to and closes those that it has left, brings the groups that
it leads to the members that they are meant to have (`members`), tells a group its slots, and hands
over the runs of a member that is silent or is to leave. Each step is safe to repeat, so nothing here
is remembered across a crash.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Protocol

from raftoral.ids import MANAGEMENT, GroupId, Millis, NodeId
from raftoral.machines import management, runs
from raftoral.machines.commands import Forget, OwnSlots, Publish, TakeOver
from raftoral.runtime.members import Members
from raftoral.runtime.steps import Steps
from raftoral.values import millis_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from raftoral.groups.host import Host
    from raftoral.kv import Reader
    from raftoral.runtime.config import NodeConfig

log = logging.getLogger("raftoral.manager")

FORGET_EVERY_TICKS: Final = 100
"""Ten seconds."""

FORGET_LIMIT: Final = 500

TAKE_OVER_LIMIT: Final = 1_000
"""How many runs one entry takes over; a later tick sees what is left and takes more."""


class Wiring(Protocol):
    """What the manager has done by whoever put the node together."""

    def open_group(self, group: GroupId) -> None:
        """Drive a group that this node is to be a member of."""
        ...

    def close_group(self, group: GroupId) -> None:
        """Drive a group no more, and remove what is stored of it."""
        ...

    def set_peers(self, peers: Mapping[NodeId, str]) -> None:
        """Say who else is in the cluster, and where."""
        ...


class Manager:
    """The periodic work of one node; `tick` is called in the node's loop."""

    def __init__(
        self,
        node: NodeId,
        incarnation: str,
        config: NodeConfig,
        host: Host,
        wiring: Wiring,
    ) -> None:
        self._node = node
        self.incarnation = incarnation
        self._config = config
        self._host = host
        self._wiring = wiring
        self._steps = Steps(host)
        self._members = Members(node, config, host, self._steps)
        self._leaving_since: dict[NodeId, float] = {}
        self._ticks = 0

    def tick(self) -> None:
        """Compare what is with what should be, and start the next steps."""
        self._ticks += 1
        topology = self._host.groups[MANAGEMENT].state
        present = list(management.nodes(topology))
        if not present:
            return
        # Who is forgotten still has to learn it, as long as group 0 has it.
        members = self._host.groups[MANAGEMENT].raw.conf.members()
        leavers = [each for each in management.gone(topology).values() if each.id in members]
        known = {each.id: each.address for each in (*present, *leavers)}
        self._wiring.set_peers({node: at for node, at in known.items() if node != self._node})
        desired = management.groups(topology)
        leaving = management.leaving(topology)
        for group in desired:
            if self._node in desired[group] and group not in self._host.groups:
                self._wiring.open_group(group)
            elif self._has_left(topology, group):
                self._wiring.close_group(group)
        self._members.tick(topology)
        for group in desired:
            if group in self._host.groups:
                self._serve(group, management.cluster(topology), leaving)

    def _has_left(self, topology: Reader, group: GroupId) -> bool:
        """Tell whether this node, which is to leave, is out of a group that it still drives.

        Only a node that is to leave is ever taken out of a group, and none comes back, so nothing
        that it keeps of the group can be needed again.
        """
        if group not in self._host.groups or self._node not in management.leaving(topology):
            return False
        told = management.placed(topology, group)
        return told is not None and self._node not in told[1]

    # -------------------------------------------------------------- one execution group
    def _serve(self, group: GroupId, formed: tuple[str, int] | None, leaving: list[NodeId]) -> None:
        reader = self._host.groups[group].state
        known = runs.members(reader)
        if (
            known.get(self._node) != (self.incarnation, True)
            and self._node not in leaving
            and self._node in self._host.groups[group].raw.conf.voters
        ):
            self._steps.propose(group, "publish", Publish(self._node, self.incarnation).encode())
        if not self._host.groups[group].raw.is_leader:
            return
        if formed is not None and reader.get(runs.SLOT_MAP) is None:
            bitmap = management.slots_of(group, formed[1])
            self._steps.propose(group, "slots", OwnSlots(bitmap).encode())
        self._replace_silent(group, known, leaving)
        if self._ticks % FORGET_EVERY_TICKS == 0:
            self._forget(group)

    def _replace_silent(
        self, group: GroupId, known: dict[NodeId, tuple[str, bool]], leaving: list[NodeId]
    ) -> None:
        """Hand over the runs of members that did not answer for an election timeout, or are down.

        A member that is to leave is down before it is gone: it gets nothing new, and has a while to
        hand over by itself what it owns, so that no attempt is thrown away.
        """
        up = [node for node, (_, is_up) in known.items() if is_up]
        alive = [node for node in up if self._answers(node)]
        voters = self._host.groups[group].raw.status().conf.voters
        answering = {*alive, *filter(self._answers, leaving)}
        if 2 * sum(node in voters for node in answering) <= len(voters):
            return  # Not a quorum: this node is the one that is cut off.
        silent = sorted(set(up) - set(alive))
        for lost in silent:
            log.warning("group %d: node %d does not answer; its runs are taken over", group, lost)
        reader = self._host.groups[group].state
        heirs = [node for node in alive if node not in leaving]
        for node in leaving:
            if node in alive:
                self._steps.propose(group, f"leaves-{node}", TakeOver(node, heirs, 0).encode())
        down = known.keys() - {*up, self._node}
        left = sorted(node for node in down if any(runs.owned_ids(reader, node)))
        for lost in (*silent, *left):
            if not (lost in leaving and self._may_finish(lost)):
                command = TakeOver(lost, heirs, TAKE_OVER_LIMIT)
                self._steps.propose(group, f"lost-{lost}", command.encode())

    def _may_finish(self, node: NodeId) -> bool:
        """Tell whether a node that is to leave still has time to hand over its runs itself."""
        now = asyncio.get_running_loop().time()
        since = self._leaving_since.setdefault(node, now)
        return self._answers(node) and now - since < self._config.leave_grace.total_seconds()

    def _answers(self, node: NodeId) -> bool:
        return node == self._node or self._host.heard(node) <= self._config.election_timeout_s

    def _forget(self, group: GroupId) -> None:
        retention = millis_of(self._config.retention)
        before = Millis(max(0, self._host.stamp_now(group) - retention))
        command = Forget(before, self._config.retained_runs, FORGET_LIMIT).encode()

        async def until_few() -> None:
            """Repeat it while there is more than one entry takes."""
            result = await self._host.propose(group, command, timeout=2.0)
            while result == ["ok", FORGET_LIMIT]:
                result = await self._host.propose(group, command, timeout=2.0)

        self._steps.once(group, "forget", until_few)

    def close(self) -> None:
        """Stop what is under way."""
        self._steps.close()
