"""One branch for each item."""

from __future__ import annotations

from typing import Any

from raftoral.replay.effects import Compute, Flow, ForEach, Sleep
from tests.conformance.cases.common import NOT_EXPRESSIBLE, requirement, same
from tests.conformance.cases.parallel import BROKEN, COUNTS, gives, summary

_UNSTORED = "the result of a group is made again on replay, so no serializer of it ever runs"
NOT_EXPRESSIBLE["9-19"] = _UNSTORED
NOT_EXPRESSIBLE["9-20"] = _UNSTORED


@requirement("9-1", greet=lambda: lambda item: f"Hello, {item}!")
def greetings(given: list[str]) -> Flow[list[Any]]:
    """A step for each item."""
    return (yield from ForEach("map", given, lambda item: Compute("step", "greet", item), limit=1))


@requirement("9-4")
def empty(given: list[str]) -> Flow[list[Any]]:
    """No items."""
    return (yield from ForEach("empty", given, gives))


@requirement("9-6")
def throwing(given: Any) -> Flow[list[Any]]:
    """The first one fails, and its failure is raised from the outcomes."""
    group = ForEach("throwing", [BROKEN, "never"], gives)
    outcomes = yield from group.tolerate(failures=0).limit(1)
    outcomes.raise_first()
    return outcomes.values()


@requirement("9-8")
def tolerated(given: Any) -> Flow[Any]:
    """One failure is tolerated."""
    group = ForEach("tolerated", ["a", BROKEN, "c"], gives)
    return summary((yield from group.tolerate(failures=1).limit(1)), COUNTS)


@requirement("9-11")
def at_once(given: Any) -> Flow[list[Any]]:
    """Two at a time."""
    return (yield from ForEach("concurrent", ["r0", "r1", "r2"], gives, limit=2))


@requirement("9-13")
def named(given: list[int]) -> Flow[list[Any]]:
    """Each item names its branch."""
    by = "item-{}".format
    return (yield from ForEach("named-items", given, lambda n: gives(n * 10), by=by, limit=1))


@requirement("9-15", echo=same)
def suspended(given: Any) -> Flow[list[Any]]:
    """The second branch waits."""

    def one(item: str) -> Flow[Any]:
        if item == "r1":
            yield from Sleep("1s")
        return (yield from Compute("step", "echo", item))

    return (yield from ForEach("suspend", ["r0", "r1"], one, limit=1))


@requirement("9-17")
def then_wait(given: Any) -> Flow[list[Any]]:
    """A wait after the group."""
    found = yield from ForEach("then-wait", ["a", "b"], lambda item: gives(item.upper()), limit=1)
    yield from Sleep("1s")
    return found
