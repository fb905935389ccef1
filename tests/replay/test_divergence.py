"""Code that does not fit its history: told apart before anything is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from raftoral.errors import NonDeterminismError
from raftoral.ids import Millis
from raftoral.replay.effects import (
    Checkpoint,
    Compute,
    Flow,
    Log,
    Receive,
    Sleep,
    Workflow,
    scope,
    workflow,
)
from raftoral.replay.history import Done, Ended, Set, TimerFired, TimerSet, encode
from raftoral.replay.interpreter import Replay, advance
from tests.replay.shapes import RUN, Owner, add, start_of, started

if TYPE_CHECKING:
    from collections.abc import Callable


def subtract(one: int, other: int) -> int:
    """Subtract."""
    return one - other


def made(body: Callable[[], Flow[Any]]) -> Workflow[[], Any]:
    """Return a workflow of that body."""
    return workflow("w", version=1)(body)


def original() -> Flow[int]:
    """Be the code that was recorded."""
    cell = yield from Checkpoint("total", 1)
    one = yield from Compute("first", add, 1, 2)
    yield from cell.set(one)
    yield from Log("half way")
    two = yield from Compute("second", add, one, 4)
    yield from Sleep("1s", key="rest")
    return two


HISTORY = Owner(made(original)).run(started())


def test_the_original_fits() -> None:
    """The code that was recorded replays its own history."""
    assert advance(RUN, start_of(made(original)), HISTORY).ended == Ended("completed", 7)


# Each of these differs from the original in one line, marked by `# here`.
def inserted() -> Flow[int]:
    """Do one more step."""
    cell = yield from Checkpoint("total", 1)
    yield from Compute("more", add, 0, 0)  # here
    one = yield from Compute("first", add, 1, 2)
    yield from cell.set(one)
    return one


def removed() -> Flow[int]:
    """Leave a step out."""
    cell = yield from Checkpoint("total", 1)
    yield from cell.set(3)  # here
    yield from Log("half way")
    two = yield from Compute("second", add, 3, 4)
    return two


def renamed() -> Flow[int]:
    """Call a step otherwise."""
    yield from Checkpoint("total", 1)
    one = yield from Compute("premier", add, 1, 2)  # here
    return one


def reordered() -> Flow[int]:
    """Swap two steps."""
    yield from Compute("first", add, 1, 2)  # here
    cell = yield from Checkpoint("total", 1)
    return cell.get()


def argument() -> Flow[int]:
    """Call with another argument."""
    yield from Checkpoint("total", 1)
    one = yield from Compute("first", add, 1, 3)  # here
    return one


def activity() -> Flow[int]:
    """Call another activity."""
    yield from Checkpoint("total", 1)
    one = yield from Compute("first", subtract, 1, 2)  # here
    return one


def value() -> Flow[int]:
    """Record another value."""
    yield from Checkpoint("total", 2)  # here
    one = yield from Compute("first", add, 1, 2)
    return one


def later_value() -> Flow[int]:
    """Set a cell to another value."""
    cell = yield from Checkpoint("total", 1)
    one = yield from Compute("first", add, 1, 2)
    yield from cell.set(one + 1)  # here
    yield from Log("half way")
    two = yield from Compute("second", add, one, 4)
    return two


def line_of_log() -> Flow[int]:
    """Write another line."""
    cell = yield from Checkpoint("total", 1)
    one = yield from Compute("first", add, 1, 2)
    yield from cell.set(one)
    yield from Log("nearly")  # here
    two = yield from Compute("second", add, one, 4)
    return two


def scoped() -> Flow[int]:
    """Do a step inside a scope."""
    yield from Checkpoint("total", 1)
    with scope("s"):
        one = yield from Compute("first", add, 1, 2)  # here
    return one


def other_kind() -> Flow[int]:
    """Wait for a signal where the history slept."""
    cell = yield from Checkpoint("total", 1)
    one = yield from Compute("first", add, 1, 2)
    yield from cell.set(one)
    yield from Log("half way")
    two = yield from Compute("second", add, one, 4)
    yield from Receive("rest")  # here
    return two


def shorter() -> Flow[int]:
    """Return early."""
    cell = yield from Checkpoint("total", 1)
    one = yield from Compute("first", add, 1, 2)
    yield from cell.set(one)
    return one


CASES = [
    (inserted, "Done first = add(1, 2) -> 3", "compute more = add(0, 0)"),
    (removed, "Done first = add(1, 2) -> 3", "Set total = 3"),
    (renamed, "Done first = add(1, 2) -> 3", "compute premier = add(1, 2)"),
    (reordered, "Set total = 1", "compute first = add(1, 2)"),
    (argument, "Done first = add(1, 2) -> 3", "compute first = add(1, 3)"),
    (activity, "Done first = add(1, 2) -> 3", "compute first = subtract(1, 2)"),
    (value, "Set total = 1", "Set total = 2"),
    (later_value, "Set total = 3", "Set total = 4"),
    (line_of_log, "Logged log#0 'half way'", "Logged log#0 'nearly'"),
    (scoped, "Done first = add(1, 2) -> 3", "compute s/first = add(1, 2)"),
    (other_kind, "TimerSet rest", "signal rest (rest#0)"),
    (shorter, "Logged log#0 'half way'", "Ended completed 3"),
]


@pytest.mark.parametrize(
    ("body", "recorded", "yielded"), CASES, ids=lambda part: getattr(part, "__name__", "")
)
def test_other_code_is_told_with_both_sides_and_the_line(
    body: Callable[[], Flow[Any]], recorded: str, yielded: str
) -> None:
    """A changed workflow is refused at its first difference, with its line, before an answer."""
    with pytest.raises(NonDeterminismError) as caught:
        advance(RUN, start_of(made(body)), HISTORY)
    assert caught.value.recorded.startswith(recorded)
    assert caught.value.yielded == yielded
    assert caught.value.where.startswith(__file__)
    if body is not shorter:
        assert caught.value.where == f"{__file__}:{marked(body)}"
    assert f"history has {recorded}" in str(caught.value)


@pytest.mark.parametrize(
    ("body", "recorded", "yielded"), CASES, ids=lambda part: getattr(part, "__name__", "")
)
def test_fed_one_by_one_it_is_told_the_same(
    body: Callable[[], Flow[Any]], recorded: str, yielded: str
) -> None:
    """A replica that follows live events tells the same two sides and the same line."""
    replay = Replay(RUN, start_of(made(body)))
    caught = follow(replay)
    replay.close()
    assert caught.recorded.startswith(recorded)
    assert caught.yielded == yielded
    if body is not shorter:
        assert caught.where == f"{__file__}:{marked(body)}"


def follow(replay: Replay) -> NonDeterminismError:
    """Feed the history event by event and return where it does not fit."""
    try:
        for data in HISTORY:
            replay.feed(data)
    except NonDeterminismError as error:
        return error
    raise AssertionError("it fits")


def marked(body: Callable[[], Flow[Any]]) -> int:
    """Return the line of a function that is marked as the changed one."""
    from inspect import getsourcelines

    lines, first = getsourcelines(body)
    return first + next(n for n, line in enumerate(lines) if "# here" in line)


@pytest.mark.parametrize("kind", [Any, object])
def test_true_and_one_and_one_point_zero_are_three_values(kind: Any) -> None:
    """Values that Python calls equal are told apart, in checkpoints and in arguments."""
    del kind
    values: list[Any] = [True, 1, 1.0]

    def flow(which: Any) -> Workflow[[], Any]:
        def body() -> Flow[None]:
            yield from Checkpoint("x", which, float | int | bool)
            yield from Compute("y", takes, which)

        return made(body)

    for recorded in values:
        first = Owner(flow(recorded)).run(started())
        for yielded in values:
            if type(yielded) is type(recorded):
                advance(RUN, start_of(flow(yielded)), first)
                continue
            with pytest.raises(NonDeterminismError, match="Set x"):
                advance(RUN, start_of(flow(yielded)), first)


def takes(x: float | bool) -> None:
    """Take what compares equal."""


def test_arguments_that_compare_equal_are_told_apart() -> None:
    """A call with True is not a call with 1."""

    def flow(which: Any) -> Workflow[[], Any]:
        def body() -> Flow[None]:
            yield from Compute("y", takes, which)

        return made(body)

    first = Owner(flow(1)).run(started())
    with pytest.raises(NonDeterminismError, match=r"takes\(True\)"):
        advance(RUN, start_of(flow(True)), first)


def test_long_arguments_are_told_apart_by_their_digest() -> None:
    """A call whose arguments are recorded as a digest is compared by it."""

    def flow(text: str) -> Workflow[[], Any]:
        def body() -> Flow[None]:
            yield from Compute("y", len, text)

        return made(body)

    first = Owner(flow("x" * 1_000)).run(started())
    with pytest.raises(NonDeterminismError, match="len"):
        advance(RUN, start_of(flow("x" * 999 + "y")), first)


def test_events_in_the_wrong_place_are_refused() -> None:
    """A second start, a result for no one, an event after the end: all are no history of the code."""
    start = start_of(made(original))
    done = encode(Done("nobody", b"\x90", True, 1, 1))
    for wrong in (
        [HISTORY[0], HISTORY[0]],
        [done],
        [encode(Set("total", 1))],
        [*HISTORY[:2], done],
        [*HISTORY[:2], encode(TimerFired("first"))],
        [*HISTORY[:2], encode(TimerSet("first", Millis(1)))],
        [*HISTORY, HISTORY[-1]],
        [*HISTORY[:-1], encode(Ended("completed", 8))],
    ):
        with pytest.raises(NonDeterminismError):
            advance(RUN, start, wrong)


def test_a_failed_end_is_the_same_by_its_name() -> None:
    """A failure's message may hold an address of memory, so a failed end is compared by its name."""

    def flow(error: Exception) -> Workflow[[], Any]:
        def body() -> Flow[None]:
            yield from Checkpoint("x", 1)
            raise error

        return made(body)

    history = Owner(flow(LookupError("at 0x1"))).run(started())
    advance(RUN, start_of(flow(LookupError("at 0x2"))), history)
    with pytest.raises(NonDeterminismError):
        advance(RUN, start_of(flow(KeyError("at 0x1"))), history)


def test_a_termination_by_the_group_is_taken_at_any_place() -> None:
    """A history that its group cut short replays to that end, wherever the code stands."""
    cut = encode(Ended("terminated", ["HistoryTooLong", "too long", {}]))
    for length in range(1, len(HISTORY)):
        outcome = advance(RUN, start_of(made(original)), [*HISTORY[:length], cut])
        assert outcome.ended is not None
        assert (outcome.ended.status, outcome.waiting, outcome.yielded) == ("terminated", None, ())
