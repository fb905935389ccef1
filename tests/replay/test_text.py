from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum

import pytest

from raftoral.replay.history import Paused
from raftoral.replay.text import TEXT_MAX, short, text_of, visible
from raftoral.replay.wording import describe
from raftoral.values import Money


class Colour(Enum):
    """An enum of an application."""

    RED = "red"


@dataclass
class Item:
    """A dataclass of an application."""

    name: str
    price: Money


class Rude:
    """A class that refuses to be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (True, "True"),
        ("it's", '"it\'s"'),
        (Decimal("1.50"), "1.50"),
        (Money(Decimal(5), "EUR"), "5EUR"),
        (timedelta(minutes=90), "1h30m"),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00Z"),
        (Colour.RED, "Colour.RED"),
        ({"a": [Decimal(1), (2,)]}, "{'a': [1, (2)]}"),
        (Item("lamp", Money(Decimal(5), "EUR")), "Item(name='lamp', price=5EUR)"),
        (Item, "<class 'tests.replay.test_text.Item'>"),
        (Rude(), "<Rude>"),
        (object(), "<object object>"),
    ],
)
def test_values_as_people_write_them(value: object, text: str) -> None:
    """Exact kinds are shown as they are written, the rest as Python shows it, without addresses."""
    assert text_of(value).replace(__name__, "tests.replay.test_text") == text


def test_no_value_is_too_deep_or_too_long() -> None:
    """A list that holds itself, one too deep and one too long have a text too."""
    knot: list[object] = [1]
    knot.append(knot)
    assert text_of(knot) == "[1, ...]"
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert text_of(deep) == "<list>"
    assert len(text_of("x" * 100_000)) < TEXT_MAX + 50
    assert short("x" * 100, 10) == "'xxxxxx..."


def test_what_is_not_seen_is_written_out() -> None:
    """Control characters and what turns letters around become escapes; letters of any script stay."""
    assert (
        visible("paid: 9,99 \N{EURO SIGN}, \u65e5\u672c")
        == "paid: 9,99 \N{EURO SIGN}, \u65e5\u672c"
    )
    assert visible("a\x1b[2Jb\u202ec\nd") == "a\\x1b[2Jb\\u202ec\\nd"
    assert visible("a\nb\x00", keep="\n") == "a\nb\\x00"
    assert describe(Paused("x\x1b[31m\ny")) == "Paused x\\x1b[31m\\ny"
