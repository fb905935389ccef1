"""Where a comment allows something: at the statement, at the head of a function, at an import."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from raftoral.lint.modules import Imported, Project

if TYPE_CHECKING:
    from pathlib import Path

    from raftoral.lint.modules import Function, Module


def allows_at(function: Function, code: str, line: int) -> bool:
    """Tell whether a comment at the statement in ``line``, or at a function around it, allows it."""
    allows = function.module.allows
    if not allows.by_line:
        return False
    if allows.on(code, *_statement_lines(function).get(line, (line, line))):
        return True
    around: Function | None = function
    while around is not None:
        head = first_line(around)
        if allows.on(code, head, max(head, around.node.body[0].lineno - 1)):
            return True
        around = around.outer
    return False


def import_allows(module: Module, node: ast.stmt, code: str) -> bool:
    """Tell whether a comment at an import allows the use of what it brings."""
    return module.allows.on(code, node.lineno, node.end_lineno or node.lineno)


def first_line(function: Function) -> int:
    """Return the line in which a function begins, with its decorators."""
    return min([function.node.lineno, *(one.lineno for one in function.node.decorator_list)])


def _statement_lines(function: Function) -> dict[int, tuple[int, int]]:
    """Return, for each line of a function, the lines of the statement (or of its head) there."""
    lines: dict[int, tuple[int, int]] = {}
    for node in ast.walk(function.node):
        if not isinstance(node, ast.stmt | ast.ExceptHandler):
            continue
        last = node.end_lineno or node.lineno
        body = getattr(node, "body", None)
        if isinstance(body, list) and body:
            last = max(node.lineno, body[0].lineno - 1)
        for line in range(node.lineno, last + 1):
            lines[line] = (node.lineno, last)
    return lines


class AllowedLines:
    """The comments of files, each read once; for whoever meets a refused name at run."""

    def __init__(self) -> None:
        self._project = Project()
        self._modules: dict[Path, Module | None] = {}

    def has(self, path: Path, line: int, code: str, dotted: str) -> bool:
        """Tell whether a comment allows ``code`` for the use of ``dotted`` in a line of a file."""
        module = self._module(path)
        if module is None or not module.allows.by_line:
            return False
        around = [one for one in module.functions if _holds(one, line)]
        if any(allows_at(one, code, line) for one in around):
            return True
        names = [*module.names.values(), *(name for one in around for name in one.names.values())]
        return any(
            f"{dotted}.".startswith(f"{one.dotted}.") and import_allows(module, one.node, code)
            for one in names
            if isinstance(one, Imported)
        )

    def _module(self, path: Path) -> Module | None:
        if path not in self._modules:
            try:
                self._modules[path] = self._project.module_at(path)
            except (OSError, SyntaxError, ValueError):
                self._modules[path] = None
        return self._modules[path]


def _holds(function: Function, line: int) -> bool:
    return function.node.lineno <= line <= (function.node.end_lineno or function.node.lineno)
