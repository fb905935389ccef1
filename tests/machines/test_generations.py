"""Restart, retry and fork: what a run keeps when it begins anew, and that the code can follow."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from raftoral import Call, Checkpoint, Compute, Flow, Receive, Start, WorkflowFailed, workflow
from raftoral.codec import pack
from raftoral.ids import Epoch, Index, Millis, Position, RunId, Version
from raftoral.machines import commands, cutting, generations, mail, runs
from raftoral.registry.python import start_python
from raftoral.replay import history
from raftoral.replay.history import (
    Asked,
    CancelAsked,
    ChildAsked,
    ChildDone,
    Done,
    Ended,
    Restarted,
    Retry,
    Set,
    Started,
    Taken,
    TimerFired,
    TimerSet,
    Updated,
)
from raftoral.replay.interpreter import Replay
from raftoral.replay.packing import call_bytes
from tests.machines.group import FAILED, Group, R, command_of

OK = Done("a", b"call", True, 1, 1)
BROKEN = Done("b", b"call", False, FAILED, 3)
FAILING = Ended("failed", FAILED)


def retry(group: Group, generation: int | None = None) -> Any:
    """Retry the run."""
    now = group.run().generation if generation is None else generation
    return group.apply(commands.RetryRun(R, now))


def failed(*events: history.Event) -> Group:
    """Return a group with a run that settled these events."""
    group = Group()
    group.start()
    for event in events:
        assert group.settle(event)[0] == "ok"
    return group


# ------------------------------------------------------------------ restart
def test_a_restart_is_a_new_generation() -> None:
    """Another history of the same run: it begins with the new input and a new epoch (7.1)."""
    group = failed(Set("a", 1), TimerSet("t", Millis(5_000)))
    before = group.run()
    group.now = 2_000
    assert group.settle(Set("a", 2), Restarted({"x": 7})) == ["ok", 1]
    assert group.told() == ["Settled", "Regenerated"]
    run = group.run()
    assert (run.generation, run.length, run.epoch) == (1, 1, Epoch(group.index))
    assert (run.owner, run.started_at, run.status) == (before.owner, 1_000, runs.RUNNING)
    assert group.history() == [Started("w", 1, "m", {"x": 7}, Millis(2_000), "", 1)]
    group.now = 6_000
    assert group.settle(TimerFired("t"))[:2] == ["refused", "stale"], "its timer is gone"
    assert group.start()[:2] == ["ok", "joined"], "whoever started it may ask again"


def test_a_restart_under_a_pause_stays_paused() -> None:
    """The pause holds, and the new history says so."""
    group = failed()
    group.apply(commands.Pause(R, "wait"))
    group.settle(Restarted({"x": 7}))
    assert group.kinds() == ["Started", "Paused"]
    assert group.run().status == runs.PAUSED


def test_a_long_history_may_still_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes a history too long is no longer there after a restart."""
    group = failed(OK)
    monkeypatch.setattr(history, "HISTORY_EVENTS_MAX", 2)
    assert group.settle(Restarted({"x": 7})) == ["ok", 1]
    assert group.run().status == runs.RUNNING


def test_nothing_follows_a_restart() -> None:
    """It ends a generation, so it is the last event of a settlement."""
    group = failed()
    assert group.settle(Restarted({}), OK)[:2] == ["refused", "usage"]


def test_a_cancel_of_the_generation_before_is_over() -> None:
    """Whoever restarts after a cancel has dealt with it; the next generation can be cancelled."""
    group = failed()
    group.apply(commands.Cancel(R, "x"))
    group.settle(Restarted({"x": 7}))
    assert group.apply(commands.Cancel(R, "x")) == ["ok", "cancelling"]


# ------------------------------------------------------------------ retry
def test_a_retry_goes_on_from_the_step_that_failed() -> None:
    """What was settled before stays; the failed step and its attempts are done again."""
    group = failed(
        OK,
        Asked("b", 1),
        Retry("b", 1, FAILED, Millis(1)),
        TimerSet("b", Millis(9)),
        BROKEN,
        FAILING,
    )
    assert group.run().status == runs.FAILED
    group.now = 3_000
    assert retry(group) == ["ok", "retried", 1]
    assert group.told() == ["Regenerated"]
    started, done = group.history()
    assert isinstance(started, Started)
    assert (started.generation, done) == (1, OK)
    run = group.run()
    assert (run.status, run.ended_at, run.generation) == (runs.RUNNING, 0, 1)
    assert run.epoch == Epoch(group.index)
    assert group.settle(Done("b", b"call", True, 2, 1), Ended("completed", 2))[0] == "ok"


