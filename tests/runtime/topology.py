"""Whole nodes without executors in virtual time: real hosts, machines and managers, simulated wires.

A node is killed as by kill -9 (what was not synced is gone) and may come back on its disk. What a
node does is a function of the seed, so a failure can be run again.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

from raftoral.codec import pack
from raftoral.errors import RaftoralError
from raftoral.groups.config import HostConfig
from raftoral.groups.host import Host
from raftoral.ids import MANAGEMENT, GroupId, Index, NodeId, RunId, Term, Version
from raftoral.machines import management, runs
from raftoral.machines.commands import AddNode, FormCluster, RemoveNode, StartRun
from raftoral.machines.execution import Execution
from raftoral.machines.management import Management
from raftoral.machines.placement import slot_of
from raftoral.raft.messages import ConfState, SnapshotMeta
from raftoral.runtime.config import NodeConfig
from raftoral.runtime.manager import Manager
from raftoral.sim.clock import Events, ProcessClock, ProcessLoop
from raftoral.sim.network import Network, SimTransport
from raftoral.storage.memory import MemoryDisk, MemoryNodeStore
from raftoral.transport.base import Local

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from raftoral.kv import Reader
    from raftoral.machines.base import Result

MANAGE_EVERY_S = 0.1
STEP_S = 0.05
FOUNDER = NodeId(1)
BASE = SnapshotMeta(Index(1), Term(1), ConfState(voters=(FOUNDER,)))


class SimNode:
    """One node: its disk, and the process that is on it now."""

    def __init__(self, cluster: Topology, number: NodeId) -> None:
        self.cluster = cluster
        self.id = number
        self.disk = MemoryDisk()
        self.boots = 0
        self.alive = False
        self.has_left = False
        """Its own log told it that it is forgotten, so it stopped and removed its data."""
        self.peers: Mapping[NodeId, str] = {}
        self.loop: ProcessLoop
        self.host: Host
        self.manager: Manager

    # -------------------------------------------------------------- life
    def start(self) -> None:
        """Begin a process on the disk."""
        if self.alive or self.has_left:
            return
        self.alive = True
        self.boots += 1
        cluster = self.cluster
        self.loop = ProcessLoop(cluster.events, cluster.errors.append)  # type: ignore[abstract]
        self.clock = ProcessClock(self.loop, 0)
        local = Local("sim", self.id, f"n{self.id}")
        self.transport = SimTransport(cluster.network, local, self.loop, self.clock)
        self.loop.call_soon(self._boot)

    def _boot(self) -> None:
        self.store = MemoryNodeStore(self.disk, clock=self.loop.time)
        self.host = Host(
            self.id,
            self.store,
            self.transport,
            self.clock,
            self.cluster.random.randrange,
            self.cluster.host_config,
        )
        self.host.on_applied = self._applied
        self.host.on_snapshot = lambda group, _index: self._applied(group, _index, [])
        self.host.on_failure = self.cluster.errors.append
        self.host.members_of = self._members_of
        founds = self.id == FOUNDER
        self.host.add_group(MANAGEMENT, Management(), bootstrap=BASE if founds else None)
        kept = self.store.groups() or []
        first = range(1, self.cluster.groups + 1) if founds and self.boots == 1 else ()
        for group in sorted({*kept, *map(GroupId, first)} - {MANAGEMENT}):
            self.host.add_group(group, Execution(), bootstrap=BASE if group in first else None)
        config = self.cluster.config
        self.manager = Manager(self.id, f"boot-{self.boots}", config, self.host, self)
        self.cluster.network.join(self.transport)
        self._tick()
        self._manage()

    def _tick(self) -> None:
        if self.alive:
            self.loop.call_later(self.cluster.host_config.tick_ms / 1_000, self._tick)
            self.host.tick()

    def _manage(self) -> None:
        if self.alive:
            self.loop.call_later(MANAGE_EVERY_S, self._manage)
            self.manager.tick()

    def kill(self) -> None:
        """Stop as by kill -9; of what was not synced some stays."""
        if not self.alive:
            return
        self.alive = False
        self.loop.die()
        self.cluster.network.leave(self.transport)
        self.disk.crash(self.cluster.random.randrange(self.disk.unsynced + 1))

    # -------------------------------------------------------------- what the manager asks for
    def open_group(self, group: GroupId) -> None:
        """Drive an execution group."""
        self.host.add_group(group, Execution())

    def close_group(self, group: GroupId) -> None:
        """Drive it no more; nobody may count on this node there any more."""
        voters = self.cluster.newest_conf(group).voters
        assert self.id not in voters
        count_on_it = [each for each in voters if self.cluster.counts_on(each, group, self.id)]
        assert 2 * len(count_on_it) < len(voters), f"{count_on_it} of {voters} may need its vote"
        self.host.remove_group(group, forget=True)
        self.cluster.on_close(group)

    def set_peers(self, peers: Mapping[NodeId, str]) -> None:
        """Take note of them: here everyone may reach everyone."""
        self.peers = peers

    # -------------------------------------------------------------- what it sees
    @property
    def topology(self) -> Reader:
        """Group 0 as this node has applied it."""
        return self.host.groups[MANAGEMENT].state

    def _members_of(self, group: GroupId) -> Sequence[NodeId]:
        if group == MANAGEMENT:
            return [each.id for each in management.nodes(self.topology)]
        told = management.placed(self.topology, group)
        return told[1] if told is not None else management.groups(self.topology).get(group, [])

    def _applied(self, group: GroupId, _index: Index, _events: Sequence[Any]) -> None:
        if group == MANAGEMENT and management.is_gone(self.topology, self.id):
            self.loop.call_soon(self._leave)

    def _leave(self) -> None:
        if self.alive:
            self.host.stop()
            self.store.retire()
            self.has_left = True
            self.kill()


class Topology:
    """A cluster that grows, shrinks and is shaken."""

    def __init__(
        self, seed: int, *, groups: int = 2, leave_grace_s: float = 2.0, **options: Any
    ) -> None:
        self.random = Random(seed)
        self.groups = groups
        self.events = Events()
        self.errors: list[BaseException] = []
        self.network = Network(
            self.events, self.random, Counter(), grid_seconds=0.001, wire=seed % 4 == 0
        )
        self.host_config = HostConfig(
            log_entries_max=self.random.choice((20, 200, 10_000)), log_entries_margin=5
        )
        self.config = NodeConfig(leave_grace=timedelta(seconds=leave_grace_s), **options)
        self.nodes: dict[NodeId, SimNode] = {}
        self.watch: Callable[[], None] = lambda: None
        """Called every ``step_s`` of virtual time."""
        self.step_s = STEP_S
        self.on_close: Callable[[GroupId], None] = lambda _group: None
        """Called when a node has removed the data of a group."""
        self._add(FOUNDER).start()
        self.run(1)
        founder = self.nodes[FOUNDER]
        self.ask(founder, lambda: founder.host.propose(MANAGEMENT, _form(groups), 5))
        self.join("founder")

    def _add(self, number: NodeId) -> SimNode:
        node = self.nodes[number] = SimNode(self, number)
        return node

    # -------------------------------------------------------------- what a test does
    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.events.now + seconds
        while self.events.now < until:
            self.events.run(min(until, self.events.now + self.step_s))
            assert not self.errors, self.errors
            self.watch()

    def until(self, true: Callable[[], bool], seconds: float) -> None:
        """Let time pass until something holds; fail after so many seconds."""
        limit = self.events.now + seconds
        while not true():
            assert self.events.now < limit, f"not within {seconds} s: {self.picture()}"
            self.run(STEP_S)

    def ask(self, node: SimNode, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Do some work on a node and return what came of it; None if the node died meanwhile."""
        results: list[Any] = []

        async def main() -> None:
            try:
                results.append(await work())
            except RaftoralError as error:
                results.append(error)

        node.loop.call_soon(lambda: node.loop.create_task(main()))
        limit = self.events.now + 30
        while not results and node.alive and self.events.now < limit:
            self.run(STEP_S)
        return results[0] if results else None

    def propose(self, group: GroupId, command: bytes) -> Result:
        """Have a command applied, by whichever node can."""
        for _ in range(100):
            node = self.random.choice(self.living())
            answer = self.ask(node, lambda at=node: at.host.propose(group, command, 3))  # type: ignore[misc]
            if isinstance(answer, list):
                return answer
        raise AssertionError(f"nobody takes it: {self.picture()}")

    def join(self, nonce: str, *, comes: bool = True) -> SimNode:
        """Have a new node join."""
        result = self.propose(MANAGEMENT, AddNode(nonce, "", f"node-{nonce}", "").encode())
        assert result[0] == "ok", result
        number = NodeId(result[1])
        node = self.nodes.get(number) or self._add(number)
        if comes:
            node.start()
        return node

    def grow(self, count: int) -> None:
        """Have nodes join until there are so many, and wait until all have their places."""
        while len(self.nodes) < count:
            self.join(f"joiner-{len(self.nodes) + 1}")
        self.until(self.is_settled, 60)

    def start_runs(self, count: int) -> None:
        """Start so many runs."""
        for number in range(count):
            run_id = RunId(f"r{number}")
            group = GroupId(1 + slot_of(run_id) % self.groups)
            command = StartRun(run_id, "w", Version(1), "m", pack({}), Index(0))
            assert self.propose(group, command.encode())[0] == "ok"

    # -------------------------------------------------------------- what a test sees
    def living(self) -> list[SimNode]:
        """Return the nodes that run."""
        return [node for node in self.nodes.values() if node.alive]

    def leader(self, group: GroupId) -> SimNode | None:
        """Return who leads a group in the newest term."""
        leaders = [
            (node.host.groups[group].raw.term, node.id)
            for node in self.living()
            if hasattr(node, "host")
            and group in node.host.groups
            and node.host.groups[group].raw.is_leader
        ]
        return self.nodes[max(leaders)[1]] if leaders else None

    def newest_conf(self, group: GroupId) -> ConfState:
        """Return the membership that any running member has applied last."""
        found = [
            (there.store.applied, there.raw.conf)
            for node in self.living()
            if hasattr(node, "host") and (there := node.host.groups.get(group)) is not None
        ]
        return max(found, key=lambda each: each[0])[1]

    def counts_on(self, one: NodeId, group: GroupId, other: NodeId) -> bool:
        """Tell whether a node that runs believes that another one votes in a group."""
        node = self.nodes[one]
        if not node.alive or not hasattr(node, "host") or group not in node.host.groups:
            return False
        return other in node.host.groups[group].raw.conf.voters

    def remove(self, number: int, *, living: Sequence[int] | None = None) -> Result:
        """Have group 0 note that a node is to leave."""
        answering = [node.id for node in self.living()] if living is None else living
        command = RemoveNode(NodeId(number), [NodeId(each) for each in answering])
        return self.propose(MANAGEMENT, command.encode())

    def all_groups(self) -> list[GroupId]:
        """Return group 0 and the execution groups."""
        return [GroupId(number) for number in range(self.groups + 1)]

    def is_settled(self) -> bool:
        """Tell whether every group has the members that it is meant to have, and they agree."""
        zero = self.leader(MANAGEMENT)
        if zero is None or management.leaving(zero.topology):
            return False
        stay, meant = management.staying(zero.topology), management.groups(zero.topology)
        meant[MANAGEMENT] = management.management_voters(zero.topology)
        for group in self.all_groups():
            leader = self.leader(group)
            if leader is None:
                return False
            conf = leader.host.groups[group].raw.conf
            learners = set() if group else {*stay} - {*meant[MANAGEMENT]}
            if set(conf.voters) != set(meant[group]) or set(conf.learners) != learners:
                return False
            applied = leader.host.groups[group].raw.commit
            for member in conf.members():
                node = self.nodes[member]
                if not node.alive or group not in node.host.groups:
                    return False
                there = node.host.groups[group]
                if there.raw.conf != conf or there.store.applied != applied:
                    return False
            told = management.placed(zero.topology, group)
            if group and (told is None or told[1] != sorted(conf.members())):
                return False
            if group and set(runs.members_up(leader.host.groups[group].state)) != set(conf.voters):
                return False
        return True

    def check_equal(self) -> None:
        """Check that all members of a group hold the same bytes."""
        for group in self.all_groups():
            leader = self.leader(group)
            assert leader is not None
            conf = leader.host.groups[group].raw.conf
            states = [
                list(self.nodes[each].host.groups[group].state.scan(b"")) for each in conf.members()
            ]
            assert all(state == states[0] for state in states), f"group {group} differs"

    def picture(self) -> str:
        """Return what every node that runs believes, for a failure's message."""
        lines = [f"at {self.events.now:.2f}"]
        for node in self.living():
            if hasattr(node, "host"):
                lines += [
                    f"  node {node.id} group {group}: {each.raw.role.value} term {each.raw.term} "
                    f"applied {each.store.applied} {each.raw.conf}"
                    for group, each in node.host.groups.items()
                ]
                lines.append(
                    f"    meant {management.groups(node.topology)} "
                    f"leaving {management.leaving(node.topology)} "
                    f"gone {sorted(management.gone(node.topology))}"
                )
        return "\n".join(lines)


def _form(groups: int) -> bytes:
    return FormCluster("sim", groups).encode()
