"""Executors of three nodes over an ordered log: who acts, who takes over, what is settled once."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import wraps
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from raftoral.codec import pack
from raftoral.errors import Cancelled, WorkflowFailed
from raftoral.ids import Epoch, Index, Millis, NodeId, Position, RunId, Version
from raftoral.kv import MemoryKeyValue
from raftoral.machines import runs
from raftoral.machines.commands import HandOver, OwnSlots, Publish, StartRun, TakeOver
from raftoral.machines.execution import Execution, Signalled
from raftoral.machines.placement import home_of
from raftoral.registry.definition import Definition
from raftoral.registry.loader import Loader
from raftoral.replay.context import current
from raftoral.replay.effects import (
    Checkpoint,
    Compute,
    Flow,
    Log,
    Receive,
    Sleep,
    activity,
    scope,
    workflow,
)
from raftoral.replay.history import Done, Ended, Logged, Retry, TimerFired, encode
from raftoral.replay.interpreter import Replay
from raftoral.runtime.live import Live
from raftoral.runtime.watchdog import CHECKS_PER_LIMIT
from tests.runtime.cluster import (
    ByHand,
    check_history,
    cluster,
    end,
    events,
    registry,
    run,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from raftoral.replay.interpreter import Begin


# ------------------------------------------------------------------ workflows
@activity("double")
def double(number: int) -> int:
    """Run in a thread."""
    return 2 * number


@activity("triple")
async def triple(number: int) -> int:
    """Run on the loop."""
    await asyncio.sleep(0.001)
    return 3 * number


@workflow("steps", version=1)
def steps(number: int) -> Flow[int]:
    """Do nine activities with checkpoints, lines and a pause between them."""
    total = yield from Checkpoint("total", number)
    for turn in range(4):
        with scope(f"turn-{turn}"):
            more = yield from Compute("double", double, turn)
            yield from total.set(total.get() + more)
            more = yield from Compute("triple", triple, turn)
            yield from total.update(lambda value, more=more: value + more)  # type: ignore[misc]
            yield from Log(f"turn {turn}")
    yield from Sleep("20ms")
    return total.get()


@workflow("approval", version=1)
def approval() -> Flow[list[object]]:
    """Wait for signals, one of which never comes."""
    first = yield from Receive("say", str)
    late = yield from Receive("never", str).timeout("30ms")
    second = yield from Receive("say", str).timeout("10s")
    return [first, late, second]


# ------------------------------------------------------------------ the whole
@run
async def test_every_run_ends_with_one_history_on_all_members() -> None:
    """Runs of all kinds end, and each member holds the same bytes of them."""
    ours = registry(steps, approval)
    async with cluster(ours, ours, ours) as made:
        for number in range(12):
            made.start(f"s{number}", steps, number=number)
        made.start("a", approval)
        made.signal("a", "say", "1", "one")
        made.signal("a", "say", "2", "two")
        await made.ended(*(f"s{n}" for n in range(12)), "a")
        made.check_same()
        for number in range(12):
            check_history(made, f"s{number}")
            assert end(made, f"s{number}") == Ended("completed", number + 5 * 6)
        assert end(made, "a") == Ended("completed", ["one", None, "two"])
        owners = {made.find(f"s{n}").owner for n in range(12)}
        assert len(owners) > 1, "runs are spread over the members"


@pytest.mark.parametrize("seed", range(8))
def test_lost_proposals_and_answers_settle_each_step_once(seed: int) -> None:
    """With a third of the proposals or their answers lost, each step has one `Done` all the same."""

    async def story() -> None:
        ours = registry(steps, approval)
        async with cluster(ours, ours, ours, seed=seed, loss=0.3) as made:
            for number in range(4):
                made.start(f"s{number}", steps, number=number)
            made.start("a", approval)
            made.signal("a", "say", "1", "one")
            made.signal("a", "say", "2", "two")
            await made.ended(*(f"s{n}" for n in range(4)), "a")
            for number in range(4):
                check_history(made, f"s{number}")
                assert end(made, f"s{number}") == Ended("completed", number + 5 * 6)
            check_history(made, "a")
            assert end(made, "a") == Ended("completed", ["one", None, "two"])
            made.check_same()

    asyncio.run(story())


@pytest.mark.parametrize("seed", range(6))
def test_a_lost_owner_is_replaced(seed: int) -> None:
    """When an owner disappears in the middle, its runs end elsewhere with the same results."""

    async def story() -> None:
        ours = registry(steps)
        async with cluster(ours, ours, ours, seed=seed, loss=0.1) as made:
            ids = [f"s{number}" for number in range(9)]
            for number, run_id in enumerate(ids):
                made.start(run_id, steps, number=number)
            await made.until(lambda: made.find("s0").length >= 6 + seed)
            lost = made.owner("s0")
            made.lose(lost)
            await made.ended(*ids)
            for number, run_id in enumerate(ids):
                check_history(made, run_id)
                assert end(made, run_id) == Ended("completed", number + 5 * 6)
                assert made.find(run_id).owner != lost.node or not made.find(run_id).live
            made.check_same()

    asyncio.run(story())


@run
async def test_late_attempts_are_unheard() -> None:
    """An attempt that ends after its node lost the run settles nothing, even if it has it again."""
    gates = [threading.Event() for _ in range(3)]
    keys: list[tuple[str, int]] = []

    @activity("slow")
    def slow() -> int:
        keys.append((current().idempotency_key, current().epoch))
        number = len(keys)
        gates[number - 1].wait(10)
        return number

    @workflow("w", version=1)
    def w() -> Flow[int]:
        return (yield from Compute("slow", slow))

    ours = registry(w)
    async with cluster(ours, ours, ours) as made:
        made.start("r", w)
        await made.until(lambda: len(keys) == 1)
        first = made.owner("r")
        heir = next(each for each in made.members if each is not first)
        made.commit(HandOver(RunId("r"), made.find("r").epoch, "moved", heir.node).encode())
        await made.until(lambda: len(keys) == 2)
        made.commit(HandOver(RunId("r"), made.find("r").epoch, "back", first.node).encode())
        await made.until(lambda: len(keys) == 3)
        gates[0].set()
        gates[1].set()
        await asyncio.sleep(0.1)
        assert made.find("r").length == 1, "neither is heard"
        gates[2].set()
        await made.ended("r")
        assert end(made, "r") == Ended("completed", 3)
        assert {key for key, _ in keys} == {"r/0/slow"}
        epochs = [epoch for _, epoch in keys]
        assert epochs == sorted(set(epochs)), "the epoch fences the earlier ones off"


# ------------------------------------------------------------------ time
@run
async def test_a_timer_refused_as_early_is_tried_again() -> None:
    """A node whose clock runs ahead proposes a firing too early, is refused, and repeats it."""

    @workflow("w", version=1)
    def w() -> Flow[str]:
        yield from Sleep("120ms")
        return "awake"

    ours = registry(w)
    async with cluster(ours, clock_error=60) as made:
        made.start("r", w)
        began = made.clock()
        made.clock_error = 0
        await made.until(lambda: made.find("r").length == 2)
        made.clock_error = 10_000
        made.members[0].executor.tick()
        await made.ended("r")
        assert made.clock() - began >= 120
        early = sum(1 for _, _, command in made.log if b"TimerFired" in command)
        assert early >= 2, "it was proposed too early at least once"
        assert [type(e) for e in events(made, "r")].count(TimerFired) == 1


@run
async def test_timers_follow_a_clock_that_jumps() -> None:
    """After a restart the clock may jump by a minute: `tick` rings at once, and so does the alarm."""

    @workflow("w", version=1)
    def w() -> Flow[str]:
        yield from Sleep("60s")
        return "awake"

    ours = registry(w)
    async with cluster(ours) as made:
        for run_id in ("r", "s"):
            made.start(run_id, w)
            await made.until(lambda each=run_id: made.find(each).length == 2)  # type: ignore[misc]
            await asyncio.sleep(0.01)
            made._began -= 61
            began = made.clock()
            if run_id == "r":
                made.members[0].executor.tick()
            await made.ended(run_id)
            assert made.clock() - began <= (50 if run_id == "r" else 1_050)


@run
async def test_timers_of_ended_runs_are_dropped() -> None:
    """What runs that ended would still have waited for takes no memory."""

    @workflow("w", version=1)
    def w() -> Flow[str | None]:
        return (yield from Receive("go", str).timeout("1h"))

    ours = registry(w)
    async with cluster(ours) as made:
        for number in range(300):
            made.start(f"r{number}", w)
            made.signal(f"r{number}", "go", "1", "x")
        made.start("last", w)
        executor = made.members[0].executor
        await made.ended(*(f"r{number}" for number in range(300)))
        await made.until(lambda: made.find("last").length == 2)
        for number in range(500):
            executor._alarms.later(RunId("last"), "", Millis(made.clock() + 3_600_000 - number))
        assert len(executor._alarms) <= 103
        made._began -= 3601
        executor.tick()
        await made.ended("last")


# ------------------------------------------------------------------ attempts
@run
async def test_attempts_are_repeated_with_pauses_and_counted() -> None:
    """A failing activity is tried as often as its policy says, with growing pauses, and counted."""
    times: list[float] = []

    @activity("flaky")
    async def flaky() -> str:
        times.append(asyncio.get_running_loop().time())
        if current().attempt < 4:
            raise ConnectionError(f"try {current().attempt}")
        return "done"

    @workflow("w", version=1)
    def w() -> Flow[str]:
        step = Compute("flaky", flaky).retry(5, first="20ms", factor_percent=200)
        return (yield from step)

    async with cluster(registry(w)) as made:
        made.start("r", w)
        await made.ended("r")
        history = events(made, "r")
        retries = [e for e in history if isinstance(e, Retry)]
        assert [e.attempt for e in retries] == [1, 2, 3]
        assert retries[0].error == ["ConnectionError", "try 1", {}]
        (done,) = [e for e in history if isinstance(e, Done)]
        assert (done.ok, done.value, done.attempts) == (True, "done", 4)
        pauses = [b - a for a, b in pairwise(times)]
        wanted = (0.019, 0.039, 0.079)  # A group's clock counts whole milliseconds.
        assert all(pause >= want for pause, want in zip(pauses, wanted, strict=True))


@run
async def test_a_last_failure_arrives_as_workflow_failed_with_its_attempts() -> None:
    """When no attempt is left the workflow sees the failure's name, message and count."""

    class Declined(Exception):
        reason: str

        def __init__(self, reason: str) -> None:
            super().__init__(f"no: {reason}")
            self.reason = reason
            self.secret = "s"

    @activity("pay")
    def pay() -> None:
        raise Declined("funds")

    @workflow("w", version=1)
    def w() -> Flow[list[object]]:
        try:
            yield from Compute("pay", pay).retry(3, first="1ms")
        except WorkflowFailed as error:
            return [error.name, error.message, error.details, error.attempts]
        return []

    async with cluster(registry(w)) as made:
        made.start("r", w)
        await made.ended("r")
        assert end(made, "r").value == ["Declined", "no: funds", {"reason": "funds"}, 3]


