"""Python workflows as the interpreter sees them: a started generator, its input by type."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raftoral.convert import from_plain, hints_of, mentions_float, relaxed, to_plain
from raftoral.errors import InvalidInput, UsageError
from raftoral.registry.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from raftoral.replay.effects import Effect, Workflow
    from raftoral.replay.history import Started
    from raftoral.values import Value

_LIBRARY = str(Path(__file__).parent.parent)


@dataclass(frozen=True, slots=True)
class PythonBody:
    """A started Python workflow, seen from outside."""

    generator: Generator[Effect[Any], Any, Any]
    workflow: Workflow[Any, Any]
    floats: bool = False

    def new_input(self, given: object) -> Value:
        """Return the input of the next generation as it is stored; `InvalidInput` if it is none."""
        return python_input(self.workflow, given)

    def _frame(self, generator: Any) -> tuple[Any, Any]:
        """Return the innermost generator of the user's own code and its frame."""
        inner: Any = self.generator if generator is None else generator
        found = inner
        while inner is not None and hasattr(inner, "gi_frame"):
            frame = inner.gi_frame
            if frame is not None and not frame.f_code.co_filename.startswith(_LIBRARY):
                found = inner
            inner = inner.gi_yieldfrom
        return found, found.gi_frame

    def variables(self, generator: Any = None) -> dict[str, object]:
        """Return the local variables of the statement it stands at."""
        _, frame = self._frame(generator)
        return {} if frame is None else dict(frame.f_locals)

    def where(self, generator: Any = None) -> tuple[str, int]:
        """Return the file and line it stands at."""
        found, frame = self._frame(generator)
        code = found.gi_code
        return code.co_filename, 0 if frame is None else frame.f_lineno


def start_python(workflow: Workflow[Any, Any], started: Started) -> PythonBody:
    """Return the started generator of one run; its code runs guarded, see `registry.guard`."""
    generator = guarded(workflow.function)(**python_arguments(workflow, started.input))
    return PythonBody(
        generator, workflow, mentions_float(hints_of(workflow.function).get("return", None))
    )


def python_input(workflow: Workflow[Any, Any], given: object) -> Value:
    """Return a run's input as it is stored, checked against the types the workflow declares."""
    named = _bind(workflow, given)
    hints = hints_of(workflow.function)
    plain: dict[str, Any] = {}
    for name, value in named.items():
        kind = hints.get(name, Any)
        try:
            stored = to_plain(value)
            plain[name] = to_plain(relaxed(stored, kind))  # type: ignore[arg-type]
            from_plain(plain[name], kind)
        except InvalidInput as error:
            raise InvalidInput(f"input.{name}: {error}") from None
    return plain


def _bind(workflow: Workflow[Any, Any], given: object) -> Mapping[str, object]:
    try:
        if isinstance(given, dict):
            bound = workflow.signature.bind(**given)
        elif isinstance(given, (list, tuple)):
            bound = workflow.signature.bind(*given)
        else:
            bound = workflow.signature.bind(given)
    except TypeError as error:
        parameters = ", ".join(str(p) for p in workflow.signature.parameters.values())
        raise InvalidInput(
            f"the input does not fit {workflow.name}({parameters}): {error}"
        ) from None
    bound.apply_defaults()
    return bound.arguments


def python_arguments(workflow: Workflow[Any, Any], stored: Value) -> dict[str, Any]:
    """Return the keyword arguments of a run, by the types that the workflow declares."""
    if not isinstance(stored, dict):
        raise UsageError(f"the input of {workflow.name} is no map")
    hints = hints_of(workflow.function)
    return {name: from_plain(value, hints.get(name, Any)) for name, value in stored.items()}


def as_input(args: Sequence[object], kwargs: Mapping[str, object]) -> object:
    """Return call arguments as one input: a list, or a map if any is named."""
    if kwargs and args:
        raise UsageError("give the input by position or by name, not both")
    return dict(kwargs) if kwargs else list(args)
