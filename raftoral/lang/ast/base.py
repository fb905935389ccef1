"""Names, types and parameters where they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.lang.node import node

if TYPE_CHECKING:
    from raftoral.lang.ast.expressions import Expr
    from raftoral.lang.source import Span


@node
class Ident:
    """A name where it is written; a dotted name, such as ``payments.charge``, is one ident."""

    span: Span
    text: str


@node
class TypeRef:
    """``list<T>``, ``t.Order``, ``Order?``: a name, what stands between < and >, and the ?."""

    span: Span
    name: str
    arguments: tuple[TypeRef, ...]
    optional: bool


@node
class Param:
    """``name: type = default``; a field of a record or error has the same form."""

    span: Span
    name: Ident
    type: TypeRef
    default: Expr | None
