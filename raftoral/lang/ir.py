"""The checked program as plain lists: what the registry stores and every node runs.

The form is frozen by `IR_VERSION`: a change of any operation's meaning is a new version. What people
need beside the meaning (lines, names of local variables) stands in a side table, so the meaning
hash ignores it. `decode` trusts nothing: bytes that do not have the form are `CorruptionError`.

An expression is ``[operation, ...]``, a statement too; the tables below say what follows. Variables
are slots of a frame; functions are numbered and call lower numbers only, so no program recurses.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import Any, Final, TypeAlias, cast

from raftoral.codec import pack_record, unpack_record
from raftoral.errors import CorruptionError
from raftoral.lang.primitives import PRIMITIVES
from raftoral.values import (
    INT_MAX,
    INT_MIN,
    Money,
    Value,
    instant_of,
    millis_of,
    millis_since_epoch,
    span_of,
)

IR_VERSION: Final = 1
FUEL: Final = 1_000_000
"""Pure steps between two effects; the limit of a program is part of it."""

_DEPTH_MAX: Final = 200
_SLOTS_MAX: Final = 100_000

Node: TypeAlias = "list[Any]"

_EXPRESSIONS: Final[dict[str, tuple[str, ...]]] = {
    "const": ("value",),
    "local": ("slot",),
    "cell": ("slot",),
    "field": ("expr", "text"),
    "maybe": ("expr", "text"),
    "error_field": ("expr", "text"),
    "is_none": ("expr",),
    "not": ("expr",),
    "and": ("expr", "expr"),
    "or": ("expr", "expr"),
    "if": ("expr", "expr", "expr"),
    "otherwise": ("expr", "expr"),
    "list": ("exprs",),
    "map": ("pairs",),
    "update": ("expr", "pairs"),
    "each": ("slot", "expr", "expr?", "expr"),
    "do": ("primitive", "exprs"),
    "call": ("function", "exprs"),
    "error": ("text", "expr", "pairs"),
}

_STATEMENTS: Final[dict[str, tuple[str, ...]]] = {
    "let": ("slot", "expr"),
    "if": ("arms", "block?"),
    "for": ("slot", "text", "count", "expr", "block"),
    "while": ("expr", "expr", "count", "block"),
    "match": ("expr", "slot", "cases"),
    "try": ("block", "catches", "block?"),
    "break": (),
    "continue": (),
    "return": ("expr",),
    "fail": ("expr",),
    "require": ("expr", "expr"),
}

_EFFECTS: Final[dict[str, tuple[str, ...]]] = {
    "checkpoint": ("slot", "text", "expr"),
    "set": ("slot", "expr"),
    "compute": ("slot?", "text?", "text", "exprs", "policy", "expr?"),
    "sleep": ("expr",),
    "until": ("expr",),
    "receive": ("slot?", "text", "expr?", "block?"),
    "log": ("expr",),
}


@dataclass(frozen=True, slots=True)
class Unit:
    """One workflow, closed: everything that a run of it needs.

    ``inputs`` and the fields of ``records``, ``errors``, ``signals`` and of an activity's
    parameters are ``[name, type, default]`` with ``[]`` or ``[value]`` as default; ``activities``
    are ``[name, parameters, result, raises, idempotent]``; ``functions`` are ``[parameters, slots,
    block]``. ``spans`` holds line and column of each statement in the order of the text.
    """

    name: str
    version: int
    inputs: Node
    output: Node
    raises: list[str]
    records: Node
    errors: Node
    activities: Node
    signals: Node
    functions: Node
    slots: int
    body: Node
    fuel: int
    path: str = ""
    doc: str = ""
    spans: tuple[int, ...] = ()
    variables: Node = ()  # type: ignore[assignment]

    def meaning(self) -> Node:
        """Return what the program means: everything but the side table."""
        return [
            IR_VERSION,
            self.name,
            self.version,
            self.inputs,
            self.output,
            self.raises,
            self.records,
            self.errors,
            self.activities,
            self.signals,
            self.functions,
            self.slots,
            self.body,
            self.fuel,
        ]

    def meaning_hash(self) -> str:
        """Return the sha256 of the meaning, as hex digits."""
        return sha256(pack_record(self.meaning())).hexdigest()

    def encode(self) -> bytes:
        """Return the stored bytes."""
        side = [self.path, self.doc, list(self.spans), list(self.variables)]
        return pack_record([self.meaning(), side])


# ------------------------------------------------------------------ constants
def encode_value(value: Value) -> Any:
    """Return a constant in the plain form of the IR."""
    match value:
        case Money(amount, currency):
            return ["money", currency, str(amount)]
        case Decimal():
            return ["decimal", str(value)]
        case timedelta():
            return ["duration", millis_of(value)]
        case datetime():
            return ["timestamp", millis_since_epoch(value)]
        case list():
            return ["list", [encode_value(item) for item in value]]
        case dict():
            return ["map", [[key, encode_value(value[key])] for key in sorted(value)]]
        case _:
            return value


def decode_value(plain: Any, depth: int = 0) -> Value:
    """Return the constant of a plain form; `CorruptionError` if it is none."""
    if depth > _DEPTH_MAX:
        raise CorruptionError("a constant of the program is nested too deeply")
    if plain is None or type(plain) in (bool, str, bytes):
        return cast(Value, plain)
    try:
        match plain:
            case int() if INT_MIN <= plain <= INT_MAX:
                return plain
            case ["money", str(currency), str(amount)]:
                return Money(Decimal(amount), currency)
            case ["decimal", str(number)] if Decimal(number).is_finite():
                return Decimal(number)
            case ["duration", int(millis)]:
                return span_of(millis)
            case ["timestamp", int(millis)]:
                return instant_of(millis)
            case ["list", list(items)]:
                return [decode_value(item, depth + 1) for item in items]
            case ["map", list(pairs)]:
                return {key: decode_value(item, depth + 1) for key, item in _pairs(pairs)}
            case _:
                pass
    except (ValueError, InvalidOperation, OverflowError):
        pass
    raise CorruptionError("a constant of the program is damaged")


def _pairs(pairs: Any) -> list[tuple[str, Any]]:
    found = []
    for pair in _is(pairs, list):
        match pair:
            case [str(key), value]:
                found.append((key, value))
            case _:
                raise _damaged("a pair")
    return found


# ------------------------------------------------------------------ reading
def decode(data: bytes) -> Unit:
    """Return the program of stored bytes; `CorruptionError` if they are not one."""
    match unpack_record(data):
        case [[version, *_], _] if version != IR_VERSION:
            raise CorruptionError(
                f"the program has IR version {version!r:.20}; this build reads {IR_VERSION}"
            )
        case [[_, *meaning], [str(path), str(doc), list(spans), list(variables)]] if (
            len(meaning) == 13
        ):
            fields: list[Any] = [*meaning, path, doc, tuple(spans), variables]
            unit = Unit(*fields)
        case _:
            raise _damaged("the program")
    try:
        _Reader(unit).check()
    except RecursionError:
        raise _damaged("the nesting") from None
    return unit


def _damaged(what: str) -> CorruptionError:
    return CorruptionError(f"{what} is not what a compiler writes")


def _is(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise _damaged(f"{value!r:.30}")
    return value


class _Reader:
    """Checks that a program has the form, once, before anything of it is used."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.slots = 0
        self.functions = 0
        self.effects = False
        self.depth = 0
        self.statements = 0
        self.records = frozenset(
            shape[0]
            for shape in _is(unit.records, list)
            if type(shape) is list and shape and type(shape[0]) is str
        )

    def check(self) -> None:
        """Raise `CorruptionError` unless every part is as it must be."""
        unit = self.unit
        self.text(unit.name)
        if _is(unit.version, int) < 1 or _is(unit.fuel, int) < 1:
            raise _damaged("the version")
        self.fields(unit.inputs)
        self.type(unit.output)
        self.each(self.text, unit.raises)
        for shapes in (unit.records, unit.errors, unit.signals):
            for shape in _is(shapes, list):
                self.shape(shape)
        for activity in _is(unit.activities, list):
            self.activity(activity)
        for number, function in enumerate(_is(unit.functions, list)):
            self.functions = number
            self.function(function)
        self.functions = len(unit.functions)
        self.effects = True
        self.slots = self.count(unit.slots)
        if self.slots > _SLOTS_MAX or len(unit.inputs) > self.slots:
            raise _damaged("the frame")
        self.statements = 0
        self.block(unit.body)
        self.side_table()

    def side_table(self) -> None:
        unit = self.unit
        self.each(self.count, list(unit.spans))
        if len(unit.spans) != 2 * self.statements:
            raise _damaged("the table of lines")
        for variable in unit.variables:
            match variable:
                case [str(), int(slot), bool(), int(), int()] if 0 < slot <= self.slots:
                    pass
                case _:
                    raise _damaged("the table of variables")

    # definitions
    def fields(self, fields: Any) -> None:
        for field in _is(fields, list):
            match field:
                case [str(), kind, []]:
                    self.type(kind)
                case [str(), kind, [value]]:
                    self.type(kind)
                    decode_value(value)
                case _:
                    raise _damaged("a field")

    def shape(self, shape: Any) -> None:
        match shape:
            case [str(), fields]:
                self.fields(fields)
            case _:
                raise _damaged("a record")

    def activity(self, activity: Any) -> None:
        match activity:
            case [str(), params, result, raises, bool()]:
                self.fields(params)
                self.type(result)
                self.each(self.text, raises)
            case _:
                raise _damaged("an activity")

    def function(self, function: Any) -> None:
        match function:
            case [int(params), int(slots), body] if 0 <= params <= slots <= _SLOTS_MAX:
                self.slots = slots
                self.block(body)
            case _:
                raise _damaged("a function")

    def type(self, kind: Any, depth: int = 0) -> None:
        if depth > 100:
            raise _damaged("a type")
        match kind:
            case ["list" | "map" | "optional", inner]:
                self.type(inner, depth + 1)
            case ["money", None | str()]:
                pass
            case ["record", str(name)] if name in self.records:
                pass
            case [str(name)] if name in _PLAIN_TYPES:
                pass
            case _:
                raise _damaged("a type")

    # parts; the tables name these methods
    def each(self, check: Any, items: Any) -> None:
        for item in _is(items, list):
            check(item)

    def text(self, value: Any) -> str:
        return str(_is(value, str))

    def bool(self, value: Any) -> None:
        _is(value, bool)

    def count(self, value: Any) -> int:
        if _is(value, int) < 0:
            raise _damaged("a number")
        return int(value)

    def slot(self, value: Any) -> None:
        if not 0 < _is(value, int) <= self.slots:
            raise _damaged("a variable")

    def value(self, plain: Any) -> None:
        decode_value(plain)

    def primitive(self, name: Any) -> None:
        if _is(name, str) not in PRIMITIVES:
            raise _damaged(f"operation {name!r:.30}")

    def function_number(self, number: Any) -> None:
        if not 0 <= _is(number, int) < self.functions:
            raise _damaged("a function call")

    def pairs(self, pairs: Any) -> None:
        for _, value in _pairs(pairs):
            self.expr(value)

    def exprs(self, items: Any) -> None:
        self.each(self.expr, items)

    def expr(self, node: Any) -> None:
        operation = self.node(node, _EXPRESSIONS)
        if operation == "do":
            arity = PRIMITIVES[node[1]][0]
            if arity >= 0 and len(node[2]) != arity:
                raise _damaged(f"operation {node[1]}")
        if operation == "call" and len(node[2]) != self.unit.functions[node[1]][0]:
            raise _damaged("a function call")

    def block(self, block: Any) -> None:
        for statement in _is(block, list):
            self.statements += 1
            table = _STATEMENTS | _EFFECTS if self.effects else _STATEMENTS
            self.node(statement, table)

    def arms(self, arms: Any) -> None:
        for arm in _is(arms, list):
            match arm:
                case [condition, block]:
                    self.expr(condition)
                    self.block(block)
                case _:
                    raise _damaged("an arm")

    def cases(self, cases: Any) -> None:
        for case in _is(cases, list):
            match case:
                case [pattern, guard, block]:
                    self.pattern(pattern)
                    if guard is not None:
                        self.expr(guard)
                    self.block(block)
                case _:
                    raise _damaged("a case")

    def pattern(self, pattern: Any) -> None:
        match pattern:
            case ["any"]:
                pass
            case ["bind", slot]:
                self.slot(slot)
            case ["is", list(values)]:
                self.each(self.value, values)
            case _:
                raise _damaged("a pattern")

    def catches(self, catches: Any) -> None:
        for catch in _is(catches, list):
            match catch:
                case [list(names), slot, block]:
                    self.each(self.text, names)
                    if slot is not None:
                        self.slot(slot)
                    self.block(block)
                case _:
                    raise _damaged("a catch")

    def policy(self, policy: Any) -> None:
        match policy:
            case None:
                pass
            case [int(attempts), first, longest, int(factor), int(jitter), list(only)] if (
                attempts >= 1 and factor >= 100 and 0 <= jitter <= 100
            ):
                for span in (first, longest):
                    if span is not None:
                        self.expr(span)
                self.each(self.text, only)
            case _:
                raise _damaged("a retry policy")

    def node(self, node: Any, table: dict[str, tuple[str, ...]]) -> str:
        """Check one expression or statement by its table; return its operation."""
        self.depth += 1
        if self.depth > _DEPTH_MAX:
            raise _damaged("the nesting")
        operation = node[0] if type(node) is list and node else None
        parts = table.get(operation) if type(operation) is str else None
        if parts is None or len(node) != len(parts) + 1:
            raise _damaged(f"operation {operation!r:.30}")
        for kind, part in zip(parts, node[1:], strict=True):
            if kind.endswith("?"):
                if part is None:
                    continue
                kind = kind[:-1]
            getattr(self, "function_number" if kind == "function" else kind)(part)
        self.depth -= 1
        return str(operation)


_PLAIN_TYPES: Final = frozenset(
    {"bool", "string", "bytes", "int", "decimal", "duration", "timestamp", "json", "none", "never"}
)
