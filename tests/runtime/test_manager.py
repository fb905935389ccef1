"""The manager of a leader over a machine in memory: what it proposes for members that are silent."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from raftoral.codec import pack
from raftoral.ids import SLOTS, GroupId, Index, Millis, NodeId, RunId, Version
from raftoral.kv import MemoryKeyValue
from raftoral.machines import runs
from raftoral.machines.commands import (
    Command,
    Forget,
    OwnSlots,
    Publish,
    Settle,
    StartRun,
    TakeOver,
    decode,
)
from raftoral.machines.execution import Execution
from raftoral.replay.history import Ended, encode
from raftoral.runtime.config import NodeConfig
from raftoral.runtime.manager import FORGET_EVERY_TICKS, FORGET_LIMIT, TAKE_OVER_LIMIT, Manager
from tests import virtual

if TYPE_CHECKING:
    from raftoral.machines.base import Result

GROUP = GroupId(1)
NODES = [NodeId(1), NodeId(2), NodeId(3)]


class FakeHost:
    """The group that node 1 leads; what is proposed is applied at once."""

    def __init__(self) -> None:
        self.state = MemoryKeyValue()
        conf = SimpleNamespace(voters=tuple(NODES))
        raw = SimpleNamespace(is_leader=True, conf=conf, status=lambda: SimpleNamespace(conf=conf))
        self.groups = {GROUP: SimpleNamespace(state=self.state, raw=raw)}
        self.silent: set[NodeId] = set()
        self.proposed: list[Command] = []
        self._index = 0

    def heard(self, node: NodeId) -> float:
        """Return how long ago a node was heard, in seconds."""
        return 60.0 if node in self.silent else 0.0

    def stamp_now(self, _: GroupId) -> Millis:
        """Return the group's clock."""
        return Millis(1_000_000)

    async def propose(self, _: GroupId, command: bytes, timeout: float) -> Result:
        """Apply a command."""
        self._index += 1
        self.proposed.append(decode(command))
        result, _events = Execution().apply(
            Index(self._index), self.stamp_now(GROUP), command, self.state
        )
        return result


async def settled(host: FakeHost, **options: Any) -> Manager:
    """Return the manager of node 1 in a group of three, all up."""
    await host.propose(GROUP, OwnSlots(b"\xff" * (SLOTS // 8)).encode(), 1)
    for node in NODES:
        await host.propose(GROUP, Publish(node, "boot").encode(), 1)
    config = NodeConfig(**options)
    return Manager(NodeId(1), "boot", config, cast("Any", host), cast("Any", None))


async def start(host: FakeHost, count: int) -> list[runs.Run]:
    """Start so many runs."""
    started = []
    for number in range(count):
        run_id = RunId(f"r{number}")
        command = StartRun(run_id, "w", Version(1), "m", pack({}), Index(0))
        await host.propose(GROUP, command.encode(), 1)
        run = runs.find(host.state, run_id)
        assert run is not None
        started.append(run)
    return started


async def turn(manager: Manager) -> None:
    """Let the manager look once, and what it began end."""
    manager._serve(GROUP, None, [])
    while manager._steps._busy:
        await asyncio.gather(*manager._steps._busy.values())


def test_all_runs_of_a_silent_member_are_taken_over_in_parts() -> None:
    """The first part marks it down; later ticks take what it still owns, and then nothing."""

    async def story() -> None:
        host = FakeHost()
        manager = await settled(host)
        await start(host, 3 * TAKE_OVER_LIMIT + 600)
        owned = len(list(runs.owned_ids(host.state, NodeId(3))))
        assert owned > TAKE_OVER_LIMIT
        host.silent = {NodeId(3)}
        host.proposed.clear()
        await turn(manager)
        assert runs.members_up(host.state) == [1, 2]
        host.silent.clear()  # It answers again, but has not told that it is up.
        await turn(manager)
        assert not list(runs.owned_ids(host.state, NodeId(3)))
        await turn(manager)
        sent = [each for each in host.proposed if isinstance(each, TakeOver)]
        assert sent == [TakeOver(NodeId(3), NODES[:2], TAKE_OVER_LIMIT)] * 2

    virtual.run(story())


def test_old_runs_are_forgotten_until_few_are_left() -> None:
    """While one entry is full of what it removes, the next one follows at once."""

    async def story() -> None:
        host = FakeHost()
        manager = await settled(host, retained_runs=10)
        for run in await start(host, 2 * FORGET_LIMIT + 30):
            end = Settle(
                run.id, run.epoch, run.length, run.chain, [encode(Ended("completed", None))]
            )
            await host.propose(GROUP, end.encode(), 1)
        manager._ticks = 1
        await turn(manager)
        assert len(list(runs.forgettable_ids(host.state))) == 2 * FORGET_LIMIT + 30, "not each tick"
        manager._ticks = FORGET_EVERY_TICKS
        await turn(manager)
        assert len(list(runs.forgettable_ids(host.state))) == 10
        assert sum(isinstance(each, Forget) for each in host.proposed) == 3

    virtual.run(story())
