"""Expressions and patterns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from raftoral.lang.ast.base import Ident, TypeRef
    from raftoral.lang.source import Span
    from raftoral.values import Value


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a text without holes, true, false, none, a span of time, an amount."""

    span: Span
    value: Value


@dataclass(frozen=True, slots=True)
class Text:
    """A text with holes: ``"order {order.id}"``."""

    span: Span
    parts: tuple[str | Expr, ...]


@dataclass(frozen=True, slots=True)
class Name:
    """A value by its name."""

    span: Span
    name: str


@dataclass(frozen=True, slots=True)
class TypeName:
    """A constant, or the name of a record or error in front of its arguments."""

    span: Span
    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """``base.name``, or ``base?.name`` which is none where the base is."""

    span: Span
    base: Expr
    name: Ident
    optional: bool


@dataclass(frozen=True, slots=True)
class Subscript:
    """``base[at]``."""

    span: Span
    base: Expr
    at: Expr


@dataclass(frozen=True, slots=True)
class Arg:
    """One argument, by position (``name`` is None) or by name."""

    span: Span
    name: Ident | None
    value: Expr


@dataclass(frozen=True, slots=True)
class Call:
    """``callee(args)``: a function, a built-in, or a record or error that is made."""

    span: Span
    callee: Expr
    args: tuple[Arg, ...]


@dataclass(frozen=True, slots=True)
class Unary:
    """``not e`` or ``-e``."""

    span: Span
    operator: str
    operand: Expr


@dataclass(frozen=True, slots=True)
class Binary:
    """``left operator right``, all operators between two values."""

    span: Span
    operator: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class IsNone:
    """``e is none`` or ``e is not none``."""

    span: Span
    operand: Expr
    negated: bool


@dataclass(frozen=True, slots=True)
class IsShape:
    """``e is Outcome.Approved`` or ``e is not t.Outcome.Approved(by: "ann")``."""

    span: Span
    operand: Expr
    shape: ShapePattern
    negated: bool


@dataclass(frozen=True, slots=True)
class Decode:
    """``decode(type, e)``: what a json holds, as the type."""

    span: Span
    type: TypeRef
    value: Expr


@dataclass(frozen=True, slots=True)
class Choice:
    """``if c then a else b``."""

    span: Span
    condition: Expr
    then: Expr
    otherwise: Expr


@dataclass(frozen=True, slots=True)
class ListOf:
    """``[a, b]``."""

    span: Span
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """``key: value`` in a map or an update."""

    span: Span
    key: Ident
    value: Expr


@dataclass(frozen=True, slots=True)
class MapOf:
    """``{a: 1, "b c": 2}``."""

    span: Span
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Update:
    """``{...base, field: value}``."""

    span: Span
    base: Expr
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class LiteralPattern:
    """A fixed value."""

    span: Span
    literal: Literal


@dataclass(frozen=True, slots=True)
class BindPattern:
    """A name for whatever is there; ``_`` gives none."""

    span: Span
    name: Ident


@dataclass(frozen=True, slots=True)
class FieldPattern:
    """``name: pattern``; a bare ``name`` binds the field to its own name."""

    span: Span
    name: Ident
    pattern: Pattern


@dataclass(frozen=True, slots=True)
class ShapePattern:
    """``Item(sku: s)`` or ``t.Outcome.Approved(by)``; ``fields`` is None without parentheses."""

    span: Span
    name: Ident
    fields: tuple[FieldPattern, ...] | None


@dataclass(frozen=True, slots=True)
class Alternatives:
    """``a | b``."""

    span: Span
    options: tuple[Pattern, ...]


Pattern: TypeAlias = "LiteralPattern | BindPattern | ShapePattern | Alternatives"
