"""What a workflow may do, what it is told when it may not, and how it is left."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from raftoral.codec import pack
from raftoral.errors import Cancelled, CorruptionError, LimitExceeded, UsageError, WorkflowFailed
from raftoral.ids import Millis
from raftoral.replay import interpreter, outbox, waits
from raftoral.replay.advancing import NESTED_MAX
from raftoral.replay.effects import (
    Callback,
    Checkpoint,
    Compute,
    Effect,
    Flow,
    ForEach,
    Log,
    Parallel,
    Race,
    Receive,
    Restart,
    Sleep,
    Workflow,
    activity,
    scope,
    workflow,
)
from raftoral.replay.failures import as_error, failure_of
from raftoral.replay.history import (
    DUE_MAX,
    CallbackDone,
    CallbackOpened,
    CancelAsked,
    Closed,
    Done,
    Ended,
    Event,
    Logged,
    Opened,
    Retry,
    Set,
    Taken,
    TimerFired,
    TimerSet,
    check,
    decode,
    encode,
)
from raftoral.replay.interpreter import Replay
from raftoral.replay.packing import call_bytes, pack_result
from raftoral.replay.waits import timer_due
from tests.replay.shapes import RUN, Owner, add, start_of, started

if TYPE_CHECKING:
    from collections.abc import Callable


def begun(body: Callable[[], Flow[Any]]) -> Replay:
    """Return a replay of a workflow that was just started."""
    replay = Replay(RUN, start_of(workflow("w", version=1)(body)))
    replay.feed(started())
    return replay


def fields(ended: Ended) -> list[Any]:
    """Return a value that is a list."""
    assert isinstance(ended.value, list)
    return ended.value


def end_of(body: Callable[[], Flow[Any]]) -> Ended:
    """Return how a workflow ends that computes nothing."""
    replay = begun(body)
    last = decode(replay.outbox[-1])
    assert isinstance(last, Ended), replay.waiting
    replay.close()
    return last


# ------------------------------------------------------------------ misuse
def test_two_steps_of_one_name_are_refused_inside_the_workflow() -> None:
    """A second step of the same path is an error at its yield, which says what to do."""

    def body() -> Flow[str]:
        yield from Checkpoint("x", 1)
        try:
            yield from Checkpoint("x", 2)
        except UsageError as error:
            return str(error)
        return ""

    message = end_of(body).value
    assert "two steps are called `x`" in str(message)
    assert "scope(" in str(message)


def test_a_named_step_cannot_take_the_name_of_an_unnamed_one() -> None:
    """Paths of named and unnamed steps are one set."""

    def body() -> Flow[None]:
        yield from Log("a")
        yield from Checkpoint("log#0", 1)

    assert end_of(body).status == "failed"


def test_a_refused_step_has_not_taken_its_name() -> None:
    """What was refused may be asked for again, corrected, under the same name."""

    def body() -> Flow[int]:
        for value in (1.5, 15):
            try:
                cell = yield from Checkpoint("x", value)
            except UsageError:
                continue
        return int(cell.get())

    assert end_of(body) == Ended("completed", 15)


@pytest.mark.parametrize("wrong", [None, 1, "text", [], add, object()])
def test_what_is_no_effect_fails_the_run_with_what_to_do(wrong: object) -> None:
    """Yielding anything but an effect fails the run; the message says what was probably meant."""

    def body() -> Flow[None]:
        yield wrong  # type: ignore[misc]

    ended = end_of(body)
    assert ended.status == "failed"
    name, message, _ = fields(ended)
    assert name == "UsageError"
    assert "a workflow yields effects only" in message
    assert "yield from" in message
    assert " at 0x" not in message, "an address of memory is another one on each node"


def test_a_forgotten_yield_from_is_told() -> None:
    """Yielding a helper's generator fails the run the same way."""

    def helper() -> Flow[None]:
        yield from Log("x")

    def body() -> Flow[None]:
        yield helper()  # type: ignore[misc]

    assert "forgot `yield from`" in str(end_of(body).value)


