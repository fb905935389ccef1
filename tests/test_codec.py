"""Canonical bytes: the same for the same value, and nothing else comes in or out."""

from __future__ import annotations

import struct
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING

import msgpack
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
    unpack_trusted,
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
        ([object()], "is an object"),
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


@pytest.mark.parametrize(
    "data",
    [
        b"\xd6\xff\x00\x00\x00\x01",  # a timestamp of msgpack's own, in each of its three sizes
        b"\xd7\xff" + bytes(8),
        b"\xc7\x0c\xff" + bytes(12),
        b"\xcb\x7f\xf8" + bytes(6),  # a float that is no number, infinite, of 4 bytes
        b"\xcb\x7f\xf0" + bytes(6),
        b"\xca\x3f\x80\x00\x00",
        b"\xcf\x80" + bytes(7),  # 2**63
        b"\xcc\x01",  # an integer in a longer form, with and without a sign
        b"\xd0\x01",
        b"\xcd\x00\xff",
        b"\xd9\x01a",  # a text, bytes, a list and a map whose length takes more bytes than it must
        b"\xc5\x00\x01a",
        b"\xdc\x00\x01\x01",
        b"\xde\x00\x01\xa1a\x01",
        b"\x82\xa1a\x01\xa1a\x02",  # a key twice, and out of order
        b"\x82\xa1b\x01\xa1a\x02",
        b"\x81\xc4\x01a\x01",  # a key that is no text
        b"\x91" * 65 + b"\x01",  # nested deeper than 64, in lists and in maps
        b"\x81\xa1a" * 65 + b"\x01",
        b"\xd5\x01 1",  # texts that are read as a decimal, and not written for one
        b"\xc7\x03\x011_0",
        b"\xd5\x01+1",
        b"\xc7\x23\x01" + b"1" * 35,
        b"\xc7\x05\x02EUR 1",
    ],
    ids=lambda data: data[:8].hex(),
)
def test_another_form_of_a_value_is_refused(data: bytes) -> None:
    """Bytes that mean something, but that `pack` does not write, are no stored value."""
    with pytest.raises(CorruptionError):
        unpack(data)


def loosely(value: object, chance: Random) -> bytes:
    """Return bytes that msgpack reads as ``value``, in any of the forms that it allows."""
    longer = chance.random() < 0.1
    match value:
        case bool() | None:
            return bytes(msgpack.packb(value))
        case int() if longer and value >= 0:
            return b"\xcf" + value.to_bytes(8, "big")
        case float() if longer:
            return b"\xca" + struct.pack(">f", value)
        case str() if longer:
            data = value.encode()
            return b"\xdb" + len(data).to_bytes(4, "big") + data
        case list():
            head = b"\xdd" + len(value).to_bytes(4, "big") if longer else bytes([0x90 + len(value)])
            return head + b"".join(loosely(each, chance) for each in value)
        case dict():
            pairs = list(value.items())
            if chance.random() < 0.3:
                chance.shuffle(pairs)
            if pairs and len(pairs) < 15 and longer:
                pairs.append(pairs[0])
            body = b"".join(loosely(k, chance) + loosely(v, chance) for k, v in pairs)
            return bytes([0x80 + len(pairs)]) + body
        case _:
            return bytes(msgpack.packb(value))


def anything(chance: Random, depth: int = 0) -> object:
    """Return a value that msgpack can hold, some of which no history can."""
    match chance.randrange(12 if depth < 4 else 9):
        case 0:
            return chance.choice([None, True, False])
        case 1 | 2:
            return chance.choice([0, 127, 128, 255, 256, INT_MAX, INT_MAX + 1, INT_MIN, -1, -33])
        case 3 | 4:
            return chance.choice(["", "a", "é", "x" * 31, "x" * 32, "\x82\x83"])
        case 5:
            return chance.choice([b"", b"\x82", b"\xcf" * 9])
        case 6:
            return chance.choice([0.5, -0.0, float("nan"), float("inf")])
        case 7:
            code, text = chance.choice([(1, b"1.50"), (1, b"01"), (2, b"EUR1"), (2, b"EUR1E+2")])
            return msgpack.ExtType(code, text)
        case 8:
            if chance.random() < 0.3:
                return msgpack.Timestamp(chance.randrange(2**40), chance.randrange(10**9))
            return msgpack.ExtType(chance.choice([3, 4]), bytes(4) + chance.randbytes(4))
        case 9 | 10:
            return [anything(chance, depth + 1) for _ in range(chance.randrange(5))]
        case _:
            keys = chance.sample(["a", "b", "c", "ä", "zz"], chance.randrange(5))
            inner = {key: anything(chance, depth + 1) for key in sorted(keys)}
            nest = chance.choice([0, 0, 0, 60, 66])
            return _nested_in(inner, nest)


def _nested_in(value: object, depth: int) -> object:
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("seed", range(20))
def test_bytes_are_read_if_and_only_if_pack_would_write_them(seed: int) -> None:
    """For anything that msgpack reads: `unpack` takes it exactly if packing it gives those bytes."""
    chance, taken = Random(seed), Counter[bool]()
    for _ in range(500):
        data = loosely(anything(chance), chance)
        if chance.random() < 0.2 and data:
            at = chance.randrange(len(data))
            data = data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
        try:
            value = unpack_trusted(data)
            written = pack(value, floats=True)
        except (CorruptionError, InvalidInput):
            written = b""
        if written == data:
            assert type(unpack(data)) is type(value)
            assert pack(unpack(data), floats=True) == data
        else:
            with pytest.raises(CorruptionError):
                unpack(data)
        taken[written == data] += 1
    assert min(taken[True], taken[False]) > 50


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