@run
async def test_only_and_never_decide_what_is_repeated() -> None:
    """``only`` and ``never`` name the failures that are tried again, and those that are not."""
    counts: Counter[str] = Counter()

    @activity("fail")
    async def fail(label: str, kind: str) -> None:
        counts[label] += 1
        raise WorkflowFailed(kind, "x")

    @workflow("w", version=1)
    def w() -> Flow[None]:
        for label, kind in (("a", "Busy"), ("b", "Gone"), ("c", "Gone"), ("d", "Busy")):
            step = Compute(label, fail, label, kind)
            step = (
                step.retry(3, first="1ms", only=("Busy",))
                if label in "ab"
                else step.retry(3, first="1ms", never=("Gone",))
            )
            with suppress(WorkflowFailed):
                yield from step

    async with cluster(registry(w)) as made:
        made.start("r", w)
        await made.ended("r")
        assert counts == {"a": 3, "b": 1, "c": 1, "d": 3}


@run
async def test_an_attempt_that_takes_too_long_fails_with_timeout() -> None:
    """A limit counts for each attempt, of threads and coroutines alike; the failure is ``Timeout``."""
    stop = threading.Event()
    cancelled: list[bool] = []

    @activity("hang")
    async def hang() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    @activity("block")
    def block() -> None:
        stop.wait(30)

    @workflow("w", version=1)
    def w() -> Flow[list[object]]:
        seen: list[object] = []
        for step in (
            Compute("hang", hang).timeout("20ms").retry(2, first="1ms"),
            Compute("block", block).timeout("20ms"),
        ):
            try:
                yield from step
            except WorkflowFailed as error:
                seen.append([error.name, error.attempts])
        return seen

    async with cluster(registry(w)) as made:
        made.start("r", w)
        await made.ended("r")
        assert end(made, "r").value == [["Timeout", 2], ["Timeout", 1]]
        assert cancelled == [True, True]
        stop.set()


