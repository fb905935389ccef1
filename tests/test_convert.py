"""Typed objects to plain values and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any, NamedTuple, NewType, TypedDict

import pytest

from raftoral.codec import pack, unpack
from raftoral.convert import (
    from_json,
    from_plain,
    mentions_float,
    relaxed,
    result_type,
    takes_float,
    to_json,
    to_plain,
)
from raftoral.errors import InvalidInput, UsageError
from raftoral.values import Money


class Colour(Enum):
    """A plain enum."""

    RED = "red"


class Level(IntEnum):
    """An enum of numbers."""

    LOW = 1


class Mode(StrEnum):
    """An enum of texts."""

    FAST = "fast"


class Point(NamedTuple):
    """A named tuple."""

    x: int
    y: int


class Parcel(TypedDict):
    """A typed map."""

    weight: Decimal
    colour: Colour


@dataclass(frozen=True)
class Item:
    """A dataclass of exact kinds."""

    price: Money
    ready: timedelta
    at: datetime
    colour: Colour = Colour.RED
    parts: tuple[Point, ...] = ()


@dataclass
class Tree:
    """A dataclass that holds itself."""

    name: str
    children: list[Tree] = field(default_factory=list)


class Model:
    """What a pydantic model looks like from outside."""

    def __init__(self, x: int) -> None:
        self.x = x

    def model_dump(self) -> dict[str, Any]:
        """Return the fields."""
        return {"x": self.x}

    @classmethod
    def model_validate(cls, value: Any) -> Model:
        """Check and make one."""
        if not isinstance(value, dict) or not isinstance(value.get("x"), int):
            raise ValueError("x must be an integer")  # noqa: TRY004 - as pydantic does
        return cls(value["x"])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and other.x == self.x

    __hash__ = None  # type: ignore[assignment]


ITEM = Item(Money(Decimal("1.20"), "EUR"), timedelta(hours=1), datetime(2024, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (ITEM, Item),
        (dataclasses.replace(ITEM, parts=(Point(1, 2),)), Item),
        ([ITEM, ITEM], list[Item]),
        ({"a": ITEM}, dict[str, Item]),
        (Colour.RED, Colour),
        (Level.LOW, Level),
        (Mode.FAST, Mode),
        (Point(1, 2), Point),
        ({"weight": Decimal("1.5"), "colour": Colour.RED}, Parcel),
        (Money(Decimal("1"), "USD"), Money),
        (Money(Decimal("1"), "USD"), Money | None),
        (None, Money | None),
        (timedelta(days=1), timedelta),
        (Decimal("1.50"), Decimal),
        (datetime(2024, 1, 1, tzinfo=UTC), datetime),
        ((1, "a"), tuple[int, str]),
        (Tree("a", [Tree("b")]), Tree),
        (Model(3), Model),
        (b"x", bytes),
    ],
    ids=lambda part: getattr(part, "__name__", str(part))[:30],
)
def test_typed_values_come_back_by_their_type(value: Any, kind: Any) -> None:
    """What goes into a history as plain values comes out as the declared type, equal."""
    again = from_plain(unpack(pack(to_plain(value))), kind)
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, int),
        (1, bool),
        (1.0, int),
        ("1", int),
        (1, str),
        ("purple", Colour),
        ({"price": 1}, Item),
        ([1], tuple[int, int]),
        ({"x": "no"}, Model),
        (None, int),
    ],
)
def test_what_does_not_fit_is_refused(value: Any, kind: Any) -> None:
    """Nothing is guessed: a value of another type is `InvalidInput`."""
    with pytest.raises(InvalidInput):
        from_plain(value, kind)


def test_types_that_cannot_be_read_back_are_told() -> None:
    """A class that is neither dataclass, enum nor model is a mistake of the declaration."""

    class Opaque:
        pass

    class Mixed(Enum):
        A = "a"
        B = 1

    with pytest.raises(UsageError, match="cannot be stored"):
        from_plain("a", Mixed)
    with pytest.raises(InvalidInput, match="Opaque"):
        from_plain({}, Opaque)


def test_no_type_leaves_the_value_alone() -> None:
    """`Any`, None and object say nothing about a value."""
    value = {"a": [1]}
    for kind in (Any, None, object):
        assert from_plain(value, kind) is value


# ------------------------------------------------------------------ result types
def test_result_types_come_from_annotations() -> None:
    """Coroutine functions and functions that return awaitables are answered by what is awaited."""

    def plain() -> Item:
        raise NotImplementedError

    async def coroutine() -> Item:
        raise NotImplementedError

    def awaitable() -> Awaitable[Item]:
        raise NotImplementedError

    def wrapped() -> Coroutine[Any, Any, Item]:
        raise NotImplementedError

    def nothing() -> None: ...

    def unknown() -> Missing:  # type: ignore[name-defined]  # noqa: F821
        raise NotImplementedError

    for function in (plain, coroutine, awaitable, wrapped):
        assert result_type(function) is Item
    assert result_type(nothing) is type(None)
    assert result_type(unknown) is Any
    assert result_type(len) is Any


# ------------------------------------------------------------------ floats
@dataclass
class Reading:
    """A dataclass with a float inside."""

    values: list[float]


@dataclass
class Station:
    """A dataclass that holds one."""

    last: Reading | None
    near: list[Station]


class Weights(TypedDict):
    """A typed map with a float."""

    a: float


class Pair(NamedTuple):
    """A named tuple with a float."""

    a: float


Kilometre = NewType("Kilometre", float)


@pytest.mark.parametrize(
    "kind",
    [
        float,
        float | None,
        list[float],
        dict[str, list[float]],
        Reading,
        Station,
        Weights,
        Pair,
        Kilometre,
        tuple[int, ...] | Reading,
    ],
    ids=str,
)
def test_a_declared_float_is_found_wherever_it_is(kind: Any) -> None:
    """A float inside unions, containers, dataclasses, typed maps and new types counts as declared."""
    assert mentions_float(kind)


@pytest.mark.parametrize(
    "kind", [int, Item, Tree, Parcel, Any, None, str | None, list[Tree]], ids=str
)
def test_other_types_declare_no_float(kind: Any) -> None:
    """Types without a float are told so, also those that hold themselves."""
    assert not mentions_float(kind)


def test_parameters_declare_floats_for_themselves() -> None:
    """A float argument is allowed by a parameter, not by the result."""

    def takes(x: float) -> int:
        return int(x)

    def gives(x: int) -> float:
        return float(x)

    assert takes_float(takes)
    assert not takes_float(gives)


# ------------------------------------------------------------------ JSON
def test_exact_kinds_are_texts_in_json() -> None:
    """Amounts, spans and times are written as people write them."""
    data = to_json({"item": ITEM, "level": Level.LOW, "raw": b"ab", "none": None})
    assert from_json(data) == {
        "item": {
            "price": "1.20EUR",
            "ready": "1h",
            "at": "2024-01-01T00:00:00.000Z",
            "colour": "red",
            "parts": [],
        },
        "level": 1,
        "raw": "YWI=",
        "none": None,
    }


def test_json_numbers_are_exact() -> None:
    """A number with a point is a decimal, never a float."""
    assert from_json('{"a": 1.10, "b": 3}') == {"a": Decimal("1.10"), "b": 3}
    for bad in ("{", "", "nul", b"\xff"):
        with pytest.raises(InvalidInput):
            from_json(bad)


def test_texts_become_exact_kinds_where_they_are_declared() -> None:
    """Only where the type says so is a text read as an amount, a span or a decimal."""
    assert relaxed("1.20EUR", Money) == Money(Decimal("1.20"), "EUR")
    assert relaxed("1h", timedelta | None) == timedelta(hours=1)
    assert relaxed(["1.5"], list[Decimal]) == [Decimal("1.5")]
    assert relaxed(["1.5"], Sequence[Decimal]) == [Decimal("1.5")]
    assert relaxed({"weight": "2", "colour": "red"}, Parcel) == {
        "weight": Decimal(2),
        "colour": "red",
    }
    assert relaxed("1h", str) == "1h"
    for value, kind in (("EUR", Money), ("1.2", Money), ("x", Decimal), ("soon", timedelta)):
        with pytest.raises(InvalidInput):
            relaxed(value, kind)


@dataclass
class Picky:
    """A type whose constructor raises whatever it is told."""

    how: str

    def __post_init__(self) -> None:
        raise {"value": ValueError("no"), "key": KeyError("no"), "exit": SystemExit(3)}[self.how]


@pytest.mark.parametrize(
    ("how", "says"), [("value", "no"), ("key", "KeyError: 'no'"), ("exit", "SystemExit: 3")]
)
def test_whatever_a_constructor_raises_is_a_value_that_does_not_fit(how: str, says: str) -> None:
    """Types are the user's code: an input that one of them refuses holds up no outbox and no node."""
    with pytest.raises(InvalidInput, match=says):
        from_plain({"how": how}, Picky)
