"""Reads what one function uses: names, calls and the arguments of effects.

Owns the reports about what is named (RPY05, RPY06, RPY10 to RPY16, RPY19). Whatever the function calls
in the project is handed to the `Visitor`, which reads it later.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final, Protocol

from raftoral.lint import rules
from raftoral.lint.modules import Class, Function, Module, Variable
from raftoral.lint.names import Builtin, Outside, called
from raftoral.lint.variables import doubt_about, made_as

if TYPE_CHECKING:
    from raftoral.lint.kinds import Names
    from raftoral.lint.names import Target


class Visitor(Protocol):
    """Where a body's findings go."""

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
        """Report something at a node of the function that is being read.

        ``imported`` is the outside name that it is about: a comment at its import counts, too.
        """
        ...

    def follow(self, function: Function, node: ast.AST, *, flow: bool = False) -> None:
        """Read a function that is called (or handed on) at ``node``, too."""
        ...


ACTIVITY: Final = 'have the owner run it: `yield from Compute("key", {0}, ...)`'


class Uses(ast.NodeVisitor):
    """The half of `raftoral.lint.body.Body` that judges names and calls."""

    def __init__(self, names: Names, visitor: Visitor) -> None:
        self._names = names
        self._visitor = visitor
        self._module = names.function.module

    def _text(self, node: ast.expr) -> str:
        return called(self._module, node)

    # -------------------------------------------------------------- what is not looked into here
    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Leave an inner function until it is used."""

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        """Leave an inner function until it is used."""

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Leave an inner class until it is used."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Read the value; annotations name types, which is no use of them."""
        if node.value is not None:
            self.visit(node.value)

    # -------------------------------------------------------------- names
    def visit_Name(self, node: ast.Name) -> None:
        """Judge a name that is read."""
        if isinstance(node.ctx, ast.Load):
            self._use(self._names.target(node), node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Judge a dotted name as a whole; of another value, look into the value."""
        found = self._names.target(node)
        if found is None or isinstance(node.ctx, ast.Store | ast.Del):
            self.visit(node.value)
            return
        self._use(found, node)
        if not isinstance(self._names.target(node.value), Outside | Module | Class):
            self.visit(node.value)

    def _use(self, found: Target | None, node: ast.expr) -> None:
        match found:
            case Outside(dotted):
                rule = rules.rule_of(dotted)
                if rule is not None:
                    self._refuse(rule, node, found)
            case Builtin(name):
                rule = rules.rule_of_builtin(name)
                if rule is not None:
                    self._refuse(rule, node)
            case Variable():
                self._variable(found, node)
            case Function() if not _is_activity(found, self._names):
                self._visitor.follow(found, node)
            case _:
                pass

    def _refuse(self, rule: rules.Rule, node: ast.expr, found: Outside | None = None) -> None:
        message = f"`{self._text(node)}` {rule.does}"
        self._visitor.report(rule.code, message, node, help=(rule.help,), imported=found)

    def _variable(self, variable: Variable, node: ast.expr) -> None:
        made = made_as(variable, self._names)
        if made is not None:
            return
        doubt = doubt_about(variable, self._names)
        if doubt is None:
            return
        line = getattr(doubt.node, "lineno", None)
        at = f" (line {line} of {variable.module.path.name})" if line else ""
        self._visitor.report(
            "RPY16",
            f"the module variable `{variable.name}` {doubt.why}{at}",
            node,
            "may have another value in a replay",
            help=(doubt.help,),
        )

    # -------------------------------------------------------------- calls
    def visit_Call(self, node: ast.Call) -> None:
        """Judge a call, and what it is given."""
        effect = self._names.effect(node)
        if effect is not None:
            self._effect(node, effect)
            return
        found = self._names.target(node.func)
        match found:
            case Function():
                self._function(found, node)
            case Class():
                self._instance(found, node)
            case Variable() if (made := made_as(found, self._names)) is not None:
                if made[0] == "activity":
                    self._direct(node)
            case Outside(dotted) if dotted in rules.NEEDS_ZONE and _arguments(node) < 2:
                self._visitor.report(
                    "RPY10",
                    f"`{self._text(node.func)}` asks the machine for its time zone",
                    node,
                    help=(f"name the zone: `{self._text(node.func)}(..., UTC)`",),
                )
            case Builtin("isinstance" | "issubclass"):
                # To name a type is no use of it.
                for argument in node.args[:1]:
                    self.visit(argument)
                return
            case _:
                self.visit(node.func)
        self.arguments(node, found)
        for part in (*node.args, *(keyword.value for keyword in node.keywords)):
            self.visit(part)

    def _function(self, function: Function, node: ast.Call) -> None:
        if _is_activity(function, self._names):
            self._direct(node)
        elif isinstance(function.node, ast.AsyncFunctionDef):
            self._async(node, f"`{self._text(node.func)}` is async, and nothing awaits it here")
        else:
            self._visitor.follow(function, node)
        if isinstance(node.func, ast.Attribute):
            self.visit(node.func.value)

    def _direct(self, node: ast.Call) -> None:
        name = self._text(node.func)
        self._visitor.report(
            "RPY05",
            f"the activity `{name}` is called directly, so it runs again in each replay",
            node,
            help=(ACTIVITY.format(name),),
        )

    def _async(self, node: ast.AST, message: str) -> None:
        self._visitor.report(
            "RPY06",
            message,
            node,
            "a workflow is a plain generator",
            help=(
                "await in an activity, and yield here: "
                '`yield from Compute("key", function, ...)`; several at once: `Parallel`',
            ),
        )

    def _instance(self, made: Class, node: ast.Call) -> None:
        """Read what runs when an object of a project's class is made."""
        for name in ("__new__", "__init__", "__post_init__"):
            method = self._names.method(made, name)
            if method is not None:
                self._visitor.follow(method, node)
        for part in made.node.body:
            for field in ast.walk(part) if isinstance(part, ast.AnnAssign) else ():
                if isinstance(field, ast.keyword) and field.arg in ("default_factory", "factory"):
                    self._default_factory(made, field.value, node)

    def _default_factory(self, made: Class, factory: ast.expr, node: ast.Call) -> None:
        found = self._names.top(made.module, factory)
        rule = rules.rule_of(found.dotted) if isinstance(found, Outside) else None
        if rule is not None:
            text = called(made.module, factory)
            self._visitor.report(
                rule.code,
                f"`{made.node.name}` has a field made by `{text}` (line {factory.lineno} of "
                f"{made.module.path.name}), which {rule.does}",
                node,
                help=(f"give that field here; {rule.help}",),
            )
        elif isinstance(found, Function):
            self._visitor.follow(found, node)

    def _effect(self, node: ast.Call, effect: str) -> None:
        """Read an effect's arguments, but not the functions that its owner or a child runs."""
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Call):
            self.visit(node.func.value)
            if node.func.attr == "compensate":
                self._parts(node, skipped=0)
                return
        elif effect in ("Compute", "Call", "Start"):
            self._parts(node, skipped=1)
            return
        elif effect == "ForEach" and len(node.args) > 1:
            self.ordered(node.args[1], node.args[1])
        if isinstance(node.func, ast.Attribute) and effect in ("SetCell", "AwaitCallback"):
            self.visit(node.func.value)
        self._parts(node, skipped=None)

    def _parts(self, node: ast.Call, skipped: int | None) -> None:
        for index, argument in enumerate(node.args):
            if index == skipped and not isinstance(argument, ast.Call):
                continue
            self.visit(argument)
        for keyword in node.keywords:
            self.visit(keyword.value)

    def arguments(self, node: ast.Call, found: Target | None) -> None:
        """Judge what a call of ``found`` is given."""

    def ordered(self, value: ast.expr, node: ast.AST) -> None:
        """Judge a value that is gone through, one item after the other."""


def _arguments(node: ast.Call) -> int:
    return len(node.args) + len(node.keywords)


def _is_activity(function: Function, names: Names) -> bool:
    return made_by_decorator(function, names) == "activity"


def made_by_decorator(function: Function, names: Names) -> str | None:
    """Return ``activity`` or ``workflow`` if a decorator makes that of the function."""
    for decorator in function.node.decorator_list:
        func = decorator.func if isinstance(decorator, ast.Call) else decorator
        match func, names.top(function.module, func):
            case _, Outside(dotted) if dotted.startswith("raftoral."):
                last = dotted.rpartition(".")[2]
            case ast.Attribute(_, last), _:
                pass  # `registry.workflow(...)`, whatever the registry is called.
            case _:
                continue
        if last in ("activity", "workflow"):
            return last
    return None