def test_bad_calls_are_refused_when_they_are_made() -> None:
    """A generator, a nameless callable and a bad key are no activity, no name."""
    from functools import partial

    def generator() -> Flow[None]:
        yield from Log("x")

    bad: list[Callable[[], object]] = [
        lambda: Compute("x", generator),
        lambda: Compute("x", partial(add, 1), 2),
        lambda: Compute("a/b", add, 1, 2),
        lambda: Compute("", add, 1, 2),
        lambda: Compute("x" * 201, add, 1, 2),
        lambda: Compute("x", add, 1, 2).retry(0),
        lambda: Compute("x", add, 1, 2).retry(2, jitter_percent=101),
        lambda: Compute("x", add, 1, 2).timeout("0s"),
        lambda: Compute("x", add, 1, 2).timeout("soon"),
        lambda: Sleep(5),  # type: ignore[arg-type]
        lambda: Receive("a/b"),
        lambda: Checkpoint("a\nb", 1),
        lambda: activity("")(add),
        lambda: workflow("w", version=0)(generator),
        lambda: workflow("w", version=1)(add),  # type: ignore[arg-type]
    ]
    for make in bad:
        with pytest.raises(UsageError):
            make()


def test_a_scope_outside_a_workflow_is_refused() -> None:
    """`scope` needs a run that is being advanced."""
    with pytest.raises(UsageError, match="belongs inside a workflow"), scope("x"):
        pass


def test_a_scope_is_left_by_an_exception() -> None:
    """After a failure inside a scope the next step stands outside of it."""

    def body() -> Flow[list[str]]:
        try:
            with scope("in"):
                yield from Checkpoint("x", {1})
        except UsageError:
            pass
        cell = yield from Checkpoint("x", 1)
        return [cell.path]

    assert end_of(body) == Ended("completed", ["x"])


# ------------------------------------------------------------------ bounds
def test_code_that_runs_ahead_is_bounded_in_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop of checkpoints is stopped at the bound, where it can still end."""
    monkeypatch.setattr(outbox, "HISTORY_EVENTS_MAX", 50)

    def body() -> Flow[None]:
        cell = yield from Checkpoint("x", 0)
        while True:
            yield from cell.set(cell.get() + 1)

    replay = begun(body)
    assert len(replay.outbox) == 49
    assert decode(replay.outbox[-1]).value[0] == "LimitExceeded"  # type: ignore[union-attr,index]
    replay.close()


def test_code_that_runs_ahead_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes of what was recorded and of what the code runs ahead by are bounded too."""
    monkeypatch.setattr(outbox, "HISTORY_BYTES_MAX", 10_000)

    def body() -> Flow[int]:
        for turn in range(100):
            try:
                yield from Checkpoint(f"x{turn}", "x" * 1_000)
            except LimitExceeded:
                return turn
        return -1

    assert end_of(body) == Ended("completed", 9)


def test_a_value_above_its_bound_is_refused_at_the_yield() -> None:
    """A checkpoint, an argument and a result above 256 KiB are refused with what to do."""
    huge = "x" * 300_000

    def body() -> Flow[list[str]]:
        seen = []
        for effect in (Checkpoint("x", huge), Compute("y", len, huge)):
            try:
                yield effect
            except LimitExceeded as error:
                seen.append(str(error))
        return seen

    ended = end_of(body)
    assert len(fields(ended)) == 2
    assert all("keep a reference" in each for each in fields(ended))

    def returns() -> Flow[str]:
        yield from Log("x")
        return huge

    assert end_of(returns).value[0] == "LimitExceeded"  # type: ignore[index]


# ------------------------------------------------------------------ closing
def test_closing_runs_finally_blocks_once_and_ignores_their_effects() -> None:
    """A parked generator's `finally` blocks run once each; effects in them are ignored."""
    ran: list[str] = []

    def body() -> Flow[None]:
        try:
            try:
                yield from Receive("never")
            finally:
                ran.append("inner")
                yield from Log("ignored")
                ran.append("never reached")
        finally:
            ran.append("outer")
            yield from Compute("ignored", add, 1, 2)

    replay = begun(body)
    replay.close()
    replay.close()
    del replay
    gc.collect()
    assert ran == ["inner", "outer"]


