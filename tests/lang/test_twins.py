"""order.py and order.rwf are one workflow in two languages."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

import pytest

from raftoral._assets import asset
from raftoral.errors import WorkflowFailed
from raftoral.ids import Millis, RunId
from raftoral.lang.compile import Source, compile_source, decode_input, start
from raftoral.registry.python import python_input, start_python
from raftoral.replay.failures import failure_of
from raftoral.replay.history import Done, Retry, Started, Taken, TimerFired, TimerSet, encode
from raftoral.replay.history import decode as decode_event
from raftoral.replay.interpreter import Replay
from raftoral.replay.waits import ComputeWait, SignalWait, TimerWait

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

SMALL = {"id": "o-1", "card": "4000", "items": [{"sku": "tea", "qty": 2, "price": "4.50EUR"}]}
LARGE = {**SMALL, "items": [{"sku": "desk", "qty": 1, "price": "900.00EUR"}]}
EMPTY = {**SMALL, "items": []}
RESULTS = {
    "stock.reserve": "r-o-1",
    "payments.charge": "p-o-1",
    "shipping.dispatch": "t-o-1",
    "stock.release": None,
}


def twin() -> ModuleType:
    """Load workflows/order.py by its path, as an application does."""
    path = asset("workflows") / "order.py"
    spec = importlib.util.spec_from_file_location("order_twin", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["order_twin"] = module
    spec.loader.exec_module(module)
    return module


def rwf_start() -> tuple[Callable[[Started], Any], Callable[[Any], Any]]:
    """Return how order.rwf begins a run, and how its input is checked."""
    source = Source("order.rwf", (asset("workflows") / "order.rwf").read_text())
    (unit,) = compile_source(source).units
    return lambda one: start(unit.ir, one.input), lambda given: decode_input(unit.ir, given)


def python_start() -> tuple[Callable[[Started], Any], Callable[[Any], Any]]:
    """Return how order.py begins a run, and how its input is checked."""
    workflow = next(iter(twin().registry.workflows.values()))
    return lambda one: start_python(workflow, one), lambda given: python_input(workflow, given)


def story(
    made: tuple[Callable[[Started], Any], Callable[[Any], Any]],
    order: dict[str, Any],
    answers: dict[str, Any],
    signals: list[Any],
) -> tuple[list[Any], list[Any]]:
    """Return the events after `Started`, and every policy and timeout that was asked for."""
    begin, checked = made
    replay = Replay(RunId("r"), begin)
    events: list[bytes] = []
    asked: list[Any] = []

    def feed(event: Any) -> None:
        data = event if isinstance(event, bytes) else encode(event)
        replay.feed(data)
        events.append(data)

    feed(Started("order", 1, "", checked({"order": order}), Millis(0), "", 0))
    while True:
        while replay.outbox:
            feed(replay.outbox[0])
        match replay.waiting:
            case None:
                return [decode_event(data) for data in events[1:]], asked
            case ComputeWait(path, effect, call):
                asked.append((effect.key, effect.options))
                answer = answers[effect.call.activity]
                if isinstance(answer, WorkflowFailed):
                    feed(Retry(path, 1, failure_of(answer), Millis(5)))
                    feed(Done(path, call, False, failure_of(answer), 2))
                else:
                    feed(Done(path, call, True, answer, 1))
            case TimerWait(path, effect):
                asked.append(effect)
                feed(TimerSet(path, Millis(50)))
                feed(TimerFired(path))
            case SignalWait(path, effect):
                asked.append((effect.name, effect.within))
                feed(TimerSet(path, Millis(99)))
                feed(Taken(path, "s", signals.pop(0)) if signals else TimerFired(path))


@pytest.mark.parametrize(
    ("order", "changes", "signals", "status"),
    [
        (SMALL, {}, [], "completed"),
        (LARGE, {}, [{"by": "ann", "ok": True}], "completed"),
        (LARGE, {}, [{"by": "ann", "ok": False}], "failed"),
        (LARGE, {}, [], "failed"),
        (EMPTY, {}, [], "failed"),
        (
            SMALL,
            {"payments.charge": WorkflowFailed("CardDeclined", "no", {"code": "51"})},
            [],
            "failed",
        ),
        (SMALL, {"shipping.dispatch": WorkflowFailed("Lost")}, [], "failed"),
    ],
)
def test_both_languages_yield_the_same_effects(
    order: dict[str, Any], changes: dict[str, Any], signals: list[Any], status: str
) -> None:
    """Every event, policy, timeout and the end are equal, on every way through the workflow."""
    answers = {**RESULTS, **changes}
    rwf_events, rwf_asked = story(rwf_start(), order, answers, list(signals))
    py_events, py_asked = story(python_start(), order, answers, list(signals))
    assert rwf_events == py_events
    assert [str(one) for one in rwf_asked if not isinstance(one, tuple)] != [None]
    assert [one for one in rwf_asked if isinstance(one, tuple)] == [
        one for one in py_asked if isinstance(one, tuple)
    ]
    assert rwf_events[-1].status == status
