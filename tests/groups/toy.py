"""Three hosts in one event loop over memory transports and memory disks, with a toy machine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from raftoral.groups.config import HostConfig
from raftoral.groups.host import Host
from raftoral.ids import GroupId, Index, Millis, NodeId, Term
from raftoral.raft.messages import ConfState, SnapshotMeta
from raftoral.storage.memory import MemoryDisk, MemoryNodeStore
from raftoral.transport.base import Local
from raftoral.transport.memory import MemoryNetwork
from tests import virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from raftoral.groups.group import Group
    from raftoral.kv import Reader, Transaction
    from raftoral.machines.base import Event, Result
    from raftoral.transport.memory import MemoryTransport

G1, G2 = GroupId(1), GroupId(2)
WALL = 1_700_000_000_000
QUICK = HostConfig(tick_ms=5, retry_first_ms=2, retry_max_ms=5)
"""Elections within 50 to 100 ms."""


@dataclass(frozen=True, slots=True)
class Wrote:
    """The toy machine's only event."""

    index: Index
    command: bytes


class Toy:
    """Remembers every command under its index; answers with index, stamp and how many there are."""

    def apply(
        self, index: Index, at: Millis, command: bytes, txn: Transaction
    ) -> tuple[Result, Sequence[Event]]:
        """Remember ``command``."""
        count = int.from_bytes(txn.get(b"count") or b"", "big") + 1
        txn.put(b"count", count.to_bytes(8, "big"))
        txn.put(b"clock", at.to_bytes(8, "big"))
        txn.put(b"log" + index.to_bytes(8, "big"), command)
        if command == b"bug":
            raise KeyError("a broken invariant")
        return ["ok", index, at, count], [Wrote(index, command)]

    def clock(self, reader: Reader) -> Millis:
        """Return the last stamp."""
        return Millis(int.from_bytes(reader.get(b"clock") or b"", "big"))


class ManualClock:
    """The loop's time, and a wall clock that a test may set wrong."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def monotonic(self) -> float:
        """Return the loop's time."""
        return asyncio.get_running_loop().time()

    def wall(self) -> Millis:
        """Return a wall clock that goes with the loop's time."""
        return Millis(WALL + int(self.monotonic() * 1_000) + self.ahead_ms)


class Node:
    """One host, what it reported, and the disk that outlives it."""

    def __init__(self, cluster: ToyCluster, node: int) -> None:
        self.cluster = cluster
        self.id = NodeId(node)
        self.disk = MemoryDisk()
        self.clock = ManualClock()
        self.events: list[Wrote] = []
        self.leadership: list[tuple[GroupId, bool]] = []
        self.snapshots: list[tuple[GroupId, Index]] = []
        self.failures: list[BaseException] = []
        self.flushes: list[bool] = []
        self.transport: MemoryTransport
        self.host: Host

    def start(self) -> None:
        """Open the store and begin to tick; groups are added by the test."""
        local = Local("c", self.id, f"n{self.id}")
        self.transport = self.cluster.network.transport(local, f"node{self.id}")
        self.store = MemoryNodeStore(self.disk)
        self.host = Host(
            self.id,
            self.store,
            self.transport,
            self.clock,
            Random(self.id).randrange,
            self.cluster.config,
        )
        self.host.on_applied = lambda _gid, _index, events: self.events.extend(events)
        self.host.on_leadership = lambda gid, leads: self.leadership.append((gid, leads))
        self.host.on_snapshot = lambda gid, index: self.snapshots.append((gid, index))
        self.host.on_failure = self.failures.append
        self.host.members_of = lambda _gid: [NodeId(1), NodeId(2), NodeId(3)]
        flush = self.store.flush

        def counted(*, sync: bool) -> None:
            self.flushes.append(sync)
            flush(sync=sync)

        self.store.flush = counted  # type: ignore[method-assign]  # counts and passes on
        self.cluster.introduce()
        self.host.start()

    def add(self, gid: GroupId, voters: Sequence[int] = (1, 2, 3)) -> Group:
        """Drive a group that these nodes began."""
        conf = ConfState(voters=tuple(NodeId(voter) for voter in voters))
        return self.host.add_group(gid, Toy(), bootstrap=SnapshotMeta(Index(1), Term(1), conf))

    async def kill(self) -> None:
        """Stop as a crash does: what was not synced is gone."""
        self.host.stop()
        await self.transport.close()
        self.disk.crash()

    def commands(self, gid: GroupId = G1) -> list[bytes]:
        """Return what the machine remembers, oldest first."""
        return [value for _, value in self.host.groups[gid].store.machine.scan(b"log")]


class ToyCluster:
    """Some nodes on one network."""

    def __init__(self, config: HostConfig = QUICK) -> None:
        self.config = config
        self.network = MemoryNetwork(ManualClock().wall)
        self.nodes: dict[int, Node] = {}

    def node(self, number: int) -> Node:
        """Return a new, started node without groups."""
        node = self.nodes[number] = Node(self, number)
        node.start()
        return node

    def introduce(self) -> None:
        """Tell everyone everyone's address."""
        peers = {NodeId(number): f"node{number}" for number in self.nodes}
        for node in self.nodes.values():
            if hasattr(node, "transport"):
                node.transport.set_peers(peers)

    async def three(self, *gids: GroupId) -> tuple[Node, Node, Node]:
        """Return a leader of the first group and its two followers."""
        for number in (1, 2, 3):
            node = self.node(number)
            for gid in gids or (G1,):
                node.add(gid)
        return await self.roles((gids or (G1,))[0])

    async def roles(self, gid: GroupId = G1) -> tuple[Node, Node, Node]:
        """Return the leader that all members agree on, and the two others."""
        members = [self.nodes[number] for number in (1, 2, 3)]

        def agreed() -> bool:
            leaders = {node.host.groups[gid].leader for node in members}
            return len(leaders) == 1 and self.nodes[max(*leaders, 1)].host.groups[gid].reigns

        await until(agreed)
        leader = self.nodes[members[0].host.groups[gid].leader]
        first, second = [node for node in members if node is not leader]
        return leader, first, second


async def until(true: Callable[[], bool], timeout: float = 10) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(timeout):
        while not true():  # noqa: ASYNC110  # what is waited for is any predicate
            await asyncio.sleep(0.001)


def run(
    test: Callable[[ToyCluster], Coroutine[None, None, None]], config: HostConfig = QUICK
) -> None:
    """Run one test in a loop that waits for nothing, and take the cluster down."""

    async def main() -> None:
        cluster = ToyCluster(config)
        try:
            await test(cluster)
        finally:
            for node in cluster.nodes.values():
                node.host.stop()
                await node.transport.close()

    virtual.run(main())
