"""What groups tell each other arrives once, whatever is lost, late or led by another node."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any, cast
from zlib import crc32

import pytest

from raftoral.codec import pack
from raftoral.errors import (
    InvalidInput,
    ProposalDropped,
    ProposalUnknown,
    Unavailable,
    UnknownDefinition,
    UnknownRun,
)
from raftoral.ids import GroupId, Index, Millis, NodeId, RunId, Version
from raftoral.kv import MemoryKeyValue
from raftoral.machines import commands, execution, management, outbox, runs
from raftoral.machines.placement import slot_of
from raftoral.replay.history import (
    CancelAsked,
    ChildAsked,
    ChildDone,
    Ended,
    Event,
    Started,
    decode,
    encode,
)
from raftoral.runtime.outbox import Outboxes
from tests.machines.checks import check_indexes
from tests.virtual import run

if TYPE_CHECKING:
    from raftoral.machines.base import Result
    from raftoral.runtime.lookup import Lookup
    from raftoral.runtime.routing import Routing
    from raftoral.runtime.starts import Starts

CHILDREN = 6


class Group:
    """One execution group: its machine, its state, and how often each run began."""

    def __init__(self, group: int, of: int) -> None:
        self.state = MemoryKeyValue()
        self.machine = execution.Execution()
        self.index = 0
        self.began: Counter[str] = Counter()
        self.apply(commands.OwnSlots(management.slots_of(GroupId(group), of)).encode())
        self.apply(commands.Publish(NodeId(1), "boot").encode())

    def apply(self, command: bytes) -> tuple[Result, list[execution.Event]]:
        """Apply a command."""
        self.index += 1
        at = Millis(1_000 + self.index)
        result, events = self.machine.apply(Index(self.index), at, command, self.state)
        self.began.update(e.run.id for e in events if isinstance(e, execution.RunStarted))
        return result, list(events)


class World:
    """Some groups, whoever leads them, and the script that plays the owners of all runs."""

    def __init__(self, groups: int, seed: int, loss: float = 0.0) -> None:
        self.chance = Random(seed)
        self.loss = loss
        self.count = groups
        self.knows_groups = True
        self.down: set[int] = set()
        self.logs = {GroupId(n): Group(n, groups) for n in range(1, groups + 1)}
        self.leaders = {group: self._leader(group) for group in self.logs}
        self._late: set[asyncio.Task[None]] = set()

    def _leader(self, group: GroupId) -> Outboxes:
        leader = Outboxes(cast("Routing", self), cast("Starts", self), cast("Lookup", self))
        leader.leads(group, leads=True)
        return leader

    def change_leader(self, group: GroupId) -> None:
        """Another node leads a group; what the old leader proposed may still come."""
        self.leaders[group].close()
        self.leaders[group] = self._leader(group)

    def move_slots(self) -> None:
        """Let one group own no slot for now, so that it refuses what is to begin there."""
        away = self.chance.choice([0, *self.logs])
        for group in self.logs:
            bitmap = management.slots_of(group, self.count)
            owned = bytes(len(bitmap)) if group == away else bitmap
            self.commit(group, commands.OwnSlots(owned).encode())

    def close(self) -> None:
        """Stop all."""
        for each in self.leaders.values():
            each.close()

    # -------------------------------------------------------------- what the outbox needs
    def groups(self) -> list[GroupId]:
        """Return all groups."""
        return sorted(self.logs)

    def group_of(self, name: str) -> GroupId:
        """Return the group of a slot, as group 0 has it."""
        if not self.knows_groups:
            raise Unavailable("group 0 has told nothing here yet")
        return GroupId(slot_of(RunId(name)) % self.count + 1)

    def state(self, group: GroupId) -> MemoryKeyValue:
        """Return what the leader has applied."""
        return self.logs[group].state

    async def propose(self, group: GroupId, command: bytes) -> Result:
        """Put a command into a log: it may be lost, come late, or lose its answer."""
        await self._pause()
        if group in self.down:
            raise Unavailable("no leader")
        luck = self.chance.random()
        if luck < self.loss:
            raise ProposalDropped("lost before the log")
        if luck < 2 * self.loss:
            self._later(group, command)
            raise ProposalUnknown("it comes late")
        result = self.commit(group, command)
        if luck < 3 * self.loss:
            raise ProposalUnknown("the answer was lost")
        await self._pause()
        return result

    def commit(self, group: GroupId, command: bytes) -> Result:
        """Apply a command and tell the leader what happened."""
        result, events = self.logs[group].apply(command)
        if any(isinstance(event, execution.OutboxGrew) for event in events):
            self.leaders[group].grew(group)
        return result

    def _later(self, group: GroupId, command: bytes) -> None:
        async def come() -> None:
            for _ in range(self.chance.randrange(200)):
                await asyncio.sleep(0)
            self.commit(group, command)

        task = asyncio.get_running_loop().create_task(come())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _pause(self) -> None:
        for _ in range(self.chance.randrange(3)):
            await asyncio.sleep(0)

    async def command(
        self, run_id: RunId, name: str, version: int | None, given: object, *, parent: bytes = b""
    ) -> commands.StartRun:
        """Resolve a start, as `raftoral.runtime.starts` does."""
        await self._pause()
        if self.chance.random() < self.loss:
            raise Unavailable("no answer from group 0")
        if name == "unknown":
            raise UnknownDefinition("no workflow is called 'unknown'")
        if name == "picky":
            raise InvalidInput("input.n: expected a text")
        return commands.StartRun(
            run_id, name, Version(version or 3), "m", pack(cast("Any", given)), Index(1),
            parent=parent,
        )  # fmt: skip

    async def show(self, run_id: str) -> runs.Run:
        """Show a run."""
        run = self.find(run_id)
        if run is None:
            raise UnknownRun(run_id)
        return run

    # -------------------------------------------------------------- the owners
    def find(self, run_id: str) -> runs.Run | None:
        """Return a run."""
        return runs.find(self.state(self.group_of(run_id)), RunId(run_id))

    def history(self, run_id: str) -> list[Event]:
        """Return the events of a run."""
        found = runs.history(self.state(self.group_of(run_id)), RunId(run_id))
        return [decode(data) for data in found]

    def start(self, run_id: str, name: str) -> None:
        """Start a run as a user does."""
        start = commands.StartRun(RunId(run_id), name, Version(1), "m", pack({}), Index(1))
        self.commit(self.group_of(run_id), start.encode())

    def play(self, leave_early: bool) -> None:
        """Let the owner of some live run take its next step."""
        live = [
            run
            for group in self.logs.values()
            for run_id in runs.live_ids(group.state)
            if (run := runs.find(group.state, run_id)) is not None
        ]
        if not live:
            return
        run = self.chance.choice(live)
        events = self._next(run, leave_early)
        if events:
            data = [encode(event) for event in events]
            settle = commands.Settle(run.id, run.epoch, run.length, run.chain, data)
            self.commit(self.group_of(run.id), settle.encode())

    def _next(self, run: runs.Run, leave_early: bool) -> list[Event]:
        events = self.history(run.id)
        if any(isinstance(event, CancelAsked) for event in events):
            return [Ended("cancelled", ["Cancelled", "", {}])]
        if run.name == "child":
            return [] if goes_on(run.id) else [ending(run.id)]
        asked = [event for event in events if isinstance(event, ChildAsked)]
        if not asked:
            return [*map(child_of(run.id), range(CHILDREN))]
        done = {event.path for event in events if isinstance(event, ChildDone)}
        awaited = {each.path for each in asked if not each.detached and not goes_on(each.id)}
        return [Ended("completed", len(done))] if leave_early or awaited <= done else []


def mark(run_id: str) -> int:
    """Return a number that a run's id decides."""
    return crc32(run_id.encode())


