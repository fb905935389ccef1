"""The application that the benchmarks run: a workflow of ten steps, and one that takes its time."""

import asyncio

from raftoral import (
    Checkpoint,
    Compute,
    Flow,
    Receive,
    Registry,
    activity,
    scope,
    workflow,
)


@activity("bench.step")
async def step(number: int) -> int:
    """Do nothing, so that only the orchestration is measured."""
    return number


@activity("bench.slow")
async def slow(number: int) -> int:
    """Take a tenth of a second, so that there is always a step under way."""
    await asyncio.sleep(0.1)
    return number


@workflow("bench.ten", version=1)
def ten(seed: int) -> Flow[int]:
    """Run ten steps one after the other."""
    total = seed
    for turn in range(10):
        with scope(f"turn-{turn}"):
            total += yield from Compute("step", step, turn)
    return total


@workflow("bench.long", version=1)
def long(turns: int) -> Flow[int]:
    """Run many slow steps and record the progress."""
    done = yield from Checkpoint("done", 0)
    for turn in range(turns):
        with scope(f"turn-{turn}"):
            yield from Compute("step", slow, turn)
        yield from done.set(turn + 1)
    return turns


@workflow("bench.doze", version=1)
def doze(span: str) -> Flow[str | None]:
    """Sleep that long, or until somebody wakes it."""
    return (yield from Receive("wake", str).timeout(span))


registry = Registry(workflows=[ten, long, doze], activities=[step, slow])