def test_a_retry_is_fenced_by_the_generation() -> None:
    """Repeated, it does not retry what failed since; from the future it is refused."""
    group = failed(BROKEN, FAILING)
    assert retry(group, 1)[:2] == ["refused", "run_conflict"]
    assert retry(group, 0) == ["ok", "retried", 1]
    assert retry(group, 0) == ["ok", "retried", 1]
    group.settle(BROKEN, FAILING)
    assert retry(group, 0) == ["ok", "retried", 1]
    assert group.run().status == runs.FAILED
    assert retry(group, 1) == ["ok", "retried", 2]


def test_only_what_ended_and_did_not_complete_is_retried() -> None:
    """A run that goes on, or completed, is refused."""
    group = failed()
    assert retry(group)[:2] == ["refused", "run_conflict"]
    group.settle(Ended("completed", 1))
    assert retry(group)[:2] == ["refused", "run_conflict"]
    assert group.apply(commands.RetryRun(RunId("x"), 0))[:2] == ["refused", "unknown_run"]


def test_a_failure_of_the_code_itself_drops_the_end_only() -> None:
    """If no step failed by it, everything settled stays and the code has another go."""
    group = failed(OK, BROKEN, Ended("failed", ["Other", "", {}]))
    retry(group)
    assert group.kinds() == ["Started", "Done", "Done"]


def test_a_cancelled_run_goes_on_as_if_nobody_had_asked() -> None:
    """The asking and what followed it are dropped; so is the end of a terminated run."""
    group = failed(OK)
    group.apply(commands.Cancel(R, "x"))
    group.settle(Set("a", 1), Ended("cancelled", ["Cancelled", "", {}]))
    retry(group)
    assert group.kinds() == ["Started", "Done"]
    assert not group.run().cancel_asked
    group.apply(commands.Terminate(R, "x"))
    retry(group)
    assert group.kinds() == ["Started", "Done"]


def test_what_was_compensated_is_not_taken_for_done() -> None:
    """After compensations a retry would go on from what is undone; it is refused and says so."""
    group = failed(OK, BROKEN, Done("undo/a", b"call", True, None, 1), FAILING)
    result = retry(group)
    assert result[:2] == ["refused", "usage"]
    assert "undo/a" in result[2]
    assert group.run().status == runs.FAILED


def test_what_a_retry_drops_goes_back_to_the_mailbox() -> None:
    """Signals and updates taken after the failed step are there again, in their order (7.2)."""
    group = failed()
    for number in range(3):
        group.signal("go", f"s{number}", number)
    group.apply(commands.Update(R, "add", "u1", pack(1)))
    group.settle(Taken("go#0", "s0", 0), BROKEN, Taken("go#1", "s1", 1))
    group.settle(Updated("add#0", "u1", 1, True, "yes"), FAILING)
    retry(group)
    assert group.kinds() == ["Started", "Taken"]
    assert mail.answer_of(group.state, R, "u1") is None
    taken = [Taken("go#1", "s1", 1), Taken("go#2", "s2", 2), Updated("a", "u1", 1, True, "no")]
    assert group.settle(*taken)[0] == "ok"
    assert group.signal("go", "s3")[0] == "ok"


def test_timers_and_callbacks_are_there_again() -> None:
    """What waited when the run ended waits again, by what the kept events say."""
    group = failed(TimerSet("t", Millis(5_000)), TimerSet("over", Millis(1)), TimerFired("over"))
    token = group.open()
    group.settle(BROKEN, FAILING)
    complete = commands.CompleteCallback(token, True, pack(1))
    assert group.apply(complete)[:2] == ["refused", "callback_done"]
    retry(group)
    assert group.apply(complete) == ["ok", "completed"]
    group.now = 5_000
    assert group.settle(TimerFired("over"))[:2] == ["refused", "stale"]
    assert group.settle(TimerFired("t"))[0] == "ok"


def test_a_completed_callback_stays_completed() -> None:
    """Whoever completed it may say so again, after a retry too."""
    group = failed()
    complete = commands.CompleteCallback(group.open(), True, pack(1))
    assert group.apply(complete) == ["ok", "completed"]
    group.settle(BROKEN, FAILING)
    retry(group)
    assert group.apply(complete) == ["ok", "seen"]
    assert group.kinds() == ["Started", "CallbackOpened", "CallbackDone"]


