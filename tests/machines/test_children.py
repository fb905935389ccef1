"""Children and parents within one group; `test_between` has two groups and a bad network."""

from __future__ import annotations

from typing import Any

import pytest

from raftoral.codec import pack
from raftoral.ids import Index, RunId, Version
from raftoral.machines import children, commands, outbox, runs
from raftoral.machines.children import Parent, parent_of
from raftoral.machines.outbox import Begin, Say
from raftoral.replay.history import ChildAsked, ChildDone, ChildLeft, Ended, Restarted
from tests.machines.group import FAILED, Group, R, command_of

KID = RunId("r/0/kid")
DONE = Ended("completed", "fine")


def deliver(group: Group, number: int, *, low: int | None = None, done: bool = True) -> Any:
    """Carry a message to the group itself, and tell that it came."""
    command = command_of(group.waiting()[number])
    first = outbox.low(group.state) if low is None else low
    result = group.apply(commands.Delivered(1, number, first, command))
    if done:
        group.apply(commands.OutboxDone([number]))
    return result


def parent_and_child(**options: Any) -> Group:
    """Return a group with a run and its child, which has begun."""
    group = Group()
    group.start()
    assert group.ask(**options)[0] == "ok"
    deliver(group, 1)
    return group


# ------------------------------------------------------------------ asking
def test_a_child_is_asked_for_by_one_message() -> None:
    """The ask puts one start into the outbox, with the parent that it is for (semantics 6.3)."""
    group = Group()
    group.start()
    assert group.ask() == ["ok", 2]
    assert group.told() == ["OutboxGrew", "Settled"]
    (begin,) = group.waiting().values()
    assert isinstance(begin, Begin)
    assert (begin.run_id, begin.name, begin.version) == (KID, "w", 0)
    assert begin.input == pack({"n": 1})
    assert parent_of(begin.parent) == Parent("r", 0, "kid", True, Index(group.index))
    assert group.ask()[:2] == ["refused", "usage"], "once for each step"
    wrong = ChildAsked("other", "r/7/other", "w", 0, {}, "cancel", False)
    assert group.settle(wrong)[:2] == ["refused", "usage"]
    assert len(group.waiting()) == 1


def test_only_a_child_has_a_slash_in_its_id() -> None:
    """A user's id has none, and a child's is that of its parent's step."""
    group = Group()
    parent = Parent("r", 0, "kid", True, Index(1)).encode()

    def begin(run_id: str, parent: bytes) -> Any:
        command = commands.StartRun(
            RunId(run_id), "w", Version(1), "m", pack({}), Index(0), parent=parent
        )
        return group.apply(command)[:2]

    assert begin("r/0/kid", b"") == ["refused", "usage"]
    assert begin("r/0/other", parent) == ["refused", "usage"]
    assert begin("r/0/kid", b"no parent") == ["refused", "usage"]
    assert begin("kid", parent) == ["refused", "usage"]
    long = Parent("r", 0, "x" * 1_000, True, Index(1))
    assert begin(long.child(), long.encode()) == ["refused", "usage"]
    assert begin("r/0/kid", parent) == ["ok", "started"]


def test_a_child_knows_its_parent() -> None:
    """The first event of a child names the run that asked for it."""
    group = parent_and_child()
    started: Any = group.history(KID)[0]
    assert (started.parent, started.generation) == ("r", 0)


def test_what_is_under_a_child_is_not_under_its_parent() -> None:
    """The id of a child begins with its parent's; forgetting one leaves the other whole."""
    group = parent_and_child(detached=True, close="abandon")
    group.settle(Ended("completed", 1))
    assert group.apply(commands.Forget(9_999, 0, 9)) == ["ok", 1]
    assert runs.find(group.state, R) is None
    assert group.kinds(KID) == ["Started"]


