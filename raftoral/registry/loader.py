"""From a definition to a started generator: the one place where the two front ends meet."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from raftoral.convert import to_plain
from raftoral.errors import InvalidInput, QueryFailed, UnknownDefinition, UnknownQuery
from raftoral.lang import compile as language
from raftoral.registry.definition import Definition, Interface, python_definition
from raftoral.registry.python import python_input, start_python
from raftoral.replay.failures import failure_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from raftoral.registry.app import Registry
    from raftoral.replay.effects import Workflow
    from raftoral.replay.history import Started
    from raftoral.replay.interpreter import Begin, Body
    from raftoral.values import Value


class Loader:
    """Finds what a definition needs in this application, and says what is missing."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._hashes: dict[tuple[str, int], str] = {}

    def python_definitions(self) -> list[Definition]:
        """Return the definitions of the application's own Python workflows."""
        return [python_definition(workflow) for workflow in self._registry.workflows.values()]

    def start(self, definition: Definition) -> Begin:
        """Return the function that starts a run of ``definition``; see `can_run` for errors."""
        if definition.kind == "rwf":
            ir = definition.ir

            def start_rwf(started: Started) -> Body:
                return language.start(ir, started.input, started)

            return start_rwf
        workflow = self._python(definition)

        def start_own(started: Started) -> Body:
            return start_python(workflow, started)

        return start_own

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

    def checked_result(self, definition: Definition, activity: str, value: Value) -> Value:
        """Return an activity's result, checked against what a `.rwf` definition declares for it.

        Raises `WorkflowFailed` named ``BadResult``.
        """
        if definition.kind == "rwf":
            return language.decode_result(definition.ir, activity, value)
        return value

    def checked_signal(self, definition: Definition, signal: str, payload: object) -> Value:
        """Return a signal's payload as it is stored; `InvalidInput` if it is none of the run's."""
        if definition.kind == "rwf":
            return language.decode_signal(definition.ir, signal, to_plain(payload))
        return to_plain(payload)  # type: ignore[return-value]

    def checked_update(self, definition: Definition, update: str, payload: object) -> Value:
        """Return a request's payload as it is stored; `InvalidInput` if it is none of the run's."""
        if definition.kind == "rwf":
            return language.decode_update(definition.ir, update, to_plain(payload))
        return to_plain(payload)  # type: ignore[return-value]

    def answer(self, definition: Definition, query: str, cells: Mapping[str, Value]) -> Value:
        """Return what a query of ``definition`` makes of a run's committed cells, by path.

        `UnknownQuery` names those that there are; an error inside the query is a `QueryFailed`.
        """
        if definition.kind == "rwf":
            queries: Mapping[str, Any] = language.queries(definition.ir)
        else:
            queries = self._python(definition).queries
        if query not in queries:
            known = f"there are: {', '.join(sorted(queries))}" if queries else "it has none"
            raise UnknownQuery(f"{definition} has no query {query!r:.60}; {known}")
        try:
            return to_plain(queries[query](cells))  # type: ignore[return-value]
        except (Exception, SystemExit) as error:
            kind, message, _ = failure_of(error)
            raise QueryFailed(
                f"query {query} of {definition} failed: {kind!s}: {message!s}"
            ) from error

    def checked_input(self, definition: Definition, given: object) -> Value:
        """Return a run's input as it is stored: a map from parameter to value.

        ``given`` may be a map of names or a list of positional values. Checked against the declared
        types where this node knows them; `InvalidInput` names the place.
        """
        if definition.kind == "rwf":
            return language.decode_input(definition.ir, to_plain(given))
        workflow = self._registry.workflows.get((definition.name, definition.version))
        if workflow is not None:
            return python_input(workflow, given)
        return to_plain(_named(definition, given))  # type: ignore[return-value]

    def search(self, definition: Definition) -> list[str]:
        """Return the names of the cells that runs of ``definition`` are listed by."""
        if definition.kind == "rwf":
            return [*language.interface(definition.ir).search]
        return [*Interface.of(definition).search]


def _named(definition: Definition, given: object) -> dict[str, object]:
    """Return an input by name, for a Python workflow whose code is not here."""
    parameters = Interface.of(definition).parameters
    takes = f"{definition} takes ({', '.join(parameters)})"
    if not isinstance(given, dict):
        values = given if isinstance(given, (list, tuple)) else [given]
        if len(values) > len(parameters):
            raise InvalidInput(f"{takes}, not {len(values)} values")
        return dict(zip(parameters, values, strict=False))
    if unknown := sorted(given.keys() - set(parameters)):
        raise InvalidInput(f"{takes}, not {unknown[0]!r:.60}")
    return given
