"""Everything of one node that lives in the node's own loop: opened, wired, ticked, closed.

Owns the order of starting and stopping. Nothing here decides anything: it puts store, transport,
host, executors and manager together and hands events from one to the next.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

from raftoral.errors import NodeRemoved, Unavailable, UsageError
from raftoral.groups.config import HostConfig
from raftoral.groups.host import Host
from raftoral.ids import MANAGEMENT, GroupId, Index, NodeId
from raftoral.machines import management
from raftoral.machines.execution import Execution
from raftoral.machines.management import Management
from raftoral.registry.loader import Loader
from raftoral.runtime import joining
from raftoral.runtime.admission import Admission
from raftoral.runtime.attempts import Attempts
from raftoral.runtime.executor import Executor
from raftoral.runtime.manager import Manager
from raftoral.runtime.names import Names
from raftoral.runtime.parts import Parts, real_parts
from raftoral.runtime.port import GroupPort
from raftoral.runtime.services import Services
from raftoral.runtime.settling_in import deploy_all, settle_in
from raftoral.security.tls import Tls
from raftoral.transport.base import Local

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from raftoral.machines import execution
    from raftoral.registry.app import Registry
    from raftoral.runtime.config import NodeConfig
    from raftoral.runtime.joining import Membership
    from raftoral.storage.base import Identity, NodeStore

log = logging.getLogger("raftoral.node")

MANAGE_EVERY_S: Final = 0.1
EXECUTORS_EVERY_S: Final = 0.25


class Engine:
    """One node, inside its loop: `start`, use `services`, `stop`."""

    host: Host
    services: Services

    def __init__(
        self,
        config: NodeConfig,
        registry: Registry,
        application: asyncio.AbstractEventLoop,
        parts: Parts | None = None,
    ) -> None:
        """``parts`` is what the node takes from the machine; the real ones, if it is None."""
        self.warnings: list[str] = []
        self.config, tls = self._certified(config.checked())
        self.loader = Loader(registry)
        self.executors: dict[GroupId, Executor] = {}
        self.failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._parts = parts or real_parts(self.config, tls)
        self._watchdog = self._parts.watchdog
        self._attempts = Attempts(
            registry, application, config.activity_threads, config.activity_processes
        )
        self.incarnation = self._parts.unique()
        self._store: NodeStore | None = None
        self._retires = False
        """Whether its own log says that this node has left, so that what it stores can go."""
        self._manager: Manager | None = None
        self._names: Names | None = None
        self._background: list[asyncio.Task[None]] = []
        self.transport = self._parts.transport
        self._admission = Admission(self.transport)

    def _certified(self, config: NodeConfig) -> tuple[NodeConfig, Tls | None]:
        """Load the certificates, if there are any: the node is called what its own one says."""
        if config.tls is None:
            return config, None
        tls = Tls(config.tls, datetime.now(UTC))
        if config.name not in ("", tls.name):
            raise UsageError(
                f"the certificate {config.tls.cert} is that of {tls.name!r}, not of {config.name!r}; "
                "leave --name out, or issue a certificate for that name"
            )
        for warning in tls.warnings:
            self.warnings.append(warning)
            log.warning("%s", warning)
        return replace(config, name=tls.name), tls

    @property
    def node(self) -> NodeId:
        """This node's id."""
        return self.transport.local.node

    @property
    def cluster(self) -> str:
        """The cluster's id."""
        return self.transport.local.cluster

    # -------------------------------------------------------------- starting
    async def start(self) -> None:
        """Open everything and wait until this node has its place in the cluster.

        Raises `UsageError`, `Unavailable`, `CorruptionError` or `StorageFailed`; nothing is left open.
        """
        try:
            # The port first: if it is taken, nothing is written.
            await self.transport.start()
            self._store = store = self._parts.open_store()
            self._watchdog.start()
            membership = await self._membership(store)
            self._wire(store, membership)
            await self._or_failure(
                asyncio.wait_for(self._settle_in(membership.identity), self.config.join_timeout_s)
            )
        except TimeoutError:
            await self.stop()
            raise Unavailable(
                f"the cluster has no leader for {self.config.join_timeout_s:g} s: most of its nodes "
                "must run. Start the others, then this one again"
            ) from None
        except BaseException:
            await self.stop()
            raise

    async def _or_failure(self, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work``, unless this node fails meanwhile; then raise why."""
        task = asyncio.ensure_future(work)
        either: set[asyncio.Future[Any]] = {task, self.failed}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not task.done():
                task.cancel()
        if self.failed.done():
            failure = self.failed.result()
            raise UsageError(str(failure)) if isinstance(failure, NodeRemoved) else failure
        await task

    async def _membership(self, store: NodeStore) -> Membership:
        identity = store.identity()
        if identity is not None:
            if store.is_retired:
                raise UsageError(_removed(identity))
            if self.config.tls is not None and identity.name != self.config.name:
                raise UsageError(
                    f"the data folder {self.config.data} is that of node {identity.name!r}, but the "
                    f"certificate is that of {self.config.name!r}; give each node its own of both"
                )
            if self.config.join:
                await joining.check_same_cluster(identity, self.transport, self.config)
            if store.group(MANAGEMENT).last_index():
                return joining.Membership(identity, {})
            if not self.config.join:
                raise UsageError(
                    f"the node in {self.config.data} had not heard from its cluster when it was "
                    "stopped, so it does not know the others yet; start it with --join once more"
                )
            # Asking again with the nonce on the disk gives the same id, and the others' addresses.
        if self.config.join:
            return await joining.join(store, self.transport, self.config)
        return joining.found(store, self.config)

    def _wire(self, store: NodeStore, membership: Membership) -> None:
        identity = membership.identity
        self.transport.become(Local(identity.cluster, identity.node, identity.name))
        config = self.config
        self.host = Host(
            identity.node,
            store,
            self.transport,
            self._parts.clock,
            self._parts.chance,
            HostConfig(
                tick_ms=config.tick_ms,
                heartbeat_ticks=config.heartbeat_ticks,
                election_ticks=config.election_ticks,
            ),
        )
        self.host.on_applied = self._applied
        self.host.on_snapshot = self._replaced
        self.host.on_failure = self._fail
        self.host.add_group(MANAGEMENT, Management())
        if management.is_gone(self.host.groups[MANAGEMENT].state, identity.node):
            self._retires = True
            raise UsageError(_removed(identity))
        self.transport.is_removed = self._is_removed
        self.transport.on_expelled = self._expelled
        self._names = Names(self.host, self.transport, membership.names)
        self.services = Services(
            config,
            self.host,
            self.transport,
            self.loader,
            self._watchdog,
            self.executors,
            self._parts.unique,
        )
        self.host.on_peer_lost = self.services.peer_lost
        self.host.on_leadership = self.services.leads
        self.host.members_of = self._members_of
        for group in store.groups():
            if group != MANAGEMENT:
                self.open_group(group)
        peers = membership.peers or {
            each.id: each.address for each in management.nodes(self.host.groups[MANAGEMENT].state)
        }
        self.transport.set_peers({k: v for k, v in peers.items() if k != identity.node})
        self.host.start()
        for member in self.host.groups.values():
            if member.raw.conf.voters == (identity.node,):
                member.raw.campaign()  # Nobody else can lead, so there is nothing to wait for.
        self._manager = Manager(identity.node, self.incarnation, config, self.host, self)
        self._admission.open(self.host)
        self._every(MANAGE_EVERY_S, self._manager.tick)
        self._every(EXECUTORS_EVERY_S, self._tick_executors)

    def _members_of(self, group: GroupId) -> list[NodeId]:
        """Return who has a group that may not be here."""
        topology = self.host.groups[MANAGEMENT].state
        if group == MANAGEMENT:
            return [each.id for each in management.nodes(topology)]
        told = management.placed(topology, group)
        return told[1] if told is not None else management.groups(topology).get(group, [])

    def _is_removed(self, node: NodeId) -> bool:
        """Tell whether a node has left, and has had the time to learn it."""
        zero = self.host.groups[MANAGEMENT]
        return management.is_gone(zero.state, node) and node not in zero.raw.conf.members()

    async def _settle_in(self, me: Identity) -> None:
        await settle_in(self.host, me, self.config, len(self.executors))
        own = self.loader.python_definitions()
        self.warnings += await deploy_all(own, self.services.definitions)

    # -------------------------------------------------------------- what the manager asks for
    def open_group(self, group: GroupId) -> None:
        """Drive an execution group, and run its runs."""
        self.host.add_group(group, Execution())
        port = GroupPort(self, group)
        executor = Executor(
            self.node, port, self.loader, self._attempts, self._watchdog, self._parts.chance
        )
        self.executors[group] = executor
        executor.load()

    def close_group(self, group: GroupId) -> None:
        """Drive an execution group that this node has left no more, and remove its data."""
        log.info("this node has left group %d", group)
        self.executors.pop(group).close()
        self.host.remove_group(group, forget=True)
        self.services.replaced(group)

    def set_peers(self, peers: Mapping[NodeId, str]) -> None:
        """Say who else is in the cluster, and where."""
        self.transport.set_peers(peers)

    # -------------------------------------------------------------- events
    def application_changed(self) -> None:
        """Begin anew with what the application registers now, and tell the groups.

        Runs that were parked because this node could not go on with them come back with the new
        incarnation's `Publish`.
        """
        assert self._manager is not None, "the application changes after the start"
        self.incarnation = self._manager.incarnation = self._parts.unique()
        for executor in self.executors.values():
            executor.load()

    def _applied(self, group: GroupId, _index: Index, events: Sequence[Any]) -> None:
        if group == MANAGEMENT:
            self.transport.names_changed()
            if management.NodeForgotten(self.node) in events:
                self._look_for_the_end()
            for executor in self.executors.values():
                executor.catalog_changed()
            return
        told = cast("Sequence[execution.Event]", events)
        self.executors[group].applied(told)
        self.services.applied(group, told)

    def _replaced(self, group: GroupId, _index: Index) -> None:
        """A snapshot replaced the group's state: begin again from it."""
        if group == MANAGEMENT:
            self.transport.names_changed()
            self._look_for_the_end()
        if group in self.executors:
            self.executors[group].load()
            self.services.replaced(group)

    def _look_for_the_end(self) -> None:
        """Stop, after the drain, if group 0 says here that this node has left."""
        if management.is_gone(self.host.groups[MANAGEMENT].state, self.node):
            self._retires = True
            asyncio.get_running_loop().call_soon(self._expelled)

    def _expelled(self) -> None:
        """This node was removed: nothing that it does counts any more, so it does nothing."""
        identity = self._store.identity() if self._store is not None else None
        if self.failed.done() or identity is None:
            return
        log.warning("%s", _removed(identity))
        for task in self._background:
            task.cancel()
        for executor in self.executors.values():
            executor.close()
        self.host.stop()
        self._fail(NodeRemoved(_removed(identity)))

    def _fail(self, error: BaseException) -> None:
        """The disk failed: this node stops, so that it acknowledges nothing that it may not have."""
        if not self.failed.done():
            self.failed.set_result(error)

    def _tick_executors(self) -> None:
        for executor in self.executors.values():
            executor.tick()
        self.services.tick()

    def _every(self, seconds: float, work: Any) -> None:
        async def repeat() -> None:
            while True:
                try:
                    work()
                except Exception as error:
                    # Going on without this work would look alive and take over nothing.
                    log.critical("this node stops: %s", error, exc_info=error)
                    self.host.stop()
                    self._fail(error)
                    return
                await asyncio.sleep(seconds)

        self._background.append(asyncio.get_running_loop().create_task(repeat()))

    # -------------------------------------------------------------- stopping
    async def stop(self) -> None:
        """Close everything; what is not settled is done again after the next start."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if self._manager is not None:
            self._manager.close()
        if self._names is not None:
            self._names.close()
        for executor in self.executors.values():
            executor.close()
        if hasattr(self, "services"):
            self.services.close()
        if hasattr(self, "host"):
            self.host.stop()
        await self.transport.close()
        self._attempts.close()
        self._watchdog.stop()
        if self._store is not None:
            try:
                if self._retires:
                    self._store.retire()
            finally:
                self._store.close()


def _removed(identity: Identity) -> str:
    return (
        f"node {identity.node} ({identity.name}) was removed from cluster {identity.cluster}, which "
        "goes on without it; its data folder is of no more use. To join as a new node, start with "
        "--join and an empty --data folder"
    )
