"""What is called in expressions: functions, built-ins, records and errors that are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftoral.lang import ast
from raftoral.lang.builtins import BUILTINS, NAMES, Misfit
from raftoral.lang.check import enums
from raftoral.lang.check.arguments import arguments
from raftoral.lang.check.nodes import Node, Typed, const, do
from raftoral.lang.definitions import ERRORS
from raftoral.lang.diagnostics import did_you_mean
from raftoral.lang.types import (
    BOOL,
    STRING,
    UNKNOWN,
    ErrorType,
    ListType,
    RecordType,
    ordered,
    show,
)

if TYPE_CHECKING:
    from raftoral.lang.check.expressions import Expressions
    from raftoral.lang.definitions import Definitions, Function
    from raftoral.lang.source import Span


def call(c: Expressions, node: ast.Call) -> Typed:
    """Return the type and IR of ``callee(args)``."""
    match node.callee:
        case ast.Name(span, name):
            return call_name(c, node, span, name)
        case ast.TypeName() | ast.Member() as callee:
            path = c.type_path(callee)
            if path is not None:
                return make(c, node, *path)
            assert isinstance(callee, ast.Member)
            enum = enums.enum_of(c, callee)
            if enum is not None:
                return enums.case(c, enum, callee.name, node.args, node.span)
            if enums.is_outcome(c, callee):
                visit_args(c, node)
                return enums.made_outcome(c, callee)
            return call_member(c, node, callee)
        case _:
            visit_args(c, node)
            return c.error("RWF0210", "only functions are called", node.callee.span)


def visit_args(c: Expressions, node: ast.Call) -> None:
    """Check the arguments of a call that has no meaning."""
    for arg in node.args:
        c.expr(arg.value)


def call_function(c: Expressions, node: ast.Call, function: Function) -> Typed:
    """Return the type and IR of a call of a function, which gets its number later."""
    what = f"fn {function.name.text}"
    given = arguments(c, node.args, function.params, what, node.span)
    ir: Node = ["call", function.key, given]
    c.calls.append((ir, function))
    return function.result, ir


def call_name(c: Expressions, node: ast.Call, span: Span, name: str) -> Typed:
    """Return the type and IR of a call by a plain name."""
    function = c.definitions.functions.get(name)
    if function is not None:
        return call_function(c, node, function)
    if name == "sort":
        return sort(c, node)
    if name in BUILTINS:
        return builtin(c, node, name)
    visit_args(c, node)
    if name in c.definitions.activities:
        return effect_in_expression(c, span, name)
    known = [*c.definitions.functions, *NAMES]
    hint = _HINTS.get(name)
    label = f"`{hint}`" if hint else did_you_mean(name, known, "not defined")
    return c.error("RWF0201", f"cannot find function `{name}`", span, label)


def call_member(c: Expressions, node: ast.Call, callee: ast.Member) -> Typed:
    """Return the type and IR of a call by a dotted name: a function that was imported.

    An activity, or a method, is reported.
    """
    if isinstance(callee.base, ast.Name):
        home = c.imported(callee.base.name)
        if home is not None and callee.name.text in home.functions:
            return call_function(c, node, home.functions[callee.name.text])
    names = []
    inner: ast.Expr = callee
    while isinstance(inner, ast.Member):
        names.append(inner.name.text)
        inner = inner.base
    name = ".".join((inner.name, *reversed(names))) if isinstance(inner, ast.Name) else ""
    visit_args(c, node)
    if c.definitions.find("activities", name) is not None:
        return effect_in_expression(c, callee.span, name)
    known = [*c.definitions.names("activities"), *c.definitions.names("functions")]
    label = did_you_mean(name, known, "values have no methods")
    if callee.name.text in (*BUILTINS, "sort"):
        label = f"write `{callee.name.text}(...)` with the value as an argument"
    return c.error("RWF0201", "only functions are called in expressions", callee.span, label)


def effect_in_expression(c: Expressions, span: Span, name: str) -> Typed:
    """Report an activity that is called where only values are."""
    c.diagnostics.error(
        "RWF0301",
        f"activity `{name}` is an effect, and expressions have none",
        span,
        "called in an expression",
        help=(f"make it a step of its own: `compute x = {name}(...)`",),
        notes=("an expression runs again on every replay; a step is recorded once",),
    )
    return UNKNOWN, const(None)


def builtin(c: Expressions, node: ast.Call, name: str) -> Typed:
    """Return the type and IR of a call of a built-in."""
    least, most, rule = BUILTINS[name]
    types, nodes = [], []
    for arg in node.args:
        if arg.name is not None:
            c.error("RWF0203", f"`{name}` takes its arguments by position", arg.name.span)
        kind, ir = c.expr(arg.value)
        types.append(kind)
        nodes.append(ir)
    if not least <= len(types) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        message = f"`{name}` takes {wanted} argument{'s' if most > 1 else ''}, not {len(types)}"
        return c.error("RWF0204", message, node.span)
    if name == "range" and len(nodes) == 1:
        nodes.insert(0, const(0))
    try:
        meaning = rule(types)
    except Misfit as misfit:
        return c.error("RWF0210", str(misfit), node.span)
    if meaning.swapped:
        nodes.reverse()
    if meaning.gathered:
        nodes = [["list", nodes]]
    return meaning.result, do(meaning.primitive, *nodes, *map(const, meaning.more))


def sort(c: Expressions, node: ast.Call) -> Typed:
    """Return the type and IR of ``sort``, the one built-in with named arguments."""
    if not node.args or node.args[0].name is not None:
        message = '`sort` takes a list: `sort(xs)`, `sort(xs, by: "field", descending: true)`'
        return c.error("RWF0204", message, node.span)
    kind, items = c.expr(node.args[0].value)
    by: str | None = None
    descending = const(False)
    for arg in node.args[1:]:
        name = arg.name.text if arg.name else ""
        if name == "by" and isinstance(arg.value, ast.Literal):
            by = str(arg.value.value)
        elif name == "descending":
            descending = c.value(arg.value, BOOL, "`descending`")
        else:
            message = '`sort` takes `by: "field"` and `descending: true`'
            return c.error("RWF0203", message, arg.span)
    if kind == UNKNOWN or (isinstance(kind, ListType) and kind.item == UNKNOWN):
        return kind, items
    if not isinstance(kind, ListType):
        return c.error("RWF0210", f"`sort` takes a list, not {show(kind)}", node.span)
    shape = c.shape(kind.item)
    if by is None:
        if not ordered(kind.item):
            message = f"{show(kind.item)} has no order of its own"
            label = 'name a field: `by: "..."`' if shape else ""
            return c.error("RWF0210", message, node.span, label)
        return kind, do("sort", items, descending)
    field = shape.fields.get(by) if shape else None
    if field is None or not ordered(field.type):
        label = did_you_mean(by, shape.fields) if shape else ""
        message = f"{show(kind.item)} has no field `{by}` with an order"
        return c.error("RWF0203", message, node.span, label)
    return kind, do("sort.by", items, const(by), descending)


def make(c: Expressions, node: ast.Call, home: Definitions, name: str) -> Typed:
    """Return the IR of a record or an error that is made."""
    if name in home.records:
        fields = home.records[name].fields
        given = arguments(c, node.args, fields, f"record {name}", node.span, named=True)
        pairs = [[field, ir] for field, ir in zip(fields, given, strict=False)]
        return RecordType(name), ["map", pairs]
    shape = home.errors.get(name)
    if shape is None and name not in ERRORS:
        visit_args(c, node)
        known = [*home.records, *home.errors, *ERRORS]
        label = did_you_mean(name, known, "not defined")
        if name in home.enums:
            label = f"`{name}` is an enum: `{name}.{next(iter(home.enums[name].cases), 'Case')}`"
        message = f"cannot find record or error `{name}`"
        return c.error("RWF0203", message, node.callee.span, label)
    fields = {} if shape is None else shape.fields
    message_ir = const("")
    rest = []
    for arg in node.args:
        if arg.name is not None and arg.name.text == "message":
            message_ir = c.value(arg.value, STRING, "the message of an error")
        else:
            rest.append(arg)
    given = arguments(c, rest, fields, f"error {name}", node.span, named=True)
    pairs = [[field, ir] for field, ir in zip(fields, given, strict=False)]
    return ErrorType(name), ["error", name, message_ir, pairs]


_HINTS: Final = {
    "count_if": "count", "length": "len", "size": "len", "str": "text", "string": "text",
    "int": "whole", "format": '"{...}"', "strip": "trim", "map": "[f(x) for x in xs]",
    "filter": "[x for x in xs if c]", "print": "log", "format_duration": "text",
    "zip": "[... for i, x in xs]", "now": "an activity", "uuid": "an activity",
}  # fmt: skip
