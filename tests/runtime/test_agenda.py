"""What an executor looks at next."""

from __future__ import annotations

from random import Random

from raftoral.ids import RunId
from raftoral.runtime.agenda import Agenda


def test_events_and_backlog_take_turns_and_nothing_is_lost() -> None:
    """Each run comes once for all that was noted of it, and neither queue waits for the other."""
    chance = Random(1)
    agenda = Agenda()
    agenda.add_backlog(RunId(f"b{number}") for number in range(50))
    waiting = {RunId(f"b{number}") for number in range(50)}
    order: list[RunId] = []
    for number in range(100):
        agenda.add(RunId(f"e{number // 2}"))
        waiting.add(RunId(f"e{number // 2}"))
        if chance.random() < 0.7:
            order.append(agenda.next())
            waiting.remove(order[-1])
    while agenda:
        order.append(agenda.next())
        waiting.discard(order[-1])
    assert not waiting
    assert [each for each in order if each[0] == "b"] == [f"b{number}" for number in range(50)]
    kinds = "".join(each[0] for each in order)
    assert "bbbb" not in kinds[:80]
    assert "eeee" not in kinds[:80]


def test_a_cleared_agenda_is_empty() -> None:
    """A node that begins anew forgets what it wanted to look at."""
    agenda = Agenda()
    agenda.add(RunId("a"))
    agenda.add_backlog([RunId("b")])
    agenda.clear()
    assert not agenda
