"""Who breaks things, and who changes the cluster meanwhile.

Owns when which fault strikes whom, and an operator who changes memberships, hands over leadership
and replaces broken nodes. The rule it keeps: never more damaged disks at a time than one, which
every quorum survives; everything else may strike everyone, at once if it happens.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from raftoral.errors import RaftoralError, Unavailable
from raftoral.raft.messages import ConfChange, ConfOp, ConfState, Transition

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.ids import GroupId, NodeId
    from raftoral.sim.cluster import Cluster
    from raftoral.sim.node import SimNode

VOTERS_MIN, VOTERS_MAX = 3, 5


class Chaos:
    """The faults of one run, until `stop`."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.is_over = False
        self.operator = Operator(cluster)
        faults = cluster.faults
        nodes = len(cluster.nodes)
        for rate, strike in (
            (faults.crash_rate, self._crash),
            (faults.pause_rate, self._pause),
            (faults.clock_rate, self._set_clock),
            (faults.partition_rate, self._partition),
            (faults.clog_rate, self._clog),
            (faults.disconnect_rate, self._disconnect),
            (faults.disk_failure_rate, self._fail_disk),
            (faults.bit_flip_rate, self._flip),
            (faults.transfer_rate, self.operator.transfer),
            (faults.membership_rate, self.operator.change_members),
        ):
            if rate:
                self._every(rate * nodes / 5, strike)

    def _every(self, rate: float, strike: Callable[[], None]) -> None:
        """Let ``strike`` happen ``rate`` times a second on average, until the end."""

        def happen() -> None:
            if self.is_over:
                return
            strike()
            self.cluster.events.after(self.cluster.random.expovariate(rate), happen)

        self.cluster.events.after(self.cluster.random.expovariate(rate), happen)

    # -------------------------------------------------------------- processes
    def _crash(self) -> None:
        cluster, random = self.cluster, self.cluster.random
        if random.random() < cluster.faults.crash_all:
            cluster.count["crashes of all"] += 1
            for each in list(cluster.nodes.values()):
                each.crash()
            return
        node = self._any()
        if node is None:
            return
        if random.random() < cluster.faults.crash_inside:
            node.crash_inside(random.randrange(1, 40))
        else:
            node.crash()

    def _pause(self) -> None:
        if (node := self._any()) is not None:
            node.stand_still(self.cluster.random.uniform(0.1, 4))

    def _set_clock(self) -> None:
        random = self.cluster.random
        if (node := self._any()) is not None:
            node.clock_ahead_ms = random.choice((0, random.randrange(-60_000, 60_000)))
            if node.process is not None:
                node.process.clock.ahead_ms = node.clock_ahead_ms
            self.cluster.count["clocks set"] += 1

    def _any(self) -> SimNode | None:
        """Choose a running node, half of the time one that leads."""
        running = [node for node in self.cluster.nodes.values() if node.runs]
        if self.cluster.random.random() < 0.5:
            running = [node for node in running if node.leads] or running
        return self.cluster.random.choice(running) if running else None

    # -------------------------------------------------------------- network
    def _partition(self) -> None:
        cluster, random = self.cluster, self.cluster.random
        nodes = list(cluster.nodes)
        if random.random() < cluster.faults.isolation:
            node = self._any()
            inside = {nodes[0] if node is None else node.id}
        else:
            inside = set(random.sample(nodes, random.randrange(1, len(nodes))))
        out, into = random.choice(((True, False), (False, True)))
        if random.random() >= cluster.faults.one_way:
            out = into = True
        pairs = {
            (sender, to)
            for sender in nodes
            for to in nodes
            if (out and sender in inside and to not in inside)
            or (into and sender not in inside and to in inside)
        }
        cluster.count["partitions" if out and into else "partitions one way"] += 1
        for sender, to in pairs:
            cluster.network.cut(sender, to)
        cluster.events.after(random.uniform(0.2, 8), cluster.network.mend, pairs)

    def _clog(self) -> None:
        random = self.cluster.random
        sender, to = random.sample(list(self.cluster.nodes), 2)
        self.cluster.count["links clogged"] += 1
        self.cluster.network.clog(sender, to, random.uniform(0.1, 3))

    def _disconnect(self) -> None:
        node = self._any()
        if node is not None and node.process is not None and node.process.transport.links:
            transport = node.process.transport
            peer = self.cluster.random.choice(transport.connected())
            self.cluster.count["connections lost"] += 1
            node.process.loop.call_soon(transport.hang_up, peer)

    # -------------------------------------------------------------- disks
    def _fail_disk(self) -> None:
        random = self.cluster.random
        if (node := self._any()) is not None:
            node.disk.fails_after_taking = random.random() < 0.5
            node.disk.fail(
                random.choice(("the disk is full", "the sync failed")), after=random.randrange(30)
            )

    def _flip(self) -> None:
        """Damage a record, if every group would do without that node."""
        cluster, random = self.cluster, self.cluster.random
        node = random.choice(list(cluster.nodes.values()))
        if any(each.is_corrupt or each.disk.damaged() for each in cluster.nodes.values()):
            return
        runs = node.process is not None
        keys = node.disk.cold_records() if runs else node.disk.sealed_records()
        if keys:
            node.disk.flip(random.choice(keys), random.randrange(1 << 16))
            cluster.count["bits flipped"] += 1


