"""What this application can run: its activities and its Python workflows, by name.

Owns the names. It never imports a module named in a log: a definition is looked up here, in the
object that the application passed, or it is not run by this node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raftoral.errors import UsageError
from raftoral.replay.effects import Activity, Workflow, activity, workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Registry:
    """The activities and Python workflows of one application.

    ``Registry(workflows=[order], activities=[charge, ship])``, or by decorator:
    ``@registry.activity("payments.charge")`` and ``@registry.workflow("order", version=1)``.
    A name that is taken is a `UsageError`.
    """

    def __init__(
        self,
        *,
        workflows: Iterable[Workflow[Any, Any]] = (),
        activities: Iterable[Activity[Any, Any]] = (),
    ) -> None:
        self.workflows: dict[tuple[str, int], Workflow[Any, Any]] = {}
        self.activities: dict[str, Activity[Any, Any]] = {}
        for one in workflows:
            self.add_workflow(one)
        for each in activities:
            self.add_activity(each)

    def add_workflow(self, one: Workflow[Any, Any]) -> None:
        """Add a workflow made by `raftoral.workflow`."""
        if not isinstance(one, Workflow):
            raise UsageError(
                f'{one!r} is no workflow: decorate it with @workflow("name", version=1)'
            )
        if (one.name, one.version) in self.workflows:
            raise UsageError(f"workflow {one.name} version {one.version} is registered twice")
        self.workflows[one.name, one.version] = one

    def add_activity(self, one: Activity[Any, Any]) -> None:
        """Add an activity made by `raftoral.activity`."""
        if not isinstance(one, Activity):
            raise UsageError(f'{one!r} is no activity: decorate it with @activity("name")')
        if one.name in self.activities:
            raise UsageError(f"activity {one.name} is registered twice")
        self.activities[one.name] = one

    def activity(self, name: str) -> Callable[[Callable[..., Any]], Activity[..., Any]]:
        """Make a function an activity and add it."""

        def add(function: Callable[..., Any]) -> Activity[..., Any]:
            made = activity(name)(function)
            self.add_activity(made)
            return made

        return add

    def workflow(self, name: str, *, version: int) -> Callable[[Any], Workflow[..., Any]]:
        """Make a generator function a workflow and add it."""

        def add(function: Any) -> Workflow[..., Any]:
            made: Workflow[..., Any] = workflow(name, version=version)(function)
            self.add_workflow(made)
            return made

        return add
