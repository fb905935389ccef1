"""What reaches a run from outside: cancelling, terminating, pausing; and what a refusal leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack

from raftoral.codec import pack, pack_record
from raftoral.ids import NOBODY, Epoch, NodeId, Position, RunId
from raftoral.machines import commands, layout, runs
from raftoral.machines.repeats import REQUESTS_KEPT
from raftoral.replay import history
from raftoral.replay.history import Ended, Set, encode
from tests.machines.group import FAILED, Group, R

if TYPE_CHECKING:
    import pytest


def cancel(group: Group, run_id: str = "r") -> Any:
    """Cancel a run."""
    return group.apply(commands.Cancel(RunId(run_id), "enough"))


def pause(group: Group) -> Any:
    """Pause the run."""
    return group.apply(commands.Pause(R, "a look first"))


# ------------------------------------------------------------------ cancel and terminate
def test_cancelling_twice_is_one_event() -> None:
    """A cancel arrives once, whoever asks again, also after the run has ended (semantics 7.3)."""
    group = Group()
    group.start()
    assert cancel(group) == ["ok", "cancelling"]
    assert group.history()[-1] == history.CancelAsked("enough")
    assert group.told() == ["Settled"]
    assert cancel(group) == ["ok", "asked"]
    assert group.kinds() == ["Started", "CancelAsked"]
    group.settle(Ended("cancelled", ["Cancelled", "enough", {}]))
    assert group.run().status == runs.CANCELLED
    assert cancel(group) == ["ok", "asked"]


def test_an_arrival_makes_a_settlement_under_way_stale() -> None:
    """Whatever arrives extends the history, so its owner has to look again (semantics 3.1)."""
    group = Group()
    group.start()
    base = group.run().length
    cancel(group)
    assert group.settle(Set("a", 1), base=base)[:2] == ["refused", "stale"]
    assert group.settle(Set("a", 1))[0] == "ok"


def test_what_has_ended_is_neither_cancelled_nor_paused() -> None:
    """Each command about going on is refused for a run that is over, and for one nobody knows."""
    group = Group()
    assert cancel(group)[:2] == ["refused", "unknown_run"]
    group.start()
    group.settle(Ended("completed", 1))
    for command in (
        commands.Cancel(R, ""),
        commands.Terminate(R, ""),
        commands.Pause(R, ""),
        commands.Resume(R),
    ):
        assert group.apply(command)[:2] == ["refused", "run_ended"]


def test_a_run_is_terminated_at_once_and_once() -> None:
    """Terminating ends the run by the group itself, with the reason; again changes nothing."""
    group = Group()
    group.start()
    pause(group)
    assert group.apply(commands.Terminate(R, "no more")) == ["ok", "terminated"]
    assert group.history()[-1] == Ended("terminated", ["Terminated", "no more", {}])
    assert (group.run().status, group.run().reason) == (runs.TERMINATED, "")
    assert group.apply(commands.Terminate(R, "no more")) == ["ok", "terminated"]
    assert group.run().length == 3


def test_a_reason_has_a_bound() -> None:
    """What would stand in every history for nothing is refused."""
    group = Group()
    group.start()
    for kind in (commands.Cancel, commands.Terminate, commands.Pause):
        assert group.apply(kind(R, "x" * 2_001))[:2] == ["refused", "usage"]
    assert group.run().length == 1


# ------------------------------------------------------------------ pause
def test_a_paused_run_still_takes_what_was_under_way() -> None:
    """A pause is a status and an event; settlements are taken, as no attempt may be lost."""
    group = Group()
    group.start()
    assert pause(group) == ["ok", "paused"]
    assert (group.run().status, group.run().reason) == (runs.PAUSED, "a look first")
    assert pause(group) == ["ok", "paused"]
    assert group.settle(history.Done("x", b"", True, 1, 1))[0] == "ok"
    assert group.apply(commands.Resume(R)) == ["ok", "running"]
    assert group.apply(commands.Resume(R)) == ["ok", "running"]
    assert group.kinds() == ["Started", "Paused", "Done", "Resumed"]
    assert (group.run().status, group.run().reason) == (runs.RUNNING, "")


def test_a_pause_holds_whoever_owns_the_run() -> None:
    """Handed over, parked and taken up again, a paused run is paused until it is resumed."""
    group = Group()
    group.start()
    pause(group)
    for _ in range(3):
        group.apply(commands.HandOver(R, group.run().epoch, "cannot", NOBODY))
    assert (group.run().status, group.run().reason) == (runs.PARKED, "cannot")
    group.apply(commands.Publish(NodeId(2), "another boot"))
    assert (group.run().status, group.run().owner) == (runs.PAUSED, 2)
    assert group.run().reason == "a look first"
    group.apply(commands.TakeOver(NodeId(2), [], 9))
    assert group.run().status == runs.PARKED
    assert "no member" in group.run().reason
    assert group.apply(commands.Resume(R)) == ["ok", "parked"]
    group.apply(commands.Publish(NodeId(1), "another boot"))
    assert group.run().status == runs.RUNNING


def test_a_parked_run_that_is_paused_says_why_it_is_parked() -> None:
    """What keeps a run from going on at all is told before what would keep it later."""
    group = Group(members=0)
    group.start()
    pause(group)
    assert group.run().status == runs.PARKED
    assert "no member" in group.run().reason


# ------------------------------------------------------------------ one request, one change
def test_a_late_copy_of_a_pause_does_not_pause_again() -> None:
    """A copy that comes behind the resuming is told what the first was told, and changes nothing."""
    group = Group()
    group.start()
    first = commands.Pause(R, "look", "q1")
    assert group.apply(first) == ["ok", "paused"]
    assert group.apply(commands.Resume(R, "q2")) == ["ok", "running"]
    assert group.apply(first) == ["ok", "paused"]
    assert group.run().status == runs.RUNNING
    assert group.apply(commands.Pause(R, "look", "q3")) == ["ok", "paused"]
    assert group.apply(commands.Resume(R, "q2")) == ["ok", "running"]
    assert group.run().status == runs.PAUSED
    assert group.kinds() == ["Started", "Paused", "Resumed", "Paused"]


def test_a_late_copy_stops_no_run_that_was_retried() -> None:
    """What cancelled or ended a run once does not do so in its next generation."""
    stops = (commands.Terminate(R, "", "q1"), commands.Cancel(R, "", "q1"))
    for stop in stops:
        group = Group()
        group.start()
        answer = group.apply(stop)
        if group.run().live:
            group.settle(Ended("cancelled", ["Cancelled", "", {}]))
        assert group.apply(commands.RetryRun(R, 0)) == ["ok", "retried", 1]
        before = group.kinds()
        assert group.apply(stop) == answer
        assert group.run().status == runs.RUNNING
        assert group.kinds() == before


def test_a_copy_of_what_was_refused_is_refused() -> None:
    """A pause that was told that the run has ended does not pause it once it goes on."""
    group = Group()
    group.start()
    group.settle(Ended("failed", FAILED))
    late = commands.Pause(R, "", "q1")
    refusal = group.apply(late)
    assert refusal[:2] == ["refused", "run_ended"]
    group.apply(commands.RetryRun(R, 0))
    assert group.apply(late) == refusal
    assert group.run().status == runs.RUNNING


def test_a_request_is_remembered_through_a_restart_and_behind_63_others() -> None:
    """The answers to the last 64 requests are kept with the run, whatever its generation."""
    group = Group()
    group.start()
    group.apply(commands.Pause(R, "", "first"))
    group.settle(history.Restarted({"n": 1}))
    for number in range(REQUESTS_KEPT - 1):
        group.apply(commands.Resume(R, f"q{number}"))
    assert group.apply(commands.Pause(R, "", "first")) == ["ok", "paused"]
    assert group.run().status == runs.RUNNING
    group.apply(commands.Resume(R, "one more"))
    group.apply(commands.Pause(R, "", "first"))
    assert group.run().status == runs.PAUSED
    assert len(group.state.get(layout.requests_key(R)) or b"") < 64 * 300


def test_the_id_of_a_request_has_a_bound() -> None:
    """What would be hashed for nothing is refused."""
    group = Group()
    group.start()
    assert group.apply(commands.Pause(R, "", "x" * 201))[:2] == ["refused", "usage"]


# ------------------------------------------------------------------ bounds
def test_an_arrival_too_many_terminates(monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrives counts against the bound of a history like anything else."""
    group = Group()
    group.start()
    monkeypatch.setattr(history, "HISTORY_EVENTS_MAX", 1)
    assert cancel(group)[0] == "ok"
    assert group.kinds() == ["Started", "Ended"]
    assert group.run().status == runs.TERMINATED