# ------------------------------------------------------------------ the end of a child
def test_the_end_of_a_child_is_taken_once() -> None:
    """Told as often as may be, the parent's history has it once (semantics 6.3)."""
    group = parent_and_child()
    group.settle(DONE, run_id=KID)
    assert deliver(group, 2, done=False) == ["ok", "told"]
    assert group.history()[-1] == ChildDone("kid", True, "fine")
    assert deliver(group, 2, done=False) == ["ok", "dropped"]
    assert group.kinds() == ["Started", "ChildAsked", "ChildDone"]


def test_a_failed_child_tells_its_failure() -> None:
    """Whatever a child ended by but its completion is a failure of the call."""
    group = parent_and_child()
    group.settle(Ended("failed", FAILED), run_id=KID)
    deliver(group, 2)
    assert group.history()[-1] == ChildDone("kid", False, FAILED)


def test_a_child_is_kept_until_its_end_is_told() -> None:
    """Retention leaves a child whose end is in the outbox, and takes it after (semantics 6.3)."""
    group = parent_and_child()
    group.apply(commands.Passed(1, outbox.low(group.state)))
    group.settle(DONE, run_id=KID)
    assert group.apply(commands.Forget(9_999, 0, 9)) == ["ok", 0]
    deliver(group, 2)
    assert group.apply(commands.Forget(9_999, 0, 9)) == ["ok", 1]
    assert runs.find(group.state, KID) is None


def test_the_start_needs_no_answer_once_the_end_is_there() -> None:
    """A child's end proves that it was started: its start leaves the outbox with it."""
    group = Group()
    group.start()
    group.ask()
    deliver(group, 1, done=False)
    group.settle(DONE, run_id=KID)
    assert sorted(group.waiting()) == [1, 2]
    deliver(group, 2, done=False)
    assert sorted(group.waiting()) == [2]


def test_a_start_repeated_after_the_end_tells_it_again() -> None:
    """If the end was told to a parent that did not know the child yet, asking again mends it."""
    group = parent_and_child()
    group.settle(DONE, run_id=KID)
    parent = group.run(KID).parent
    group.apply(commands.OutboxDone([2]))
    assert group.waiting() == {}
    again = commands.StartRun(KID, "w", Version(1), "m", pack({"n": 1}), Index(0), parent=parent)
    assert group.apply(again)[:2] == ["ok", "joined"]
    assert deliver(group, 3) == ["ok", "told"]


def test_a_child_start_joins_though_its_version_has_changed() -> None:
    """The same ask is the same child, whatever its input became by a newer version (6.2)."""
    group = parent_and_child()
    parent = group.run(KID).parent
    newer = commands.StartRun(KID, "w", Version(2), "m2", pack({"n": 2}), Index(9), parent=parent)
    assert group.apply(newer) == ["ok", "joined", 1]
    other = Parent("r", 0, "kid", True, Index(77)).encode()
    newer = commands.StartRun(KID, "w", Version(2), "m2", pack({"n": 2}), Index(9), parent=other)
    assert group.apply(newer)[:2] == ["refused", "run_conflict"]


def test_the_end_of_another_ask_is_dropped() -> None:
    """A run of the same id as one that was forgotten is not told of that one's child."""
    group = parent_and_child()
    group.settle(DONE, run_id=KID)
    (late,) = group.waiting().values()
    group.settle(Ended("completed", 1))
    group.apply(commands.Forget(9_999, 0, 9))
    group.start()
    group.ask()
    assert isinstance(late, Say)
    assert group.apply(commands.Delivered(1, 2, 1, late.command)) == ["ok", "dropped"]
    assert group.kinds() == ["Started", "ChildAsked"]


def test_only_the_latest_end_is_told() -> None:
    """A second parent that joins before the first was told takes the place of the first."""
    group = parent_and_child()
    group.settle(DONE, run_id=KID)
    second = Parent("r", 0, "kid", True, Index(77)).encode()
    join = commands.StartRun(KID, "w", Version(1), "m", pack({"n": 1}), Index(9), parent=second)
    assert group.apply(join)[:2] == ["ok", "joined"]
    (said,) = group.said()
    assert isinstance(said, commands.ChildDone)
    assert said.asked == 77


