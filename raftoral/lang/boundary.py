"""Values that enter a run from outside, checked against the types that its program declares.

Inputs and signals come from JSON or from Python, results from activities. Exact kinds may come as
texts (``"9.99EUR"``, ``"1h30m"``, an ISO time, ``"0.60"``). What comes out is what a history stores.
Inputs and signals must fit exactly; a result may have fields that the record does not declare. A case
of an enum is its name, or ``[name, {field: value}]`` if it has fields.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from raftoral.errors import InvalidInput, WorkflowFailed
from raftoral.lang.diagnostics import nearest
from raftoral.lang.ir import Unit, decode_value
from raftoral.lang.primitives import ITEMS_MAX, STRING_MAX
from raftoral.values import (
    EXACT,
    INT_MAX,
    INT_MIN,
    Money,
    Value,
    millis_of,
    parse_span,
    span_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.lang.ir import Node

DEPTH_MAX: Final = 48

_MONEY = re.compile(r"(-?[0-9]{1,40}(?:\.[0-9]{1,40})?) ?([A-Z]{3})\Z")
_MOMENT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?"
    r"([Zz]|[+-][0-9]{2}:?[0-9]{2})\Z",
    re.ASCII,
)
_NUMBER = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?\Z")


class Misfit(Exception):
    """A value does not fit; the text names the place and what was expected."""


def decode_input(unit: Unit, given: object) -> dict[str, Value]:
    """Return the stored input of a run: every declared name, defaults filled in.

    ``given`` is a map of names, a list of values in the order of the declaration, or None for
    nothing. `InvalidInput` names the place, such as ``input.items[2].price``.
    """
    try:
        return _decoder(unit, strict=True).fields(_named(unit.inputs, given), unit.inputs, "input")
    except Misfit as misfit:
        raise InvalidInput(str(misfit)) from None


def decode_signal(unit: Unit, name: str, given: object) -> dict[str, Value]:
    """Return the stored payload of a signal; `InvalidInput` for an unknown one or a bad payload."""
    return _payload(unit, "signal", unit.signals, name, given)


def decode_result(unit: Unit, activity: str, given: object) -> Value:
    """Return an activity's result as it is stored; `WorkflowFailed` ``BadResult`` if it misfits."""
    for name, _, kind, _, _ in unit.activities:
        if name == activity:
            try:
                return _decoder(unit, strict=False).value(given, kind, "result")
            except Misfit as misfit:
                raise WorkflowFailed("BadResult", f"{activity}: {misfit}") from None
    raise WorkflowFailed("BadResult", f"workflow {unit.name} does not use activity {activity}")


def decode_update(unit: Unit, name: str, given: object) -> dict[str, Value]:
    """Return the stored payload of an update; `InvalidInput` for an unknown one or a bad payload."""
    return _payload(unit, "update", [one[:2] for one in unit.updates], name, given)


def _payload(unit: Unit, word: str, known: Node, name: str, given: object) -> dict[str, Value]:
    for declared, fields in known:
        if declared == name:
            try:
                decoder = _decoder(unit, strict=True)
                return decoder.fields(_named(fields, given), fields, f"{word} {name}")
            except Misfit as misfit:
                raise InvalidInput(str(misfit)) from None
    names = [declared for declared, _ in known]
    near = nearest(name, names)
    hint = f"did you mean {near}?" if near else f"it takes {', '.join(names) or 'none'}"
    raise InvalidInput(f"workflow {unit.name} takes no {word} {name}; {hint}")


def _decoder(unit: Unit, *, strict: bool) -> Decoder:
    return Decoder(dict(unit.records), dict(unit.enums), strict=strict)


