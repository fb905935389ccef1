"""One process of a simulated node that is a whole node: the real engine on simulated parts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from raftoral.errors import CorruptionError, RaftoralError, StorageFailed
from raftoral.ids import MANAGEMENT, GroupId
from raftoral.runtime.config import NodeConfig
from raftoral.runtime.engine import Engine
from raftoral.runtime.parts import Parts
from raftoral.runtime.watchdog import Watchdog
from raftoral.sim.node import Process
from raftoral.storage.base import NodeStore

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from raftoral.groups.group import Group
    from raftoral.groups.host import Host
    from raftoral.ids import Index, Millis
    from raftoral.kv import Reader, Transaction
    from raftoral.machines.base import Event, Result, StateMachine
    from raftoral.raft.messages import ConfState
    from raftoral.runtime.joining import Membership
    from raftoral.sim.node import SimNode
    from raftoral.sim.stack.cluster import StackCluster

REQUEST_S = 2.0


class Unwatched(Watchdog):
    """Virtual time does not pass inside a step, so there is nothing to watch."""

    def start(self) -> None:
        """Begin nothing."""

    def stop(self) -> None:
        """End nothing."""


class SimEngine(Engine):
    """The engine, which tells when its host is there."""

    wired: Callable[[Host], None]

    def _wire(self, store: NodeStore, membership: Membership) -> None:
        super()._wire(store, membership)
        self.wired(self.host)

    async def stop(self) -> None:
        """Do nothing: a simulated process dies, it is not stopped."""


class Watched:
    """A machine whose answers are compared with those of the other members."""

    def __init__(
        self, machine: StateMachine, observe: Callable[[Index, Millis, bytes, Result, Any], None]
    ) -> None:
        self._machine = machine
        self._observe = observe

    def apply(
        self, index: Index, at: Millis, command: bytes, txn: Transaction
    ) -> tuple[Result, Sequence[Event]]:
        """Apply, and tell."""
        result, events = self._machine.apply(index, at, command, txn)
        self._observe(index, at, command, result, events)
        return result, events

    def clock(self, reader: Reader) -> Millis:
        """Return the last stamp."""
        return self._machine.clock(reader)


class StackProcess(Process):
    """What dies with a process of a whole node."""

    engine: SimEngine | None = None

    def __init__(self, node: SimNode, cluster: StackCluster) -> None:
        super().__init__(node)
        self.stack = cluster
        self._starting: asyncio.Task[None] | None = None

    def boot(self) -> None:
        """Open everything, in the first turn of the loop."""
        node, cluster = self.node, self.stack
        shape = cluster.shape.host
        config = NodeConfig(
            listen=f"127.0.0.1:{7400 + node.id}",
            name=f"n{node.id}",
            tick_ms=shape.tick_ms,
            heartbeat_ticks=shape.heartbeat_ticks,
            election_ticks=shape.election_ticks,
            request_timeout_s=REQUEST_S,
            join_timeout_s=1e6,
        )
        parts = Parts(
            self.clock,
            cluster.chance,
            cluster.unique,
            Unwatched(1e6),
            self.transport,
            lambda: NodeStore(node.disk, clock=self.loop.time),
        )
        try:
            engine = self.engine = SimEngine(config, cluster.registry(), self.loop, parts)
        except BaseException as error:
            self._escaped(error)
            return
        engine.wired = self._wired
        engine.failed.add_done_callback(lambda failed: self._failed(failed.result()))
        self._starting = self.loop.create_task(self._start(engine))

    async def _start(self, engine: SimEngine) -> None:
        try:
            await engine.start()
        except (CorruptionError, StorageFailed) as error:
            self._failed(error)
        except RaftoralError as error:
            self.stack.checkers.fail("every node comes back", f"node {self.node.id}: {error!r}")

    def _wired(self, host: Host) -> None:
        self.host = host
        cluster, node = self.stack, self.node
        shape = cluster.shape.host
        host.config = replace(  # Short logs, so that snapshots are taken.
            host.config,
            log_entries_max=shape.log_entries_max,
            log_entries_margin=shape.log_entries_margin,
        )
        cluster.checkers.watch_host(node.id, host)
        for group in host.groups.values():
            self._watch(group)
        add_group, replaced = host.add_group, host.on_snapshot

        def added(gid: GroupId, machine: StateMachine, **options: Any) -> Group:
            group = add_group(gid, machine, **options)
            self._watch(group)
            return group

        def installed(gid: GroupId, index: Index) -> None:
            self._installed(gid, index)
            replaced(gid, index)

        host.add_group = added  # type: ignore[method-assign]  # looks and passes on
        host.on_snapshot = installed
        cluster.network.join(self.transport)

    def _watch(self, group: Group) -> None:
        cluster, node, gid = self.stack, self.node.id, group.gid
        cluster.checkers.watch_group(node, group)

        def observe(index: Index, at: Millis, command: bytes, result: Result, events: Any) -> None:
            cluster.promises.applied(node, gid, index, at, command, result)
            if gid != MANAGEMENT:
                cluster.promises.happened(node, gid, events)

        group.machine = Watched(group.machine, observe)

    def open(self, gid: GroupId, initial: ConfState | None) -> None:
        """Leave it to the engine, which opens what group 0 says."""

    def _tick(self) -> None:
        """Leave it to the host, which ticks by its loop."""
