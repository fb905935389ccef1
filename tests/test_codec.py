"""Canonical bytes: the same for the same value, and nothing else comes in or out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftoral.codec import (
    DEPTH_MAX,
    ITEMS_MAX,
    VALUE_BYTES_MAX,
    pack,
    pack_record,
    unpack,
    unpack_record,
)
from raftoral.errors import CorruptionError, InvalidInput, LimitExceeded
from raftoral.values import INT_MAX, INT_MIN, Money, Value

if TYPE_CHECKING:
    from collections.abc import Callable

MILLIS_OF_A_CENTURY = 100 * 365 * 86_400_000
decimals = st.decimals(
    allow_nan=False, allow_infinity=False, places=3, min_value=-(10**20), max_value=10**20
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(INT_MIN, INT_MAX),
    st.text(max_size=20),
    st.binary(max_size=20),
    decimals,
    st.builds(Money, decimals, st.sampled_from(["EUR", "JPY"])),
    st.integers(-MILLIS_OF_A_CENTURY, MILLIS_OF_A_CENTURY).map(lambda n: timedelta(milliseconds=n)),
    st.integers(0, MILLIS_OF_A_CENTURY).map(
        lambda n: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=n)
    ),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(values)
def test_a_value_comes_back_as_it_was(value: Value) -> None:
    """Reading the bytes of any storable value gives that value, of the same type."""
    back = unpack(pack(value))
    assert back == value
    assert type(back) is type(value)
    assert pack(back) == pack(value)


@given(st.dictionaries(st.text(max_size=5), scalars, max_size=8))
def test_the_order_of_a_map_does_not_matter(value: dict[str, Value]) -> None:
    """Two maps of the same pairs have the same bytes however they were made."""
    assert pack(dict(reversed(value.items()))) == pack(value)


def test_bytes_do_not_change_between_versions() -> None:
    """The bytes of one value of each kind, written out: every node, for ever, agrees on them."""
    value = {
        "z": None,
        "a": [True, -1, 300, "é", b"\x00"],
        "d": Decimal("1.50"),
        "m": Money(Decimal(12), "EUR"),
        "s": timedelta(seconds=1),
        "t": datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC),
    }
    assert pack(value).hex(" ") == (
        "86 a1 61 95 c3 ff cd 01 2c a2 c3 a9 c4 01 00"
        " a1 64 d6 01 31 2e 35 30"
        " a1 6d c7 05 02 45 55 52 31 32"
        " a1 73 d7 03 00 00 00 00 00 00 03 e8"
        " a1 74 d7 04 00 00 00 00 00 00 07 d0"
        " a1 7a c0"
    )


def test_a_time_is_stored_without_its_zone() -> None:
    """The same instant in two zones has the same bytes and comes back as UTC."""
    paris = datetime(2026, 3, 1, 13, tzinfo=timezone(timedelta(hours=1)))
    utc = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert pack(paris) == pack(utc)
    assert unpack(pack(paris)) == utc


def nested(depth: int) -> list[object]:
    """Return lists in lists, ``depth`` of them."""
    value: list[object] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.5, "the value is a float"),
        ({"a": [1, {"b": 0.5}]}, r"`a\[1\]\.b` is a float"),
        ({"a": {1, 2}}, "`a` is a set"),
        ([object()], "is a object"),
        ({1: 2}, "a map key that is no text: 1"),
        (INT_MAX + 1, "beyond 64 bit"),
        (INT_MIN - 1, "beyond 64 bit"),
        (Decimal("NaN"), "no number to store"),
        (Decimal("Infinity"), "no number to store"),
        (Decimal("1" * 35), "more than 34 significant digits"),
        (datetime(2026, 1, 1), "a time without a zone"),  # noqa: DTZ001  # that is the point
        (nested(DEPTH_MAX + 1), "nested deeper than 64"),
        ([None] * (ITEMS_MAX + 1), "100,001 items"),
        ("\ud800", "half a character"),
    ],
)
def test_what_no_history_can_hold_is_refused_by_its_place(value: object, message: str) -> None:
    """A value without canonical bytes is refused, and the message says what and where."""
    with pytest.raises(InvalidInput, match=message):
        pack(value)


def test_the_bounds_themselves_are_stored() -> None:
    """The deepest nesting and the largest integers still come back."""
    for value in (nested(DEPTH_MAX), INT_MAX, INT_MIN):
        assert unpack(pack(value)) == value


def test_a_float_is_stored_where_it_is_allowed() -> None:
    """With ``floats`` a finite float keeps its 8 bytes; a NaN never does."""
    assert unpack(pack([0.1, -0.0], floats=True)) == [0.1, -0.0]
    with pytest.raises(InvalidInput):
        pack(float("nan"), floats=True)


def test_a_value_has_a_bound_in_bytes() -> None:
    """A value of 256 KiB is the largest; the message names both sizes."""
    pack(b"x" * (VALUE_BYTES_MAX - 5))
    with pytest.raises(LimitExceeded, match=r"262,149 bytes; a stored value may take 262,144"):
        pack(b"x" * VALUE_BYTES_MAX)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x01\x01",
        b"\xa1\xff",
        b"\x81\x01\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 2000 + b"\x01",
        b"\xd4\x07\x00",
        b"\xd6\x03\x00\x00\x00\x00",
        b"\xd6\x01sNaN",
        b"\xc7\x06\x02EURNaN",
        b"\xc7\x04\x02eur1",
        b"\xd7\x04\x40\x00\x00\x00\x00\x00\x00\x00",
    ],
)
@pytest.mark.parametrize("read", [unpack, unpack_record])
def test_bytes_that_hold_nothing_are_corruption(
    read: Callable[[bytes], object], data: bytes
) -> None:
    """Bytes that no `pack` wrote are a `CorruptionError`, whatever is wrong with them."""
    with pytest.raises(CorruptionError):
        read(data)


@given(st.binary(max_size=60))
def test_random_bytes_never_raise_anything_else(data: bytes) -> None:
    """Reading garbage gives a value or a `CorruptionError`."""
    for read in (unpack, unpack_record):
        try:
            read(data)
        except CorruptionError:
            continue


def test_a_record_is_a_list_without_maps() -> None:
    """Records come back as lists; a map, an extension or a bare value is none."""
    assert unpack_record(pack_record([1, "a", b"b", None, [2, -3]])) == [
        1,
        "a",
        b"b",
        None,
        [2, -3],
    ]
    assert unpack_record(memoryview(pack_record((7,)))) == [7]
    for value in ({"a": 1}, 5, [{"a": 1}], [Decimal(1)]):
        with pytest.raises(CorruptionError):
            unpack_record(pack(value))
