"""One run of a program: a generator of the same effects that a Python workflow yields.

A program is turned once into nested closures (no code is generated or executed as text); a run is a
generator over them. Expressions and pure statements are plain functions; a statement that yields is
a generator. Every pure step costs fuel, which an effect refills; without fuel the run fails with
``FuelExhausted``, on every node at the same step.

A frame is a list: the meter first, then the slots of the variables. Values are never changed in
place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raftoral.convert import to_plain
from raftoral.errors import CorruptionError, WorkflowFailed
from raftoral.lang.boundary import decode_input
from raftoral.lang.evaluate.frames import RETURN, Exhausted, Flow, Frame, Meter, bounded
from raftoral.lang.evaluate.program import Program, load

if TYPE_CHECKING:
    from collections.abc import Generator

    from raftoral.replay.effects import (
        Effect,
    )
    from raftoral.values import Value


class Evaluation:
    """One run of a program: its generator, and what a debugger may ask.

    ``generator`` yields effects, takes their answers by ``send`` and failures by ``throw``, and
    returns the result. A failure that nothing catches leaves it as `WorkflowFailed`.
    """

    floats = False  # The language has none.

    def __init__(self, program: Program, values: dict[str, Value]) -> None:
        unit = program.unit
        self._unit = unit
        self._meter = Meter(unit.fuel)
        self._frame: Frame = [self._meter, *[None] * unit.slots]
        for slot, field in enumerate(unit.inputs, 1):
            self._frame[slot] = values[field[0]]
        self.generator: Generator[Effect[Any], Any, Value] = steps_of(program.body, self._frame)

    def __iter__(self) -> Generator[Effect[Any], Any, Value]:
        """Return the generator, so that Python workflows can ``yield from`` an evaluation."""
        return self.generator

    @property
    def span(self) -> tuple[int, int]:
        """Line and column of the statement it stands at; (0, 0) before the first one."""
        at = self._meter.at
        return (0, 0) if at < 0 else (self._unit.spans[2 * at], self._unit.spans[2 * at + 1])

    @property
    def line(self) -> int:
        """The line of the statement it stands at; 0 before the first one."""
        return self.span[0]

    def where(self, generator: Any = None) -> tuple[str, int]:
        """Return the name of the source and the line it stands at."""
        return self._unit.path, self.line

    def new_input(self, given: object) -> Value:
        """Return the input of the next generation as it is stored; `InvalidInput` if it is none."""
        return dict(decode_input(self._unit, to_plain(given)))

    def variables(self, generator: Any = None) -> dict[str, object]:
        """Return the variables that are in sight there; a checkpoint by its recorded value."""
        at = max(self._meter.at, 0)
        found = {}
        for name, slot, is_cell, first, last in self._unit.variables:
            if first <= at <= last:
                value = self._frame[slot]
                found[name] = visible(getattr(value, "value", None) if is_cell else value)
        return found


def visible(value: Any) -> object:
    """Return a value as a debugger shows it: an error as its name, message and fields."""
    if isinstance(value, WorkflowFailed):
        return {"name": value.name, "message": value.message, **value.details}
    return value


def start(data: bytes, values: Value) -> Evaluation:
    """Return a run of the stored program with an input that `convert.decode_input` made.

    Raises `CorruptionError` for damaged bytes or an input that lacks a name.
    """
    program = load(data)
    if not isinstance(values, dict) or any(f[0] not in values for f in program.unit.inputs):
        raise CorruptionError(f"the stored input does not fit workflow {program.unit.name}")
    return Evaluation(program, values)


def steps_of(body: Flow, frame: Frame) -> Generator[Effect[Any], Any, Value]:
    """Run the body in its frame; what leaves it is a result or a `WorkflowFailed`."""
    meter: Meter = frame[0]
    try:
        signal = yield from body(frame)
        if signal != RETURN:
            return None
        result: Value = meter.result
        bounded(result)
        return result
    except Exhausted:
        raise WorkflowFailed(
            "FuelExhausted", f"{meter.limit:,} pure steps without an effect, in line of no end"
        ) from None
    except (TypeError, AttributeError, LookupError, ValueError, RecursionError) as error:
        raise CorruptionError(f"the program does not fit its own types: {error}") from None
