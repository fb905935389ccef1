"""Schedules: what is due fires once, and a run that must not meet the one before waits for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from raftoral.codec import pack
from raftoral.ids import Index, Millis, NodeId, RunId, Version
from raftoral.machines import commands, outbox, runs, schedules
from raftoral.machines.outbox import Begin
from raftoral.machines.schedules import Schedule, Spec, run_id_of
from raftoral.replay.history import Ended
from tests.machines.group import FAILED, Group, command_of

NINE = Millis(1_795_597_200_000)
"""2026-11-25T09:00:00Z"""

DAY = 86_400_000
SPEC = Spec("report", 0, pack({"n": 1}), "0 9 * * *", "Europe/Berlin")


def put(group: Group, spec: Spec = SPEC, instead_of: int = 0, at: int = NINE) -> Any:
    """Store the schedule."""
    return group.apply(
        commands.PutSchedule("nightly", spec.encode(), Index(instead_of), Millis(at))
    )


def known(group: Group) -> Schedule:
    """Return the schedule."""
    found = schedules.find(group.state, "nightly")
    assert found is not None
    return found


def fire(group: Group, at: int | None = None, then: int | None = None) -> Any:
    """Fire the schedule for the time that is next, or another."""
    stored = known(group)
    moment = Millis(stored.next_at if at is None else at)
    following = Millis(moment + DAY if then is None else then)
    return group.apply(commands.Fired("nightly", stored.revision, moment, following))


def daily(overlap: str) -> Group:
    """Return a group with a schedule that has fired once; its run has begun."""
    group = Group()
    group.now = NINE
    put(group, replace(SPEC, overlap=overlap))
    assert fire(group)[0] == "ok"
    carry(group)
    return group


def carry(group: Group) -> None:
    """Carry all messages, until none is left."""
    while group.waiting():
        for number, message in group.waiting().items():
            low = outbox.low(group.state)
            group.apply(commands.Delivered(1, number, low, command_of(message)))
            group.apply(commands.OutboxDone([number]))


def begun(group: Group) -> list[str]:
    """Return the days of the runs that go on, and of those that have ended in brackets."""
    told = []
    for day in range(5):
        run = runs.find(group.state, run_id_of("nightly", Millis(NINE + day * DAY)))
        if run is not None:
            told.append(str(day) if run.live else f"({day})")
    return told


# ------------------------------------------------------------------ firing
def test_a_schedule_starts_a_run_named_by_its_time() -> None:
    """The run's id is the schedule's with the time in UTC; the start goes through the outbox."""
    group = Group()
    group.now = NINE
    assert put(group)[:2] == ["ok", "stored"]
    assert list(schedules.by_due(group.state)) == [(NINE, "nightly")]
    assert fire(group)[0] == "ok"
    assert group.told() == ["OutboxGrew", "ScheduleChanged"]
    (begin,) = group.waiting().values()
    assert isinstance(begin, Begin)
    assert begin.run_id == "nightly@2026-11-25T09:00:00Z"
    assert (begin.name, begin.version, begin.input) == ("report", 0, SPEC.input)
    assert list(schedules.by_due(group.state)) == [(NINE + DAY, "nightly")]
    assert run_id_of("x", Millis(NINE + 250)) == "x@2026-11-25T09:00:00.250Z"


def test_each_recorded_time_fires_once_and_when_it_is_due() -> None:
    """A time that is not the recorded one, or too early, fires nothing (semantics 5.2)."""
    group = Group()
    group.now = NINE - 1
    put(group)
    assert fire(group)[:2] == ["refused", "early"]
    group.now = NINE
    assert fire(group, at=NINE - DAY)[:2] == ["refused", "stale"]
    assert fire(group, then=NINE)[:2] == ["refused", "usage"]
    old = known(group).revision
    assert fire(group)[0] == "ok"
    assert group.apply(commands.Fired("nightly", old, NINE, Millis(NINE + DAY)))[:2] == [
        "refused",
        "stale",
    ]
    stale = commands.Fired("nightly", Index(old - 1), Millis(NINE + DAY), Millis(NINE + 2 * DAY))
    group.now = NINE + DAY
    assert group.apply(stale)[:2] == ["refused", "stale"], "worked out for another spec"
    assert len(group.waiting()) == 1


def test_a_schedule_ends() -> None:
    """Behind its end, and without a next time, a schedule fires no more and stays to be looked at."""
    group = Group()
    group.now = NINE
    put(group, replace(SPEC, end_at=Millis(NINE + DAY - 1)))
    fire(group)
    assert (known(group).next_at, known(group).due) == (0, None)
    assert list(schedules.by_due(group.state)) == []
    assert fire(group)[:2] == ["refused", "stale"]
    assert put(group, replace(SPEC, start_at=Millis(NINE + 1)), known(group).revision)[:2] == [
        "refused",
        "usage",
    ]


def test_what_is_long_past_is_left_out() -> None:
    """After a long silence the times that nobody wants any more are passed over, and counted."""
    group = Group()
    put(group, replace(SPEC, catch_up=60_000))
    group.now = NINE + 60_001
    assert fire(group)[0] == "ok"
    assert group.waiting() == {}
    assert (known(group).fired, known(group).left_out) == (0, 1)
    group.now = NINE + DAY + 60_000
    assert fire(group)[0] == "ok"
    assert (known(group).fired, len(group.waiting())) == (1, 1)


# ------------------------------------------------------------------ overlaps
def test_allow_begins_beside() -> None:
    """With `allow` a run begins whatever goes on, and nobody is told of its end."""
    group = daily(schedules.ALLOW)
    group.now = NINE + DAY
    fire(group)
    carry(group)
    assert begun(group) == ["0", "1"]
    assert known(group).current == ""


def test_skip_leaves_out() -> None:
    """With `skip` nothing begins while the last run goes on; after its end the next does."""
    group = daily(schedules.SKIP)
    group.now = NINE + DAY
    fire(group)
    carry(group)
    assert begun(group) == ["0"]
    group.settle(Ended("failed", FAILED), run_id=run_id_of("nightly", NINE))
    carry(group)
    group.now = NINE + 2 * DAY
    fire(group)
    carry(group)
    assert begun(group) == ["(0)", "2"]
    assert (known(group).fired, known(group).left_out) == (2, 1)


def test_buffer_one_keeps_the_first_that_waits() -> None:
    """With `buffer_one` one run waits for the end of the last; later ones are left out."""
    group = daily(schedules.BUFFER_ONE)
    for day in (1, 2):
        group.now = NINE + day * DAY
        fire(group)
        carry(group)
    assert begun(group) == ["0"]
    group.settle(Ended("completed", 1), run_id=run_id_of("nightly", NINE))
    carry(group)
    assert begun(group) == ["(0)", "1"]
    assert known(group).left_out == 1


@pytest.mark.parametrize("overlap", [schedules.CANCEL_OTHER, schedules.TERMINATE_OTHER])
def test_the_other_is_stopped_and_the_newest_follows(overlap: str) -> None:
    """The last run is asked to stop, or stopped; the newest time begins behind its end."""
    group = daily(overlap)
    first = run_id_of("nightly", NINE)
    for day in (1, 2):
        group.now = NINE + day * DAY
        fire(group)
    assert len(group.waiting()) == 1
    carry(group)
    if overlap == schedules.CANCEL_OTHER:
        assert begun(group) == ["0"]
        assert group.kinds(first)[-1] == "CancelAsked"
        group.settle(Ended("cancelled", ["Cancelled", "", {}]), run_id=first)
        carry(group)
    assert begun(group) == ["(0)", "2"]
    assert known(group).left_out == 1


def test_only_the_run_that_is_waited_for_counts() -> None:
    """The end of another run, told late or twice, begins nothing."""
    group = daily(schedules.BUFFER_ONE)
    group.now = NINE + DAY
    fire(group)
    other = commands.ScheduledEnded("nightly", RunId("nightly@other"))
    assert group.apply(other) == ["ok", "dropped"]
    ended = commands.ScheduledEnded("nightly", RunId(known(group).current))
    assert group.apply(ended) == ["ok", "told"]
    assert group.apply(ended) == ["ok", "dropped"]
    assert group.apply(commands.ScheduledEnded("never", RunId("x"))) == ["ok", "dropped"]


def test_a_run_that_was_there_already_is_waited_for_too() -> None:
    """Somebody started the run of that time by hand: the schedule joins it and hears of its end."""
    group = Group()
    group.now = NINE
    put(group)
    first = run_id_of("nightly", NINE)
    given = SPEC.input
    group.apply(commands.StartRun(first, "report", Version(1), "m", given, Index(0)))
    fire(group)
    carry(group)
    group.settle(Ended("completed", 1), run_id=first)
    carry(group)
    assert known(group).current == ""


# ------------------------------------------------------------------ operators
def test_a_schedule_is_replaced_only_by_who_has_seen_it() -> None:
    """The same again changes nothing; another one needs the revision that it replaces."""
    group = Group()
    assert put(group, instead_of=5)[:2] == ["refused", "schedule_conflict"]
    revision = put(group)[2]
    assert put(group) == ["ok", "known", revision]
    other = replace(SPEC, when="@hourly")
    assert put(group, other)[:2] == ["refused", "schedule_conflict"]
    assert put(group, other, revision)[:2] == ["ok", "stored"]
    assert put(group, SPEC, revision)[:2] == ["refused", "schedule_conflict"]
    assert known(group).plan == other


@pytest.mark.parametrize(
    "spec",
    [
        replace(SPEC, overlap="whatever"),
        replace(SPEC, input=b"\xcd\x00\x01"),
        replace(SPEC, input=pack(7)),
        replace(SPEC, when="x" * 201),
        replace(SPEC, version=-1),
        replace(SPEC, end_at=Millis(2**62)),
    ],
)
def test_a_spec_that_cannot_be_is_refused(spec: Spec) -> None:
    """What is stored can be started: its policy, input, texts and times are checked."""
    group = Group()
    assert put(group, spec)[0] == "refused"
    assert schedules.find(group.state, "nightly") is None


@pytest.mark.parametrize("data", [b"", b"\xc0", pack(["report"]), pack([1] * 9)])
def test_bytes_that_hold_no_spec_are_refused(data: bytes) -> None:
    """Anything may come as a spec."""
    group = Group()
    command = commands.PutSchedule("nightly", data, Index(0), NINE)
    assert group.apply(command)[:2] == ["refused", "usage"]


@pytest.mark.parametrize("name", ["", "a/b", "x" * 171, "a\nb"])
def test_a_bad_schedule_id_is_refused(name: str) -> None:
    """The id of a schedule begins the ids of its runs."""
    command = commands.PutSchedule(name, SPEC.encode(), Index(0), NINE)
    assert Group().apply(command)[:2] == ["refused", "usage"]


def test_a_paused_schedule_fires_nothing_and_keeps_nobody_waiting() -> None:
    """A pause takes it out of what is due and leaves out who waits; resumed, it has a new time."""
    group = daily(schedules.BUFFER_ONE)
    group.now = NINE + DAY
    fire(group)
    pause = commands.PauseSchedule("nightly", "holidays")
    assert group.apply(pause) == ["ok", "paused"]
    assert (known(group).paused, known(group).waiting) == ("holidays", 0)
    assert known(group).left_out == 1
    assert list(schedules.by_due(group.state)) == []
    group.now = NINE + 3 * DAY
    assert fire(group, at=NINE + 2 * DAY)[:2] == ["refused", "stale"]
    resume = commands.ResumeSchedule("nightly", Millis(NINE + 4 * DAY))
    assert group.apply(resume) == ["ok", "resumed"]
    assert list(schedules.by_due(group.state)) == [(NINE + 4 * DAY, "nightly")]
    again = commands.ResumeSchedule("nightly", Millis(NINE + 9 * DAY))
    assert group.apply(again) == ["ok", "resumed"]
    assert known(group).next_at == NINE + 4 * DAY


def test_a_late_copy_changes_no_schedule_again() -> None:
    """A pause, a resuming and a drop take effect once, also if a copy comes behind the next one."""
    group = daily(schedules.SKIP)
    pause = commands.PauseSchedule("nightly", "holidays", "q1")
    resume = commands.ResumeSchedule("nightly", Millis(NINE + DAY), "q2")
    for command in (pause, resume, pause):
        group.apply(command)
    assert known(group).paused is None
    group.apply(commands.PauseSchedule("nightly", "more holidays", "q3"))
    assert group.apply(resume) == ["ok", "resumed"]
    assert known(group).paused == "more holidays"
    drop = commands.DropSchedule("nightly", known(group).revision)
    assert group.apply(drop) == ["ok", "dropped"]
    assert group.apply(drop) == ["ok", "absent"]
    put(group)
    assert group.apply(drop)[:2] == ["refused", "schedule_conflict"]
    assert group.apply(commands.PauseSchedule("nightly", "", "q1")) == ["ok", "paused"]
    assert known(group).paused == ""


def test_a_dropped_schedule_is_gone_and_its_runs_go_on() -> None:
    """Dropping removes the schedule; again is fine; what it started is told to nobody."""
    group = daily(schedules.SKIP)
    assert group.apply(commands.DropSchedule("nightly")) == ["ok", "dropped"]
    assert group.apply(commands.DropSchedule("nightly")) == ["ok", "absent"]
    assert list(schedules.by_id(group.state)) == list(schedules.by_due(group.state)) == []
    assert begun(group) == ["0"]
    group.settle(Ended("completed", 1), run_id=run_id_of("nightly", NINE))
    carry(group)
    for command in (
        commands.PauseSchedule("nightly", ""),
        commands.ResumeSchedule("nightly", NINE),
        commands.Backfill("nightly", Index(1), [1]),
        commands.Fired("nightly", Index(1), NINE, NINE),
    ):
        assert group.apply(command)[:2] == ["refused", "unknown_schedule"]


def test_a_backfill_starts_the_runs_of_past_times_once() -> None:
    """All begin, whatever goes on; the same backfill again is refused; the run of a time is one run."""
    group = daily(schedules.SKIP)
    revision = known(group).revision
    times = [NINE + day * DAY for day in (0, 1, 2)]
    backfill = commands.Backfill("nightly", revision, times)
    assert group.apply(backfill) == ["ok", 3]
    assert group.apply(backfill)[:2] == ["refused", "schedule_conflict"]
    carry(group)
    assert begun(group) == ["0", "1", "2"]
    group.settle(Ended("completed", 1), run_id=run_id_of("nightly", NINE))
    carry(group)
    assert known(group).current == "", "the run that is waited for still tells its end"
    now = known(group).revision
    many = commands.Backfill("nightly", now, [NINE] * 1_001)
    assert group.apply(many)[:2] == ["refused", "limit_exceeded"]
    assert group.apply(commands.Backfill("nightly", now, [0]))[:2] == ["refused", "usage"]


def test_schedules_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group has so many schedules; one that is dropped makes room."""
    monkeypatch.setattr(schedules, "SCHEDULES_MAX", 1)
    group = Group()
    put(group)
    second = commands.PutSchedule("other", SPEC.encode(), Index(0), NINE)
    assert group.apply(second)[:2] == ["refused", "limit_exceeded"]
    group.apply(commands.DropSchedule("nightly"))
    assert group.apply(second)[0] == "ok"


def test_a_schedule_belongs_to_the_group_of_its_slot() -> None:
    """A group that does not own the slot of a schedule's id refuses it."""
    group = Group()
    group.apply(commands.OwnSlots(bytes(128)))
    assert put(group)[:2] == ["refused", "wrong_group"]
    group.apply(commands.Publish(NodeId(1), "boot"))


def test_schedules_are_listed_by_id() -> None:
    """Pages go on behind the last id."""
    group = Group()
    for name in ("b", "a", "ab", "c"):
        group.apply(commands.PutSchedule(name, SPEC.encode(), Index(0), NINE))
    assert [each.id for each in schedules.by_id(group.state)] == ["a", "ab", "b", "c"]
    assert [each.id for each in schedules.by_id(group.state, "ab")] == ["b", "c"]
