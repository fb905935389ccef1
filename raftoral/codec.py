"""The only msgpack: canonical bytes for whatever is stored, hashed or sent.

Owns the mapping of values to bytes. The rule it keeps: equal values give equal bytes on every node
and every Python build (map keys sorted, integers shortest, no float, extension types 1-4 for exact
kinds). Reading is bounded before and while it parses. Source: the msgpack specification.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, cast

import msgpack
import msgspec

from raftoral.errors import CorruptionError, InvalidInput, LimitExceeded
from raftoral.values import (
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
    from collections.abc import Callable, Sequence

VALUE_BYTES_MAX: Final = 256 * 1024
DEPTH_MAX: Final = 64
ITEMS_MAX: Final = 100_000

# One buffer for all: `packb` takes a new one of 256 KiB from the system each time. Packing calls no
# Python and so is never interrupted by another thread.
_pack: Final = msgpack.Packer().pack

_DECIMAL, _MONEY, _DURATION, _TIMESTAMP = 1, 2, 3, 4
_PLAIN: Final = frozenset({type(None), bool, str, bytes})


# ------------------------------------------------------------------ values
class _Unfit(Exception):
    """What cannot be stored, and where inside the value; never leaves this module."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.place: list[str | int] = []


def pack(
    value: object,
    *,
    floats: bool = False,
    bytes_max: int = VALUE_BYTES_MAX,
    names: Sequence[str] = (),
) -> bytes:
    """Return the canonical bytes of a value; ``floats`` allows finite floats in it.

    Raises `InvalidInput` for what no history can hold (a float, a set, an int beyond 64 bit, a
    map whose keys are not text, nesting beyond 64, more than 100,000 items in one list), naming the
    place, and `LimitExceeded` above 256 KiB. ``names`` are how the items of a list are called.
    """
    try:
        data = cast(bytes, _pack(_canonical(value, 0, floats)))
    except _Unfit as unfit:
        raise InvalidInput(f"{_at(unfit.place, names)} {unfit}") from None
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"a text holds {error.object[error.start]!a}, half a character"
        ) from None
    if len(data) > bytes_max:
        raise LimitExceeded(
            f"the value takes {len(data):,} bytes; a stored value may take {bytes_max:,}. "
            "Store it elsewhere and keep a reference to it in the workflow"
        )
    return data


def unpack(data: bytes) -> Value:
    """Return the value of canonical bytes; `CorruptionError` for any others.

    Exactly what `pack` writes is read, with finite floats: no map key twice or out of order, no
    number, length or kind in another form than the one that `pack` chooses, nothing nested deeper
    than 64. Callers bound ``data`` before.
    """
    value = unpack_trusted(data)
    if not _is_canonical(value, data):
        raise CorruptionError("these bytes hold no stored value: not in the canonical form")
    return value


def unpack_trusted(data: bytes) -> Value:
    """Return the value of bytes that `unpack` has taken before; `CorruptionError` for damage.

    For what is read again and again from where only checked bytes are kept. It tells bytes that
    hold nothing, and passes some over that `pack` would not write.
    """
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


def _is_canonical(value: Any, data: bytes) -> bool:
    """Tell whether ``data``, which was read as ``value``, is what `pack` makes of that."""
    try:
        if _MANY_FORMS.search(data) or (
            len(data) > DEPTH_MAX and len(data.translate(None, _NO_CONTAINER)) > DEPTH_MAX
        ):
            value = _canonical(value, 0, floats=True)
        # Without such bytes there is nothing to sort, and nothing that cannot be stored.
        return bool(msgpack.packb(value) == data)
    except (_Unfit, UnicodeEncodeError):
        return False


_MANY_FORMS: Final = re.compile(rb"[\x81-\x8f\xc7-\xcb\xcf\xd4-\xd8\xde\xdf]")
"""Any byte that can begin a map with a key, an extension, a float or an integer above 63 bit."""
_NO_CONTAINER: Final = bytes({*range(256)} - {*range(0x80, 0xA0), *range(0xDC, 0xE0)})
"""All bytes that cannot begin a list or a map."""