def goes_on(run_id: str) -> bool:
    """Tell whether a child never ends of itself: some that are awaited, and ``c3``."""
    return run_id.endswith("/c3") or (mark(run_id) % 5 == 4 and run_id[-2:] not in ("c4", "c5"))


def ending(run_id: str) -> Ended:
    """Return how a child ends; its id decides."""
    if mark(run_id) % 2:
        return Ended("completed", run_id)
    return Ended("failed", ["Declined", run_id, {}])


def child_of(parent: str) -> Any:
    """Return the maker of the children of a parent."""

    def make(number: int) -> ChildAsked:
        close = ("cancel", "terminate", "abandon")[number % 3]
        name = {4: "unknown", 5: "picky"}.get(number, "child")
        path = f"c{number}"
        detached = number in (2, 3)
        given = {"n": number} if number % 2 else [number]
        return ChildAsked(path, f"{parent}/0/{path}", name, number % 2, given, close, detached)

    return make


async def story(world: World, parents: int, *, leave_early: bool = False) -> dict[str, str]:
    """Play until everything has come to rest; return how each run ended."""
    for number in range(parents):
        world.start(f"p{number}", "parent")
    for turn in range(3_000):
        await asyncio.sleep(0)
        world.play(leave_early)
        if world.loss and turn % 50 == 0:
            world.change_leader(world.chance.choice(sorted(world.logs)))
            world.down = {world.chance.choice(sorted(world.logs))} if turn % 100 else set()
            world.move_slots()
    world.down, world.loss = set(), 0.0
    for group in world.logs:
        world.commit(group, commands.OwnSlots(management.slots_of(group, world.count)).encode())
    async with asyncio.timeout(30):
        while not all(at_rest(group) for group in world.logs.values()):
            world.play(leave_early)
            await asyncio.sleep(0.001)
    world.close()
    for group in world.logs.values():
        check_indexes(group.state)
        assert set(group.began.values()) <= {1}, "a run began twice"
    return {
        run_id: run.status
        for group in world.logs.values()
        for run_id in group.began
        if (run := world.find(run_id)) is not None
    }


