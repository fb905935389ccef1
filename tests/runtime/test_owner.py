"""What the owner of a run does while the run waits for many things at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import Any
from unittest.mock import patch

import pytest

from raftoral.codec import pack
from raftoral.errors import Cancelled, WorkflowFailed
from raftoral.ids import NodeId, RunId
from raftoral.machines import mail, runs
from raftoral.machines.commands import (
    BeatCallback,
    Cancel,
    CompleteCallback,
    HandOver,
    Pause,
    Resume,
    Update,
)
from raftoral.replay.context import current
from raftoral.replay.effects import (
    Callback,
    Checkpoint,
    Compute,
    Flow,
    ForEach,
    Now,
    Parallel,
    Race,
    Random,
    Receive,
    Restart,
    Sleep,
    Uuid,
    activity,
    workflow,
)
from raftoral.replay.effects import Update as Request
from raftoral.replay.history import (
    Asked,
    CallbackOpened,
    Done,
    Ended,
    Noted,
    Retry,
    Started,
    Taken,
    TimerFired,
    TimerSet,
)
from raftoral.runtime import attempts
from tests.runtime.cluster import (
    ByHand,
    Cluster,
    check_history,
    cluster,
    end,
    events,
    registry,
    run,
)


def hand_over(made: Cluster, run_id: str, node: int) -> None:
    """Give a run to another member."""
    made.do(HandOver(RunId(run_id), made.find(run_id).epoch, "moved", NodeId(node)))


@activity("add")
async def add(left: int, right: int) -> int:
    """Run on the loop."""
    return left + right


@activity("add.thread")
def add_in_thread(left: int, right: int) -> int:
    """Run in a thread."""
    return left + right


# ------------------------------------------------------------------ many at once
@run
async def test_the_attempts_of_all_branches_run_at_once() -> None:
    """A fan-out of a hundred begins all of them before the first has ended, and each once."""
    begun: Counter[int] = Counter()
    gate = asyncio.Event()

    @activity("wait")
    async def wait(number: int) -> int:
        begun[number] += 1
        await gate.wait()
        return number * number

    def one(number: int) -> Flow[int]:
        return (yield from Compute("wait", wait, number))

    @workflow("w", version=1)
    def w() -> Flow[int]:
        done = yield from ForEach("all", range(100), one)
        return sum(done)

    ours = registry(w)
    async with cluster(ours, ours) as made:
        made.start("r", w)
        await made.until(lambda: len(begun) == 100)
        gate.set()
        await made.ended("r")
        assert end(made, "r") == Ended("completed", sum(n * n for n in range(100)))
        assert set(begun.values()) == {1}
        check_history(made, "r")
        made.check_same()


@workflow("mixed", version=1)
def mixed(number: int) -> Flow[list[Any]]:
    """Compute, sleep, take signals and note things in branches."""

    def counted(name: str) -> Flow[int]:
        cell = yield from Checkpoint("sum", number)
        for turn in range(3):
            more = yield from Compute(f"add-{turn}", add, cell.get(), turn)
            yield from cell.set(more)
            yield from Compute(f"thread-{turn}", add_in_thread, more, turn)
        return cell.get()

    def told() -> Flow[list[str | None]]:
        first = yield from Receive("say", str)
        late = yield from Receive("never", str).timeout("20ms")
        second = yield from Receive("say", str)
        return [first, late, second]

    def napped() -> Flow[int]:
        yield from Sleep("10ms")
        return (yield from Random(1))

    done = yield from Parallel("all", counted("a"), counted("b"), told(), napped())
    won = yield from Race("first", slow=Sleep("10s"), quick=Compute(None, add, 1, 1))
    return [*done, won.name]


@pytest.mark.parametrize("seed", range(6))
def test_branches_are_settled_once_though_proposals_are_lost_and_owners_change(seed: int) -> None:
    """With losses, hand-overs and a lost node, every step of every branch has one `Done`."""

    async def story() -> None:
        ours = registry(mixed)
        options: dict[str, Any] = {"seed": seed, "loss": 0.2, "generators_max": 2 + seed}
        async with cluster(ours, ours, ours, **options) as made:
            ids = [f"r{number}" for number in range(5)]
            for number, run_id in enumerate(ids):
                made.start(run_id, mixed, number=number)
                made.signal(run_id, "say", "1", "one")
            await made.until(lambda: made.find("r0").length >= 6 + seed)
            hand_over(made, "r1", 1 + seed % 3)
            made.signal("r0", "say", "2", "two")
            await made.until(lambda: made.find("r0").length >= 15)
            made.lose(made.owner("r2"))
            for run_id in ids:
                made.signal(run_id, "say", "2", "two")
            await made.ended(*ids)
            for number, run_id in enumerate(ids):
                check_history(made, run_id)
                told = ["one", None, "two"]
                result = [number + 3, number + 3, told, 0, "quick"]
                assert end(made, run_id) == Ended("completed", result)
            made.check_same()

    asyncio.run(story())


@run
async def test_a_run_changes_hands_while_several_attempts_are_under_way() -> None:
    """The old owner's attempts are cancelled, the new owner begins each anew, each settles once."""
    begun: list[tuple[str, int]] = []
    ended: list[str] = []
    gate = asyncio.Event()

    @activity("wait")
    async def wait(name: str) -> str:
        begun.append((name, current().epoch))
        try:
            await gate.wait()
        except asyncio.CancelledError:
            ended.append(name)
            raise
        return name

    def one(name: str) -> Flow[str]:
        return (yield from Compute("wait", wait, name))

    @workflow("w", version=1)
    def w() -> Flow[tuple[str, str, str]]:
        return (yield from Parallel("all", one("a"), one("b"), one("c")))

    ours = registry(w)
    async with cluster(ours, ours) as made:
        made.start("r", w)
        await made.until(lambda: len(begun) == 3)
        hand_over(made, "r", 3 - made.owner("r").node)
        await made.until(lambda: len(begun) == 6)
        await made.until(lambda: sorted(ended) == ["a", "b", "c"])
        gate.set()
        await made.ended("r")
        check_history(made, "r")
        assert len({epoch for _, epoch in begun}) == 2


