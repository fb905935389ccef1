"""The application of the chaos run over workflows: the simulator's mix, in real processes.

Each attempt writes its idempotency key into a journal before it gives its result.
"""

import asyncio
import os
from random import SystemRandom
from typing import Any

from raftoral import Activity, Registry, WorkflowFailed, current_attempt
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


ACTIVITIES: dict[str, Any] = {
    "sim.work": work,
    "sim.flaky": flaky,
    "sim.refuse": refuse,
    "sim.fragile": fragile,
}

registry = Registry(
    workflows=FLOWS, activities=[Activity(name, fn) for name, fn in ACTIVITIES.items()]
)
