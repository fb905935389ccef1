"""The types of the language: what fits where, what two have in common, how they are written.

Structural for lists and maps, nominal for records and errors. The IR keeps types as plain lists
(`to_ir`); `convert` reads those.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from raftoral.lang.node import node


@node
class Simple:
    """A type without parts."""

    name: str


@node
class MoneyType:
    """Money of one currency, or of any (None)."""

    currency: str | None


@node
class ListType:
    """``list<item>``."""

    item: Type


@node
class MapType:
    """``map<string, item>``."""

    item: Type


@node
class OptionalType:
    """``item?``; never an optional of an optional."""

    item: Type


@node
class RecordType:
    """A record by its name.

    The payload of a signal is one too, named ``signal x``, and so is what a ``parallel`` gives.
    """

    name: str


@node
class EnumType:
    """An enum by its name."""

    name: str


@node
class OutcomeType:
    """How a branch ended that gives an ``item``: an enum that no file defines, ``outcome<item>``."""

    item: Type


@node
class CallbackType:
    """A callback that is open; completed by a value of ``item``."""

    item: Type


@node
class ErrorType:
    """An error that was caught or made; None where several are possible."""

    name: str | None


Type: TypeAlias = (
    "Simple | MoneyType | ListType | MapType | OptionalType | RecordType | EnumType | OutcomeType"
    " | CallbackType | ErrorType"
)

BOOL: Final = Simple("bool")
STRING: Final = Simple("string")
BYTES: Final = Simple("bytes")
INT: Final = Simple("int")
DECIMAL: Final = Simple("decimal")
DURATION: Final = Simple("duration")
TIMESTAMP: Final = Simple("timestamp")
JSON: Final = Simple("json")
NOTHING: Final = Simple("none")
UNKNOWN: Final = Simple("?")
"""After a mistake that was reported: fits everywhere, so that one mistake is one report."""
NEVER: Final = Simple("never")
"""The item of an empty list: fits everywhere."""

SIMPLE: Final = {t.name: t for t in (BOOL, STRING, BYTES, INT, DECIMAL, DURATION, TIMESTAMP, JSON)}
BUILT_IN: Final = (*SIMPLE, "money", "list", "map", "outcome")


def show(kind: Type) -> str:
    """Return the type as it is written."""
    match kind:
        case Simple(name):
            return name
        case MoneyType(currency):
            return f"money<{currency}>" if currency else "money"
        case ListType(item):
            return "list" if item == NEVER else f"list<{show(item)}>"
        case MapType(item):
            return "map" if item == NEVER else f"map<string, {show(item)}>"
        case OptionalType(item):
            return f"{show(item)}?"
        case RecordType(name) | EnumType(name):
            return name
        case OutcomeType(item):
            return "outcome" if item == UNKNOWN else f"outcome<{show(item)}>"
        case CallbackType(item):
            return f"callback of {show(item)}"
        case ErrorType(name):
            return name or "error"


def outcome_cases(item: Type) -> dict[str, dict[str, Type]]:
    """Return the cases of ``outcome<item>`` with their fields."""
    return {
        "Completed": {"value": item},
        "Failed": {"name": STRING, "message": STRING},
        "Unfinished": {},
    }


def optional(kind: Type) -> Type:
    """Return ``kind?``; what can be none already stays."""
    if isinstance(kind, OptionalType) or kind in (NOTHING, UNKNOWN, JSON):
        return kind
    return OptionalType(kind)


def required(kind: Type) -> Type:
    """Return the type without its ``?``."""
    return kind.item if isinstance(kind, OptionalType) else kind


def fits(value: Type, target: Type) -> bool:
    """Tell whether a value of one type may stand where the other is asked for."""
    if value in (target, NEVER) or UNKNOWN in (value, target):
        return True
    match value, target:
        case ErrorType(), ErrorType(None):
            return True
        case _, Simple("json"):
            return storable(value)
        case OptionalType(a), OptionalType(b):
            return fits(a, b)
        case Simple("none"), OptionalType():
            return True
        case _, OptionalType(item):
            return fits(value, item)
        case MoneyType(), MoneyType(None):
            return True
        case (
            (ListType(a), ListType(b)) | (MapType(a), MapType(b)) | (OutcomeType(a), OutcomeType(b))
        ):
            return fits(a, b)
        case _:
            return False


def common(a: Type, b: Type) -> Type | None:
    """Return the type that holds the values of both, or None."""
    if fits(a, b):
        return b if a != UNKNOWN else a
    if fits(b, a):
        return a
    match a, b:
        case MoneyType(), MoneyType():
            return MoneyType(None)
        case Simple("none"), _:
            return optional(b) if storable(b) else None
        case _, Simple("none"):
            return optional(a) if storable(a) else None
        case OptionalType(), _:
            inner = common(a.item, required(b))
            return None if inner is None else optional(inner)
        case _, OptionalType(item):
            inner = common(a, item)
            return None if inner is None else optional(inner)
        case ListType(x), ListType(y):
            inner = common(x, y)
            return None if inner is None else ListType(inner)
        case MapType(x), MapType(y):
            inner = common(x, y)
            return None if inner is None else MapType(inner)
        case OutcomeType(x), OutcomeType(y):
            inner = common(x, y)
            return None if inner is None else OutcomeType(inner)
        case ErrorType(), ErrorType():
            return ErrorType(None)
        case _:
            return None


def storable(kind: Type) -> bool:
    """Tell whether a history can hold values of the type; errors are no values to keep."""
    match kind:
        case ErrorType() | CallbackType():
            return False
        case ListType(item) | MapType(item) | OptionalType(item) | OutcomeType(item):
            return storable(item)
        case _:
            return True


def may_be_none(kind: Type) -> bool:
    """Tell whether a value of the type can be none."""
    return isinstance(kind, OptionalType) or kind in (UNKNOWN, JSON, NOTHING)


def ordered(kind: Type) -> bool:
    """Tell whether values of the type have an order."""
    return kind in (INT, DECIMAL, STRING, DURATION, TIMESTAMP, UNKNOWN, NEVER) or isinstance(
        kind, MoneyType
    )


def number(kind: Type) -> bool:
    """Tell whether the type is int or decimal."""
    return kind in (INT, DECIMAL)


def to_ir(kind: Type) -> list[Any]:
    """Return the plain form that the IR keeps."""
    match kind:
        case MoneyType(currency):
            return ["money", currency]
        case ListType(item):
            return ["list", to_ir(item)]
        case MapType(item):
            return ["map", to_ir(item)]
        case OptionalType(item):
            return ["optional", to_ir(item)]
        case RecordType(name):
            return ["record", name]
        case EnumType(name):
            return ["enum", name]
        case OutcomeType():
            return ["enum", show(kind)]
        case Simple(name):
            return [name]
        case ErrorType() | CallbackType():
            raise AssertionError(f"{show(kind)} is no stored value")