@run
async def test_a_signal_is_taken_while_other_branches_are_answered_all_the_time() -> None:
    """What takes from a mailbox goes ahead of other answers, so a busy run does not starve it."""

    def busy(name: str) -> Flow[int]:
        done = 0
        while done < 200:
            done = yield from Compute(f"add-{done}", add, done, 1)
        return done

    @workflow("w", version=1)
    def w() -> Flow[list[Any]]:
        won = yield from Race("first", busy=busy("a"), too=busy("b"), told=Receive("go", str))
        return [won.name, won.value]

    ours = registry(w)
    async with cluster(ours, ours) as made:
        made.start("r", w)
        await made.until(lambda: made.find("r").length > 20)
        made.signal("r", "go", "1", "now")
        await made.ended("r")
        assert end(made, "r") == Ended("completed", ["told", "now"])
        history = events(made, "r")
        at = next(n for n, event in enumerate(history) if isinstance(event, Taken))
        assert at < 200, "long before the others are through"


# ------------------------------------------------------------------ limits of attempts
@run
async def test_at_most_once_is_recorded_before_it_begins() -> None:
    """`Asked` is committed before the attempt begins, and the step settles as any other."""
    seen: list[int] = []

    @workflow("w", version=1)
    def w() -> Flow[int]:
        return (yield from Compute("pay", pay).at_most_once())

    async with cluster(registry(), registry()) as made:

        @activity("pay")
        async def pay() -> int:
            seen.append(made.find("r").length)
            return 7

        for member in made.members:
            member.registry.add_workflow(w)
        made.start("r", w)
        await made.ended("r")
        kinds = [type(event) for event in events(made, "r")]
        assert kinds == [Started, Asked, Done, Ended]
        assert seen == [2]


