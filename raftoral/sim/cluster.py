"""A whole cluster and its story: faults first, then peace, in which everything must come right.

Owns one run from its seed to its `Report`. Two phases: safety while everything may break, then
liveness: all faults end, all nodes are back, and within a bounded time every group has a leader,
all its members hold the same bytes and every client has its answer.

Source: the two phases are those of TigerBeetle's simulator; swarm testing as in FoundationDB's.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from struct import Struct
from typing import TYPE_CHECKING, Final

from raftoral.errors import CorruptionError
from raftoral.groups.config import HostConfig
from raftoral.ids import GroupId, Index, NodeId
from raftoral.raft.messages import ConfState
from raftoral.raft.trace import Tracer
from raftoral.sim import evidence, machine
from raftoral.sim.chaos import Chaos
from raftoral.sim.checkers import Checkers
from raftoral.sim.clients import Client
from raftoral.sim.clock import Events
from raftoral.sim.faults import CALM, Faults, some_faults, traceable_faults
from raftoral.sim.network import Network
from raftoral.sim.node import Process, SimNode
from raftoral.storage.base import NodeStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from raftoral.errors import PeerError
    from raftoral.groups.group import Group
    from raftoral.sim.disk import SimDisk
    from raftoral.transport.frame import Frame

CONVERGES: Final = "after the faults every group comes right in time"
EQUAL_BYTES: Final = "in the end all members hold the same bytes"
ALL_THERE: Final = "what was acknowledged is in the final state"
CONVERGE_ELECTIONS: Final = 20
"""So many of the longest election timeouts may pass until all is well again."""
_STEP: Final = 0.25
_EVENT: Final = Struct(">dHHBI")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The shape of one run."""

    nodes: int | None = None
    groups: int | None = None
    clients: int = 4
    seconds: float = 60.0
    """How long the faults last, in virtual time."""
    faults: Faults | None = None
    """Here as with the other numbers, None lets the seed choose."""
    trace: Callable[[str], object] | None = None
    """Takes the steps of the first group, one line each; see `raftoral.raft.trace`."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the seed chose: small limits reach corners that the defaults never see."""

    nodes: int
    groups: int
    faults: Faults
    host: HostConfig
    value_bytes_max: int
    grid_ms: int
    """Frames arrive at whole multiples of it: the coarser, the more are read in one turn."""
    wire: bool
    """Whether frames pass the real encoder and decoder."""
    is_traced: bool = False
    """Whether only that happens which a trace can be written of; see `raftoral.raft.trace`."""

    @classmethod
    def of(cls, options: Options, random: Random) -> Shape:
        """Return the shape of one run; the same for the same seed."""
        if options.trace is not None:
            return cls._traced(options, random)
        host = HostConfig(
            tick_ms=random.choice((50, 100)),
            heartbeat_ticks=random.choice((1, 2, 3)),
            log_entries_max=random.choice((5, 20, 100, 10_000)),
            log_entries_margin=random.choice((0, 1, 5, 20)),
            message_bytes_max=random.choice((1, 1_000, 256 * 1024)),
            uncommitted_bytes_max=random.choice((200, 16 * 1024 * 1024)),
            silence_max_ms=random.choice((1_000, 3_000)),
            snapshot_stall_ms=1_000,
        )
        nodes, groups = random.choice((3, 5, 5, 5, 6)), random.choice((1, 2, 3))
        faults = some_faults(random)
        return cls(
            nodes=options.nodes or nodes,
            groups=options.groups or groups,
            faults=options.faults or faults,
            host=host,
            value_bytes_max=random.choice((1_000, 1_000, 100_000)),
            grid_ms=random.choice((1, 5, 10)),
            wire=random.random() < 0.25,
        )

    @classmethod
    def _traced(cls, options: Options, random: Random) -> Shape:
        """Return a shape without pre-votes and compactions, which the form of a trace lacks."""
        host = HostConfig(
            heartbeat_ticks=random.choice((3, 5)), pre_vote=False, log_entries_max=10_000_000
        )
        return cls(
            nodes=options.nodes or random.choice((4, 5, 6)),
            groups=options.groups or 1,
            faults=options.faults or traceable_faults(random),
            host=host,
            value_bytes_max=1_000,
            grid_ms=random.choice((1, 5, 10)),
            wire=False,
            is_traced=True,
        )


@dataclass(frozen=True, slots=True)
class Report:
    """What one run was and found; ``violation`` is None if all held."""

    seed: int
    violation: str | None
    seconds: float
    events: int
    count: Counter[str]
    digest: str
    """A hash over everything that happened."""
    converged_in: float
    """Seconds of virtual time from the end of the faults."""