def test_a_start_that_is_refused_for_good_fails_the_call() -> None:
    """The leader tells the parent of such a refusal as the end of the child."""
    group = Group()
    group.start()
    group.ask()
    begin = group.waiting()[1]
    assert isinstance(begin, Begin)
    told = children.refusal(begin, ["UnknownDefinition", "no workflow is called w", {}])
    assert told is not None
    assert group.apply(told) == ["ok", "told"]
    end: Any = group.history()[-1]
    assert (end.ok, end.value[0]) == (False, "UnknownDefinition")
    assert group.waiting() == {}
    detached = Begin(KID, Parent("r", 0, "kid", False, Index(1)).encode(), "w", 0, b"\xc0")
    assert children.refusal(detached, FAILED) is None


# ------------------------------------------------------------------ leaving children
@pytest.mark.parametrize(
    ("close", "said"),
    [
        ("cancel", [commands.Cancel(KID, outbox.CLOSED)]),
        ("terminate", [commands.Terminate(KID, outbox.CLOSED)]),
        ("abandon", []),
    ],
)
@pytest.mark.parametrize("end", [Ended("completed", 1), Restarted({"x": 1}), ChildLeft("kid")])
@pytest.mark.parametrize("detached", [True, False])
def test_a_child_is_closed_by_its_policy(close: str, said: Any, end: Any, detached: bool) -> None:
    """At the end of its parent, or of its generation, or of its branch (semantics 7.1)."""
    group = parent_and_child(close=close, detached=detached)
    group.settle(end)
    assert group.said() == said
    group.settle(DONE, run_id=KID)
    for number in list(group.waiting()):
        deliver(group, number)
    assert "ChildDone" not in group.kinds(), "nobody waits for it any more"


def test_a_child_is_closed_only_once_it_is_known_to_have_begun() -> None:
    """Overtaken by its closing, a start would live on; so the closing waits for its answer."""
    group = Group()
    group.start()
    group.ask()
    group.settle(Ended("completed", 1))
    assert group.said() == []
    deliver(group, 1)
    assert group.said() == [commands.Cancel(KID, outbox.CLOSED)]
    assert deliver(group, 2) == ["ok", "cancelling"]


def test_leaving_twice_is_leaving() -> None:
    """A child that has ended, or was left, is left without a word."""
    group = parent_and_child()
    assert group.settle(ChildLeft("kid"))[0] == "ok"
    assert group.settle(ChildLeft("kid"))[0] == "ok"
    assert group.settle(ChildLeft("never"))[0] == "ok"
    assert len(group.said()) == 1


# ------------------------------------------------------------------ late copies
def test_a_late_copy_of_a_start_begins_nothing() -> None:
    """After the child was forgotten, a copy of its start that comes at last is dropped (6.3)."""
    group = Group()
    group.start()
    group.ask()
    copy = commands.Delivered(1, 1, 1, command_of(group.waiting()[1]))
    assert group.apply(copy)[:2] == ["ok", "started"]
    group.settle(DONE, run_id=KID)
    deliver(group, 2)
    assert group.waiting() == {}
    assert group.apply(commands.Forget(9_999, 0, 9)) == ["ok", 0], "a copy may still come"
    assert group.apply(commands.Passed(1, 3)) == ["ok"]
    assert group.apply(commands.Forget(9_999, 0, 9)) == ["ok", 1]
    assert group.apply(copy) == ["ok", "passed"]
    assert runs.find(group.state, KID) is None
    assert group.apply(commands.Passed(1, 2)) == ["ok"], "it never moves back"
    assert group.apply(copy) == ["ok", "passed"]