@run
async def test_an_owner_that_is_lost_interrupts_what_may_run_once_only() -> None:
    """The heir does not attempt it again: the step fails with ``Interrupted``, after a restart too."""
    begun: list[str] = []

    @activity("pay")
    async def pay() -> int:
        begun.append(current().run_id)
        await asyncio.sleep(30)
        return 7

    @workflow("w", version=1)
    def w() -> Flow[str]:
        try:
            yield from Compute("pay", pay).at_most_once()
        except WorkflowFailed as error:
            return error.name
        return "paid"

    ours = registry(w)
    async with cluster(ours, ours) as made:
        made.start("moved", w)
        made.start("kept", w)
        await made.until(lambda: sorted(begun) == ["kept", "moved"])
        hand_over(made, "moved", 3 - made.owner("moved").node)
        kept = made.owner("kept")
        kept.restart(made)
        made.publish(kept)
        await made.ended("moved", "kept")
        assert end(made, "moved") == end(made, "kept") == Ended("completed", "Interrupted")
        assert len(begun) == 2


@run
async def test_a_deadline_bounds_all_attempts_together() -> None:
    """In the middle of an attempt and of a pause: ``DeadlineExceeded``, and the attempt is stopped."""
    cancelled: list[int] = []

    @activity("hang")
    async def hang() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(current().attempt)
            raise

    @activity("fail")
    async def fail() -> None:
        raise ConnectionError("no")

    @workflow("w", version=1)
    def w() -> Flow[list[Any]]:
        seen: list[Any] = []
        for step in (
            Compute("hang", hang).deadline("500ms").timeout("250ms").retry(9, first="1ms"),
            Compute("fail", fail).deadline("500ms").retry(9, first="10s"),
        ):
            try:
                yield from step
            except WorkflowFailed as error:
                seen.append([error.name, error.attempts])
        return seen

    ours = registry(w)
    async with cluster(ours, ours) as made:
        made.start("r", w)
        await made.ended("r")
        # A pause that would end after the deadline is not waited for: the failure is the last.
        assert end(made, "r").value == [["DeadlineExceeded", 2], ["ConnectionError", 1]]
        await made.until(lambda: cancelled == [1, 2])


@run
async def test_an_attempt_that_is_silent_too_long_fails_and_the_next_knows_how_far_it_came() -> (
    None
):
    """``HeartbeatTimeout``; the last details reach the next attempt, on another node as well."""
    known: list[Any] = []

    @activity("copy")
    async def copy() -> int:
        known.append(current().last_heartbeat)
        if current().attempt == 3:
            return 3
        current().heartbeat({"pages": current().attempt * 10})
        current().heartbeat()
        await asyncio.sleep(30)
        return 0

    @workflow("w", version=1)
    def w() -> Flow[int]:
        return (yield from Compute("copy", copy).heartbeat("30ms").retry(3, first="80ms"))

    ours = registry(w)
    async with cluster(ours, ours) as made:
        made.start("r", w)
        await made.until(lambda: made.find("r").length == 3)
        hand_over(made, "r", 3 - made.owner("r").node)
        await made.ended("r")
        retries = [event for event in events(made, "r") if isinstance(event, Retry)]
        assert [each.error[0] for each in retries] == ["HeartbeatTimeout"] * 2
        assert known == [None, {"pages": 10}, {"pages": 20}]


@run
async def test_heartbeats_keep_an_attempt_alive() -> None:
    """Whoever tells in time that it is alive may take long, in a thread and on the loop."""

    @activity("beat")
    async def beat() -> int:
        for turn in range(12):
            current().heartbeat(turn)
            await asyncio.sleep(0.02)
        return 1

    @activity("beat.thread")
    def beat_in_thread() -> int:
        for turn in range(25):
            current().heartbeat(turn)
            time.sleep(0.02)
        return 2

    @workflow("w", version=1)
    def w() -> Flow[list[int]]:
        first = yield from Compute("a", beat).heartbeat("150ms")
        second = yield from Compute("b", beat_in_thread).heartbeat("400ms")
        return [first, second]

    async with cluster(registry(w)) as made:
        made.start("r", w)
        await made.ended("r")
        assert end(made, "r") == Ended("completed", [1, 2])


