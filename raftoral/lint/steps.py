"""Reads the steps of one function: effects that are made and lost, and yields of no effect.

Owns RPY01 and RPY02.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

from raftoral.lint.modules import own_nodes
from raftoral.lint.names import Outside, called

if TYPE_CHECKING:
    from raftoral.lint.kinds import Names
    from raftoral.lint.uses import Visitor

_NO_EFFECT: Final = {
    **dict.fromkeys(("int", "bool", "float", "str", "bytes", "NoneType", "Decimal"), "a value"),
    **dict.fromkeys(("list", "tuple", "dict", "set", "keys", "generatorexp"), "a container"),
    **dict.fromkeys(("lambda", "compare"), "a value"),
    "flow": "a generator of effects",
    "generator": "a generator",
    "cell": "a cell",
}


class Steps:
    """The walk through one function, for what it does with effects."""

    def __init__(self, names: Names, visitor: Visitor, *, flow: bool) -> None:
        self._names = names
        self._visitor = visitor
        self._flow = flow
        self._function = names.function

    def read(self) -> None:
        """Report everything about the steps of the function."""
        nodes = own_nodes(self._function.node)
        parents = {id(child): node for node in nodes for child in ast.iter_child_nodes(node)}
        for node in nodes:
            match node:
                case ast.Expr(value) if not isinstance(value, ast.Yield | ast.YieldFrom):
                    self._lost(value, "does nothing until it is yielded")
                case ast.Assign([ast.Name(name)], value) | ast.AnnAssign(ast.Name(name), _, value):
                    if value is not None and not self._is_handed_on(name, nodes, parents):
                        self._lost(value, f"`{name}` is never yielded")
                case ast.Return(ast.Call() as value) if self._flow:
                    self._lost(value, "it is returned, and nobody yields it")
                case ast.Yield() | ast.YieldFrom() if self._flow:
                    self._yielded(node)
                case _:
                    pass

    def _text(self, node: ast.expr) -> str:
        return called(self._function.module, node)

    # -------------------------------------------------------------- made and lost
    def _lost(self, value: ast.expr, label: str) -> None:
        effect = self._names.effect(value)
        if effect is None and self._names.kind(value) != "flow":
            return
        text = _short(self._text(value))
        if effect is None:
            message = f"the steps of `{text}` never run: nothing yields them"
        else:
            message = f"`{text}` is made and never yielded"
        self._visitor.report("RPY01", message, value, label, help=(f"write `yield from {text}`",))

    def _is_handed_on(self, name: str, nodes: list[ast.AST], parents: dict[int, ast.AST]) -> bool:
        """Tell whether a variable is ever used as something that could be yielded."""
        for node in nodes:
            if not (isinstance(node, ast.Name) and node.id == name):
                if isinstance(node, ast.FunctionDef | ast.Lambda) and _mentions(node, name):
                    return True
                continue
            parent = parents.get(id(node))
            if isinstance(node.ctx, ast.Load) and not isinstance(
                parent, ast.Expr | ast.Compare | ast.If | ast.BoolOp | ast.FormattedValue
            ):
                return True
        return False

    # -------------------------------------------------------------- yields of something else
    def _yielded(self, node: ast.Yield | ast.YieldFrom) -> None:
        value = node.value
        if value is None:
            self._no_effect(node, "nothing is yielded here", "yield an effect, or remove the line")
            return
        match node:
            case ast.YieldFrom(ast.Tuple([]) | ast.List([])):
                return  # yields nothing: it makes a function without effects a generator
            case _:
                pass
        text = _short(self._text(value))
        effect = self._names.effect(value)
        if effect is not None:
            if effect == "Saga" and isinstance(node, ast.Yield):
                self._no_effect(
                    value, "a saga is run by `yield from`", f"write `yield from {text}`"
                )
            return
        target = self._names.target(value)
        if isinstance(target, Outside) and target.dotted.startswith("raftoral."):
            self._no_effect(
                value, f"`{text}` is the class, not an effect", f"call it: `{text}(...)`"
            )
            return
        kind = self._names.kind(value)
        if isinstance(node, ast.YieldFrom) and kind in ("flow", "generator", "generatorexp"):
            return
        self._by_kind(node, value, text, kind)

    def _by_kind(
        self, node: ast.Yield | ast.YieldFrom, value: ast.expr, text: str, kind: object
    ) -> None:
        if isinstance(value, ast.List | ast.Tuple) and _effects_in(self._names, value):
            inner = ", ".join(self._text(one) for one in value.elts)
            self._no_effect(
                value,
                "a list of effects is no effect",
                f'run them at once: `yield from Parallel("key", {_short(inner)})`',
            )
            return
        what = _NO_EFFECT.get(kind) if isinstance(kind, str) else None
        if not isinstance(kind, str) and kind is not None:
            what = "an object"
        if what is None:
            return
        if kind == "flow":
            help_ = f"write `yield from {text}`"
        else:
            help_ = (
                'yield effects only; record a value with `yield from Checkpoint("key", value)`, '
                'have a function run with `yield from Compute("key", function, ...)`'
            )
        self._no_effect(value, f"`{text}` is {what}, not an effect", help_)

    def _no_effect(self, node: ast.AST, message: str, help_: str) -> None:
        self._visitor.report(
            "RPY02", message, node, "a workflow yields effects only", help=(help_,)
        )


def _effects_in(names: Names, value: ast.expr) -> bool:
    parts = getattr(value, "elts", [])
    return bool(parts) and all(
        names.effect(part) is not None or names.kind(part) == "flow" for part in parts
    )


def _mentions(node: ast.AST, name: str) -> bool:
    return any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(node))


def _short(text: str, columns: int = 60) -> str:
    return text if len(text) <= columns else f"{text[: columns - 3]}..."
