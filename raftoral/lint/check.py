"""Checks workflows: finds them, reads each function that they reach, and keeps what was found.

Owns the walk. `check_path` reads a file and its workflows, `check_workflow` one that was imported;
neither runs or imports anything of the project.
"""

from __future__ import annotations

import ast
import inspect
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raftoral.lang.diagnostics import Diagnostic
from raftoral.lang.node import changed
from raftoral.lang.source import Source, Span
from raftoral.lint.allowed import allows_at, first_line, import_allows
from raftoral.lint.body import Body
from raftoral.lint.keys import Keys
from raftoral.lint.kinds import Names
from raftoral.lint.modules import Function, Module, Project, Variable
from raftoral.lint.steps import Steps
from raftoral.lint.uses import made_by_decorator
from raftoral.lint.variables import made_as

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raftoral.lint.names import Outside
    from raftoral.replay.effects import Workflow

WARNINGS = frozenset({"RPY20", "RPY24"})
"""The codes that stop nothing: where the text alone does not tell."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in one file, in the order of its text."""

    source: Source
    diagnostics: tuple[Diagnostic, ...]

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """What must be mended, or allowed with a reason."""
        return tuple(one for one in self.diagnostics if one.severity == "error")


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found, and the names of the workflows that it read."""

    workflows: tuple[str, ...]
    reports: tuple[Report, ...]

    @property
    def has_errors(self) -> bool:
        """Whether anything must be mended, or allowed with a reason."""
        return any(report.errors for report in self.reports)


def check_paths(paths: Iterable[Path]) -> Checked:
    """Check every workflow in the Python files ``paths``; a folder stands for all files in it.

    A file that is no Python is reported (RPY25). `OSError` if one cannot be read.
    """
    checker = Checker()
    for path in paths:
        files = [path]
        if path.is_dir():
            files = sorted(one for one in path.rglob("*.py") if not _is_hidden(one, path))
        for file in files:
            checker.file(file)
    return checker.checked()


def check_workflow(workflow: Workflow[Any, Any], project: Project | None = None) -> Checked:
    """Check one workflow of the application, by the file that its code came from.

    One without a file (typed into a prompt) is not checked. A ``project`` that is given keeps the
    files that were read for the next workflow.
    """
    checker = Checker(project)
    checker.workflow(workflow)
    return checker.checked()


def check_workflows(workflows: Iterable[Workflow[Any, Any]]) -> Checked:
    """Check several workflows of the application; see `check_workflow`."""
    checker = Checker()
    for workflow in workflows:
        checker.workflow(workflow)
    return checker.checked()


def _is_hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


class Checker:
    """One check: the files read, the functions still to be read, and what was found."""

    def __init__(self, project: Project | None = None) -> None:
        self._project = Project() if project is None else project
        self._found: dict[Path, tuple[Source, dict[tuple[str, int], Diagnostic]]] = {}
        self._waiting: deque[tuple[Function, bool, tuple[str, ...]]] = deque()
        self._read: set[Function] = set()
        self._names: list[str] = []
        self._whole: list[Module] = []

    # -------------------------------------------------------------- where to begin
    def file(self, path: Path) -> None:
        """Check the workflows of a file, and its helpers that yield effects."""
        try:
            module = self._project.module_at(path)
        except SyntaxError as error:
            self._unreadable(path, error)
            return
        self._whole.append(module)
        top = Names.at_top(self._project, module)
        for function in module.functions:
            self._begin(function, top)
        for variable in module.names.values():
            if isinstance(variable, Variable):
                self._assigned(variable, top)

    def _begin(self, function: Function, names: Names) -> None:
        kind = made_by_decorator(function, names)
        if kind == "workflow":
            self._names.append(function.node.name)
            self._queries(function, names)
        elif kind is not None or not _says_flow(function):
            return
        self._waiting.append((function, True, ()))
        self._work()

    def _queries(self, function: Function, names: Names) -> None:
        """Read the functions that answer a workflow's queries: they are pure, too."""
        for decorator in function.node.decorator_list:
            for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
                if keyword.arg != "queries" or not isinstance(keyword.value, ast.Dict):
                    continue
                for value in keyword.value.values:
                    found = names.top(function.module, value)
                    if isinstance(found, Function):
                        self._waiting.append((found, False, ()))

    def _assigned(self, variable: Variable, names: Names) -> None:
        """Check ``order = workflow("order", version=1)(function)``."""
        made = made_as(variable, names)
        found = (
            names.top(variable.module, made[1])
            if made is not None and made[0] == "workflow"
            else None
        )
        if isinstance(found, Function):
            self._names.append(variable.name)
            self._waiting.append((found, True, ()))
            self._work()

    def workflow(self, workflow: Workflow[Any, Any]) -> None:
        """Check one workflow that was imported."""
        function = inspect.unwrap(workflow.function)
        file = inspect.getsourcefile(function)
        code = getattr(function, "__code__", None)
        if file is None or code is None or not Path(file).is_file():
            return
        try:
            module = self._project.module_at(Path(file))
        except (SyntaxError, OSError):
            return  # It was imported, so the file has changed since: the next start tells.
        found = _same_code(module, code)
        if found is not None:
            self._names.append(workflow.name)
            self._waiting.append((found, True, ()))
            self._work()

    # -------------------------------------------------------------- the walk
    def _work(self) -> None:
        while self._waiting:
            function, flow, notes = self._waiting.popleft()
            if function in self._read:
                continue
            self._read.add(function)
            names = Names(self._project, function)
            visit = _Visit(self, function, notes)
            flow = flow or (function.is_generator and names.is_flow(function))
            Body(names, visit).read()
            Steps(names, visit, flow=flow).read()
            Keys(names, visit).read()
            self._comments(function)

    def later(self, function: Function, flow: bool, notes: tuple[str, ...]) -> None:
        """Read ``function`` too, once."""
        if function not in self._read:
            self._waiting.append((function, flow, notes))

    def add(self, module: Module, one: Diagnostic) -> None:
        """Keep a report, unless its place has one of that code."""
        known = self._found.setdefault(module.path, (module.source, {}))[1]
        known.setdefault((one.code, one.span.start), one)

    def _comments(self, function: Function) -> None:
        """Report the comments inside of the function that allow nothing."""
        module = function.module
        last = function.node.end_lineno or function.node.lineno
        for span, why in module.allows.wrong:
            line, _ = module.source.place(span.start)
            if first_line(function) - 1 <= line <= last:
                self.add(
                    module,
                    Diagnostic(
                        "RPY23",
                        f"this comment {why}, so it allows nothing",
                        span,
                        help=(
                            "write `# raftoral: allow RPY10 because ...` and say why it is safe",
                        ),
                    ),
                )

    def checked(self) -> Checked:
        """Return everything that was found, file by file."""
        self._unused()
        reports = [
            Report(
                source,
                tuple(sorted(found.values(), key=lambda one: (one.span.start, one.code))),
            )
            for _, (source, found) in sorted(self._found.items())
        ]
        return Checked(tuple(self._names), tuple(reports))

    def _unused(self) -> None:
        """Report comments, in functions that were read, that allow what is not there."""
        for module in self._whole:
            spans = [
                (first_line(one) - 1, one.node.end_lineno or one.node.lineno)
                for one in self._read
                if one.module is module
            ]
            for allow in {id(one): one for one in module.allows.by_line.values()}.values():
                left = sorted(allow.codes - allow.used)
                if left and any(first <= allow.line <= last for first, last in spans):
                    self.add(
                        module,
                        Diagnostic(
                            "RPY24",
                            f"nothing here needs {', '.join(left)} to be allowed",
                            allow.span,
                            help=("remove the comment",),
                            severity="warning",
                        ),
                    )

    def _unreadable(self, path: Path, error: SyntaxError) -> None:
        source = Source.from_bytes(str(path), path.read_bytes())
        line = min(max(error.lineno or 1, 1), len(source.starts))
        start = source.starts[line - 1] + max((error.offset or 1) - 1, 0)
        one = Diagnostic("RPY25", f"this is no Python: {error.msg}", Span(start, start + 1))
        self._found[path] = (source, {("RPY25", start): one})


