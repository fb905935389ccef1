"""Reads one function of a workflow: what it does that no replay could repeat.

Owns the reports about statements and values: the order of sets, floats as text, shared variables,
handlers and defaults (RPY17, RPY18, RPY20 to RPY22). What it names is judged in `raftoral.lint.uses`.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final

from raftoral.lint.names import Builtin
from raftoral.lint.uses import Uses

if TYPE_CHECKING:
    from raftoral.lint.kinds import Names
    from raftoral.lint.names import Target
    from raftoral.lint.uses import Visitor

_FLOAT_SPEC: Final = re.compile(r".*[eEfFgG%]$")
_PERCENT_FLOAT: Final = re.compile(r"%[-+ #0]*[\d*]*(?:\.[\d*]+)?[eEfFgG]")
_ORDERED: Final = frozenset(
    {"list", "tuple", "enumerate", "iter", "zip", "map", "filter", "str", "repr", "dict", "print"}
)
_UNORDERED: Final = frozenset({"sorted", "sum", "any", "all", "set", "frozenset", "len"})
_EXACT: Final = frozenset({"Decimal", "int", "str", "bool"})


class Body(Uses, ast.NodeVisitor):
    """One walk through one function; its inner functions are read where they are used."""

    def __init__(self, names: Names, visitor: Visitor) -> None:
        super().__init__(names, visitor)
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

    # -------------------------------------------------------------- the order of sets
    def visit_For(self, node: ast.For) -> None:
        """Judge what is gone through."""
        self.ordered(node.iter, node.iter)
        self.generic_visit(node)

    def visit_ListComp(self, node: ast.ListComp | ast.GeneratorExp | ast.DictComp) -> None:
        """Judge what is gone through."""
        for generator in node.generators:
            self.ordered(generator.iter, generator.iter)
            if generator.is_async:
                self._async(generator.iter, "this goes through something by awaiting it")
        self.generic_visit(node)

    visit_GeneratorExp = visit_ListComp  # noqa: N815 - the names are those of `ast`
    visit_DictComp = visit_ListComp  # noqa: N815

    def visit_Starred(self, node: ast.Starred) -> None:
        """Judge what is unpacked."""
        self.ordered(node.value, node.value)
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        """Judge what is unpacked into several names."""
        if any(isinstance(target, ast.Tuple | ast.List) for target in node.targets):
            self.ordered(node.value, node.value)
        self.generic_visit(node)

    def arguments(self, node: ast.Call, found: Target | None) -> None:
        """Judge whether a set is given where its order shows."""
        match found, node.func:
            case Builtin(name), _ if name in _ORDERED:
                for argument in node.args:
                    self.ordered(argument, argument)
            case Builtin(name), _ if name in _UNORDERED:
                for argument in node.args:
                    if isinstance(argument, ast.GeneratorExp):
                        self._free += [one.iter for one in argument.generators]
            case None, ast.Attribute(owner, "pop") if not node.args:
                self.ordered(owner, node)
            case _, ast.Attribute(_, "join" | "extend"):
                for argument in node.args:
                    self.ordered(argument, argument)
            case _:
                pass

    def ordered(self, value: ast.expr, node: ast.AST) -> None:
        """Report a set that is gone through, one item after the other."""
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
        self.ordered(node.value, node.value)
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
