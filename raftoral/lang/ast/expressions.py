"""Expressions and patterns."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from raftoral.lang.node import node

if TYPE_CHECKING:
    from raftoral.lang.ast.base import Ident, TypeRef
    from raftoral.lang.source import Span
    from raftoral.values import Value


@node
class Literal:
    """A number, a text without holes, true, false, none, a span of time, an amount."""

    span: Span
    value: Value


@node
class Text:
    """A text with holes: ``"order {order.id}"``."""

    span: Span
    parts: tuple[str | Expr, ...]


@node
class Name:
    """A value by its name."""

    span: Span
    name: str


@node
class TypeName:
    """A constant, or the name of a record or error in front of its arguments."""

    span: Span
    name: str


@node
class Member:
    """``base.name``, or ``base?.name`` which is none where the base is."""

    span: Span
    base: Expr
    name: Ident
    optional: bool


@node
class Subscript:
    """``base[at]``."""

    span: Span
    base: Expr
    at: Expr


@node
class Arg:
    """One argument, by position (``name`` is None) or by name."""

    span: Span
    name: Ident | None
    value: Expr


@node
class Call:
    """``callee(args)``: a function, a built-in, or a record or error that is made."""

    span: Span
    callee: Expr
    args: tuple[Arg, ...]


@node
class Unary:
    """``not e`` or ``-e``."""

    span: Span
    operator: str
    operand: Expr


@node
class Binary:
    """``left operator right``, all operators between two values."""

    span: Span
    operator: str
    left: Expr
    right: Expr


@node
class IsNone:
    """``e is none`` or ``e is not none``."""

    span: Span
    operand: Expr
    negated: bool


@node
class IsShape:
    """``e is Outcome.Approved`` or ``e is not t.Outcome.Approved(by: "ann")``."""

    span: Span
    operand: Expr
    shape: ShapePattern
    negated: bool


@node
class Decode:
    """``decode(type, e)``: what a json holds, as the type."""

    span: Span
    type: TypeRef
    value: Expr


@node
class Choice:
    """``if c then a else b``."""

    span: Span
    condition: Expr
    then: Expr
    otherwise: Expr


@node
class ListOf:
    """``[a, b]``."""

    span: Span
    items: tuple[Expr, ...]


@node
class Entry:
    """``key: value`` in a map or an update; a text with holes is a key that is computed."""

    span: Span
    key: Ident | Text
    value: Expr


@node
class MapOf:
    """``{a: 1, "b c": 2}``."""

    span: Span
    entries: tuple[Entry, ...]


@node
class Update:
    """``{...base, field: value}``."""

    span: Span
    base: Expr
    entries: tuple[Entry, ...]


@node
class Comprehension:
    """``[item for index, variable in source if condition]``, or the same as an only argument.

    ``index`` is the number of the item, or the key in a map.
    """

    span: Span
    item: Expr
    index: Ident | None
    variable: Ident
    source: Expr
    condition: Expr | None


Expr: TypeAlias = (
    "Literal | Text | Name | TypeName | Member | Subscript | Call | Unary | Binary | IsNone"
    " | IsShape | Decode | Choice | ListOf | MapOf | Update | Comprehension"
)


@node
class LiteralPattern:
    """A fixed value."""

    span: Span
    literal: Literal


@node
class BindPattern:
    """A name for whatever is there; ``_`` gives none."""

    span: Span
    name: Ident


@node
class FieldPattern:
    """``name: pattern``; a bare ``name`` binds the field to its own name."""

    span: Span
    name: Ident
    pattern: Pattern


@node
class ShapePattern:
    """``Item(sku: s)`` or ``t.Outcome.Approved(by)``; ``fields`` is None without parentheses."""

    span: Span
    name: Ident
    fields: tuple[FieldPattern, ...] | None


@node
class Alternatives:
    """``a | b``."""

    span: Span
    options: tuple[Pattern, ...]


Pattern: TypeAlias = "LiteralPattern | BindPattern | ShapePattern | Alternatives"
