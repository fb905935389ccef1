"""Mailboxes: updates and their answers, and what of signals and updates outlives a generation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raftoral.codec import pack
from raftoral.ids import Millis
from raftoral.machines import commands, mail, runs
from raftoral.replay.history import Ended, Restarted, Taken, TimerSet, Updated
from tests.machines.group import FAILED, Group, R

if TYPE_CHECKING:
    import pytest


def update(group: Group, update_id: str, payload: Any = 1, name: str = "add") -> Any:
    """Send an update."""
    return group.apply(commands.Update(R, name, update_id, pack(payload)))


def test_an_update_is_answered_once_and_the_answer_stays() -> None:
    """The same id is one update, and whoever asks again gets the answer it had (semantics 7.2)."""
    group = Group()
    group.start()
    assert update(group, "u1", 7) == ["ok", "delivered"]
    assert group.told() == ["Signalled"]
    assert update(group, "u1", 7) == ["ok", "seen"]
    assert runs.oldest_update(group.state, R, "add") == ("u1", 7)
    assert mail.answer_of(group.state, R, "u1") is None
    assert group.settle(Updated("add#0", "u1", 7, True, "taken"))[0] == "ok"
    assert group.told() == ["Answered", "Settled"]
    assert update(group, "u1", 7) == ["ok", "answered", True, pack("taken")]
    assert mail.answer_of(group.state, R, "u1") == (True, "taken")
    assert group.settle(Updated("add#1", "u1", 7, True, "taken"))[:2] == ["refused", "stale"]
    group.settle(Ended("completed", None))
    assert update(group, "u1", 7) == ["ok", "answered", True, pack("taken")]


def test_a_refused_update_is_answered_with_its_failure() -> None:
    """A refusal is an answer too; the next update is the oldest then."""
    group = Group()
    group.start()
    update(group, "u1")
    update(group, "u2")
    assert group.settle(Updated("a", "u2", 1, True, None))[:2] == ["refused", "stale"]
    assert group.settle(Updated("a", "u1", 1, False, FAILED))[0] == "ok"
    assert update(group, "u1") == ["ok", "answered", False, pack(FAILED)]
    assert group.settle(Updated("a", "u2", True, True, None))[:2] == ["refused", "stale"], "not 1"
    assert group.settle(Updated("a", "u2", 1, True, None))[0] == "ok"


def test_one_settlement_takes_several_in_their_order() -> None:
    """Events of one settlement are checked against what the ones before them leave."""
    group = Group()
    group.start()
    group.signal("go", "s1")
    group.signal("go", "s2")
    update(group, "u1")
    backwards = [Taken("go#0", "s2", 1), Taken("go#1", "s1", 1)]
    assert group.settle(*backwards)[:2] == ["refused", "stale"]
    assert runs.oldest_mail(group.state, R, "go") == ("s1", 1)
    forwards = [Taken("go#0", "s1", 1), Taken("go#1", "s2", 1), Updated("a", "u1", 1, True, 1)]
    assert group.settle(*forwards) == ["ok", 4]


def test_an_update_that_nobody_will_answer_is_refused() -> None:
    """After the end a new update is refused, and so is one that was never taken."""
    group = Group()
    assert update(group, "u1")[:2] == ["refused", "unknown_run"]
    group.start()
    update(group, "u1")
    group.settle(Ended("completed", None))
    assert update(group, "u1")[:2] == ["refused", "run_ended"]
    assert update(group, "u2")[:2] == ["refused", "run_ended"]


def test_the_boxes_of_signals_and_updates_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """One name and one id may be a signal and an update; each box has its own bound."""
    monkeypatch.setattr(mail, "MAILBOX_MAX", 1)
    group = Group()
    group.start()
    assert group.signal("add", "x")[0] == update(group, "x")[0] == "ok"
    assert group.signal("add", "y")[:2] == update(group, "y")[:2] == ["refused", "limit_exceeded"]
    group.settle(Taken("add#0", "x", 1))
    assert group.signal("add", "y")[0] == "ok"
    assert update(group, "y")[:2] == ["refused", "limit_exceeded"]


def test_a_restart_keeps_mailboxes_and_what_was_seen() -> None:
    """What was not taken waits for the next generation, and no id comes twice (semantics 7.1)."""
    group = Group()
    group.start()
    group.signal("go", "s1")
    group.signal("go", "s2")
    update(group, "u1")
    group.settle(Taken("go#0", "s1", 1), TimerSet("t", Millis(9_000)))
    group.settle(Restarted({"x": 2}))
    assert group.signal("go", "s1") == ["ok", "seen"]
    assert group.signal("go", "s2") == ["ok", "seen"]
    assert update(group, "u1") == ["ok", "seen"]
    assert group.settle(Taken("go#0", "s2", 1), Updated("add#0", "u1", 1, True, 1))[0] == "ok"
