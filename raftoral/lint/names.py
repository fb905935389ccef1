"""What an expression names: something of the project, of Python, or of a library outside.

Owns the way from a dotted expression, through imports and the scopes around it, to a function, class
or variable of the project, or to the dotted name of something that is not of it.
"""

from __future__ import annotations

import ast
import builtins
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from raftoral.lint.modules import Class, Function, Imported, Module, Variable

if TYPE_CHECKING:
    from raftoral.lint.modules import Named, Project


@dataclass(frozen=True, slots=True)
class Outside:
    """Something that the project does not define: its dotted name, and the import it came by."""

    dotted: str
    module: Module
    node: ast.Import | ast.ImportFrom


@dataclass(frozen=True, slots=True)
class Builtin:
    """A name that Python itself has."""

    name: str


Target: TypeAlias = "Function | Class | Variable | Module | Outside | Builtin"


def _gives(library: str, name: str) -> bool:
    """Tell whether ``from library import *`` binds a name. Nothing is imported to find out."""
    known = sys.modules.get(library)
    public = getattr(known, "__all__", None)
    return name in public if public is not None else name[0] != "_" and hasattr(known, name)


Kind: TypeAlias = "str | Class"
"""``set``, ``float``, ``cell``, ``pending``, ``effect``, ``flow``, ``str``, ..., or a project's class."""


class Targets:
    """Resolves the names of one function; `raftoral.lint.kinds.Names` adds what values are."""

    def __init__(self, project: Project, function: Function) -> None:
        self.project = project
        self.function = function

    def kind(self, node: ast.expr | None) -> Kind | None:
        """Return the kind of value an expression has; None if the text does not tell."""
        raise NotImplementedError

    def target(self, node: ast.expr) -> Target | None:
        """Return what a name or a dotted name stands for; None for local values and the unknown."""
        match node:
            case ast.Name(name):
                return self._name(name)
            case ast.Attribute(value, name):
                return self._member(self.target(value), name, value)
            case _:
                return None

    def _name(self, name: str) -> Target | None:
        inside: Function | None = self.function
        while inside is not None:
            if name in inside.names:
                return self._named(inside.names[name], inside.module)
            inside = inside.outer
        return self.in_module(self.function.module, name)

    def in_module(self, module: Module, name: str) -> Target | None:
        """Return what ``name`` stands for at the top of ``module``."""
        found = self._exported(module, name, 0)
        if found is None and hasattr(builtins, name) and name not in module.names:
            return Builtin(name)
        return found

    def _named(self, named: Named, module: Module, depth: int = 0) -> Target | None:
        if not isinstance(named, Imported):
            return named
        found = self.project.find(named.dotted, module)
        if found is None:
            return Outside(named.dotted, module, named.node)
        inside = self._inside(found[0], found[1], depth)
        return Outside(named.dotted, module, named.node) if inside is None else inside

    def _inside(self, module: Module, rest: str, depth: int) -> Target | None:
        if not rest:
            return module
        name, _, more = rest.partition(".")
        if depth > 20:
            return None
        found = self._exported(module, name, depth + 1)
        for part in more.split(".") if more else ():
            found = self._member(found, part, None)
        return found

    def _exported(self, module: Module, name: str, depth: int) -> Target | None:
        """Return what a module gives under a name, its own or from an import of everything."""
        if name in module.names:
            return self._named(module.names[name], module, depth)
        for star in module.stars:
            found = self.project.find(star.dotted, module)
            if found is None and _gives(star.dotted, name):
                return Outside(f"{star.dotted}.{name}", module, star.node)
            if found is not None and not found[1] and depth < 20:
                inner = self._exported(found[0], name, depth + 1)
                if inner is not None:
                    return inner
        return None

    def _member(self, of: Target | None, name: str, value: ast.expr | None) -> Target | None:
        match of:
            case Outside(dotted, module, node):
                return Outside(f"{dotted}.{name}", module, node)
            case Module():
                if name in of.names:
                    return self._named(of.names[name], of)
                found = self.project.find(f"{of.name}.{name}", of)
                return found[0] if found is not None and not found[1] else None
            case Class():
                return self.method(of, name)
            case _:
                kind = self.kind(value) if value is not None else None
                return self.method(kind, name) if isinstance(kind, Class) else None

    def method(self, owner: Class, name: str, depth: int = 0) -> Function | None:
        """Return the method of a project's class, its own or inherited."""
        if name in owner.methods:
            return owner.methods[name]
        for base in owner.node.bases:
            found = self.top(owner.module, base)
            if isinstance(found, Class) and depth < 20:
                method = self.method(found, name, depth + 1)
                if method is not None:
                    return method
        return None

    def top(self, module: Module, node: ast.expr | None) -> Target | None:
        """Return what an expression at the top of ``module`` names."""
        match node:
            case ast.Name(name):
                return self.in_module(module, name)
            case ast.Attribute(value, name):
                return self._member(self.top(module, value), name, None)
            case ast.Constant(str(text)):
                # An annotation may be written as text.
                try:
                    return self.top(module, ast.parse(text, mode="eval").body)
                except SyntaxError:
                    return None
            case _:
                return None


def called(module: Module, node: ast.expr) -> str:
    """Return an expression as it is written, on one line."""
    return " ".join(module.source.text[slice(*module.span(node))].split())
