"""The types of expressions, and the IR they become.

Owns no statement and no effect: an expression is pure by the grammar. Every method answers with the
type and the IR of one piece; after a report the type is `UNKNOWN`, which fits everywhere.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, assert_never

from raftoral.errors import RaftoralError
from raftoral.lang import ast
from raftoral.lang.builtins import NAMES
from raftoral.lang.check import calls, containers, operators
from raftoral.lang.check.nodes import Node, Typed, const, do
from raftoral.lang.check.operators import literal_type
from raftoral.lang.diagnostics import Diagnostics, Label, did_you_mean
from raftoral.lang.evaluate.expressions import constant_value
from raftoral.lang.resolve import Definitions, Scope, Shape
from raftoral.lang.types import (
    BOOL,
    DECIMAL,
    INT,
    JSON,
    NOTHING,
    STRING,
    UNKNOWN,
    ErrorType,
    ListType,
    MapType,
    MoneyType,
    OptionalType,
    RecordType,
    Simple,
    Type,
    common,
    fits,
    optional,
    required,
    show,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raftoral.lang.source import Span
    from raftoral.values import Value


DEPTH_MAX: Final = 64

_ORDER: Final = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
_ERROR_FIELDS: Final[dict[str, Type]] = {"name": STRING, "message": STRING, "attempts": INT}


class Expressions:
    """Checks the expressions of one body: a workflow, a function, or a constant."""

    def __init__(
        self, definitions: Definitions, diagnostics: Diagnostics, scope: Scope, *, pure: str = ""
    ) -> None:
        self.definitions = definitions
        self.diagnostics = diagnostics
        self.scope = scope
        self.pure = pure
        self.signals: dict[str, Shape] = {}
        self.calls: list[tuple[Node, str]] = []
        self.known: frozenset[str] = frozenset()
        self.depth = 0
        self.depth_seen = 0
        self.constants_open: tuple[str, ...] = ()

    # -------------------------------------------------------------- entrances
    def expr(self, node: ast.Expr, wanted: Type | None = None) -> Typed:
        """Return type and IR; ``wanted`` helps empty lists and maps, and is not checked."""
        self.depth += 1
        self.depth_seen = max(self.depth, self.depth_seen)
        try:
            if self.depth > DEPTH_MAX:
                message = f"the expression is nested deeper than {DEPTH_MAX} levels"
                self.error("RWF0403", message, node.span, "name a part of it with `let`")
                return UNKNOWN, const(None)
            return self._expr(node, wanted)
        finally:
            self.depth -= 1

    def value(self, node: ast.Expr, target: Type, what: str, declared: Span | None = None) -> Node:
        """Return the IR of an expression that must fit ``target``; a mismatch is reported."""
        kind, ir = self.expr(node, target)
        if fits(kind, target):
            return ir
        code, message, notes = "RWF0210", f"{what} is {show(target)}, not {show(kind)}", ()
        help_: tuple[str, ...] = ()
        if isinstance(kind, OptionalType) and fits(kind.item, target):
            code = "RWF0211"
            message = f"{what} is {show(target)}, and this may be none"
            help_ = ("give a value for none: `... ?? value`, or test it with `is none` before",)
        elif isinstance(kind, MoneyType) and isinstance(target, MoneyType):
            code, message = "RWF0214", f"{what} is {show(target)}, not {show(kind)}"
        elif isinstance(target, Simple) and (kind, target) == (INT, DECIMAL):
            if isinstance(node, ast.Literal):
                help_ = (f"write it as a decimal: `{node.value!r}.0`",)
            else:
                help_ = ("add `* 1.0` to make it a decimal",)
        elif isinstance(target, ErrorType):
            help_ = ("`fail` and `else` take an error or a text: `OutOfStock(sku: s)`",)
        labels = () if declared is None else (Label(declared, f"declared as {show(target)}"),)
        label = f"this is {show(kind)}"
        self.diagnostics.error(
            code, message, node.span, label, labels=labels, help=help_, notes=notes
        )
        return ir

    def constant(self, node: ast.Expr, target: Type, what: str) -> Value:
        """Return the value of a constant expression; None after a report."""
        inner = Expressions(
            self.definitions, self.diagnostics, Scope(self.diagnostics, what), pure=what
        )
        inner.constants_open = self.constants_open
        before = self.diagnostics.has_errors
        ir = inner.value(node, target, what)
        if inner.calls:
            message = f"{what} is constant, so it calls no function of the file"
            self.error("RWF0201", message, node.span)
            return None
        if self.diagnostics.has_errors and not before:
            return None
        try:
            return constant_value(ir)
        except RaftoralError as failure:
            if not self.diagnostics.has_errors:
                self.error("RWF0218", f"{what} cannot be computed: {failure}", node.span)
            return None

    def error(self, code: str, message: str, span: Span, label: str = "") -> Typed:
        """Report, and answer with what fits everywhere."""
        self.diagnostics.error(code, message, span, label)
        return UNKNOWN, const(None)

    @contextmanager
    def knowing(self, facts: frozenset[str]) -> Iterator[None]:
        """Treat the named values as not none inside."""
        before = self.known
        self.known = before | facts
        try:
            yield
        finally:
            self.known = before

    # -------------------------------------------------------------- what is known not to be none
    def facts(self, node: ast.Expr) -> tuple[frozenset[str], frozenset[str]]:
        """Return which values are not none if the condition holds, and if it does not."""
        nothing: frozenset[str] = frozenset()
        match node:
            case ast.IsNone(_, operand, negated):
                path = self.path(operand)
                if path is None:
                    return nothing, nothing
                found = frozenset([path])
                return (found, nothing) if negated else (nothing, found)
            case ast.Unary(_, "not", operand):
                yes, no = self.facts(operand)
                return no, yes
            case ast.Binary(_, "and", left, right):
                return self.facts(left)[0] | self.facts(right)[0], nothing
            case ast.Binary(_, "or", left, right):
                return nothing, self.facts(left)[1] | self.facts(right)[1]
            case _:
                return nothing, nothing

    def path(self, node: ast.Expr) -> str | None:
        """Return a key for a value that cannot change: a name and fields; None for others."""
        names: list[str] = []
        while isinstance(node, ast.Member):
            names.append(node.name.text)
            node = node.base
        if not isinstance(node, ast.Name):
            return None
        variable = self.scope.find(node.name)
        if variable is None or variable.role in ("var", "checkpoint"):
            return None
        return ".".join((str(variable.slot), *reversed(names)))

    # -------------------------------------------------------------- one method a kind
    def _expr(self, node: ast.Expr, wanted: Type | None) -> Typed:
        match node:
            case ast.Literal(_, value):
                return literal_type(value), const(value)
            case ast.Text(_, parts):
                return STRING, do("concat", *map(self._part, parts))
            case ast.Name():
                return self._narrowed(node, self._name(node))
            case ast.TypeName():
                return self._constant_name(node)
            case ast.Member():
                return self._narrowed(node, self._member(node))
            case ast.Subscript():
                return self._subscript(node)
            case ast.Call():
                return calls.call(self, node)
            case ast.Unary(_, "not", operand):
                return BOOL, ["not", self.value(operand, BOOL, "the operand of `not`")]
            case ast.Unary():
                return operators.negative(self, node)
            case ast.Binary():
                return operators.binary(self, node)
            case ast.IsNone(span, operand, negated):
                return self._is_none(span, operand, negated=negated)
            case ast.Choice():
                return self._choice(node, wanted)
            case ast.ListOf(_, items):
                return containers.list_of(self, items, wanted)
            case ast.MapOf(_, entries):
                return containers.map_of(self, entries, wanted)
            case ast.Update():
                return containers.update(self, node)
            case ast.Comprehension():
                return containers.comprehension(self, node)
            case ast.IsShape() | ast.Decode():
                word = "is" if isinstance(node, ast.IsShape) else "decode"
                return self.error("RWF0006", f"`{word}` is not part of this release", node.span)
            case _:
                assert_never(node)

    def _part(self, part: str | ast.Expr) -> Node:
        if isinstance(part, str):
            return const(part)
        kind, ir = self.expr(part)
        return ir if kind == STRING else do("text", ir)

    def _narrowed(self, node: ast.Expr, typed: Typed) -> Typed:
        kind, ir = typed
        if isinstance(kind, OptionalType) and self.known and self.path(node) in self.known:
            return kind.item, ir
        return kind, ir

    def _name(self, node: ast.Name) -> Typed:
        variable = self.scope.find(node.name)
        if variable is not None:
            variable.used = True
            op = "cell" if variable.role == "checkpoint" else "local"
            return variable.type, [op, variable.slot]
        if node.name in self.definitions.functions or node.name in NAMES:
            message = f"`{node.name}` is a function; call it: `{node.name}(...)`"
            return self.error("RWF0210", message, node.span)
        self.scope.unknown(node.name, node.span)
        return UNKNOWN, const(None)

    def _constant_name(self, node: ast.TypeName) -> Typed:
        name, definitions = node.name, self.definitions
        found = definitions.constants.get(name)
        if found is None:
            if name in definitions.records or name in definitions.errors:
                message = f"`{name}` is made with its fields: `{name}(...)`"
                return self.error("RWF0210", message, node.span)
            known = [*definitions.constants, *definitions.records, *definitions.errors]
            label = did_you_mean(name, [*known, "none", "true", "false"], "not defined")
            return self.error("RWF0201", f"cannot find `{name}`", node.span, label)
        if name in self.constants_open:
            way = " -> ".join((*self.constants_open, name))
            return self.error("RWF0302", f"the constant needs itself: {way}", node.span)
        before = self.constants_open
        self.constants_open = (*before, name)
        try:
            kind = UNKNOWN if found.type is None else definitions.type_of(found.type)
            value = self.constant(found.value, kind, f"constant {name}")
        finally:
            self.constants_open = before
        if found.type is None:
            inner = Expressions(definitions, Diagnostics(), Scope(Diagnostics(), ""))
            inner.constants_open = (*before, name)
            kind = inner.expr(found.value)[0]
        return kind, const(value)

    def shape(self, kind: Type) -> Shape | None:
        """Return the fields of a record or of a signal's payload."""
        if not isinstance(kind, RecordType):
            return None
        return self.definitions.records.get(kind.name) or self.signals.get(kind.name)

    def _member(self, node: ast.Member) -> Typed:
        kind, base = self.expr(node.base)
        name = node.name.text
        maybe = isinstance(kind, OptionalType)
        if maybe and not node.optional:
            self.diagnostics.error(
                "RWF0211",
                f"this may be none, so it may have no `.{name}`",
                node.base.span,
                f"this is {show(kind)}",
                help=(f"write `?.{name}`, or test it with `is none` before",),
            )
        inner = required(kind)
        if isinstance(inner, ErrorType):
            return self._error_field(node, inner, base)
        shape = self.shape(inner)
        if shape is None:
            if inner == UNKNOWN:
                return UNKNOWN, const(None)
            return self._no_fields(node, inner)
        found = shape.fields.get(name)
        if found is None:
            label = did_you_mean(name, shape.fields, f"{shape.name.text} has no such field")
            message = f"`{show(inner)}` has no field `{name}`"
            return self.error("RWF0203", message, node.name.span, label)
        if maybe and node.optional:
            return optional(found.type), ["maybe", base, name]
        return found.type, ["field", base, name]

    def _no_fields(self, node: ast.Member, kind: Type) -> Typed:
        name = node.name.text
        if isinstance(kind, MapType):
            message = f'a map is read with brackets: `["{name}"]`'
            return self.error("RWF0203", message, node.name.span)
        if kind == JSON:
            message = "the fields of `json` are not known; declare a record for them"
            return self.error("RWF0216", message, node.name.span)
        return self.error("RWF0203", f"{show(kind)} has no field `{name}`", node.name.span)

    def _error_field(self, node: ast.Member, kind: ErrorType, base: Node) -> Typed:
        name = node.name.text
        fields: dict[str, Type] = dict(_ERROR_FIELDS)
        shape = self.definitions.errors.get(kind.name or "")
        if shape is not None:
            fields |= {f: field.type for f, field in shape.fields.items()}
        if name in fields:
            return fields[name], ["error_field", base, name]
        label = did_you_mean(name, fields, "not a field of this error")
        if kind.name is None:
            label = "several errors are possible here; catch one by its name"
        return self.error("RWF0203", f"the error has no field `{name}`", node.name.span, label)

    def _subscript(self, node: ast.Subscript) -> Typed:
        kind, base = self.expr(node.base)
        match kind:
            case ListType(item):
                return item, do("at.list", base, self.value(node.at, INT, "the index of a list"))
            case MapType(item):
                key = self.value(node.at, STRING, "the key of a map")
                return optional(item), do("at.map", base, key)
            case _ if kind == UNKNOWN:
                self.expr(node.at)
                return UNKNOWN, const(None)
            case OptionalType():
                return self.error("RWF0211", "this may be none", node.base.span, "test it before")
            case _:
                return self.error(
                    "RWF0210", f"{show(kind)} is read whole; lists and maps have items", node.span
                )

    def _is_none(self, span: Span, operand: ast.Expr, *, negated: bool) -> Typed:
        kind, ir = self.expr(operand)
        known = self.path(operand) in self.known
        if not known and not isinstance(kind, OptionalType) and kind not in (
            UNKNOWN, JSON, NOTHING
        ):  # fmt: skip
            self.diagnostics.error("RWF0217", f"{show(kind)} is never none", span, "always false")
        test: Node = ["is_none", ir]
        return BOOL, ["not", test] if negated else test

    def _choice(self, node: ast.Choice, wanted: Type | None) -> Typed:
        condition = self.value(node.condition, BOOL, "a condition")
        yes, no = self.facts(node.condition)
        with self.knowing(yes):
            left, then = self.expr(node.then, wanted)
        with self.knowing(no):
            right, otherwise = self.expr(node.otherwise, wanted)
        kind = common(left, right)
        if kind is None:
            message = f"the two sides differ: {show(left)} and {show(right)}"
            return self.error("RWF0213", message, node.span)
        return kind, ["if", condition, then, otherwise]
