"""Reductions of expressions and patterns."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from lark import Transformer

from raftoral.lang import ast
from raftoral.lang.ast import Ident
from raftoral.lang.tree import literals
from raftoral.lang.tree.tokens import at, dotted, ident, last, maybe, report, span
from raftoral.values import Money, parse_span

if TYPE_CHECKING:
    from lark import Token


class Expressions(Transformer[Any, Any]):
    """One method a rule; ``c`` are its children."""

    def single_expr(self, c: list[Any]) -> Any:
        return c[0]

    def if_expr(self, c: list[Any]) -> ast.Choice:
        return ast.Choice(span(c[0], c[5]), c[1], c[3], c[5])

    # operators
    def coalesce(self, c: list[Any]) -> ast.Binary:
        return ast.Binary(span(c[0], c[1]), "??", c[0], c[1])

    def or_(self, c: list[Any]) -> ast.Binary:
        return ast.Binary(span(c[0], c[1]), "or", c[0], c[1])

    def and_(self, c: list[Any]) -> ast.Binary:
        return ast.Binary(span(c[0], c[1]), "and", c[0], c[1])

    def not_(self, c: list[Any]) -> ast.Unary:
        return ast.Unary(span(c[0], c[1]), "not", c[1])

    def binary(self, c: list[Any]) -> ast.Binary:
        return ast.Binary(span(c[0], c[2]), c[1].value, c[0], c[2])

    def in_(self, c: list[Any]) -> ast.Binary:
        return ast.Binary(span(c[0], c[1]), "in", c[0], c[1])

    def not_in(self, c: list[Any]) -> ast.Unary:
        where = span(c[0], c[2])
        return ast.Unary(where, "not", ast.Binary(where, "in", c[0], c[2]))

    def is_none(self, c: list[Any]) -> ast.IsNone:
        return ast.IsNone(span(c[0], c[2]), c[0], c[1] is not None)

    def is_shape(self, c: list[Any]) -> ast.IsShape:
        return ast.IsShape(span(c[0], c[2]), c[0], c[2], c[1] is not None)

    def neg(self, c: list[Any]) -> ast.Unary:
        return ast.Unary(span(c[0], c[1]), "-", c[1])

    # parts and calls
    def member(self, c: list[Any]) -> ast.Member:
        return ast.Member(span(c[0], c[1]), c[0], ident(c[1]), optional=False)

    def opt_member(self, c: list[Any]) -> ast.Member:
        return ast.Member(span(c[0], c[2]), c[0], ident(c[2]), optional=True)

    def index(self, c: list[Any]) -> ast.Subscript:
        return ast.Subscript(span(c[0], c[2]), c[0], c[1])

    def apply(self, c: list[Any]) -> ast.Call:
        return ast.Call(span(c[0], c[2]), c[0], c[1])

    def args(self, c: list[Any]) -> tuple[ast.Arg, ...]:
        return tuple(c)

    def arg(self, c: list[Any]) -> ast.Arg:
        name = maybe(c[0])
        return ast.Arg(span(name or c[1], c[1]), name, c[1])

    def comp_arg(self, c: list[Any]) -> ast.Arg:
        made = self._each(c[0], c[1], c[0], last(c[1]))
        return ast.Arg(made.span, None, made)

    # atoms
    def name(self, c: list[Any]) -> ast.Name:
        return ast.Name(at(c[0]), c[0].value)

    def uname(self, c: list[Any]) -> ast.TypeName:
        return ast.TypeName(at(c[0]), c[0].value)

    def group(self, c: list[Any]) -> Any:
        return c[0]

    def decode(self, c: list[Any]) -> ast.Decode:
        return ast.Decode(span(c[0], c[-1]), c[1], c[2])

    def list_of(self, c: list[Any]) -> ast.ListOf:
        return ast.ListOf(span(c[0], c[-1]), tuple(x for x in c[1:-1] if x is not None))

    def comprehension(self, c: list[Any]) -> ast.Comprehension:
        return self._each(c[1], c[2], c[0], c[3])

    def each(self, c: list[Any]) -> list[Any]:
        return c

    def _each(self, item: Any, each: list[Any], first: Any, end: Any) -> ast.Comprehension:
        (index, variable), source, condition = each
        return ast.Comprehension(span(first, end), item, index, variable, source, condition)

    def variables(self, c: list[Any]) -> tuple[Ident | None, Ident]:
        return (None, ident(c[0])) if c[1] is None else (ident(c[0]), ident(c[1]))

    def map_of(self, c: list[Any]) -> ast.MapOf:
        return ast.MapOf(span(c[0], c[-1]), tuple(x for x in c[1:-1] if x is not None))

    def update(self, c: list[Any]) -> ast.Update:
        return ast.Update(span(c[0], c[-1]), c[1], tuple(c[2:-1]))

    def entry(self, c: list[Any]) -> ast.Entry:
        key: Token = c[0]
        name: Ident | ast.Text = ident(key)
        if key.type == "STRING":
            found = literals.text(name.span, name.span.start + 1, name.span.end - 1)
            name = found if isinstance(found, ast.Text) else Ident(found.span, str(found.value))
        return ast.Entry(span(key, c[1]), name, c[1])

    # literals
    def integer(self, c: list[Any]) -> ast.Literal:
        return ast.Literal(at(c[0]), literals.whole(c[0]))

    def decimal(self, c: list[Any]) -> ast.Literal:
        return ast.Literal(at(c[0]), literals.exact(c[0].value, at(c[0])))

    def duration(self, c: list[Any]) -> ast.Literal:
        try:
            return ast.Literal(at(c[0]), parse_span(c[0].value))
        except ValueError as error:
            report("RWF0008", str(error), at(c[0]), "too long")
            return ast.Literal(at(c[0]), parse_span("0s"))

    def money(self, c: list[Any]) -> ast.Literal:
        text = c[0].value
        return ast.Literal(at(c[0]), Money(literals.exact(text[:-3], at(c[0])), text[-3:]))

    def string(self, c: list[Any]) -> ast.Literal | ast.Text:
        where = at(c[0])
        return literals.text(where, where.start + 1, where.end - 1)

    def long_string(self, c: list[Any]) -> ast.Literal | ast.Text:
        where = at(c[0])
        skip = 4 if c[0].value[3:4] == "\n" else 3
        return literals.text(where, where.start + skip, max(where.start + skip, where.end - 3))

    def true(self, c: list[Any]) -> ast.Literal:
        return ast.Literal(at(c[0]), True)

    def false(self, c: list[Any]) -> ast.Literal:
        return ast.Literal(at(c[0]), False)

    def none(self, c: list[Any]) -> ast.Literal:
        return ast.Literal(at(c[0]), None)

    # patterns
    def bind_pattern(self, c: list[Any]) -> ast.BindPattern:
        return ast.BindPattern(at(c[0]), ident(c[0]))

    def alternatives(self, c: list[Any]) -> ast.Alternatives:
        return ast.Alternatives(span(c[0], c[-1]), tuple(c))

    def literal_pattern(self, c: list[Any]) -> ast.LiteralPattern:
        literal = c[-1]
        where = span(c[0], literal)
        if not isinstance(literal, ast.Literal):
            report("RWF0001", "a pattern is a fixed text", literal.span, "has a hole")
            return ast.LiteralPattern(where, ast.Literal(where, ""))
        if len(c) == 1:
            return ast.LiteralPattern(where, literal)
        match literal.value:
            case bool() | None | str():
                report("RWF0001", "only a number has a minus sign", where)
                return ast.LiteralPattern(where, ast.Literal(where, 0))
            case Money(amount, currency):
                return ast.LiteralPattern(where, ast.Literal(where, Money(-amount, currency)))
            case int() | Decimal() as number:
                return ast.LiteralPattern(where, ast.Literal(where, -number))
            case value:
                return ast.LiteralPattern(where, ast.Literal(where, value))

    def shape_pattern(self, c: list[Any]) -> ast.ShapePattern:
        name: Ident = c[0]
        if c[1] is None:
            return ast.ShapePattern(name.span, name, None)
        fields = tuple(x for x in c[2:-1] if type(x) is ast.FieldPattern)
        return ast.ShapePattern(span(name, c[-1]), name, fields)

    def shape_name(self, c: list[Any]) -> Ident:
        return dotted([token for token in c if token is not None])

    def field_pattern(self, c: list[Any]) -> ast.FieldPattern:
        name = ident(c[0])
        if len(c) == 1 or c[2] is None:
            return ast.FieldPattern(name.span, name, ast.BindPattern(name.span, name))
        return ast.FieldPattern(span(name, c[2]), name, c[2])