def test_closing_reaches_the_helpers_that_a_generator_stands_in() -> None:
    """Each `finally` on the way out runs once, the innermost first; none is left to the collector."""
    ran: list[str] = []

    def helper(depth: int) -> Flow[None]:
        try:
            if depth:
                yield from helper(depth - 1)
            else:
                yield from Receive("never")
        finally:
            ran.append(f"{depth}")
            yield from tidy(depth)

    def tidy(depth: int) -> Flow[None]:
        try:
            yield from Log("ignored")
        finally:
            ran.append(f"tidy {depth}")
            yield from Log("ignored too")

    def body() -> Flow[None]:
        yield from Race("r", helper(2), Parallel("p", helper(0)))

    begun(body).close()
    told = list(ran)
    gc.collect()
    assert told == ran
    assert sorted(ran) == sorted(["0", "tidy 0", "0", "tidy 0", "1", "tidy 1", "2", "tidy 2"])


def test_closing_survives_a_generator_that_will_not_end() -> None:
    """A workflow that swallows its end and yields for ever is left alone after a while."""
    tries: list[int] = []

    def body() -> Flow[None]:
        while len(tries) < 150:
            try:
                yield from Receive(f"x{len(tries)}")
            except GeneratorExit:
                tries.append(1)

    replay = begun(body)
    assert replay.body is not None
    generator = replay.body.generator
    replay.close()
    assert len(tries) == interpreter.CLOSING_YIELDS_MAX
    tries.extend([1] * 100)
    generator.close()


def test_closing_survives_errors_and_scopes_in_finally() -> None:
    """An error, an exit or a scope in a `finally` block does not reach who closes."""

    def body() -> Flow[None]:
        try:
            try:
                yield from Receive("never")
            finally:
                raise SystemExit(3)
        finally:
            with scope("x"):
                yield from Log("ignored")

    begun(body).close()


def test_a_failed_run_leaves_no_generator() -> None:
    """An exception, `sys.exit` and even `GeneratorExit` in a workflow end it as failed."""
    for error in (ValueError("x"), SystemExit(3), GeneratorExit("x")):

        def body(error: BaseException = error) -> Flow[None]:
            yield from Log("x")
            raise error

        assert end_of(body).value[0] == type(error).__name__  # type: ignore[index]


