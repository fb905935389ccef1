"""Values and their canonical bytes."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from raftoral.codec import ITEMS_MAX, pack, pack_record, unpack, unpack_record
from raftoral.errors import CorruptionError, InvalidInput, LimitExceeded
from raftoral.values import (
    EPOCH,
    INT_MAX,
    INT_MIN,
    Money,
    format_span,
    instant_of,
    millis_of,
    millis_since_epoch,
    parse_span,
    span_of,
)

EVERY: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    INT_MIN,
    INT_MAX,
    "",
    "text ✓",
    b"",
    b"\x00\xff",
    Decimal("0"),
    Decimal("-12.340"),
    Decimal("1E+20"),
    Money(Decimal("9.90"), "EUR"),
    timedelta(0),
    timedelta(milliseconds=-1),
    timedelta.max - timedelta(microseconds=999_999),
    EPOCH,
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
    [],
    [1, [2, [None]]],
    {},
    {"b": 1, "a": {"z": [], "y": b""}},
]


@pytest.mark.parametrize("value", EVERY, ids=repr)
def test_a_value_comes_back(value: Any) -> None:
    """What is packed is unpacked as an equal value of the same type."""
    again: Any = unpack(pack(value))
    assert again == value
    assert type(again) is type(value)


def test_equal_maps_are_equal_bytes() -> None:
    """The order in which a map was built does not show in its bytes."""
    chance = Random(5)
    keys = [f"k{n}" for n in range(50)]
    first = pack({key: {"x": 1, "y": 2} for key in keys})
    for _ in range(20):
        chance.shuffle(keys)
        assert pack({key: {"y": 2, "x": 1} for key in keys}) == first


def test_values_that_compare_equal_are_other_bytes() -> None:
    """True, 1, 1.0, Decimal 1 and Decimal 1.0 are five values."""
    every: list[Any] = [True, 1, 1.0, Decimal(1), Decimal("1.0")]
    assert len({pack(each, floats=True) for each in every}) == 5


def test_times_are_whole_milliseconds_in_utc() -> None:
    """A time of another zone is stored as its instant, and cut to milliseconds towards the past."""
    east = timezone(timedelta(hours=2))
    assert unpack(pack(datetime(2024, 1, 1, 2, tzinfo=east))) == datetime(2024, 1, 1, tzinfo=UTC)
    odd = datetime(2024, 1, 1, 0, 0, 0, 1_999, tzinfo=UTC)
    assert unpack(pack(odd)) == datetime(2024, 1, 1, 0, 0, 0, 1_000, tzinfo=UTC)
    assert unpack(pack(timedelta(microseconds=-1))) == timedelta(milliseconds=-1)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({1, 2}, "the value is a set"),
        (1.5, "the value is a float"),
        (object(), "the value is an object"),
        (2**63, "beyond 64 bit"),
        ({"a": [1, 2.5]}, "`a[1]` is a float"),
        ({"a": {"b": {3}}}, "`a.b` is a set"),
        ([[{"x": 2**64}]], "`[0][0].x` is an integer"),
        ({1: 2}, "a map key that is no text: 1"),
        (datetime(2024, 1, 1), "without a zone"),  # noqa: DTZ001
        (Decimal("NaN"), "no number"),
        (Decimal("Infinity"), "no number"),
        (Decimal("1." + "3" * 34), "significant digits"),
        ("\ud800", "half a character"),
        ({"\ud800": 1}, "half a character"),
        ([0] * (ITEMS_MAX + 1), "100,001 items"),
    ],
)
def test_what_no_history_can_hold_is_refused_by_its_place(value: Any, text: str) -> None:
    """Each refusal names where in the value it is, and what is wrong there."""
    with pytest.raises(InvalidInput) as caught:
        pack(value)
    assert text in str(caught.value)


def test_nesting_and_size_are_bounded() -> None:
    """64 levels and 256 KiB go in; more are refused, also when a list holds itself."""
    deep: Any = None
    for _ in range(64):
        deep = [deep]
    assert unpack(pack(deep)) == deep
    with pytest.raises(InvalidInput, match="nested deeper"):
        pack([deep])
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InvalidInput, match="nested deeper"):
        pack(loop)
    with pytest.raises(LimitExceeded, match="may take 262,144"):
        pack("x" * 262_144)


def test_floats_only_where_they_are_allowed() -> None:
    """With ``floats`` a finite float goes in as its eight bytes; the others never do."""
    assert unpack(pack([0.1, -0.0], floats=True)) == [0.1, -0.0]
    for bad in (float("nan"), float("inf")):
        with pytest.raises(InvalidInput):
            pack(bad, floats=True)


def test_any_bytes_are_a_value_or_damage() -> None:
    """Random and damaged bytes end as a value or as `CorruptionError`, nothing else."""
    chance = Random(11)
    good = [pack(value) for value in EVERY] + [pack_record(["a", 1, [b"x"]])]
    for _ in range(20_000):
        data = bytearray(chance.choice(good) if chance.random() < 0.7 else chance.randbytes(20))
        for _ in range(chance.randrange(3)):
            if data:
                data[chance.randrange(len(data))] = chance.randrange(256)
        for read in (unpack, unpack_record):
            with suppress(CorruptionError):
                read(bytes(data[: chance.randrange(len(data) + 1)]))


def test_a_small_frame_cannot_claim_much() -> None:
    """Sizes in the bytes are checked against the bytes: a header alone allocates nothing."""
    for header in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"):
        with pytest.raises(CorruptionError):
            unpack(header)
        with pytest.raises(CorruptionError):
            unpack_record(b"\x91" + header)
    with pytest.raises(CorruptionError):
        unpack(b"\x91" * 5_000)


# ------------------------------------------------------------------ spans and money
@pytest.mark.parametrize(
    ("text", "millis"),
    [("0s", 0), ("250ms", 250), ("1h30m", 5_400_000), ("7d", 604_800_000), ("1w", 604_800_000)],
)
def test_spans_are_read(text: str, millis: int) -> None:
    """A span is what its text says."""
    assert millis_of(parse_span(text)) == millis


@pytest.mark.parametrize(
    "text", ["", "5", "h", "1y", "-1s", "1 s", "1.5h", "١s", "99999999999999d", "1s\n"]
)
def test_other_texts_are_no_span(text: str) -> None:
    """Anything else is refused, in words."""
    with pytest.raises(ValueError, match="duration"):
        parse_span(text)


def test_spans_are_written_as_they_are_read() -> None:
    """Formatting and parsing are inverse, and a negative span shows its sign."""
    chance = Random(2)
    for _ in range(500):
        span = span_of(chance.randrange(10**10))
        assert parse_span(format_span(span)) == span
    assert format_span(timedelta(seconds=-90)) == "-1m30s"


def test_instants_are_counted_from_1970() -> None:
    """Milliseconds and instants are inverse, before 1970 too."""
    for millis in (0, 1, -1, 1_700_000_000_123):
        assert millis_since_epoch(instant_of(millis)) == millis


@pytest.mark.parametrize(
    ("amount", "currency"), [("1", "eur"), ("1", "EURO"), ("NaN", "EUR"), ("1", "")]
)
def test_money_is_finite_and_has_a_currency(amount: str, currency: str) -> None:
    """No amount without a number, no currency but three capitals."""
    with pytest.raises(ValueError, match=r"currency|finite"):
        Money(Decimal(amount), currency)
    assert str(Money(Decimal("1E+2"), "EUR")) == "100EUR"
