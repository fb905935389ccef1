"""A node that missed entries and got the state they led to."""

from __future__ import annotations

import asyncio

from raftoral import Compute, Flow, activity, workflow
from raftoral.ids import RunId
from raftoral.kv import MemoryKeyValue
from tests.runtime.cluster import Cluster, registry
from tests.virtual import run

RUN = RunId("r")


@activity("lagging.step")
async def step(number: int) -> int:
    """Take a moment."""
    await asyncio.sleep(0.02)
    return number + 1


@workflow("lagging.steps", version=1)
def steps(number: int) -> Flow[int]:
    """Take two steps."""
    first = yield from Compute("first", step, number)
    second = yield from Compute("second", step, first)
    return second


def test_a_run_whose_end_a_node_missed_is_over_with_the_snapshot() -> None:
    """Events that a snapshot stands for are never told; what it shows holds all the same."""

    async def main() -> None:
        ours = registry(steps, activities={"lagging.step": step})
        made = Cluster([ours, ours])
        try:
            made.form()
            made.start(RUN, steps, number=1)
            lagging = next(each for each in made.members if each is not made.owner(RUN))
            await made.until(lambda: RUN in lagging.executor.live)
            lagging.alive = False  # it gets nothing more from the log
            await made.until(lambda: not made.find(RUN).live)
            assert lagging.executor.is_live(RUN)
            lagging.port.state = MemoryKeyValue(made.leader.items())
            lagging.executor.load()
            assert not lagging.executor.is_live(RUN)
        finally:
            await made.close()

    run(main())
