"""What operators and built-ins give: a table, and what holds for values of every kind."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftoral.errors import WorkflowFailed
from raftoral.lang.builtins import NAMES
from raftoral.lang.primitives import PRIMITIVES, same
from raftoral.values import Money
from tests.lang.worlds import world

if TYPE_CHECKING:
    from collections.abc import Callable

TABLE = r"""
len("é")                              1
len([1, 2]) + len({a: 1})             3
sum([1, 2, 3])                        6
sum([0.1, 0.2])                       0.3
sum([x.a for x in [{a: 1h}]])         !RWF
sum([1h, 30m])                        1h30m
sum([9.99EUR, 0.01EUR])               10.00EUR
sum([9.99EUR, 1USD])                  !CurrencyMismatch
min([3, 1, 2])                        1
max(1.5, 2.25)                        2.25
max([1s, 1m])                         1m
min([i for i in range(0)])            !Empty
abs(-3)                               3
abs(-9.99EUR)                         9.99EUR
count([x > 1 for x in [1, 2, 3]])     2
any(x > 2 for x in [1, 2])            false
all(x > 0 for x in [1, 2])            true
round(2.5)                            2
round(3.5)                            4
round(2.345, 2)                       2.34
round(0.125EUR)                       0.12EUR
round(99.5JPY)                        100JPY
round(1.0005BHD)                      1.000BHD
whole(2.5)                            2
whole(-3.5)                           -4
split(100.00EUR, 3)                   [33.34EUR, 33.33EUR, 33.33EUR]
split(-1.00EUR, 3)                    [-0.34EUR, -0.33EUR, -0.33EUR]
split(1.00EUR, 0)                     !OutOfRange
range(3)                              [0, 1, 2]
range(2, 4)                           [2, 3]
range(4, 2)                           []
range(100_001)                        !TooLarge
sort([3, 1, 2])                       [1, 2, 3]
sort([3, 1, 2], descending: true)     [3, 2, 1]
first([7, 8])                         7
last([i for i in range(0)])           none
reverse([1, 2])                       [2, 1]
distinct([1, 2, 1])                   [1, 2]
distinct([1.0, 1.00, 2.0])            [1.0, 2.0]
distinct([[1.0], [1.00]])             [[1.0]]
contains([1, 2], 2)                   true
contains({a: 1}, "b")                 false
contains("order", "rd")               true
keys({b: 1, a: 2})                    [a, b]
values({b: 1, a: 2})                  [2, 1]
merge({a: 1, b: 1}, {b: 2})           {a: 1, b: 2}
["{k}{v}" for k, v in {b: 1, a: 2}]   [a2, b1]
text(1h30m)                           1h30m
text(self.started)                    2026-01-01T00:00:00.000Z
number("12.50")                       12.50
number("1e5")                         none
number("١")                           none
join(["a", "b"], "-")                 a-b
split("a,b,", ",")                    [a, b, ]
split("a", "")                        !OutOfRange
replace("banana", "an", "n")          bnna
starts_with("order", "or")            true
trim(" a b\n")                         a b
lower("ÀB") + upper("ß")              Àbß
hash("a") == hash("b")                false
hash([1.0]) == hash([1.00])           true
encode_json({b: 1.50, a: 2.0})        {"a":"2.0","b":"1.50"}
encode_json([9.99EUR])                ["9.99EUR"]
date_part(self.started, "weekday")    4
date_part(self.started, "yearday")    1
date_part(self.started, "century")    !OutOfRange
decode(money, "9.99EUR")              9.99EUR
decode(duration, "1h30m")             1h30m
decode(int, "1")                      !BadValue
decode(list<int?>, decode(json, [1]))  [1]
7 // -2                               -4
-7 % 3                                2
7 / 2                                 3.5
1 / 0                                 !DivisionByZero
1.0 / 3.0                             0.3333333333333333333333333333333333
9.99EUR / 3.33EUR                     3
100EUR / 3                            33.33333333333333333333333333333333EUR
9223372036854775807 + 1               !Overflow
1h30m // 20m                          4
self.started + 36h                    2026-01-02T12:00:00.000Z
1.10 * 1.10                           1.2100
1.0 == 1.00 and 1 == 1.0              true
[1, 2][2]                             !OutOfRange
{a: 1}["b"]                           none
"a" in "abc" and 1 not in [2]         true
if 1 < 2 then "yes" else "no"         yes
"{1 + 1} {[true]} {{}}"               !RWF
""".strip().splitlines()


@cache
def value_of(expression: str) -> str:
    """Return what an expression gives as text, or the name of what it fails with."""
    try:
        made = world(f"workflow w version 1 () -> string {{ return text({expression}) }}")
    except AssertionError:
        return "!RWF"
    made.run()
    try:
        return str(made.result())
    except WorkflowFailed as failed:
        return f"!{failed.name}"


@pytest.mark.parametrize("line", TABLE)
def test_an_expression_gives_what_the_table_says(line: str) -> None:
    """The same on every platform; what cannot be done fails by name, or does not compile."""
    expression, _, wanted = line.partition("  ")
    assert value_of(expression) == wanted.strip()


def test_the_table_knows_every_built_in() -> None:
    """None is left out."""
    assert {name for name in NAMES if any(f"{name}(" in line for line in TABLE)} == NAMES


# ------------------------------------------------------------------ laws
decimals = st.builds(
    lambda digits, places: Decimal(digits).scaleb(-places),
    st.integers(-(10**6), 10**6),
    st.integers(0, 4),
)
amounts = st.builds(Money, decimals, st.sampled_from(["EUR", "JPY"]))
plain = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), decimals, amounts, st.sampled_from(["", "a", "1"])
)
values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=6,
)


def call(name: str, *args: Any) -> Any:
    """Call a primitive."""
    function: Callable[..., Any] = PRIMITIVES[name][1]
    return function(*args)


@given(values, values)
def test_equal_values_have_one_hash_and_others_have_not(a: Any, b: Any) -> None:
    """And `distinct` keeps one of them, exactly if they are equal."""
    assert same(a, b) == (call("hash", a) == call("hash", b))
    assert len(call("distinct", [a, b])) == (1 if same(a, b) else 2)


@given(amounts, st.integers(1, 40))
def test_no_cent_is_lost_when_an_amount_is_split(amount: Money, parts: int) -> None:
    """The parts add up to the amount, and differ by one unit at most."""
    shares = call("split.money", amount, parts)
    assert len(shares) == parts
    assert sum((s.amount for s in shares), Decimal(0)) == amount.amount
    assert len({s.amount for s in shares}) <= 2


@given(st.lists(decimals, max_size=6))
def test_sums_and_orders_are_those_of_exact_numbers(numbers: list[Decimal]) -> None:
    """Decimals add without loss, and sort by value."""
    assert call("sum.decimal", numbers, Decimal(0)) == sum(numbers, Decimal(0))
    ordered = call("sort", numbers, False)
    assert [*map(str, ordered)] == [*map(str, sorted(numbers))]
    if numbers:
        assert call("min", numbers) == ordered[0]
        assert call("max", numbers) == ordered[-1]
