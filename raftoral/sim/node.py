"""One simulated node: a disk that stays, and the processes that come and go on it.

Owns the life of a node: it opens the real store, the real host and its groups in an event loop of
its own, ticks them, stands still, dies between or inside two operations, and begins again. Never
decides when: `chaos` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from raftoral.errors import CorruptionError, StorageFailed
from raftoral.groups.host import Host
from raftoral.ids import GroupId, Index, NodeId, Term
from raftoral.raft.messages import ConfState, SnapshotMeta
from raftoral.sim import evidence
from raftoral.sim.clock import ProcessClock, ProcessLoop
from raftoral.sim.disk import SimDisk
from raftoral.sim.machine import Registers
from raftoral.sim.network import SimTransport
from raftoral.storage.base import NodeStore
from raftoral.transport.base import Local

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from functools import partial
    from typing import Any

    from raftoral.groups.group import Group
    from raftoral.raft.messages import Message
    from raftoral.sim.cluster import Cluster
    from raftoral.sim.machine import Applied

BEGINNING: Final = Index(1)
"""Groups begin behind this index."""


def _lose_helpful_refusals(host: Host) -> None:
    """Let no refusal of a vote that tells what is committed arrive: a trace cannot be written of it."""
    post = host.router.post

    def without(gid: GroupId, messages: Sequence[Message]) -> list[Message]:
        kept = [each for each in messages if not (each.reject and each.commit)]
        return post(gid, kept)

    host.router.post = without  # type: ignore[method-assign, assignment]  # passes on what may leave


class ProcessKilled(BaseException):  # no error: nothing in the process may catch it
    """The process dies here and now."""


class Process:
    """What dies with a process."""

    def __init__(self, node: SimNode) -> None:
        cluster = node.cluster
        self.node = node
        # It has what asyncio's futures and tasks need; nobody asks it for sockets.
        self.loop = ProcessLoop(cluster.events, self._escaped)  # type: ignore[abstract]
        self.clock = ProcessClock(self.loop, node.clock_ahead_ms)
        self.transport = SimTransport(
            cluster.network, Local("sim", node.id, f"n{node.id}"), self.loop, self.clock
        )
        self.host: Host | None = None
        self.store: NodeStore | None = None
        self.steps_left = 0
        """With more than 0: it dies that many operations of disk or network from now."""
        node.disk.on_step = self._step
        node.disk.on_sync = self._sync
        self.transport.on_step = self._step

    def boot(self) -> None:
        """Open everything, in the first turn of the loop."""
        node, cluster = self.node, self.node.cluster
        try:
            store = self.store = NodeStore(node.disk, clock=self.loop.time)
            self.host = host = Host(
                node.id,
                store,
                self.transport,
                self.clock,
                cluster.chance,
                cluster.shape.host,
            )
            host.on_failure = self._failed
            host.on_snapshot = self._installed
            host.members_of = cluster.members_of
            host.tracer_of = cluster.tracer_of
            cluster.checkers.watch_host(node.id, host)
            if cluster.shape.is_traced:
                _lose_helpful_refusals(host)
            for gid, initial in node.groups.items():
                self.open(gid, initial)
        except (CorruptionError, StorageFailed) as error:
            self._failed(error)
            return
        cluster.network.join(self.transport)
        self._tick()

    def open(self, gid: GroupId, initial: ConfState | None) -> None:
        """Drive a group, with ``initial`` as one of its first members."""
        assert self.host is not None
        node, cluster = self.node, self.node.cluster

        def observe(applied: Applied) -> None:
            cluster.checkers.on_applied(node.id, gid, applied)

        meta = None if initial is None else SnapshotMeta(BEGINNING, Term(1), initial)
        group = self.host.add_group(gid, Registers(observe), bootstrap=meta)
        if initial is None and cluster.shape.is_traced:
            # A leader sends its whole log, and that of a newcomer begins with a snapshot.
            group.raw.may_lead = False
        cluster.checkers.watch_group(node.id, group)

    def open_later(self, gid: GroupId) -> None:
        """Drive a group that others will add this node to."""
        try:
            self.open(gid, None)
        except (CorruptionError, StorageFailed) as error:
            self._failed(error)

    def _tick(self) -> None:
        if self.loop.dead or self.host is None:
            return
        options = self.node.cluster.shape.host
        self.loop.call_later(options.tick_ms / 1_000 * self.node.pace, self._tick)
        self.host.tick()

    # -------------------------------------------------------------- what happens to it
    def _step(self, what: str) -> None:
        if self.loop.dead:
            raise ProcessKilled
        if self.steps_left:
            self.steps_left -= 1
            if not self.steps_left:
                self.node.cluster.count[f"crashes at: {what}"] += 1
                self._die()

    def _die(self) -> NoReturn:
        self.node.crash()
        raise ProcessKilled

    def _sync(self) -> None:
        cluster = self.node.cluster
        if cluster.faults.slow_sync and cluster.random.random() < cluster.faults.slow_sync:
            cluster.count["slow syncs"] += 1
            self.loop.take_time(cluster.random.random())

    def _installed(self, gid: GroupId, index: Index) -> None:
        assert self.host is not None
        self.node.cluster.checkers.on_snapshot(self.node.id, self.host.groups[gid], index)

    def _escaped(self, error: BaseException) -> None:
        if not isinstance(error, ProcessKilled):
            self.node.cluster.checkers.fail(
                evidence.NOTHING_ESCAPES, f"node {self.node.id}: {error!r}"
            )

    def _failed(self, error: BaseException) -> None:
        """The host has stopped by itself; only a broken disk is a reason."""
        if isinstance(error, ProcessKilled):
            return  # It did not: the whole process is gone.
        node, cluster = self.node, self.node.cluster
        if isinstance(error, CorruptionError) and node.disk.damaged():
            cluster.count["damage found"] += 1
            node.is_corrupt = True
        elif isinstance(error, StorageFailed) and node.disk.failures:
            cluster.count["disks failed"] += 1
        else:
            cluster.checkers.fail(evidence.STOPS_FOR_A_REASON, f"node {node.id} stops: {error!r}")
        node.crash()


class SimNode:
    """One node of the cluster, whether it runs or not."""

    def __init__(self, cluster: Cluster, node: NodeId) -> None:
        self.cluster = cluster
        self.id = node
        self.disk = SimDisk()
        self.groups: dict[GroupId, ConfState | None] = {}
        """The groups it drives; with whom it began them."""
        self.process: Process | None = None
        self.is_corrupt = False
        """Damage was found on its disk: it stays away for ever."""
        self.clock_ahead_ms = 0
        self.pace = cluster.random.uniform(0.97, 1.03)
        """The length of its ticks, where 1 is what they should be."""

    # -------------------------------------------------------------- life
    @property
    def host(self) -> Host | None:
        """The running host, or None."""
        return self.process.host if self.process is not None else None

    @property
    def runs(self) -> bool:
        """Whether a process of it is there and not standing still."""
        return self.process is not None and self.process.loop.answers

    @property
    def leads(self) -> bool:
        """Whether it leads any group."""
        host = self.host
        return host is not None and any(group.raw.is_leader for group in host.groups.values())

    def member(self, gid: GroupId) -> Group | None:
        """Return its running member of a group."""
        host = self.host
        return None if host is None else host.groups.get(gid)

    def start(self) -> None:
        """Begin a new process."""
        if self.process is None and not self.is_corrupt:
            process = self.process = self.cluster.make_process(self)
            process.loop.call_soon(process.boot)

    def crash(self) -> None:
        """Die now; the disk keeps what it promised and maybe more."""
        process = self.process
        if process is None:
            return
        cluster, random = self.cluster, self.cluster.random
        cluster.count["crashes"] += 1
        if cluster.faults.keeps_all and process.store is not None:
            process.store.flush(sync=True)
        self.process = None
        process.loop.die()
        cluster.network.leave(process.transport)
        unsynced, keep = self.disk.unsynced, 0
        if unsynced and random.random() < cluster.faults.torn:
            keep = random.randrange(unsynced + 1)
        if unsynced:
            cluster.count["tails torn" if keep else "tails lost"] += 1
        self.disk.crash(keep)
        cluster.on_crash(self)

    def crash_inside(self, operations: int) -> None:
        """Die inside the ``operations``-th operation from now."""
        if self.process is not None:
            self.process.steps_left = operations

    def stand_still(self, seconds: float) -> None:
        """Stop for a while without knowing of it."""
        process = self.process
        if process is not None and process.loop.answers:
            self.cluster.count["pauses"] += 1
            process.loop.stand_still()
            self.cluster.events.after(seconds, process.loop.go_on)

    def open(self, gid: GroupId) -> None:
        """Drive a group from now on, as a member that the others add."""
        if gid in self.groups:
            return
        self.groups[gid] = None
        process = self.process
        if process is not None and process.host is not None:
            process.loop.call_soon(process.open_later, gid)

    def run(self, work: Callable[[Host], Coroutine[Any, Any, object]], done: partial[None]) -> None:
        """Run ``work`` in its process; ``done`` is not called if that dies or is not up."""
        process = self.process
        if process is None:
            return

        async def main(host: Host) -> None:
            try:
                result: object = await work(host)
            except Exception as error:  # whatever it is, the caller judges
                result = error
            if not process.loop.dead:
                self.cluster.events.after(0, done, result)

        def begin() -> None:
            if process.host is not None:
                process.loop.create_task(main(process.host))

        process.loop.call_soon(begin)
