"""Executors of several nodes over one ordered log in memory, in one asyncio loop.

The log applies every command once, to one machine, and tells each node's executor what happened, in
the same order and after a delay of its own. Faults are drawn from a seeded `Random`: a proposal may
be lost before the log, or its answer after it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from functools import wraps
from random import Random
from typing import TYPE_CHECKING, Any, cast

from raftoral.codec import pack
from raftoral.errors import (
    LimitExceeded,
    ProposalDropped,
    ProposalUnknown,
    RaftoralError,
    UnknownDefinition,
)
from raftoral.ids import SLOTS, Index, Millis, NodeId, RunId, Version
from raftoral.kv import MemoryKeyValue, Overlay
from raftoral.machines import runs
from raftoral.machines.commands import OwnSlots, Publish, Signal, StartRun, TakeOver
from raftoral.machines.execution import Execution
from raftoral.registry.app import Registry
from raftoral.registry.definition import Definition
from raftoral.registry.loader import Loader
from raftoral.replay.history import Done, Ended, Event, Started, decode
from raftoral.runtime.attempts import Attempts
from raftoral.runtime.executor import GENERATORS_MAX, Executor
from raftoral.runtime.watchdog import CHECKS_PER_LIMIT, Watchdog
from tests import virtual
from tests.virtual import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
    from concurrent.futures import Future

    from raftoral.machines.base import Result
    from raftoral.machines.command import Command
    from raftoral.replay.effects import Activity, Workflow
    from raftoral.replay.interpreter import Body
    from raftoral.values import Value

BEGAN = 1_000_000
COMMAND_BYTES_MAX = 512 * 1024  # as a host takes them


class PlainLoader(Loader):
    """A loader whose definitions are named, not hashed, so that each node may have its own code."""

    def start(self, definition: Definition) -> Callable[[Started], Body]:
        """Start this node's own workflow of that name."""
        from raftoral.registry.python import start_python

        workflow = self._registry.workflows.get((definition.name, definition.version))
        if workflow is None:
            raise UnknownDefinition(self.missing(definition))
        return lambda started: start_python(workflow, started)

    def missing(self, definition: Definition) -> str:
        """Tell whether this node has the workflow."""
        have = (definition.name, definition.version) in self._registry.workflows
        return "" if have else f"{definition} is not registered here"


class Port:
    """What one node sees of the group: `raftoral.runtime.port.Port`."""

    def __init__(self, cluster: Cluster, node: NodeId) -> None:
        self._cluster = cluster
        self._node = node
        self.incarnation = f"i{node}"
        self.state = MemoryKeyValue()
        self.is_connected = True
        self.damaged: dict[str, Definition] = {}

    @property
    def reader(self) -> MemoryKeyValue:
        """Return this node's applied state."""
        return self.state

    def submit(self, command: bytes, tell: Callable[[Result | RaftoralError], None]) -> None:
        """Put a command into the log, or lose it or its answer."""
        self._cluster.submit(command, tell)

    def now(self) -> Millis:
        """Return the group's clock, as this node guesses it: it may be ahead of the log's."""
        return Millis(self._cluster.clock() + self._cluster.clock_error)

    def connected(self) -> bool:
        """Tell whether the leader is heard."""
        return self.is_connected

    def published(self) -> bool:
        """Tell whether this start of the node is known."""
        return runs.members(self.state).get(self._node) == (self.incarnation, True)

    def definition(self, run: runs.Run) -> Definition | None:
        """Return a definition in name only."""
        if run.name in self._cluster.unknown_here:
            return None
        if run.name in self.damaged:
            return self.damaged[run.name]
        return Definition(run.name, run.version, "python", run.meaning_hash, "", "", b"")


