"""A node for an application without an event loop."""

from __future__ import annotations

import asyncio
import inspect
import threading

import pytest

from raftoral import BlockingNode, Checkpoint, Compute, Flow, Node, Receive, Registry, workflow
from raftoral.errors import NodeStopped, UnknownRun, UsageError, WorkflowFailed
from raftoral.replay.history import decode
from tests.bench.processes import free_port

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("processes")]

NOT_HERE = {"start", "stop", "run", "start_run", "fork", "id"}
"""Written out, or the life of the node itself."""


async def doubled(number: int) -> int:
    """Return twice the number, on the loop that the node brings."""
    await asyncio.sleep(0)
    return 2 * number


@workflow("blocking", version=1)
def blocking(number: int) -> Flow[int]:
    """Wait for another number, and add."""
    cell = yield from Checkpoint("number", number)
    more = yield from Receive("more", int)
    twice = yield from Compute("twice", doubled, more)
    yield from cell.set(number + twice)
    return number + twice


def node() -> BlockingNode:
    """Return a node in memory that is not started."""
    return BlockingNode(Registry(workflows=[blocking]), listen=f"127.0.0.1:{free_port()}")


def test_everything_blocks_until_its_answer() -> None:
    """Runs, results, signals, steps and errors come as from `Node`, without any loop around."""
    with node() as here:
        run = here.start_run(blocking, [1], id="b")
        assert here.id == 1
        assert run.status().status == "running"
        signaller = threading.Timer(0.1, lambda: run.signal("more", 3))
        signaller.start()
        assert run.result(10) == 7
        signaller.join()
        kinds = [
            type(decode(event)).__name__ for steps in here.follow("b") for event in steps.events
        ]
        assert kinds == ["Started", "Set", "Taken", "Done", "Set", "Ended"]
        assert [view.status for view in here.watch("b")] == ["completed"]
        assert here.run("blocking", number=1, id="b") == 7
        assert [view.id for view in here.list()] == ["b"]
        with pytest.raises(UnknownRun):
            here.show("nobody")
        other = here.start_run(blocking, [1], id="c")
        with pytest.raises(TimeoutError, match="has not ended within"):
            other.result(0.01)
        other.terminate(reason="enough")
        with pytest.raises(WorkflowFailed, match="Terminated: enough"):
            other.result(10)


def test_a_node_that_is_not_there_says_so() -> None:
    """Before the start, after the stop, and started twice it is told what to do."""
    here = node()
    with pytest.raises(NodeStopped, match="inside `with BlockingNode"):
        here.show("b")
    with here:
        with pytest.raises(UsageError, match="started already"):
            here.start()
        with pytest.raises(UsageError, match="cannot listen on"):
            BlockingNode(Registry(), listen=here.node.config.listen).start()
    with pytest.raises(NodeStopped):
        here.list()
    here.stop()


def test_an_async_activity_does_not_block_its_own_loop() -> None:
    """Called from the loop that would have to answer, it is refused and not a deadlock."""
    with node() as here:

        async def inside() -> None:
            here.list()

        with pytest.raises(UsageError, match="use a `Node` there"):
            here._wait(inside())


def test_it_has_what_a_node_has() -> None:
    """Each public method of `Node` is there, under the same name and with the same documentation."""
    for name, method in inspect.getmembers(Node, inspect.isfunction):
        if name.startswith("_") or name in NOT_HERE:
            continue
        blocking_one = getattr(BlockingNode, name)
        assert blocking_one.__doc__ == method.__doc__, name
        assert inspect.signature(blocking_one) == inspect.signature(method), name
    for name in NOT_HERE:
        assert hasattr(BlockingNode, name)