@run
async def test_results_that_cannot_be_stored_are_bad_results() -> None:
    """A set, a float that nobody declared, a wrong type, a lone surrogate: each is ``BadResult``."""
    loop: list[object] = []
    loop.append(loop)
    bad: list[object] = [{1, 2}, 1.5, {"a": 2**80}, "\ud800", object(), loop, [0] * 200_000]

    @activity("bad")
    def give(place: int):  # type: ignore[no-untyped-def]
        return bad[place]

    @activity("wrong")
    def wrong() -> int:
        return "no number"  # type: ignore[return-value]

    @workflow("w", version=1)
    def w() -> Flow[list[str]]:
        seen = []
        steps = [Compute(f"bad-{n}", give, n) for n in range(len(bad))]
        for step in [*steps, Compute("wrong", wrong)]:
            try:
                yield from step
            except WorkflowFailed as error:
                seen.append(error.name)
        return seen

    async with cluster(registry(w)) as made:
        made.start("r", w)
        await made.ended("r")
        assert end(made, "r").value == ["BadResult"] * (len(bad) + 1)


@run
async def test_whatever_an_activity_raises_is_a_failure_of_that_name() -> None:
    """`StopIteration`, `sys.exit` and a cancelled wait end one step, never the node or its loop."""

    @activity("stop")
    def stop() -> int:
        return next(iter(()))

    @activity("exit")
    def leave() -> None:
        sys.exit(3)

    @activity("exit.async")
    async def leave_async() -> None:
        sys.exit(3)

    @activity("cancelled")
    async def cancelled() -> None:
        raise asyncio.CancelledError

    @activity("cancelled.run")
    async def cancelled_run() -> None:
        raise Cancelled("no Exception is a base of this")

    @activity("unreadable")
    def unreadable() -> None:
        class Unreadable(Exception):
            def __str__(self) -> str:
                raise ValueError("no")

        raise Unreadable

    every: list[Any] = [stop, leave, leave_async, cancelled, cancelled_run, unreadable]

    @workflow("w", version=1)
    def w() -> Flow[list[str]]:
        seen = []
        for step in every:
            try:
                yield from Compute(step.name, step)
            except WorkflowFailed as error:
                seen.append(error.name)
        return seen

    async with cluster(registry(w)) as made:
        made.start("r", w)
        await made.ended("r")
        assert end(made, "r").value == [
            "StopIteration",
            "SystemExit",
            "SystemExit",
            "CancelledError",
            "Cancelled",
            "Unreadable",
        ]


@run
async def test_an_activity_cannot_change_the_workflows_variables() -> None:
    """An activity gets copies: what it does to its arguments is not seen by the workflow."""

    @activity("drain")
    def drain(items: list[int]) -> int:
        items.clear()
        return 0

    @workflow("w", version=1)
    def w() -> Flow[list[int]]:
        items = [1, 2, 3]
        yield from Compute("drain", drain, items)
        return items

    async with cluster(registry(w)) as made:
        made.start("r", w)
        await made.ended("r")
        assert end(made, "r").value == [1, 2, 3]


@run
async def test_a_plain_function_around_a_coroutine_function_is_awaited() -> None:
    """What a decorator makes of an async activity is awaited on the application's loop."""

    @wraps(triple.function)
    def around(number: int) -> Awaitable[int]:
        return triple.function(number)

    @workflow("w", version=1)
    def w() -> Flow[int]:
        return (yield from Compute("x", around, 5))

    async with cluster(registry(w)) as made:
        made.start("r", w)
        await made.ended("r")
        assert end(made, "r") == Ended("completed", 15)


@run
async def test_no_attempt_begins_while_the_leader_is_not_heard() -> None:
    """A cut-off owner starts no activity (semantics 3.5), and begins once it hears the leader."""
    calls: list[int] = []

    @activity("note")
    async def note() -> int:
        calls.append(1)
        return 1

    @workflow("w", version=1)
    def w() -> Flow[int]:
        return (yield from Compute("note", note))

    async with cluster(registry(w)) as made:
        made.members[0].port.is_connected = False
        made.start("r", w)
        await made.until(lambda: RunId("r") in made.members[0].executor.live)
        await asyncio.sleep(0.12)
        assert calls == []
        made.members[0].port.is_connected = True
        await made.ended("r")
        assert calls == [1]


@run
async def test_a_returning_owner_waits_until_the_group_knows_of_its_start() -> None:
    """What a node stored before it was stopped makes it run nothing: others may have ended it."""
    calls: list[int] = []

    @activity("note")
    async def note() -> int:
        calls.append(1)
        await asyncio.sleep(0.02)
        return 1

    @workflow("w", version=1)
    def w() -> Flow[int]:
        yield from Receive("go", str)
        return (yield from Compute("note", note))

    ours = registry(w)
    async with cluster(ours, ours) as made:
        made.start("r", w)
        made.signal("r", "go", "1", "x")
        await made.until(lambda: len(calls) == 1)
        lost = made.owner("r")
        made.lose(lost)
        await made.until(lambda: not made.find("r").live)
        count = len(calls)
        lost.restart(made)
        assert lost.executor.live[RunId("r")].run.owner == lost.node, "so it is stored"
        lost.executor.tick()
        await asyncio.sleep(0.1)
        made.publish(lost)
        lost.apply(made.log[lost.applied :])
        await asyncio.sleep(0.1)
        assert len(calls) == count
        assert not lost.executor.live