# ------------------------------------------------------------------ cancelling
@run
async def test_the_losers_of_a_race_are_stopped_and_waited_for() -> None:
    """A task is cancelled, a thread sees that it is; each step settles with what it ended in."""
    seen: list[str] = []

    @activity("task")
    async def task() -> str:
        try:
            await asyncio.sleep(30)
        finally:
            seen.append("task")
        return ""

    @activity("thread")
    def thread() -> str:
        while not current().cancelled:
            time.sleep(0.002)
        return "half-way"

    @activity("deaf")
    def deaf() -> str:
        stop.wait(30)
        return ""

    stop = threading.Event()

    @workflow("w", version=1)
    def w() -> Flow[str]:
        won = yield from Race(
            "first",
            Compute("task", task),
            Compute("thread", thread),
            Compute("deaf", deaf),
            Sleep("30ms"),
        )
        return str(won.name)

    ours = registry(w)
    async with cluster(ours, ours) as made:
        with patch.object(attempts, "GRACE_S", 0.1):
            made.start("r", w)
            await made.ended("r")
        stop.set()
        done = {e.path.rpartition("/")[2]: e for e in events(made, "r") if isinstance(e, Done)}
        assert (done["task"].ok, done["task"].value[0]) == (False, "Cancelled")  # type: ignore[index]
        assert (done["thread"].ok, done["thread"].value) == (True, "half-way")
        assert (done["deaf"].ok, done["deaf"].value[0]) == (False, "Cancelled")  # type: ignore[index]
        assert seen == ["task"]
        made.check_same()


@run
async def test_a_run_that_is_cancelled_stops_what_is_under_way_and_cleans_up() -> None:
    """`Cancelled` reaches every branch, the cleaning up runs, and the run ends as cancelled."""
    calls: list[str] = []

    @activity("hang")
    async def hang() -> None:
        calls.append("begun")
        await asyncio.sleep(30)

    @activity("clean")
    async def clean() -> None:
        calls.append("cleaned")

    def branch() -> Flow[None]:
        try:
            yield from Compute("hang", hang)
        except (Cancelled, WorkflowFailed):
            yield from Compute("clean", clean)
            raise

    @workflow("w", version=1)
    def w() -> Flow[None]:
        yield from Parallel("all", branch(), Sleep("1h"), Receive("never"))

    ours = registry(w)
    async with cluster(ours, ours) as made:
        made.start("r", w)
        await made.until(lambda: calls == ["begun"] and made.find("r").length >= 3)
        made.do(Cancel(RunId("r"), "enough"))
        await made.ended("r")
        assert end(made, "r").status == "cancelled"
        assert calls == ["begun", "cleaned"]
        made.check_same()


# ------------------------------------------------------------------ pausing
@run
async def test_a_paused_run_settles_what_is_under_way_and_begins_nothing() -> None:
    """The attempt that runs is not lost; the next one, and the timer, come after the resumption."""
    gate = asyncio.Event()
    calls: list[str] = []

    @activity("wait")
    async def wait() -> str:
        calls.append("wait")
        await gate.wait()
        return "waited"

    @activity("next")
    async def following() -> str:
        calls.append("next")
        return "next"

    def first() -> Flow[list[str]]:
        return [
            (yield from Compute("wait", wait)),
            (yield from Compute("next", following)),
        ]

    @workflow("w", version=1)
    def w() -> Flow[list[Any]]:
        return list((yield from Parallel("all", first(), Sleep("300ms"))))

    ours = registry(w)
    async with cluster(ours, ours) as made:
        made.start("r", w)
        await made.until(lambda: calls == ["wait"] and isinstance(events(made, "r")[-1], TimerSet))
        made.do(Pause(RunId("r"), "hold on"))
        gate.set()
        await made.until(lambda: any(isinstance(e, Done) for e in events(made, "r")))
        await asyncio.sleep(0.4)
        assert calls == ["wait"]
        assert not any(isinstance(e, TimerFired) for e in events(made, "r"))
        assert made.find("r").status == runs.PAUSED
        made.do(Resume(RunId("r")))
        await made.ended("r")
        assert end(made, "r") == Ended("completed", [["waited", "next"], None])
        made.check_same()