class Operator:
    """Changes who is in which group, through the front door."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._busy: dict[GroupId, float] = {}
        self._were_members: set[NodeId] = set()
        self._is_unsure = False
        """Whether the fate of a change is not known."""

    def transfer(self) -> None:
        """Ask for another leader of some group."""
        cluster, random = self.cluster, self.cluster.random
        gid = random.choice(cluster.gids)
        nodes = [node for node in cluster.nodes.values() if node.runs and node.member(gid)]
        if not nodes:
            return
        node = random.choice(nodes)
        process = node.process
        if process is None:
            return
        heir = random.choice(sorted(cluster.nodes))

        def ask() -> None:
            if process.host is None:
                return
            try:
                process.host.transfer_leadership(gid, heir)
            except Unavailable:
                cluster.count["transfers without a leader"] += 1

        cluster.count["transfers asked"] += 1
        process.loop.call_soon(ask)

    def change_members(self) -> None:
        """Take one step in the membership of some group."""
        cluster, random = self.cluster, self.cluster.random
        self._replace_corrupt()
        gid = random.choice(cluster.gids)
        conf = cluster.checkers.newest_membership(gid)
        if conf is None:
            return
        change = self._one_step(gid, conf) if cluster.shape.is_traced else self._leave_or(conf)
        if change is not None:
            self._propose(gid, change)

    def _one_step(self, gid: GroupId, conf: ConfState) -> ConfChange | None:
        """Return a change that a trace can be written of: one node comes for the first time, or goes.

        None once the fate of one is not known: its leader may count it as pending for ever.
        """
        cluster, random = self.cluster, self.cluster.random
        self._were_members |= conf.members()
        new = sorted(cluster.nodes.keys() - self._were_members)
        steps: list[tuple[ConfOp, NodeId]] = []
        if new:
            steps.append((ConfOp.ADD_LEARNER, random.choice(new)))
        if conf.learners and len(conf.voters) < VOTERS_MAX:
            steps.append((ConfOp.ADD_VOTER, random.choice(conf.learners)))
        came = [voter for voter in conf.voters if cluster.nodes[voter].groups[gid] is None]
        if came and len(conf.voters) > VOTERS_MIN:
            steps.append((ConfOp.REMOVE, random.choice(came)))
        if not steps or self._is_unsure or self._busy:
            return None
        return ConfChange((random.choice(steps),))

    def leave_joint(self) -> None:
        """End what a joint configuration that nobody leaves by itself holds up."""
        for gid in self.cluster.gids:
            conf = self.cluster.checkers.newest_membership(gid)
            if conf is not None and conf.voters_outgoing and not conf.auto_leave:
                self._propose(gid, ConfChange())

    def _replace_corrupt(self) -> None:
        """Give up a node whose disk is damaged once no group counts on it, and add a new one."""
        cluster = self.cluster
        for node in list(cluster.nodes.values()):
            if not node.is_corrupt:
                continue
            members = [cluster.checkers.newest_membership(gid) for gid in cluster.gids]
            if not any(conf is None or node.id in conf.members() for conf in members):
                cluster.replace(node)

    def _leave_or(self, conf: ConfState) -> ConfChange | None:
        if conf.voters_outgoing:
            return None if conf.auto_leave else ConfChange()
        cluster, random = self.cluster, self.cluster.random
        healthy = [node.id for node in cluster.nodes.values() if not node.is_corrupt]
        outside = [node for node in healthy if node not in conf.members()]
        learners = [node for node in conf.learners if node in healthy]
        corrupt = [node for node in conf.voters if node not in healthy]
        steps: list[tuple[tuple[ConfOp, NodeId], ...]] = []
        if outside:
            steps.append(((ConfOp.ADD_LEARNER, random.choice(outside)),))
        if learners and len(conf.voters) < VOTERS_MAX:
            steps += [((ConfOp.ADD_VOTER, random.choice(learners)),)] * 2
        gone = random.choice(corrupt or conf.voters)
        if len(conf.voters) > VOTERS_MIN:
            steps.append(((ConfOp.REMOVE, gone),))
            if not corrupt:
                steps.append(((ConfOp.ADD_LEARNER, gone),))
        if conf.learners:
            steps.append(((ConfOp.REMOVE, random.choice(conf.learners)),))
        others = outside + learners
        if others:
            steps.append(((ConfOp.ADD_VOTER, random.choice(others)), (ConfOp.REMOVE, gone)))
        if len(others) > 1:
            one, other = random.sample(others, 2)
            steps.append(
                (
                    (ConfOp.ADD_VOTER, one),
                    (ConfOp.ADD_LEARNER, other),
                    (ConfOp.REMOVE, gone),
                )
            )
        if len(outside) >= len(conf.voters) - 1:
            # The old and the new majority may share nobody: each must be asked.
            stays = random.choice([node for node in conf.voters if node not in corrupt])
            new = random.sample(outside, len(conf.voters) - 1)
            steps += [
                (
                    *((ConfOp.ADD_VOTER, node) for node in new),
                    *((ConfOp.REMOVE, node) for node in conf.voters if node != stays),
                )
            ] * 2
        if not steps:
            return None
        return ConfChange(random.choice(steps), random.choice(list(Transition)))

    def _propose(self, gid: GroupId, change: ConfChange) -> None:
        cluster = self.cluster
        if self._busy.get(gid, 0.0) > cluster.events.now and cluster.random.random() < 0.7:
            return
        nodes = [node for node in cluster.nodes.values() if node.runs and node.host is not None]
        if not nodes:
            return
        self._busy[gid] = cluster.events.now + 5
        for op, member in change.changes:
            if op is not ConfOp.REMOVE and member in cluster.nodes:
                cluster.nodes[member].open(gid)
        node = cluster.random.choice(nodes)
        node.run(lambda host: host.propose_conf_change(gid, change, 2.0), partial(self._ended, gid))

    def _ended(self, gid: GroupId, result: object) -> None:
        self._busy.pop(gid, None)
        self._is_unsure = self._is_unsure or result != ["ok"]
        if isinstance(result, RaftoralError):
            self.cluster.count["membership changes refused"] += 1
        elif result != ["ok"]:
            self.cluster.checkers.fail("every change of members ends", repr(result))
