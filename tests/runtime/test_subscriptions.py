"""Who waits for a run is woken, whatever becomes of notices, connections and members."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any, cast

import pytest

from raftoral.errors import NodeStopped, ProposalUnknown, Unavailable, UnknownRun
from raftoral.ids import Epoch, GroupId, Index, Millis, NodeId, Position, RunId, Version
from raftoral.machines import execution, runs
from raftoral.replay.history import Ended, Paused, Resumed, Set, encode
from raftoral.runtime.subscriptions import STANDING, STEPS, Subscriptions, Topic
from tests.virtual import run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from raftoral.replay.history import Event
    from raftoral.runtime.routing import Routing

GROUP = GroupId(1)
RUN = RunId("r")
TOPIC = Topic(GROUP, RUN, STEPS)


def record(status: str = "running") -> runs.Run:
    """Return a run of that status."""
    return runs.Run(
        RUN, "n", Version(1), "m", b"", Index(1), status, NodeId(1), Epoch(1), Position(1), 1, Millis(1)
    )  # fmt: skip


class Net:
    """Nodes that call each other; node 1 has no copy of the group, the others are its members."""

    def __init__(self, seed: int = 0, members: int = 2) -> None:
        self.chance = Random(seed)
        self.loss = 0.0
        self.cut: set[int] = set()
        self.log = 0
        self.applied = dict.fromkeys(range(2, members + 2), 0)
        self.links: dict[frozenset[int], int] = {}
        self.nodes = {node: FakeRouting(self, NodeId(node)) for node in range(1, members + 2)}
        self.subscriptions = {
            node: Subscriptions(cast("Routing", routing)) for node, routing in self.nodes.items()
        }

    def close(self) -> None:
        """Close all."""
        for each in self.subscriptions.values():
            each.close()

    def apply(self, member: int, upto: int | None = None) -> None:
        """Let a member apply the log and tell."""
        self.applied[member] = self.log if upto is None else upto
        told = execution.Settled(record(), Position(0), [encode(Set("c", 1))])
        self.subscriptions[member].applied(GROUP, [told])

    def break_link(self, one: int, other: int) -> None:
        """Lose a connection, and all that is on its way; there is another one at once."""
        pair = frozenset((one, other))
        self.links[pair] = self.links.get(pair, 0) + 1
        self.subscriptions[one].peer_lost(NodeId(other))
        self.subscriptions[other].peer_lost(NodeId(one))

    async def pause(self) -> None:
        """Let others go first, for a while."""
        for _ in range(self.chance.randrange(4)):
            await asyncio.sleep(0)

    async def reached(self, wanted: int) -> int | None:
        """Look behind a barrier, as a request of node 1 to any member does."""
        await self.pause()
        if self.chance.random() < self.loss:
            raise Unavailable("no member answers just now")
        current = self.log
        await self.pause()
        return current if current >= wanted else None


class FakeRouting:
    """What `Subscriptions` needs of `raftoral.runtime.routing.Routing`."""

    def __init__(self, net: Net, node: NodeId) -> None:
        self.node = node
        self._net = net
        self.handlers: dict[str, Callable[..., Awaitable[Any]]] = {}

    def is_here(self, _group: GroupId) -> bool:
        """Node 1 is no member."""
        return self.node != 1

    def is_current(self, group: GroupId) -> bool:
        """A member that is cut off hears nothing new."""
        return self.is_here(group) and self.node not in self._net.cut

    def reachable_members(self, _group: GroupId) -> list[NodeId]:
        """Return the members in any order."""
        members = [NodeId(node) for node in self._net.applied]
        self._net.chance.shuffle(members)
        return members

    def is_connected(self, _node: NodeId) -> bool:
        """There always is another connection."""
        return True

    def serve_peer(self, method: str, handler: Callable[..., Awaitable[Any]]) -> None:
        """Keep the handler."""
        self.handlers[method] = handler

    async def call(self, node: NodeId, method: str, body: list[Any]) -> Any:
        """Call another node; the call or its answer may be lost with the connection."""
        net, pair = self._net, frozenset((self.node, node))
        link = net.links.get(pair, 0)
        if net.chance.random() < net.loss:
            raise Unavailable("the queue is full")
        await net.pause()
        if net.links.get(pair, 0) != link:
            raise ProposalUnknown("the connection broke")
        answer = await net.nodes[node].handlers[method](self.node, *body)
        await net.pause()
        if net.links.get(pair, 0) != link:
            raise ProposalUnknown("the connection broke")
        return answer


@pytest.mark.parametrize("seed", range(100))
def test_everybody_who_waits_is_answered(seed: int) -> None:
    """With lost calls and broken connections, who waits for a change that comes is told of it."""

    async def main() -> None:
        net = Net(seed)
        net.loss = 0.2
        loop = asyncio.get_running_loop()

        async def wait_for(number: int) -> int:
            found = await net.subscriptions[1].until(TOPIC, lambda: net.reached(number))
            assert found is not None
            return found

        waiters = [loop.create_task(wait_for(net.chance.randrange(1, 40))) for _ in range(20)]
        for _ in range(40):
            net.log += 1
            for member in net.chance.sample(sorted(net.applied), 2):
                await net.pause()
                net.apply(member)
                if net.chance.random() < 0.1:
                    net.break_link(1, member)
        async with asyncio.timeout(20):
            await asyncio.gather(*waiters)
        net.close()

    run(main())


def test_many_changes_are_one_notice_and_nothing_is_left_behind() -> None:
    """A subscription is good for one notice; who has found what it waited for leaves none."""

    async def main() -> None:
        net = Net()
        looks = 0

        async def look() -> bool | None:
            nonlocal looks
            looks += 1
            return True if net.log == 9 else None

        waiting = asyncio.create_task(net.subscriptions[1].until(TOPIC, look))
        await settle()
        assert looks == 2, "before and after it subscribed"
        net.log = 9
        for member in (2, 3):
            for _ in range(5):
                net.apply(member)
        assert await waiting
        assert looks == 3
        assert [each._wanted for each in net.subscriptions.values()] == [{}, {}, {}]
        assert net.subscriptions[1]._told_by == {}
        net.close()

    run(main())


def test_a_member_that_is_cut_off_sends_its_subscribers_elsewhere() -> None:
    """It refuses new subscriptions, and gives up those that it has."""

    async def main() -> None:
        net = Net()
        net.cut = {2}
        waiting = asyncio.create_task(net.subscriptions[1].until(TOPIC, lambda: net.reached(1)))
        await settle()
        assert net.subscriptions[1]._told_by == {TOPIC: 3}
        net.cut = {3}
        net.subscriptions[3].tick()
        await settle()
        assert net.subscriptions[1]._told_by == {TOPIC: 2}
        net.log = 1
        net.apply(2)
        assert await waiting == 1
        net.close()

    run(main())


def test_waiting_ends_with_the_time_the_error_or_the_node() -> None:
    """After ``seconds`` the answer is None; an error of the look is raised; so is the stop."""

    async def main() -> None:
        net = Net()
        member = net.subscriptions[2]

        async def never() -> None:
            return None

        async def unknown() -> None:
            raise UnknownRun("no run r")

        assert await member.until(TOPIC, never, 0.01) is None
        assert await member.until(TOPIC, never, 0) is None
        with pytest.raises(UnknownRun):
            await member.until(TOPIC, unknown)
        waiting = asyncio.create_task(member.until(TOPIC, never))
        await settle()
        member.close()
        with pytest.raises(NodeStopped):
            await waiting
        net.close()

    run(main())


def test_which_events_change_which_side() -> None:
    """Steps change with each settlement; the standing with the end, an owner, or forgetting."""

    async def main() -> None:
        net = Net()
        member = net.subscriptions[2]
        sides = {STEPS: Topic(GROUP, RUN, STEPS), STANDING: Topic(GROUP, RUN, STANDING)}

        async def never() -> None:
            return None

        async def woken(event: execution.Event) -> set[str]:
            with (
                member._registered(sides[STEPS]) as steps,
                member._registered(sides[STANDING]) as standing,
            ):
                member.applied(GROUP, [event])
                return {
                    side for side, each in ((STEPS, steps), (STANDING, standing)) if each.is_set()
                }

        def settled(status: str, event: Event) -> execution.Event:
            return execution.Settled(record(status), Position(0), [encode(event)])

        assert await woken(settled("running", Set("c", 1))) == {STEPS}
        assert await woken(settled("completed", Ended("completed", 1))) == {STEPS, STANDING}
        assert await woken(settled("paused", Paused("why"))) == {STEPS, STANDING}
        assert await woken(settled("running", Resumed())) == {STEPS, STANDING}
        assert await woken(execution.Regenerated(record())) == {STEPS, STANDING}
        assert await woken(execution.RunStarted(record(), b"")) == {STEPS, STANDING}
        assert await woken(execution.OwnerChanged(record(), NodeId(1))) == {STANDING}
        assert await woken(execution.Forgotten(RUN)) == {STEPS, STANDING}
        assert await woken(execution.Signalled(RUN, "s")) == set()
        net.close()

    run(main())


async def settle() -> None:
    """Let everything come to rest."""
    for _ in range(50):
        await asyncio.sleep(0)