# ------------------------------------------------------------------ callbacks and updates
def opened(made: Cluster, run_id: str) -> list[CallbackOpened]:
    """Return the callbacks that a run has opened."""
    return [event for event in events(made, run_id) if isinstance(event, CallbackOpened)]


@run
async def test_whoever_has_the_token_completes_a_callback() -> None:
    """A token is made once, hard to guess, and completes its step; on every member alike."""

    @workflow("w", version=1)
    def w() -> Flow[list[Any]]:
        one = yield from Callback("one", str)
        two = yield from Callback("two", str)
        return [(yield from two.wait()), (yield from one.wait())]

    ours = registry(w)
    async with cluster(ours, ours) as made:
        made.start("r", w)
        await made.until(lambda: len(opened(made, "r")) == 2)
        one, two = opened(made, "r")
        assert one.token != two.token
        made.do(CompleteCallback(one.token, True, pack("first")))
        made.do(CompleteCallback(two.token, True, pack("second")))
        await made.ended("r")
        assert end(made, "r") == Ended("completed", ["second", "first"])
        made.check_same()


@run
async def test_callbacks_that_nobody_completes_fail_in_time() -> None:
    """``Timeout`` at its limit; ``HeartbeatTimeout`` after a silence, which a beat puts off."""

    @workflow("w", version=1)
    def w() -> Flow[list[Any]]:
        seen = []
        for callback in (
            Callback("late", str).timeout("40ms"),
            Callback("silent", str).heartbeat("150ms"),
        ):
            pending = yield from callback
            try:
                yield from pending.wait()
            except WorkflowFailed as error:
                seen.append(error.name)
        return seen

    ours = registry(w)
    async with cluster(ours, ours) as made:
        made.start("r", w)
        await made.until(lambda: len(opened(made, "r")) == 2)
        began = made.clock()
        for _ in range(4):
            await asyncio.sleep(0.14)
            made.do(BeatCallback(opened(made, "r")[1].token))
        await made.ended("r")
        assert made.clock() - began >= 4 * 140 + 150
        assert end(made, "r") == Ended("completed", ["Timeout", "HeartbeatTimeout"])
        made.check_same()


@run
async def test_an_update_is_answered_by_its_handler_or_refused() -> None:
    """The handler's answer is kept for the sender; what it raises refuses, and the run waits on."""

    def check(value: int) -> int:
        if value < 0:
            raise ValueError("not below nothing")
        return value * 2

    @workflow("w", version=1)
    def w() -> Flow[int]:
        return (yield from Request("add", int, check))

    ours = registry(w)
    async with cluster(ours, ours) as made:
        made.start("r", w)
        for update_id, value in (("1", -1), ("2", 21)):
            made.do(Update(RunId("r"), "add", update_id, pack(value)))
        await made.ended("r")
        assert end(made, "r") == Ended("completed", 21)
        refused = mail.answer_of(made.leader, RunId("r"), "1")
        assert refused == (False, ["ValueError", "not below nothing", {}])
        assert mail.answer_of(made.leader, RunId("r"), "2") == (True, 42)
        made.check_same()


@run
async def test_an_update_is_refused_for_an_answer_that_no_history_holds() -> None:
    """Unfit, too long beside its request, or `sys.exit`: the sender is told, and the run waits on."""

    def check(value: str) -> Any:
        if value == "exit":
            raise SystemExit(3)
        return object() if value == "object" else value

    @workflow("w", version=1)
    def w() -> Flow[str]:
        return (yield from Request("echo", str, check))

    ours = registry(w)
    async with cluster(ours, ours) as made:
        made.start("r", w)
        for value in ("object", "x" * 140_000, "exit", "fits"):
            made.do(Update(RunId("r"), "echo", value[:9], pack(value)))
        await made.ended("r")
        assert end(made, "r") == Ended("completed", "fits")
        answers = [
            mail.answer_of(made.leader, RunId("r"), each) for each in ("object", "x" * 9, "exit")
        ]
        assert [(ok, failure[0]) for ok, failure in answers] == [
            (False, "BadAnswer"),
            (False, "BadAnswer"),
            (False, "SystemExit"),
        ]
        made.check_same()


