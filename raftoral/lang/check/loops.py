"""Loops: `while`, and `for` one after the other or all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raftoral.lang.check import branches, containers
from raftoral.lang.check.nodes import const
from raftoral.lang.diagnostics import Label, inserting
from raftoral.lang.source import Span
from raftoral.lang.types import BOOL, INT, STRING, UNKNOWN, ListType, show

if TYPE_CHECKING:
    from raftoral.lang import ast
    from raftoral.lang.check.body import Body
    from raftoral.lang.check.nodes import Node


def loop_body(b: Body, block: ast.Block, key: str) -> tuple[Node, int]:
    """Return the IR of a loop's body and the number of this loop among those of its name."""
    steps, turns, effects = b.steps, b.turns, b.effects
    b.steps, b.turns = {}, {}
    b.loops += 1
    b.scoped += 1
    body, _ = b.block(block)
    b.scoped -= 1
    b.loops -= 1
    b.steps, b.turns = steps, turns
    if b.effects == effects:
        return body, 0  # a pure loop leaves no trace in the history
    return body, number_of(b, key)


def number_of(b: Body, key: str) -> int:
    """Return how many loops of this name the scope has already, and count this one."""
    number = b.turns.get(key, 0)
    b.turns[key] = number + 1
    return number


def loop_while(b: Body, node: ast.While) -> Node:
    """Return the IR of a `while`."""
    condition = b.value(node.condition, BOOL, "a condition")
    limit = const(0)
    if node.limit is None:
        end = node.condition.span.end
        b.diagnostics.error(
            "RWF0401",
            "this loop has no bound",
            Span(node.span.start, node.span.start + 5),
            "`while` needs `max`",
            labels=(Label(Span(end, end + 1), "write it here: `max 100`"),),
            notes=("every loop is bounded, so every run has a largest possible history",),
            fixes=inserting(node.block.span.start, "max 100 "),
        )
    else:
        limit = b.value(node.limit, INT, "a bound")
    with b.knowing(b.facts(node.condition)[0]):
        body, number = loop_body(b, node.block, "while")
    return ["while", condition, limit, number, body]


def loop_for(b: Body, node: ast.For) -> Node:
    """Return the IR of a `for`."""
    index, kind, source = containers.gone_through(b, node.index, node.source)
    b.scope.open()
    index_slot = None if node.index is None else b.declare(node.index, index, "loop").slot
    variable = b.declare(node.variable, kind, "loop")
    by = None if node.by is None else _key(b, node.by)
    if node.fan is not None:
        return _fan(b, node, node.fan, [index_slot, variable.slot, source, by])
    body, number = loop_body(b, node.block, node.variable.text)
    b.close_block()
    stem = node.variable.text if number == 0 else f"{node.variable.text}#{number}"
    return ["for", stem, index_slot, variable.slot, source, by, body]


def _key(b: Body, node: ast.Expr) -> Node:
    kind, ir = b.expr(node)
    if kind not in (INT, STRING, UNKNOWN):
        message = f"the key of a turn is a string or an int, not {show(kind)}"
        b.error("RWF0311", message, node.span, "its steps are found under it in the history")
    return ir


def _fan(b: Body, node: ast.For, fan: ast.Fan, head: list[Any]) -> Node:
    limits = branches.limits(b, fan)
    with b.beside() as giving:
        body, leaves = b.block(node.block)
    kind = b.given(giving, always=leaves)
    b.close_block()
    if fan.collect is None:
        branches.nowhere(b, fan, [giving], "collect")
        number = number_of(b, node.variable.text)
        stem = node.variable.text if number == 0 else f"{node.variable.text}#{number}"
        return ["fan", None, stem, *head, limits, body]
    b.step(fan.collect)
    slot = b.declare(fan.collect, ListType(branches.told_of(fan, kind)), "compute").slot
    return ["fan", slot, fan.collect.text, *head, limits, body]
