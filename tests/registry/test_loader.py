"""From definitions to started generators, for both front ends."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from raftoral.errors import CorruptionError, InvalidInput, UnknownDefinition, WorkflowFailed
from raftoral.ids import Millis, RunId
from raftoral.lang.compile import compile_source
from raftoral.lang.source import Source
from raftoral.registry.app import Registry
from raftoral.registry.definition import Definition, python_definition, rwf_definition
from raftoral.registry.loader import Loader
from raftoral.replay.effects import Activity, Compute, Flow, workflow
from raftoral.replay.history import Done, Ended, Started, decode, encode
from raftoral.replay.interpreter import Replay
from raftoral.replay.waits import ComputeWait

TEXT = """
activity tools.double(number: int) -> int timeout 5s

workflow doubled version 1 (number: int) -> int {
  compute twice = tools.double(number)
  return twice
}
"""


def double(number: int) -> int:
    """Double a number."""
    return 2 * number


@workflow("doubled", version=1, search=("found",))
def doubled(number: int) -> Flow[int]:
    """Do the same in Python."""
    return (yield from Compute("twice", DOUBLE, number))


DOUBLE: Activity[[int], int] = Activity("tools.double", double)


def rwf() -> Definition:
    """Return the compiled definition."""
    compiled = compile_source(Source("doubled.rwf", TEXT))
    assert not compiled.diagnostics, compiled.diagnostics
    return rwf_definition(compiled.units[0])


def run_to_end(loader: Loader, definition: Definition, given: Any) -> list[bytes]:
    """Return the history of a run, the activity done at once."""
    replay = Replay(RunId("r"), loader.start(definition))
    started = Started(definition.name, 1, "m", given, Millis(0), "", 0)
    history = [encode(started)]
    replay.feed(history[0])
    while not replay.ended:
        waiting = replay.waiting
        assert isinstance(waiting, ComputeWait)
        value = loader.checked_result(definition, "tools.double", 2 * given["number"])
        history.append(encode(Done(waiting.path, waiting.call, True, value, 1)))
        replay.feed(history[-1])
        while replay.outbox:
            history.append(replay.outbox[0])
            replay.feed(history[-1])
    replay.close()
    return history


def test_both_front_ends_make_the_same_history() -> None:
    """The same workflow in `.rwf` and in Python yields the same events on the same input."""
    loader = Loader(Registry(workflows=[doubled], activities=[DOUBLE]))
    first = run_to_end(loader, rwf(), {"number": 21})
    second = run_to_end(loader, python_definition(doubled), {"number": 21})
    assert first == second
    assert decode(first[-1]) == Ended("completed", 42)


def test_what_is_missing_is_named() -> None:
    """A `.rwf` needs its activities, a Python workflow its registration with the same code."""
    with_all = Loader(Registry(workflows=[doubled], activities=[DOUBLE]))
    empty = Loader(Registry())
    python = python_definition(doubled)
    assert with_all.missing(rwf()) == ""
    assert with_all.missing(python) == ""
    assert "tools.double" in empty.missing(rwf())
    assert "does not register" in empty.missing(python)
    other = Definition("doubled", 1, "python", "0" * 64, "", "", b"")
    assert "deployed with other code" in with_all.missing(other)
    with pytest.raises(UnknownDefinition):
        empty.start(python)
    assert [each.name for each in with_all.python_definitions()] == ["doubled"]


def test_input_is_checked_where_the_types_are_known() -> None:
    """Both kinds check their input; without its code, a Python workflow's by the names it takes."""
    loader, empty = Loader(Registry(workflows=[doubled])), Loader(Registry())
    python = python_definition(doubled)
    assert loader.checked_input(python, [4]) == {"number": 4}
    assert loader.checked_input(rwf(), {"number": 4}) == {"number": 4}
    assert empty.checked_input(python, {"number": 4}) == {"number": 4}
    for definition in (python, rwf()):
        with pytest.raises(InvalidInput):
            loader.checked_input(definition, {"number": "four"})
    assert empty.checked_input(python, [4]) == {"number": 4}
    with pytest.raises(InvalidInput, match=r"takes \(number\), not 'letter'"):
        empty.checked_input(python, {"letter": "a"})
    with pytest.raises(InvalidInput, match=r"takes \(number\), not 2 values"):
        empty.checked_input(python, [4, 5])
    assert empty.search(python) == ["found"]
    assert empty.search(rwf()) == []


def test_results_are_checked_by_what_a_definition_declares() -> None:
    """An activity that returns something else than a `.rwf` declares is ``BadResult``."""
    loader = Loader(Registry())
    assert loader.checked_result(rwf(), "tools.double", 4) == 4
    with pytest.raises(WorkflowFailed) as caught:
        loader.checked_result(rwf(), "tools.double", "four")
    assert caught.value.name == "BadResult"
    assert loader.checked_result(python_definition(doubled), "x", "four") == "four"


def test_signals_are_stored_plain() -> None:
    """A payload for a Python workflow is any value, made plain."""
    loader = Loader(Registry())
    assert loader.checked_signal(python_definition(doubled), "any", {"a": Decimal(1)}) == {
        "a": Decimal(1)
    }


def test_a_damaged_program_is_told() -> None:
    """Bytes that are no program are `CorruptionError`, from every question about it."""
    damaged = Definition("x", 1, "rwf", "m", "", "", b"no program")
    loader = Loader(Registry())
    with pytest.raises(CorruptionError):
        loader.missing(damaged)
    with pytest.raises(CorruptionError):
        loader.checked_input(damaged, {})
