"""Questions about runs, answered from their committed cells."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from raftoral import Checkpoint, Flow, Node, Receive, Registry, scope, workflow
from raftoral.errors import QueryFailed, UnknownDefinition, UnknownQuery, UnknownRun
from tests.bench.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("processes")]


def _progress(cells: Mapping[str, Any]) -> dict[str, Any]:
    return {"done": cells.get("done", 0), "page": cells.get("pages/page")}


def _broken(cells: Mapping[str, Any]) -> Any:
    return cells["nowhere"]


def _endless(_cells: Mapping[str, Any]) -> Any:
    while True:
        pass


def _leaving(_cells: Mapping[str, Any]) -> Any:
    sys.exit("no more")


def _strange(_cells: Mapping[str, Any]) -> Any:
    return object()


@workflow(
    "counting",
    version=1,
    queries={
        "progress": _progress,
        "broken": _broken,
        "endless": _endless,
        "leaving": _leaving,
        "strange": _strange,
    },
)
def counting() -> Flow[int]:
    """Count signals."""
    done = yield from Checkpoint("done", 0)
    with scope("pages"):
        yield from Checkpoint("page", "first")
    while done.value < 3:
        yield from Receive("next")
        yield from done.set(done.value + 1)
    return done.value


def _address() -> str:
    return f"127.0.0.1:{free_port()}"


def test_a_query_sees_the_committed_cells_while_the_run_goes_on_and_after() -> None:
    """A query answers from the cells, by path; a consistent one sees what was settled before it."""

    async def main() -> None:
        async with Node(Registry(workflows=[counting]), listen=_address()) as node:
            await node.start_run(counting, id="c")
            for number in range(3):
                await _settled(node, number)
                await node.signal("c", "next")
            await node.wait("c", 10)
            assert await node.query("c", "progress") == {"done": 3, "page": "first"}

    asyncio.run(main())


async def _settled(node: Node, number: int) -> None:
    """Wait until the cell ``done`` was set that often, then ask."""
    seen = 0
    async for steps in node.follow("c"):
        seen += sum(b"\xa3Set" in event and b"done" in event for event in steps.events)
        if seen > number:
            break
    progress = await node.query("c", "progress", consistent=True)
    assert progress == {"done": number, "page": "first"}


def test_what_is_wrong_with_a_query_is_told() -> None:
    """No such query or run, an error, an endless loop and an answer of no stored kind are told."""

    async def main() -> None:
        async with Node(Registry(workflows=[counting]), listen=_address()) as node:
            await node.start_run(counting, id="c")
            with pytest.raises(UnknownQuery, match="there are: broken, endless, leaving, progress"):
                await node.query("c", "nothing")
            with pytest.raises(UnknownRun):
                await node.query("d", "progress")
            with pytest.raises(QueryFailed, match="query broken of counting version 1 failed: Key"):
                await node.query("c", "broken")
            with pytest.raises(QueryFailed, match=r"computes for more than 0\.4 s"):
                await node.query("c", "endless")
            with pytest.raises(QueryFailed, match="failed: SystemExit: no more"):
                await node.query("c", "leaving")
            with pytest.raises(QueryFailed, match="the answer of query strange"):
                await node.query("c", "strange")
            assert await node.query("c", "progress") == {"done": 0, "page": "first"}

    asyncio.run(main())


def test_a_query_is_answered_by_a_member_that_has_the_code() -> None:
    """A node without the workflow, or without the group, passes the query on to one with both."""

    async def main() -> None:
        addresses = [_address() for _ in range(4)]
        registries = [Registry(), Registry(workflows=[counting]), Registry(), Registry()]
        async with AsyncExitStack() as stack:
            nodes = [
                await stack.enter_async_context(
                    Node(registry, listen=each, join=[] if each is addresses[0] else addresses[:1])
                )
                for each, registry in zip(addresses, registries, strict=True)
            ]
            await nodes[0].start_run("counting", {}, id="c")
            for node in nodes:
                answer = await node.query("c", "progress", consistent=True)
                assert answer["done"] == 0
            await nodes[1].stop()
            with pytest.raises(UnknownDefinition, match="not register"):
                await nodes[0].query("c", "progress")

    asyncio.run(main())
