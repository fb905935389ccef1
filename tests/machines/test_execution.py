"""The execution group: starting, settling, signals, owners, retention."""

from __future__ import annotations

from dataclasses import astuple
from random import Random
from typing import TYPE_CHECKING

import pytest

from raftoral.codec import pack, unpack_record
from raftoral.ids import NOBODY, SLOTS, Epoch, Index, Millis, NodeId, Position, RunId, Version
from raftoral.kv import MemoryKeyValue
from raftoral.machines import (
    callbacks,
    children,
    commands,
    execution,
    layout,
    listing,
    mail,
    outbox,
    runs,
    schedules,
    search,
    starting,
)
from raftoral.machines.execution import Execution
from raftoral.machines.placement import home_of, slot_of
from raftoral.replay import history
from raftoral.replay.history import Done, Ended, Set, Taken, TimerFired, TimerSet, encode
from tests.machines.checks import check_indexes
from tests.machines.group import Group, R
from tests.machines.hostile import SIGNALS, plausible, some_ids
from tests.machines.model import Model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raftoral.kv import Reader
    from raftoral.machines.base import Result


# ------------------------------------------------------------------ the second implementation
@pytest.mark.parametrize("seed", range(16))
def test_the_machine_agrees_with_a_dumb_one(seed: int) -> None:
    """Over random commands, answers, histories, owners, mailboxes and timers are the model's."""
    chance = Random(seed)
    state, machine, model = MemoryKeyValue(), Execution(), Model()
    slots = commands.OwnSlots(b"\xff" * (SLOTS // 8)).encode()
    at = 1_000
    for index in range(1, 500):
        at += chance.randrange(-10, 40)
        data = slots if index == 1 else plausible(chance, state)
        result, _ = machine.apply(Index(index), Millis(at), data, state)
        expected = model.apply(index, at, commands.decode(data))
        assert codes(result) == expected, (index, commands.decode(data), result)
        compare(state, model)
        check_indexes(state)


def test_the_random_commands_reach_every_answer() -> None:
    """The random commands are worth their name: each answer of the machine comes up."""
    seen: set[str] = set()
    for seed in range(8):
        chance, state, at = Random(seed), MemoryKeyValue(), 1_000
        Execution().apply(Index(1), Millis(1), commands.OwnSlots(b"\xff" * 128).encode(), state)
        for index in range(2, 4_000):
            at += chance.randrange(-10, 40)
            data = plausible(chance, state)
            result, _ = Execution().apply(Index(index), Millis(at), data, state)
            seen.update(answers(data, result))
        if seen.issuperset(REACHED.split()):
            break
    assert set(REACHED.split()) - seen == set()


REACHED = """
start:started start:joined start:run_conflict settle:ok settle:stale settle:early settle:usage
cancel:cancelling cancel:asked cancel:run_ended terminate:terminated terminate:run_ended pause:paused
resume:running resume:parked retry:retried retry:usage adopt:started adopt:joined adopt:run_conflict
adopt:usage forget:ok signal:delivered signal:seen signal:run_ended signal:unknown_run
update:delivered update:seen update:answered update:run_ended complete:completed complete:seen
complete:callback_done complete:unknown_callback beat:beaten beat:callback_done
beat:unknown_callback delivered:passed delivered:ok passed:ok outbox:ok child:told child:dropped
schedule:stored schedule:known pauseschedule:paused resumeschedule:resumed dropschedule:dropped
fired:ok fired:stale fired:usage fired:unknown_schedule backfill:ok scheduledended:told
scheduledended:dropped publish:published publish:known takeover:ok handover:ok handover:stale
"""


def answers(data: bytes, result: Result) -> list[str]:
    """Return the tags of a command and of those inside, each with what it was answered."""
    command = commands.decode(data)
    if isinstance(command, commands.Many):
        parts = zip(command.commands, result[1], strict=True)
        return [each for inside, answer in parts for each in answers(inside, answer)]
    word = str(result[1]) if len(result) > 1 and isinstance(result[1], str) else "ok"
    if isinstance(command, commands.Delivered) and word != "passed":
        return ["delivered:ok", *answers(command.command, result)]
    word = "ok" if command.tag in ("fired", "settle") and result[0] == "ok" else word
    return [f"{command.tag}:{word}"]


def codes(result: Result) -> str | list[str]:
    """Return ok or the code of the refusal, one each for several commands."""
    if result[0] == "ok" and len(result) > 1 and isinstance(result[1], list):
        return ["ok" if each[0] == "ok" else each[1] for each in result[1]]
    return "ok" if result[0] == "ok" else str(result[1])


def compare(state: MemoryKeyValue, model: Model) -> None:
    """Compare all that can be seen of the runs."""
    for run_id in {*some_ids(state), *model.runs}:
        run, theirs = runs.find(state, run_id), model.runs.get(run_id)
        if run is None or theirs is None:
            assert run is None and theirs is None  # noqa: PT018
            continue
        assert runs.history(state, run_id) == theirs.events
        assert (run.status, run.owner, run.epoch) == (theirs.status, theirs.owner, theirs.epoch)
        assert (run.generation, run.cancel_asked) == (theirs.generation, theirs.cancelled)
        assert (run.untold, run.origin) == (theirs.untold, theirs.origin)
        assert run.refused == tuple(theirs.refused)
        assert run.started_at == theirs.started
        assert run.ended_at == (theirs.ended or 0)
        for name in SIGNALS:
            for kind, boxes in ((b"m", theirs.mail), (b"u", theirs.updates)):
                prefix = runs.mailbox_prefix(run_id, name, kind)
                stored = [unpack_record(data) for _, data in state.scan(prefix)]
                assert [tuple(each) for each in stored] == boxes.get(name, [])
        for update_id, (_, told) in theirs.answers.items():
            assert mail.answer_of(state, run_id, update_id) == told
        assert search.cells(state, run) == theirs.cells
        assert [astuple(each) for _, each in children.open_children(state, run_id)] == [
            astuple(child) for _, child in sorted(theirs.children.items())
        ]
        for path, record in theirs.callbacks.items():
            found = callbacks.find(state, run_id, path)
            assert found is not None
            assert (found.beaten_at, bool(found.outcome)) == (record.beaten, bool(record.outcome))
        timers = state.scan(layout.timer_key(run_id, ""))
        assert {k.split(b"/t/")[1].decode(): int.from_bytes(d, "big") for k, d in timers} == (
            theirs.timers
        )
    assert {n: v for n, v in runs.members(state).items()} == model.up  # noqa: C416
    assert runs.clock(state) == model.now
    for schedule in schedules.by_id(state):
        known = model.schedules[schedule.id]
        assert (schedule.revision, schedule.next_at, schedule.plan) == (
            known.revision,
            known.next,
            known.spec,
        )
        assert (schedule.current, schedule.waiting) == (known.current, known.waiting)
        assert (schedule.fired, schedule.left_out) == (known.fired, known.left_out)
    assert [each.id for each in schedules.by_id(state)] == sorted(model.schedules)
    due = sorted((s.next, s.id) for s in model.schedules.values() if s.next and not s.paused)
    assert list(schedules.by_due(state)) == due
    assert dict(outbox.messages(state)) == model.outbox
    assert outbox.low(state) == min(model.outbox, default=model.posted + 1)


# ------------------------------------------------------------------ starting
def test_the_same_start_joins() -> None:
    """Starting a run twice with one name and input is one run (semantics 6.2)."""
    group = Group()
    assert group.start()[:2] == ["ok", "started"]
    assert group.start()[:2] == ["ok", "joined"]
    assert group.run().length == 1
    assert not group.events


def test_another_start_conflicts() -> None:
    """Another workflow or another input under the same id is refused."""
    group = Group()
    group.start()
    assert group.start(name="v")[:2] == ["refused", "run_conflict"]
    assert group.start(given=2)[:2] == ["refused", "run_conflict"]
    assert group.start(given=True)[:2] == ["refused", "run_conflict"], "True is not 1"


def test_a_run_of_another_slot_is_refused() -> None:
    """A group starts only runs of slots that it owns, and none before it has its map."""
    group = Group()
    bitmap = bytearray(b"\xff" * (SLOTS // 8))
    slot = slot_of(R)
    bitmap[slot // 8] &= ~(1 << slot % 8)
    group.apply(commands.OwnSlots(bytes(bitmap)))
    assert group.start()[:2] == ["refused", "wrong_group"]
    assert Execution().apply(
        Index(1),
        Millis(1),
        commands.StartRun(R, "w", Version(1), "m", pack({}), Index(0)).encode(),
        MemoryKeyValue(),
    )[0][:2] == ["refused", "wrong_group"]
    assert group.apply(commands.OwnSlots(b"\xff"))[:2] == ["refused", "usage"]


@pytest.mark.parametrize("run_id", ["", "a/b", "x" * 201, "a\nb", ".", ".."])
def test_a_bad_run_id_is_refused(run_id: str) -> None:
    """A run id is 1 to 200 printable characters without a slash."""
    assert Group().start(run_id)[:2] == ["refused", "usage"]


def test_a_run_waits_parked_while_nobody_is_up() -> None:
    """Started before any member published itself, a run is parked, and goes to the first one."""
    group = Group(members=0)
    group.start()
    assert (group.run().status, group.run().owner) == (runs.PARKED, NOBODY)
    group.apply(commands.Publish(NodeId(2), "boot"))
    assert (group.run().status, group.run().owner) == (runs.RUNNING, 2)
    assert [type(each) for each in group.events] == [execution.OwnerChanged]


def test_the_bound_of_live_runs_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group refuses a start above its bound of live runs, and takes it when one has ended."""
    monkeypatch.setattr(starting, "LIVE_RUNS_MAX", 2)
    group = Group()
    group.start("a")
    group.start("b")
    assert group.start("c")[:2] == ["refused", "unavailable"]
    group.settle(Ended("completed", None), run_id="a")
    assert group.start("c")[0] == "ok"


# ------------------------------------------------------------------ settling
def test_a_settlement_of_another_epoch_or_base_is_stale() -> None:
    """Only the current epoch at the current length settles (semantics 3.1)."""
    group = Group()
    group.start()
    run = group.run()
    for epoch in (run.epoch - 1, run.epoch + 1):
        assert group.settle(Set("a", 1), epoch=epoch)[:2] == ["refused", "stale"]
    for base in (0, 2):
        assert group.settle(Set("a", 1), base=base)[:2] == ["refused", "stale"]
    assert group.run() == run
    assert group.settle(Set("a", 1)) == ["ok", 2]
    assert group.settle(Set("a", 1), base=1)[:2] == ["refused", "stale"], "not twice"


def test_a_timer_fires_when_it_is_due_and_the_settlement_is_whole() -> None:
    """A firing too early drops all that came with it; when due it goes in, once (semantics 5.2)."""
    group = Group()
    group.start()
    assert group.settle(TimerFired("t"))[:2] == ["refused", "stale"]
    group.settle(TimerSet("t", Millis(2_000)))
    assert group.settle(Set("a", 1), TimerFired("t"))[:2] == ["refused", "early"]
    assert group.run().length == 2
    group.now = 2_000
    assert group.settle(Set("a", 1), TimerFired("t")) == ["ok", 4]
    assert group.settle(TimerFired("t"))[:2] == ["refused", "stale"]


def test_only_the_oldest_signal_is_taken_and_once() -> None:
    """Signals are taken in the order of the log, each once, as what they are (semantics 5.2)."""
    group = Group()
    group.start()
    group.signal("go", "s1", True)
    group.signal("go", "s2", "two")
    assert group.settle(Taken("go#0", "s2", "two"))[:2] == ["refused", "stale"]
    assert group.settle(Taken("go#0", "s1", 1))[:2] == ["refused", "stale"], "True is not 1"
    both = [Taken("go#0", "s1", True), Taken("go#1", "s1", True)]
    assert group.settle(*both)[:2] == ["refused", "stale"]
    assert group.settle(both[0])[0] == "ok"
    assert group.settle(both[1])[:2] == ["refused", "stale"]
    assert group.settle(Taken("go#1", "s2", "two"))[0] == "ok"
    assert group.settle(Taken("go#2", "never", 1))[:2] == ["refused", "stale"]


def test_nothing_follows_the_end() -> None:
    """An end is the last event, and an ended run takes no settlement."""
    group = Group()
    group.start()
    assert group.settle(Ended("completed", 1), Set("a", 1))[:2] == ["refused", "usage"]
    assert group.settle(Set("a", 1), Ended("completed", 1)) == ["ok", 3]
    assert group.run().status == runs.COMPLETED
    assert group.settle(Set("b", 1))[:2] == ["refused", "stale"]


def test_a_group_alone_starts_and_terminates() -> None:
    """An owner can settle neither a second start nor a termination."""
    group = Group()
    group.start()
    started = history.Started("w", 1, "m", {}, Millis(1), "", 0)
    assert group.settle(started)[:2] == ["refused", "usage"]
    assert group.settle(Ended("terminated", ["X", "", {}]))[:2] == ["refused", "usage"]
    assert group.apply(
        commands.Settle(R, group.run().epoch, group.run().length, group.run().chain, [])
    )[:2] == [
        "refused",
        "usage",
    ]


def test_a_failed_run_is_failed_and_keeps_its_history() -> None:
    """An end with a failure makes the run failed; its timers are gone, its events stay."""
    group = Group()
    group.start()
    group.signal("go", "s1")
    group.settle(TimerSet("t", Millis(5_000)))
    group.now = 1_700
    group.settle(Ended("failed", ["Broken", "why", {}]))
    run = group.run()
    assert (run.status, run.ended_at, run.length) == (runs.FAILED, 1_700, 3)
    assert group.signal("go", "s1")[:2] == ["ok", "seen"]
    assert group.signal("go", "s2")[:2] == ["refused", "run_ended"]


def test_a_history_that_would_pass_its_bound_is_terminated(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would make a history too long ends the run instead, by the group itself."""
    group = Group()
    group.start()
    monkeypatch.setattr(history, "HISTORY_EVENTS_MAX", 3)
    assert group.settle(Set("a", 1), Set("b", 1)) == ["ok", 3]
    assert group.settle(Set("c", 1)) == ["ok", 4]
    last = history.decode(runs.last_event(group.state, group.run()))
    assert isinstance(last, Ended)
    assert (last.status, group.run().status) == ("terminated", runs.TERMINATED)
    (settled,) = group.events
    assert [history.decode(data) for data in settled.events] == [last]


def test_bytes_bound_a_history_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound of bytes terminates a run just as the bound of events does."""
    group = Group()
    group.start()
    monkeypatch.setattr(history, "HISTORY_BYTES_MAX", 400)
    group.settle(Set("a", "x" * 400))
    assert group.run().status == runs.TERMINATED


def test_a_settlement_extends_exactly_the_history_that_it_was_worked_out_for() -> None:
    """One that was sent behind another is refused when something else took that one's place.

    An owner sends `Set` and, behind it, `Done`. The run is asked to stop meanwhile: `Set` comes to
    nothing, the length fits for `Done` all the same, and the history does not (semantics 3.1).
    """
    group = Group()
    group.start()
    run = group.run()
    first, second = encode(Set("a", 1)), encode(Done("b", b"\x90", True, 1, 1))
    chain = history.chained(run.chain, [first])
    group.apply(commands.Cancel(R, "enough"))
    assert (
        group.apply(commands.Settle(R, run.epoch, run.length, run.chain, [first]))[0] == "refused"
    )
    behind = commands.Settle(R, run.epoch, Position(run.length + 1), chain, [second])
    assert group.apply(behind)[:2] == ["refused", "stale"]
    assert len(group.history()) == 2


def test_many_is_several_commands_with_an_answer_each() -> None:
    """Each part of a `Many` succeeds or fails for itself; one inside another is refused."""
    group = Group()
    group.start("a")
    group.start("b")
    parts = [
        commands.Settle(
            RunId(each),
            group.run(each).epoch,
            Position(base),
            group.run(each).chain,
            [encode(Set("x", 1))],
        )
        for each, base in (("a", 1), ("b", 7))
    ]
    inner = commands.Many([parts[0].encode()])
    result = group.apply(commands.Many([*(each.encode() for each in parts), inner.encode(), b"?"]))
    assert codes(result) == ["ok", "stale", "usage", "usage"]


# ------------------------------------------------------------------ signals
def test_one_id_is_one_signal() -> None:
    """A signal repeated under its id is delivered once, even after it was taken (semantics 7.2)."""
    group = Group()
    group.start()
    assert group.signal("go", "s1") == ["ok", "delivered"]
    assert group.signal("go", "s1") == ["ok", "seen"]
    group.settle(Taken("go#0", "s1", 1))
    assert group.signal("go", "s1") == ["ok", "seen"]
    assert runs.oldest_mail(group.state, R, "go") is None


def test_a_mailbox_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full mailbox refuses the next signal and takes it when the run has taken one."""
    monkeypatch.setattr(mail, "MAILBOX_MAX", 2)
    group = Group()
    group.start()
    group.signal("go", "s1")
    group.signal("go", "s2")
    assert group.signal("go", "s3")[:2] == ["refused", "limit_exceeded"]
    assert group.signal("stop", "s4")[0] == "ok", "another mailbox has room"
    group.settle(Taken("go#0", "s1", 1))
    assert group.signal("go", "s3")[0] == "ok"


def test_signals_in_one_entry_keep_their_order() -> None:
    """Several signals of one entry are taken in the order in which they stand in it."""
    group = Group()
    group.start()
    many = [commands.Signal(R, "go", f"s{n}", pack(n)).encode() for n in range(5)]
    group.apply(commands.Many(many))
    group.signal("go", "late", 5)
    for number, signal_id in enumerate(["s0", "s1", "s2", "s3", "s4", "late"]):
        assert group.settle(Taken(f"go#{number}", signal_id, number))[0] == "ok"


@pytest.mark.parametrize("name", ["", "a/b", "x" * 201])
def test_a_bad_signal_name_is_refused(name: str) -> None:
    """A name with a slash could reach into another mailbox, so it is refused."""
    group = Group()
    group.start()
    assert group.signal(name, "s1")[:2] == ["refused", "usage"]


def test_a_payload_that_is_no_canonical_value_is_refused() -> None:
    """A payload stands in the history later, so it has to be canonical, finite and small."""
    group = Group()
    group.start()
    bad = [b"", b"\xc1", b"\xcb\x7f\xf8" + bytes(6), b"\xcd\x00\x01", b"\xc0\xc0"]
    bad.append(pack("x" * 300_000, bytes_max=10**6))
    for payload in bad:
        result = group.apply(commands.Signal(R, "go", "s1", payload))
        assert result[0] == "refused", payload[:10]


def test_a_signal_for_no_run_is_refused() -> None:
    """A signal to an unknown or forgotten run says so."""
    assert Group().signal("go", "s1")[:2] == ["refused", "unknown_run"]


# ------------------------------------------------------------------ owners
def test_take_over_spreads_the_runs_of_the_lost_only() -> None:
    """The lost member's runs go to the others by hash, in a new epoch; no other moves (4.1)."""
    group = Group()
    ids = [f"r{n}" for n in range(30)]
    for run_id in ids:
        group.start(run_id)
    before = {run_id: group.run(run_id) for run_id in ids}
    assert {run.owner for run in before.values()} == {1, 2, 3}
    result = group.apply(commands.TakeOver(NodeId(2), [NodeId(1), NodeId(2), NodeId(3)], 100))
    moved = [run_id for run_id in ids if before[run_id].owner == 2]
    assert result == ["ok", len(moved)]
    for run_id in ids:
        run = group.run(run_id)
        if run_id in moved:
            assert run.owner == home_of(RunId(run_id), [NodeId(1), NodeId(3)])
            assert run.epoch == group.index
        else:
            assert run == before[run_id]
    assert {group.run(run_id).owner for run_id in moved} == {1, 3}
    assert runs.members_up(group.state) == [1, 3]
    assert group.start("new")[0] == "ok"
    assert group.run("new").owner != 2


def test_take_over_moves_so_many_at_once_and_is_repeated() -> None:
    """One entry moves up to its limit and says how many; the next moves more, until none is left."""
    group = Group()
    for number in range(30):
        group.start(f"r{number}")
    owned = len(list(runs.owned_ids(group.state, NodeId(2))))
    assert owned > 4
    answers: list[int] = []
    while not answers or answers[-1] == 4:
        answers.append(group.apply(commands.TakeOver(NodeId(2), [NodeId(1), NodeId(3)], 4))[1])
        assert runs.members_up(group.state) == [1, 3]
    assert sum(answers) == owned
    assert not list(runs.owned_ids(group.state, NodeId(2)))


def test_only_members_that_are_up_inherit() -> None:
    """A list of members that is old gives no run to one that is down, or was never there."""
    group = Group()
    for number in range(12):
        group.start(f"r{number}")
    group.apply(commands.TakeOver(NodeId(2), [NodeId(1), NodeId(3)], 100))
    group.apply(commands.TakeOver(NodeId(3), [NodeId(1), NodeId(2), NodeId(9)], 100))
    assert {group.run(f"r{number}").owner for number in range(12)} == {1}


def test_a_hand_over_goes_round_and_parks_when_nobody_is_left() -> None:
    """Each owner that gives up is remembered; after the last the run is parked (semantics 4.3)."""
    group = Group()
    group.start()
    seen = []
    while group.run().owner:
        seen.append(group.run().owner)
        assert (
            group.apply(commands.HandOver(R, group.run().epoch, f"not {seen[-1]}", NOBODY))[0]
            == "ok"
        )
    assert sorted(seen) == [1, 2, 3]
    assert (group.run().status, group.run().reason) == (runs.PARKED, f"not {seen[-1]}")
    assert list(runs.parked_ids(group.state)) == [R]
    assert group.settle(Set("a", 1))[:2] == ["refused", "stale"]
    group.apply(commands.Publish(NodeId(2), "boot"))
    assert group.run().status == runs.PARKED, "it is up already: nothing is new"
    group.apply(commands.Publish(NodeId(2), "another boot"))
    assert (group.run().status, group.run().owner, group.run().refused) == (runs.RUNNING, 2, ())


def test_a_hand_over_to_a_member_goes_there() -> None:
    """A run is given to a member that is up, and a stale epoch or one that is down is refused."""
    group = Group()
    group.start()
    epoch, owner = group.run().epoch, group.run().owner
    to = NodeId(owner % 3 + 1)
    assert group.apply(commands.HandOver(R, Epoch(epoch - 1), "", to))[:2] == ["refused", "stale"]
    assert group.apply(commands.HandOver(R, epoch, "", NodeId(9)))[:2] == ["refused", "stale"]
    assert group.apply(commands.HandOver(R, epoch, "", to)) == ["ok", to]
    assert (group.run().owner, group.run().epoch) == (to, group.index)
    assert group.apply(commands.HandOver(R, epoch, "", owner))[:2] == ["refused", "stale"]


def test_nobody_is_no_member() -> None:
    """Node 0 can neither publish itself nor be lost, nor inherit."""
    group = Group()
    assert group.apply(commands.Publish(NOBODY, "x"))[:2] == ["refused", "usage"]
    assert group.apply(commands.TakeOver(NOBODY, [NodeId(1)], 9))[:2] == ["refused", "usage"]
    group.start()
    group.apply(commands.TakeOver(group.run().owner, [NOBODY], 9))
    assert group.run().status == runs.PARKED


# ------------------------------------------------------------------ retention and time
def test_forget_removes_the_oldest_and_everything_of_them() -> None:
    """What ended long ago, or beyond the newest, is removed whole, some at once (semantics 7.4)."""
    group = Group()
    for number in range(6):
        group.now = 1_000 + 100 * number
        group.start(f"r{number}")
        group.signal("go", "s1", run_id=f"r{number}")
        group.settle(Done("x", b"", True, 1, 1), run_id=f"r{number}")
        if number < 5:
            group.settle(Ended("completed", None), run_id=f"r{number}")
    assert group.apply(commands.Forget(1_150, 100, 100)) == ["ok", 2]
    assert [each.run_id for each in group.events] == ["r0", "r1"]
    assert group.apply(commands.Forget(0, 1, 1)) == ["ok", 1]
    assert group.apply(commands.Forget(0, 1, 9)) == ["ok", 1]
    assert group.apply(commands.Forget(9_999, 0, 9)) == ["ok", 1]
    assert runs.find(group.state, RunId("r5")) is not None, "a live run is never forgotten"
    assert not list(group.state.scan(b"r/r0/"))
    assert group.signal("go", "s1", run_id="r0")[:2] == ["refused", "unknown_run"]
    assert group.start("r0", given=7)[:2] == ["ok", "started"], "the id is free again"


def test_forget_looks_only_at_what_it_removes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept, up to a hundred thousand runs, is not read each time."""
    group = Group()
    for number in range(20):
        group.start(f"r{number}")
        group.settle(Ended("completed", None), run_id=f"r{number}")
    seen: list[str] = []
    real = runs.forgettable_ids

    def counted(reader: Reader) -> Iterator[tuple[Millis, RunId]]:
        for ended, run_id in real(reader):
            seen.append(run_id)
            yield ended, run_id

    monkeypatch.setattr(runs, "forgettable_ids", counted)
    assert group.apply(commands.Forget(0, 100, 9)) == ["ok", 0]
    assert group.apply(commands.Forget(0, 18, 9)) == ["ok", 2]
    assert group.apply(commands.Forget(0, 1, 9)) == ["ok", 9]
    assert len(seen) == 1 + 3 + 9


def test_the_clock_never_goes_back() -> None:
    """An entry stamped earlier than the last one counts as stamped the same (semantics 5.1)."""
    group = Group()
    group.apply(b"nonsense", at=9_000)
    assert group.machine.clock(group.state) == 9_000
    group.now = 10
    group.start()
    assert group.run().started_at == 9_000
    assert group.machine.clock(group.state) == 9_000


def test_the_newest_runs_come_first_page_by_page() -> None:
    """Runs are listed by when they were started, the last first, and go on behind a page's last."""
    group = Group()
    for number in range(7):
        group.now += number % 2
        group.start(f"r{number}")
    listed = [(run.started_at, run.id) for run in listing.newest_first(group.state)]
    assert listed == sorted(listed, reverse=True)
    page = list(listing.newest_first(group.state))[:3]
    rest = listing.newest_first(group.state, before=(page[-1].started_at, page[-1].id))
    assert [(run.started_at, run.id) for run in rest] == listed[3:]