def _canonical(value: Any, depth: int, floats: bool) -> Any:
    """Return ``value`` in the form that packs canonically, or refuse it."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is int:
        if not INT_MIN <= value <= INT_MAX:
            raise _Unfit("is an integer beyond 64 bit")
        return value
    if kind is list or kind is tuple or kind is dict:
        if depth >= DEPTH_MAX:
            raise _Unfit(f"is nested deeper than {DEPTH_MAX} levels")
        if len(value) > ITEMS_MAX:
            raise _Unfit(f"has {len(value):,} items; one list or map may have {ITEMS_MAX:,}")
        inside = _canonical_map if kind is dict else _canonical_list
        return inside(value, depth + 1, floats)
    if floats and kind is float and isfinite(value):
        return value
    return _to_ext(value)


def _canonical_list(value: Sequence[Any], depth: int, floats: bool) -> list[Any]:
    items: list[Any] = []
    try:
        for item in value:
            kind = type(item)
            plain = kind in _PLAIN or (kind is int and INT_MIN <= item <= INT_MAX)
            items.append(item if plain else _canonical(item, depth, floats))
    except _Unfit as unfit:
        unfit.place.append(len(items))
        raise
    return items


def _canonical_map(value: dict[Any, Any], depth: int, floats: bool) -> dict[str, Any]:
    for key in value:
        if type(key) is not str:
            raise _Unfit(f"has a map key that is no text: {key!r:.40}")
    items: dict[str, Any] = {}
    key = ""
    try:
        for key in sorted(value):
            items[key] = _canonical(value[key], depth, floats)
    except _Unfit as unfit:
        unfit.place.append(key)
        raise
    return items


def _to_ext(value: object) -> msgpack.ExtType:
    if isinstance(value, Decimal):
        return msgpack.ExtType(_DECIMAL, _decimal_text(value).encode())
    if isinstance(value, Money):
        return msgpack.ExtType(_MONEY, f"{value.currency}{_decimal_text(value.amount)}".encode())
    if isinstance(value, timedelta):
        return msgpack.ExtType(_DURATION, millis_of(value).to_bytes(8, "big", signed=True))
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise _Unfit("is a time without a zone; use datetime.now(UTC)")
        millis = millis_since_epoch(value)
        return msgpack.ExtType(_TIMESTAMP, millis.to_bytes(8, "big", signed=True))
    if isinstance(value, float):
        raise _Unfit("is a float, which is not exact on every node; use Decimal or int")
    kind = type(value).__name__
    article = "an" if kind[0] in "AEIOUaeiou" else "a"
    raise _Unfit(
        f"is {article} {kind}; a workflow stores None, bool, int, str, bytes, "
        "Decimal, Money, timedelta, datetime, lists and maps of them"
    )


def _decimal_text(number: Decimal) -> str:
    if not number.is_finite():
        raise _Unfit(f"is {number}, which is no number to store")
    if len(number.as_tuple().digits) > EXACT.prec:
        raise _Unfit(f"has more than {EXACT.prec} significant digits")
    return str(number)


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


def _at(place: list[str | int], names: Sequence[str]) -> str:
    """Return how a message calls a place inside a value; it was noted from the inside out."""
    text = ""
    for depth, part in enumerate(reversed(place)):
        if depth == 0 and type(part) is int and part < len(names):
            part = names[part]
        text += f"[{part}]" if type(part) is int else f".{part}"
    return f"`{text.lstrip('.')}`" if text else "the value"


# ------------------------------------------------------------------ records of our own
pack_record: Final[Callable[[Sequence[Any]], bytes]] = msgspec.msgpack.Encoder().encode
"""Return the bytes of one of the library's own records: a list of ints, texts and bytes.

No check and no sorting: records are written by this library only, hold no maps and are equal where
their fields are. A named tuple is the list of its fields.
"""


UNREADABLE: Final = (msgspec.DecodeError, ValueError)
"""What a function of `record_reader` raises for bytes that hold no record of its type."""


def record_reader(kind: Any) -> Callable[[bytes | memoryview], Any]:
    """Return a function that reads records of one type: named tuples, or lists or tuples of some.

    The types of all fields are checked while it reads, and no length is believed that the bytes do
    not hold; it raises `UNREADABLE`. Bounds of numbers are for the caller to check.
    """
    return msgspec.msgpack.Decoder(kind).decode


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
