"""What is called in expressions: functions, built-ins, records and errors that are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftoral.lang import ast
from raftoral.lang.builtins import BUILTINS, NAMES, Misfit
from raftoral.lang.check.nodes import Node, Typed, const, do
from raftoral.lang.diagnostics import did_you_mean
from raftoral.lang.resolve import ERRORS as ERROR_NAMES
from raftoral.lang.types import (
    BOOL,
    INT,
    STRING,
    UNKNOWN,
    ErrorType,
    ListType,
    RecordType,
    Type,
    ordered,
    show,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.lang.check.expressions import Expressions
    from raftoral.lang.resolve import Field
    from raftoral.lang.source import Span


DEPTH_MAX: Final = 64

_ORDER: Final = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
_ERROR_FIELDS: Final[dict[str, Type]] = {"name": STRING, "message": STRING, "attempts": INT}


def call(c: Expressions, node: ast.Call) -> Typed:
    """Return the type and IR of ``callee(args)``."""
    match node.callee:
        case ast.Name(span, name):
            return call_name(c, node, span, name)
        case ast.TypeName(span, name):
            return make(c, node, span, name)
        case ast.Member():
            return activity_in_expression(c, node)
        case _:
            visit_args(c, node)
            return c.error("RWF0210", "only functions are called", node.callee.span)


def visit_args(c: Expressions, node: ast.Call) -> None:
    """Check the arguments of a call that has no meaning."""
    for arg in node.args:
        c.expr(arg.value)


def call_name(c: Expressions, node: ast.Call, span: Span, name: str) -> Typed:
    """Return the type and IR of a call by a plain name."""
    function = c.definitions.functions.get(name)
    if function is not None:
        given = arguments(c, node.args, function.params, f"fn {name}", node.span)
        ir: Node = ["call", name, given]
        c.calls.append((ir, name))
        return function.result, ir
    if name == "sort":
        return sort(c, node)
    if name in BUILTINS:
        return builtin(c, node, name)
    visit_args(c, node)
    if name in c.definitions.activities:
        return effect_in_expression(c, span, name)
    known = [*c.definitions.functions, *NAMES]
    label = did_you_mean(name, known, "not defined")
    return c.error("RWF0201", f"cannot find function `{name}`", span, label)


def activity_in_expression(c: Expressions, node: ast.Call) -> Typed:
    """Report a call by a dotted name: an activity, or a method."""
    names = []
    inner: ast.Expr = node.callee
    while isinstance(inner, ast.Member):
        names.append(inner.name.text)
        inner = inner.base
    name = ".".join((inner.name, *reversed(names))) if isinstance(inner, ast.Name) else ""
    visit_args(c, node)
    if name in c.definitions.activities:
        return effect_in_expression(c, node.callee.span, name)
    label = did_you_mean(name, c.definitions.activities, "values have no methods")
    return c.error("RWF0201", "only functions are called in expressions", node.callee.span, label)


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


def make(c: Expressions, node: ast.Call, span: Span, name: str) -> Typed:
    """Return the IR of a record or an error that is made."""
    definitions = c.definitions
    if name in definitions.records:
        fields = definitions.records[name].fields
        given = arguments(c, node.args, fields, f"record {name}", node.span, named=True)
        pairs = [[field, ir] for field, ir in zip(fields, given, strict=False)]
        return RecordType(name), ["map", pairs]
    shape = definitions.errors.get(name)
    if shape is None and name not in ERROR_NAMES:
        visit_args(c, node)
        known = [*definitions.records, *definitions.errors, *ERROR_NAMES]
        label = did_you_mean(name, known, "not defined")
        return c.error("RWF0203", f"cannot find record or error `{name}`", span, label)
    fields = {} if shape is None else shape.fields
    message = const("")
    rest = []
    for arg in node.args:
        if arg.name is not None and arg.name.text == "message":
            message = c.value(arg.value, STRING, "the message of an error")
        else:
            rest.append(arg)
    given = arguments(c, rest, fields, f"error {name}", node.span, named=True)
    pairs = [[field, ir] for field, ir in zip(fields, given, strict=False)]
    return ErrorType(name), ["error", name, message, pairs]


def arguments(
    c: Expressions,
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
            c.expr(arg.value)
            label = f"write `{names[place]}: ...`" if place < len(names) else "too many"
            c.error("RWF0203", f"the fields of {what} are given by name", arg.span, label)
            continue
        if arg.name is None and place >= len(names):
            c.expr(arg.value)
            message = f"{what} takes {len(names)} argument{'s' if len(names) != 1 else ''}"
            c.error("RWF0204", message, arg.span, "one too many")
            continue
        name = names[place] if arg.name is None else arg.name.text
        param = params.get(name)
        if param is None:
            c.expr(arg.value)
            label = did_you_mean(name, names, f"{what} has no such argument")
            c.error("RWF0203", f"{what} has no `{name}`", arg.span, label)
            continue
        if name in given:
            c.error("RWF0120", f"`{name}` is given twice", arg.span, "again")
        given[name] = c.value(arg.value, param.type, f"`{name}` of {what}", param.name.span)
    fill(c, given, params, what, span)
    return [given[name] for name in names]


def fill(
    c: Expressions, given: dict[str, Node], params: dict[str, Field], what: str, span: Span
) -> None:
    """Add the defaults; report what is missing."""
    missing = []
    for name, param in params.items():
        if name in given:
            continue
        if param.default is not None:
            value = c.constant(param.default, param.type, f"the default of `{name}`")
            given[name] = const(value)
        else:
            given[name] = const(None)
            if param.required:
                missing.append(f"`{name}: {show(param.type)}`")
    if missing:
        message = f"{what} needs {' and '.join(missing)}"
        c.error("RWF0204", message, span, "missing here")
