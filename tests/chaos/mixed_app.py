"""The application of the chaos run over workflows: the simulator's mix, in real processes.

Beside it a ledger, a workflow whose whole history its callers can follow by what they are told.

Each attempt writes its idempotency key into a journal before it gives its result.
"""

import asyncio
import os
from collections.abc import Mapping
from functools import partial
from random import SystemRandom
from typing import Any

from raftoral import (
    Activity,
    Checkpoint,
    Flow,
    Parallel,
    Receive,
    Registry,
    Update,
    WorkflowFailed,
    current_attempt,
    scope,
    workflow,
)
from raftoral.sim.stack.flows import FLOWS

chance = SystemRandom()


def note(kind: str) -> None:
    """Write one line to the journal; one write, so lines of several processes do not mix."""
    line = f"{kind} {current_attempt().idempotency_key}\n".encode()
    file = os.open(os.environ["CHAOS_JOURNAL"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, line)
    finally:
        os.close(file)


async def work(value: int) -> int:
    """Take a while."""
    note("work")
    await asyncio.sleep(chance.choice((0.0, 0.01, 0.2)) * chance.random())
    return value + 1


async def flaky(value: int) -> int:
    """Fail half of the time."""
    note("work")
    if chance.random() < 0.5:
        raise WorkflowFailed("Busy", "try again")
    return value


async def refuse(value: int) -> int:
    """Fail always."""
    note("work")
    raise WorkflowFailed("Declined", f"not {value}")


async def fragile(value: int) -> int:
    """Be attempted once at most."""
    note("fragile")
    await asyncio.sleep(0.1 * chance.random())
    return value


def add(before: int, amount: int) -> int:
    """Answer an update."""
    return before + amount


def seen(cells: Mapping[str, Any]) -> list[Any]:
    """Answer a query: the sum, and the signals taken in their order."""
    return [cells.get("both/adding/total", 0), cells.get("both/taking/taken", [])]


ACTIVITIES: dict[str, Any] = {
    "sim.work": work,
    "sim.flaky": flaky,
    "sim.refuse": refuse,
    "sim.fragile": fragile,
}


@workflow("chaos.ledger", version=1, queries={"seen": seen})
def ledger(turns: int) -> Flow[int]:
    """Take so many signals, and beside them answer so many updates, each with the sum so far."""

    def adding() -> Flow[int]:
        total = yield from Checkpoint("total", 0)
        for turn in range(turns):
            with scope(f"turn-{turn}"):
                before = total.get()
                amount = yield from Update("add", int, partial(add, before))
            yield from total.set(before + amount)
        return total.get()

    def taking() -> Flow[None]:
        taken = yield from Checkpoint("taken", list[str]())
        for turn in range(turns):
            with scope(f"turn-{turn}"):
                mark = yield from Receive("go", str)
            yield from taken.set([*taken.get(), mark])

    both = yield from Parallel("both", adding=adding(), taking=taking())
    return int(both["adding"])


registry = Registry(
    workflows=[*FLOWS, ledger], activities=[Activity(name, fn) for name, fn in ACTIVITIES.items()]
)