def test_a_long_history_is_warned_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a quarter of a bound the group says so, once for a run, and again after a restart."""
    monkeypatch.setattr(history, "HISTORY_EVENTS_MAX", 20)
    group = Group()
    group.start()
    told = []
    for number in range(6):
        group.settle(Set("a", number))
        told += [each for each in group.told() if each == "Warned"]
    assert told == ["Warned"]
    group.settle(history.Restarted({"n": 1}))
    for number in range(6):
        group.settle(Set("a", number))
        told += [each for each in group.told() if each == "Warned"]
    assert told == ["Warned", "Warned"]


def test_a_refused_command_has_changed_nothing() -> None:
    """Also one that is refused half way: a restart with an input that no history can hold."""
    group = Group()
    group.start()
    group.settle(history.TimerSet("t", 9_000))  # type: ignore[arg-type]
    before = group.state.items()
    deep: Any = None
    for _ in range(70):
        deep = [deep]
    bad = msgpack.packb(["Restarted", deep])
    run = group.run()
    events = [encode(Set("a", 1)), bad]
    settle = commands.Settle(R, run.epoch, run.length, run.chain, events)
    assert group.apply(settle)[0] == "refused"
    assert group.events == []
    assert group.state.items() == before


def test_only_the_owner_ends_a_run_as_it_likes() -> None:
    """What arrives is written by the group alone: an owner cannot settle it."""
    group = Group()
    group.start()
    arrivals: list[history.Event] = [
        history.CancelAsked(""),
        history.Paused(""),
        history.Resumed(),
        history.ChildDone("kid", True, 1),
    ]
    for event in arrivals:
        assert group.settle(event)[:2] == ["refused", "usage"]
    run = group.run()
    unknown = pack_record(["Nothing", "x"])
    assert (
        group.apply(commands.Settle(R, run.epoch, Position(run.length), run.chain, [unknown]))[0]
        == "refused"
    )


# ------------------------------------------------------------------ the policies of a start
def again(group: Group, policy: str, given: object = 1) -> Any:
    """Start the run again with a policy."""
    data = pack({"x": given})
    return group.apply(
        commands.StartRun(R, "w", runs.Version(1), "m", data, runs.Index(0), policy=policy)
    )


def test_reject_takes_no_run_of_that_id() -> None:
    """With the policy `reject` any run of the id is in the way, whatever became of it."""
    group = Group()
    assert again(group, commands.REJECT)[:2] == ["ok", "started"]
    assert again(group, commands.REJECT)[:2] == ["refused", "run_conflict"]
    group.settle(Ended("completed", 1))
    assert again(group, commands.REJECT)[:2] == ["refused", "run_conflict"]
    assert again(group, "whatever")[:2] == ["refused", "usage"]


def test_the_same_request_joins_the_run_that_it_began() -> None:
    """A start whose answer was lost can be repeated under every policy; another request cannot."""
    for policy in commands.POLICIES:
        group = Group()

        def begin(request: str, policy: str = policy, group: Group = group) -> Any:
            data = pack({"x": 1})
            return group.apply(
                commands.StartRun(
                    R, "w", runs.Version(1), "m", data, runs.Index(0), policy, request=request
                )
            )

        assert begin("q1")[:2] == ["ok", "started"]
        assert begin("q1")[:2] == ["ok", "joined"]
        group.settle(Ended("failed", FAILED))
        assert begin("q1")[:2] == ["ok", "joined"], "what it began has failed since"
        assert group.run().generation == 0
        other = {commands.JOIN: "joined", commands.REJECT: "run_conflict"}
        assert begin("q2")[1] == other.get(policy, "started")
        assert begin("q" * 201)[:2] == ["refused", "usage"]


def test_retry_failed_replaces_what_did_not_complete() -> None:
    """A failed run makes room for one of the next generation; a live or completed one is joined."""
    group = Group()
    group.start()
    assert again(group, commands.RETRY_FAILED)[:2] == ["ok", "joined"]
    group.signal("go", "s1")
    group.settle(Ended("failed", FAILED))
    assert again(group, commands.JOIN)[:2] == ["ok", "joined"]
    group.now = 5_000
    assert again(group, commands.RETRY_FAILED, given=2)[:2] == ["ok", "started"]
    run = group.run()
    assert (run.generation, run.status, run.length, run.started_at) == (1, "running", 1, 5_000)
    assert run.epoch == Epoch(group.index)
    started = group.history()[0]
    assert isinstance(started, history.Started)
    assert (started.input, started.generation) == ({"x": 2}, 1)
    assert group.signal("go", "s1") == ["ok", "delivered"], "it is another run"
    group.settle(Ended("completed", 1))
    assert again(group, commands.RETRY_FAILED, given=2)[:2] == ["ok", "joined"]
    assert again(group, commands.RETRY_FAILED, given=3)[:2] == ["refused", "run_conflict"]
