"""The types of the built-in functions: which primitive a call means, and what it gives.

Each rule takes the types of the arguments and answers with the primitive, its result and the
constants that are added to the arguments, or raises `Misfit` with a sentence for people.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypeAlias

from raftoral.lang.node import node
from raftoral.lang.types import (
    BOOL,
    BYTES,
    DECIMAL,
    DURATION,
    INT,
    NEVER,
    STRING,
    TIMESTAMP,
    UNKNOWN,
    EnumType,
    ListType,
    MapType,
    MoneyType,
    OptionalType,
    OutcomeType,
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
    from collections.abc import Callable

    from raftoral.values import Value


class Misfit(Exception):
    """The arguments do not fit; the text says what would."""


@node
class Meaning:
    """The primitive that a call means, its result, and constants behind the arguments.

    ``gathered`` arguments become one list, ``swapped`` ones change places.
    """

    primitive: str
    result: Type
    more: tuple[Value, ...] = ()
    gathered: bool = False
    swapped: bool = False


Rule: TypeAlias = "Callable[[list[Type]], Meaning]"


def _items(kind: Type, name: str) -> Type:
    if isinstance(kind, ListType):
        return kind.item
    if kind == UNKNOWN:
        return UNKNOWN
    raise Misfit(f"`{name}` takes a list, not {show(kind)}")


def _length(args: list[Type]) -> Meaning:
    (kind,) = args
    if isinstance(kind, (ListType, MapType)) or kind in (STRING, BYTES, UNKNOWN):
        return Meaning("len", INT)
    raise Misfit(f"`len` takes a list, map or string, not {show(kind)}")


def _sum(args: list[Type]) -> Meaning:
    item = _items(args[0], "sum")
    zero: Value
    match item:
        case MoneyType(currency):
            zero = Money(Decimal(0), currency) if currency else None
            return Meaning("sum.money", item, (zero,))
        case _ if item in (INT, NEVER, UNKNOWN):
            return Meaning("sum.int", INT)
        case _ if item == DECIMAL:
            return Meaning("sum.decimal", DECIMAL, (Decimal(0),))
        case _ if item == DURATION:
            return Meaning("sum.duration", DURATION, (timedelta(0),))
    raise Misfit(f"`sum` adds numbers, money or durations, not {show(item)}")


def _extreme(name: str) -> Rule:
    def rule(args: list[Type]) -> Meaning:
        if len(args) == 1:
            item = _items(args[0], name)
            gathered = False
        else:
            item, gathered = args[0], True
            for other in args[1:]:
                shared = common(item, other)
                if shared is None:
                    raise Misfit(f"`{name}` compares {show(item)} with {show(other)}")
                item = shared
        if not ordered(item):
            raise Misfit(f"`{name}` needs values with an order, not {show(item)}")
        return Meaning(name, item, (), gathered)

    return rule


def _range(args: list[Type]) -> Meaning:
    for kind in args:
        _want(kind, INT, "range")
    return Meaning("range", ListType(INT))


def _want(kind: Type, wanted: Type, name: str) -> None:
    if not fits(kind, wanted):
        raise Misfit(f"`{name}` takes {show(wanted)} here, not {show(kind)}")


def _text(args: list[Type]) -> Meaning:
    case = isinstance(required(args[0]), EnumType | OutcomeType)
    return Meaning("text.case" if case else "text", STRING)


def _plain(name: str, primitive: str, wanted: tuple[Type, ...], result: Type) -> Rule:
    def rule(args: list[Type]) -> Meaning:
        for kind, want in zip(args, wanted, strict=True):
            _want(kind, want, name)
        return Meaning(primitive, result)

    return rule


def _keys(args: list[Type]) -> Meaning:
    _map(args[0], "keys")
    return Meaning("keys", ListType(STRING))


def _values(args: list[Type]) -> Meaning:
    return Meaning("values", ListType(_map(args[0], "values")))


def _map(kind: Type, name: str) -> Type:
    if isinstance(kind, MapType):
        return kind.item
    if kind == UNKNOWN:
        return UNKNOWN
    raise Misfit(f"`{name}` takes a map, not {show(kind)}")


def _round(args: list[Type]) -> Meaning:
    kind = args[0]
    if len(args) == 2:
        _want(args[1], INT, "round")
    if isinstance(kind, MoneyType):
        if len(args) == 2:
            raise Misfit(
                "`round` of money goes to the minor unit of its currency; leave out places"
            )
        return Meaning("round.money", kind)
    if kind in (DECIMAL, INT, UNKNOWN):
        return Meaning("round.decimal", DECIMAL, () if len(args) == 2 else (0,))
    raise Misfit(f"`round` takes a decimal or money, not {show(kind)}")


def _contains(args: list[Type]) -> Meaning:
    if args[0] == STRING:
        _want(args[1], STRING, "contains")
        return Meaning("in.string", BOOL, swapped=True)
    if isinstance(args[0], MapType):
        _want(args[1], STRING, "contains")
        return Meaning("in.map", BOOL, swapped=True)
    item = _items(args[0], "contains")
    if common(item, args[1]) is None:
        raise Misfit(f"a list of {show(item)} never contains {show(args[1])}")
    return Meaning("in.list", BOOL, swapped=True)


def _end(name: str) -> Rule:
    def rule(args: list[Type]) -> Meaning:
        return Meaning(name, optional(_items(args[0], name)))

    return rule


def _reverse(args: list[Type]) -> Meaning:
    _items(args[0], "reverse")
    return Meaning("reverse", args[0])


def _every(name: str) -> Rule:
    def rule(args: list[Type]) -> Meaning:
        _want(_items(args[0], name), BOOL, name)
        return Meaning(name, BOOL)

    return rule


def _merge(args: list[Type]) -> Meaning:
    shared = common(MapType(_map(args[0], "merge")), MapType(_map(args[1], "merge")))
    if shared is None:
        raise Misfit(f"`merge` of {show(args[0])} and {show(args[1])}: the values differ in type")
    return Meaning("merge", shared)


def _split(args: list[Type]) -> Meaning:
    if isinstance(args[0], MoneyType):
        _want(args[1], INT, "split")
        return Meaning("split.money", ListType(args[0]))
    _want(args[0], STRING, "split")
    _want(args[1], STRING, "split")
    return Meaning("split", ListType(STRING))


def _distinct(args: list[Type]) -> Meaning:
    if not storable(_items(args[0], "distinct")):
        raise Misfit("`distinct` compares values, not errors")
    return Meaning("distinct", args[0])


def _abs(args: list[Type]) -> Meaning:
    kind = args[0]
    if number(kind):
        return Meaning("abs.int" if kind == INT else "abs.decimal", kind)
    if isinstance(kind, MoneyType):
        return Meaning("abs.money", kind)
    if kind == DURATION:
        return Meaning("abs.duration", kind)
    if kind == UNKNOWN:
        return Meaning("abs.int", UNKNOWN)
    raise Misfit(f"`abs` takes a number, money or duration, not {show(kind)}")


def _whole(args: list[Type]) -> Meaning:
    _want(args[0], DECIMAL, "whole")
    return Meaning("whole", INT)


def _count(args: list[Type]) -> Meaning:
    _want(_items(args[0], "count"), BOOL, "count")
    return Meaning("count", INT)


def _stored(name: str, primitive: str) -> Rule:
    def rule(args: list[Type]) -> Meaning:
        if not storable(args[0]):
            raise Misfit(f"`{name}` takes a value, not {show(args[0])}")
        return Meaning(primitive, STRING)

    return rule


BUILTINS: Final[dict[str, tuple[int, int, Rule]]] = {
    "len": (1, 1, _length),
    "sum": (1, 1, _sum),
    "min": (1, 20, _extreme("min")),
    "max": (1, 20, _extreme("max")),
    "range": (1, 2, _range),
    "text": (1, 1, _text),
    "keys": (1, 1, _keys),
    "values": (1, 1, _values),
    "round": (1, 2, _round),
    "join": (2, 2, _plain("join", "join", (ListType(STRING), STRING), STRING)),
    "lower": (1, 1, _plain("lower", "lower", (STRING,), STRING)),
    "upper": (1, 1, _plain("upper", "upper", (STRING,), STRING)),
    "starts_with": (2, 2, _plain("starts_with", "starts", (STRING, STRING), BOOL)),
    "contains": (2, 2, _contains),
    "replace": (3, 3, _plain("replace", "replace", (STRING, STRING, STRING), STRING)),
    "first": (1, 1, _end("first")),
    "last": (1, 1, _end("last")),
    "reverse": (1, 1, _reverse),
    "any": (1, 1, _every("any")),
    "all": (1, 1, _every("all")),
    "merge": (2, 2, _merge),
    "split": (2, 2, _split),
    "distinct": (1, 1, _distinct),
    "abs": (1, 1, _abs),
    "count": (1, 1, _count),
    "number": (1, 1, _plain("number", "number", (STRING,), OptionalType(DECIMAL))),
    "whole": (1, 1, _whole),
    "trim": (1, 1, _plain("trim", "trim", (STRING,), STRING)),
    "hash": (1, 1, _stored("hash", "hash")),
    "encode_json": (1, 1, _stored("encode_json", "json")),
    "date_part": (2, 2, _plain("date_part", "date_part", (TIMESTAMP, STRING), INT)),
}
"""Name to least and most arguments and the rule; `sort` has named arguments and its own rule."""

NAMES: Final = frozenset({*BUILTINS, "sort"})
