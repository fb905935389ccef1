"""Constants: expressions whose value is known when a program is compiled.

Their values are copied to wherever they are used, so their size has a bound, and so has what one
file copies in all: a page of constants that double each other is refused, not computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftoral.errors import RaftoralError
from raftoral.lang.check.nodes import const
from raftoral.lang.diagnostics import Diagnostics, Enough
from raftoral.lang.ir import decode_value
from raftoral.lang.types import UNKNOWN, show

if TYPE_CHECKING:
    from raftoral.lang import ast
    from raftoral.lang.check.expressions import Expressions
    from raftoral.lang.check.nodes import Node
    from raftoral.lang.definitions import Definitions, Field
    from raftoral.lang.source import Span
    from raftoral.lang.types import Type
    from raftoral.values import Value

PARTS_MAX: Final = 1_000
COPIED_MAX: Final = 100_000


def named(c: Expressions, home: Definitions, name: str, span: Span) -> tuple[Type, Value]:
    """Return type and value of the constant ``name`` of the file ``home``."""
    done = home.evaluated.get(name)
    if done is not None:
        c.wrong = c.wrong or done[0] == UNKNOWN
        return done
    if name in home.opened:
        way = " -> ".join((*home.opened[home.opened.index(name) :], name))
        c.error("RWF0302", f"the constant needs itself: {way}", span)
        c.wrong = True
        return UNKNOWN, None
    definition = home.constants[name]
    home.opened.append(name)
    try:
        kind = UNKNOWN if definition.type is None else home.type_of(definition.type)
        result = constant(c, home, definition.value, kind, f"constant {name}")
    finally:
        home.opened.pop()
    home.evaluated[name] = result
    return result


def default(c: Expressions, field: Field) -> Value:
    """Return the default of a field or parameter, which is computed once."""
    assert field.default is not None
    what = f"the default of `{field.name.text}`"
    return once(c, field.home, field.default, field.type, what)


def once(c: Expressions, home: Definitions, node: ast.Expr, target: Type, what: str) -> Value:
    """Return the value of a constant expression of a file, which is computed once."""
    if node.span not in home.computed:
        if node.span in home.computing:
            c.error("RWF0302", f"{what} needs itself", node.span)
            c.wrong = True
            return None
        home.computing.add(node.span)
        try:
            home.computed[node.span] = constant(c, home, node, target, what)[1]
        finally:
            home.computing.discard(node.span)
    return home.computed[node.span]


def constant(
    c: Expressions, home: Definitions, node: ast.Expr, target: Type, what: str
) -> tuple[Type, Value]:
    """Return type and value of a constant expression; the value is None after a report.

    The type is ``target``, or that of the expression where ``target`` is `UNKNOWN`.
    """
    own = Diagnostics()
    inner = c.fresh(home, own, what)
    try:
        if target == UNKNOWN:
            kind, ir = inner.expr(node)
        else:
            kind, ir = target, inner.value(node, target, what)
    except Enough:
        c.diagnostics.take(own)
        raise
    if inner.calls:
        inner.error(
            "RWF0218", f"{what} is constant, so it calls no function of the file", node.span
        )
    value: Value = None
    if not own.has_errors and not inner.wrong:
        try:
            value = _value_of(ir, len(inner.scope.everything))
            if parts(value) > PARTS_MAX:
                message = f"{what} has more than {PARTS_MAX:,} parts"
                inner.error("RWF0218", message, node.span, f"this {show(kind)} is too large")
                value = None
        except RaftoralError as failure:
            inner.error("RWF0218", f"{what} cannot be computed: {failure}", node.span)
    if home is c.definitions:
        c.diagnostics.take(own)
    failed = own.has_errors or inner.wrong
    c.wrong = c.wrong or failed
    return UNKNOWN if failed else kind, value


def _value_of(ir: Node, slots: int) -> Value:
    if ir[0] == "const":
        return decode_value(ir[1])
    from raftoral.lang.evaluate.expressions import constant_value  # literals do without

    return constant_value(ir, slots)


def parts(value: Value) -> int:
    """Return how large a value is as a program: its parts, and its texts by their length."""
    count = 0
    todo = [value]
    while todo and count <= PARTS_MAX:
        one = todo.pop()
        count += 1 + (len(one) >> 6 if isinstance(one, (str, bytes)) else 0)
        if isinstance(one, list):
            todo.extend(one)
        elif isinstance(one, dict):
            todo.extend(one.values())
    return count


def embedded(c: Expressions, value: Value, span: Span) -> Node:
    """Return the node that holds a constant's value, as long as the file has not copied too much."""
    known = c.definitions.known
    told = known.copied > COPIED_MAX
    known.copied += parts(value)
    if known.copied <= COPIED_MAX:
        return const(value)
    if not told:
        message = f"constants and defaults are used for more than {COPIED_MAX:,} parts in all"
        c.error("RWF0404", message, span, "hand large values over as an input")
    return const(None)
