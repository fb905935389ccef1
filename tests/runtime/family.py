"""The application of the test that kills leaders: runs that call runs."""

import asyncio

from raftoral import Call, Compute, Flow, Parallel, Registry, activity, workflow


@activity("family.add")
async def add(number: int) -> int:
    """Take a moment."""
    await asyncio.sleep(0.03)
    return number + 1


@workflow("family.child", version=1)
def child(number: int) -> Flow[int]:
    """Add one."""
    return (yield from Compute("one", add, number))


@workflow("family.parent", version=1)
def parent(number: int) -> Flow[int]:
    """Have two children at a time add one each, again and again."""
    total = number
    for turn in range(5):
        first, second = yield from Parallel(
            f"turn-{turn}",
            Call("a", child, total),
            Call("b", child, total),
        )
        total = first + second - total
    return total


registry = Registry(workflows=[child, parent], activities=[add])
