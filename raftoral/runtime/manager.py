"""Keeps this node's groups as group 0 says they should be, one small step at a time.

Owns no state but what it has just seen. Every tick it compares what group 0 holds with what is: it
opens the groups that this node belongs to, and in the groups that it leads it adds members (as
learners first, as voters once they have caught up), tells the group its slots, and hands the runs
of a silent member over. Each step is safe to repeat, so nothing here is remembered across a crash.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from raftoral.errors import RaftoralError, Unavailable
from raftoral.ids import MANAGEMENT, GroupId, Millis, NodeId
from raftoral.machines import management, runs
from raftoral.machines.commands import Forget, OwnSlots, Publish, TakeOver
from raftoral.raft.messages import ConfChange, ConfOp
from raftoral.values import millis_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from raftoral.groups.host import Host
    from raftoral.runtime.config import NodeConfig

log = logging.getLogger("raftoral.manager")

CAUGHT_UP_ENTRIES: Final = 64
"""How near the leader's commit index a learner must be before it votes."""

FORGET_EVERY_TICKS: Final = 100
"""Ten seconds."""

FORGET_LIMIT: Final = 500

TAKE_OVER_LIMIT: Final = 1_000
"""How many runs one entry takes over; a later tick sees what is left and takes more."""


class Manager:
    """The periodic work of one node; `tick` is called in the node's loop."""

    def __init__(
        self,
        node: NodeId,
        incarnation: str,
        config: NodeConfig,
        host: Host,
        open_group: Callable[[GroupId], None],
        set_peers: Callable[[dict[NodeId, str]], None],
    ) -> None:
        self._node = node
        self.incarnation = incarnation
        self._config = config
        self._host = host
        self._open_group = open_group
        self._set_peers = set_peers
        self._busy: dict[tuple[GroupId, str], asyncio.Task[None]] = {}
        self._ticks = 0

    def tick(self) -> None:
        """Compare what is with what should be, and start the next steps."""
        self._ticks += 1
        topology = self._host.groups[MANAGEMENT].state
        present = list(management.nodes(topology))
        if not present:
            return
        self._set_peers({each.id: each.address for each in present if each.id != self._node})
        desired = management.groups(topology)
        for group, members in desired.items():
            if self._node in members and group not in self._host.groups:
                self._open_group(group)
        voters = management.management_voters(topology)
        self._fill(MANAGEMENT, voters, [each.id for each in present if each.id not in voters])
        for group, members in desired.items():
            if group in self._host.groups:
                self._fill(group, members, [])
                self._serve(group, management.cluster(topology))

    # -------------------------------------------------------------- members
    def _fill(self, group: GroupId, voters: list[NodeId], learners: list[NodeId]) -> None:
        """In a group that this node leads, bring one missing member one step nearer."""
        if not self._host.groups[group].raw.is_leader:
            return
        status = self._host.groups[group].raw.status()
        present = {*status.conf.voters, *status.conf.learners}
        for node in (*voters, *learners):
            if node not in present:
                self._change(group, ConfChange(((ConfOp.ADD_LEARNER, node),)))
                return
        for node in voters:
            progress = status.progress.get(node)
            if node not in status.conf.learners or progress is None or not progress.match:
                continue  # It has never answered: somebody who asked to join and did not come.
            caught_up = progress.match + CAUGHT_UP_ENTRIES >= status.commit
            if caught_up and self._most_alive({*status.conf.voters, node}, node):
                self._change(group, ConfChange(((ConfOp.ADD_VOTER, node),)))
                return

    def _most_alive(self, voters: set[NodeId], newcomer: NodeId) -> bool:
        """Tell whether the newcomer and a majority of the voters it would join answer now."""
        limit = self._config.election_timeout_s
        alive = {node for node in voters if node == self._node or self._host.heard(node) <= limit}
        return newcomer in alive and 2 * len(alive) > len(voters)

    def _change(self, group: GroupId, change: ConfChange) -> None:
        self._once(
            group, "members", lambda: self._host.propose_conf_change(group, change, timeout=5.0)
        )

    # -------------------------------------------------------------- one execution group
    def _serve(self, group: GroupId, formed: tuple[str, int] | None) -> None:
        reader = self._host.groups[group].state
        known = runs.members(reader)
        if (
            known.get(self._node) != (self.incarnation, True)
            and self._node in self._host.groups[group].raw.conf.voters
        ):
            self._propose(group, "publish", Publish(self._node, self.incarnation).encode())
        if not self._host.groups[group].raw.is_leader:
            return
        if formed is not None and reader.get(runs.SLOT_MAP) is None:
            bitmap = management.slots_of(group, formed[1])
            self._propose(group, "slots", OwnSlots(bitmap).encode())
        self._replace_silent(group, known)
        if self._ticks % FORGET_EVERY_TICKS == 0:
            self._forget(group)

    def _replace_silent(self, group: GroupId, known: dict[NodeId, tuple[str, bool]]) -> None:
        """Hand over the runs of members that did not answer for an election timeout, or are down."""
        up = [node for node, (_, is_up) in known.items() if is_up]
        limit = self._config.election_timeout_s
        alive = [node for node in up if node == self._node or self._host.heard(node) <= limit]
        voters = self._host.groups[group].raw.status().conf.voters
        if 2 * sum(node in voters for node in alive) <= len(voters):
            return  # Not a quorum: this node is the one that is cut off.
        silent = sorted(set(up) - set(alive))
        for lost in silent:
            log.warning("group %d: node %d does not answer; its runs are taken over", group, lost)
        reader = self._host.groups[group].state
        down = known.keys() - {*up, self._node}
        left = sorted(node for node in down if any(runs.owned_ids(reader, node)))
        for lost in (*silent, *left):
            command = TakeOver(lost, alive, TAKE_OVER_LIMIT)
            self._propose(group, f"lost-{lost}", command.encode())

    def _forget(self, group: GroupId) -> None:
        retention = millis_of(self._config.retention)
        before = Millis(max(0, self._host.stamp_now(group) - retention))
        command = Forget(before, self._config.retained_runs, FORGET_LIMIT).encode()

        async def until_few() -> None:
            """Repeat it while there is more than one entry takes."""
            result = await self._host.propose(group, command, timeout=2.0)
            while result == ["ok", FORGET_LIMIT]:
                result = await self._host.propose(group, command, timeout=2.0)

        self._once(group, "forget", until_few)

    # -------------------------------------------------------------- one step at a time
    def _propose(self, group: GroupId, what: str, command: bytes) -> None:
        self._once(group, what, lambda: self._host.propose(group, command, timeout=2.0))

    def _once(
        self, group: GroupId, what: str, work: Callable[[], Coroutine[object, object, object]]
    ) -> None:
        """Begin a step unless the same one is still under way."""
        key = (group, what)
        if key in self._busy:
            return
        task = asyncio.get_running_loop().create_task(self._quietly(what, work()))
        self._busy[key] = task
        task.add_done_callback(lambda _: self._busy.pop(key, None))

    @staticmethod
    async def _quietly(what: str, work: Coroutine[object, object, object]) -> None:
        """A step that does not come through is seen and repeated by a later tick."""
        try:
            await work
        except Unavailable as error:
            log.debug("%s: %s", what, error)
        except RaftoralError as error:
            log.warning("%s: %s", what, error)

    def close(self) -> None:
        """Stop what is under way."""
        for task in list(self._busy.values()):
            task.cancel()
