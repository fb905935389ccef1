"""Operators between values: what they mean for which types."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from raftoral.lang.check.nodes import Node, Typed, const, do
from raftoral.lang.diagnostics import Label
from raftoral.lang.types import (
    BOOL,
    DECIMAL,
    DURATION,
    INT,
    JSON,
    NOTHING,
    STRING,
    TIMESTAMP,
    UNKNOWN,
    ListType,
    MapType,
    MoneyType,
    OptionalType,
    Simple,
    Type,
    common,
    number,
    ordered,
    required,
    show,
    storable,
)
from raftoral.values import Money

if TYPE_CHECKING:
    from raftoral.lang import ast
    from raftoral.lang.check.expressions import Expressions
    from raftoral.values import Value


_ORDER: Final = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge"}


def negative(c: Expressions, node: ast.Unary) -> Typed:
    """Return the type and IR of ``-e``."""
    kind, ir = c.expr(node.operand)
    match kind:
        case MoneyType():
            return kind, do("neg.money", ir)
        case Simple("int" | "decimal" | "duration"):
            return kind, do(f"neg.{kind.name}", ir)
        case _ if kind == UNKNOWN:
            return kind, ir
        case _:
            return c.error("RWF0213", f"{show(kind)} has no negative", node.span)


def binary(c: Expressions, node: ast.Binary) -> Typed:
    """Return the type and IR of an operator between two values."""
    operator = node.operator
    if operator in ("and", "or"):
        return logic(c, node)
    if operator == "??":
        return otherwise(c, node)
    left, a = c.expr(node.left)
    right, b = c.expr(node.right)
    if UNKNOWN in (left, right):
        return (BOOL if operator in _COMPARISONS else UNKNOWN), do("eq", a, b)
    if operator in ("==", "!="):
        return equal(c, node, left, right, a, b)
    if operator == "in":
        return contained(c, node, left, right, a, b)
    meaning = arithmetic(operator, left, right)
    if meaning is None:
        return no_meaning(c, node, left, right)
    kind, primitive, swapped = meaning
    return kind, do(primitive, b, a) if swapped else do(primitive, a, b)


def logic(c: Expressions, node: ast.Binary) -> Typed:
    """Return the type and IR of `and` and `or`."""
    what = f"each side of `{node.operator}`"
    left = c.value(node.left, BOOL, what)
    yes, no = c.facts(node.left)
    with c.knowing(yes if node.operator == "and" else no):
        right = c.value(node.right, BOOL, what)
    return BOOL, [node.operator, left, right]


def otherwise(c: Expressions, node: ast.Binary) -> Typed:
    """Return the type and IR of ``a ?? b``."""
    left, a = c.expr(node.left)
    right, b = c.expr(node.right, required(left))
    if left not in (UNKNOWN, JSON, NOTHING) and not isinstance(left, OptionalType):
        message = f"{show(left)} is never none, so `??` has nothing to do"
        return c.error("RWF0217", message, node.left.span)
    kind = common(right if left == NOTHING else required(left), right)
    if kind is None:
        message = f"the two sides of `??` differ: {show(required(left))} and {show(right)}"
        return c.error("RWF0213", message, node.span)
    return kind, ["otherwise", a, b]


def equal(c: Expressions, node: ast.Binary, left: Type, right: Type, a: Node, b: Node) -> Typed:
    """Return the type and IR of ``==`` and ``!=``."""
    if NOTHING in (left, right):
        negated = " not" if node.operator == "!=" else ""
        message = f"whether a value is none is asked with `is{negated} none`"
        return c.error("RWF0213", message, node.span)
    if two_currencies(c, node, left, right):
        return BOOL, const(None)
    mixed = number(left) and number(right)
    kind = left if mixed else common(left, right)
    if kind is None or not storable(kind):
        message = f"{show(left)} and {show(right)} are never equal"
        return c.error("RWF0213", message, node.span)
    plain = mixed or (isinstance(kind, Simple) and kind != JSON)
    primitive = ("eq" if node.operator == "==" else "ne") + (".plain" if plain else "")
    return BOOL, do(primitive, a, b)


def contained(c: Expressions, node: ast.Binary, left: Type, right: Type, a: Node, b: Node) -> Typed:
    """Return the type and IR of ``a in b``."""
    match right:
        case ListType(item) if common(left, item) is not None:
            return BOOL, do("in.list", a, b)
        case MapType() if left == STRING:
            return BOOL, do("in.map", a, b)
        case Simple("string") if left == STRING:
            return BOOL, do("in.string", a, b)
        case _:
            message = f"{show(left)} is never in {show(right)}"
            return c.error("RWF0213", message, node.span)


def two_currencies(c: Expressions, node: ast.Binary, left: Type, right: Type) -> bool:
    """Report two amounts whose currencies are known to differ."""
    if not isinstance(left, MoneyType) or not isinstance(right, MoneyType):
        return False
    if not left.currency or not right.currency or left.currency == right.currency:
        return False
    c.diagnostics.error(
        "RWF0214",
        "these amounts are in different currencies",
        node.left.span,
        f"this side is {left.currency}",
        labels=(Label(node.right.span, f"this side is {right.currency}"),),
        help=("convert by an activity and let the result be recorded",),
        notes=("a workflow has no exchange rate; a rate changes, so a replay could not repeat",),
    )
    return True


def no_meaning(c: Expressions, node: ast.Binary, left: Type, right: Type) -> Typed:
    """Report an operator that its operands do not have."""
    operator = node.operator
    if two_currencies(c, node, left, right):
        return (BOOL if operator in _COMPARISONS else left), const(None)
    for side, kind in ((node.left, left), (node.right, right)):
        if isinstance(kind, OptionalType):
            c.diagnostics.error(
                "RWF0211",
                f"this may be none, and `{operator}` needs a value",
                side.span,
                f"this is {show(kind)}",
                help=("give a value for none: `... ?? value`",),
            )
            return UNKNOWN, const(None)
    message = f"`{operator}` has no meaning for {show(left)} and {show(right)}"
    label = f"{show(left)} {operator} {show(right)}"
    help_ = _mended(operator, left, right)
    c.diagnostics.error("RWF0213", message, node.span, label, help=help_)
    return UNKNOWN, const(None)


def _mended(operator: str, left: Type, right: Type) -> tuple[str, ...]:
    """Return what most likely mends two operands that do not go together, if there is such a thing."""
    if operator == "+" and STRING in (left, right):
        return ('write a text with a hole: "... {value}"',)
    number = INT in (left, right) or DECIMAL in (left, right)
    if not number or operator in ("*", "/", "//", "%"):
        return ()
    if DURATION in (left, right):
        return ("a duration has its units: `90s`, `1h30m`",)
    for kind in (left, right):
        if isinstance(kind, MoneyType):
            return (f"an amount has its currency: `9.99{kind.currency or 'EUR'}`",)
    return ()


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
