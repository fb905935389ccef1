"""Checks that stored bytes are a program, once, before anything of them is used.

Trusts nothing: bytes that do not have the form are `CorruptionError`. The tables say, per
operation, what follows its name; each kind of part is a method of the reader.
"""

from __future__ import annotations

from typing import Any, Final

from raftoral.codec import unpack_record
from raftoral.errors import CorruptionError
from raftoral.lang.ir import (
    DEPTH_MAX,
    IR_VERSION,
    MEANING,
    Unit,
    damaged,
    decode_value,
    pairs_of,
    query_slots,
)
from raftoral.lang.primitives import PRIMITIVES

_SLOTS_MAX: Final = 100_000

_EXPRESSIONS: Final[dict[str, tuple[str, ...]]] = {
    "const": ("value",),
    "local": ("slot",),
    "cell": ("slot",),
    "self": ("own",),
    "token": ("expr",),
    "field": ("expr", "text"),
    "maybe": ("expr", "text"),
    "error_field": ("expr", "text"),
    "is_none": ("expr",),
    "is": ("expr", "pattern"),
    "not": ("expr",),
    "and": ("expr", "expr"),
    "or": ("expr", "expr"),
    "if": ("expr", "expr", "expr"),
    "otherwise": ("expr", "expr"),
    "list": ("exprs",),
    "map": ("pairs",),
    "update": ("expr", "pairs"),
    "each": ("slot?", "slot", "expr", "expr?", "expr"),
    "do": ("primitive", "exprs"),
    "call": ("function", "exprs"),
    "error": ("text", "expr", "pairs"),
    "decode": ("type", "expr"),
}

_STATEMENTS: Final[dict[str, tuple[str, ...]]] = {
    "let": ("slot", "expr"),
    "if": ("arms", "block?"),
    "for": ("text", "slot?", "slot", "expr", "expr?", "block"),
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
    "compute": ("slot?", "text?", "activity_name", "exprs", "options", "undo?"),
    "call": ("slot?", "text?", "text", "count", "pairs"),
    "start": ("slot?", "text?", "text", "count", "pairs", "text"),
    "restart": ("pairs",),
    "callback": ("slot", "text", "type", "expr?", "expr?"),
    "sleep": ("expr",),
    "until": ("expr",),
    "await": ("text", "source"),
    "receive": ("slot?", "text", "expr", "block?"),
    "log": ("expr",),
    "saga": ("block",),
    "undo": (),
    "give": ("expr",),
    "parallel": ("slot?", "text?", "limits", "branches"),
    "fan": ("slot?", "text", "slot?", "slot", "expr", "expr?", "limits", "block"),
    "race": ("slot?", "text?", "ways"),
}


def decode(data: bytes) -> Unit:
    """Return the program of stored bytes; `CorruptionError` if they are not one."""
    match unpack_record(data):
        case [[version, *_], _] if version != IR_VERSION:
            raise CorruptionError(
                f"the program has IR version {version!r:.20}; this build reads {IR_VERSION}"
            )
        case [[_, *meaning], [str(path), str(doc), list(spans), list(variables)]] if len(
            meaning
        ) == len(MEANING):
            fields: list[Any] = [*meaning, path, doc, tuple(spans), variables]
            unit = Unit(*fields)
        case _:
            raise damaged("the program")
    try:
        _Reader(unit).check()
    except RecursionError:
        raise damaged("the nesting") from None
    return unit


