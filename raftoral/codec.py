"""The only msgpack: canonical bytes for whatever is stored, hashed or sent.

Owns the mapping of values to bytes. The rule it keeps: equal values give equal bytes on every node
and every Python build (map keys sorted, integers shortest, no float, extension types 1-4 for exact
kinds). Reading is bounded before and while it parses. Source: the msgpack specification.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, cast

import msgpack

from raftoral.errors import CorruptionError, InvalidInput, LimitExceeded
from raftoral.values import (
    EPOCH,
    EXACT,
    INT_MAX,
    INT_MIN,
    Money,
    Value,
    instant_of,
    millis_of,
    millis_since_epoch,
    span_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

VALUE_BYTES_MAX: Final = 256 * 1024
DEPTH_MAX: Final = 64
ITEMS_MAX: Final = 100_000

_DECIMAL, _MONEY, _DURATION, _TIMESTAMP = 1, 2, 3, 4
_PLAIN = (bool, int, str, bytes)


# ------------------------------------------------------------------ values
def pack(value: object, *, floats: bool = False, bytes_max: int = VALUE_BYTES_MAX) -> bytes:
    """Return the canonical bytes of a value; ``floats`` allows finite floats in it.

    Raises `InvalidInput` for what no history can hold (a float, a set, an int beyond 64 bit, a
    map whose keys are not text, nesting beyond 64), naming the place, and `LimitExceeded` above
    256 KiB.
    """
    data = cast(bytes, msgpack.packb(_canonical(value, "", 0, floats)))
    if len(data) > bytes_max:
        raise LimitExceeded(
            f"the value takes {len(data):,} bytes; a stored value may take {bytes_max:,}. "
            "Store it elsewhere and keep a reference to it in the workflow"
        )
    return data


def unpack(data: bytes) -> Value:
    """Return the value of canonical bytes; `CorruptionError` if they are none."""
    try:
        value = msgpack.unpackb(
            data,
            ext_hook=_from_ext,
            strict_map_key=True,
            max_array_len=ITEMS_MAX,
            max_map_len=ITEMS_MAX,
        )
    except (ValueError, InvalidOperation, OverflowError, msgpack.UnpackException) as error:
        raise CorruptionError(f"these bytes hold no stored value: {error}") from None
    return cast(Value, value)


def _canonical(value: object, where: str, depth: int, floats: bool) -> object:
    """Return ``value`` in the form that packs canonically, or refuse it."""
    kind = type(value)
    if value is None or kind is str or kind is bool or kind is bytes:
        return value
    if kind is int:
        if not INT_MIN <= cast(int, value) <= INT_MAX:
            raise InvalidInput(f"{_at(where)} is an integer beyond 64 bit")
        return value
    if depth >= DEPTH_MAX:
        raise InvalidInput(f"{_at(where)} is nested deeper than {DEPTH_MAX} levels")
    if kind is dict:
        items = cast("dict[object, object]", value)
        for key in items:
            if type(key) is not str:
                raise InvalidInput(f"{_at(where)} has a map key that is no text: {key!r:.40}")
        named = cast("dict[str, object]", items)
        return {
            key: _canonical(named[key], f"{where}.{key}", depth + 1, floats)
            for key in sorted(named)
        }
    if kind is list or kind is tuple:
        elements = cast("Sequence[object]", value)
        return [
            _canonical(item, f"{where}[{n}]", depth + 1, floats) for n, item in enumerate(elements)
        ]
    if floats and kind is float and isfinite(cast(float, value)):
        return value
    return _to_ext(value, where)


def _to_ext(value: object, where: str) -> msgpack.ExtType:
    if isinstance(value, Decimal):
        return msgpack.ExtType(_DECIMAL, _decimal_text(value, where).encode())
    if isinstance(value, Money):
        text = f"{value.currency}{_decimal_text(value.amount, where)}"
        return msgpack.ExtType(_MONEY, text.encode())
    if isinstance(value, timedelta):
        return msgpack.ExtType(_DURATION, _int_bytes(millis_of(value), where))
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InvalidInput(f"{_at(where)} is a time without a zone; use datetime.now(UTC)")
        return msgpack.ExtType(_TIMESTAMP, _int_bytes(millis_since_epoch(value), where))
    if isinstance(value, float):
        raise InvalidInput(
            f"{_at(where)} is a float, which is not exact on every node; use Decimal or int"
        )
    raise InvalidInput(
        f"{_at(where)} is a {type(value).__name__}; a workflow stores None, bool, int, str, bytes, "
        "Decimal, Money, timedelta, datetime, lists and maps of them"
    )


def _decimal_text(number: Decimal, where: str) -> str:
    if not number.is_finite():
        raise InvalidInput(f"{_at(where)} is {number}, which is no number to store")
    if len(number.as_tuple().digits) > EXACT.prec:
        raise InvalidInput(f"{_at(where)} has more than {EXACT.prec} significant digits")
    return str(number)


def _int_bytes(number: int, where: str) -> bytes:
    if not INT_MIN <= number <= INT_MAX:
        raise InvalidInput(f"{_at(where)} is out of range")
    return number.to_bytes(8, "big", signed=True)


def _from_ext(code: int, data: bytes) -> Value:
    if code == _DECIMAL:
        return _finite(data.decode("ascii"))
    if code == _MONEY:
        text = data.decode("ascii")
        return Money(_finite(text[3:]), text[:3])
    if len(data) != 8:
        raise ValueError(f"extension {code} of {len(data)} bytes")
    if code == _DURATION:
        return span_of(int.from_bytes(data, "big", signed=True))
    if code == _TIMESTAMP:
        return instant_of(int.from_bytes(data, "big", signed=True))
    raise ValueError(f"unknown extension {code}")


def _finite(text: str) -> Decimal:
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError("not a finite decimal")
    return number


def _at(where: str) -> str:
    return f"`{where.lstrip('.')}`" if where else "the value"


assert EPOCH.tzinfo is UTC


# ------------------------------------------------------------------ records of our own
def pack_record(record: Sequence[Any]) -> bytes:
    """Return the bytes of one of the library's own records: a list of ints, texts and bytes.

    No check and no sorting: records are written by this library only, hold no maps and are equal
    where their fields are.
    """
    return cast(bytes, msgpack.packb(record))


def unpack_record(data: bytes | memoryview) -> list[Any]:
    """Return the list that `pack_record` wrote; `CorruptionError` if ``data`` holds none.

    Bounded by the length of ``data`` itself: no array, map or text may claim more than is there.
    """
    try:
        record = msgpack.unpackb(
            data, max_array_len=ITEMS_MAX, max_map_len=0, max_ext_len=0, strict_map_key=True
        )
    except (ValueError, msgpack.UnpackException) as error:
        raise CorruptionError(f"these bytes hold no record: {error}") from None
    if type(record) is not list:
        raise CorruptionError(f"a record is a list, not {type(record).__name__}")
    return record
