"""Laws of replay over workflows with branches, in whatever order the log decides."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from raftoral.errors import NonDeterminismError
from raftoral.replay.history import (
    CancelAsked,
    Closed,
    Done,
    Ended,
    Opened,
    Restarted,
    decode,
    encode,
)
from raftoral.replay.interpreter import Replay, advance
from tests.replay import forest
from tests.replay.forest import FOREST, RUN, grown
from tests.replay.shapes import start_of

if TYPE_CHECKING:
    from raftoral.replay.effects import Workflow

SEEDS = 40

trees = pytest.mark.parametrize("flow", FOREST, ids=lambda flow: flow.name)


def histories(flow: Workflow[Any, Any]) -> list[list[bytes]]:
    """Return histories of many seeds, half of them with a cancellation somewhere."""
    return [grown(flow, Random(seed), n=seed % 4, cancel=0.1 * (seed % 2)) for seed in range(SEEDS)]


def state(replay: Replay) -> Any:
    """Return all that can be seen of a replay."""
    return (
        replay.position,
        replay.outbox,
        replay.ended,
        replay.restarting,
        sorted((path, type(wait).__name__) for path, wait in replay.waits.items()),
        {path: repr(cell.value) for path, cell in replay.cells.items()},
        replay.committed,
    )


@trees
def test_replay_is_a_fixed_point(flow: Workflow[Any, Any]) -> None:
    """Replaying a whole history yields nothing new, and ends as it ended."""
    for history in histories(flow):
        outcome = advance(RUN, start_of(flow), history)
        assert (outcome.yielded, outcome.waits) == ((), ())
        assert isinstance(decode(history[-1]), Ended | Restarted)


@trees
def test_at_each_prefix_it_stands_where_one_by_one_has_led(flow: Workflow[Any, Any]) -> None:
    """After each event the replay stands where one stands that was fed the prefix at once."""
    for history in histories(flow)[:10]:
        single = Replay(RUN, start_of(flow))
        for length, data in enumerate(history, 1):
            single.feed(data)
            prefix = Replay(RUN, start_of(flow))
            prefix.feed_all(history[:length])
            assert state(single) == state(prefix), length
            prefix.close()
        single.close()


@trees
def test_lockstep_goes_the_same_way(flow: Workflow[Any, Any]) -> None:
    """A replay that stands at every yielded event takes each history to the same end."""
    for history in histories(flow):
        slow = Replay(RUN, start_of(flow), lockstep=True)
        slow.feed_all(history)
        assert (slow.position, slow.ended, slow.outbox) == (len(history), True, [])
        slow.close()


@trees
def test_every_event_is_canonical(flow: Workflow[Any, Any]) -> None:
    """Decoding and encoding an event gives its bytes again."""
    for history in histories(flow)[:10]:
        assert [encode(decode(data), floats=True) for data in history] == history


@trees
def test_a_history_with_an_event_less_is_no_history(flow: Workflow[Any, Any]) -> None:
    """Without any one of its events that the code waits for, a history is refused or not at an end."""
    for history in histories(flow)[:4]:
        for missing, data in enumerate(history):
            if not isinstance(decode(data), Done | Opened | Closed):
                continue
            try:
                outcome = advance(RUN, start_of(flow), history[:missing] + history[missing + 1 :])
            except NonDeterminismError:
                continue
            assert outcome.yielded or outcome.waits


@trees
def test_branches_open_and_close_in_pairs(flow: Workflow[Any, Any]) -> None:
    """Each group is opened once and closed once, with every branch that began, each once."""
    for history in histories(flow):
        events = [decode(data) for data in history]
        opened = {each.path: each.n for each in events if isinstance(each, Opened)}
        closed = {each.path: each.order for each in events if isinstance(each, Closed)}
        assert opened.keys() == closed.keys()
        for path, order in closed.items():
            assert len(set(order)) == len(order) <= opened[path]
        assert (
            max(Counter(each.path for each in events if isinstance(each, Done)).values(), default=1)
            == 1
        )


def test_a_cancelled_run_ends_cancelled_and_cleans_up() -> None:
    """`Cancelled` reaches every branch, their compensations run, and the run ends cancelled."""
    statuses: Counter[str] = Counter()
    undone = 0
    for seed in range(200):
        history = grown(forest.trip, Random(seed), cancel=0.06)
        events = [decode(data) for data in history]
        last = events[-1]
        assert isinstance(last, Ended)
        statuses[last.status] += 1
        done = [each.path for each in events if isinstance(each, Done) and each.ok]
        booked = [path for path in done if not path.startswith("undo/")]
        if any(isinstance(each, CancelAsked) for each in events[:-2]) or last.status == "completed":
            # Whatever was booked is taken back, the newest first.
            assert [
                path.removeprefix("undo/") for path in done if path.startswith("undo/")
            ] == list(reversed(booked))
            undone += len(booked)
    assert statuses["cancelled"] > 20
    assert statuses["completed"] > 20
    assert undone > 100


def test_the_winner_of_a_race_is_the_first_in_the_log() -> None:
    """`Closed` of a race begins with the branch that ended first, and each of them wins somewhere."""
    winners = Counter()
    for seed in range(400):
        for event in map(decode, grown(forest.race, Random(seed))):
            if isinstance(event, Closed):
                winners[event.order[0]] += 1
    assert set(winners) == {0, 1, 2, 3}


def test_a_group_without_branches_is_answered_at_once() -> None:
    """An empty fan-out gives an empty list, once, and is opened and closed in the history."""
    last = decode(grown(forest.empty, Random(1))[-1])
    assert last == Ended("completed", [[], 1])