def _is(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise damaged(f"{value!r:.30}")
    return value


def _names(shapes: Any) -> frozenset[str]:
    return frozenset(
        shape[0]
        for shape in _is(shapes, list)
        if type(shape) is list and shape and type(shape[0]) is str
    )


class _Reader:
    """Checks that a program has the form, once, before anything of it is used."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.slots = 0
        self.functions = 0
        self.effects = False
        self.depth = 0
        self.statements = 0
        self.children: set[tuple[str, int]] = set()
        self.activities = _names(unit.activities)
        self.records = _names(unit.records)
        self.enums = _names(unit.enums)

    def check(self) -> None:
        """Raise `CorruptionError` unless every part is as it must be."""
        unit = self.unit
        self.text(unit.name)
        if _is(unit.version, int) < 1 or _is(unit.fuel, int) < 1:
            raise damaged("the version")
        self.fields(unit.inputs)
        self.type(unit.output)
        self.each(self.text, unit.raises)
        for shapes in (unit.records, unit.errors, unit.signals):
            self.each(self.shape, shapes)
        self.each(self.enum, unit.enums)
        self.each(self.activity, unit.activities)
        self.each(self.child, unit.children)
        self.children = {(name, version) for name, version, _, _ in unit.children}
        self.each(self.update_of, unit.updates)
        self.each(self.text, unit.search)
        for number, function in enumerate(_is(unit.functions, list)):
            self.functions = number
            self.function(function)
        self.functions = len(unit.functions)
        self.each(self.query, unit.queries)
        self.effects = True
        self.slots = self.count(unit.slots)
        if self.slots > _SLOTS_MAX or len(unit.inputs) > self.slots:
            raise damaged("the frame")
        self.statements = 0
        self.block(unit.body)
        self.side_table()

    def side_table(self) -> None:
        unit = self.unit
        self.each(self.count, list(unit.spans))
        if len(unit.spans) != 2 * self.statements:
            raise damaged("the table of lines")
        for variable in unit.variables:
            match variable:
                case [str(), int(slot), bool(), int(), int()] if 0 < slot <= self.slots:
                    pass
                case _:
                    raise damaged("the table of variables")

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
                    raise damaged("a field")

    def shape(self, shape: Any) -> None:
        match shape:
            case [str(), fields]:
                self.fields(fields)
            case _:
                raise damaged("a record")

    def activity(self, activity: Any) -> None:
        match activity:
            case [str(), params, result, raises, bool()]:
                self.fields(params)
                self.type(result)
                self.each(self.text, raises)
            case _:
                raise damaged("an activity")

    def enum(self, enum: Any) -> None:
        match enum:
            case [str(), [_, *_] as cases]:
                self.each(self.shape, cases)
            case _:
                raise damaged("an enum")

    def child(self, child: Any) -> None:
        match child:
            case [str(), int(version), params, result] if version >= 1:
                self.fields(params)
                self.type(result)
            case _:
                raise damaged("a child")

    def update_of(self, update: Any) -> None:
        match update:
            case [str(), fields, result]:
                self.fields(fields)
                self.type(result)
            case _:
                raise damaged("an update")

    def query(self, query: Any) -> None:
        match query:
            case [str(), kind, cells, expr]:
                self.type(kind)
                self.each(self.text, cells)
                self.slots = query_slots(cells, expr)
                if self.slots > _SLOTS_MAX:
                    raise damaged("a query")
                self.expr(expr)
            case _:
                raise damaged("a query")

    def function(self, function: Any) -> None:
        match function:
            case [int(params), int(slots), body] if 0 <= params <= slots <= _SLOTS_MAX:
                self.slots = slots
                self.block(body)
            case _:
                raise damaged("a function")

    def type(self, kind: Any, depth: int = 0) -> None:
        if depth > 100:
            raise damaged("a type")
        match kind:
            case ["list" | "map" | "optional", inner]:
                self.type(inner, depth + 1)
            case ["money", None | str()]:
                pass
            case ["record", str(name)] if name in self.records:
                pass
            case ["enum", str(name)] if name in self.enums:
                pass
            case [str(name)] if name in _PLAIN_TYPES:
                pass
            case _:
                raise damaged("a type")

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
            raise damaged("a number")
        return int(value)

    def slot(self, value: Any) -> None:
        if not 0 < _is(value, int) <= self.slots:
            raise damaged("a variable")

    def value(self, plain: Any) -> None:
        decode_value(plain)

    def primitive(self, name: Any) -> None:
        if _is(name, str) not in PRIMITIVES:
            raise damaged(f"operation {name!r:.30}")

    def function_number(self, number: Any) -> None:
        if not 0 <= _is(number, int) < self.functions:
            raise damaged("a function call")

    def pairs(self, pairs: Any) -> None:
        for _, value in pairs_of(pairs):
            self.expr(value)

    def exprs(self, items: Any) -> None:
        self.each(self.expr, items)

    def expr(self, node: Any) -> None:
        operation = self.node(node, _EXPRESSIONS)
        if operation == "do":
            arity = PRIMITIVES[node[1]][0]
            if arity >= 0 and len(node[2]) != arity:
                raise damaged(f"operation {node[1]}")
        if operation == "call" and len(node[2]) != self.unit.functions[node[1]][0]:
            raise damaged("a function call")

    def block(self, block: Any) -> None:
        for statement in _is(block, list):
            self.statements += 1
            table = _STATEMENTS | _EFFECTS if self.effects else _STATEMENTS
            operation = self.node(statement, table)
            if operation in ("call", "start") and tuple(statement[3:5]) not in self.children:
                raise damaged("a child")

    def arms(self, arms: Any) -> None:
        for arm in _is(arms, list):
            match arm:
                case [condition, block]:
                    self.expr(condition)
                    self.block(block)
                case _:
                    raise damaged("an arm")

    def cases(self, cases: Any) -> None:
        for case in _is(cases, list):
            match case:
                case [pattern, guard, block]:
                    self.pattern(pattern)
                    if guard is not None:
                        self.expr(guard)
                    self.block(block)
                case _:
                    raise damaged("a case")

    def pattern(self, pattern: Any) -> None:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise damaged("the nesting")
        match pattern:
            case ["any"]:
                pass
            case ["bind", slot]:
                self.slot(slot)
            case ["is", list(values)]:
                self.each(self.value, values)
            case ["or", list(options)]:
                self.each(self.pattern, options)
            case ["record", list(fields)] | ["case", str(), list(fields)]:
                for _, inner in pairs_of(fields):
                    self.pattern(inner)
            case _:
                raise damaged("a pattern")
        self.depth -= 1

    def catches(self, catches: Any) -> None:
        for catch in _is(catches, list):
            match catch:
                case [list(names), slot, block]:
                    self.each(self.text, names)
                    if slot is not None:
                        self.slot(slot)
                    self.block(block)
                case _:
                    raise damaged("a catch")

    def own(self, name: Any) -> None:
        if name not in ("id", "version", "started", "parent", "generation"):
            raise damaged("what is asked of the run")

    def options(self, options: Any) -> None:
        match options:
            case [policy, timeout, deadline, heartbeat, key, bool()]:
                self.policy(policy)
                for limit in (timeout, deadline, heartbeat, key):
                    if limit is not None:
                        self.expr(limit)
            case _:
                raise damaged("the clauses of a compute")

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
                raise damaged("a retry policy")

    def activity_name(self, name: Any) -> None:
        if _is(name, str) not in self.activities:
            raise damaged(f"activity {name!r:.30}")

    def undo(self, undo: Any) -> None:
        match undo:
            case [name, args, options]:
                self.activity_name(name)
                self.exprs(args)
                self.options(options)
            case _:
                raise damaged("a compensation")

    def source(self, source: Any) -> None:
        match source:
            case ["signal", str(), None]:
                pass
            case ["signal", str(), slot]:
                self.slot(slot)
            case ["update", str(), slot, answer]:
                self.slot(slot)
                if answer is not None:
                    self.expr(answer)
            case ["callback", place, slot]:
                self.slot(place)
                if slot is not None:
                    self.slot(slot)
            case _:
                raise damaged("what is waited for")

    def limits(self, limits: Any) -> None:
        match limits:
            case [limit, least, None | ["share", int()]] | [
                limit,
                least,
                None | ["share", int()],
                "outcomes",
            ]:
                parts = [limit, least]
            case [limit, least, ["count", tolerate]] | [
                limit,
                least,
                ["count", tolerate],
                "outcomes",
            ]:
                parts = [limit, least, tolerate]
            case _:
                raise damaged("the bounds of branches")
        for part in parts:
            if part is not None:
                self.expr(part)

    def branches(self, branches: Any) -> None:
        for branch in _is(branches, list):
            match branch:
                case ["branch", str(), block]:
                    self.block(block)
                case _:
                    raise damaged("a branch")

    def ways(self, ways: Any) -> None:
        for way in _is(ways, list):
            match way:
                case ["branch", str(), block]:
                    pass
                case ["after", pause, block]:
                    self.expr(pause)
                case ["on", str(), source, block]:
                    self.source(source)
                case _:
                    raise damaged("an arm of a race")
            self.block(block)

    def node(self, node: Any, table: dict[str, tuple[str, ...]]) -> str:
        """Check one expression or statement by its table; return its operation."""
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise damaged("the nesting")
        operation = node[0] if type(node) is list and node else None
        parts = table.get(operation) if type(operation) is str else None
        if parts is None or len(node) != len(parts) + 1:
            raise damaged(f"operation {operation!r:.30}")
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
