"""The project's modules as read from their files: imports, functions, classes and variables.

Owns finding and parsing. A module is found by its file, beside the file that imports it or in a
folder around it; nothing is imported, so reading a project starts none of its code.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from raftoral.lang.source import Source, Span
from raftoral.lint.allow import Allows, allows_of

if TYPE_CHECKING:
    from pathlib import Path

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

_MARKERS: Final = ("pyproject.toml", "setup.py", "setup.cfg", ".git")
_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})


@dataclass(slots=True, eq=False)
class Function:
    """One function of a project: where it is, and what it is inside of."""

    module: Module
    node: FunctionNode
    qualname: str
    outer: Function | None
    owner: Class | None
    names: dict[str, Named] = field(default_factory=dict)
    """What it names itself: inner functions and classes, imports; None for other variables."""

    @property
    def is_generator(self) -> bool:
        """Whether it yields."""
        return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in own_nodes(self.node))


@dataclass(slots=True, eq=False)
class Class:
    """One class of a project, with the functions that it defines."""

    module: Module
    node: ast.ClassDef
    methods: dict[str, Function] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Variable:
    """A name that a module assigns at its top: each value and how it was bound."""

    module: Module
    name: str
    values: list[ast.expr | None] = field(default_factory=list)
    annotation: ast.expr | None = None
    changed: ast.AST | None = None
    """Where the file changes it after the first assignment, if it does."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A name that an import binds: what it stands for, and the statement."""

    dotted: str
    node: ast.Import | ast.ImportFrom


Named: TypeAlias = "Function | Class | Variable | Imported | None"


@dataclass(slots=True, eq=False)
class Module:
    """One file, read."""

    name: str
    path: Path
    source: Source
    tree: ast.Module
    allows: Allows
    names: dict[str, Named] = field(default_factory=dict)
    functions: list[Function] = field(default_factory=list)
    stars: list[Imported] = field(default_factory=list)
    """The modules that it imports everything from."""

    def span(self, node: ast.AST) -> Span:
        """Return the place of a node in the text."""
        first, last = getattr(node, "lineno", 1), getattr(node, "end_lineno", None)
        start = self._offset(first, getattr(node, "col_offset", 0))
        end = start + 1 if last is None else self._offset(last, getattr(node, "end_col_offset", 0))
        return Span(start, end)

    def _offset(self, line: int, column: int) -> int:
        # Python counts columns in bytes.
        text = self.source.line(line)
        return self.source.starts[line - 1] + len(text.encode()[:column].decode(errors="ignore"))


