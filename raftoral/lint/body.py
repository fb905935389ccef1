"""Reads one function of a workflow: what it uses that no replay could repeat.

Owns the reports about names, sets, errors and loops of events (RPY05, RPY06, RPY10 to RPY22). Whatever
the function calls in the project is handed to the `Visitor`, which reads it later.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final, Protocol

from raftoral.lint import rules
from raftoral.lint.modules import Class, Function, Module, Variable
from raftoral.lint.names import Builtin, Outside, called
from raftoral.lint.variables import doubt_about, made_as

if TYPE_CHECKING:
    from raftoral.lint.names import Names, Target


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
_FLOAT_SPEC: Final = re.compile(r".*[eEfFgG%]$")
_PERCENT_FLOAT: Final = re.compile(r"%[-+ #0]*[\d*]*(?:\.[\d*]+)?[eEfFgG]")
_ORDERED: Final = frozenset(
    {"list", "tuple", "enumerate", "iter", "zip", "map", "filter", "str", "repr", "dict", "print"}
)
_UNORDERED: Final = frozenset({"sorted", "sum", "any", "all", "set", "frozenset", "len"})
_EXACT: Final = frozenset({"Decimal", "int", "str", "bool"})


class Body(ast.NodeVisitor):
    """One walk through one function; its inner functions are read where they are used."""

    def __init__(self, names: Names, visitor: Visitor) -> None:
        self._names = names
        self._visitor = visitor
        self._module = names.function.module
        self._free: list[ast.expr] = []
        """Sets that are gone through where the order does not show."""

    def read(self) -> None:
        """Report everything about the function."""
        node = self._names.function.node
        if isinstance(node, ast.AsyncFunctionDef):
            self._async(node, f"`{node.name}` is async")
        self._defaults(node)
        for statement in node.body:
            self.visit(statement)

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
        self._order_of_arguments(node, found)
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
            self._ordered(node.args[1], node.args[1])
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

    # -------------------------------------------------------------- the order of sets
    def visit_For(self, node: ast.For) -> None:
        """Judge what is gone through."""
        self._ordered(node.iter, node.iter)
        self.generic_visit(node)

    def visit_ListComp(self, node: ast.ListComp | ast.GeneratorExp | ast.DictComp) -> None:
        """Judge what is gone through."""
        for generator in node.generators:
            self._ordered(generator.iter, generator.iter)
            if generator.is_async:
                self._async(generator.iter, "this goes through something by awaiting it")
        self.generic_visit(node)

    visit_GeneratorExp = visit_ListComp  # noqa: N815 - the names are those of `ast`
    visit_DictComp = visit_ListComp  # noqa: N815

    def visit_Starred(self, node: ast.Starred) -> None:
        """Judge what is unpacked."""
        self._ordered(node.value, node.value)
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        """Judge what is unpacked into several names."""
        if any(isinstance(target, ast.Tuple | ast.List) for target in node.targets):
            self._ordered(node.value, node.value)
        self.generic_visit(node)

    def _order_of_arguments(self, node: ast.Call, found: Target | None) -> None:
        match found, node.func:
            case Builtin(name), _ if name in _ORDERED:
                for argument in node.args:
                    self._ordered(argument, argument)
            case Builtin(name), _ if name in _UNORDERED:
                for argument in node.args:
                    if isinstance(argument, ast.GeneratorExp):
                        self._free += [one.iter for one in argument.generators]
            case None, ast.Attribute(owner, "pop") if not node.args:
                self._ordered(owner, node)
            case _, ast.Attribute(_, "join" | "extend"):
                for argument in node.args:
                    self._ordered(argument, argument)
            case _:
                pass

    def _ordered(self, value: ast.expr, node: ast.AST) -> None:
        if self._names.kind(value) != "set" or value in self._free:
            return
        text = self._text(value)
        self._visitor.report(
            "RPY18",
            f"the order of the set `{text}` is another one in each process",
            node,
            help=(f"put it in order first: `sorted({text})`",),
        )

    # -------------------------------------------------------------- floats as text
    def visit_FormattedValue(self, node: ast.FormattedValue) -> None:
        """Judge a value inside of an f-string."""
        spec = node.format_spec
        text = ""
        if isinstance(spec, ast.JoinedStr):
            text = "".join(
                str(part.value) for part in spec.values if isinstance(part, ast.Constant)
            )
        self._ordered(node.value, node.value)
        self._float(node.value, node.value, _FLOAT_SPEC.match(text) is not None)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """Judge ``"%.2f" % value``."""
        match node:
            case ast.BinOp(ast.Constant(str(text)), ast.Mod(), value):
                self._float(value, node, _PERCENT_FLOAT.search(text) is not None)
            case _:
                pass
        self.generic_visit(node)

    def _float(self, value: ast.expr, node: ast.expr, formatted: bool) -> None:
        kind = self._names.kind(value)
        if kind in _EXACT or not (formatted or kind == "float"):
            return
        self._visitor.report(
            "RPY20",
            f"`{self._text(value)}` is written as a float",
            node,
            "its last digits depend on how it was worked out",
            help=("count in `Decimal` or in whole units, and write those",),
        )

    # -------------------------------------------------------------- statements
    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        """Refuse to share a variable beyond the run."""
        names = ", ".join(f"`{name}`" for name in node.names)
        self._visitor.report(
            "RPY17",
            f"{names} is shared with what is outside of this function",
            node,
            "each replay would change it again",
            help=("keep it in a `Checkpoint`, or return it from the function that works it out",),
        )

    visit_Nonlocal = visit_Global  # noqa: N815

    def visit_Await(self, node: ast.Await | ast.AsyncFor | ast.AsyncWith) -> None:
        """Refuse to await."""
        self._async(node, "there is no event loop inside of a workflow to await anything")
        self.generic_visit(node)

    visit_AsyncFor = visit_Await  # noqa: N815
    visit_AsyncWith = visit_Await  # noqa: N815

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        """Refuse to catch everything, which would swallow a cancellation."""
        everything = node.type is None or any(
            isinstance(part, ast.Name) and self._names.target(part) == Builtin("BaseException")
            for part in ast.walk(node.type)
        )
        raises = any(isinstance(part, ast.Raise) and part.exc is None for part in node.body[-1:])
        if everything and not raises:
            head = "except:" if node.type is None else f"except {self._text(node.type)}"
            self._visitor.report(
                "RPY21",
                f"`{head}` swallows the cancellation of the run, and the end of its replay",
                node,
                help=("name what you expect: `except WorkflowFailed as failure:`",),
            )
        for statement in node.body:
            self.visit(statement)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """Read a lambda where it stands."""
        self._defaults(node)
        self.visit(node.body)

    def _defaults(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        given = [*node.args.defaults, *(one for one in node.args.kw_defaults if one is not None)]
        for default in given:
            fresh = isinstance(
                default, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp
            ) or (
                isinstance(default, ast.Call)
                and self._names.target(default.func)
                in (Builtin("list"), Builtin("dict"), Builtin("set"))
            )
            if fresh:
                self._visitor.report(
                    "RPY22",
                    f"the default `{self._text(default)}` is one object for all runs",
                    default,
                    "a run that changes it changes it for the next ones",
                    help=("use `None` (or a tuple) and make a new one inside",),
                )


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
