"""A corpus of workflow shapes, and an owner in memory that runs each of them to its end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, TypedDict

from raftoral.errors import UsageError, WorkflowFailed
from raftoral.ids import Millis, RunId
from raftoral.registry.python import start_python
from raftoral.replay.effects import (
    Checkpoint,
    Compute,
    Flow,
    Log,
    Receive,
    Sleep,
    SleepUntil,
    Workflow,
    scope,
    workflow,
)
from raftoral.replay.failures import failure_of
from raftoral.replay.history import Done, Event, Retry, Started, Taken, TimerFired, TimerSet, encode
from raftoral.replay.interpreter import Replay
from raftoral.replay.packing import pack_result
from raftoral.replay.waits import ComputeWait, SignalWait, TimerWait, timer_due
from raftoral.values import Money

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.replay.interpreter import Body

RUN = RunId("r")


# ------------------------------------------------------------------ types and activities
class Colour(Enum):
    """A plain enum."""

    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Item:
    """A dataclass with exact kinds inside."""

    price: Money
    colour: Colour
    ready: timedelta
    tags: tuple[str, ...] = ()


class Parcel(TypedDict):
    """A typed map."""

    weight: Decimal
    items: list[Item]


ITEM = Item(Money(Decimal("9.90"), "EUR"), Colour.BLUE, timedelta(hours=2), ("a", "b"))


def add(one: int, other: int) -> int:
    """Add."""
    return one + other


def make_item(colour: Colour) -> Item:
    """Make an item."""
    return Item(ITEM.price, colour, ITEM.ready)


async def make_parcel(count: int) -> Parcel:
    """Make a parcel."""
    return {"weight": Decimal("1.50"), "items": [ITEM] * count}


def decline(amount: Money) -> Money:
    """Fail always."""
    raise WorkflowFailed("Declined", "no funds", {"amount": amount})


def half(value: float) -> float:
    """Halve a number that both sides declare as a float."""
    return value / 2


# ------------------------------------------------------------------ shapes
@workflow("nothing", version=1)
def nothing(n: int) -> Flow[None]:
    """Yield no effect at all."""
    if n < 0:
        yield from Log("never")


@workflow("line", version=1)
def line(n: int) -> Flow[int]:
    """Compute one after the other."""
    total = n
    for turn in range(5):
        total = yield from Compute(f"add-{turn}", add, total, turn)
    return total


@workflow("cells", version=1)
def cells(n: int) -> Flow[dict[str, Any]]:
    """Record values of many types, and set them again."""
    count = yield from Checkpoint("count", n)
    item = yield from Checkpoint("item", ITEM)
    items = yield from Checkpoint("items", [ITEM], list[Item])
    flag: Any = yield from Checkpoint("flag", True)
    yield from count.set(count.get() + 1)
    yield from count.update(lambda value: value * 2)
    yield from item.set(Item(ITEM.price, Colour.RED, timedelta(0)))
    yield from items.set([*items.get(), item.get()])
    yield from flag.set(False)
    empty: Any = yield from Checkpoint("empty", None)
    yield from empty.set({"a": 1})
    return {"count": count.get(), "items": items.get(), "last": item.get(), "empty": empty.get()}


@workflow("types", version=1)
def types(n: int) -> Flow[list[object]]:
    """Get typed results back."""
    item = yield from Compute("item", make_item, Colour.RED)
    assert isinstance(item, Item)
    assert item.colour is Colour.RED
    parcel = yield from Compute("parcel", make_parcel, n)
    assert isinstance(parcel["items"][0], Item)
    return [item, parcel, parcel["weight"] + 1]


@workflow("scopes", version=1)
def scopes(n: int) -> Flow[int]:
    """Loop with scopes, unnamed steps in each."""
    total = 0
    for turn in range(3):
        with scope(f"turn-{turn}"):
            total += yield from Compute(None, add, turn, n)
            total += yield from Compute(None, add, turn, n)
            with scope("inner"):
                yield from Sleep("1s")
                yield from Log(f"{turn}")
        yield from Sleep("1s")
    return total


def helper(number: int) -> Flow[int]:
    """Do two steps for whoever asks."""
    one = yield from Compute(None, add, number, 1)
    two = yield from Compute(None, add, one, 1)
    return two


@workflow("helpers", version=1)
def helpers(n: int) -> Flow[int]:
    """Use a helper twice."""
    first = yield from helper(n)
    second = yield from helper(first)
    return second


@workflow("bare", version=1)
def bare(n: int) -> Flow[int]:
    """Yield effects without `from`."""
    cell: Any = yield Checkpoint("cell", n)
    total = yield Compute("add", add, n, 1)
    yield cell.set(total)
    yield Sleep("1s")
    yield Log("slept")
    return int(cell.get())


@workflow("from", version=1)
def with_from(n: int) -> Flow[int]:
    """Yield the same effects with `from`."""
    cell = yield from Checkpoint("cell", n)
    total = yield from Compute("add", add, n, 1)
    yield from cell.set(total)
    yield from Sleep("1s")
    yield from Log("slept")
    return int(cell.get())


@workflow("saga", version=1)
def saga(n: int) -> Flow[str]:
    """Catch a failure and undo."""
    yield from Compute("book", add, n, 1)
    try:
        yield from Compute("pay", decline, ITEM.price).retry(3, first="1s")
    except WorkflowFailed as error:
        yield from Compute("unbook", add, n, -1)
        return f"{error.name} of {error.details['amount']!s} after {error.attempts}"
    finally:
        yield from Log("done")
    return "paid"


@workflow("fails", version=1)
def fails(n: int) -> Flow[None]:
    """Fail by an exception of its own."""
    yield from Checkpoint("x", n)
    raise LookupError(f"no {n}")


@workflow("uncaught", version=1)
def uncaught(n: int) -> Flow[Money]:
    """Fail by an activity's failure."""
    return (yield from Compute("pay", decline, Money(Decimal(n), "USD")))