@run
async def test_runs_go_on_once_the_start_of_their_owner_is_applied() -> None:
    """A node that nobody replaced goes on with its runs as soon as its start is in the log."""

    @workflow("w", version=1)
    def w() -> Flow[int]:
        yield from Receive("go", str)
        return (yield from Compute("double", double, 4))

    ours = registry(w)
    async with cluster(ours) as made:
        made.start("r", w)
        await made.until(lambda: RunId("r") in made.members[0].executor.live)
        made.members[0].restart(made)
        made.signal("r", "go", "1", "x")
        await asyncio.sleep(0.1)
        assert made.find("r").length == 1, "it proposes nothing"
        made.publish(made.members[0])
        await made.ended("r")
        assert end(made, "r") == Ended("completed", 8)


@run
async def test_no_attempt_begins_for_a_run_that_was_given_away_meanwhile() -> None:
    """A run is looked at once all that was applied is told: what it was in between starts nothing."""
    calls: list[int] = []

    @activity("note")
    async def note() -> int:
        calls.append(current().epoch)
        return 1

    @workflow("w", version=1)
    def w() -> Flow[int]:
        return (yield from Compute("note", note))

    ours = registry(w)
    async with cluster(ours) as made:
        only = made.members[0]
        only.alive = False  # Only what this test applies reaches it.
        await asyncio.sleep(0.01)
        only.apply(made.log[only.applied :])
        made.start("r", w)
        for _ in range(2):
            made.commit(HandOver(RunId("r"), made.find("r").epoch, "", only.node).encode())
        only.apply(made.log[only.applied :])
        await made.until(lambda: calls != [])
        assert calls == [made.find("r").epoch]


@run
async def test_an_attempt_is_cancelled_when_its_run_is_loaded_anew_or_given_away() -> None:
    """A node never has two attempts of one step under way; a cancelled one settles nothing."""
    under_way: list[int] = []
    most: list[int] = []
    gate = asyncio.Event()

    @activity("slow")
    async def slow() -> int:
        under_way.append(current().epoch)
        most.append(len(under_way))
        try:
            await gate.wait()
        finally:
            under_way.pop()
        return len(most)

    @workflow("w", version=1)
    def w() -> Flow[int]:
        return (yield from Compute("slow", slow))

    ours = registry(w)
    async with cluster(ours) as made:
        made.start("r", w)
        await made.until(lambda: len(most) == 1)
        made.members[0].executor.load()
        await made.until(lambda: len(most) == 2)
        command = HandOver(RunId("r"), made.find("r").epoch, "", NodeId(1)).encode()
        made.commit(command)
        await made.until(lambda: len(most) == 3)
        gate.set()
        await made.ended("r")
        assert end(made, "r") == Ended("completed", 3)
        assert most == [1, 1, 1]


# ------------------------------------------------------------------ runs that cannot go on
@run
async def test_a_diverging_replica_stops_and_hands_over() -> None:
    """An owner whose code differs settles nothing more and gives the run to one that can follow."""

    def version_of(argument: int) -> Any:
        @workflow("w", version=1)
        def w() -> Flow[int]:
            one = yield from Compute("one", double, argument)
            yield from Receive("go", str)
            two = yield from Compute("two", double, 10)
            return one + two

        return w

    ours, other = registry(version_of(1)), registry(version_of(2))
    async with cluster(ours, ours, other) as made:
        made.start("r", "w")
        if made.find("r").owner == 3:
            made.commit(HandOver(RunId("r"), made.find("r").epoch, "", NodeId(1)).encode())
        await made.until(lambda: made.find("r").length == 2 and made.find("r").owner in (1, 2))
        made.commit(HandOver(RunId("r"), made.find("r").epoch, "", NodeId(3)).encode())
        await made.until(lambda: made.find("r").owner not in (0, 3))
        assert made.find("r").refused == (3,)
        assert "history has Done one = double(1)" in made.find("r").reason
        assert "the code yields compute one = double(2)" in made.find("r").reason
        assert "other arguments" in made.find("r").reason
        assert "`raftoral history r --export run.rhx`" in made.find("r").reason
        made.signal("r", "go", "1", "x")
        await made.until(lambda: not made.find("r").live)
        assert end(made, "r") == Ended("completed", 22)


@run
async def test_a_run_that_nobody_can_own_is_parked_and_goes_on_when_one_can() -> None:
    """Without its code anywhere a run parks with the reason; a member that has it takes it."""
    async with cluster(registry(), registry(), registry()) as made:
        made.start("r", steps, number=1)
        await made.until(lambda: made.find("r").status == runs.PARKED)
        assert "not registered here" in made.find("r").reason
        assert made.find("r").refused == (1, 2, 3) or set(made.find("r").refused) == {1, 2, 3}
        made.members[1].registry.add_workflow(steps)
        made.members[1].executor.load()
        made.commit(runs_publish(2))
        await made.until(lambda: not made.find("r").live)
        assert end(made, "r") == Ended("completed", 31)


def runs_publish(node: int) -> bytes:
    """Return the command of a member that was started again."""
    return Publish(NodeId(node), "again").encode()


@run
async def test_an_endless_step_is_stopped_and_parked_while_others_go_on() -> None:
    """A `while True` in one workflow parks that run with its line; other runs end as ever."""
    watchdog = ByHand()
    forever = watchdog.forever

    @workflow("endless", version=1)
    def endless() -> Flow[None]:
        yield from Checkpoint("x", 1)
        forever.append(True)
        while True:
            pass

    ours = registry(steps, endless)
    async with cluster(ours, ours, ours, watchdog=watchdog) as made:
        made.start("e", endless)
        for number in range(3):
            made.start(f"s{number}", steps, number=number)
        await made.until(lambda: made.find("e").status == runs.PARKED)
        await made.ended("s0", "s1", "s2")
        assert "computes for more than 0.1 s" in made.find("e").reason
        assert "test_executor.py:" in made.find("e").reason
        assert made.find("e").live, "it is parked, never settled as failed"


