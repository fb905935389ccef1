"""Branches in parallel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raftoral.replay.effects import Compute, Flow, Outcomes, Parallel
from raftoral.replay.effects.branches import ENOUGH, EVERY, TOO_MANY
from tests.conformance.cases.common import NOT_EXPRESSIBLE, requirement, same

if TYPE_CHECKING:
    from collections.abc import Iterable

NOT_EXPRESSIBLE["8-15"] = "the result of a branch is made again on replay, so it is never stored"

REASONS = {
    EVERY: "ALL_COMPLETED",
    ENOUGH: "MIN_SUCCESSFUL_REACHED",
    TOO_MANY: "FAILURE_TOLERANCE_EXCEEDED",
}


def gives(value: Any) -> Flow[Any]:
    """A branch that gives a value at once; an exception is raised."""
    yield from ()
    if isinstance(value, Exception):
        raise value
    return value


def branches(*values: Any) -> dict[str, Flow[Any]]:
    """Branches that give these values."""
    return {f"branch-{n}": gives(value) for n, value in enumerate(values, 1)}


def summary(outcomes: Outcomes[Any], keys: Iterable[str]) -> dict[str, Any]:
    """What the requirements ask of how all branches ended."""
    failed = len(outcomes.of("failed"))
    done = len(outcomes.of("done"))
    every = {
        "completionReason": REASONS[outcomes.reason],
        "status": "FAILED" if failed else "SUCCEEDED",
        "successCount": done,
        "failureCount": failed,
        "totalCount": done + failed,
        "hasFailure": bool(failed),
        "errorCount": len(outcomes.errors()),
    }
    return {key: every[key] for key in keys}


BROKEN = RuntimeError("broken")
COUNTS = ("completionReason", "status", "successCount", "failureCount", "totalCount")


@requirement("8-1", echo=same)
def two(given: Any) -> Flow[list[Any]]:
    """Two branches with a step each."""
    steps: Any = {f"branch-{n}": Compute("step", "echo", f"task-{n}") for n in (1, 2)}
    return [*(yield from Parallel("parallel", **steps).limit(1)).values()]


@requirement("8-4")
def mixed(given: Any) -> Flow[list[Any]]:
    """Results of several types."""
    return [*(yield from Parallel("hetero", **branches("hello", 42, {"k": "v"})).limit(1)).values()]


@requirement("8-6")
def fail_fast(given: Any) -> Flow[Any]:
    """The first failure is the last branch."""
    group = Parallel("failfast", **branches("ok", BROKEN, "never"))
    return summary((yield from group.tolerate(failures=0).limit(1)), COUNTS)


@requirement("8-8")
def enough(given: Any) -> Flow[Any]:
    """Two successes are enough."""
    group = Parallel("min-successful", **branches("a", "b", "c", "d"))
    keys = ("completionReason", "successCount", "totalCount")
    return summary((yield from group.enough(2).limit(1)), keys)


@requirement("8-11")
def at_once(given: Any) -> Flow[list[Any]]:
    """Two at a time."""
    return [*(yield from Parallel("concurrent", **branches("r0", "r1", "r2")).limit(2)).values()]


@requirement("8-13")
def share(given: Any) -> Flow[Any]:
    """More than a quarter fails."""
    group = Parallel("tolerated-pct", **branches(BROKEN, BROKEN, "c", "d"))
    keys = ("completionReason", "successCount", "failureCount", "totalCount")
    return summary((yield from group.tolerate(percent=25).limit(1)), keys)


@requirement("8-17")
def not_enough(given: Any) -> Flow[Any]:
    """The successes that are wanted never come."""
    group = Parallel("min-not-reached", **branches("a", BROKEN, "c"))
    return summary((yield from group.enough(3).limit(1)), COUNTS)


@requirement("8-19")
def no_limit(given: Any) -> Flow[Any]:
    """A limit of none is refused before anything begins."""
    return [*(yield from Parallel("bad-concurrency", **branches("a", "b")).limit(0)).values()]


@requirement("8-20")
def accessors(given: Any) -> Flow[Any]:
    """What can be asked of the outcomes."""
    group = Parallel("accessors", **branches("a", BROKEN, "c"))
    keys = ("hasFailure", "successCount", "failureCount", "errorCount")
    return summary((yield from group.tolerate(failures=1).limit(1)), keys)


@requirement("8-22")
def boundary(given: Any) -> Flow[Any]:
    """Exactly a quarter fails."""
    group = Parallel("pct-boundary", **branches(BROKEN, "b", "c", "d"))
    return summary((yield from group.tolerate(percent=25).limit(1)), COUNTS)
