"""The model of a run in the mix says what the engine promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raftoral.sim.linearizability import History, Verdict, check
from tests.chaos.mixed_model import DONE, Seen, Standing, mixed_model
from tests.chaos.record import ABSENT, ENDED, RUNNING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from raftoral.sim.linearizability import Action

START, LOOK, READ = ("start",), ("look",), ("read",)
PAUSE, RESUME, CANCEL = ("pause", "p"), ("resume", "r"), ("cancel", "c")
ADD, ADD_MORE = ("add", "a", 1), ("add", "b", 2)
GO, GO_ON = ("signal", "g"), ("signal", "h")


def at(events: int, status: str = "running", generation: int = 0) -> Standing:
    """Return how a run that goes on is shown."""
    return Standing(RUNNING, status, generation, events)


def ended(how: str, events: int = 9) -> Standing:
    """Return how a run that has ended is shown."""
    return Standing((ENDED, f'["{how}",1]'.encode()), how, 0, events)


BEGUN: tuple[Action, Hashable] = (START, at(1))
TOLD = Seen(("g",), 1, ("a",))


@pytest.mark.parametrize(
    ("answers", "right"),
    [
        ([(LOOK, ABSENT), BEGUN, (LOOK, at(2)), (LOOK, ended("completed"))], True),
        ([(LOOK, at(1))], False),
        ([BEGUN, (LOOK, at(5)), (LOOK, at(4))], False),
        ([BEGUN, (LOOK, at(5)), (LOOK, at(2, generation=1))], True),
        ([BEGUN, (LOOK, ended("completed")), (LOOK, at(9))], False),
        ([BEGUN, (LOOK, ended("cancelled"))], False),
        ([BEGUN, (CANCEL, DONE), (LOOK, ended("cancelled")), (CANCEL, DONE)], True),
        ([BEGUN, (LOOK, ended("completed")), (CANCEL, DONE)], False),
        ([BEGUN, (PAUSE, DONE), (LOOK, at(2, "paused")), (RESUME, DONE), (LOOK, at(3))], True),
        ([BEGUN, (PAUSE, DONE), (RESUME, DONE), (PAUSE, DONE), (LOOK, at(3))], True),
        ([BEGUN, (PAUSE, DONE), (RESUME, DONE), (PAUSE, DONE), (LOOK, at(4, "paused"))], False),
        ([BEGUN, (PAUSE, DONE), (LOOK, at(2))], False),
        ([BEGUN, (PAUSE, DONE), (LOOK, at(2, "parked"))], True),
        ([BEGUN, (LOOK, ended("completed")), (PAUSE, ENDED), (PAUSE, ENDED)], True),
        ([BEGUN, (LOOK, ended("completed")), (PAUSE, ENDED), (PAUSE, DONE)], False),
        ([BEGUN, (ADD, 1), (ADD_MORE, 3), (ADD, 1)], True),
        ([BEGUN, (ADD, 1), (ADD_MORE, 2)], False),
        ([BEGUN, (ADD, 1), (ADD_MORE, 3), (ADD, 4)], False),
        ([BEGUN, (LOOK, ended("completed")), (ADD, 1)], False),
        ([BEGUN, (GO, DONE), (GO, DONE), (LOOK, ended("completed")), (GO, DONE)], True),
        ([BEGUN, (LOOK, ended("completed")), (GO, DONE)], False),
        ([BEGUN, (GO, DONE), (ADD, 1), (READ, TOLD)], True),
        ([BEGUN, (GO, DONE), (READ, TOLD)], False),
        ([BEGUN, (ADD, 1), (READ, TOLD)], False),
        ([BEGUN, (ADD, 1), (READ, Seen((), 0, ()))], False),
        ([BEGUN, (GO, DONE), (GO_ON, DONE), (READ, Seen(("h",), 0, ()))], False),
        ([BEGUN, (GO, DONE), (READ, Seen((), 0, ())), (READ, Seen(("g",), 0, ()))], True),
        ([BEGUN, (GO, DONE), (READ, Seen(("g",), 0, ())), (READ, Seen((), 0, ()))], False),
        ([BEGUN, (ADD, 1), (READ, Seen((), 0, None)), (READ, Seen((), 1, None))], True),
        ([BEGUN, (ADD, 1), (READ, Seen((), 1, None)), (READ, Seen((), 0, None))], False),
        ([BEGUN, (ADD, 1), (ADD_MORE, 3), (READ, Seen((), 0, None))], False),
        ([(READ, Seen((), 0, ()))], False),
        ([(READ, ABSENT), BEGUN, (READ, Seen((), 0, ()))], True),
        ([BEGUN, (READ, ABSENT)], False),
    ],
)
def test_answers_one_after_the_other(answers: list[tuple[Action, Hashable]], right: bool) -> None:
    """Each answer fits all before it: nothing that was told is taken back, done twice or missing."""
    history = History()
    for action, result in answers:
        history.begin(1, "r", action)
        history.end(1, result)
    assert (check(history.operations(), mixed_model()).verdict is Verdict.YES) == right


def test_a_change_that_nobody_was_told_of_may_come_late_but_once() -> None:
    """A pause without an answer may hold behind a resuming; made known, it does so no second time."""
    history = History()
    for action, result in (BEGUN, (PAUSE, None), (RESUME, DONE), (LOOK, at(3, "paused"))):
        history.begin(1, "r", action)
        if result is None:
            history.crash(1)
        else:
            history.end(1, result)
    assert check(history.operations(), mixed_model()).verdict is Verdict.YES
    for action, result in ((("resume", "r2"), DONE), (PAUSE, DONE), (LOOK, at(9, "paused"))):
        history.begin(1, "r", action)
        history.end(1, result)
    assert check(history.operations(), mixed_model()).verdict is Verdict.NO
