"""The workflows that made the stored histories beside this file. Never change one: add another."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

from raftoral import (
    RESULT,
    Call,
    Callback,
    Cell,
    Checkpoint,
    Compute,
    Flow,
    ForEach,
    Log,
    Money,
    Now,
    Parallel,
    Race,
    Random,
    Receive,
    Registry,
    Restart,
    Saga,
    Sleep,
    SleepUntil,
    Start,
    Update,
    Uuid,
    WorkflowFailed,
    scope,
    workflow,
)


class Colour(Enum):
    """A plain enum."""

    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Item:
    """A dataclass with exact kinds inside."""

    name: str
    price: Money
    colour: Colour = Colour.RED
    ready: timedelta = timedelta(hours=1)
    tags: tuple[str, ...] = ()


def echo(*args: Any, **kwargs: Any) -> Any:
    """Give back the first argument."""
    return args[0] if args else kwargs


def half(value: float) -> float:
    """Halve a number that is declared as a float."""
    return value / 2


def item(name: str) -> Item:
    """Make an item."""
    return Item(name, Money(Decimal("9.90"), "EUR"), Colour.BLUE, timedelta(minutes=5), ("a", "b"))


def broken(name: str) -> str:
    """Fail always."""
    raise WorkflowFailed("Broken", f"{name} is broken", {"name": name, "left": 3})


# ------------------------------------------------------------------ values
@workflow("golden.values", version=1)
def values(count: int, given: Item, at: datetime) -> Flow[dict[str, Any]]:
    """Record and compute values of every kind."""
    counted = yield from Checkpoint("count", count)
    yield from counted.update(lambda n: n + 1)
    made = yield from Checkpoint("made", given)
    kinds: Cell[Any] = yield from Checkpoint(
        "kinds", [None, True, -1, "ä", b"\0\xff", {"b": 1}], Any
    )
    ratio = yield from Checkpoint("ratio", 0.1, float)
    for n in range(3):
        with scope(f"turn-{n}"):
            yield from Compute(None, echo, n, key="k" * n)
            yield from Compute("named", echo, Decimal("1.10"), [at, timedelta(seconds=1)])
    yield from Compute("long", echo, "x" * 500)
    fetched = yield from Compute("item", item, "tea")
    halved = yield from Compute("half", half, ratio.get())
    yield from made.set(fetched)
    yield from Log("all kinds recorded")
    return {"count": counted.get(), "made": made.get(), "kinds": kinds.get(), "half": str(halved)}


@workflow("golden.failing", version=1)
def failing(name: str) -> Flow[str]:
    """Retry, give up, undo, and fail in the end."""
    try:
        yield from Compute("first", broken, name).retry(3, first="1s", jitter_percent=20)
    except WorkflowFailed as failure:
        yield from Log(f"{failure.name} after {failure.attempts}")
    yield from Compute("once", echo, name).at_most_once()
    yield from Compute("soon", echo, name).deadline("1m").timeout("10s")
    return (yield from Saga(booking(name)))


def booking(name: str) -> Flow[str]:
    """Book two things, and fail at the third."""
    yield from Compute("flight", echo, f"f-{name}").compensate(echo, RESULT)
    yield from Compute("hotel", echo, f"h-{name}").compensate(echo, RESULT, why="no car")
    return (yield from Compute("car", broken, name))


# ------------------------------------------------------------------ waiting
@workflow("golden.waiting", version=1)
def waiting(name: str) -> Flow[list[Any]]:
    """Wait for everything that there is."""
    begun = yield from Now()
    first = yield from Receive("say", Item)
    late = yield from Receive("late", str).timeout("5s")
    wanted = yield from Update("wanted", int, lambda n: 10 // n)
    yield from Sleep("1h")
    yield from SleepUntil(datetime(2026, 6, 1, tzinfo=UTC), key="june")
    pending = yield from Callback("review", str).timeout("1d")
    late_one = yield from Callback(None, str).timeout("1m")
    review = yield from pending.wait()
    try:
        yield from late_one.wait()
    except WorkflowFailed as failure:
        yield from Log(failure.name)
    dice = yield from Random(6)
    token = yield from Uuid()
    return [begun, first, late, wanted, review, 0 <= dice < 6, len(token)]


@workflow("golden.child", version=1)
def child(number: int) -> Flow[int]:
    """Double a number, or fail."""
    if number < 0:
        raise WorkflowFailed("Negative")
    return (yield from Compute("double", echo, 2 * number))


@workflow("golden.branches", version=1)
def branches(names: list[str]) -> Flow[dict[str, Any]]:
    """Do many things at once, one inside of the other."""
    pair = yield from Parallel("pair", left=step("l"), right=Compute("r", echo, "r"))
    each = yield from ForEach("each", names, step, by=str, limit=2)
    some = yield from Parallel("some", step("s"), failing_step("f"), nested("n")).tolerate(
        failures=1
    )
    first = yield from Race("first", Sleep("1h"), step("quick"), Receive("never"))
    started = yield from Start("left", "golden.child", 4)
    kid = yield from Call("kid", child, 5)
    try:
        yield from Call("bad", child, -1)
    except WorkflowFailed as failure:
        yield from Log(failure.name)
    return {
        "pair": pair,
        "each": each,
        "some": [outcome.status for outcome in some],
        "first": first.index,
        "left": started,
        "kid": kid,
    }


def step(name: str) -> Flow[str]:
    """Do one step, slowly."""
    cell = yield from Checkpoint("cell", name)
    yield from Sleep("1s")
    return (yield from Compute("step", echo, cell.get()))


def failing_step(name: str) -> Flow[str]:
    """Fail in a branch."""
    return (yield from Compute("fails", broken, name))


def nested(name: str) -> Flow[list[Any]]:
    """Open a group inside of a branch."""
    return list((yield from Parallel(None, step(name), step(name))))


@workflow("golden.restarting", version=1)
def restarting(turn: int) -> Flow[str]:
    """Begin anew twice."""
    yield from Compute("turn", echo, turn)
    if turn < 2:
        yield from Restart(turn + 1)
    return f"turn {turn}"


@workflow("golden.leaving", version=1)
def leaving(name: str) -> Flow[int]:
    """Leave a child that loses a race."""
    won = yield from Race("race", slow=Call("slow", waiting, name), quick=step(name))
    return won.index


registry = Registry(
    workflows=[values, failing, waiting, child, branches, restarting, leaving],
)
