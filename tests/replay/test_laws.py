"""Laws of replay over a corpus of workflow shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from raftoral.codec import unpack
from raftoral.replay.history import Ended, decode, encode
from raftoral.replay.interpreter import Replay, advance
from tests.replay.shapes import (
    EVERY,
    ITEM,
    RUN,
    bare,
    cells,
    floats,
    nothing,
    recorded,
    refused,
    saga,
    scopes,
    start_of,
    uncaught,
    waits,
    with_from,
)

if TYPE_CHECKING:
    from raftoral.replay.effects import Workflow

shapes = pytest.mark.parametrize("flow", EVERY, ids=lambda flow: flow.name)


def state(replay: Replay) -> Any:
    """Return all that can be seen of a replay."""
    waiting = replay.waiting
    return (
        replay.position,
        list(replay.outbox),
        replay.ended,
        None if waiting is None else (type(waiting).__name__, waiting.path),
        getattr(waiting, "call", None),
        getattr(waiting, "due", None),
        getattr(waiting, "attempt", None),
        {path: repr(cell.value) for path, cell in replay.cells.items()},
        replay.where(),
    )


@shapes
def test_replay_is_a_fixed_point(flow: Workflow[Any, Any]) -> None:
    """Replaying a whole history yields nothing new, and ends as it ended."""
    history = recorded(flow)
    outcome = advance(RUN, start_of(flow), history)
    assert outcome.yielded == ()
    assert outcome.waiting is None
    assert outcome.ended == decode(history[-1])


@shapes
def test_any_prefix_and_then_the_rest_is_the_whole(flow: Workflow[Any, Any]) -> None:
    """Fed in two parts, cut anywhere, a history leads to the same place as fed at once."""
    history = recorded(flow)
    whole = Replay(RUN, start_of(flow))
    whole.feed_all(history)
    for cut in range(len(history) + 1):
        parts = Replay(RUN, start_of(flow))
        parts.feed_all(history[:cut])
        parts.feed_all(history[cut:])
        assert state(parts) == state(whole)
        parts.close()
    whole.close()


@shapes
def test_one_by_one_or_all_at_once_is_the_same_at_each_prefix(flow: Workflow[Any, Any]) -> None:
    """After each event the replay stands where one stands that was fed the prefix at once."""
    history = recorded(flow)
    single = Replay(RUN, start_of(flow))
    for length, data in enumerate(history, 1):
        single.feed(data)
        prefix = Replay(RUN, start_of(flow))
        prefix.feed_all(history[:length])
        assert state(single) == state(prefix), length
        prefix.close()
    single.close()


@shapes
def test_what_a_prefix_yields_is_what_the_history_holds_next(flow: Workflow[Any, Any]) -> None:
    """What the code runs ahead by, from any prefix, is how the history goes on."""
    history = recorded(flow)
    for cut in range(1, len(history) + 1):
        replay = Replay(RUN, start_of(flow))
        replay.feed_all(history[:cut])
        ahead = list(replay.outbox)
        assert ahead == history[cut : cut + len(ahead)]
        replay.close()


@shapes
def test_lockstep_goes_the_same_way(flow: Workflow[Any, Any]) -> None:
    """A replay that stands at every effect takes the same history to the same end."""
    history = recorded(flow)
    slow = Replay(RUN, start_of(flow), lockstep=True)
    slow.feed_all(history)
    assert (slow.position, slow.ended, list(slow.outbox)) == (len(history), True, [])
    slow.close()


@shapes
def test_every_event_is_canonical(flow: Workflow[Any, Any]) -> None:
    """Decoding and encoding an event gives its bytes again."""
    for data in recorded(flow):
        assert encode(decode(data), floats=True) == data


@shapes
def test_two_recordings_are_the_same_bytes(flow: Workflow[Any, Any]) -> None:
    """The same code on the same answers makes the same history, byte for byte."""
    assert recorded(flow) == recorded(flow)


def test_yield_and_yield_from_are_the_same() -> None:
    """``x = yield Effect`` runs as ``x = yield from Effect`` does: equal histories."""
    assert recorded(bare)[1:] == recorded(with_from)[1:]


# ------------------------------------------------------------------ what the corpus shows
def result(flow: Workflow[Any, Any]) -> Any:
    """Return the value that a workflow ended with."""
    last = decode(recorded(flow)[-1])
    assert isinstance(last, Ended)
    return last.value


def paths(flow: Workflow[Any, Any], kind: str) -> list[str]:
    """Return the paths of the events of a kind."""
    found: list[Any] = [unpack(data) for data in recorded(flow)]
    return [fields[1] for fields in found if fields[0] == kind]


def test_a_workflow_without_effects_is_a_start_and_an_end() -> None:
    """A workflow that yields nothing has two events."""
    assert [type(decode(data)).__name__ for data in recorded(nothing)] == ["Started", "Ended"]


def test_unnamed_steps_are_counted_in_their_scope() -> None:
    """The n-th unnamed step of a kind in a scope is ``kind#n`` there (semantics 1.1)."""
    assert paths(scopes, "Done") == [
        f"turn-{turn}/compute#{n}" for turn in range(3) for n in range(2)
    ]
    assert paths(scopes, "Logged") == [f"turn-{turn}/inner/log#0" for turn in range(3)]
    assert paths(scopes, "TimerFired") == [
        path for turn in range(3) for path in (f"turn-{turn}/inner/sleep#0", f"sleep#{turn}")
    ]


def test_cells_come_back_by_their_type() -> None:
    """A cell's value is what is read back from the record, as its declared type."""
    value = result(cells)
    assert value["count"] == 8
    assert value["last"] == {
        "price": ITEM.price,
        "colour": "red",
        "ready": ITEM.ready - ITEM.ready,
        "tags": [],
    }
    assert len(value["items"]) == 2
    assert value["empty"] == {"a": 1}


def test_a_failure_can_be_caught_and_undone() -> None:
    """An activity's last failure is caught by its name and the rest of the workflow runs."""
    assert result(saga) == "Declined of 9.90EUR after 3"
    assert paths(saga, "Done") == ["book", "pay", "unbook"]
    assert paths(saga, "Retry") == ["pay", "pay"]


def test_a_failure_that_nobody_catches_is_the_runs() -> None:
    """An uncaught failure ends the run with its name, message and fields."""
    assert result(uncaught)[:2] == ["Declined", "no funds"]


def test_signals_and_times_are_answered() -> None:
    """A signal comes as its type or raw, a timeout as None, and the past does not wait."""
    assert result(waits) == [ITEM.price, None, "green"]
    due = [fields[2] for data in recorded(waits) if (fields := unpack(data))[0] == "TimerSet"]  # type: ignore[index]
    assert due[1] == 0
    assert due[2] == 4_102_444_800_000


def test_declared_floats_are_stored() -> None:
    """A float goes in where a cell, a parameter and both results declare one."""
    assert result(floats) == 0.375


def test_what_cannot_be_is_refused_where_it_is_yielded() -> None:
    """A float argument, a set, a float cell and a non-effect are errors at the yield, and name it."""
    texts = result(refused)
    assert texts[0].startswith("`args[0]` is a float")
    assert texts[1].startswith("`value` is a set")
    assert texts[2].startswith("`value` is a float")
    assert texts[3].startswith("a workflow yields effects only, not 'no effect'")
