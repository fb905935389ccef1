"""Nodes in this process, over real sockets: how they begin, and what they refuse."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from raftoral import Compute, Flow, Node, Registry, UsageError, activity, workflow
from raftoral.errors import RunConflict, Unavailable, UnknownRun, WorkflowFailed
from raftoral.ids import MANAGEMENT, NodeId
from raftoral.runtime.config import NodeConfig
from raftoral.storage.base import Identity
from raftoral.storage.rocks import RocksNodeStore
from tests.bench.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


@pytest.fixture
def address() -> Iterator[str]:
    """Return an address that is free."""
    return f"127.0.0.1:{free_port()}"


def _registry() -> Registry:
    return Registry(workflows=[doubled, refused], activities=[double, refuse])


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


def test_nobody_answers_a_dead_seed(address: str, tmp_path: Path) -> None:
    """A join to an address where nothing listens ends in one message that names it."""
    config = NodeConfig(
        data=str(tmp_path / "n"), listen=address, join=("127.0.0.1:1",), join_timeout_s=0.5
    )

    async def main() -> None:
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1.*first node of a cluster starts"):
            await Node(_registry(), config=config).start()

    asyncio.run(main())


def test_a_taken_port_leaves_no_folder_behind(address: str, tmp_path: Path) -> None:
    """The port is asked for before the disk is touched."""

    async def main() -> None:
        async with Node(_registry(), listen=address):
            with pytest.raises(UsageError, match="cannot listen on"):
                await Node(_registry(), data=tmp_path / "n", listen=address).start()
        assert not (tmp_path / "n").exists()

    asyncio.run(main())