@run
async def test_an_endless_finally_block_does_not_stop_the_node() -> None:
    """A `finally` block that never ends is stopped too, when its generator is dropped."""
    watchdog = ByHand()
    forever = watchdog.forever

    @workflow("w", version=1)
    def w() -> Flow[None]:
        try:
            yield from Receive("never")
        finally:
            forever.append(True)
            while True:
                pass

    ours = registry(w)
    async with cluster(ours, watchdog=watchdog) as made:
        made.start("r", w)
        await made.until(lambda: RunId("r") in made.members[0].executor.live)
        made.members[0].executor.load()
        assert RunId("r") in made.members[0].executor.live


@run
async def test_a_step_at_a_time_is_limited_and_not_a_whole_history() -> None:
    """A long history is replayed at leisure: the limit is for the code between two events."""
    watchdog = ByHand()
    look = watchdog.look

    @workflow("w", version=1)
    def w() -> Flow[int]:
        for turn in range(40):
            yield from Checkpoint(f"c{turn}", turn)
            yield from Compute(f"x{turn}", double, turn)
            for _ in range(CHECKS_PER_LIMIT // 2):
                look()
        yield from Receive("end", str)
        return 1

    ours = registry(w)
    async with cluster(ours, watchdog=watchdog) as made:
        made.start("r", w)
        await made.until(lambda: made.find("r").length == 81)
        await made.until(lambda: made.members[0].executor.live[RunId("r")].replay is not None)
        made.members[0].executor.load()
        live = made.members[0].executor.live[RunId("r")]
        assert live.stuck == ""
        made.signal("r", "end", "1", "x")
        await made.ended("r")


@run
async def test_a_workflow_that_exits_fails_alone() -> None:
    """A workflow that exits ends its run as failed, not the node."""

    @workflow("w", version=1)
    def w() -> Flow[None]:
        yield from Checkpoint("x", 1)
        raise SystemExit(2)

    ours = registry(w, steps)
    async with cluster(ours, ours) as made:
        made.start("r", w)
        made.start("s", steps, number=0)
        await made.ended("r", "s")
        assert end(made, "r") == Ended("failed", ["SystemExit", "2", {}])


@run
async def test_whatever_a_workflow_raises_stops_that_run_alone() -> None:
    """`KeyboardInterrupt` and its like make a run stuck, in a `finally` block too; no node stops."""
    kinds: list[type[BaseException]] = [KeyboardInterrupt, asyncio.CancelledError]

    @workflow("w", version=1)
    def w(kind: int) -> Flow[None]:
        try:
            yield from Checkpoint("x", 1)
            yield from Receive("go", str)
            raise kinds[kind]("enough")
        finally:
            raise kinds[kind]("enough of that too")

    ours = registry(w, steps)
    async with cluster(ours, ours) as made:
        made.start("r0", w, kind=0)
        made.start("r1", w, kind=1)
        await made.until(lambda: made.find("r0").length == made.find("r1").length == 2)
        for member in made.members:
            member.executor.load()
        made.signal("r0", "go", "1", "x")
        made.signal("r1", "go", "1", "x")
        await made.until(lambda: all(made.find(r).status == runs.PARKED for r in ("r0", "r1")))
        assert "KeyboardInterrupt: enough of that too" in made.find("r0").reason
        assert "CancelledError: enough of that too" in made.find("r1").reason
        made.start("s", steps, number=0)
        await made.ended("s")
        made.check_same()


@run
async def test_input_that_does_not_fit_the_code_fails_the_run() -> None:
    """An input with another name fails the run on every node alike; no node stops."""
    ours = registry(steps)
    async with cluster(ours, ours) as made:
        made.start("r", steps, wrong=1)
        await made.ended("r")
        assert end(made, "r").status == "failed"
        made.check_same()


@run
async def test_a_history_that_grows_too_long_ends_the_run() -> None:
    """A run that passes the bound of events ends as failed with ``LimitExceeded``, in few entries."""

    @workflow("w", version=1)
    def w() -> Flow[None]:
        cell = yield from Checkpoint("x", 0)
        while True:
            yield from cell.set(cell.get() + 1)

    ours = registry(w)
    async with cluster(ours, ours) as made:
        made.start("r", w)
        await made.ended("r")
        assert end(made, "r").status == "failed"
        assert end(made, "r").value[0] == "LimitExceeded"  # type: ignore[index]
        assert made.find("r").length == 20_000
        assert made.find("r").status == runs.FAILED


@run
async def test_large_checkpoints_are_settled_in_entries_that_fit() -> None:
    """What the code runs ahead by is cut into entries that the log takes."""

    @workflow("w", version=1)
    def w() -> Flow[int]:
        for number in range(9):
            yield from Checkpoint(f"c{number}", b"x" * (190 * 1024))
        return 1

    ours = registry(w)
    async with cluster(ours, ours) as made:
        made.start("r", w)
        await made.ended("r")
        assert end(made, "r") == Ended("completed", 1)
        assert max(len(command) for _, _, command in made.log) <= 512 * 1024


@run
async def test_a_damaged_definition_parks_its_runs_only() -> None:
    """A definition that cannot be loaded parks its runs with the reason; the node goes on."""
    ours = registry(steps)
    async with cluster(ours, ours) as made:
        damaged = Definition("broken", 1, "rwf", "m", "", "", b"no program")
        for member in made.members:
            member.port.damaged["broken"] = damaged
            member.executor._loader = PerKind(member.executor._loader)
        made.start("b", "broken")
        made.start("s", steps, number=1)
        await made.ended("s")
        await made.until(lambda: made.find("b").status == runs.PARKED)
        assert made.find("b").reason


class PerKind(Loader):
    """The real loader for `.rwf`, another one for Python."""

    def __init__(self, other: Loader) -> None:
        super().__init__(registry())
        self.other = other

    def start(self, definition: Definition) -> Begin:
        """Start by kind."""
        if definition.kind == "rwf":
            return super().start(definition)
        return self.other.start(definition)

    def missing(self, definition: Definition) -> str:
        """Look by kind."""
        if definition.kind == "rwf":
            return super().missing(definition)
        return self.other.missing(definition)


# ------------------------------------------------------------------ many runs
@workflow("patient", version=1)
def patient(number: int) -> Flow[list[object]]:
    """Sleep for a while, then wait for a signal."""
    yield from Sleep(f"{50 + number % 7 * 20}ms")
    said = yield from Receive("say", str)
    return [number, said]


@run
async def test_runs_that_wait_need_no_generator() -> None:
    """Beyond the bound resting generators are dropped; timers and signals reach their runs."""
    ours = registry(patient)
    async with cluster(ours, ours, generators_max=5) as made:
        ids = [f"r{number}" for number in range(40)]
        for number, run_id in enumerate(ids):
            made.start(run_id, patient, number=number)
        await made.until(lambda: all(made.find(each).length == 3 for each in ids))
        for member in made.members:
            await made.until(lambda each=member: len(each.executor.live) <= 5)  # type: ignore[misc]
            assert member.executor.owners() == Counter(made.find(each).owner for each in ids)
        owner = made.owner("r0").executor
        asleep = next(each for each in owner.asleep if made.find(each).owner == owner._node)
        assert owner.waiting_for(asleep) == "signal say (say#0)"
        for run_id in ids:
            made.signal(run_id, "say", "1", "hello")
        await made.ended(*ids)
        for number, run_id in enumerate(ids):
            check_history(made, run_id)
            assert end(made, run_id) == Ended("completed", [number, "hello"])


@run
async def test_an_heir_wakes_the_runs_that_it_takes_over() -> None:
    """Runs without a generator go on elsewhere, when their owner is lost, with their timers."""
    ours = registry(patient)
    async with cluster(ours, ours, ours, generators_max=3) as made:
        ids = [f"r{number}" for number in range(20)]
        for number, run_id in enumerate(ids):
            made.start(run_id, patient, number=number)
            made.signal(run_id, "say", "1", "hello")
        await made.until(lambda: all(made.find(each).length >= 2 for each in ids))
        made.lose(made.owner("r0"))
        await made.ended(*ids)
        for number, run_id in enumerate(ids):
            check_history(made, run_id)
            assert end(made, run_id) == Ended("completed", [number, "hello"])
        made.check_same()


@run
async def test_many_runs_are_replayed_in_slices() -> None:
    """After a start one turn of the loop replays for a slice only; own runs come first."""
    ours = registry(patient)
    async with cluster(ours, ours) as made:
        ids = [f"r{number}" for number in range(60)]
        for number, run_id in enumerate(ids):
            made.start(run_id, patient, number=number)
        mine = made.members[0]
        await made.until(lambda: len(mine.executor.live) == len(ids))
        await made.until(lambda: all(made.find(each).length == 3 for each in ids))
        # What happens is looked at in turn with what a restart brought: let it be over before.
        await made.until(lambda: mine.applied == len(made.log))
        own = {each for each in ids if made.find(each).owner == mine.node}
        with patch("raftoral.runtime.executor.SLICE_S", -1):
            mine.executor.load()
            assert 1 <= len(mine.executor.live) <= 2
            await made.until(lambda: len(mine.executor.live) >= len(own))
            assert set(list(mine.executor.live)[: len(own)]) == own
            await made.until(lambda: len(mine.executor.live) == len(ids))
        for run_id in ids:
            made.signal(run_id, "say", "1", "hello")
        await made.ended(*ids)


@run
async def test_what_happens_does_not_wait_for_all_that_a_restart_brought() -> None:
    """While many runs are replayed, those that something happens to go in turn with them."""
    ours = registry(patient)
    async with cluster(ours) as made:
        ids = [f"r{number:02}" for number in range(60)]
        for number, run_id in enumerate(ids):
            made.start(run_id, patient, number=number)
        member, mine = made.members[0], made.members[0].executor
        await made.until(lambda: all(made.find(each).length == 3 for each in ids))
        await made.until(lambda: member.applied == len(made.log))
        with patch("raftoral.runtime.executor.SLICE_S", -1), replays() as replayed:
            mine.load()
            mine.applied([Signalled(RunId("r59"), "say"), Signalled(RunId("r58"), "say")])
            await made.until(lambda: not mine.asleep)
        assert {"r58", "r59"} <= set(replayed[:6])
        for run_id in ids:
            made.signal(run_id, "say", "1", "hello")
        await made.ended(*ids)


@run
async def test_no_run_is_replayed_twice_because_its_start_is_not_known_yet() -> None:
    """Runs beyond the bound are replayed once the group knows of the node's start, not before."""
    ours = registry(patient)
    async with cluster(ours, generators_max=5) as made:
        ids = [f"r{number}" for number in range(20)]
        for number, run_id in enumerate(ids):
            made.start(run_id, patient, number=number)
        await made.until(lambda: all(made.find(each).length == 3 for each in ids))
        mine = made.members[0]
        with replays() as replayed:
            mine.restart(made)
            await asyncio.sleep(0.05)
            assert len(replayed) == 5
            made.commit(Publish(mine.node, mine.port.incarnation).encode())
            await made.until(lambda: len(set(replayed)) == 20)
        assert len(replayed) <= 20


# ------------------------------------------------------------------ small things
@contextmanager
def replays() -> Iterator[list[str]]:
    """Collect the ids of the runs whose replay is built meanwhile."""
    ids: list[str] = []
    begin = Replay.__init__

    def count(self: Replay, run_id: RunId, *args: Any, **more: Any) -> None:
        ids.append(run_id)
        begin(self, run_id, *args, **more)

    with patch.object(Replay, "__init__", count):
        yield ids


@contextmanager
def logged() -> Iterator[list[str]]:
    """Collect what executors log meanwhile."""
    lines: list[str] = []

    class Catch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger = logging.getLogger("raftoral.executor")
    handler, level = Catch(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@run
async def test_events_of_one_batch_are_fed_once() -> None:
    """A node that applied more than it was told yet feeds each event once all the same."""
    ours = registry(steps)
    with logged() as lines:
        async with cluster(ours, ours, ours) as made:
            late = made.members[0]
            pending: list[Any] = []
            real = late.apply
            late.apply = pending.extend  # type: ignore[method-assign,assignment]
            made.start("r", steps, number=1)
            if made.find("r").owner == late.node:
                made.commit(HandOver(RunId("r"), made.find("r").epoch, "", NodeId(2)).encode())
            await made.until(lambda: not made.find("r").live)
            await made.until(lambda: late.inbox.empty())
            await asyncio.sleep(0.01)
            real(pending)
            assert RunId("r") not in late.executor.live
            assert late.port.state.items() == made.leader.items()
    assert not [line for line in lines if "stops on this node" in line]


@run
async def test_a_log_line_is_written_once() -> None:
    """A logged line is written by the owner when it is settled, and not again on a replay."""

    @workflow("w", version=1)
    def w() -> Flow[None]:
        yield from Log("hello")
        yield from Receive("end", str)

    ours = registry(w)
    with logged() as lines:
        async with cluster(ours, ours) as made:
            made.start("r", w)
            await made.until(lambda: made.find("r").length == 2)
            await made.until(lambda: any("hello" in line for line in lines))
            for member in made.members:
                member.executor.load()
            made.signal("r", "end", "1", "x")
            await made.ended("r")
    assert [line for line in lines if "hello" in line] == ["run r: hello"]


@run
async def test_a_definition_that_is_behind_is_waited_for() -> None:
    """A node that does not know a definition yet waits in `tick` and then runs it."""
    ours = registry(steps)
    async with cluster(ours) as made:
        made.unknown_here.add("steps")
        made.start("r", steps, number=2)
        await made.until(lambda: RunId("r") in made.members[0].executor.live)
        made.members[0].executor.tick()
        assert made.members[0].executor.live[RunId("r")].replay is None
        made.unknown_here.clear()
        made.members[0].executor.tick()
        await made.ended("r")
        assert end(made, "r") == Ended("completed", 32)


@run
async def test_resting_runs_go_home_but_not_to_a_member_that_refused_them() -> None:
    """A run returns to the member it belongs to by hash, unless that one could not go on with it."""

    @workflow("w", version=1)
    def w() -> Flow[None]:
        yield from Receive("end", str)

    ours = registry(w)
    async with cluster(ours, registry(), ours) as made:
        ids = [f"r{n}" for n in range(12)]
        for run_id in ids:
            made.start(run_id, w)
        await made.until(lambda: all(made.find(r).owner in (1, 3) for r in ids))
        refused = [r for r in ids if made.find(r).refused]
        assert refused, "some belonged to the member without the code"
        for member in made.members:
            member.executor._homes.up_since = {NodeId(n): -100.0 for n in (1, 2, 3)}
        before = len(made.log)
        for _ in range(5):
            for member in made.members:
                member.executor.tick()
            await asyncio.sleep(0.01)
        assert len(made.log) == before, "no run was sent where it cannot go on"
        away = next(r for r in ids if not made.find(r).refused)
        home = made.find(away).owner
        made.commit(HandOver(RunId(away), made.find(away).epoch, "", NodeId(4 - home)).encode())
        await made.until(lambda: all(m.inbox.empty() for m in made.members))
        await asyncio.sleep(0.01)
        made.owner(away).executor.tick()
        await made.until(lambda: made.find(away).owner == home)


@run
async def test_a_member_that_is_to_leave_hands_over_what_rests_and_begins_nothing() -> None:
    """Its resting runs go to the others; an attempt under way ends, is settled, and is the last."""
    calls: list[tuple[int, int]] = []
    gate = asyncio.Event()

    @activity("step")
    async def step(number: int) -> int:
        calls.append((number, current().epoch))
        if number == 0:
            await gate.wait()
        return number

    @workflow("busy", version=1)
    def busy() -> Flow[int]:
        first = yield from Compute("first", step, 0)
        second = yield from Compute("second", step, 1)
        return first + second

    @workflow("rests", version=1)
    def rests() -> Flow[None]:
        yield from Receive("end", str)

    ours = registry(busy, rests)
    async with cluster(ours, ours, ours) as made:
        made.start("b", busy)
        await made.until(lambda: len(calls) == 1)
        leaver = made.owner("b")
        ids = [f"r{n}" for n in range(12)]
        for run_id in ids:
            made.start(run_id, rests)
        assert any(made.find(each).owner == leaver.node for each in ids)
        others = [each.node for each in made.members if each is not leaver]
        made.commit(TakeOver(leaver.node, others, 0).encode())
        await made.until(lambda: all(each.inbox.empty() for each in made.members))
        leaver.executor.tick()
        await made.until(lambda: all(made.find(each).owner != leaver.node for each in ids))
        assert made.find("b").owner == leaver.node, "its attempt is under way"
        epoch = made.find("b").epoch
        gate.set()
        await made.until(lambda: made.find("b").length == 2)
        await asyncio.sleep(0.05)
        assert calls == [(0, epoch)], "it begins nothing"
        leaver.executor.tick()
        await made.ended("b")
        assert made.find("b").owner != leaver.node
        assert [number for number, _ in calls] == [0, 1], "no attempt was thrown away"


@run
async def test_a_member_that_was_down_for_a_moment_goes_on_with_what_it_owns() -> None:
    """Marked as down and then up again, it begins what it did not begin meanwhile."""

    @workflow("w", version=1)
    def w() -> Flow[int]:
        yield from Receive("go", str)
        return (yield from Compute("double", double, 4))

    async with cluster(registry(w)) as made:
        made.start("r", w)
        made.commit(TakeOver(NodeId(1), [], 0).encode())
        made.signal("r", "go", "1", "x")
        await made.until(lambda: all(each.inbox.empty() for each in made.members))
        made.members[0].executor.tick()
        await asyncio.sleep(0.05)
        assert made.find("r").live
        made.publish(made.members[0])
        await made.until(lambda: all(each.inbox.empty() for each in made.members))
        made.members[0].executor.tick()
        await made.ended("r")
        assert end(made, "r") == Ended("completed", 8)


@run
async def test_homes_are_looked_up_only_when_members_or_owners_changed() -> None:
    """Runs that rest at home cost nothing; a change has each of them looked at, 200 a tick."""

    @workflow("w", version=1)
    def w() -> Flow[None]:
        yield from Receive("end", str)

    looked: list[str] = []

    def counted(run_id: RunId, nodes: Any) -> NodeId:
        looked.append(run_id)
        return home_of(run_id, nodes)

    ours = registry(w)
    async with cluster(ours, ours) as made:
        for number in range(900):
            made.start(f"r{number}", w)
        mine = made.members[0]
        await made.until(lambda: len(mine.executor.live) == 900)
        mine.executor._homes.up_since = {NodeId(n): -100.0 for n in (1, 2)}
        with patch("raftoral.runtime.homes.home_of", counted):
            for _ in range(20):
                before = len(looked)
                mine.executor.tick()
                assert len(looked) - before <= 200
            count = len(looked)
            assert sorted(looked) == sorted(
                run_id for run_id, live in mine.executor.live.items() if live.run.owner == 1
            )
            for _ in range(20):
                mine.executor.tick()
            assert len(looked) == count
            away = next(r for r, live in mine.executor.live.items() if live.run.owner == 2)
            made.commit(HandOver(away, made.find(away).epoch, "", NodeId(1)).encode())
            await made.until(lambda: mine.executor.live[away].run.owner == 1)
            for _ in range(5):
                mine.executor.tick()
            await made.until(lambda: made.find(away).owner == 2)
            await made.until(lambda: all(m.inbox.empty() for m in made.members))


@run
async def test_who_does_not_own_a_run_settles_nothing_for_it() -> None:
    """A run of another owner, a parked one and one that is being handed over: nothing is proposed."""

    @workflow("w", version=1)
    def w() -> Flow[None]:
        yield from Receive("end", str)

    ours = registry(w)
    async with cluster(ours, ours) as made:
        made.start("r", w)
        owner = made.owner("r")
        await made.until(lambda: RunId("r") in owner.executor.live)
        live = owner.executor.live[RunId("r")]
        mine = live.run
        live.answer("x", encode(Logged("x", "what this node would settle")))
        for other, leaving in (
            (mine._replace(owner=NodeId(3 - owner.node)), False),
            (mine._replace(owner=NodeId(0), status=runs.PARKED), False),
            (mine, True),
        ):
            live.run, live.leaving = other, leaving
            live.look()
            owner.executor._look_at(RunId("r"))
            owner.executor._owner.flush()
            assert live.flight == []
        live.run, live.leaving = mine, False
        live.answers.clear()
        live.give_up()


def live_run() -> Live:
    """Return a live run whose replay stands at the start."""
    live = Live(runs.find(*started_run()))  # type: ignore[arg-type]
    live.replay = Replay(RunId("r"), lambda _: None)  # type: ignore[arg-type,return-value]
    return live


def test_an_overtaken_refusal_changes_nothing() -> None:
    """A refused settlement is worked out again unless its events came through by another one."""
    live = live_run()
    assert live.replay is not None
    live.answer("x", encode(Logged("x", "text")))
    settle = live.next_settle()
    assert settle is not None
    assert live.next_settle() is None, "it is in flight"
    live.replay._ahead.position = Position(1)
    assert live.overtaken(settle)
    live.replay._ahead.position = Position(0)
    assert not live.overtaken(settle)
    assert live.overtaken(replace(settle, epoch=Epoch(settle.epoch - 1)))
    live.give_up()
    assert live.next_settle() == settle


def test_what_is_in_flight_is_settled_anew_behind_an_event_of_somebody_else() -> None:
    """Another event at the place of ours has all of it settled again, behind that event."""
    live = live_run()
    assert live.replay is not None
    first, second, other = (encode(Logged(path, "text")) for path in "abc")
    live.replay._ahead.put(live.replay.root, first, lambda: "")
    live.answer("b", second)
    settle = live.next_settle()
    assert settle is not None
    assert (settle.base, settle.events) == (0, [first, second])
    live.replay._ahead.position = Position(1)
    before = live.round
    live.committed([other])
    assert live.round == before + 1, "so the refusal of the first is not heard"
    again = live.next_settle()
    assert again is not None
    assert (again.base, again.events) == (1, [first, second])
    live.replay._ahead.clear()
    live.replay._ahead.position = Position(3)
    live.committed([first, second])
    assert (live.flight, live.flown, live.answers, live.next_settle()) == ([], 0, {}, None)


def started_run() -> tuple[MemoryKeyValue, RunId]:
    """Return a state with one run in it."""
    state = MemoryKeyValue()
    for index, command in enumerate(
        (
            OwnSlots(b"\xff" * 128),
            StartRun(RunId("r"), "w", Version(1), "m", pack({}), Index(0)),
        )
    ):
        Execution().apply(Index(index), Millis(1), command.encode(), state)
    return state, RunId("r")


def test_the_pause_grows_to_its_bound_and_spreads_by_jitter() -> None:
    """A pause is first, times the factor a turn, at most the longest, spread by the jitter."""
    from raftoral.replay.effects import RetryPolicy
    from raftoral.values import millis_of, span_of

    policy = RetryPolicy(attempts=9, first=span_of(100), longest=span_of(1_000))
    pauses = [millis_of(policy.pause_after(n)) for n in range(1, 7)]
    assert pauses == [100, 200, 400, 800, 1000, 1000]
    assert millis_of(policy.pause_after(1, -50)) == 50
    assert millis_of(policy.pause_after(1, 50)) == 150
    assert Millis(0) <= millis_of(policy.pause_after(10**6))