class _Visit:
    """What one function's reading reports, with its comments taken into account."""

    def __init__(self, checker: Checker, function: Function, notes: tuple[str, ...]) -> None:
        self._checker = checker
        self._function = function
        self._notes = notes

    def report(
        self,
        code: str,
        message: str,
        node: ast.AST,
        label: str = "",
        *,
        help: tuple[str, ...] = (),
        imported: Outside | None = None,
    ) -> None:
        """Report something at a node, unless a comment allows it."""
        module = self._function.module
        if allows_at(self._function, code, getattr(node, "lineno", 0)):
            return
        if imported is not None and import_allows(imported.module, imported.node, code):
            return
        one = Diagnostic(code, message, module.span(node), label, (), help, self._notes)
        if code in WARNINGS:
            one = changed(one, severity="warning")
        self._checker.add(module, one)

    def follow(self, function: Function, node: ast.AST, *, flow: bool = False) -> None:
        """Read a function that is called at ``node``, too."""
        caller = self._function
        where = f"{caller.module.path.name}:{getattr(node, 'lineno', '?')}"
        note = f"`{function.node.name}` is called from `{caller.node.name}` ({where})"
        self._checker.later(function, flow, (*self._notes[-3:], note))


def _says_flow(function: Function) -> bool:
    returns = function.node.returns
    return returns is not None and "Flow[" in ast.unparse(returns) and function.is_generator


def _same_code(module: Module, code: Any) -> Function | None:
    """Return the function in a file that a code object was made from."""
    named = [one for one in module.functions if one.qualname == code.co_qualname]
    exact = [one for one in named if code.co_firstlineno in (one.node.lineno, first_line(one))]
    return next(iter(exact or named), None)