def test_a_stop_of_the_node_passes_through() -> None:
    """What is no error of the workflow, such as an interrupt, is not made a failure of it."""

    def body() -> Flow[None]:
        yield from Log("x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begun(body)


# ------------------------------------------------------------------ answers
def test_an_answer_that_does_not_fit_is_an_error_of_that_step() -> None:
    """A payload of another type is thrown at the `Receive`, which may catch it."""

    def body() -> Flow[str]:
        try:
            yield from Receive("say", int)
        except UsageError as error:
            return str(error)
        return ""

    replay = begun(body)
    replay.feed(encode(Taken("say#0", "s1", "text")))
    assert decode(replay.outbox[-1]) == Ended("completed", "Expected `int`, got `str`")
    replay.close()


def test_an_answer_type_that_raises_fails_the_step_only() -> None:
    """A class whose own checks raise anything is an error of the step, not of the node."""

    class Picky:
        @classmethod
        def model_validate(cls, value: object) -> Picky:
            raise KeyError(value)

    def body() -> Flow[None]:
        yield from Receive("say", Picky)

    replay = begun(body)
    replay.feed(encode(Taken("say#0", "s1", "text")))
    assert decode(replay.outbox[-1]).value[0] == "InvalidInput"  # type: ignore[union-attr,index]
    replay.close()


def test_retries_count_attempts_and_keep_their_time() -> None:
    """A `Retry` moves the wait to its next attempt, and when that may begin."""

    def body() -> Flow[int]:
        return (yield from Compute("x", add, 1, 2).retry(3))

    replay = begun(body)
    replay.feed(encode(Retry("x", 1, ["Busy", "", {}], Millis(77))))
    assert isinstance(replay.waiting, waits.ComputeWait)
    assert (replay.waiting.attempt, replay.waiting.not_before) == (2, 77)
    replay.close()


def test_a_start_that_raises_anything_fails_the_run() -> None:
    """An input that the code does not take ends the run, whatever the exception is."""

    def start(_: object) -> Any:
        raise TypeError("no such argument")

    replay = Replay(RUN, start)
    replay.feed(started())
    assert decode(replay.outbox[0]) == Ended("failed", ["TypeError", "no such argument", {}])
    replay.close()


def test_long_waits_have_an_end_and_past_ones_none() -> None:
    """A due time is from 1970 to 9999, however far away the workflow puts it."""
    from datetime import timedelta

    now = Millis(1_000)
    assert timer_due(Sleep(timedelta.max), now) == DUE_MAX
    assert timer_due(Sleep(timedelta(days=-100_000)), now) == 0
    assert timer_due(Receive("x"), now) is None
    assert timer_due(Receive("x").timeout("2s"), now) == 3_000


# ------------------------------------------------------------------ failures
def test_only_declared_fields_of_a_failure_are_kept() -> None:
    """Annotated fields of the class and its bases are kept; others, and class variables, are not."""

    @dataclass
    class Place:
        row: int

    class Base(Exception):
        code: int
        kind: ClassVar[str] = "k"

    class Declined(Base):
        place: Place

        def __init__(self) -> None:
            super().__init__("no")
            self.code = 7
            self.place = Place(3)
            self.password = "secret"

    assert failure_of(Declined()) == ["Declined", "no", {"code": 7, "place": {"row": 3}}]


def test_a_failure_can_always_be_stored() -> None:
    """Unfit fields, endless messages, halves of characters, bad `__str__`: all become a failure."""

    class Unfit(Exception):
        payload: object = {1, 2}

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    class Endless(Exception):
        inside: list[object]

        def __init__(self) -> None:
            self.inside = [self.__dict__]

    class Broken(Exception):
        @property
        def code(self) -> int:
            raise ValueError("no code")

        __annotations__ = {"code": int}

    class Large(Exception):
        body = "x" * 262_000
        __annotations__ = {"body": str}

    errors: list[Exception] = [
        Unfit("x"),
        Mute(),
        Endless(),
        Broken(),
        Large("\N{GRINNING FACE}" * 4_000),
        ValueError("x" * 10**6),
        ValueError("\ud800"),
        WorkflowFailed("\ud800" * 999, "x", {"a": object()}),  # type: ignore[dict-item]
        WorkflowFailed("X", "x" * 10**6, {"big": "x" * 300_000}),
    ]
    for error in errors:
        failure = failure_of(error)
        event = decode(encode(Ended("failed", failure)))
        check(event)
        assert isinstance(as_error(event.value), WorkflowFailed)  # type: ignore[union-attr]


def test_a_failure_comes_back_as_it_was() -> None:
    """Name, message, fields and attempts survive the way through a history."""
    failed = WorkflowFailed("Declined", "no funds", {"code": 3}, attempts=2)
    again = as_error(failure_of(failed), 2)
    assert (again.name, again.message, again.details, again.attempts) == (
        "Declined",
        "no funds",
        {"code": 3},
        2,
    )
    with pytest.raises(CorruptionError):
        as_error("nothing")


# ------------------------------------------------------------------ results
def untyped(x):  # type: ignore[no-untyped-def]
    """Declare nothing."""
    return x


def whole(x: int) -> int:
    """Declare an integer."""
    return x


def ratio(x: float) -> dict[str, float]:
    """Declare floats inside a map."""
    return {"x": x}


def test_results_are_checked_against_the_declared_type() -> None:
    """A result that does not fit its annotation, or no history at all, is ``BadResult``."""
    assert pack_result(Compute("x", whole, 1), 2) == 2
    assert pack_result(Compute("x", ratio, 0.5), {"x": 1.5}) == {"x": 1.5}
    for effect, value in (
        (Compute("x", whole, 1), "text"),
        (Compute("x", whole, 1), True),
        (Compute("x", whole, 1), 2**64),
        (Compute("x", untyped, 1), 1.5),
        (Compute("x", untyped, 1), {1: "a"}),
        (Compute("x", untyped, 1), {1, 2}),
        (Compute("x", untyped, 1), "x" * 300_000),
        (Compute("x", untyped, 1), [0] * 200_000),
        (Compute("x", ratio, 0.5), {"x": float("nan")}),
    ):
        with pytest.raises(WorkflowFailed) as caught:
            pack_result(effect, value)
        assert caught.value.name == "BadResult"


def test_a_compute_by_name_is_answered_with_the_plain_value() -> None:
    """Without a function there is no type: the recorded value comes as it is."""
    assert pack_result(Compute("x", "some.activity", 1), {"a": [1]}) == {"a": [1]}


# ------------------------------------------------------------------ fields of events
def test_events_with_other_fields_are_told() -> None:
    """`check` takes what the library writes, and refuses every field of another type."""
    good: list[Event] = [
        Set("p", 1),
        Retry("p", 1, ["E", "m", {}], Millis(1)),
        Done("p", b"c", True, 1, 1),
        Done("p", b"c", False, ["E", "m", {}], 1),
        TimerSet("p", Millis(1)),
        TimerFired("p"),
        Taken("p", "s", 1),
        Logged("p", "t"),
        Ended("completed", 1),
        Ended("failed", ["E", "m", {}]),
    ]
    for event in good:
        check(event)
    bad: list[Any] = [
        Set(1, 1),  # type: ignore[arg-type]
        Retry("p", 1, ["E"], Millis(1)),
        Done("p", "c", True, 1, 1),  # type: ignore[arg-type]
        Done("p", b"c", False, 1, 1),
        Done("p", b"c", 1, 1, 1),  # type: ignore[arg-type]
        TimerSet("p", 1.5),  # type: ignore[arg-type]
        TimerSet("p", True),  # type: ignore[arg-type]
        TimerSet("p", Millis(-1)),
        TimerSet("p", Millis(DUE_MAX + 1)),
        TimerFired(b"p"),  # type: ignore[arg-type]
        Taken("p", 1, 1),  # type: ignore[arg-type]
        Logged("p", None),  # type: ignore[arg-type]
        Ended("done", 1),
        Ended("failed", 1),
    ]
    for event in bad:
        with pytest.raises(CorruptionError):
            check(event)


@pytest.mark.parametrize(
    "data", [b"", b"\xc0", b"\x91\xa3Set", b"\x92\xa3Nix\x01", pack([]), pack(1)]
)
def test_bytes_that_hold_no_event_are_corrupt(data: bytes) -> None:
    """Anything but a known kind with its number of fields is damage."""
    with pytest.raises(CorruptionError):
        decode(data)


# ------------------------------------------------------------------ looking
def test_a_replay_tells_where_it_stands() -> None:
    """The line is the innermost one of the user's code, through helpers and effects."""

    def helper() -> Flow[int]:
        return (yield from Compute("x", add, 1, 2))

    def body() -> Flow[int]:
        return (yield from helper())

    replay = begun(body)
    line = helper.__code__.co_firstlineno + 1
    assert replay.where() == f"{__file__}:{line}"
    replay.close()
    assert replay.where() == ""


def test_owners_and_followers_see_the_same_objects() -> None:
    """The owner too is answered by the committed bytes: a copy, never the object at hand."""
    seen: list[Any] = []
    shared = [1, 2]

    def body() -> Flow[None]:
        cell = yield from Checkpoint("x", shared)
        shared.append(3)
        seen.append(cell.get())
        yield from Log("x")

    flow: Workflow[[], Any] = workflow("w", version=1)(body)
    Owner(flow).run(started())
    assert seen == [[1, 2]]


def test_an_effect_iterates_itself_once() -> None:
    """``yield from effect`` yields the effect itself and returns its answer."""
    effect: Effect[Any] = Log("x")
    generator = iter(effect)
    assert next(generator) is effect
    with pytest.raises(StopIteration) as stop:
        generator.send("answer")
    assert stop.value.value == "answer"


def test_a_run_has_as_many_branches_as_it_is_told() -> None:
    """A group of 1,000 branches runs at once; one more inside it is refused with what to do."""

    def body() -> Flow[int]:
        def wait(n: int) -> Flow[None]:
            yield from Receive(f"go-{n}")
            yield from Parallel("more", Log("x"))

        yield from ForEach("all", range(1_000), wait)
        return 1

    replay = begun(body)
    assert len(replay.waits) == 1_000
    replay.feed(encode(Opened("all", 1_000)))
    replay.feed(encode(Taken("all[0]/go-0#0", "s", None)))
    assert "at most 1,000 branches under way" in str(decode(replay.outbox[-1]))
    replay.close()


@pytest.mark.parametrize("levels", [NESTED_MAX, NESTED_MAX + 1, 990])
def test_groups_are_nested_so_deep_that_a_cancellation_gets_down(levels: int) -> None:
    """Deeper than the bound is an error of the workflow, the same on every node."""

    def level(above: int) -> Flow[object]:
        if above == 0:
            yield from Sleep("1h")
            return None
        return (yield from Parallel("p", level(above - 1)))

    def body() -> Flow[object]:
        return (yield from level(levels))

    replay = begun(body)
    if levels <= NESTED_MAX:
        assert len(replay.waits) == 1
        replay.feed(encode(CancelAsked("enough")))
        status = "cancelled"
    else:
        status = "failed"
    end = decode(replay.outbox[-1])
    assert isinstance(end, Ended)
    assert end.status == status
    assert len(replay.outbox) == 2 * NESTED_MAX + 1
    replay.close()


def test_whoever_waits_for_a_callback_is_answered() -> None:
    """Several branches may wait for one callback; each gets a value of its own, in the order they came."""

    def body() -> Flow[list[object]]:
        pending = yield from Callback("token", list)

        def waiting() -> Flow[list[object]]:
            return (yield from pending.wait())

        one, two = yield from Parallel("both", waiting(), waiting())
        one.append("one")
        return [one, two]

    replay = begun(body)
    replay.feed(encode(CallbackOpened("token", "t", Millis(0), 0)))
    replay.feed(encode(CallbackDone("token", True, [7])))
    assert [decode(data) for data in replay.outbox] == [
        Opened("both", 2),
        Closed("both", [0, 1]),
        Ended("completed", [[7, "one"], [7]]),
    ]
    replay.close()


def test_a_callback_outlives_a_branch_that_waited_for_it() -> None:
    """A cancelled branch waits no more; another one that waited before it is answered all the same."""

    def body() -> Flow[int]:
        pending = yield from Callback("token", int)

        def racing() -> Flow[object]:
            won = yield from Race("first", Sleep("1h"), pending.wait())
            return won.index

        value, index = yield from Parallel("both", pending.wait(), racing())
        return value if index == 0 else 0

    replay = begun(body)
    replay.feed(encode(CallbackOpened("token", "t", Millis(0), 0)))
    replay.feed(encode(TimerSet("both[1]/first[0]/sleep#0", Millis(5))))
    replay.feed(encode(TimerFired("both[1]/first[0]/sleep#0")))
    replay.feed(encode(CallbackDone("token", True, 7)))
    assert decode(replay.outbox[-1]) == Ended("completed", 7)
    replay.close()


# ------------------------------------------------------------------ what comes before the end is settled
def test_a_cancellation_is_not_lost_with_a_restart() -> None:
    """`Cancelled` meets the code at `Restart`, whether it came before or while that is proposed."""

    def loop() -> Flow[str]:
        pending = yield from Callback("token", int)
        yield from Checkpoint("x", 1)
        yield from Compute("step", add, 1, 2)
        try:
            yield from Restart()
        except Cancelled as cancelled:
            answer = yield from pending.wait()
            return f"{cancelled.reason} {answer}"
        return ""

    opened = CallbackOpened("token", "t", Millis(0), 0)
    token = CallbackDone("token", True, 7)
    step = Done("step", call_bytes(Compute("step", add, 1, 2)), True, 3, 1)
    orders: list[list[Event]] = [
        [CancelAsked("enough"), step, token],
        [step, CancelAsked("enough"), token],
        [step, token, CancelAsked("enough")],
    ]
    for order in orders:
        replay = begun(loop)
        history = [encode(opened), encode(Set("x", 1)), *map(encode, order)]
        for data in history:
            replay.feed(data)
        assert not replay.restarting
        assert [decode(data) for data in replay.outbox] == [Ended("completed", "enough 7")]
        again = begun(loop)
        again.feed_all(history)
        assert (again.outbox, again.position) == (replay.outbox, replay.position)
        replay.close()
        again.close()


def test_what_arrives_before_the_end_is_settled_is_passed_over() -> None:
    """A callback that nobody waits for may be completed while the run's end is on its way."""

    def body() -> Flow[int]:
        yield from Callback("token", int)
        return 1

    replay = begun(body)
    replay.feed(encode(CallbackOpened("token", "t", Millis(0), 0)))
    replay.feed(encode(CallbackDone("token", True, 7)))
    assert [decode(data) for data in replay.outbox] == [Ended("completed", 1)]
    replay.feed(encode(Ended("completed", 1)))
    replay.close()
