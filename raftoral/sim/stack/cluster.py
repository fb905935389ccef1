"""A cluster of whole nodes and its story; the faults and the checks beneath are those of `sim`."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any, Final

from raftoral.ids import MANAGEMENT, GroupId, NodeId, Term
from raftoral.machines.commands import JOIN
from raftoral.raft.messages import ConfState, SnapshotMeta
from raftoral.sim.cluster import CONVERGES, EQUAL_BYTES, Cluster, Options
from raftoral.sim.node import BEGINNING, SimNode
from raftoral.sim.stack.callers import Caller, Founder
from raftoral.sim.stack.flows import Journal, registry
from raftoral.sim.stack.process import StackProcess
from raftoral.sim.stack.promises import NO_DIVERGENCE, Promises
from raftoral.storage.base import Identity, NodeStore

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from raftoral.groups.group import Group
    from raftoral.registry.app import Registry
    from raftoral.runtime.engine import Engine
    from raftoral.sim.chaos import Chaos

EXECUTION: Final = (GroupId(1), GroupId(2))
FIRST: Final = (NodeId(1), NodeId(2), NodeId(3))
"""The members of every execution group."""

ENDS_S: Final = 120.0
"""How long after the faults every run must have ended, in virtual time."""


class StackCluster(Cluster):
    """The whole stack of one seed: group 0, two execution groups, three or four nodes."""

    def __init__(self, seed: int, options: Options) -> None:
        self.journal = Journal()
        super().__init__(seed, replace(options, clients=0, groups=1 + len(EXECUTION)))
        self.shape = replace(self.shape, nodes=len(self.nodes), value_bytes_max=1_000)
        self.faults = replace(self.faults, bit_flip_rate=0.0, membership_rate=0.0)
        self.network.faults = self.faults
        self.promises = Promises(self.checkers, self.count, self.journal)
        self.clients: list[Any] = [Caller(self, number) for number in range(options.clients)]
        self.checkers._check_state = lambda *_: None  # type: ignore[method-assign]  # noqa: SLF001
        self._chance_of_activities = Random(seed + 1)  # noqa: S311  # no secret
        self.paused: list[tuple[str, str]] = []
        """Runs that somebody has paused and has to let go on, each with the request."""
        self.changed: list[tuple[str, str, str]] = []
        """What runs were asked and acknowledged: to what, which run, by which request."""
        self._made = 0
        self._found()
        self.events.after(0.0, Founder(self).go_on)

    def _found(self) -> None:
        """Put the beginning of every group on the disks of its first members."""
        members = ConfState(tuple(sorted(self.nodes)))
        meta = SnapshotMeta(BEGINNING, Term(1), members)
        for node in self.nodes.values():
            node.groups.clear()
            store = NodeStore(node.disk)
            for gid in self.gids:
                if gid == MANAGEMENT or node.id in FIRST:
                    first = meta if gid == MANAGEMENT else replace(meta, conf=ConfState(FIRST))
                    store.group(gid).bootstrap(first)
            store.set_identity(Identity("sim", node.id, f"n{node.id}"))
            store.flush(sync=True)

    # -------------------------------------------------------------- what processes need
    def make_process(self, node: SimNode) -> StackProcess:
        """Return a new process of a node."""
        return StackProcess(node, self)

    def registry(self) -> Registry:
        """Return what a process registers."""
        return registry(self.journal, self._chance_of_activities)

    def unique(self) -> str:
        """Return a text that was not there before."""
        self._made += 1
        return f"u{self._made}"

    def engine_of(self, node: SimNode) -> Engine | None:
        """Return the engine of a node that has one."""
        process = node.process
        if not isinstance(process, StackProcess) or process.host is None:
            return None
        return process.engine

    def run_on(
        self,
        node: SimNode,
        work: Callable[[Engine], Coroutine[Any, Any, object]],
        done: Callable[[object], None],
    ) -> None:
        """Run ``work`` in a node's process; ``done`` is not called if that dies."""
        engine = self.engine_of(node)
        if engine is None:
            return

        async def main(_host: object) -> object:
            return await work(engine)

        node.run(main, done)  # type: ignore[arg-type]  # a plain function does as well

    # -------------------------------------------------------------- what callers ask
    async def start(self, engine: Engine, run_id: str, name: str, given: int) -> object:
        """Start a run."""
        return await engine.services.requests.start(
            name, [given], run_id=run_id, version=1, policy=JOIN
        )

    async def signal(self, engine: Engine, run_id: str, signal_id: str) -> None:
        """Send a signal."""
        await engine.services.requests.signal(run_id, "go", signal_id, signal_id)

    # -------------------------------------------------------------- the end
    def _converge(self, chaos: Chaos) -> float:
        took = super()._converge(chaos)
        limit = self.events.now + ENDS_S
        while self._holds():
            trouble = self._unfinished()
            if trouble is None:
                break
            if self.events.now > limit:
                self.checkers.fail(CONVERGES, trouble)
            self.events.run(self.events.now + 0.25)
            self._compare()
        if self._holds():
            self._trouble_at_rest()
            self.promises.check_end({gid: self._any_member(gid).store.machine for gid in EXECUTION})
        return took

    def _unfinished(self) -> str | None:
        for node in self.nodes.values():
            engine = self.engine_of(node)
            for executor in () if engine is None else engine.executors.values():
                for live in executor.live.values():
                    if live.stuck:
                        self.checkers.fail(NO_DIVERGENCE, f"{live.run.id}: {live.stuck}")
        return self.promises.trouble(
            {gid: self._any_member(gid).store.machine for gid in EXECUTION}
        )

    def _any_member(self, gid: GroupId) -> Group:
        members = [group for node in self.nodes.values() if (group := node.member(gid))]
        return max(members, key=lambda group: group.store.applied)

    def _trouble_at_rest(self) -> None:
        """Let the members catch up with the last entries, and compare their bytes."""
        for _ in range(100):
            self.events.run(self.events.now + 0.25)
            if super()._trouble() is None:
                return

    def _check_equal(self, gid: GroupId, members: Sequence[Group]) -> None:
        if len({group.store.applied for group in members}) > 1:
            return
        states = [list(group.store.machine.scan(b"")) for group in members]
        if any(state != states[0] for state in states):
            differ = [
                one
                for one, *others in zip(*states, strict=False)
                if any(other != one for other in others)
            ]
            self.checkers.fail(EQUAL_BYTES, f"group {gid}: {differ[:2]!r:.300}")
