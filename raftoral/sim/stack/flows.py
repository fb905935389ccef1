"""The workflows of simulated applications, and what their activities leave behind.

Owns a mix of everything that the engine has: sagas, fan-outs, races with timers and signals,
children, updates, restarts, steps that may be attempted once. Activities take virtual time and fail
by chance; a `Journal` outside of all processes notes every attempt.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from raftoral.errors import WorkflowFailed
from raftoral.registry.app import Registry
from raftoral.replay.context import current
from raftoral.replay.effects import (
    RESULT,
    Activity,
    Call,
    Checkpoint,
    Compute,
    Flow,
    ForEach,
    Parallel,
    Race,
    Random,
    Receive,
    Restart,
    Saga,
    Sleep,
    Start,
    Workflow,
    scope,
    workflow,
)

if TYPE_CHECKING:
    from random import Random as Chance


class Journal:
    """What all activities of a cluster did, seen from outside."""

    def __init__(self) -> None:
        self.attempts: Counter[str] = Counter()
        """How often each idempotency key was attempted."""
        self.fragile: Counter[str] = Counter()
        """The same, of steps that may be attempted once only."""


def activities(journal: Journal, chance: Chance) -> list[Activity[Any, Any]]:
    """Return the activities of one process."""

    async def work(value: int) -> int:
        journal.attempts[current().idempotency_key] += 1
        await asyncio.sleep(chance.choice((0.0, 0.01, 0.2)) * chance.random())
        return value + 1

    async def flaky(value: int) -> int:
        journal.attempts[current().idempotency_key] += 1
        await asyncio.sleep(0.05 * chance.random())
        if chance.random() < 0.5:
            raise WorkflowFailed("Busy", "try again")
        return value

    async def refuse(value: int) -> int:
        journal.attempts[current().idempotency_key] += 1
        await asyncio.sleep(0.02 * chance.random())
        raise WorkflowFailed("Declined", f"not {value}")

    async def fragile(value: int) -> int:
        journal.fragile[current().idempotency_key] += 1
        await asyncio.sleep(0.2 * chance.random())
        return value

    return [
        Activity(name, function)
        for name, function in (
            ("sim.work", work),
            ("sim.flaky", flaky),
            ("sim.refuse", refuse),
            ("sim.fragile", fragile),
        )
    ]


@workflow("sim.steps", version=1)
def steps(n: int) -> Flow[int]:
    """Go step by step, with checkpoints and a pause."""
    total = yield from Checkpoint("total", 0)
    for turn in range(n % 4 + 1):
        with scope(f"turn-{turn}"):
            done = yield from Compute("work", "sim.work", turn).retry(5, first="50ms")
            yield from total.set(total.get() + done)
            if turn % 2:
                yield from Sleep("300ms")
    again = yield from Compute("flaky", "sim.flaky", n).retry(20, first="20ms", longest="200ms")
    return total.get() + int(again)


@workflow("sim.trip", version=1)
def trip(n: int) -> Flow[str]:
    """A saga over branches that always fails at its end."""

    def book(what: str) -> Flow[int]:
        booked: int = yield from Compute("book", "sim.work", n).compensate("sim.work", RESULT)
        yield from Sleep("100ms")
        return booked

    def body() -> Flow[None]:
        yield from Parallel("legs", flight=book("flight"), hotel=book("hotel"), car=book("car"))
        yield from Compute("pay", "sim.refuse", n)

    try:
        yield from Saga(body())
    except WorkflowFailed as error:
        return error.name
    return "paid"


@workflow("sim.fan", version=1)
def fan(n: int) -> Flow[list[int]]:
    """Fan out with a limit."""

    def one(item: int) -> Flow[int]:
        done: int = yield from Compute("work", "sim.work", item)
        return done

    found = yield from ForEach("items", range(n % 7 + 1), one, limit=3)
    return found


@workflow("sim.race", version=1)
def race(n: int) -> Flow[str]:
    """A race of a signal, a timer and work."""

    def slow() -> Flow[int]:
        held: int = yield from Compute("hold", "sim.work", n).compensate("sim.work", RESULT)
        yield from Sleep("2s")
        return held

    won = yield from Race("first", signal=Receive("go"), timer=Sleep("1500ms"), work=slow())
    return won.name


@workflow("sim.parent", version=1)
def parent(n: int) -> Flow[int]:
    """Children that are waited for, and one that is not."""
    yield from Start("aside", steps, n)
    both = yield from Parallel("both", Call("one", steps, n), Call("two", fan, n))
    return both[0] + len(both[1])


@workflow("sim.wait", version=1)
def wait(n: int) -> Flow[list[Any]]:
    """Take signals in their order."""
    taken: list[Any] = []
    for _ in range(n % 3 + 1):
        taken.append((yield from Receive("go").timeout("3s")))
    dice = yield from Random(6)
    return [taken, dice < 6]


@workflow("sim.loop", version=1)
def loop(n: int) -> Flow[int]:
    """Begin anew until nothing is left."""
    left = n % 4
    yield from Compute("work", "sim.work", left)
    if left:
        yield from Restart(left - 1)
    return left


@workflow("sim.once", version=1)
def once(n: int) -> Flow[str]:
    """A step that is attempted once at most."""
    try:
        yield from Compute("fragile", "sim.fragile", n).at_most_once()
    except WorkflowFailed as error:
        return error.name
    return "done"


FLOWS: list[Workflow[Any, Any]] = [steps, trip, fan, race, parent, wait, loop, once]
SIGNALLED = ("sim.race", "sim.wait")


def registry(journal: Journal, chance: Chance) -> Registry:
    """Return what one simulated process registers."""
    return Registry(workflows=FLOWS, activities=activities(journal, chance))