class Member:
    """One node: its state, its executor, and the events still on their way to it."""

    def __init__(self, cluster: Cluster, node: NodeId, registry: Registry) -> None:
        self.node = node
        self.registry = registry
        self.port = Port(cluster, node)
        self.machine = Execution()
        self.applied = Index(0)
        self.inbox: asyncio.Queue[tuple[Index, Millis, bytes]] = asyncio.Queue()
        self.watchdog = cluster.watchdog
        self.attempts = Attempts(registry, cluster.loop, 4)
        if isinstance(cluster.loop, VirtualLoop):
            self._count_threads(cluster.loop)
        self.executor = self._new(cluster)
        self.alive = True

    def _count_threads(self, loop: VirtualLoop) -> None:
        submit = self.attempts._threads.submit

        def counted(*work: Any) -> Future[Any]:
            thread = submit(*work)
            loop.works(thread)
            return thread

        self.attempts._threads.submit = counted  # type: ignore[method-assign, assignment]

    def restart(self, cluster: Cluster) -> None:
        """Begin again from what is stored, under another incarnation that is not published."""
        self.executor.close()
        self.port.incarnation += "'"
        self.executor = self._new(cluster)
        self.executor.load()

    def _new(self, cluster: Cluster) -> Executor:
        return Executor(
            self.node,
            self.port,
            PlainLoader(self.registry),
            self.attempts,
            cluster.watchdog,
            Random(self.node).randrange,
            generators_max=cluster.generators_max,
        )

    def apply(self, batch: list[tuple[Index, Millis, bytes]]) -> None:
        """Apply entries as a host does: all to the state first, then all events told."""
        told: list[Any] = []
        for index, at, command in batch:
            txn = Overlay(self.port.state)
            _, events = self.machine.apply(index, at, command, txn)
            told += events
            self.applied = index
            for key, value in txn.writes.items():
                if value is None:
                    self.port.state.delete(key)
                else:
                    self.port.state.put(key, value)
        self.executor.applied(told)


class ByHand(Watchdog):
    """A watchdog that does not go by the clock: it looks when it is told to.

    A step that will never end says so by putting something into `forever`.
    """

    def __init__(self) -> None:
        super().__init__(limit_s=0.1)
        self.forever: list[bool] = []

    def _watch(self) -> None:
        while not self._stop.wait(0.001):
            if self.forever:
                self.forever.clear()
                for _ in range(CHECKS_PER_LIMIT + 1):
                    self.look()


