"""Amounts of money: exact, and of one currency each."""

from __future__ import annotations

import operator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from raftoral.errors import WorkflowFailed
from raftoral.lang.primitives.bounds import ITEMS_MAX, exact
from raftoral.lang.primitives.numbers import round_to
from raftoral.values import EXACT, Money

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.lang.primitives.bounds import Table

# ISO 4217: currencies that have no minor unit, and those with a thousandth; all others have cents.
_NO_MINOR: Final = frozenset(
    [
        "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND",
        "VUV", "XAF", "XOF", "XPF",
    ]
)  # fmt: skip
_THOUSANDTHS: Final = frozenset(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"])


def amounts(a: Money, b: Money) -> tuple[Decimal, Decimal]:
    """Return both amounts; ``CurrencyMismatch`` unless they are of one currency."""
    if a.currency != b.currency:
        raise WorkflowFailed(
            "CurrencyMismatch", f"{a} and {b} are in different currencies; convert by an activity"
        )
    return a.amount, b.amount


def add_money(a: Money, b: Money) -> Money:
    """Return the sum of two amounts of one currency."""
    return Money(exact(EXACT.add, *amounts(a, b)), a.currency)


def _sub_money(a: Money, b: Money) -> Money:
    return Money(exact(EXACT.subtract, *amounts(a, b)), a.currency)


def _mul_money(a: Money, b: Any) -> Money:
    return Money(exact(EXACT.multiply, a.amount, b), a.currency)


def _div_money(a: Money, b: Any) -> Money:
    return Money(exact(EXACT.divide, a.amount, b), a.currency)


def _ratio_money(a: Money, b: Money) -> Decimal:
    return exact(EXACT.divide, *amounts(a, b))


def minor_digits(currency: str) -> int:
    """Return how many decimals the minor unit of a currency has."""
    return 0 if currency in _NO_MINOR else 3 if currency in _THOUSANDTHS else 2


def _round_money(money: Money) -> Money:
    return Money(round_to(money.amount, minor_digits(money.currency)), money.currency)


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


def _compare_money(test: Callable[[Any, Any], bool]) -> Callable[[Money, Money], bool]:
    def run(a: Money, b: Money) -> bool:
        return test(*amounts(a, b))

    return run


PRIMITIVES: Final[Table] = {
    "add.money": (2, add_money),
    "sub.money": (2, _sub_money),
    "mul.money": (2, _mul_money),
    "div.money": (2, _div_money),
    "ratio.money": (2, _ratio_money),
    "neg.money": (1, lambda a: Money(exact(EXACT.minus, a.amount), a.currency)),
    "abs.money": (1, lambda a: Money(exact(EXACT.abs, a.amount), a.currency)),
    "round.money": (1, _round_money),
    "split.money": (2, _split_money),
    "lt.money": (2, _compare_money(operator.lt)),
    "le.money": (2, _compare_money(operator.le)),
    "gt.money": (2, _compare_money(operator.gt)),
    "ge.money": (2, _compare_money(operator.ge)),
}
