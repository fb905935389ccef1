"""Values from outside: what fits, what it becomes, and what is said when it does not fit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from raftoral.codec import pack, unpack
from raftoral.errors import InvalidInput, WorkflowFailed
from raftoral.lang.compile import decode_input, decode_result, decode_signal, input_names
from raftoral.values import Money
from tests.lang.driving import unit

TEXT = """
record Item { sku: string  price: money<EUR>  qty: int = 1 }
record Order { id: string  items: list<Item>  note: string?  labels: map<string, bool> = {} }
activity a.find(id: string) -> list<Item> timeout 1s
activity a.rate() -> decimal timeout 1s
activity a.any() -> json timeout 1s
activity a.none() timeout 1s

workflow w version 1 (order: Order, wait: duration = 90s, at: timestamp?, share: decimal = 0.5) {
  signal go(by: string, until: timestamp?)
  signal stop()
  compute items = a.find(order.id)
  compute rate = a.rate()
  compute any = a.any()
  compute a.none()
  await go
  await stop
  log "{items} {rate} {any} {wait} {at} {share}"
}
"""
IR = unit(TEXT).ir
ORDER = {"id": "o", "items": [{"sku": "tea", "price": "4.50EUR"}]}


def test_json_becomes_exact_kinds_and_defaults_are_filled() -> None:
    """Texts become money, durations, times and decimals; what is left out gets its default."""
    given = {
        "order": ORDER,
        "wait": "1h30m",
        "at": "2026-03-01T12:00:00.1234+02:00",
        "share": "0.60",
    }
    stored = decode_input(IR, given)
    assert stored == {
        "order": {
            "id": "o",
            "items": [{"sku": "tea", "price": Money(Decimal("4.50"), "EUR"), "qty": 1}],
            "note": None,
            "labels": {},
        },
        "wait": timedelta(minutes=90),
        "at": datetime(2026, 3, 1, 10, 0, 0, 123000, tzinfo=UTC),
        "share": Decimal("0.60"),
    }
    assert unpack(pack(stored)) == stored
    assert decode_input(IR, stored) == stored
    assert decode_input(IR, [ORDER]) == decode_input(IR, {"order": ORDER})
    assert decode_input(IR, [ORDER])["share"] == Decimal("0.5")
    assert decode_input(IR, {"order": ORDER, "share": 2})["share"] == Decimal(2)
    assert input_names(IR) == ("order", "wait", "at", "share")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (None, "input.order is missing: expected Order"),
        (7, "expected a map of names or a list of values"),
        ([1, 2, 3, 4, 5], "5 values are given, and there are 4 to give"),
        ({"order": 1}, "input.order: expected Order, not the int 1"),
        ({"order": ORDER, "ordr": 1}, "input.ordr is not declared; did you mean order?"),
        ({"order": {**ORDER, "id": 10**5000}}, "expected string, not a number of many digits"),
        ({"order": {**ORDER, "id": 3}}, "input.order.id: expected string, not the int 3"),
        ({"order": {**ORDER, "items": {}}}, "input.order.items: expected list<Item>, not a map"),
        (
            {"order": {**ORDER, "items": [ORDER["items"][0], {"sku": "x", "price": "1.00USD"}]}},
            "input.order.items[1].price: expected EUR, not 1.00USD",
        ),
        (
            {"order": {**ORDER, "items": [{"sku": "x", "price": 4.5}]}},
            'input.order.items[0].price: expected money<EUR> such as "9.99EUR", not the float 4.5',
        ),
        ({"order": {**ORDER, "labels": {"a": 1}}}, "input.order.labels.a: expected bool"),
        ({"order": {**ORDER, "labels": {1: True}}}, "has a key that is no text"),
        ({"order": ORDER, "wait": "1 month"}, 'input.wait: expected duration such as "1h30m"'),
        ({"order": ORDER, "wait": 5}, "input.wait: expected duration"),
        ({"order": ORDER, "at": "2026-03-01"}, "input.at: expected timestamp with a zone"),
        ({"order": ORDER, "share": True}, "input.share: expected decimal"),
        ({"order": ORDER, "share": "1e5"}, "input.share: expected decimal"),
        ({"order": ORDER, "share": Decimal("NaN")}, "input.share: expected decimal"),
        ({"order": ORDER, "share": "1" * 35}, "input.share: expected decimal"),
        ({"order": {**ORDER, "id": "\ud800"}}, "input.order.id has half a character"),
        ({"order": {**ORDER, "id": "x" * 300_000}}, "at most 262,144 are kept"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(given: Any, says: str) -> None:
    """The message names the path and what was expected there."""
    with pytest.raises(InvalidInput) as caught:
        decode_input(IR, given)
    assert says in str(caught.value)


def test_numbers_keep_their_kind() -> None:
    """True is no int, a float is no int, and 64 bits are the bound."""
    ir = unit("workflow w version 1 (n: int) { log text(n) }").ir
    for bad in (True, 1.0, "1", 2**63, 10**5000, None):
        with pytest.raises(InvalidInput, match=r"input\.n"):
            decode_input(ir, [bad])
    assert decode_input(ir, [-(2**63)]) == {"n": -(2**63)}


def test_bytes_and_json_pass_the_boundary() -> None:
    """Bytes come as base64 from JSON; json takes any storable value and keeps its kinds."""
    ir = unit("workflow w version 1 (b: bytes, j: json) { log text(b) log text(j) }").ir
    stored = decode_input(ir, {"b": "aGk=", "j": {"b": [1, "x", None, 1.5], "a": True}})
    assert stored == {"b": b"hi", "j": {"a": True, "b": [1, "x", None, Decimal("1.5")]}}
    with pytest.raises(InvalidInput, match=r"input\.b"):
        decode_input(ir, {"b": "?", "j": 1})
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(InvalidInput, match="nested too deeply"):
        decode_input(ir, {"b": b"", "j": deep})


def test_signals_are_checked_like_inputs() -> None:
    """A payload is a map of the declared names; an unknown signal is named with a hint."""
    assert decode_signal(IR, "go", {"by": "me"}) == {"by": "me", "until": None}
    assert decode_signal(IR, "go", ["me"]) == {"by": "me", "until": None}
    assert decode_signal(IR, "stop", None) == {}
    with pytest.raises(InvalidInput, match=r"signal go\.by is missing"):
        decode_signal(IR, "go", {})
    with pytest.raises(InvalidInput, match="takes no signal goo; did you mean go"):
        decode_signal(IR, "goo", {})


def test_results_are_converted_or_fail_as_bad_result() -> None:
    """A result may have more fields than declared; one that misfits is the failure BadResult."""
    item = {"sku": "tea", "price": "4.50EUR", "colour": "green"}
    stored = decode_result(IR, "a.find", [item])
    assert stored == [{"sku": "tea", "price": Money(Decimal("4.50"), "EUR"), "qty": 1}]
    assert decode_result(IR, "a.rate", 0.1) == Decimal("0.1")
    assert decode_result(IR, "a.none", None) is None
    for activity, result in (("a.find", [{"sku": 1}]), ("a.none", 1), ("a.other", 1)):
        with pytest.raises(WorkflowFailed) as caught:
            decode_result(IR, activity, result)
        assert caught.value.name == "BadResult"
