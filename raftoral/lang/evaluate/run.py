"""One run of a program: a generator of the same effects that a Python workflow yields.

A program is turned once into nested closures (no code is generated or executed as text); a run is a
generator over them. Expressions and pure statements are plain functions; a statement that yields is
a generator. Every pure step costs fuel, which an effect refills; without fuel the run fails with
``FuelExhausted``, on every node at the same step.

A frame is a list: the meter first, then the slots of the variables. Values are never changed in
place.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from raftoral.convert import to_plain
from raftoral.errors import CorruptionError, InvalidInput, WorkflowFailed
from raftoral.lang.boundary import decode_input
from raftoral.lang.evaluate.effects import Waiting
from raftoral.lang.evaluate.frames import (
    RETURN,
    Meter,
    Shared,
    Sound,
    bounded,
)
from raftoral.lang.evaluate.program import load
from raftoral.replay.effects import current_scopes
from raftoral.values import instant_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from raftoral.lang.evaluate.frames import Flow, Frame
    from raftoral.lang.evaluate.program import Program
    from raftoral.replay.effects import Effect
    from raftoral.replay.history import Started
    from raftoral.values import Value


class Evaluation:
    """One run of a program: its generator, and what a debugger may ask.

    ``generator`` yields effects, takes their answers by ``send`` and failures by ``throw``, and
    returns the result. A failure that nothing catches leaves it as `WorkflowFailed`.
    """

    floats = False  # The language has none.

    def __init__(
        self, program: Program, values: dict[str, Value], own: dict[str, Value] | None = None
    ) -> None:
        unit = program.unit
        self._unit = unit
        self._shared = Shared(own or {})
        self._frame: Frame = [Meter(unit.fuel, self._shared), *[None] * unit.slots]
        for slot, field in enumerate(unit.inputs, 1):
            self._frame[slot] = values[field[0]]
        self.generator: Generator[Effect[Any], Any, Value] = steps_of(program.body, self._frame)

    def __iter__(self) -> Generator[Effect[Any], Any, Value]:
        """Return the generator, so that Python workflows can ``yield from`` an evaluation."""
        return self.generator

    def _place(self, generator: Any) -> Frame:
        """Return the frame of a branch; the workflow's own for None."""
        while generator is not None:
            frame = self._shared.places.get(generator)
            if frame is not None:
                return frame
            generator = getattr(generator, "gi_yieldfrom", None)
        return self._frame

    def span(self, generator: Any = None) -> tuple[int, int]:
        """Return line and column of the statement it stands at; (0, 0) before the first one."""
        at = self._place(generator)[0].at
        return (0, 0) if at < 0 else (self._unit.spans[2 * at], self._unit.spans[2 * at + 1])

    def where(self, generator: Any = None) -> tuple[str, int]:
        """Return the name of the source and the line it stands at."""
        return self._unit.path, self.span(generator)[0]

    def new_input(self, given: object) -> Value:
        """Return the input of the next generation as it is stored; `InvalidInput` if it is none."""
        return dict(decode_input(self._unit, to_plain(given)))

    def variables(self, generator: Any = None) -> dict[str, object]:
        """Return the variables that are in sight there; a checkpoint by its recorded value."""
        frame = self._place(generator)
        at = max(frame[0].at, 0)
        found = {}
        for name, slot, is_cell, first, last in self._unit.variables:
            if first <= at <= last:
                value = frame[slot]
                found[name] = visible(getattr(value, "value", None) if is_cell else value)
        return found


def visible(value: Any) -> object:
    """Return a value as a debugger shows it: an error as its name, message and fields."""
    if isinstance(value, WorkflowFailed):
        return {"name": value.name, "message": value.message, **value.details}
    if isinstance(value, Waiting):
        return {"token": value.pending.token}
    return value


def start(data: bytes, values: Value, started: Started | None = None) -> Evaluation:
    """Return a run of the stored program with an input that `boundary.decode_input` made.

    ``started`` is the first event of its history, for what the program asks of `self`. Raises
    `CorruptionError` for damaged bytes or an input that lacks a name.
    """
    return begin(load(data), values, started)


def begin(program: Program, values: Value, started: Started | None = None) -> Evaluation:
    """Return a run of a program; see `start`."""
    if not isinstance(values, dict) or any(f[0] not in values for f in program.unit.inputs):
        raise CorruptionError(f"the stored input does not fit workflow {program.unit.name}")
    own: dict[str, Value] = {"version": program.unit.version, "parent": None, "generation": 0}
    if started is not None:
        own["started"] = instant_of(started.at)
        own["generation"] = started.generation
        own["parent"] = started.parent or None
    return Evaluation(program, values, own)


def queries_of(data: bytes) -> dict[str, Callable[[Mapping[str, Value]], Value]]:
    """Return the queries of a stored program: pure functions of a run's committed cells, by path."""
    program = load(data)
    return {name: partial(_ask, program, name) for name in program.queries}


def _ask(program: Program, query: str, cells: Mapping[str, Value]) -> Value:
    names, slots, expr = program.queries[query]
    for name in names:
        if name not in cells:
            raise InvalidInput(f"it reads {name}, which has no value yet")
    meter = Meter(program.unit.fuel, Shared({}))
    with Sound(meter):
        frame = [meter, *(cells[name] for name in names)]
        value: Value = expr(frame + [None] * (slots + 1 - len(frame)))
        bounded(value)
        return value


def steps_of(body: Flow, frame: Frame) -> Generator[Effect[Any], Any, Value]:
    """Run the body in its frame; what leaves it is a result or a `WorkflowFailed`."""
    meter: Meter = frame[0]
    scopes = current_scopes.get(None)
    meter.shared.own["id"] = "" if scopes is None else scopes.run_id
    with Sound(meter):
        signal = yield from body(frame)
        if signal != RETURN:
            return None
        result: Value = meter.result
        bounded(result)
        return result