def _named(fields: Node, given: object) -> Mapping[str, object]:
    """Return the given values by name."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return given
    if isinstance(given, (list, tuple)):
        names = [field[0] for field in fields]
        if len(given) > len(names):
            raise Misfit(f"{len(given)} values are given, and there are {len(names)} to give")
        return dict(zip(names, given, strict=False))
    raise Misfit(f"expected a map of names or a list of values, not {_shown(given)}")


class Decoder:
    """Checks and converts values by types of the IR; ``strict`` refuses fields that none declares."""

    def __init__(self, records: dict[str, Node], enums: dict[str, Node], *, strict: bool) -> None:
        self.records = records
        self.enums = {name: dict(cases) for name, cases in enums.items()}
        self.strict = strict

    def fields(self, given: Mapping[Any, object], fields: Node, where: str) -> dict[str, Value]:
        """Return named values; each is there, is optional, or has a default."""
        found: dict[str, Value] = {}
        for name, kind, default in fields:
            if name in given:
                found[name] = self.value(given[name], kind, f"{where}.{name}")
            elif default:
                found[name] = decode_value(default[0])
            elif kind[0] == "optional":
                found[name] = None
            else:
                raise Misfit(f"{where}.{name} is missing: expected {show(kind)}")
        if self.strict:
            for name in given:
                if name not in found:
                    near = nearest(str(name), found)
                    hint = f"; did you mean {near}?" if near else ""
                    raise Misfit(f"{where}.{str(name)[:60]} is not declared{hint}")
        return found

    def value(self, given: object, kind: Node, where: str) -> Value:
        """Return one value as the type ``kind``; `Misfit` says what was expected."""
        if where.count(".") + where.count("[") > DEPTH_MAX:
            raise Misfit(f"{where[:80]}... is nested too deeply")
        match kind:
            case ["optional", inner]:
                return None if given is None else self.value(given, inner, where)
            case ["list", inner]:
                if not isinstance(given, (list, tuple)):
                    raise _expected(where, kind, given)
                _few(given, where)
                return [self.value(item, inner, f"{where}[{n}]") for n, item in enumerate(given)]
            case ["map", inner]:
                items = self.mapping(given, kind, where)
                return {
                    key: self.value(items[key], inner, f"{where}.{key}") for key in sorted(items)
                }
            case ["record", name]:
                if not isinstance(given, Mapping):
                    raise _expected(where, kind, given)
                return dict(self.fields(given, self.records[name], where))
            case ["enum", name]:
                return self.case(given, kind, self.enums[name], where)
            case ["money", currency]:
                return _money(given, currency, kind, where)
            case ["json"]:
                return self.json(given, where)
            case [name]:
                return _SIMPLE[name](given, kind, where)
            case _:
                raise AssertionError(f"decode admits no type {kind!r}")

    def case(self, given: object, kind: Node, cases: dict[str, Node], where: str) -> Value:
        """Return a case of an enum: its name, or a list of its name and its fields."""
        name, values = given, None
        if isinstance(given, (list, tuple)) and len(given) == 2:
            name, values = given
        if not isinstance(name, str) or name not in cases:
            raise _expected(where, kind, given, f", one of {', '.join(cases)}")
        fields = cases[name]
        if not fields and not values:
            return name
        if values is not None and not isinstance(values, Mapping):
            raise _expected(f"{where}.{name}", ["map", ["json"]], values)
        return [name, dict(self.fields(values or {}, fields, f"{where}.{name}"))]

    def mapping(self, given: object, kind: Node, where: str) -> Mapping[str, object]:
        """Return a map whose keys are texts, and not too many."""
        if not isinstance(given, Mapping):
            raise _expected(where, kind, given)
        for key in given:
            if type(key) is not str:
                raise Misfit(f"{where} has a key that is no text: {_shown(key)}")
        _few(given, where)
        return given

    def json(self, given: object, where: str) -> Value:
        """Return a value of any storable kind as it is."""
        if where.count(".") + where.count("[") > DEPTH_MAX:
            raise Misfit(f"{where[:80]}... is nested too deeply")
        if isinstance(given, (list, tuple)):
            _few(given, where)
            return [self.json(item, f"{where}[{n}]") for n, item in enumerate(given)]
        if isinstance(given, Mapping):
            items = self.mapping(given, ["json"], where)
            return {key: self.json(items[key], f"{where}.{key}") for key in sorted(items)}
        if given is None or isinstance(given, (bool, Money, bytes)):
            return given
        if isinstance(given, float):
            return _decimal(given, ["decimal"], where)
        for name, accepted in _JSON:
            if isinstance(given, accepted):
                return _SIMPLE[name](given, [name], where)
        raise _expected(where, ["json"], given)


def _few(given: Any, where: str) -> None:
    if len(given) > ITEMS_MAX:
        raise Misfit(f"{where} has {len(given):,} items; at most {ITEMS_MAX:,} can be stored")


# ------------------------------------------------------------------ simple kinds
def _expected(where: str, kind: Node, given: object, more: str = "") -> Misfit:
    return Misfit(f"{where}: expected {show(kind)}{more}, not {_shown(given)}")


def _shown(given: object) -> str:
    kind = type(given).__name__
    if isinstance(given, int) and given.bit_length() > 200:
        return "a number of many digits"
    if isinstance(given, str):
        return f"the text {given[:40]!r}"
    if isinstance(given, (list, tuple)):
        return "a list"
    if isinstance(given, Mapping):
        return "a map"
    if given is None:
        return "none"
    if isinstance(given, bool):
        return "true" if given else "false"
    return f"the {kind} {str(given)[:40]}"


def _bool(given: object, kind: Node, where: str) -> Value:
    if isinstance(given, bool):
        return given
    raise _expected(where, kind, given)


def _string(given: object, kind: Node, where: str) -> Value:
    if not isinstance(given, str):
        raise _expected(where, kind, given)
    if len(given) > STRING_MAX:
        raise Misfit(f"{where} has {len(given):,} characters; at most {STRING_MAX:,} are kept")
    try:
        given.encode()
    except UnicodeEncodeError:
        raise Misfit(f"{where} has half a character, which no UTF-8 can hold") from None
    return str(given)


def _bytes(given: object, kind: Node, where: str) -> Value:
    if isinstance(given, bytes):
        return given
    if isinstance(given, str):
        try:
            return base64.b64decode(given, validate=True)
        except (binascii.Error, ValueError):
            pass
    raise _expected(where, kind, given, " (in JSON as base64)")


def _int(given: object, kind: Node, where: str) -> Value:
    if isinstance(given, bool) or not isinstance(given, int):
        raise _expected(where, kind, given)
    if not INT_MIN <= given <= INT_MAX:
        raise Misfit(f"{where} is beyond 64 bit")
    return int(given)


def _decimal(given: object, kind: Node, where: str) -> Value:
    text: str | None = None
    if isinstance(given, bool):
        pass
    elif isinstance(given, (Decimal, int)):
        text = str(given) if not isinstance(given, int) or abs(given) < 10**40 else None
    elif isinstance(given, float):
        text = repr(given)  # the shortest text that means this float, equal on every node
    elif isinstance(given, str) and _NUMBER.match(given):
        text = given
    if text is not None:
        try:
            number = Decimal(text)
            if number.is_finite() and len(number.as_tuple().digits) <= EXACT.prec:
                return EXACT.plus(number) if number.is_zero() else number
        except (InvalidOperation, ValueError):
            pass
    raise _expected(where, kind, given, ' such as "0.60"')


def _money(given: object, currency: str | None, kind: Node, where: str) -> Value:
    money: Money | None = None
    if isinstance(given, Money):
        money = given
    elif isinstance(given, str) and (found := _MONEY.match(given)):
        money = Money(Decimal(found[1]), found[2])
    if money is None or len(money.amount.as_tuple().digits) > EXACT.prec:
        raise _expected(where, kind, given, ' such as "9.99EUR"')
    if currency is not None and money.currency != currency:
        raise Misfit(f"{where}: expected {currency}, not {money}")
    return money


def _duration(given: object, kind: Node, where: str) -> Value:
    if isinstance(given, timedelta):
        return span_of(millis_of(given))
    if isinstance(given, str):
        try:
            return -parse_span(given[1:]) if given.startswith("-") else parse_span(given)
        except ValueError:
            pass
    raise _expected(where, kind, given, ' such as "1h30m"')


def _timestamp(given: object, kind: Node, where: str) -> Value:
    moment: datetime | None = None
    if isinstance(given, datetime):
        moment = given
    elif isinstance(given, str) and (found := _MOMENT.match(given)):
        # Not `fromisoformat`, which takes more in some versions of Python than in others.
        year, month, day, hour, minute, second, fraction, zone = found.groups()
        parts = [int(part or 0) for part in (year, month, day, hour, minute, second)]
        micros = int((fraction or "").ljust(6, "0")[:6])
        try:
            moment = datetime(*parts, micros, tzinfo=_zone(zone))  # type: ignore[arg-type, misc]
        except ValueError:
            moment = None
    if moment is None or moment.tzinfo is None:
        raise _expected(where, kind, given, ' with a zone, such as "2026-05-01T12:00:00Z"')
    try:
        moment = moment.astimezone(UTC)
    except (OverflowError, ValueError):
        raise _expected(where, kind, given, " of the years 1 to 9999") from None
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _zone(zone: str) -> timezone:
    if zone in ("Z", "z"):
        return UTC
    span = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return timezone(-span if zone[0] == "-" else span)


def _nothing(given: object, kind: Node, where: str) -> Value:
    if given is None:
        return None
    raise _expected(where, kind, given)


_SIMPLE: Final[dict[str, Callable[[object, Node, str], Value]]] = {
    "bool": _bool,
    "string": _string,
    "bytes": _bytes,
    "int": _int,
    "decimal": _decimal,
    "duration": _duration,
    "timestamp": _timestamp,
    "none": _nothing,
    "never": _nothing,
}
_JSON: Final[tuple[tuple[str, type], ...]] = (
    ("int", int),
    ("string", str),
    ("decimal", Decimal),
    ("duration", timedelta),
    ("timestamp", datetime),
)


def show(kind: Node) -> str:
    """Return a type of the IR as it is written in the language."""
    match kind:
        case ["optional", inner]:
            return f"{show(inner)}?"
        case ["list", inner]:
            return f"list<{show(inner)}>"
        case ["map", inner]:
            return f"map<string, {show(inner)}>"
        case ["money", currency]:
            return f"money<{currency}>" if currency else "money"
        case [_, name]:
            return str(name)
        case _:
            return str(kind[0])
