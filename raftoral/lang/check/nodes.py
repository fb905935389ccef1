"""The nodes of the IR as the checker makes them, and what its methods answer with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from raftoral.lang.ir import encode_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from raftoral.lang.types import Type
    from raftoral.values import Value

Node: TypeAlias = "list[Any]"
Typed: TypeAlias = "tuple[Type, Node]"
"""The type of an expression and its IR."""

Checked: TypeAlias = "tuple[Node | None, bool]"
"""The IR of a statement (None if it has none), and whether nothing behind it is ever reached."""


def numbered(node: Any, numbers: Mapping[tuple[str, str], int]) -> Any:
    """Return a copy of IR whose calls name functions by number and not by `Function.key`."""
    if type(node) is not list:
        return node
    if len(node) == 3 and node[0] == "call" and type(node[1]) is tuple:
        return ["call", numbers[node[1]], numbered(node[2], numbers)]
    return [numbered(part, numbers) for part in node]


def const(value: Value) -> Node:
    """Return the node of a constant."""
    return ["const", encode_value(value)]


def do(primitive: str, *args: Node) -> Node:
    """Return the node that applies a primitive."""
    return ["do", primitive, list(args)]
