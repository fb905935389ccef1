"""Nodes in this process, over real sockets: how they begin, and what they refuse."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from raftoral import Compute, Flow, Money, Node, Receive, Registry, UsageError, activity, workflow
from raftoral.errors import NodeStopped, RunConflict, Unavailable, UnknownRun, WorkflowFailed
from raftoral.groups.clock import SystemClock
from raftoral.ids import MANAGEMENT, NodeId
from raftoral.replay.history import decode
from raftoral.runtime import joining
from raftoral.runtime.config import NodeConfig
from raftoral.storage.base import Identity
from raftoral.storage.rocks import RocksNodeStore
from raftoral.transport.base import Local
from raftoral.transport.tcp import TcpTransport
from tests.bench.processes import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from raftoral.values import Value
from contextlib import AsyncExitStack
from decimal import Decimal

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("processes")]


@activity("double")
def double(number: int) -> int:
    """Return twice the number."""
    return 2 * number


@activity("refuse")
async def refuse(why: str) -> str:
    """Fail for good."""
    raise WorkflowFailed("Refused", why)


@workflow("doubled", version=1)
def doubled(number: int) -> Flow[int]:
    """Double once."""
    result = yield from Compute("result", double, number)
    return result


@workflow("refused", version=1)
def refused(why: str) -> Flow[str]:
    """Fail."""
    result = yield from Compute("result", refuse, why)
    return result


@workflow("priced", version=1)
def priced(amount: Money, note: str) -> Flow[dict[str, object]]:
    """Give back what was given."""
    yield from Compute("result", double, 1)
    return {"amount": amount, "note": note}


@workflow("waiting", version=1)
def waiting() -> Flow[int]:
    """Wait for a number."""
    number = yield from Receive("go", int)
    return number


@pytest.fixture
def address() -> str:
    """Return an address that is free."""
    return f"127.0.0.1:{free_port()}"


def _registry() -> Registry:
    return Registry(workflows=[doubled, priced, refused], activities=[double, refuse])


def test_a_node_without_a_folder_runs_workflows_and_tells_failures(address: str) -> None:
    """Results come back typed, failures as `WorkflowFailed`, and an id names one run."""

    async def main() -> None:
        async with Node(_registry(), listen=address) as node:
            assert await node.run(doubled, 21) == 42
            assert await node.run("doubled", number=4, id="four") == 8
            with pytest.raises(RunConflict, match="another input"):
                await node.run(doubled, 5, id="four")
            with pytest.raises(RunConflict, match="exists with workflow doubled"):
                await node.run(refused, "x", id="four")
            with pytest.raises(WorkflowFailed, match="Refused: no luck"):
                await node.run(refused, "no luck")
            with pytest.raises(UnknownRun, match="no run is called"):
                await node.show("nobody")

    asyncio.run(main())


def test_a_node_that_crashed_while_joining_joins_again_under_the_same_id(
    address: str, tmp_path: Path
) -> None:
    """With its identity stored and nothing heard yet, a node asks again and gets the same id."""
    folder = str(tmp_path / "b")

    async def main() -> None:
        async with Node(_registry(), data=tmp_path / "a", listen=address) as first:
            await asyncio.to_thread(_crash_while_joining, folder, (await first.status()).cluster)
            lost = Node(_registry(), data=folder, listen=f"127.0.0.1:{free_port()}")
            with pytest.raises(UsageError, match="start it with --join once more"):
                await lost.start()
            async with Node(
                _registry(), data=folder, listen=f"127.0.0.1:{free_port()}", join=[address]
            ) as second:
                assert second.id == 2
                assert [view.id for view in await first.nodes()] == [1, 2]
                assert await second.run(doubled, 3) == 6

    asyncio.run(main())


def _crash_while_joining(folder: str, cluster: str) -> None:
    """Leave what a node has on disk between the answer to its join and its first snapshot."""
    store = RocksNodeStore(folder)
    store.set_identity(Identity(cluster, NodeId(2), "node-2"))
    assert store.group(MANAGEMENT).last_index() == 0
    store.close()


def test_a_workflow_that_is_registered_late_goes_on_with_its_parked_runs(
    address: str, tmp_path: Path
) -> None:
    """A run that was parked for want of its code comes back when the application deploys it."""

    async def main() -> None:
        async with Node(Registry(), data=tmp_path / "a", listen=address) as node:
            await node.deploy(waiting)
            await node.start_run(waiting, id="w")
        async with Node(Registry(), data=tmp_path / "a", listen=address) as node:
            for _ in range(500):
                if (await node.show("w")).status == "parked":
                    break
                await asyncio.sleep(0.02)
            assert (await node.show("w")).status == "parked"
            await node.signal("w", "go", 7)
            await node.deploy(waiting)
            view = await node.wait("w", 10)
            assert (view.status, view.result) == ("completed", 7)

    asyncio.run(main())


def test_a_founder_stopped_before_its_first_words_founds_its_cluster_at_the_next_start(
    address: str, tmp_path: Path
) -> None:
    """With an identity and nothing committed, the founder forms the cluster, with its groups."""
    folder = str(tmp_path / "a")
    store = RocksNodeStore(folder)
    joining.found(store, NodeConfig(data=folder, groups=2))
    store.close()

    async def main() -> None:
        async with Node(_registry(), data=folder, listen=address) as first:
            assert [view.id for view in await first.nodes()] == [1]
            assert [group.id for group in (await first.status()).groups] == [0, 1, 2]
            assert await first.run(doubled, 5) == 10

    asyncio.run(main())


def test_somebody_who_asks_to_join_and_does_not_come_stops_nobody(address: str) -> None:
    """A node that never answers stays a learner, so that the others keep their majority."""

    async def main() -> None:
        async with Node(_registry(), listen=address) as first:
            clock = SystemClock()
            stranger = TcpTransport(
                Local("", NodeId(0), ""), "127.0.0.1:0", wall=clock.wall, chance=lambda _: 0
            )
            request: list[Value] = ["nonce", "", "127.0.0.1:1", ""]
            answer = await stranger.call(address, "cluster.join", request, 5.0)
            assert isinstance(answer, list)
            assert answer[1] == 2
            await stranger.close()
            await asyncio.sleep(1.5)
            groups = (await first.status()).groups
            assert [(group.members, group.learners) for group in groups] == [([1], [2])] * 2
            assert await first.run(doubled, 1) == 2

    asyncio.run(main())


def test_a_node_that_is_no_member_of_the_group_gives_the_same_answers(tmp_path: Path) -> None:
    """The fourth node passes requests on: results, lists and histories are those of a member."""

    async def main() -> None:
        addresses = [f"127.0.0.1:{free_port()}" for _ in range(4)]
        async with AsyncExitStack() as stack:
            nodes = [
                await stack.enter_async_context(
                    Node(
                        _registry(), listen=each, join=[] if each is addresses[0] else addresses[:1]
                    )
                )
                for each in addresses
            ]
            first, fourth = nodes[0], nodes[3]
            amount = Money(Decimal("1.50"), "EUR")
            for number in range(8):
                await fourth.run(priced, amount, "x" * 150_000, id=f"p-{number}")
            assert await fourth.show("p-3") == await first.show("p-3")
            assert (await fourth.show("p-3")).result == {"amount": amount, "note": "x" * 150_000}
            assert await fourth.list() == await first.list()
            assert (await fourth.history("p-3")).sha256 == (await first.history("p-3")).sha256
            with pytest.raises(UsageError, match="no member of group 1"):
                await fourth.history("p-3", local=True)

    asyncio.run(main())


def test_a_node_that_is_no_member_hears_of_a_run_though_the_member_that_told_it_is_stopped(
    tmp_path: Path,
) -> None:
    """Results and followed steps reach the fourth node, whichever member goes away meanwhile."""

    async def main() -> None:
        addresses = [f"127.0.0.1:{free_port()}" for _ in range(4)]
        registry = Registry(workflows=[waiting])
        async with AsyncExitStack() as stack:
            nodes = [
                await stack.enter_async_context(
                    Node(registry, listen=each, join=[] if each is addresses[0] else addresses[:1])
                )
                for each in addresses
            ]
            fourth = nodes[3]
            for number in range(4):
                await fourth.start_run(waiting, id=f"w-{number}")
            results = [asyncio.create_task(fourth.wait(f"w-{number}")) for number in range(4)]
            followed = asyncio.create_task(_events(fourth, "w-0"))
            await asyncio.sleep(0.3)
            await nodes[0].stop()  # it told node 4, and it led
            for number in range(4):
                await fourth.signal(f"w-{number}", "go", number)
            async with asyncio.timeout(20):
                assert [view.result for view in await asyncio.gather(*results)] == [0, 1, 2, 3]
                assert await followed == ["Started", "Taken", "Ended"]

    asyncio.run(main())


def test_a_node_leaves_and_a_new_one_can_come_in_its_folder_s_place(tmp_path: Path) -> None:
    """`leave` returns once the others go on alone; the old folder is refused, a new one joins."""

    async def main() -> None:
        addresses = [f"127.0.0.1:{free_port()}" for _ in range(3)]
        async with (
            Node(_registry(), data=tmp_path / "1", listen=addresses[0], name="one") as first,
            Node(
                _registry(), data=tmp_path / "2", listen=addresses[1], join=addresses[:1]
            ) as second,
        ):
            assert await second.run(doubled, 1, id="before") == 2
            await first.leave(30)
            with pytest.raises(NodeStopped):
                await first.nodes()
            assert [view.id for view in await second.nodes()] == [2]
            assert await second.run(doubled, 2) == 4
            assert (await second.show("before")).result == 2
            with pytest.raises(UsageError, match="last one that stays"):
                await second.leave()
            again = Node(_registry(), data=tmp_path / "1", listen=addresses[0], join=addresses[1:2])
            with pytest.raises(UsageError, match=r"node 1 \(one\) was removed from cluster"):
                await again.start()
            async with Node(
                _registry(),
                data=tmp_path / "3",
                listen=addresses[0],
                join=addresses[1:2],
                name="one",
            ) as third:
                assert third.id == 3
                assert await third.run(doubled, 3) == 6

    asyncio.run(main())


async def _events(node: Node, run_id: str) -> list[str]:
    """Follow a run to its end."""
    return [
        type(decode(event)).__name__
        async for steps in node.follow(run_id)
        for event in steps.events
    ]


def test_nobody_answers_a_dead_seed(
    address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A join where nothing listens is told of at once and once, and ends in a message with the address."""
    config = NodeConfig(
        data=str(tmp_path / "n"), listen=address, join=("127.0.0.1:1",), join_timeout_s=0.5
    )

    async def main() -> None:
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1.*first node of a cluster starts"):
            await Node(_registry(), config=config).start()

    asyncio.run(main())
    told = [record.getMessage() for record in caplog.records if record.name == "raftoral.join"]
    assert len(told) == 1
    assert told[0].startswith("no answer yet, trying for 0.5 s: 127.0.0.1:1: ")


def test_a_taken_port_leaves_no_folder_behind(address: str, tmp_path: Path) -> None:
    """The port is asked for before the disk is touched."""

    async def main() -> None:
        async with Node(_registry(), listen=address):
            with pytest.raises(UsageError, match="cannot listen on"):
                await Node(_registry(), data=tmp_path / "n", listen=address).start()
        assert not (tmp_path / "n").exists()

    asyncio.run(main())