def test_an_open_child_is_asked_for_anew_and_an_ended_one_is_not() -> None:
    """The child that was waited for has been closed; another takes its place, of its own id."""
    group = failed()
    group.ask("done")
    group.ask("open")
    asked = group.run().length
    told = commands.ChildDone(R, 0, "done", Index(group.index - 1), True, pack("x"))
    assert group.apply(told) == ["ok", "told"]
    group.settle(BROKEN, FAILING)
    assert asked == 3
    retry(group)
    children = [event for event in group.history() if isinstance(event, ChildAsked)]
    assert [child.id for child in children] == ["r/0/done", "r/1/open"]
    begins = [
        each for each in group.waiting().values() if isinstance(each, generations.outbox.Begin)
    ]
    assert [(begin.run_id, begin.then) for begin in begins] == [
        ("r/0/open", "cancel"),
        ("r/1/open", ""),
    ]


def test_what_a_child_told_after_the_failure_is_kept() -> None:
    """An end that was acknowledged is not lost, though it came behind the failed step."""
    group = failed()
    group.ask("kid")
    asked = Index(group.index)
    group.settle(BROKEN)
    group.apply(commands.ChildDone(R, 0, "kid", asked, True, pack("x")))
    group.settle(FAILING)
    retry(group)
    assert group.kinds() == ["Started", "ChildAsked", "ChildDone"]
    assert group.run().status == runs.RUNNING


def test_a_failed_child_is_called_again() -> None:
    """If the run failed by its child, the child is asked for anew."""
    group = failed()
    group.ask("kid")
    group.apply(commands.ChildDone(R, 0, "kid", Index(group.index), False, pack(FAILED)))
    group.settle(FAILING)
    retry(group)
    (asked,) = [event for event in group.history() if isinstance(event, ChildAsked)]
    assert asked.id == "r/1/kid"
    assert group.kinds() == ["Started", "ChildAsked"]


def test_a_retried_child_is_told_again() -> None:
    """The end that nobody has heard is dropped with the retry; the next one is told."""
    group = Group()
    group.start()
    group.ask()
    kid = RunId("r/0/kid")
    group.apply(commands.Delivered(1, 1, 1, command_of(group.waiting()[1])))
    group.settle(BROKEN, FAILING, run_id=kid)
    assert sorted(group.waiting()) == [1, 2]
    assert group.apply(commands.RetryRun(kid, 0))[0] == "ok"
    assert sorted(group.waiting()) == [1]
    group.settle(Ended("completed", "at last"), run_id=kid)
    group.apply(commands.Delivered(1, 3, 1, command_of(group.waiting()[3])))
    assert group.history()[-1] == ChildDone("kid", True, "at last")