def test_a_late_copy_begins_nothing_in_place_of_a_retried_run() -> None:
    """A run that replaced the one that a message began is kept for that message's sake as well."""
    group = Group()
    first = commands.StartRun(RunId("x"), "w", Version(1), "m", pack({}), Index(0))
    copy = commands.Delivered(1, 1, 1, first.encode())
    group.apply(copy)
    group.settle(Ended("failed", FAILED), run_id="x")
    again = commands.StartRun(
        RunId("x"), "w", Version(1), "m", pack({}), Index(0), policy=commands.RETRY_FAILED
    )
    assert group.apply(again)[:2] == ["ok", "started"]
    group.settle(DONE, run_id="x")
    assert group.apply(commands.Forget(9_999, 0, 9)) == ["ok", 0]
    group.apply(commands.Passed(1, 2))
    assert group.apply(commands.Forget(9_999, 0, 9)) == ["ok", 1]
    assert group.apply(copy) == ["ok", "passed"]


def test_what_is_let_go_in_parts_is_let_go_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many runs messages began, forgetting goes on letting go where no message comes."""
    monkeypatch.setattr(outbox, "RELEASED_AT_ONCE", 2)
    group = Group()
    group.start()
    for number in range(1, 8):
        group.ask(f"kid{number}", detached=True, close="abandon")
        group.apply(commands.Delivered(1, number, 1, command_of(group.waiting()[number])))
        group.settle(DONE, run_id=f"r/0/kid{number}")
    group.apply(commands.Passed(1, 99))
    removed = [group.apply(commands.Forget(9_999, 0, 9))[1] for _ in range(4)]
    assert removed == [4, 2, 1, 0]


def test_a_result_that_no_call_can_be_answered_with_fails_the_call() -> None:
    """An end that fits into its own run's history but into no other still is told, as a failure."""
    group = parent_and_child()
    group.settle(Ended("completed", "x" * 262_200), run_id=KID)
    assert deliver(group, 2) == ["ok", "told"]
    end: Any = group.history()[-1]
    assert (end.ok, end.value[0]) == (False, "LimitExceeded")


def test_messages_are_numbered_on_and_done_once() -> None:
    """Numbers are never used again; what was dealt with is dropped once."""
    group = Group()
    group.start()
    for path in ("a", "b", "c"):
        group.ask(path)
    assert outbox.low(group.state) == 1
    assert group.apply(commands.OutboxDone([1, 2, 2, 9])) == ["ok", 2]
    assert outbox.low(group.state) == 3
    assert group.apply(commands.OutboxDone([3])) == ["ok", 1]
    assert outbox.low(group.state) == 4
    group.ask("d")
    assert sorted(group.waiting()) == [4]


def test_a_message_below_the_first_that_waits_is_no_message() -> None:
    """A sender cannot say that its own message was dealt with before."""
    inner = commands.Cancel(R, "").encode()
    group = Group()
    group.start()
    assert group.apply(commands.Delivered(1, 3, 4, inner))[:2] == ["refused", "usage"]
    assert group.apply(commands.Delivered(1, 3, 3, inner)) == ["ok", "cancelling"]
    nested = commands.Delivered(1, 4, 4, commands.Delivered(1, 5, 5, inner).encode())
    assert group.apply(nested)[:2] == ["refused", "usage"]
    many = commands.Delivered(1, 6, 6, commands.Many([inner]).encode())
    assert group.apply(many)[:2] == ["refused", "usage"]
    assert group.apply(commands.Many([commands.Delivered(1, 7, 7, inner).encode()])) == [
        "ok",
        [["ok", "asked"]],
    ]


def test_a_full_outbox_holds_up_asking_and_not_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    """While other groups do not answer, runs wait with new children; what ends may end."""
    monkeypatch.setattr(outbox, "OUTBOX_MAX", 2)
    group = parent_and_child()
    group.ask("a")
    group.ask("b")
    assert group.ask("c")[:2] == ["refused", "unavailable"]
    assert group.settle(DONE, run_id=KID)[0] == "ok"
    assert len(group.waiting()) == 3
    deliver(group, 2)
    deliver(group, 3)
    assert group.ask("c")[0] == "ok"
