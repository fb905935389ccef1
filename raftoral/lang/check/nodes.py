"""The nodes of the IR as the checker makes them, and what its methods answer with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from raftoral.lang.ir import encode_value

if TYPE_CHECKING:
    from raftoral.lang.types import Type
    from raftoral.values import Value

Node: TypeAlias = "list[Any]"
Typed: TypeAlias = "tuple[Type, Node]"
"""The type of an expression and its IR."""

Checked: TypeAlias = "tuple[Node | None, bool]"
"""The IR of a statement (None if it has none), and whether nothing behind it is ever reached."""


def const(value: Value) -> Node:
    """Return the node of a constant."""
    return ["const", encode_value(value)]


def do(primitive: str, *args: Node) -> Node:
    """Return the node that applies a primitive."""
    return ["do", primitive, list(args)]