def own_nodes(function: ast.AST) -> list[ast.AST]:
    """Return the nodes of a function's body, without those of functions and classes inside it."""
    found: list[ast.AST] = []
    waiting: list[ast.AST] = list(getattr(function, "body", []))
    while waiting:
        node = waiting.pop(0)
        found.append(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        waiting[:0] = ast.iter_child_nodes(node)
    return found


# ------------------------------------------------------------------ reading
def read_module(path: Path, name: str) -> Module:
    """Return the module of a file; raises `SyntaxError` or `OSError` if it cannot be read."""
    source = Source.from_bytes(str(path), path.read_bytes())
    source = Source(str(path), source.text.replace("\r\n", "\n").replace("\r", "\n"))
    tree = ast.parse(source.text, filename=str(path))
    module = Module(name, path, source, tree, allows_of(source))
    _Reader(module).read()
    return module


class _Reader:
    """Fills in the names of a module and of each function in it."""

    def __init__(self, module: Module) -> None:
        self._module = module

    def read(self) -> None:
        for statement in self._module.tree.body:
            self._top(statement)
        for function in self._module.functions:
            _note_changes(self._module, function.node)

    def _top(self, node: ast.stmt) -> None:
        """Read a statement of the module itself, also inside of an `if` or a `try`."""
        module = self._module
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                module.names[node.name] = self._function(node, "", None, None)
            case ast.ClassDef():
                module.names[node.name] = self._class(node, "", None)
            case ast.Import() | ast.ImportFrom():
                module.names.update(_imported(node, module))
            case ast.Assign(targets, value):
                for target in targets:
                    self._assign(target, value, None)
            case ast.AnnAssign(target, annotation, value):
                self._assign(target, value, annotation)
            case ast.AugAssign(target, _, _) | ast.For(target) | ast.AsyncFor(target):
                self._assign(target, None, None)
                self._changed(target, node)
                for inner in [*getattr(node, "body", []), *getattr(node, "orelse", [])]:
                    self._top(inner)
            case ast.If() | ast.Try() | ast.With() | ast.While() | ast.TryStar():
                for inner in ast.iter_child_nodes(node):
                    if isinstance(inner, ast.stmt):
                        self._top(inner)
                    elif isinstance(inner, ast.ExceptHandler):
                        for statement in inner.body:
                            self._top(statement)
            case _:
                pass

    def _assign(self, target: ast.expr, value: ast.expr | None, note: ast.expr | None) -> None:
        names = self._module.names
        for name in _targets(target):
            known = names.get(name)
            if not isinstance(known, Variable):
                known = names[name] = Variable(self._module, name)
            known.values.append(value if isinstance(target, ast.Name) else None)
            known.annotation = note if note is not None else known.annotation

    def _changed(self, target: ast.expr, node: ast.AST) -> None:
        for name in _targets(target):
            known = self._module.names.get(name)
            if isinstance(known, Variable):
                known.changed = node

    def _function(
        self, node: FunctionNode, prefix: str, outer: Function | None, owner: Class | None
    ) -> Function:
        made = Function(self._module, node, prefix + node.name, outer, owner)
        self._module.functions.append(made)
        inside = f"{made.qualname}.<locals>."
        declared: set[str] = set()
        for part in own_nodes(node):
            match part:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    made.names[part.name] = self._function(part, inside, made, None)
                case ast.ClassDef():
                    made.names[part.name] = self._class(part, inside, made)
                case ast.Import() | ast.ImportFrom():
                    made.names.update(_imported(part, self._module))
                case ast.Name(name, ast.Store()) | ast.MatchAs(name=str(name)):
                    made.names.setdefault(name, None)
                case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                    made.names.setdefault(name, None)
                case ast.ExceptHandler(name=str(name)):
                    made.names.setdefault(name, None)
                case ast.Global(names) | ast.Nonlocal(names):
                    declared.update(names)
                case _:
                    pass
        for argument in arguments_of(node):
            made.names[argument.arg] = None
        for name in declared:
            made.names.pop(name, None)
        return made

    def _class(self, node: ast.ClassDef, prefix: str, outer: Function | None) -> Class:
        made = Class(self._module, node)
        for part in node.body:
            if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                method = self._function(part, f"{prefix}{node.name}.", outer, made)
                made.methods[part.name] = method
            elif isinstance(part, ast.ClassDef):
                self._class(part, f"{prefix}{node.name}.", outer)
        return made


def arguments_of(node: FunctionNode | ast.Lambda) -> list[ast.arg]:
    """Return the parameters of a function, in any position."""
    given = node.args
    extra = [one for one in (given.vararg, given.kwarg) if one is not None]
    return [*given.posonlyargs, *given.args, *given.kwonlyargs, *extra]


def _targets(target: ast.expr) -> list[str]:
    return [
        part.id
        for part in ast.walk(target)
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
    ]


_CHANGERS: Final = frozenset(
    {
        *("append", "extend", "insert", "pop", "remove", "clear", "update", "add", "discard"),
        *("setdefault", "popitem", "sort", "reverse", "appendleft", "popleft", "extendleft"),
    }
)


def _note_changes(module: Module, function: FunctionNode) -> None:
    """Note which module variables the functions of the file change."""
    shared: set[str] = set()
    for node in ast.walk(function):
        name: str | None = None
        match node:
            case ast.Global(names):
                shared.update(names)
            case ast.Call(func=ast.Attribute(ast.Name(name), changer)) if changer in _CHANGERS:
                pass
            case ast.Subscript(ast.Name(name), _, ast.Store() | ast.Del()) | ast.Attribute(
                ast.Name(name), _, ast.Store() | ast.Del()
            ):
                pass
            case _:
                continue
        for one in [name] if name is not None else list(shared):
            known = module.names.get(one)
            if isinstance(known, Variable):
                known.changed = known.changed or node


def _imported(node: ast.Import | ast.ImportFrom, module: Module) -> dict[str, Named]:
    """Return the names that an import binds; those of ``import *`` are looked up when asked for."""
    if isinstance(node, ast.Import):
        return {
            alias.asname or alias.name.partition(".")[0]: Imported(
                alias.name if alias.asname else alias.name.partition(".")[0], node
            )
            for alias in node.names
        }
    base = node.module or ""
    if node.level:
        package = module.name.split(".")
        if module.path.name != "__init__.py":
            package = package[:-1]
        package = package[: len(package) - node.level + 1]
        base = ".".join([*package, *([base] if base else [])])
    if any(alias.name == "*" for alias in node.names):
        module.stars.append(Imported(base, node))
    return {
        alias.asname or alias.name: Imported(f"{base}.{alias.name}", node)
        for alias in node.names
        if alias.name != "*"
    }


# ------------------------------------------------------------------ finding
class Project:
    """All files read so far, and where further modules are looked for."""

    def __init__(self) -> None:
        self._by_path: dict[Path, Module | None] = {}
        self._found: dict[tuple[str, Path], tuple[Module, str] | None] = {}
        self.flows: dict[Function, bool] = {}
        """Which functions are known to yield effects, or known not to."""

    def module_at(self, path: Path) -> Module:
        """Return the module of a file; raises `SyntaxError` or `OSError` if it cannot be read."""
        path = path.resolve()
        known = self._by_path.get(path)
        if known is None:
            known = self._by_path[path] = read_module(path, _module_name(path))
        return known

    def find(self, dotted: str, beside: Module) -> tuple[Module, str] | None:
        """Return the project's module that ``dotted`` lies in, and the rest of the name.

        None if it is no module of the project: of Python, installed, or not there.
        """
        key = (dotted, beside.path.parent)
        if key not in self._found:
            self._found[key] = self._look_for(dotted, beside)
        return self._found[key]

    def _look_for(self, dotted: str, beside: Module) -> tuple[Module, str] | None:
        top = dotted.partition(".")[0]
        if not top or top in sys.stdlib_module_names or top == "raftoral":
            return None
        parts = dotted.split(".")
        for root in _roots(beside.path):
            if root.name in _INSTALLED and top != beside.name.partition(".")[0]:
                continue
            for count in range(len(parts), 0, -1):
                stem = root.joinpath(*parts[:count])
                for path in (stem.with_suffix(".py"), stem / "__init__.py"):
                    module = self._read(path)
                    if module is not None:
                        return module, ".".join(parts[count:])
        return None

    def _read(self, path: Path) -> Module | None:
        if path not in self._by_path:
            try:
                self._by_path[path] = read_module(path, _module_name(path))
            except (OSError, SyntaxError, ValueError):
                self._by_path[path] = None
        return self._by_path[path]


def _module_name(path: Path) -> str:
    parts = [path.parent.name] if path.name == "__init__.py" else [path.stem]
    folder = path.parent.parent if path.name == "__init__.py" else path.parent
    while (folder / "__init__.py").is_file():
        parts.append(folder.name)
        folder = folder.parent
    return ".".join(reversed(parts))


def _roots(path: Path) -> list[Path]:
    """Return the folders that modules beside ``path`` are looked for in, the innermost first.

    They are the folders around it that are no packages, up to the one of the project; without a
    project, the first one.
    """
    found: list[Path] = []
    for folder in path.parents:
        if not (folder / "__init__.py").is_file():
            found.append(folder)
        if any((folder / marker).exists() for marker in _MARKERS) or folder.name in _INSTALLED:
            return found
    return found[:1]
