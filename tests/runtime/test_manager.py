"""The manager of a leader over a machine in memory: what it proposes for members that are silent."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from raftoral.codec import pack
from raftoral.ids import SLOTS, GroupId, Index, Millis, NodeId, RunId, Version
from raftoral.kv import MemoryKeyValue
from raftoral.machines import runs
from raftoral.machines.commands import Command, OwnSlots, Publish, StartRun, TakeOver, decode
from raftoral.machines.execution import Execution
from raftoral.runtime.config import NodeConfig
from raftoral.runtime.manager import TAKE_OVER_LIMIT, Manager

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


async def settled(host: FakeHost) -> Manager:
    """Return the manager of node 1 in a group of three, all up."""
    await host.propose(GROUP, OwnSlots(b"\xff" * (SLOTS // 8)).encode(), 1)
    for node in NODES:
        await host.propose(GROUP, Publish(node, "boot").encode(), 1)
    return Manager(
        NodeId(1), "boot", NodeConfig(), cast("Any", host), lambda _: None, lambda _: None
    )


async def turn(manager: Manager) -> None:
    """Let the manager look once, and what it began end."""
    manager._serve(GROUP, None)
    while manager._busy:
        await asyncio.gather(*manager._busy.values())


def test_all_runs_of_a_silent_member_are_taken_over_in_parts() -> None:
    """The first part marks it down; later ticks take what it still owns, and then nothing."""

    async def story() -> None:
        host = FakeHost()
        manager = await settled(host)
        for number in range(3 * TAKE_OVER_LIMIT + 600):
            start = StartRun(RunId(f"r{number}"), "w", Version(1), "m", pack({}), Index(0))
            await host.propose(GROUP, start.encode(), 1)
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

    asyncio.run(story())
