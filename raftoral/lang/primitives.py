"""What the evaluator can do with values: every operator and built-in by the name that the IR uses.

All pure and exact, all total or failing with a named error, equal on every node: no float, no
locale, no table that differs between Python versions (`lower` and `upper` change ASCII letters
only). The names are frozen by `ir.IR_VERSION`.
"""

from __future__ import annotations

import base64
import decimal
import json
import operator
import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from raftoral.errors import InvalidInput, LimitExceeded, WorkflowFailed
from raftoral.values import EXACT, INT_MAX, INT_MIN, Money, format_span, millis_of, span_of

if TYPE_CHECKING:
    from collections.abc import Callable

STRING_MAX: Final = 256 * 1024
ITEMS_MAX: Final = 100_000
PARTS_MAX: Final = 256 * 1024
DEPTH_MAX: Final = 64

# ISO 4217: currencies that have no minor unit, and those with a thousandth; all others have cents.
_NO_MINOR: Final = frozenset(
    [
        "BIF",
        "CLP",
        "DJF",
        "GNF",
        "ISK",
        "JPY",
        "KMF",
        "KRW",
        "PYG",
        "RWF",
        "UGX",
        "UYI",
        "VND",
        "VUV",
        "XAF",
        "XOF",
        "XPF",
    ]
)
_THOUSANDTHS: Final = frozenset(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"])

_ASCII_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_ASCII_UPPER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")


# ------------------------------------------------------------------ failures and bounds
def _overflow(what: str) -> WorkflowFailed:
    return WorkflowFailed("Overflow", f"the result of {what} is out of range")


def _int(value: int) -> int:
    if INT_MIN <= value <= INT_MAX:
        return value
    raise _overflow("an integer operation")


def _string(value: str) -> str:
    if len(value) > STRING_MAX:
        raise WorkflowFailed("TooLarge", f"a text may have {STRING_MAX:,} characters")
    return value


def _list(value: list[Any]) -> list[Any]:
    if len(value) > ITEMS_MAX:
        raise WorkflowFailed("TooLarge", f"a list may have {ITEMS_MAX:,} items")
    return value


def _exact(operation: Callable[..., Decimal], *args: Any) -> Decimal:
    try:
        return operation(*args)
    except decimal.DivisionByZero:
        raise WorkflowFailed("DivisionByZero", "a number is divided by zero") from None
    except decimal.InvalidOperation:
        if operation == EXACT.divide:
            raise WorkflowFailed("DivisionByZero", "zero is divided by zero") from None
        raise _overflow("a decimal operation") from None
    except decimal.Overflow:
        raise _overflow("a decimal operation") from None


def _decimal(operation: Callable[..., Decimal]) -> Callable[[Any, Any], Decimal]:
    def run(a: Any, b: Any) -> Decimal:
        return _exact(operation, a, b)

    return run


def _span(millis: int) -> timedelta:
    try:
        return span_of(millis)
    except OverflowError:
        raise _overflow("a duration") from None


# ------------------------------------------------------------------ int
def _add_int(a: int, b: int) -> int:
    value = a + b
    if INT_MIN <= value <= INT_MAX:
        return value
    raise _overflow("an integer operation")


def _sub_int(a: int, b: int) -> int:
    return _int(a - b)


def _mul_int(a: int, b: int) -> int:
    return _int(a * b)


def _floordiv_int(a: int, b: int) -> int:
    if b == 0:
        raise WorkflowFailed("DivisionByZero", "a number is divided by zero")
    return _int(a // b)


def _mod_int(a: int, b: int) -> int:
    if b == 0:
        raise WorkflowFailed("DivisionByZero", "a number is divided by zero")
    return a % b


# ------------------------------------------------------------------ money
def _amounts(a: Money, b: Money) -> tuple[Decimal, Decimal]:
    if a.currency != b.currency:
        raise WorkflowFailed(
            "CurrencyMismatch", f"{a} and {b} are in different currencies; convert by an activity"
        )
    return a.amount, b.amount


def _add_money(a: Money, b: Money) -> Money:
    return Money(_exact(EXACT.add, *_amounts(a, b)), a.currency)


def _sub_money(a: Money, b: Money) -> Money:
    return Money(_exact(EXACT.subtract, *_amounts(a, b)), a.currency)


def _mul_money(a: Money, b: Any) -> Money:
    return Money(_exact(EXACT.multiply, a.amount, b), a.currency)


def _div_money(a: Money, b: Any) -> Money:
    return Money(_exact(EXACT.divide, a.amount, b), a.currency)


def _ratio_money(a: Money, b: Money) -> Decimal:
    return _exact(EXACT.divide, *_amounts(a, b))


def minor_digits(currency: str) -> int:
    """Return how many decimals the minor unit of a currency has."""
    return 0 if currency in _NO_MINOR else 3 if currency in _THOUSANDTHS else 2


def _round(number: Decimal, places: int) -> Decimal:
    if not 0 <= places <= EXACT.prec:
        raise WorkflowFailed("OutOfRange", f"rounding to {places} places")
    return _exact(EXACT.quantize, number, Decimal((0, (1,), -places)))


def _round_money(money: Money) -> Money:
    return Money(_round(money.amount, minor_digits(money.currency)), money.currency)


def _split_money(money: Money, parts: int) -> list[Money]:
    if not 1 <= parts <= ITEMS_MAX:
        raise WorkflowFailed("OutOfRange", f"an amount is split into 1 to {ITEMS_MAX:,} parts")
    exponent = min(int(money.amount.as_tuple().exponent), -minor_digits(money.currency))
    units = int(money.amount.scaleb(-exponent, EXACT))
    share, rest = divmod(abs(units), parts)
    sign = -1 if units < 0 else 1
    return [
        Money(Decimal(sign * (share + (n < rest))).scaleb(exponent, EXACT), money.currency)
        for n in range(parts)
    ]


# ------------------------------------------------------------------ time
def _add_duration(a: timedelta, b: timedelta) -> timedelta:
    try:
        return a + b
    except OverflowError:
        raise _overflow("a duration") from None


def _sub_duration(a: timedelta, b: timedelta) -> timedelta:
    return _add_duration(a, -b)


def _mul_duration(a: timedelta, b: int) -> timedelta:
    return _span(millis_of(a) * b)


def _div_duration(a: timedelta, b: int) -> timedelta:
    return _span(_floordiv_int(millis_of(a), b))


def _ratio_duration(a: timedelta, b: timedelta) -> int:
    return _floordiv_int(millis_of(a), millis_of(b))


def _shift(a: datetime, b: timedelta) -> datetime:
    try:
        return a + b
    except OverflowError:
        raise _overflow("a moment") from None


def _shift_back(a: datetime, b: timedelta) -> datetime:
    return _shift(a, -b)


# ------------------------------------------------------------------ comparison
def same(a: Any, b: Any) -> bool:
    """Tell whether two values are equal and of one kind: 1 is not true, 1.0 is not 1.

    Values are shared, so what looks small may be a huge tree: comparing it fails with ``TooLarge``.
    """
    if type(a) is not type(b):
        return False
    if type(a) is not list and type(a) is not dict:
        return bool(a == b)
    return _same_parts(a, b)


def _same_parts(a: Any, b: Any) -> bool:
    todo = [(a, b)]
    steps = 0
    while todo:
        x, y = todo.pop()
        steps += 1
        if steps > PARTS_MAX:
            raise WorkflowFailed("TooLarge", f"more than {PARTS_MAX:,} parts to be compared")
        if type(x) is not type(y):
            return False
        if type(x) is list:
            if len(x) != len(y):
                return False
            todo.extend(zip(x, y, strict=True))
        elif type(x) is dict:
            if x.keys() != y.keys():
                return False
            todo.extend((x[key], y[key]) for key in x)
        elif x != y:
            return False
    return True


def _different(a: Any, b: Any) -> bool:
    return not same(a, b)


def _compare_money(test: Callable[[Any, Any], bool]) -> Callable[[Money, Money], bool]:
    def run(a: Money, b: Money) -> bool:
        return test(*_amounts(a, b))

    return run


def _keys_of(items: list[Any]) -> Callable[[Any], Any] | None:
    """Return what to sort ``items`` by; amounts must be of one currency."""
    if items and type(items[0]) is Money:
        for item in items:
            _amounts(items[0], item)
        return operator.attrgetter("amount")
    return None


def _smallest(items: list[Any]) -> Any:
    if not items:
        raise WorkflowFailed("Empty", "min of an empty list")
    return min(items, key=_keys_of(items))


def _largest(items: list[Any]) -> Any:
    if not items:
        raise WorkflowFailed("Empty", "max of an empty list")
    return max(items, key=_keys_of(items))


def _sort(items: list[Any], descending: bool) -> list[Any]:
    return sorted(items, key=_keys_of(items), reverse=descending)


def _sort_by(items: list[Any], field: str, descending: bool) -> list[Any]:
    keys = [item[field] for item in items]
    inner = _keys_of(keys)
    if inner is not None:
        return sorted(items, key=lambda item: inner(item[field]), reverse=descending)
    return sorted(items, key=operator.itemgetter(field), reverse=descending)


# ------------------------------------------------------------------ lists and maps
def _sum_int(items: list[int]) -> int:
    return _int(sum(items))


def _sum_by(add: Callable[[Any, Any], Any]) -> Callable[[list[Any], Any], Any]:
    def run(items: list[Any], zero: Any) -> Any:
        if not items:
            if zero is None:
                raise WorkflowFailed("Empty", "the sum of no amounts has no currency")
            return zero
        total = items[0]
        for item in items[1:]:
            total = add(total, item)
        return total

    return run


def _range(start: int, end: int) -> list[int]:
    if end - start > ITEMS_MAX:
        raise WorkflowFailed("TooLarge", f"a range may have {ITEMS_MAX:,} numbers")
    return list(range(start, end))


def _at(items: list[Any], index: int) -> Any:
    if 0 <= index < len(items):
        return items[index]
    raise WorkflowFailed("OutOfRange", f"item {index} of a list of {len(items)}")


def _first(items: list[Any]) -> Any:
    return items[0] if items else None


def _last(items: list[Any]) -> Any:
    return items[-1] if items else None


def _in_list(item: Any, items: list[Any]) -> bool:
    return any(same(item, one) for one in items)


def _keys(value: dict[str, Any]) -> list[str]:
    return sorted(value)


def _values(value: dict[str, Any]) -> list[Any]:
    return [value[key] for key in sorted(value)]


def _merge(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    merged = a | b
    if len(merged) > ITEMS_MAX:
        raise WorkflowFailed("TooLarge", f"a map may have {ITEMS_MAX:,} keys")
    return merged


def _put(value: dict[str, Any], key: str, item: Any) -> dict[str, Any]:
    return _merge(value, {key: item})


def _distinct(items: list[Any]) -> list[Any]:
    kept: list[Any] = []
    seen: set[Any] = set()
    for item in items:
        token = _token(item)
        if token not in seen:
            seen.add(token)
            kept.append(item)
    return kept


def _token(value: Any) -> Any:
    """Return something hashable that is equal exactly where `same` says so."""
    if type(value) is list or type(value) is dict:
        return _digest(value)
    return (type(value), value)


def _digest(value: Any) -> str:
    """Return the sha256 of a value's canonical bytes, as hex digits; equal values have one."""
    from raftoral.codec import pack  # what only checks a program packs nothing

    try:
        return sha256(pack(_shortest(value, 0))).hexdigest()
    except (LimitExceeded, InvalidInput) as refused:
        raise WorkflowFailed("TooLarge", f"the value has no hash: {refused}") from None


def _shortest(value: Any, depth: int) -> Any:
    """Return an equal value whose decimals have no zeros at the end: 1.0 and 1.00 are one."""
    kind = type(value)
    if kind is Decimal:
        return value.normalize(EXACT)
    if kind is Money:
        return Money(value.amount.normalize(EXACT), value.currency)
    if kind is not list and kind is not dict:
        return value
    if depth >= DEPTH_MAX:
        raise WorkflowFailed("TooLarge", f"a value may be nested {DEPTH_MAX} levels deep")
    if kind is list:
        return [_shortest(item, depth + 1) for item in value]
    return {key: _shortest(item, depth + 1) for key, item in value.items()}


# ------------------------------------------------------------------ texts
def text(value: Any) -> str:
    """Return ``value`` as people read it, equal on every node."""
    if type(value) is str:
        return value
    return _string(_shown(value))


def _shown(value: Any, depth: int = 0) -> str:
    kind = type(value)
    if kind is list or kind is dict:
        if depth >= DEPTH_MAX:
            raise WorkflowFailed("TooLarge", f"a value may be nested {DEPTH_MAX} levels deep")
        if kind is list:
            return f"[{_joined(_shown(item, depth + 1) for item in value)}]"
        pairs = (f"{key}: {_shown(value[key], depth + 1)}" for key in sorted(value))
        return f"{{{_joined(pairs)}}}"
    if kind is bool:
        return "true" if value else "false"
    if value is None:
        return "none"
    if kind is Decimal:
        return format(value, "f")
    if kind is timedelta:
        return format_span(value)
    if kind is datetime:
        return _moment(value)
    if kind is bytes:
        return str(value.hex())
    return str(value)


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _case_text(value: Any) -> str:
    """Return a case of an enum as it is written: ``Approved(by: ann)``."""
    if type(value) is not list:
        return text(value)
    name, fields = value
    return _string(f"{name}({_joined(f'{key}: {_shown(fields[key], 1)}' for key in fields)})")


def _joined(parts: Any) -> str:
    """Return the parts with commas; gives up early where the text becomes too long."""
    kept: list[str] = []
    length = 0
    for part in parts:
        length += len(part) + 2
        if length > STRING_MAX + 2:
            raise WorkflowFailed("TooLarge", f"a text may have {STRING_MAX:,} characters")
        kept.append(part)
    return ", ".join(kept)


def _json_of(value: Any) -> str:
    """Return JSON: keys sorted, exact kinds as texts, which is how they are read back."""
    text = json.dumps(_jsonable(value, [0], 0), ensure_ascii=False, separators=(",", ":"))
    return _string(text)


def _jsonable(value: Any, count: list[int], depth: int) -> Any:
    count[0] += 1
    if count[0] > PARTS_MAX or depth > DEPTH_MAX:
        raise WorkflowFailed("TooLarge", "the value is too large or too deep for a text")
    kind = type(value)
    if kind is list:
        return [_jsonable(item, count, depth + 1) for item in value]
    if kind is dict:
        return {key: _jsonable(value[key], count, depth + 1) for key in sorted(value)}
    if kind is bytes:
        return base64.b64encode(value).decode()
    return value if kind in (str, int, bool, type(None)) else _shown(value)


# ------------------------------------------------------------------ from one kind to another
_NUMBER = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?\Z", re.ASCII)
_BLANKS: Final = " \t\r\n"


def _number(value: str) -> Decimal | None:
    """Return the decimal that a text spells; None if it spells none of 34 digits."""
    if not _NUMBER.match(value):
        return None
    number = Decimal(value)
    return number if len(number.as_tuple().digits) <= EXACT.prec else None


def _whole(number: Decimal | int) -> int:
    """Return the nearest int, half to even."""
    if isinstance(number, int):
        return number
    return _int(int(number.to_integral_value(ROUND_HALF_EVEN, EXACT)))


def _date_part(moment: datetime, part: str) -> int:
    moment = moment.astimezone(UTC)
    match part:
        case "year" | "month" | "day" | "hour" | "minute" | "second":
            return int(getattr(moment, part))
        case "weekday":
            return moment.isoweekday()
        case "yearday":
            return moment.timetuple().tm_yday
        case _:
            raise WorkflowFailed("OutOfRange", f"a date has no {part!r:.40}")


def _count(items: list[bool]) -> int:
    return sum(items)


# ------------------------------------------------------------------ texts
def _concat(*parts: str) -> str:
    return _string("".join(parts))


def _join(items: list[str], between: str) -> str:
    if sum(map(len, items)) + len(items) * len(between) > STRING_MAX + len(between):
        raise WorkflowFailed("TooLarge", f"a text may have {STRING_MAX:,} characters")
    return _string(between.join(items))


def _replace(value: str, old: str, new: str) -> str:
    if not old:
        raise WorkflowFailed("OutOfRange", "an empty text cannot be replaced")
    if len(new) > len(old) and len(value) + value.count(old) * (len(new) - len(old)) > STRING_MAX:
        raise WorkflowFailed("TooLarge", f"a text may have {STRING_MAX:,} characters")
    return _string(value.replace(old, new))


def _split(value: str, between: str) -> list[str]:
    if not between:
        raise WorkflowFailed("OutOfRange", "a text cannot be split at an empty text")
    return _list(value.split(between))


def _concat_list(a: list[Any], b: list[Any]) -> list[Any]:
    return _list(a + b)


PRIMITIVES: Final[dict[str, tuple[int, Callable[..., Any]]]] = {
    "add.int": (2, _add_int),
    "sub.int": (2, _sub_int),
    "mul.int": (2, _mul_int),
    "floordiv.int": (2, _floordiv_int),
    "mod.int": (2, _mod_int),
    "neg.int": (1, lambda a: _int(-a)),
    "abs.int": (1, lambda a: _int(abs(a))),
    "add.decimal": (2, _decimal(EXACT.add)),
    "sub.decimal": (2, _decimal(EXACT.subtract)),
    "mul.decimal": (2, _decimal(EXACT.multiply)),
    "div.decimal": (2, _decimal(EXACT.divide)),
    "neg.decimal": (1, lambda a: _exact(EXACT.minus, a)),
    "abs.decimal": (1, lambda a: _exact(EXACT.abs, a)),
    "round.decimal": (2, _round),
    "add.money": (2, _add_money),
    "sub.money": (2, _sub_money),
    "mul.money": (2, _mul_money),
    "div.money": (2, _div_money),
    "ratio.money": (2, _ratio_money),
    "neg.money": (1, lambda a: Money(_exact(EXACT.minus, a.amount), a.currency)),
    "abs.money": (1, lambda a: Money(_exact(EXACT.abs, a.amount), a.currency)),
    "round.money": (1, _round_money),
    "split.money": (2, _split_money),
    "add.duration": (2, _add_duration),
    "sub.duration": (2, _sub_duration),
    "mul.duration": (2, _mul_duration),
    "div.duration": (2, _div_duration),
    "ratio.duration": (2, _ratio_duration),
    "neg.duration": (1, operator.neg),
    "abs.duration": (1, abs),
    "shift.timestamp": (2, _shift),
    "back.timestamp": (2, _shift_back),
    "since.timestamp": (2, operator.sub),
    "eq": (2, same),
    "ne": (2, _different),
    "eq.plain": (2, operator.eq),
    "ne.plain": (2, operator.ne),
    "lt": (2, operator.lt),
    "le": (2, operator.le),
    "gt": (2, operator.gt),
    "ge": (2, operator.ge),
    "lt.money": (2, _compare_money(operator.lt)),
    "le.money": (2, _compare_money(operator.le)),
    "gt.money": (2, _compare_money(operator.gt)),
    "ge.money": (2, _compare_money(operator.ge)),
    "in.list": (2, _in_list),
    "in.map": (2, lambda key, value: key in value),
    "in.string": (2, lambda part, value: part in value),
    "at.list": (2, _at),
    "at.map": (2, lambda value, key: value.get(key)),
    "len": (1, len),
    "sum.int": (1, _sum_int),
    "sum.decimal": (2, _sum_by(_decimal(EXACT.add))),
    "sum.money": (2, _sum_by(_add_money)),
    "sum.duration": (2, _sum_by(_add_duration)),
    "min": (1, _smallest),
    "max": (1, _largest),
    "range": (2, _range),
    "text": (1, text),
    "text.case": (1, _case_text),
    "number": (1, _number),
    "whole": (1, _whole),
    "trim": (1, lambda value: value.strip(_BLANKS)),
    "hash": (1, _digest),
    "json": (1, _json_of),
    "date_part": (2, _date_part),
    "count": (1, _count),
    "concat": (-1, _concat),
    "concat.list": (2, _concat_list),
    "sort": (2, _sort),
    "sort.by": (3, _sort_by),
    "keys": (1, _keys),
    "values": (1, _values),
    "join": (2, _join),
    "lower": (1, lambda a: a.translate(_ASCII_LOWER)),
    "upper": (1, lambda a: a.translate(_ASCII_UPPER)),
    "starts": (2, lambda value, part: value.startswith(part)),
    "replace": (3, _replace),
    "split": (2, _split),
    "first": (1, _first),
    "last": (1, _last),
    "reverse": (1, lambda items: items[::-1]),
    "any": (1, any),
    "all": (1, all),
    "merge": (2, _merge),
    "put": (3, _put),
    "distinct": (1, _distinct),
}
"""Name to number of arguments (-1: any) and function."""

BULK: Final = frozenset(
    {
        "eq", "ne", "eq.plain", "ne.plain", "lt", "le", "gt", "ge", "starts", "in.list", "in.string", "sum.int", "sum.decimal",
        "sum.money", "sum.duration", "min", "max", "range", "text", "concat", "concat.list",
        "sort", "sort.by", "keys", "values", "join", "lower", "upper", "replace", "split",
        "split.money", "text.case", "trim", "hash", "json", "count", "reverse", "any", "all", "merge", "put", "distinct",
    }
)  # fmt: skip
"""What takes longer for larger values; it costs fuel by the size of its arguments and result."""