@workflow("waits", version=1)
def waits(n: int) -> Flow[list[object]]:
    """Wait for signals and times."""
    first = yield from Receive("say", Item)
    late = yield from Receive("late", str).timeout("5s")
    raw: Any = yield from Receive("say")
    yield from SleepUntil(datetime(1969, 1, 1, tzinfo=UTC))
    yield from SleepUntil(datetime(2100, 1, 1, tzinfo=UTC), key="century")
    yield from Sleep(timedelta(milliseconds=n), key="short")
    return [first.price, late, raw["colour"]]


@workflow("floats", version=1)
def floats(n: int) -> Flow[float]:
    """Use floats where the code declares them."""
    cell = yield from Checkpoint("ratio", n / 4, float)
    answer = yield from Compute("half", half, cell.get())
    return answer


@workflow("refused", version=1)
def refused(n: int) -> Flow[list[str]]:
    """Ask for what cannot be, and go on."""
    seen = []
    wrong: list[Any] = [
        Compute("float", add, 1.5, n),  # type: ignore[call-overload]
        Checkpoint("set", {1}),
        Checkpoint("float", 0.5),
        "no effect",
    ]
    for effect in wrong:
        try:
            yield effect
        except UsageError as error:
            seen.append(str(error))
    return seen


@workflow("big", version=1)
def big(n: int) -> Flow[int]:
    """Pass long arguments, which are recorded by their digest."""
    return (yield from Compute("length", measure, "x" * 5_000 * n))


def measure(text: str) -> int:
    """Return the length."""
    return len(text)


EVERY: list[Workflow[Any, Any]] = [
    nothing,
    line,
    cells,
    types,
    scopes,
    helpers,
    bare,
    with_from,
    saga,
    fails,
    uncaught,
    waits,
    floats,
    refused,
    big,
]


# ------------------------------------------------------------------ an owner in memory
def start_of(flow: Workflow[Any, Any]) -> Callable[[Started], Body]:
    """Return how to start a workflow."""
    return lambda started: start_python(flow, started)


def started(flow: Workflow[Any, Any] | None = None, **given: Any) -> bytes:
    """Return the first event of a run."""
    name = "w" if flow is None else flow.name
    return encode(Started(name, 1, "m", given, Millis(1_000), "", 0))


class Owner:
    """Runs one workflow alone: answers what it waits for, and keeps the history."""

    def __init__(
        self, flow: Workflow[Any, Any], *, signals: dict[str, list[Any]] | None = None
    ) -> None:
        self.replay = Replay(RUN, start_of(flow))
        self.history: list[bytes] = []
        self.now = 1_000
        self.signals = {name: [*values] for name, values in (signals or {}).items()}

    def run(self, first: bytes) -> list[bytes]:
        """Run to the end and return the history."""
        self.settle(first)
        while not self.replay.ended:
            self.settle(self.answer())
        self.replay.close()
        return self.history

    def settle(self, data: bytes) -> None:
        """Feed an event, and then what the code ran ahead by."""
        self.history.append(data)
        self.replay.feed(data)
        while self.replay.outbox:
            self.history.append(self.replay.outbox[0])
            self.replay.feed(self.replay.outbox[0])

    def answer(self) -> bytes:
        """Return the next event that answers what the run waits for."""
        self.now += 10
        match self.replay.waiting:
            case ComputeWait() as wait:
                return encode(self.attempt(wait), floats=True)
            case TimerWait(path, effect, due) if due is None:
                return encode(TimerSet(path, timer_due(effect, Millis(self.now)) or Millis(0)))
            case TimerWait(path):
                return encode(TimerFired(path))
            case SignalWait(path, effect, due):
                box = self.signals.get(effect.name)
                if box:
                    return encode(Taken(path, f"id-{len(box)}", box.pop(0)), floats=True)
                if due is not None:
                    return encode(TimerFired(path))
                at = timer_due(effect, Millis(self.now))
                assert at is not None, f"{path} waits for ever"
                return encode(TimerSet(path, at))
            case None:
                raise AssertionError("the run waits for nothing")

    def attempt(self, wait: ComputeWait) -> Event:
        """Run an activity as its owner does."""
        call = wait.effect.call
        assert call.function is not None
        try:
            result = call.function(*call.args, **dict(call.kwargs))
            if hasattr(result, "send"):
                result = drive(result)
            return Done(wait.path, wait.call, True, pack_result(wait.effect, result), wait.attempt)
        except Exception as error:
            failure = failure_of(error)
            if wait.effect.options.policy.repeats(str(failure[0]), wait.attempt):
                return Retry(wait.path, wait.attempt, failure, Millis(self.now + 5))
            return Done(wait.path, wait.call, False, failure, wait.attempt)


def drive(coroutine: Any) -> Any:
    """Run a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")


SIGNALS: dict[str, list[Any]] = {
    "say": [
        {"price": ITEM.price, "colour": "red", "ready": ITEM.ready, "tags": []},
        {"colour": "green"},
    ]
}


def recorded(flow: Workflow[Any, Any], n: int = 3) -> list[bytes]:
    """Return a whole history of a workflow of the corpus."""
    return Owner(flow, signals=SIGNALS).run(started(flow, n=n))
