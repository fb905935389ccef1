"""The types of expressions, and the IR they become.

Owns no statement and no effect: an expression is pure by the grammar. Every method answers with the
type and the IR of one piece; after a report the type is `UNKNOWN`, which fits everywhere.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, assert_never

from raftoral.lang import ast
from raftoral.lang.builtins import NAMES
from raftoral.lang.check import calls, constants, containers, enums, operators, patterns
from raftoral.lang.check.nodes import Node, Typed, const, do
from raftoral.lang.check.operators import literal_type
from raftoral.lang.diagnostics import Diagnostics, Fix, Label, did_you_mean, inserting
from raftoral.lang.scope import Scope
from raftoral.lang.types import (
    BOOL,
    DECIMAL,
    INT,
    JSON,
    NOTHING,
    STRING,
    UNKNOWN,
    CallbackType,
    EnumType,
    ErrorType,
    ListType,
    MapType,
    MoneyType,
    OptionalType,
    OutcomeType,
    RecordType,
    Simple,
    Type,
    common,
    fits,
    optional,
    required,
    show,
    to_ir,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from raftoral.lang.definitions import Definitions, Function, Shape
    from raftoral.lang.source import Span
    from raftoral.values import Value


DEPTH_MAX: Final = 64

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
        self.shapes: dict[str, Shape] = {}
        """What has fields beside records: the payloads of signals, what a `parallel` gives."""
        self.calls: list[tuple[Node, Function]] = []
        self.known: frozenset[str] = frozenset()
        self.depth = 0
        self.depth_seen = 0
        self.decoded: list[Type] = []
        """The types that `decode` names, which the stored unit must know."""
        self.wrong = False
        """A type was not found, which its file reports."""
        self.own: Mapping[str, Type] | None = None
        """The fields of `self`; None where there is no run."""

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
        fixes: tuple[Fix, ...] = ()
        if isinstance(kind, OptionalType) and fits(kind.item, target):
            code = "RWF0211"
            message = f"{what} is {show(target)}, and this may be none"
            help_ = ("give a value for none: `... ?? value`, or test it with `is none` before",)
        elif isinstance(kind, MoneyType) and isinstance(target, MoneyType):
            code, message = "RWF0214", f"{what} is {show(target)}, not {show(kind)}"
        elif isinstance(target, Simple) and (kind, target) == (INT, DECIMAL):
            if isinstance(node, ast.Literal):
                help_ = (f"write it as a decimal: `{node.value!r}.0`",)
                fixes = inserting(node.span.end, ".0", safe=True)
            else:
                help_ = ("add `* 1.0` to make it a decimal",)
        elif isinstance(target, ErrorType):
            help_ = ("`fail` and `else` take an error or a text: `OutOfStock(sku: s)`",)
        labels = () if declared is None else (Label(declared, f"declared as {show(target)}"),)
        label = f"this is {show(kind)}"
        self.diagnostics.error(
            code, message, node.span, label, labels=labels, help=help_, notes=notes, fixes=fixes
        )
        return ir

    def constant(
        self, node: ast.Expr, target: Type, what: str, home: Definitions | None = None
    ) -> Value:
        """Return the value of a constant expression of the file ``home``; None after a report."""
        return constants.constant(self, home or self.definitions, node, target, what)[1]

    def fresh(self, home: Definitions, diagnostics: Diagnostics, what: str) -> Expressions:
        """Return a checker of constant expressions of the file ``home``, as deep as this one is."""
        made = Expressions(home, diagnostics, Scope(diagnostics, what), pure=what)
        made.depth = self.depth
        return made

    def type_of(self, ref: ast.TypeRef) -> Type:
        """Return the type that is written there; `UNKNOWN` after a report."""
        kind = self.definitions.type_of(ref)
        self.wrong = self.wrong or kind == UNKNOWN
        return kind

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
    def facts(
        self, node: ast.Expr, depth: int = DEPTH_MAX
    ) -> tuple[frozenset[str], frozenset[str]]:
        """Return which values are not none if the condition holds, and if it does not."""
        nothing: frozenset[str] = frozenset()
        depth -= 1
        if depth < 0:
            return nothing, nothing
        match node:
            case ast.IsNone(_, operand, negated):
                path = self.path(operand)
                if path is None:
                    return nothing, nothing
                found = frozenset([path])
                return (found, nothing) if negated else (nothing, found)
            case ast.IsShape(_, operand, _, negated):
                path = self.path(operand)
                found = nothing if path is None else frozenset([path])
                return (nothing, found) if negated else (found, nothing)
            case ast.Unary(_, "not", operand):
                yes, no = self.facts(operand, depth)
                return no, yes
            case ast.Binary(_, "and", left, right):
                return self.facts(left, depth)[0] | self.facts(right, depth)[0], nothing
            case ast.Binary(_, "or", left, right):
                return nothing, self.facts(left, depth)[1] | self.facts(right, depth)[1]
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
            case ast.IsShape():
                return patterns.is_shape(self, node)
            case ast.Decode(_, ref, value):
                kind = self.type_of(ref)
                self.decoded.append(kind)
                held = self.value(value, JSON, "what is decoded")
                return kind, ["decode", to_ir(kind), held]
            case _:
                assert_never(node)

    def _part(self, part: str | ast.Expr) -> Node:
        return const(part) if isinstance(part, str) else self.as_text(part)

    def as_text(self, node: ast.Expr) -> Node:
        """Return the IR of a value as a text."""
        kind, ir = self.expr(node)
        if isinstance(kind, CallbackType):
            self.error("RWF0215", "a callback has a `.token`, and no text", node.span)
        if kind == STRING:
            return ir
        return do("text.case" if isinstance(required(kind), EnumType | OutcomeType) else "text", ir)

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
        if node.name == "self":
            return self.error("RWF0201", "`self` is read by its fields: `self.id`", node.span)
        if node.name in self.definitions.imports:
            message = f"`{node.name}` is an imported file; its names stand behind a dot"
            return self.error("RWF0201", message, node.span)
        if node.name in self.definitions.functions or node.name in NAMES:
            message = f"`{node.name}` is a function; call it: `{node.name}(...)`"
            return self.error("RWF0210", message, node.span)
        self.scope.unknown(node.name, node.span)
        return UNKNOWN, const(None)

    def type_path(self, node: ast.Expr) -> tuple[Definitions, str] | None:
        """Return the file and the capital name that ``Name`` or ``alias.Name`` stands for."""
        match node:
            case ast.TypeName(_, name):
                return self.definitions, name
            case ast.Member(_, ast.Name(_, alias), ast.Ident(_, name), False):
                home = self.imported(alias)
                return (home, name) if home is not None and name[0].isupper() else None
            case _:
                return None

    def imported(self, alias: str) -> Definitions | None:
        """Return the file that is imported under a name, unless a variable hides it."""
        if alias not in self.definitions.imports or self.scope.find(alias):
            return None
        self.definitions.used.add(alias)
        return self.definitions.imports[alias]

    def _constant_name(self, node: ast.TypeName | ast.Member) -> Typed:
        path = self.type_path(node)
        assert path is not None
        home, name = path
        if name in home.constants:
            kind, value = constants.named(self, home, name, node.span)
            return kind, constants.embedded(self, value, node.span)
        if name in home.records or name in home.errors:
            message = f"`{name}` is made with its fields: `{name}(...)`"
            return self.error("RWF0210", message, node.span)
        if name in home.enums:
            case = next(iter(home.enums[name].cases), "Case")
            message = f"`{name}` is a type; its values are its cases: `{name}.{case}`"
            return self.error("RWF0210", message, node.span)
        known = [*home.constants, *home.records, *home.enums, *home.errors]
        label = did_you_mean(name, [*known, "none", "true", "false"], "not defined")
        return self.error("RWF0201", f"cannot find `{name}`", node.span, label)

    def shape(self, kind: Type) -> Shape | None:
        """Return the fields of a record, of a signal's payload, or of what a `parallel` gives."""
        if not isinstance(kind, RecordType):
            return None
        return self.definitions.known.records.get(kind.name) or self.shapes.get(kind.name)

    def _member(self, node: ast.Member) -> Typed:
        if self.type_path(node) is not None:
            return self._constant_name(node)
        enum = enums.enum_of(self, node)
        if enum is not None:
            return enums.case(self, enum, node.name, None, node.span)
        if isinstance(node.base, ast.Name):
            if node.base.name == "self":
                return self._self(node)
            if enums.is_outcome(self, node):
                return enums.made_outcome(self, node)
            home = self.imported(node.base.name)
            if home is not None:
                return self._behind_import(node, home)
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

    def _self(self, node: ast.Member) -> Typed:
        name = node.name.text
        if self.own is None:
            message = "`self` is the run, and there is none here"
            return self.error("RWF0201", message, node.base.span, "hand the value over instead")
        kind = self.own.get(name)
        if kind is None:
            label = did_you_mean(name, self.own, f"it has {', '.join(self.own)}")
            return self.error("RWF0203", f"`self` has no `.{name}`", node.name.span, label)
        return kind, ["self", name]

    def _behind_import(self, node: ast.Member, home: Definitions) -> Typed:
        name = node.name.text
        if name in home.functions:
            message = f"`{name}` is a function; call it: `{name}(...)`"
            return self.error("RWF0210", message, node.span)
        message = f"cannot find `{name}` in {home.path}"
        label = did_you_mean(name, [*home.functions, *home.constants], "not defined there")
        return self.error("RWF0201", message, node.name.span, label)

    def _no_fields(self, node: ast.Member, kind: Type) -> Typed:
        name = node.name.text
        if isinstance(kind, EnumType | OutcomeType):
            message = f"which fields {show(kind)} has depends on its case"
            return self.error("RWF0203", message, node.name.span, "read them in a `match`")
        if isinstance(kind, CallbackType) and name == "token":
            _, base = self.expr(node.base)
            return STRING, ["token", base]
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
        shape = self.definitions.known.errors.get(kind.name or "")
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
