"""Waiting for a condition: a step again and again, with pauses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.conformance.cases.common import fails, requirement, wait_for_condition

if TYPE_CHECKING:
    from raftoral.replay.effects import Flow


def counting() -> Any:
    """Count up."""
    return lambda state: state + 1


@requirement("6-1", check=counting)
def until_input(given: int) -> Flow[int]:
    """Count to the input."""
    return int((yield from wait_for_condition("count", "check", 0, lambda n: n >= given)))


@requirement("6-3", check=counting)
def named(given: int) -> Flow[int]:
    """A condition with a name."""
    return int((yield from wait_for_condition("poll-status", "check", 0, lambda n: n >= 2)))


@requirement("6-5", check=counting)
def every_two_seconds(given: int) -> Flow[int]:
    """A pause of two seconds."""
    return int((yield from wait_for_condition("count", "check", 0, lambda n: n >= given, "2s")))


@requirement("6-7", check=fails(1, RuntimeError("broken")))
def failing(given: Any) -> Flow[Any]:
    """The check fails, which nobody repeats."""
    return (yield from wait_for_condition("count", "check", 0, lambda n: n >= 2))


@requirement(
    "6-9",
    check=lambda: (
        lambda s: {"status": "DONE" if s["attempts"] else "PENDING", "attempts": s["attempts"] + 1}
    ),
)
def structured(given: Any) -> Flow[Any]:
    """The state is an object."""
    first = {"status": "PENDING", "attempts": 0}
    done = yield from wait_for_condition("poll", "check", first, lambda s: s["status"] == "DONE")
    return done


@requirement("6-11", check=lambda: lambda state: [*state, "x"])
def written_otherwise(given: Any) -> Flow[str]:
    """The state is stored in another form than the workflow reads it in."""
    state = yield from wait_for_condition("grow", "check", [], lambda s: len(s) >= 2)
    return "".join(state)


@requirement("6-13", check=counting)
def two(given: Any) -> Flow[int]:
    """The second begins where the first ended."""
    two = yield from wait_for_condition("first", "check", 0, lambda n: n >= 2)
    return int((yield from wait_for_condition("second", "check", two, lambda n: n >= 4)))