def at_rest(group: Group) -> bool:
    """Tell whether a group has told everything, and nothing goes on but what was abandoned."""
    started = [runs.find(group.state, RunId(run_id)) for run_id in group.began]
    return outbox.count(group.state) == 0 and not any(
        run is not None and (run.held or (run.live and not run.id.endswith("/c2")))
        for run in started
    )


def check_parents(world: World, parents: int, *, leave_early: bool) -> None:
    """Check that each awaited child is told once, with its own end."""
    for number in range(parents):
        events = world.history(f"p{number}")
        told = [event for event in events if isinstance(event, ChildDone)]
        assert len({event.path for event in told}) == len(told), "an end was told twice"
        assert {event.path for event in told} <= {"c0", "c1", "c4", "c5"}, "nobody awaited it"
        for event in told:
            if event.path == "c4":
                assert event.value == ["UnknownDefinition", "no workflow is called 'unknown'", {}]
            elif event.path == "c5":
                assert event.value == ["InvalidInput", "input.n: expected a text", {}]
            else:
                end = ending(f"p{number}/0/{event.path}")
                assert (event.ok, event.value) == (end.status == "completed", end.value)
        if not leave_early:
            never = {f"c{n}" for n in (0, 1) if goes_on(f"p{number}/0/c{n}")}
            assert {event.path for event in told} == {"c0", "c1", "c4", "c5"} - never


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PAUSE_FIRST_S", "PAUSE_MAX_S", "SETTLED_S"):
        monkeypatch.setattr(f"raftoral.runtime.outbox.{name}", 0.001)


@pytest.mark.parametrize("leave_early", [False, True], ids=["waiting", "leaving"])
@pytest.mark.parametrize("seed", range(6))
def test_children_begin_once_and_their_ends_are_told_once(seed: int, leave_early: bool) -> None:
    """With lost, late and repeated commands and new leaders, each child begins and is told once."""

    async def main() -> None:
        world = World(3, seed, loss=0.1)
        await story(world, 6, leave_early=leave_early)
        check_parents(world, 6, leave_early=leave_early)

    run(main())


def test_whether_parent_and_child_share_a_group_makes_no_difference() -> None:
    """Over one group and over four, every run ends in the same way."""

    async def ends(groups: int) -> dict[str, str]:
        return await story(World(groups, seed=1), 8)

    assert asyncio.run(ends(1)) == asyncio.run(ends(4))


def test_a_started_run_says_from_whom_it_is() -> None:
    """A child's history begins with its parent; its input is that of the ask."""

    async def main() -> None:
        world = World(2, seed=3)
        await story(world, 1)
        started = world.history("p0/0/c1")[0]
        assert isinstance(started, Started)
        assert (started.name, started.version, started.parent) == ("child", 1, "p0")
        assert started.input == {"n": 1}

    run(main())


def test_a_leader_that_has_not_heard_of_the_groups_carries_once_it_has() -> None:
    """After a start a node may lead one group before it knows of group 0's: nothing fails by it."""

    async def main() -> None:
        world = World(2, seed=3)
        world.start("p0", "parent")
        world.play(leave_early=False)
        world.knows_groups = False
        for group in world.logs:
            world.change_leader(group)
        await asyncio.sleep(1)
        world.knows_groups = True
        await story(world, 1)
        check_parents(world, 1, leave_early=False)

    run(main())
