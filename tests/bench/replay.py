"""How fast a run is replayed: committed bytes to resumed generator, decode and comparison included.

``python -m tests.bench.replay`` prints one line per figure. The workflow has ten steps, each an
activity with a dataclass for its result and a checkpoint beside it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raftoral.ids import Millis, RunId
from raftoral.registry.python import start_python
from raftoral.replay.effects import Checkpoint, Compute, Flow, scope, workflow
from raftoral.replay.history import Done, Event, Started, encode
from raftoral.replay.interpreter import Replay, advance
from raftoral.replay.waits import ComputeWait

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.replay.interpreter import Body

STEPS = 10
SECONDS = 1.0
GOAL = 100_000


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a step is answered with."""

    step: int
    note: str


def charge(customer: str, step: int) -> Receipt:
    """Stand for an activity; the bench settles it without running it."""
    return Receipt(step, customer)


@workflow("bench.order", version=1)
def order(customer: str) -> Flow[int]:
    """Ten activities, each with a checkpoint beside it."""
    total = yield from Checkpoint("total", 0)
    for step in range(STEPS):
        with scope(f"step-{step}"):
            receipt = yield from Compute("charge", charge, customer, step)
            yield from total.set(total.get() + receipt.step)
    return total.get()


def start(started: Started) -> Body:
    """Start the workflow as a node does."""
    return start_python(order, started)


def history(begin: Callable[[Started], Body] = start) -> list[bytes]:
    """Return the whole history of one run, of this workflow or of another of the same steps."""
    replay = Replay(RunId("bench"), begin)
    events: list[bytes] = []

    def feed(event: Event) -> None:
        data = encode(event)
        replay.feed(data)
        events.append(data)
        while replay.outbox:
            events.append(replay.outbox[0])
            replay.feed(replay.outbox[0])

    feed(Started("bench.order", 1, "0" * 64, {"customer": "c-1"}, Millis(0), "", 0))
    while not replay.ended:
        waiting = replay.waiting
        assert isinstance(waiting, ComputeWait)
        step = waiting.effect.call.args[1]
        feed(Done(waiting.path, waiting.call, True, {"step": step, "note": "c-1"}, 1))
    replay.close()
    return events


def replaying(name: str, begin: Callable[[Started], Body]) -> dict[str, Any]:
    """Return the figure of a workflow, beside the goal that it is held against."""
    events = history(begin)
    run = RunId("bench")
    best = 0.0
    until = time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        began = time.perf_counter()
        for _ in range(20):
            advance(run, begin, events)
        best = max(best, 20 * len(events) / (time.perf_counter() - began))
    return {
        "name": name,
        "value": round(best),
        "unit": "events/s",
        "ratio": round(best / GOAL, 2),
        "against": f"goal of {GOAL:,} events/s",
    }


def measure() -> list[dict[str, Any]]:
    """Return the figures."""
    return [replaying("replay_events_per_s", start)]


if __name__ == "__main__":
    for figure in measure():
        print(f"{figure['name']}: {figure['value']:,} {figure['unit']} ({figure['against']})")
