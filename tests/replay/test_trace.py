from __future__ import annotations

import pytest

from raftoral import Checkpoint, Compute, Flow, Log, Workflow, WorkflowFailed, workflow
from raftoral.errors import CorruptionError, UsageError
from raftoral.ids import Millis
from raftoral.registry.python import start_python
from raftoral.replay.failures import failure_of
from raftoral.replay.history import Done, Ended, Event, Logged, Set, Started, encode
from raftoral.replay.interpreter import Body, Replay
from raftoral.replay.packing import call_bytes
from raftoral.replay.trace import Change, Trace, changes
from raftoral.replay.waits import ComputeWait

BEGAN = Millis(1_000)


@workflow("count", version=1)
def count(upto: int) -> Flow[int]:
    """Work through a list that it changes in place."""
    left = list(range(upto))
    total = yield from Checkpoint("total", 0)
    while left:
        left.pop()
        yield from total.set(total.get() + 1)
    yield from Log("half")
    return (yield from Compute("add", "add", total.get()))


@workflow("stuck", version=1)
def stuck() -> Flow[int]:
    """Stop on purpose, as a user's Ctrl-C would."""
    yield from Log("before")
    raise KeyboardInterrupt


def _start(one: Workflow[..., object]) -> object:
    def start(started: Started) -> Body:
        return start_python(one, started)

    return start


def _call() -> bytes:
    return call_bytes(Compute("add", "add", 2))


EVENTS: list[Event] = [
    Started("count", 1, "", {"upto": 2}, BEGAN, "", 0),
    Set("total", 0),
    Set("total", 1),
    Set("total", 2),
    Logged("log#0", "half"),
    Done("add", _call(), True, 7, 1),
    Ended("completed", 7),
]


def _trace(events: list[Event], one: Workflow[..., object] = count) -> Trace:
    return Trace(_start(one), [encode(event) for event in events], run_id="r")  # type: ignore[arg-type]


def test_each_position_shows_the_statement_that_asks_for_the_next_event() -> None:
    """The code stands at checkpoints and log lines too, though a node runs past them."""
    trace = _trace(EVENTS)
    asks = [trace.at(n).asks for n in range(len(trace) + 1)]
    assert asks == [
        "",
        "Set total = 0",
        "Set total = 1",
        "Set total = 2",
        "Logged log#0 'half'",
        "compute add = add(2)",
        "Ended completed 7",
        "",
    ]
    lines = [trace.at(n).line - count.function.__code__.co_firstlineno for n in range(1, 6)]
    assert lines == [4, 7, 7, 8, 9]


def test_variables_are_those_of_the_moment() -> None:
    """A list that the code changes later is told as it was, and a cell by what is recorded."""
    trace = _trace(EVENTS)
    seen = [trace.at(n).variables for n in range(1, 5)]
    assert [each["left"] for each in seen] == ["[0, 1]", "[0]", "[]", "[]"]
    assert [each.get("total") for each in seen] == [None, "0", "1", "2"]
    assert [dict(trace.at(n).cells) for n in (1, 2, 7)] == [{}, {"total": "0"}, {"total": "2"}]


def test_going_back_is_a_shorter_replay() -> None:
    """Whatever was looked at before, a position shows the same."""
    trace = _trace(EVENTS)
    forth = [trace.at(n) for n in range(len(trace) + 1)]
    back = [trace.at(n) for n in reversed(range(len(trace) + 1))]
    assert forth == back[::-1]
    assert trace.at(3) == _trace(EVENTS).at(3)


def test_the_end_is_told() -> None:
    """A run that ended has ended; one that waits says what for."""
    trace = _trace(EVENTS)
    assert trace.at(7).ended
    assert not _trace(EVENTS[:5]).at(5).ended
    assert _trace(EVENTS[:5]).at(5).asks == "compute add = add(2)"


def test_a_failed_step_throws_into_the_code() -> None:
    """A recorded failure that nothing catches ends the run by the same name."""
    failure = failure_of(WorkflowFailed("TooMuch", "no"))
    events = [*EVENTS[:5], Done("add", _call(), False, failure, 3), Ended("failed", failure)]
    last = _trace(events).at(7)
    assert last.ended
    assert last.diverged is None


def test_a_divergence_stands_where_both_still_agree() -> None:
    """Beyond the first event that the code does not ask for, there is no position."""
    trace = _trace([*EVENTS[:2], Set("total", 5), *EVENTS[3:]])
    assert trace.at(2).diverged is None
    for position in (3, 7):
        stop = trace.at(position)
        assert stop.position == 2
        assert stop.diverged is not None
        assert stop.diverged.recorded == "Set total = 5"
        assert stop.diverged.yielded == "Set total = 1"
        assert stop.variables == trace.at(2).variables


def test_an_answer_to_nothing_is_a_divergence() -> None:
    """An event behind the end, or in front of the beginning, is told and not obeyed."""
    behind = _trace([*EVENTS, Set("total", 9)]).at(8)
    assert behind.position == 7
    assert behind.diverged is not None
    before = _trace(EVENTS[1:]).at(1)
    assert before.position == 0
    assert before.diverged is not None


def test_a_run_that_the_group_ended_is_no_divergence() -> None:
    """A terminated run stops wherever its code stands."""
    end = Ended("terminated", failure_of(WorkflowFailed("HistoryFull", "too long")))
    stop = _trace([*EVENTS[:3], end]).at(4)
    assert stop.ended
    assert stop.diverged is None


def test_an_interrupted_replay_begins_anew() -> None:
    """After an interrupt inside of the code, the other positions can still be looked at."""
    trace = _trace([EVENTS[0]._replace(input={}), Logged("log#0", "before"), EVENTS[-1]], stuck)  # type: ignore[union-attr]
    assert trace.at(1).asks == "Logged log#0 'before'"
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            trace.at(2)
    assert trace.at(1).asks == "Logged log#0 'before'"


def test_no_position_outside_and_no_bytes_that_hold_no_event() -> None:
    """Positions go from 0 to the length; bytes of something else are refused at once."""
    trace = _trace(EVENTS)
    for position in (-1, 8):
        with pytest.raises(UsageError, match="from 0 to 7"):
            trace.at(position)
    with pytest.raises(CorruptionError):
        Trace(_start(count), [b"\x01"])  # type: ignore[arg-type]


def test_changes_name_what_differs() -> None:
    """What came, what changed and what went out of sight; nothing of a workflow that ended."""
    trace = _trace(EVENTS)
    one, two, end = trace.at(1), trace.at(2), trace.at(7)
    assert changes(one, two) == (Change("total", None, "0"), Change("left", "[0, 1]", "[0]"))
    assert changes(two, one) == (Change("left", "[0]", "[0, 1]"), Change("total", "0", None))
    assert changes(two, end) == (Change("total", "0", "2"),)


def test_lockstep_asks_for_the_same_events_as_a_node() -> None:
    """The debugger's replay yields what the node's replay yields, one event at a time."""
    ahead = Replay("r", _start(count))  # type: ignore[arg-type]
    step = Replay("r", _start(count), lockstep=True)  # type: ignore[arg-type]
    for event in EVENTS:
        ahead.feed(encode(event))
        step.feed(encode(event))
        assert list(step.outbox) == list(ahead.outbox)[:1]
        if not step.outbox:
            assert isinstance(step.waiting, ComputeWait) or step.ended
    assert step.ended
    assert ahead.ended
