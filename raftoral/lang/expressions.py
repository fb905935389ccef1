"""The types of expressions, and the IR they become.

Owns no statement and no effect: an expression is pure by the grammar. Every method answers with the
type and the IR of one piece; after a report the type is `UNKNOWN`, which fits everywhere.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias, assert_never

from raftoral.errors import RaftoralError
from raftoral.lang import ast
from raftoral.lang.builtins import BUILTINS, NAMES, Misfit
from raftoral.lang.diagnostics import Diagnostics, Label, did_you_mean
from raftoral.lang.evaluate import constant_value
from raftoral.lang.ir import encode_value
from raftoral.lang.resolve import ERRORS as ERROR_NAMES
from raftoral.lang.resolve import Definitions, Scope, Shape
from raftoral.lang.types import (
    BOOL,
    DECIMAL,
    DURATION,
    INT,
    JSON,
    NEVER,
    NOTHING,
    STRING,
    TIMESTAMP,
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
    number,
    optional,
    ordered,
    required,
    show,
    storable,
)
from raftoral.values import Money

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from raftoral.lang.resolve import Field
    from raftoral.lang.source import Span
    from raftoral.values import Value

Node: TypeAlias = "list[Any]"
Typed: TypeAlias = "tuple[Type, Node]"

DEPTH_MAX: Final = 64

_ORDER: Final = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
_ERROR_FIELDS: Final[dict[str, Type]] = {"name": STRING, "message": STRING, "attempts": INT}


def const(value: Value) -> Node:
    """Return the node of a constant."""
    return ["const", encode_value(value)]


def do(primitive: str, *args: Node) -> Node:
    """Return the node that applies a primitive."""
    return ["do", primitive, list(args)]


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
                return self._call(node)
            case ast.Unary(_, "not", operand):
                return BOOL, ["not", self.value(operand, BOOL, "the operand of `not`")]
            case ast.Unary():
                return self._negative(node)
            case ast.Binary():
                return self._binary(node)
            case ast.IsNone(span, operand, negated):
                return self._is_none(span, operand, negated=negated)
            case ast.Choice():
                return self._choice(node, wanted)
            case ast.ListOf(_, items):
                return self._list(items, wanted)
            case ast.MapOf(_, entries):
                return self._map(entries, wanted)
            case ast.Update():
                return self._update(node)
            case ast.Comprehension():
                return self._comprehension(node)
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

    # -------------------------------------------------------------- operators
    def _negative(self, node: ast.Unary) -> Typed:
        kind, ir = self.expr(node.operand)
        match kind:
            case MoneyType():
                return kind, do("neg.money", ir)
            case Simple("int" | "decimal" | "duration"):
                return kind, do(f"neg.{kind.name}", ir)
            case _ if kind == UNKNOWN:
                return kind, ir
            case _:
                return self.error("RWF0213", f"{show(kind)} has no negative", node.span)

    def _binary(self, node: ast.Binary) -> Typed:
        operator = node.operator
        if operator in ("and", "or"):
            return self._logic(node)
        if operator == "??":
            return self._otherwise(node)
        left, a = self.expr(node.left)
        right, b = self.expr(node.right)
        if UNKNOWN in (left, right):
            return (BOOL if operator in _COMPARISONS else UNKNOWN), do("eq", a, b)
        if operator in ("==", "!="):
            return self._equal(node, left, right, a, b)
        if operator == "in":
            return self._in(node, left, right, a, b)
        meaning = arithmetic(operator, left, right)
        if meaning is None:
            return self._no_meaning(node, left, right)
        kind, primitive, swapped = meaning
        return kind, do(primitive, b, a) if swapped else do(primitive, a, b)

    def _logic(self, node: ast.Binary) -> Typed:
        what = f"each side of `{node.operator}`"
        left = self.value(node.left, BOOL, what)
        yes, no = self.facts(node.left)
        with self.knowing(yes if node.operator == "and" else no):
            right = self.value(node.right, BOOL, what)
        return BOOL, [node.operator, left, right]

    def _otherwise(self, node: ast.Binary) -> Typed:
        left, a = self.expr(node.left)
        right, b = self.expr(node.right, required(left))
        if left not in (UNKNOWN, JSON, NOTHING) and not isinstance(left, OptionalType):
            message = f"{show(left)} is never none, so `??` has nothing to do"
            return self.error("RWF0217", message, node.left.span)
        kind = common(right if left == NOTHING else required(left), right)
        if kind is None:
            message = f"the two sides of `??` differ: {show(required(left))} and {show(right)}"
            return self.error("RWF0213", message, node.span)
        return kind, ["otherwise", a, b]

    def _equal(self, node: ast.Binary, left: Type, right: Type, a: Node, b: Node) -> Typed:
        if NOTHING in (left, right):
            negated = " not" if node.operator == "!=" else ""
            message = f"whether a value is none is asked with `is{negated} none`"
            return self.error("RWF0213", message, node.span)
        if self._two_currencies(node, left, right):
            return BOOL, const(None)
        mixed = number(left) and number(right)
        kind = left if mixed else common(left, right)
        if kind is None or not storable(kind):
            message = f"{show(left)} and {show(right)} are never equal"
            return self.error("RWF0213", message, node.span)
        plain = mixed or (isinstance(kind, Simple) and kind != JSON)
        primitive = ("eq" if node.operator == "==" else "ne") + (".plain" if plain else "")
        return BOOL, do(primitive, a, b)

    def _in(self, node: ast.Binary, left: Type, right: Type, a: Node, b: Node) -> Typed:
        match right:
            case ListType(item) if common(left, item) is not None:
                return BOOL, do("in.list", a, b)
            case MapType() if left == STRING:
                return BOOL, do("in.map", a, b)
            case Simple("string") if left == STRING:
                return BOOL, do("in.string", a, b)
            case _:
                message = f"{show(left)} is never in {show(right)}"
                return self.error("RWF0213", message, node.span)

    def _two_currencies(self, node: ast.Binary, left: Type, right: Type) -> bool:
        """Report two amounts whose currencies are known to differ."""
        if not isinstance(left, MoneyType) or not isinstance(right, MoneyType):
            return False
        if not left.currency or not right.currency or left.currency == right.currency:
            return False
        self.diagnostics.error(
            "RWF0214",
            "these amounts are in different currencies",
            node.left.span,
            f"this side is {left.currency}",
            labels=(Label(node.right.span, f"this side is {right.currency}"),),
            help=("convert by an activity and let the result be recorded",),
            notes=(
                "a workflow has no exchange rate; a rate changes, so a replay could not repeat",
            ),
        )
        return True

    def _no_meaning(self, node: ast.Binary, left: Type, right: Type) -> Typed:
        operator = node.operator
        if self._two_currencies(node, left, right):
            return (BOOL if operator in _COMPARISONS else left), const(None)
        for side, kind in ((node.left, left), (node.right, right)):
            if isinstance(kind, OptionalType):
                self.diagnostics.error(
                    "RWF0211",
                    f"this may be none, and `{operator}` needs a value",
                    side.span,
                    f"this is {show(kind)}",
                    help=("give a value for none: `... ?? value`",),
                )
                return UNKNOWN, const(None)
        message = f"`{operator}` has no meaning for {show(left)} and {show(right)}"
        help_: tuple[str, ...] = ()
        if operator == "+" and STRING in (left, right):
            help_ = ('write a text with a hole: "... {value}"',)
        label = f"{show(left)} {operator} {show(right)}"
        self.diagnostics.error("RWF0213", message, node.span, label, help=help_)
        return UNKNOWN, const(None)

    # -------------------------------------------------------------- lists, maps, records
    def _list(self, items: Sequence[ast.Expr], wanted: Type | None) -> Typed:
        target = required(wanted) if wanted is not None else None
        inner = target.item if isinstance(target, ListType) else JSON if target == JSON else None
        kind: Type = inner if inner == JSON else NEVER
        nodes = []
        for item in items:
            one, ir = self.expr(item, inner)
            nodes.append(ir)
            shared = common(kind, one)
            if shared is None:
                message = f"a list holds values of one type, and this is {show(one)}"
                self.error("RWF0213", message, item.span, f"the others are {show(kind)}")
                shared = UNKNOWN
            kind = shared
        return ListType(kind), ["list", nodes]

    def _map(self, entries: Sequence[ast.Entry], wanted: Type | None) -> Typed:
        target = required(wanted) if wanted is not None else None
        inner = target.item if isinstance(target, MapType) else JSON if target == JSON else None
        kind: Type = inner if inner == JSON else NEVER
        nodes = []
        for entry, ir_of in self._entries(entries):
            one, ir = self.expr(ir_of, inner)
            nodes.append([entry.key.text, ir])
            shared = common(kind, one)
            if shared is None:
                help_ = "declare a record for values of several types"
                message = f"a map holds values of one type, and this is {show(one)}; {help_}"
                self.error("RWF0213", message, entry.value.span, f"the others are {show(kind)}")
                shared = UNKNOWN
            kind = shared
        return MapType(kind), ["map", nodes]

    def _entries(self, entries: Sequence[ast.Entry]) -> Iterator[tuple[ast.Entry, ast.Expr]]:
        seen: set[str] = set()
        for entry in entries:
            if entry.key.text in seen:
                self.error("RWF0120", f"`{entry.key.text}` is there twice", entry.key.span, "again")
            seen.add(entry.key.text)
            yield entry, entry.value

    def _update(self, node: ast.Update) -> Typed:
        kind, base = self.expr(node.base)
        shape = self.shape(kind)
        nodes = []
        for entry, value in self._entries(node.entries):
            if shape is not None:
                field = shape.fields.get(entry.key.text)
                if field is None:
                    message = f"`{show(kind)}` has no field `{entry.key.text}`"
                    label = did_you_mean(entry.key.text, shape.fields, "not a field")
                    self.error("RWF0203", message, entry.key.span, label)
                    continue
                ir = self.value(value, field.type, f"field `{entry.key.text}`", field.name.span)
            elif isinstance(kind, MapType):
                ir = self.value(value, kind.item, "a value of this map")
            else:
                _, ir = self.expr(value)
            nodes.append([entry.key.text, ir])
        if shape is None and not isinstance(kind, MapType) and kind != UNKNOWN:
            message = f"`{{...}}` copies a record or a map, not {show(kind)}"
            return self.error("RWF0210", message, node.base.span)
        return kind, ["update", base, nodes]

    def _comprehension(self, node: ast.Comprehension) -> Typed:
        source = self.items(node.source)
        self.scope.blocks.append({})
        try:
            variable = self.scope.declare(node.variable, source[0], "loop")
            variable.used = True
            condition = None
            facts: frozenset[str] = frozenset()
            if node.condition is not None:
                condition = self.value(node.condition, BOOL, "a condition")
                facts = self.facts(node.condition)[0]
            with self.knowing(facts):
                kind, item = self.expr(node.item)
        finally:
            self.scope.blocks.pop()
        return ListType(kind), ["each", variable.slot, source[1], condition, item]

    def items(self, node: ast.Expr) -> Typed:
        """Return the type of the items and the IR of something to go through."""
        kind, ir = self.expr(node)
        if isinstance(kind, ListType):
            return kind.item, ir
        if isinstance(kind, MapType):
            return self.error(
                "RWF0210", "a map is gone through by `keys(m)` or `values(m)`", node.span
            )
        if kind != UNKNOWN:
            return self.error("RWF0210", f"`for` goes through a list, not {show(kind)}", node.span)
        return UNKNOWN, ir

    # -------------------------------------------------------------- calls
    def _call(self, node: ast.Call) -> Typed:
        match node.callee:
            case ast.Name(span, name):
                return self._call_name(node, span, name)
            case ast.TypeName(span, name):
                return self._make(node, span, name)
            case ast.Member():
                return self._activity_in_expression(node)
            case _:
                self._visit_args(node)
                return self.error("RWF0210", "only functions are called", node.callee.span)

    def _visit_args(self, node: ast.Call) -> None:
        for arg in node.args:
            self.expr(arg.value)

    def _call_name(self, node: ast.Call, span: Span, name: str) -> Typed:
        function = self.definitions.functions.get(name)
        if function is not None:
            given = self.arguments(node.args, function.params, f"fn {name}", node.span)
            ir: Node = ["call", name, given]
            self.calls.append((ir, name))
            return function.result, ir
        if name == "sort":
            return self._sort(node)
        if name in BUILTINS:
            return self._builtin(node, name)
        self._visit_args(node)
        if name in self.definitions.activities:
            return self._effect(span, name)
        known = [*self.definitions.functions, *NAMES]
        label = did_you_mean(name, known, "not defined")
        return self.error("RWF0201", f"cannot find function `{name}`", span, label)

    def _activity_in_expression(self, node: ast.Call) -> Typed:
        names = []
        inner: ast.Expr = node.callee
        while isinstance(inner, ast.Member):
            names.append(inner.name.text)
            inner = inner.base
        name = ".".join((inner.name, *reversed(names))) if isinstance(inner, ast.Name) else ""
        self._visit_args(node)
        if name in self.definitions.activities:
            return self._effect(node.callee.span, name)
        label = did_you_mean(name, self.definitions.activities, "values have no methods")
        return self.error(
            "RWF0201", "only functions are called in expressions", node.callee.span, label
        )

    def _effect(self, span: Span, name: str) -> Typed:
        self.diagnostics.error(
            "RWF0301",
            f"activity `{name}` is an effect, and expressions have none",
            span,
            "called in an expression",
            help=(f"make it a step of its own: `compute x = {name}(...)`",),
            notes=("an expression runs again on every replay; a step is recorded once",),
        )
        return UNKNOWN, const(None)

    def _builtin(self, node: ast.Call, name: str) -> Typed:
        least, most, rule = BUILTINS[name]
        types, nodes = [], []
        for arg in node.args:
            if arg.name is not None:
                self.error("RWF0203", f"`{name}` takes its arguments by position", arg.name.span)
            kind, ir = self.expr(arg.value)
            types.append(kind)
            nodes.append(ir)
        if not least <= len(types) <= most:
            wanted = f"{least}" if least == most else f"{least} to {most}"
            message = f"`{name}` takes {wanted} argument{'s' if most > 1 else ''}, not {len(types)}"
            return self.error("RWF0204", message, node.span)
        if name == "range" and len(nodes) == 1:
            nodes.insert(0, const(0))
        try:
            meaning = rule(types)
        except Misfit as misfit:
            return self.error("RWF0210", str(misfit), node.span)
        if meaning.swapped:
            nodes.reverse()
        if meaning.gathered:
            nodes = [["list", nodes]]
        return meaning.result, do(meaning.primitive, *nodes, *map(const, meaning.more))

    def _sort(self, node: ast.Call) -> Typed:
        if not node.args or node.args[0].name is not None:
            message = '`sort` takes a list: `sort(xs)`, `sort(xs, by: "field", descending: true)`'
            return self.error("RWF0204", message, node.span)
        kind, items = self.expr(node.args[0].value)
        by: str | None = None
        descending = const(False)
        for arg in node.args[1:]:
            name = arg.name.text if arg.name else ""
            if name == "by" and isinstance(arg.value, ast.Literal):
                by = str(arg.value.value)
            elif name == "descending":
                descending = self.value(arg.value, BOOL, "`descending`")
            else:
                message = '`sort` takes `by: "field"` and `descending: true`'
                return self.error("RWF0203", message, arg.span)
        if not isinstance(kind, ListType):
            return self.error("RWF0210", f"`sort` takes a list, not {show(kind)}", node.span)
        shape = self.shape(kind.item)
        if by is None:
            if not ordered(kind.item):
                message = f"{show(kind.item)} has no order of its own"
                label = 'name a field: `by: "..."`' if shape else ""
                return self.error("RWF0210", message, node.span, label)
            return kind, do("sort", items, descending)
        field = shape.fields.get(by) if shape else None
        if field is None or not ordered(field.type):
            label = did_you_mean(by, shape.fields) if shape else ""
            message = f"{show(kind.item)} has no field `{by}` with an order"
            return self.error("RWF0203", message, node.span, label)
        return kind, do("sort.by", items, const(by), descending)

    def _make(self, node: ast.Call, span: Span, name: str) -> Typed:
        """Return the IR of a record or an error that is made."""
        definitions = self.definitions
        if name in definitions.records:
            fields = definitions.records[name].fields
            given = self.arguments(node.args, fields, f"record {name}", node.span, named=True)
            pairs = [[field, ir] for field, ir in zip(fields, given, strict=False)]
            return RecordType(name), ["map", pairs]
        shape = definitions.errors.get(name)
        if shape is None and name not in ERROR_NAMES:
            self._visit_args(node)
            known = [*definitions.records, *definitions.errors, *ERROR_NAMES]
            label = did_you_mean(name, known, "not defined")
            return self.error("RWF0203", f"cannot find record or error `{name}`", span, label)
        fields = {} if shape is None else shape.fields
        message = const("")
        rest = []
        for arg in node.args:
            if arg.name is not None and arg.name.text == "message":
                message = self.value(arg.value, STRING, "the message of an error")
            else:
                rest.append(arg)
        given = self.arguments(rest, fields, f"error {name}", node.span, named=True)
        pairs = [[field, ir] for field, ir in zip(fields, given, strict=False)]
        return ErrorType(name), ["error", name, message, pairs]

    def arguments(
        self,
        args: Sequence[ast.Arg],
        params: dict[str, Field],
        what: str,
        span: Span,
        *,
        named: bool = False,
    ) -> list[Node]:
        """Return the IR of all arguments in the order of ``params``, defaults filled in."""
        names = list(params)
        given: dict[str, Node] = {}
        for place, arg in enumerate(args):
            if arg.name is None and named:
                self.expr(arg.value)
                label = f"write `{names[place]}: ...`" if place < len(names) else "too many"
                self.error("RWF0203", f"the fields of {what} are given by name", arg.span, label)
                continue
            if arg.name is None and place >= len(names):
                self.expr(arg.value)
                message = f"{what} takes {len(names)} argument{'s' if len(names) != 1 else ''}"
                self.error("RWF0204", message, arg.span, "one too many")
                continue
            name = names[place] if arg.name is None else arg.name.text
            param = params.get(name)
            if param is None:
                self.expr(arg.value)
                label = did_you_mean(name, names, f"{what} has no such argument")
                self.error("RWF0203", f"{what} has no `{name}`", arg.span, label)
                continue
            if name in given:
                self.error("RWF0120", f"`{name}` is given twice", arg.span, "again")
            given[name] = self.value(arg.value, param.type, f"`{name}` of {what}", param.name.span)
        self._fill(given, params, what, span)
        return [given[name] for name in names]

    def _fill(
        self, given: dict[str, Node], params: dict[str, Field], what: str, span: Span
    ) -> None:
        """Add the defaults; report what is missing."""
        missing = []
        for name, param in params.items():
            if name in given:
                continue
            if param.default is not None:
                value = self.constant(param.default, param.type, f"the default of `{name}`")
                given[name] = const(value)
            else:
                given[name] = const(None)
                if param.required:
                    missing.append(f"`{name}: {show(param.type)}`")
        if missing:
            message = f"{what} needs {' and '.join(missing)}"
            self.error("RWF0204", message, span, "missing here")


# ------------------------------------------------------------------ tables
_LITERALS: Final[dict[type, Type]] = {
    bool: BOOL,
    int: INT,
    str: STRING,
    type(None): NOTHING,
    timedelta: DURATION,
    Decimal: DECIMAL,
}
_COMPARISONS: Final = frozenset({"==", "!=", "<", "<=", ">", ">=", "in"})


def literal_type(value: Value) -> Type:
    """Return the type of a literal."""
    if isinstance(value, Money):
        return MoneyType(value.currency)
    return _LITERALS[type(value)]


def arithmetic(operator: str, left: Type, right: Type) -> tuple[Type, str, bool] | None:
    """Return result, primitive and whether its arguments change places; None for no meaning."""
    if operator in _ORDER:
        return _comparison(_ORDER[operator], left, right)
    if number(left) and number(right):
        return _numbers(operator, left, right)
    match left, operator, right:
        case Simple("string"), "+", Simple("string"):
            return STRING, "concat", False
        case ListType(), "+", ListType():
            kind = common(left, right)
            return None if kind is None else (kind, "concat.list", False)
        case MoneyType(a), "+" | "-", MoneyType(b):
            if a and b and a != b:
                return None
            return MoneyType(a or b), "add.money" if operator == "+" else "sub.money", False
        case MoneyType(a), "/", MoneyType(b):
            return None if a and b and a != b else (DECIMAL, "ratio.money", False)
        case MoneyType(), "*" | "/", _ if number(right):
            return left, "mul.money" if operator == "*" else "div.money", False
        case _, "*", MoneyType() if number(left):
            return right, "mul.money", True
        case Simple("duration"), "+" | "-", Simple("duration"):
            return DURATION, "add.duration" if operator == "+" else "sub.duration", False
        case Simple("duration"), "*" | "/", Simple("int"):
            return DURATION, "mul.duration" if operator == "*" else "div.duration", False
        case Simple("int"), "*", Simple("duration"):
            return DURATION, "mul.duration", True
        case Simple("duration"), "//", Simple("duration"):
            return INT, "ratio.duration", False
        case Simple("timestamp"), "+" | "-", Simple("duration"):
            name = "shift.timestamp" if operator == "+" else "back.timestamp"
            return TIMESTAMP, name, False
        case Simple("timestamp"), "-", Simple("timestamp"):
            return DURATION, "since.timestamp", False
        case _:
            return None


def _numbers(operator: str, left: Type, right: Type) -> tuple[Type, str, bool] | None:
    names = {"+": "add", "-": "sub", "*": "mul", "/": "div", "//": "floordiv", "%": "mod"}
    name = names.get(operator)
    if name is None:
        return None
    whole = left == right == INT
    if operator in ("//", "%"):
        return (INT, f"{name}.int", False) if whole else None
    if whole and operator != "/":
        return INT, f"{name}.int", False
    return DECIMAL, f"{name}.decimal", False


def _comparison(name: str, left: Type, right: Type) -> tuple[Type, str, bool] | None:
    match left, right:
        case MoneyType(a), MoneyType(b):
            return None if a and b and a != b else (BOOL, f"{name}.money", False)
        case _ if number(left) and number(right):
            return BOOL, name, False
        case _ if left == right and ordered(left):
            return BOOL, name, False
        case _:
            return None
