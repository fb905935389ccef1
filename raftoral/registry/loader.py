"""From a definition to a started generator: the one place where the two front ends meet."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raftoral.convert import from_plain, hints_of, relaxed, to_plain
from raftoral.errors import InvalidInput, UnknownDefinition, UsageError
from raftoral.lang import compile as language
from raftoral.registry.definition import Definition, python_definition

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from raftoral.registry.app import Registry
    from raftoral.replay.effects import Effect, Workflow
    from raftoral.replay.history import Started
    from raftoral.replay.interpreter import Body, Start
    from raftoral.values import Value

_LIBRARY = str(Path(__file__).parent.parent)


@dataclass(frozen=True, slots=True)
class PythonBody:
    """A started Python workflow, seen from outside."""

    generator: Generator[Effect[Any], Any, Any]

    def _frame(self) -> tuple[Any, Any]:
        """Return the innermost generator of the user's own code and its frame."""
        inner: Any = self.generator
        found = inner
        while inner is not None and hasattr(inner, "gi_frame"):
            frame = inner.gi_frame
            if frame is not None and not frame.f_code.co_filename.startswith(_LIBRARY):
                found = inner
            inner = inner.gi_yieldfrom
        return found, found.gi_frame

    def variables(self) -> dict[str, object]:
        """Return the local variables of the statement it stands at."""
        _, frame = self._frame()
        return {} if frame is None else dict(frame.f_locals)

    def where(self) -> tuple[str, int]:
        """Return the file and line it stands at."""
        generator, frame = self._frame()
        code = generator.gi_code
        return code.co_filename, 0 if frame is None else frame.f_lineno


class Loader:
    """Finds what a definition needs in this application, and says what is missing."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._hashes: dict[tuple[str, int], str] = {}

    def python_definitions(self) -> list[Definition]:
        """Return the definitions of the application's own Python workflows."""
        return [python_definition(workflow) for workflow in self._registry.workflows.values()]

    def start(self, definition: Definition) -> Start:
        """Return the function that starts a run of ``definition``; see `can_run` for errors."""
        if definition.kind == "rwf":
            ir = definition.ir

            def start_rwf(started: Started) -> Body:
                return language.start(ir, started.input)

            return start_rwf
        workflow = self._python(definition)

        def start_python(started: Started) -> Body:
            return PythonBody(workflow.function(**python_arguments(workflow, started.input)))

        return start_python

    def _python(self, definition: Definition) -> Workflow[Any, Any]:
        key = (definition.name, definition.version)
        workflow = self._registry.workflows.get(key)
        if workflow is None:
            raise UnknownDefinition(
                f"{definition} is a Python workflow that this application does not register; "
                "pass it in the node's Registry"
            )
        if key not in self._hashes:
            self._hashes[key] = python_definition(workflow).meaning_hash
        if self._hashes[key] != definition.meaning_hash:
            raise UnknownDefinition(
                f"{definition} was deployed with other code than this application has in "
                f"{inspect.getsourcefile(workflow.function)}; give the changed workflow a new "
                "version, or install the code that was deployed"
            )
        return workflow

    def missing(self, definition: Definition) -> str:
        """Return why this node cannot own runs of ``definition``; empty if it can."""
        if definition.kind == "python":
            try:
                self._python(definition)
            except UnknownDefinition as error:
                return str(error)
            return ""
        wanted = language.activities(definition.ir)
        absent = [name for name in wanted if name not in self._registry.activities]
        if not absent:
            return ""
        return (
            f"{definition} needs the activity {', '.join(absent)}, which this application does "
            "not register"
        )

    def checked_input(self, definition: Definition, given: object) -> Value:
        """Return a run's input as it is stored: a map from parameter to value.

        ``given`` may be a map of names or a list of positional values. Checked against the declared
        types where this node knows them; `InvalidInput` names the place.
        """
        if definition.kind == "rwf":
            return language.decode_input(definition.ir, to_plain(given))
        workflow = self._registry.workflows.get((definition.name, definition.version))
        if workflow is None:
            if not isinstance(given, dict):
                raise InvalidInput(
                    f"{definition} is not registered on this node, so its input must be given by "
                    "name"
                )
            return to_plain(given)  # type: ignore[return-value]
        return _python_input(workflow, given)


def _python_input(workflow: Workflow[Any, Any], given: object) -> Value:
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


def as_sequence(args: Sequence[object], kwargs: Mapping[str, object]) -> object:
    """Return call arguments as one input: a list, or a map if any is named."""
    if kwargs and args:
        raise UsageError("give the input by position or by name, not both")
    return dict(kwargs) if kwargs else list(args)