class Cluster:
    """The cluster of one seed."""

    def __init__(self, seed: int, options: Options) -> None:
        random = self.random = Random(seed)  # noqa: S311  # no secret
        self.seed = seed
        self.chance = random.randrange
        self.shape = shape = Shape.of(options, random)
        self.seconds = options.seconds
        self.faults = shape.faults
        self.count: Counter[str] = Counter()
        self.events = Events()
        self.network = Network(
            self.events, random, self.count, grid_seconds=shape.grid_ms / 1_000, wire=shape.wire
        )
        self.network.faults = self.faults
        self.network.on_arrival = self._note_arrival
        self.network.on_peer_error = self._note_peer_error
        self.nodes: dict[NodeId, SimNode] = {}
        self.disks: dict[NodeId, SimDisk] = {}
        self.checkers = Checkers(self.count, self.disks)
        self.checkers.on_violation = self.events.stop
        self.gids = [GroupId(gid) for gid in range(shape.groups)]
        self._tracer = None if options.trace is None else Tracer(options.trace)
        self.floors = {gid: Index(0) for gid in self.gids}
        """Per group, the latest place in its log that anyone outside knows of."""
        self.acknowledged: dict[tuple[GroupId, int], int] = {}
        self.clients_go_on = True
        self._hash = blake2b(digest_size=16)
        for number in range(1, shape.nodes + 1):
            self._add(NodeId(number))
        for gid in self.gids:
            voters = random.sample(
                sorted(self.nodes),
                min(shape.nodes, 3 if shape.is_traced else random.choice((3, 3, 5))),
            )
            conf = ConfState(tuple(sorted(voters)))
            for node in conf.voters:
                self.nodes[node].groups[gid] = conf
            if shape.is_traced:
                # Who comes later is there from the beginning: a trace says first who takes part.
                for node in self.nodes.keys() - conf.members():
                    self.nodes[node].groups[gid] = None
        self.clients = [Client(self, number + 1) for number in range(options.clients)]

    def _add(self, number: NodeId) -> SimNode:
        node = self.nodes[number] = SimNode(self, number)
        self.disks[number] = node.disk
        return node

    def make_process(self, node: SimNode) -> Process:
        """Return a new process of a node."""
        return Process(node)

    # -------------------------------------------------------------- the story
    def run(self, on_minute: Callable[[float], None] = lambda _seconds: None) -> Report:
        """Run to the end, or to the first violation."""
        for node in self.nodes.values():
            node.start()
        for client in self.clients:
            self.events.after(self.random.random(), client.begin)
        chaos = Chaos(self)
        converged_in = 0.0
        minute = 60.0
        while self.events.now < self.seconds and self._holds():
            self.events.run(self.events.now + _STEP)
            self._compare()
            if self.events.now >= minute:
                on_minute(self.events.now)
                minute += 60
        if self._holds():
            self._heal(chaos)
            converged_in = self._converge(chaos)
        if self._holds():
            self._check_disks()
        for node in self.nodes.values():
            if node.process is not None:
                node.process.loop.die()
                node.process.loop.bury()
        return Report(
            self.seed,
            self.checkers.violation,
            self.events.now,
            self.events.happened,
            self.count,
            self._hash.hexdigest(),
            converged_in,
        )

    def _holds(self) -> bool:
        return self.checkers.violation is None

    def _heal(self, chaos: Chaos) -> None:
        """End all faults and bring everyone back."""
        chaos.is_over = True
        self.faults = CALM
        self.network.heal()
        self.clients_go_on = False
        for node in self.nodes.values():
            node.clock_ahead_ms = 0
            if node.process is not None:
                node.process.steps_left = 0
                node.process.clock.ahead_ms = 0
                node.process.loop.go_on()
                node.disk.repair()
            node.start()

    def _converge(self, chaos: Chaos) -> float:
        """Run until all is well; return how long that took."""
        began = self.events.now
        host = self.shape.host
        limit = began + CONVERGE_ELECTIONS * 2 * host.election_seconds
        while self._holds():
            self.events.run(self.events.now + _STEP)
            self._compare()
            trouble = self._trouble()
            if trouble is None:
                break
            if self.events.now > limit:
                self.checkers.fail(CONVERGES, trouble)
            chaos.operator.leave_joint()
        return self.events.now - began

    def _trouble(self) -> str | None:
        """Return what is not well yet; None if nothing, or if nothing can make it well."""
        if any(map(self._is_lost, self.gids)):
            self.count["groups lost to damage"] += 1
            return None
        for gid in self.gids:
            members = {
                node.id: group for node in self.nodes.values() if (group := node.member(gid))
            }
            leaders = [group for group in members.values() if group.reigns]
            if len(leaders) != 1:
                return f"group {gid} has {len(leaders)} leaders"
            leader = leaders[0].raw
            conf = leader.conf
            if conf.voters_outgoing:
                return f"group {gid} is in the joint configuration {conf}"
            for node in sorted(conf.members()):
                group = members.get(node)
                if group is None:
                    if node in self.nodes and self.nodes[node].is_corrupt:
                        continue
                    return f"group {gid} has no member on node {node}"
                status = group.raw.status()
                if status.leader != leader.id or status.conf != conf:
                    return f"group {gid}: node {node} follows {status.leader} in {status.conf}"
                if not status.applied == status.last == leader.commit:
                    return (
                        f"group {gid}: node {node} has applied {status.applied} of {status.last}, "
                        f"the leader has committed {leader.commit}"
                    )
            self._check_equal(gid, [members[node] for node in conf.members() if node in members])
        waiting = [client.id for client in self.clients if not client.is_idle]
        return f"clients {waiting} wait" if waiting else None

    def _is_lost(self, gid: GroupId) -> bool:
        """Whether damage took a group's majority: one of two voters, where changes left no more."""
        conf = self.checkers.newest_membership(gid)
        for voters in (conf.voters, conf.voters_outgoing) if conf is not None else ():
            sound = [
                each for each in voters if each in self.nodes and not self.nodes[each].is_corrupt
            ]
            if voters and 2 * len(sound) <= len(voters):
                return True
        return False

    # -------------------------------------------------------------- checks
    def _compare(self) -> None:
        for gid in self.gids:
            members = {
                node.id: group for node in self.nodes.values() if (group := node.member(gid))
            }
            self.checkers.compare(gid, members)

    def _check_equal(self, gid: GroupId, members: Sequence[Group]) -> None:
        states = [list(group.store.machine.scan(b"")) for group in members]
        if any(state != states[0] for state in states):
            self.checkers.fail(EQUAL_BYTES, f"group {gid}")
        reader = members[0].store.machine
        for (acknowledged_in, client), number in self.acknowledged.items():
            if acknowledged_in == gid and machine.answered(reader, client) < number:
                self.checkers.fail(
                    ALL_THERE, f"group {gid}: command {number} of client {client} is not there"
                )

    def _check_disks(self) -> None:
        """Open every damaged disk: it must not pass."""
        for node in self.nodes.values():
            if not node.disk.damaged():
                continue
            store = NodeStore(node.disk)
            try:
                for gid in store.groups():
                    store.group(gid)
            except CorruptionError:
                continue
            self.checkers.fail(
                evidence.NO_SILENT_DAMAGE, f"node {node.id}: {node.disk.damaged()[0]!r}"
            )

    # -------------------------------------------------------------- what others tell
    def members_of(self, gid: GroupId) -> Sequence[NodeId]:
        """Return who drives a group, as group 0 would say."""
        return [node.id for node in self.nodes.values() if gid in node.groups]

    def tracer_of(self, gid: GroupId) -> Tracer | None:
        """Return who writes the steps of a group down: one trace is of one group."""
        return self._tracer if gid == self.gids[0] else None

    def on_crash(self, node: SimNode) -> None:
        """Let a node come back after a while."""
        self._note(b"crash", node.id)
        delay = self.random.choice((0.05, 0.5, 5.0)) * self.random.random()
        self.events.after(delay if self.faults is not CALM else 0.05, self._restart, node)

    def _restart(self, node: SimNode) -> None:
        if node.process is None and not node.is_corrupt and self.nodes.get(node.id) is node:
            self.count["restarts"] += 1
            node.start()

    def replace(self, node: SimNode) -> None:
        """Give up a node for good; another one with a new number takes its place."""
        del self.nodes[node.id]
        self.count["nodes replaced"] += 1
        self._add(NodeId(max(self.disks) + 1)).start()

    def _note_arrival(self, sender: NodeId, to: NodeId, frame: Frame) -> None:
        kind, group, body = frame
        update = self._hash.update
        update(_EVENT.pack(self.events.now, sender, to, kind, group))
        for field in body:
            if type(field) is bytes:
                update(field)

    def _note(self, what: bytes, node: NodeId) -> None:
        self._hash.update(_EVENT.pack(self.events.now, node, 0, 255, 0) + what)

    def _note_peer_error(self, node: NodeId, error: PeerError) -> None:
        self.checkers.fail(evidence.PEERS_ARE_CORRECT, f"node {node}: {error}")
