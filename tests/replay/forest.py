"""A corpus of workflows with branches, and an owner in memory that chance decides for.

The owner answers what is waited for in any order, and lets things arrive (a cancellation, the end
of a child, the completion of a callback) at any moment, as a cluster does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raftoral.errors import Cancelled, WorkflowFailed
from raftoral.ids import Millis, RunId
from raftoral.replay.deciding import Begin, Later, Settle, Stop, attempted, cancelled, decide
from raftoral.replay.effects import (
    RESULT,
    Call,
    Callback,
    Checkpoint,
    Compute,
    Flow,
    ForEach,
    Log,
    Now,
    Parallel,
    Race,
    Random,
    Receive,
    Restart,
    Saga,
    Sleep,
    Start,
    Update,
    Uuid,
    Workflow,
    scope,
    undo_now,
    workflow,
)
from raftoral.replay.history import (
    Asked,
    CallbackDone,
    CancelAsked,
    ChildDone,
    Event,
    Paused,
    Resumed,
    encode,
)
from raftoral.replay.interpreter import Replay
from raftoral.replay.packing import pack_result
from raftoral.replay.waits import (
    CallbackWait,
    ChildWait,
    ComputeWait,
)
from tests.replay.shapes import ITEM, add, decline, start_of, started

if TYPE_CHECKING:
    from random import Random as Chance

    from raftoral.replay.waits import Wait

RUN = RunId("f")


# ------------------------------------------------------------------ the corpus
def leg(name: str, turns: int = 1) -> Flow[str]:
    """Book something in a few steps."""
    cell = yield from Checkpoint("state", "asked")
    for turn in range(turns):
        yield from Compute(f"book-{turn}", add, turn, 1)
        yield from cell.set(f"booked {turn}")
    return name


@workflow("both", version=1)
def both(n: int) -> Flow[list[Any]]:
    """Two named branches, a nested pair, and one that is a single effect."""
    first = yield from Parallel("got", flight=leg("f", n), hotel=leg("h"))

    def inner() -> Flow[tuple[str, int]]:
        yield from Log("inside")
        return (yield from Parallel("pair", leg("x", 2), Compute(None, add, 1, 2)))

    second = yield from Parallel(None, inner(), Sleep("1s"), leg("y"))
    return [first, second]


@workflow("fan", version=1)
def fan(n: int) -> Flow[list[int]]:
    """Fan out with a limit, by a key, with a branch that ends at once."""

    def one(item: int) -> Flow[int]:
        if item == 2:
            return item
        yield from Checkpoint("seen", item)
        if item % 2:
            yield from Sleep("1s")
        return (yield from Compute("add", add, item, 10))

    return (yield from ForEach("pages", range(n + 3), one, by=lambda i: f"p-{i}", limit=2))


@workflow("tolerant", version=1)
def tolerant(n: int) -> Flow[list[Any]]:
    """Some branches fail; enough of them succeed."""

    def one(item: int) -> Flow[int]:
        if item % 3 == 0:
            yield from Compute("pay", decline, ITEM.price).retry(2)
        return (yield from Compute("add", add, item, 1))

    some = yield from ForEach("a", range(n + 4), one).enough(2)
    all_of = yield from ForEach("b", range(n + 4), one, limit=2).tolerate(failures=1)
    share = yield from ForEach("c", range(4), one).tolerate(percent=50)
    return [
        [some.reason, len(some.values())],
        [all_of.reason, sorted(each.status for each in all_of)],
        [share.reason, share.values()],
    ]


@workflow("broken", version=1)
def broken(n: int) -> Flow[str]:
    """The first error cancels the other branches, which clean up."""

    def careful() -> Flow[str]:
        try:
            yield from Sleep("1h")
        except Cancelled:
            yield from Compute("clean", add, 1, n)
            raise
        return "slept"

    try:
        yield from Parallel("p", careful(), Compute("pay", decline, ITEM.price), leg("z", 3))
    except WorkflowFailed as error:
        yield from Log("caught")
        return error.name
    return "none"


@workflow("race", version=1)
def race(n: int) -> Flow[list[Any]]:
    """A race between a signal, a timer, work that is taken back, and a child."""

    def work() -> Flow[int]:
        booked = yield from Compute("hold", add, n, 1).compensate(add, RESULT, -1)
        yield from Sleep("1s")
        return booked

    won = yield from Race("first", Receive("go"), Sleep("1m"), work(), Call("kid", "child", n))
    return [won.index, won.name]


@workflow("trip", version=1)
def trip(n: int) -> Flow[str]:
    """A saga over parallel branches; one of them fails."""

    def book(what: int) -> Flow[int]:
        with scope(f"leg-{what}"):
            got = yield from Compute("book", add, what, 1).compensate(add, RESULT, what)
            yield from Sleep("1s")
        return got

    def body() -> Flow[int]:
        yield from Compute("insure", add, 1, 1).compensate(add, 0, 0)
        yield from Parallel("legs", book(1), book(2))
        yield from Compute("pay", decline, ITEM.price)
        return 1

    try:
        yield from Saga(body())
    except WorkflowFailed as error:
        return error.name
    return "paid"


@workflow("undone", version=1)
def undone(n: int) -> Flow[str]:
    """Take back on purpose, inside."""

    def body() -> Flow[str]:
        yield from Compute("a", add, 1, n).compensate(add, 9, 9)
        yield from Compute("b", add, 2, n).compensate(add, 8, 8)
        yield from undo_now()
        return "changed my mind"

    return (yield from Saga(body()))


@workflow("asked", version=1)
def asked(n: int) -> Flow[list[Any]]:
    """Callbacks that are opened and waited for in another order, children, notes, updates."""
    one = yield from Callback("one", int).timeout("1m")
    two = yield from Callback("two", str)
    yield from Compute("send", add, len(one.token), 1)
    kid = yield from Start("kid", "child", n)
    yield from Now()
    dice = yield from Random(6)
    yield from Uuid("name")
    item = yield from Update("add", int, lambda value: value * 2 if value > 1 else 1 // 0)
    answers: list[Any] = []
    for pending in (two, one):
        try:
            answers.append((yield from pending.wait()))
        except WorkflowFailed as error:
            answers.append(error.name)
    called = yield from Call("named", "child", n)
    return [answers, kid, 0 <= dice < 6, item, called]


@workflow("once", version=1)
def once(n: int) -> Flow[list[Any]]:
    """At most once, with a deadline and a heartbeat."""
    one = yield from Compute("once", add, n, 1).at_most_once()
    two = yield from Compute("slow", add, n, 2).deadline("1m").heartbeat("1s").retry(2)
    return [one, two]


@workflow("again", version=1)
def again(n: int) -> Flow[int]:
    """Begin anew until nothing is left."""
    yield from Checkpoint("left", n)
    if n > 0:
        yield from Compute("work", add, n, -1)
        yield from Restart(n - 1)
    return n


@workflow("deep", version=1)
def deep(n: int) -> Flow[Any]:
    """Groups in groups in groups, some of them empty."""

    def level(depth: int) -> Flow[Any]:
        yield from Checkpoint("depth", depth)
        if depth == 0:
            none = yield from ForEach("none", [], leg)
            assert none == []
            return none
        won = yield from Race("r", level(depth - 1), Sleep("1s"))
        both = yield from Parallel("p", leg("a"), leg("b"))
        return [won.index, both]

    return (yield from level(2))


@workflow("empty", version=1)
def empty(n: int) -> Flow[list[Any]]:
    """Fan out over nothing."""
    none = yield from ForEach("none", [], leg)
    one = yield from Compute("one", add, 0, 1)
    return [none, one]


FOREST: list[Workflow[Any, Any]] = [
    both, fan, tolerant, broken, race, trip, undone, asked, once, again, deep, empty,
]  # fmt: skip


# ------------------------------------------------------------------ an owner that chance decides for
class Gambler:
    """Runs one workflow alone, in an order that ``chance`` decides, and keeps the history."""

    def __init__(
        self, flow: Workflow[Any, Any], chance: Chance, *, cancel: float, lockstep: bool = False
    ) -> None:
        self.replay = Replay(RUN, start_of(flow), lockstep=lockstep)
        self.history: list[bytes] = []
        self.chooser = chance
        self.cancel = cancel
        self.at = 1_000
        self.running: set[str] = set()
        self.mine: set[str] = set()
        self.cancelled = False

    def run(self, first: bytes) -> list[bytes]:
        """Run to the end of this generation and return the history."""
        self.settle(first)
        while True:
            outbox = self.replay.outbox
            if outbox and self.chooser.random() < 0.7:
                # What was yielded is settled in its order, a part at a time.
                for data in outbox[: self.chooser.randint(1, len(outbox))]:
                    self.settle(data)
            elif self.replay.ended:
                if not outbox:
                    return self.history
            else:
                self.happen()

    def happen(self) -> None:
        """Let one thing happen: an arrival, or an answer if nothing else is to be settled first."""
        arrivals = [wait for wait in self.replay.waits.values() if self.may_arrive(wait)]
        if not self.cancelled and self.chooser.random() < self.cancel:
            self.cancelled = True
            self.settle(encode(CancelAsked("enough")))
        elif self.chooser.random() < 0.05:
            self.settle(encode(self.chooser.choice([Paused("coffee"), Resumed()])))
        elif arrivals and self.chooser.random() < 0.06:
            self.settle(self.arrival(self.chooser.choice(arrivals)))
        elif not self.replay.outbox:
            event = self.answer(self.chooser.choice(list(self.replay.waits.values())))
            if event is not None:
                self.settle(encode(event, floats=True))

    def settle(self, data: bytes) -> None:
        """Feed one event."""
        self.history.append(data)
        self.replay.feed(data)

    def may_arrive(self, wait: Wait) -> bool:
        """Tell whether what is waited for comes by itself."""
        if isinstance(wait, ChildWait):
            # Its group hears of it once it is in the history.
            return not any(wait.path.encode() in data for data in self.replay.outbox)
        return isinstance(wait, CallbackWait)

    def arrival(self, wait: Wait) -> bytes:
        """Return the end of a child or the completion of a callback."""
        ok = self.chooser.random() < 0.8
        failure = ["Refused", "not today", {}]
        if isinstance(wait, ChildWait):
            return encode(ChildDone(wait.path, ok, 7 if ok else failure))
        assert isinstance(wait, CallbackWait)
        value: Any = 5 if wait.kind is int else "five"
        return encode(CallbackDone(wait.path, ok, value if ok else failure))

    def answer(self, wait: Wait) -> Event | None:
        """Return the next event that answers a wait, if anything is to be done for it now."""
        self.at += 10
        match decide(wait, self):
            case Settle(event):
                if isinstance(event, Asked):
                    self.mine.add(event.path)
                return event
            case Later(at):
                if at is not None and self.chooser.random() < 0.5:
                    self.at = max(self.at, at)
                return None
            case Begin() | Stop():
                assert isinstance(wait, ComputeWait)
                self.running.add(wait.path)
                if self.chooser.random() < 0.3:
                    return None
                self.running.discard(wait.path)
                return self.attempt(wait)

    def attempt(self, wait: ComputeWait) -> Event:
        """Run an activity as its owner does."""
        if wait.cancelling and self.chooser.random() < 0.5:
            return cancelled(wait)
        call = wait.effect.call
        assert call.function is not None
        try:
            result = call.function(*call.args, **dict(call.kwargs))
            return attempted(wait, pack_result(wait.effect, result), self)
        except Exception as error:
            return attempted(wait, error, self)

    # -------------------------------------------------------------- what the owner sees
    def now(self) -> Millis:
        """Return the time."""
        return Millis(self.at)

    def chance(self, below: int) -> int:
        """Roll the dice."""
        return self.chooser.randrange(below)

    def token(self, path: str) -> str:
        """Make a token."""
        return f"token-{path}"

    def signal(self, name: str) -> tuple[str, Any] | None:
        """Return a signal, now and then."""
        return (f"id-{self.at}", name) if self.chooser.random() < 0.3 else None

    def request(self, name: str) -> tuple[str, Any] | None:
        """Return a request, good or bad, now and then."""
        return (f"{name}-{self.at}", self.chance(3)) if self.chooser.random() < 0.5 else None

    def last_beat(self, _path: str) -> Millis:
        """Return when the holder of a token was heard of."""
        return Millis(self.at - 500)

    def under_way(self, path: str) -> bool:
        """Tell whether an attempt goes on, or is taken for ended now."""
        return path in self.running and self.chooser.random() < 0.5

    def asked_here(self, path: str) -> bool:
        """Tell whether this owner asked for the attempt."""
        return path in self.mine


def grown(
    flow: Workflow[Any, Any], chance: Chance, *, n: int = 2, cancel: float = 0.0
) -> list[bytes]:
    """Return a whole history of a workflow of the forest."""
    gambler = Gambler(flow, chance, cancel=cancel)
    history = gambler.run(started(flow, n=n))
    gambler.replay.close()
    return history
