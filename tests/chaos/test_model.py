"""The model of a run says what the promises say."""

from __future__ import annotations

import pytest

from raftoral.sim.linearizability import History, Verdict, check
from tests.chaos.record import ABSENT, ENDED, RUNNING, run_model

A, B = (ENDED, b"a"), (ENDED, b"b")
START, LOOK, SIGNAL = ("start",), ("look",), ("signal", 0)


@pytest.mark.parametrize(
    ("answers", "right"),
    [
        ([(LOOK, ABSENT), (START, RUNNING), (LOOK, RUNNING), (LOOK, A), (START, A)], True),
        ([(START, RUNNING), (LOOK, ABSENT)], False),
        ([(START, RUNNING), (LOOK, A), (LOOK, RUNNING)], False),
        ([(START, RUNNING), (LOOK, A), (LOOK, B)], False),
        ([(LOOK, A)], False),
        ([(START, RUNNING), (SIGNAL, "taken"), (LOOK, A), (SIGNAL, "taken")], True),
        ([(START, RUNNING), (LOOK, A), (SIGNAL, "taken")], False),
        ([(START, RUNNING), (SIGNAL, ENDED), (LOOK, A), (SIGNAL, ENDED)], True),
        ([(START, RUNNING), (SIGNAL, ENDED), (LOOK, RUNNING)], False),
        ([(START, RUNNING), (SIGNAL, "taken"), (SIGNAL, ENDED)], False),
        ([(SIGNAL, "taken")], False),
    ],
)
def test_answers_one_after_the_other(answers: list[tuple[tuple[str], object]], right: bool) -> None:
    """A run is absent, then running, then ended for good, and takes no new signal after that."""
    history = History()
    for action, result in answers:
        history.begin(1, "r", action)
        history.end(1, result)
    assert (check(history.operations(), run_model()).verdict is Verdict.YES) == right