class Cluster:
    """Three nodes by default. ``loss`` is the probability that a proposal or its answer is lost."""

    def __init__(
        self,
        registries: list[Registry],
        *,
        seed: int = 0,
        loss: float = 0.0,
        watchdog: Watchdog | None = None,
        clock_error: int = 0,
        generators_max: int = GENERATORS_MAX,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.chance = Random(seed)
        self.loss = loss
        self.clock_error = clock_error
        self.generators_max = generators_max
        self.watchdog = watchdog or ByHand()
        self.watchdog.start()
        self.unknown_here: set[str] = set()
        self.log: list[tuple[Index, Millis, bytes]] = []
        self.leader = MemoryKeyValue()  # the answers come from a state of the log's own
        self._machine = Execution()
        self._began = self.loop.time()
        self.members = [Member(self, NodeId(n), each) for n, each in enumerate(registries, 1)]
        self._tasks = [self.loop.create_task(self._deliver(member)) for member in self.members]

    def clock(self) -> int:
        """Return the log's clock, in milliseconds."""
        return BEGAN + int((self.loop.time() - self._began) * 1000)

    def commit(self, command: bytes) -> Result:
        """Append a command to the log and return the machine's answer."""
        entry = (Index(len(self.log) + 1), Millis(self.clock()), command)
        self.log.append(entry)
        txn = Overlay(self.leader)
        result, _ = self._machine.apply(*entry, txn)
        for key, value in txn.writes.items():
            if value is None:
                self.leader.delete(key)
            else:
                self.leader.put(key, value)
        for member in self.members:
            member.inbox.put_nowait(entry)
        return result

    def submit(self, command: bytes, tell: Callable[[Result | RaftoralError], None]) -> None:
        """Commit a command in a task; tell its answer or the error."""

        async def work() -> None:
            try:
                answer: Result | RaftoralError = await self._propose(command)
            except RaftoralError as error:
                answer = error
            tell(answer)

        task = self.loop.create_task(work())
        self._tasks.append(task)
        task.add_done_callback(self._tasks.remove)

    async def _propose(self, command: bytes) -> Result:
        """Commit a command after a while, unless chance loses it or it is too large."""
        if len(command) > COMMAND_BYTES_MAX:
            raise LimitExceeded(f"a command of {len(command)} bytes")
        if self.chance.random() < self.loss:
            await self._pause()
            raise ProposalDropped("lost before the log")
        await self._pause()
        result = self.commit(command)
        if self.chance.random() < self.loss:
            raise ProposalUnknown("the answer was lost")
        await self._pause()
        return result

    async def _pause(self) -> None:
        await asyncio.sleep(self.chance.choice((0, 0, 0, 0.001, 0.003)))

    async def _deliver(self, member: Member) -> None:
        chance = Random(member.node + self.chance.randrange(1000))
        while True:
            batch = [await member.inbox.get()]
            await asyncio.sleep(chance.choice((0, 0, 0.001)))
            while not member.inbox.empty():
                batch.append(member.inbox.get_nowait())
            if member.alive:
                member.apply(batch)

    # -------------------------------------------------------------- what a test does
    def form(self) -> None:
        """Give the group its slots and publish all its members."""
        self.commit(OwnSlots(b"\xff" * (SLOTS // 8)).encode())
        for member in self.members:
            self.publish(member)

    def publish(self, member: Member) -> None:
        """Tell that a member is up."""
        self.commit(Publish(member.node, member.port.incarnation).encode())

    def start(self, run_id: str, workflow: Workflow[Any, Any] | str, **given: object) -> None:
        """Start a run."""
        name = workflow if isinstance(workflow, str) else workflow.name
        command = StartRun(RunId(run_id), name, Version(1), "m", pack(dict(given)), Index(0))
        result = self.commit(command.encode())
        assert result[0] == "ok", result

    def do(self, command: Command) -> Result:
        """Commit a command that the machine must not refuse; return its answer."""
        result = self.commit(command.encode())
        assert result[0] == "ok", result
        return result

    def signal(self, run_id: str, name: str, signal_id: str, payload: Value) -> Result:
        """Send a signal."""
        command = Signal(RunId(run_id), name, signal_id, pack(payload))
        return self.commit(command.encode())

    def lose(self, member: Member) -> None:
        """Stop a member for good and have the others take its runs over."""
        member.alive = False
        member.executor.close()
        heirs = [each.node for each in self.members if each.alive]
        self.commit(TakeOver(member.node, heirs, 1_000).encode())

    def owner(self, run_id: str) -> Member:
        """Return who owns a run by the log."""
        run = self.find(run_id)
        return next(each for each in self.members if each.node == run.owner)

    def find(self, run_id: str) -> runs.Run:
        """Return the record of a run by the log."""
        run = runs.find(self.leader, RunId(run_id))
        assert run is not None
        return run

    def history(self, run_id: str) -> list[bytes]:
        """Return the history of a run by the log."""
        return runs.history(self.leader, RunId(run_id))

    async def until(self, truth: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until ``truth`` holds; fails after ``seconds``."""
        async with asyncio.timeout(seconds):
            while not truth():  # noqa: ASYNC110 - what is waited for has no event of its own
                await asyncio.sleep(0.002)

    async def ended(self, *run_ids: str) -> None:
        """Wait until those runs have ended on every living member."""
        ids = cast("tuple[RunId, ...]", run_ids)

        def all_ended() -> bool:
            return all(
                not self.find(each).live and not member.executor.is_live(each)
                for each in ids
                for member in self.members
                if member.alive
            )

        await self.until(all_ended)

    async def close(self) -> None:
        """Stop everything."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for member in self.members:
            member.executor.close()
            member.attempts.close()
        self.watchdog.stop()
        await asyncio.sleep(0)

    def check_same(self) -> None:
        """Check that every living member holds the state that the log gives."""
        for member in self.members:
            if member.alive and member.applied == len(self.log):
                assert member.port.state.items() == self.leader.items(), member.node


def registry(
    *workflows: Workflow[Any, Any], activities: Mapping[str, Activity[Any, Any]] | None = None
) -> Registry:
    """Return a registry of those workflows."""
    return Registry(workflows=workflows, activities=(activities or {}).values())


# ------------------------------------------------------------------ for tests
@asynccontextmanager
async def cluster(*registries: Registry, **options: Any) -> AsyncIterator[Cluster]:
    """Run a cluster for the body."""
    made = Cluster(list(registries), **options)
    made.form()
    try:
        yield made
    finally:
        await made.close()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Make an async test a plain one, on a loop that waits for nothing but threads."""

    @wraps(test)
    def plain() -> None:
        virtual.run(test())

    return plain


def events(made: Cluster, run_id: str) -> list[Event]:
    """Return the decoded history of a run."""
    return [decode(data) for data in made.history(run_id)]


def end(made: Cluster, run_id: str) -> Ended:
    """Return how a run ended."""
    last = events(made, run_id)[-1]
    assert isinstance(last, Ended)
    return last


def check_history(made: Cluster, run_id: str) -> None:
    """Check the form of a finished history: one start, one end, one `Done` a path."""
    history = events(made, run_id)
    assert isinstance(history[0], Started)
    assert [type(e) for e in history].count(Started) == 1
    assert [isinstance(e, Ended) for e in history] == [False] * (len(history) - 1) + [True]
    done = Counter(e.path for e in history if isinstance(e, Done))
    assert all(count == 1 for count in done.values()), done
