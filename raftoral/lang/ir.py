"""The checked program as plain lists: what the registry stores and every node runs.

The form is frozen by `IR_VERSION`: a change of any operation's meaning is a new version, and so is
one of any bound (fuel, sizes of texts and lists), so that all nodes stop at the same step. What
people need beside the meaning (lines, names of local variables) stands in a side table, so the
meaning hash ignores it. `lang.verify` checks stored bytes before anything of them is used.

What an older program cannot hold, such as ``"outcomes"`` behind the bounds of branches, is no such
change: old bytes mean what they meant, and an older build refuses the new ones as damaged.

An expression is ``[operation, ...]``, a statement too; the tables of `lang.verify` say what follows.
Variables are slots of a frame; functions are numbered and call lower numbers only, so no program
recurses.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import Any, Final, TypeAlias, cast

from raftoral.errors import CorruptionError
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

IR_VERSION: Final = 2
FUEL: Final = 1_000_000
"""Pure steps between two effects; the limit of a program is part of it."""

DEPTH_MAX: Final = 200

Node: TypeAlias = "list[Any]"


@dataclass(frozen=True, slots=True)
class Unit:
    """One workflow, closed: everything that a run of it needs.

    ``inputs`` and the fields of ``records``, ``errors``, ``signals``, of the cases of ``enums`` and
    of an activity's or child's parameters are ``[name, type, default]`` with ``[]`` or ``[value]``
    as default. ``activities`` are ``[name, parameters, result, raises, idempotent]``, ``children``
    ``[name, version, parameters, result]``, ``updates`` ``[name, fields, result]``, ``queries``
    ``[name, type, cells, expression]``, ``functions`` ``[parameters, slots, block]``. ``spans``
    holds line and column of each statement in the order of the text.
    """

    name: str
    version: int
    inputs: Node
    output: Node
    raises: list[str]
    records: Node
    enums: Node
    errors: Node
    activities: Node
    children: Node
    signals: Node
    updates: Node
    queries: Node
    search: list[str]
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
        return [IR_VERSION, *(getattr(self, name) for name in MEANING)]

    def meaning_hash(self) -> str:
        """Return the sha256 of the meaning, as hex digits."""
        from raftoral.codec import pack_record  # a check alone packs nothing

        return sha256(pack_record(self.meaning())).hexdigest()

    def encode(self) -> bytes:
        """Return the stored bytes."""
        from raftoral.codec import pack_record

        side = [self.path, self.doc, list(self.spans), list(self.variables)]
        return pack_record([self.meaning(), side])


MEANING: Final = tuple(Unit.__dataclass_fields__)[:18]
"""The fields that make the meaning, in their stored order."""


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
    if depth > DEPTH_MAX:
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
                return {key: decode_value(item, depth + 1) for key, item in pairs_of(pairs)}
            case _:
                pass
    except (ValueError, InvalidOperation, OverflowError):
        pass
    raise CorruptionError("a constant of the program is damaged")


def pairs_of(pairs: Any) -> list[tuple[str, Any]]:
    """Return pairs of the plain form; `CorruptionError` if they are none."""
    if type(pairs) is not list:
        raise damaged("a list of pairs")
    found = []
    for pair in pairs:
        match pair:
            case [str(key), value]:
                found.append((key, value))
            case _:
                raise damaged("a pair")
    return found


def query_slots(cells: Node, expr: Any) -> int:
    """Return how large the frame of a query is: its cells, and what its comprehensions go through."""
    most = len(cells)
    todo = [expr]
    while todo:
        match todo.pop():
            case ["each", index, slot, *rest]:
                most = max([most, *(one for one in (index, slot) if type(one) is int)])
                todo += rest
            case list(parts):
                todo += parts
            case _:
                pass
    return most


def damaged(what: str) -> CorruptionError:
    """Return the error of stored bytes that no compiler has written."""
    return CorruptionError(f"{what} is not what a compiler writes")
