"""Fails each attempt of a test block once with each error that its activity may give.

What comes of a run is then no longer what the test expects, so one thing is asked of it: that it ends,
and in a way that its text declares.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from raftoral.errors import WorkflowFailed
from raftoral.lang.definitions import ERRORS
from raftoral.lang.evaluate.program import load
from raftoral.lang.ir import decode_value
from raftoral.replay.failures import as_error
from raftoral.replay.history import Ended
from raftoral.testing.trials import Fault, run_trial
from raftoral.testing.world import BEGINNING
from raftoral.values import Money, instant_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raftoral.lang.check.trials import Trial
    from raftoral.lang.compile import Compiled
    from raftoral.lang.ir import Node, Unit
    from raftoral.testing.coverage import Coverage
    from raftoral.testing.trials import Verdict

UNAVAILABLE: Final = WorkflowFailed("Unavailable", "it fails once, to see what comes of it")

_SIMPLEST: Final[dict[str, Any]] = {
    "bool": False, "bytes": b"", "decimal": Decimal(0), "duration": timedelta(0), "int": 0,
    "json": None, "optional": None, "string": "", "timestamp": instant_of(BEGINNING),
}  # fmt: skip


def fault_trial(
    trial: Trial, compiled: Compiled, whole: Verdict, coverage: Coverage | None = None
) -> Iterator[str]:
    """Run a test block again for each attempt of ``whole`` and each failure that it may end in.

    Those are the errors that the activity declares, and Unavailable. Yields once a run: what is
    wrong with it, empty if it ends well, with an error that its workflow declares, or with one of the
    language. The mock of a failed attempt answers the next one. What a test sends to a callback that
    is not open yet arrives when it opens. ``coverage`` notes what is reached.
    """
    units = [load(unit.ir).unit for unit in compiled.units]
    failures = _failures(units)
    declared = next(
        unit.raises
        for unit in units
        if (unit.name, unit.version) == (trial.workflow, trial.version)
    )
    for number, name in enumerate(whole.attempts):
        for failure in failures.get(name, ()):
            other = run_trial(trial, compiled, fault=Fault(number, failure), coverage=coverage)
            told = _undeclared(other, {*declared, *ERRORS})
            where = f"when attempt {number + 1} ({name}) fails with {failure.name}"
            yield f"{where}\n  {told}" if told else ""


def _undeclared(verdict: Verdict, declared: set[str]) -> str:
    last = verdict.events[-1] if verdict.events else None
    if not isinstance(last, Ended):
        return "\n  ".join(words for _, words in verdict.wrong)
    if last.status == "completed":
        return ""
    failure = as_error(last.value)
    name = getattr(failure, "name", "Cancelled")
    if name in declared:
        return ""
    return f"the run ends with {name}; catch it, or let the workflow say `raises {name}`"


def _failures(units: list[Unit]) -> dict[str, list[WorkflowFailed]]:
    """Return what each activity of some workflows may fail with."""
    found: dict[str, list[WorkflowFailed]] = {}
    for unit in units:
        shapes = dict(unit.errors)
        simplest = Simplest(unit)
        for name, _, _, raises, _ in unit.activities:
            found[name] = [
                WorkflowFailed(error, UNAVAILABLE.message, simplest.fields(shapes.get(error, [])))
                for error in raises
            ]
            found[name] += [] if "Unavailable" in raises else [UNAVAILABLE]
    return found


@dataclass(frozen=True, slots=True)
class Simplest:
    """Makes the simplest values of the types of a program: zero, empty, none, the first case."""

    unit: Unit

    def fields(self, fields: Node) -> dict[str, Any]:
        """Return a value for each field: its default, if it has one."""
        return {
            name: decode_value(default[0]) if default else self.value(kind)
            for name, kind, default in fields
        }

    def value(self, kind: Node) -> Any:
        """Return the simplest value of a type."""
        match kind:
            case ["list", _]:
                return []
            case ["map", _]:
                return {}
            case ["money", currency]:
                return Money(Decimal(0), currency or "EUR")
            case ["record", name]:
                return self.fields(dict(self.unit.records)[name])
            case ["enum", name]:
                case_, fields = dict(self.unit.enums)[name][0]
                return [case_, self.fields(fields)] if fields else case_
            case _:
                return _SIMPLEST[kind[0]]
