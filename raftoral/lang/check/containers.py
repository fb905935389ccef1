"""Lists, maps, copies of records, comprehensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.lang import ast
from raftoral.lang.check.nodes import const, do
from raftoral.lang.diagnostics import did_you_mean
from raftoral.lang.types import (
    BOOL,
    INT,
    JSON,
    NEVER,
    STRING,
    UNKNOWN,
    ListType,
    MapType,
    OptionalType,
    Type,
    common,
    required,
    show,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from raftoral.lang.check.expressions import Expressions
    from raftoral.lang.check.nodes import Node, Typed
    from raftoral.lang.definitions import Shape


def list_of(c: Expressions, items: Sequence[ast.Expr], wanted: Type | None) -> Typed:
    """Return the type and IR of a list."""
    target = required(wanted) if wanted is not None else None
    inner = target.item if isinstance(target, ListType) else JSON if target == JSON else None
    kind: Type = inner if inner == JSON else NEVER
    nodes = []
    for item in items:
        one, ir = c.expr(item, inner)
        nodes.append(ir)
        shared = common(kind, one)
        if shared is None:
            message = f"a list holds values of one type, and this is {show(one)}"
            c.error("RWF0213", message, item.span, f"the others are {show(kind)}")
            shared = UNKNOWN
        kind = shared
    return ListType(kind), ["list", nodes]


def map_of(c: Expressions, entries: Sequence[ast.Entry], wanted: Type | None) -> Typed:
    """Return the type and IR of a map."""
    target = required(wanted) if wanted is not None else None
    inner = target.item if isinstance(target, MapType) else JSON if target == JSON else None
    kind: Type = inner if inner == JSON else NEVER
    made: Node = ["map", []]
    for entry in _each(c, entries):
        one, ir = c.expr(entry.value, inner)
        made = _with(c, made, entry, ir)
        shared = common(kind, one)
        if shared is None:
            help_ = "declare a record for values of several types"
            message = f"a map holds values of one type, and this is {show(one)}; {help_}"
            c.error("RWF0213", message, entry.value.span, f"the others are {show(kind)}")
            shared = UNKNOWN
        kind = shared
    return MapType(kind), made


def _with(c: Expressions, made: Node, entry: ast.Entry, value: Node) -> Node:
    """Return the IR of a map with one more entry."""
    if isinstance(entry.key, ast.Text):
        _, key = c.expr(entry.key)
        return do("put", made, key, value)
    if made[0] == "do":
        return do("put", made, const(entry.key.text), value)
    return [*made[:-1], [*made[-1], [entry.key.text, value]]]


def _each(c: Expressions, entries: Sequence[ast.Entry]) -> Iterator[ast.Entry]:
    """Give the entries of a map one by one; a fixed key that is there twice is reported."""
    seen: set[str] = set()
    for entry in entries:
        if isinstance(entry.key, ast.Ident):
            if entry.key.text in seen:
                message = f"`{entry.key.text}` is there twice"
                c.error("RWF0120", message, entry.key.span, "again")
            seen.add(entry.key.text)
        yield entry


def update(c: Expressions, node: ast.Update) -> Typed:
    """Return the type and IR of a copy with changes."""
    kind, base = c.expr(node.base)
    shape = c.shape(kind)
    made: Node = ["update", base, []]
    for entry in _each(c, node.entries):
        if shape is not None:
            ir = _field(c, kind, shape, entry)
            if ir is None:
                continue
        elif isinstance(kind, MapType):
            ir = c.value(entry.value, kind.item, "a value of this map")
        else:
            _, ir = c.expr(entry.value)
        made = _with(c, made, entry, ir)
    if isinstance(kind, OptionalType):
        help_ = ("give a value for none: `{...x ?? other, ...}`, or test it with `is none` before",)
        message = f"this may be none, and `{{...}}` copies a value: it is {show(kind)}"
        c.diagnostics.error("RWF0211", message, node.base.span, help=help_)
        return UNKNOWN, made
    if shape is None and not isinstance(kind, MapType) and kind != UNKNOWN:
        message = f"`{{...}}` copies a record or a map, not {show(kind)}"
        return c.error("RWF0210", message, node.base.span)
    return kind, made


def _field(c: Expressions, kind: Type, shape: Shape, entry: ast.Entry) -> Node | None:
    """Return the IR of a field of a record that is copied; None after a report."""
    if isinstance(entry.key, ast.Text):
        c.expr(entry.value)
        message = "the fields of a record are known by their names"
        c.error("RWF0203", message, entry.key.span, "this key is computed")
        return None
    field = shape.fields.get(entry.key.text)
    if field is None:
        c.expr(entry.value)
        message = f"`{show(kind)}` has no field `{entry.key.text}`"
        label = did_you_mean(entry.key.text, shape.fields, "not a field")
        c.error("RWF0203", message, entry.key.span, label)
        return None
    declared = field.name.span if field.home is c.definitions else None
    return c.value(entry.value, field.type, f"field `{entry.key.text}`", declared)


def comprehension(c: Expressions, node: ast.Comprehension) -> Typed:
    """Return the type and IR of a comprehension."""
    index, kind, source = gone_through(c, node.index, node.source)
    c.scope.open()
    try:
        slot = None
        if node.index is not None:
            number = c.scope.declare(node.index, index, "loop")
            number.used, slot = True, number.slot
        variable = c.scope.declare(node.variable, kind, "loop")
        variable.used = True
        condition = None
        facts: frozenset[str] = frozenset()
        if node.condition is not None:
            condition = c.value(node.condition, BOOL, "a condition")
            facts = c.facts(node.condition)[0]
        with c.knowing(facts):
            made, item = c.expr(node.item)
    finally:
        c.scope.blocks.pop()
        c.scope.ahead.pop()
    return ListType(made), ["each", slot, variable.slot, source, condition, item]


def gone_through(
    c: Expressions, index: ast.Ident | None, node: ast.Expr
) -> tuple[Type, Type, Node]:
    """Return the type of the index and the items, and the IR, of something to go through."""
    kind, ir = c.expr(node)
    if isinstance(kind, ListType):
        return INT, kind.item, ir
    if isinstance(kind, MapType):
        if index is not None:
            return STRING, kind.item, ir
        message = "a map is gone through with two names"
        c.error("RWF0210", message, node.span, "`for key, value in m`, `keys(m)` or `values(m)`")
    elif isinstance(kind, OptionalType):
        help_ = ("give a list for none: `xs ?? []`",)
        message = f"this may be none, and `for` goes through a list: it is {show(kind)}"
        c.diagnostics.error("RWF0211", message, node.span, help=help_)
    elif kind != UNKNOWN:
        c.error("RWF0210", f"`for` goes through a list, not {show(kind)}", node.span)
    return UNKNOWN, UNKNOWN, ir