@run
async def test_a_handler_that_raises_what_no_code_should_parks_its_run() -> None:
    """Even a `KeyboardInterrupt` of a handler stops its run only, and no node."""

    def check(_value: int) -> int:
        raise KeyboardInterrupt

    @workflow("w", version=1)
    def w() -> Flow[int]:
        return (yield from Request("add", int, check))

    ours = registry(w)
    async with cluster(ours, ours) as made:
        made.start("r", w)
        made.do(Update(RunId("r"), "add", "1", pack(1)))
        await made.until(lambda: made.find("r").status == runs.PARKED)
        assert "handler of an update raised KeyboardInterrupt" in made.find("r").reason


@run
async def test_a_handler_that_never_ends_parks_its_run() -> None:
    """A handler is code of the workflow: it may not hold up the node."""
    watchdog = ByHand()

    def check(_value: int) -> int:
        watchdog.forever.append(True)
        while True:
            pass

    @workflow("w", version=1)
    def w() -> Flow[int]:
        return (yield from Request("add", int, check))

    ours = registry(w)
    async with cluster(ours, ours, watchdog=watchdog) as made:
        made.start("r", w)
        made.do(Update(RunId("r"), "add", "1", pack(1)))
        await made.until(lambda: made.find("r").status == runs.PARKED)
        assert "handler of an update computes for more than 0.1 s" in made.find("r").reason


# ------------------------------------------------------------------ what is noted, and new generations
@run
async def test_what_the_owner_notes_is_the_same_for_everybody() -> None:
    """The clock, a number and a UUID are recorded once and replayed on each member."""

    @workflow("w", version=1)
    def w() -> Flow[list[Any]]:
        at = yield from Now()
        number = yield from Random(6)
        name = yield from Uuid()
        yield from Receive("go")
        return [at, number, str(name)]

    ours = registry(w)
    async with cluster(ours, ours) as made:
        made.start("r", w)
        await made.until(lambda: made.find("r").length == 4)
        hand_over(made, "r", 3 - made.owner("r").node)
        made.signal("r", "go", "1", None)
        await made.ended("r")
        noted = [event for event in events(made, "r") if isinstance(event, Noted)]
        assert [event.kind for event in noted] == ["now", "random", "uuid"]
        assert end(made, "r").value[1:] == [noted[1].value, str(noted[2].value)]  # type: ignore[index]
        made.check_same()


@run
async def test_a_restarted_run_goes_on_as_another_generation() -> None:
    """The new generation begins from its input, with idempotency keys of its own, on every member."""
    keys: list[str] = []

    @activity("note")
    async def note(left: int) -> int:
        keys.append(current().idempotency_key)
        return left - 1

    @workflow("w", version=1)
    def w(left: int) -> Flow[int]:
        rest = yield from Compute("note", note, left)
        if rest:
            yield from Restart(rest)
        return rest

    ours = registry(w)
    async with cluster(ours, ours, loss=0.2, seed=3) as made:
        made.start("r", w, left=3)
        await made.ended("r")
        assert list(dict.fromkeys(keys)) == ["r/0/note", "r/1/note", "r/2/note"]
        assert end(made, "r") == Ended("completed", 0)
        assert made.find("r").generation == 2
        made.check_same()


@run
async def test_a_step_may_have_an_idempotency_key_of_its_own() -> None:
    """`idempotency_key` replaces the one of run, generation and path."""
    keys: list[str] = []

    @activity("note")
    async def note() -> None:
        keys.append(current().idempotency_key)

    @workflow("w", version=1)
    def w() -> Flow[None]:
        yield from Compute("a", note)
        yield from Compute("b", note).idempotency_key("order-7")

    async with cluster(registry(w)) as made:
        made.start("r", w)
        await made.ended("r")
        assert keys == ["r/0/a", "order-7"]
