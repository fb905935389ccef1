"""What this application can run: its activities and its Python workflows, by name.

Owns the names. It never imports a module named in a log: a definition is looked up here, in the
object that the application passed, or it is not run by this node.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from raftoral.errors import DefinitionRefused, UsageError
from raftoral.replay.effects import Activity, Workflow, activity, workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from raftoral.lint.modules import Project

_sound: WeakSet[Workflow[Any, Any]] = WeakSet()
"""The workflows that passed the lint: one is registered more than once in tests."""

_unchecked: ContextVar[bool] = ContextVar("unchecked", default=False)


@contextmanager
def unchecked() -> Iterator[None]:
    """Let workflows be registered without the lint; for whoever checks them itself."""
    token = _unchecked.set(True)
    try:
        yield
    finally:
        _unchecked.reset(token)


class Registry:
    """The activities and Python workflows of one application.

    ``Registry(workflows=[order], activities=[charge, ship])``, or by decorator:
    ``@registry.activity("payments.charge")`` and ``@registry.workflow("order", version=1)``.
    A name that is taken is a `UsageError`. A workflow whose code no replay could repeat is a
    `DefinitionRefused` that shows the lines (see `raftoral lint`); where you know better, say so at
    the line: ``# raftoral: allow RPY10 because ...``. ``lint=False`` registers without looking.
    """

    def __init__(
        self,
        *,
        workflows: Iterable[Workflow[Any, Any]] = (),
        activities: Iterable[Activity[Any, Any]] = (),
        lint: bool = True,
    ) -> None:
        self._lint = lint
        self._project: Project | None = None
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
        if self._lint and one not in _sound and not _unchecked.get():
            self._check(one)
        self.workflows[one.name, one.version] = one

    def _check(self, one: Workflow[Any, Any]) -> None:
        """Refuse a workflow that the lint finds errors in; its warnings are for `raftoral lint`."""
        from raftoral.lang.render import render_all
        from raftoral.lint.check import check_workflow
        from raftoral.lint.modules import Project

        self._project = self._project or Project()
        checked = check_workflow(one, self._project)
        if not checked.has_errors:
            _sound.add(one)
            return
        errors = "".join(render_all(report.errors, report.source) for report in checked.reports)
        raise DefinitionRefused(
            f"workflow {one.name} version {one.version} cannot be repeated by a replay\n\n"
            f"{errors.rstrip()}\n\n"
            "`raftoral explain CODE` has an example of each. If a line is right all the same, write "
            "why at its end: `# raftoral: allow CODE because ...`"
        )

    def add_activity(self, one: Activity[Any, Any]) -> None:
        """Add an activity made by `raftoral.activity`."""
        if not isinstance(one, Activity):
            raise UsageError(f'{one!r} is no activity: decorate it with @activity("name")')
        if one.name in self.activities:
            raise UsageError(f"activity {one.name} is registered twice")
        self.activities[one.name] = one

    def activity(
        self, name: str, *, process: bool = False
    ) -> Callable[[Callable[..., Any]], Activity[..., Any]]:
        """Make a function an activity and add it; ``process`` as for `raftoral.activity`."""

        def add(function: Callable[..., Any]) -> Activity[..., Any]:
            made = activity(name, process=process)(function)
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