def test_a_retry_counts_against_the_bound_of_live_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full group takes no retried run either."""
    group = failed(FAILING)
    monkeypatch.setattr("raftoral.machines.starting.LIVE_RUNS_MAX", 0)
    assert retry(group)[:2] == ["refused", "unavailable"]


# ------------------------------------------------------------------ fork
def adopt(group: Group, position: int, run_id: str = "f", **other: Any) -> Any:
    """Fork the run."""
    run = group.run()
    events = other.get("events", runs.history(group.state, R)[:position])
    return group.apply(
        commands.Adopt(
            RunId(run_id),
            R,
            Position(position),
            run.generation,
            other.get("name", "w"),
            Version(2),
            "m2",
            Index(3),
            events,
            ["a"],
        )
    )


def test_a_fork_begins_with_the_events_of_another_run() -> None:
    """The new run has the prefix, another version if wanted, and the next generation."""
    group = failed(Set("a", 1), TimerSet("t", Millis(5_000)), OK, BROKEN, FAILING)
    group.now = 2_000
    assert adopt(group, 4) == ["ok", "started", 2]
    assert group.told() == ["Regenerated"]
    run = group.run("f")
    assert (run.generation, run.version, run.source, run.status) == (1, 2, "r@4", runs.RUNNING)
    assert group.history("f")[0] == Started("w", 2, "m2", {"x": 1}, Millis(2_000), "", 1)
    assert group.kinds("f") == ["Started", "Set", "TimerSet", "Done"]
    assert adopt(group, 4) == ["ok", "joined", 2]
    assert adopt(group, 3)[:2] == ["refused", "run_conflict"]
    assert adopt(group, 4, "r")[:2] == ["refused", "run_conflict"]
    group.now = 5_000
    assert group.settle(TimerFired("t"), Ended("completed", 1), run_id="f")[0] == "ok"


def test_a_fork_says_what_is_open() -> None:
    """A child or callback that belongs to the source cannot be waited for by a second run."""
    group = failed()
    group.ask("kid")
    group.open("cb")
    result = adopt(group, 2)
    assert result[:2] == ["refused", "usage"]
    assert "child `kid`" in result[2]
    group.apply(commands.ChildDone(R, 0, "kid", Index(group.index - 2), True, pack(1)))
    result = adopt(group, group.run().length)
    assert "callback `cb`" in result[2]
    assert adopt(group, 1)[0] == "ok"


@pytest.mark.parametrize(
    "events",
    [
        [],
        [OK],
        [Started("w", 1, "m", {}, Millis(1), "", 0), Started("w", 1, "m", {}, Millis(1), "", 0)],
        [Started("w", 1, "m", {}, Millis(1), "", 0), Ended("completed", 1)],
        [Started("other", 1, "m", {}, Millis(1), "", 0)],
        [
            Started("w", 1, "m", {}, Millis(1), "", 0),
            Set("a", "x" * 200_000),
            Set("b", "x" * 200_000),
        ],
    ],
    ids=["none", "headless", "two", "ended", "other", "large"],
)
def test_what_is_no_beginning_of_a_history_is_refused(events: Any) -> None:
    """A fork is the beginning of one generation, of that workflow, in one entry."""
    group = failed()
    data = [history.encode(event) for event in events]
    assert adopt(group, len(data), events=data)[0] == "refused"
    assert adopt(group, 9, events=data)[0] == "refused"
    assert runs.find(group.state, RunId("f")) is None


# ------------------------------------------------------------------ the code can follow
def shout(name: str) -> str:
    """Return the name, louder."""
    return name.upper()


@workflow("family", version=1)
def family(n: int) -> Flow[str]:
    """Start a child and call another, use the id of the first, then fail or not."""
    cell = yield from Checkpoint("id", "")
    loose = yield from Start("loose", "w", n)
    yield from cell.set(loose)
    called = yield from Call("called", "w", n)
    yield from Compute("use", shout, loose)
    word = yield from Receive("word", str)
    if word == "fail":
        raise WorkflowFailed("Told", "to fail")
    return f"{loose} {called}"


def replayed(events: list[bytes], run_id: str) -> Replay:
    """Return a replay that has followed a history."""
    replay = Replay(RunId(run_id), partial(start_python, family), known=events)
    replay.feed_all(events)
    return replay


def family_group() -> Group:
    """Return a group whose run has settled what the code yields up to the signal."""
    group = Group()
    group.apply(commands.StartRun(R, "family", Version(1), "m", pack({"n": 1}), Index(0)))
    replay = replayed(runs.history(group.state, R), "r")
    group.apply(
        commands.Settle(R, group.run().epoch, group.run().length, group.run().chain, replay.outbox)
    )
    group.apply(commands.ChildDone(R, 0, "called", Index(group.index), True, pack("yes")))
    call = call_bytes(Compute("use", shout, "r/0/loose"))
    group.settle(Done("use", call, True, "R/0/LOOSE", 1))
    group.signal("word", "s1", "fail")
    group.settle(Taken("word#0", "s1", "fail"))
    return group


def test_the_code_follows_a_retried_history() -> None:
    """Children keep the ids that are recorded, though the code would ask by another generation."""
    group = family_group()
    replay = replayed(runs.history(group.state, R), "r")
    group.apply(
        commands.Settle(R, group.run().epoch, group.run().length, group.run().chain, replay.outbox)
    )
    assert group.run().status == runs.FAILED
    assert retry(group)[0] == "ok"
    again = replayed(runs.history(group.state, R), "r")
    assert again.started is not None
    assert again.started.generation == 1
    assert [history.decode(data) for data in again.outbox] == [
        Ended("failed", ["Told", "to fail", {}])
    ]


def test_the_code_follows_a_forked_history() -> None:
    """In a fork children are those of the source, as the code was told there."""
    group = family_group()
    events = runs.history(group.state, R)
    result = adopt(group, len(events) - 1, name="family")
    assert result[:2] == ["ok", "started"]
    again = replayed(runs.history(group.state, RunId("f")), "f")
    assert again.outbox == []
    assert again.cells["id"].value == "r/0/loose"
    assert [type(wait).__name__ for wait in again.waits.values()] == ["SignalWait"]


def test_open_steps_are_those_that_somebody_waits_for() -> None:
    """A detached child, one that was left and one that ended are not waited for."""
    asked = [
        ChildAsked(path, f"r/0/{path}", "w", 0, {}, "cancel", path == "loose")
        for path in ("loose", "left", "ended", "open")
    ]
    events = [*asked, history.ChildLeft("left"), ChildDone("ended", True, 1), CancelAsked("")]
    assert list(cutting.open_steps(events)) == ["open"]
