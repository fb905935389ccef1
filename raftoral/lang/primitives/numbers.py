"""Integers of 64 bits and decimals of 34 digits."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Final

from raftoral.errors import WorkflowFailed
from raftoral.lang.primitives.bounds import checked_int, exact, exactly, overflow
from raftoral.values import EXACT, INT_MAX, INT_MIN

if TYPE_CHECKING:
    from raftoral.lang.primitives.bounds import Table

_NUMBER = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?\Z", re.ASCII)


def _add_int(a: int, b: int) -> int:
    value = a + b
    if INT_MIN <= value <= INT_MAX:
        return value
    raise overflow("an integer operation")


def _sub_int(a: int, b: int) -> int:
    return checked_int(a - b)


def _mul_int(a: int, b: int) -> int:
    return checked_int(a * b)


def floordiv_int(a: int, b: int) -> int:
    """Return ``a / b``, rounded down."""
    if b == 0:
        raise WorkflowFailed("DivisionByZero", "a number is divided by zero")
    return checked_int(a // b)


def _mod_int(a: int, b: int) -> int:
    if b == 0:
        raise WorkflowFailed("DivisionByZero", "a number is divided by zero")
    return a % b


def round_to(number: Decimal, places: int) -> Decimal:
    """Return ``number`` with ``places`` decimals, half to even."""
    if not 0 <= places <= EXACT.prec:
        raise WorkflowFailed("OutOfRange", f"rounding to {places} places")
    return exact(EXACT.quantize, number, Decimal((0, (1,), -places)))


def _number(value: str) -> Decimal | None:
    """Return the decimal that a text spells; None if it spells none of 34 digits."""
    if not _NUMBER.match(value):
        return None
    number = Decimal(value)
    return number if len(number.as_tuple().digits) <= EXACT.prec else None


def _whole(number: Decimal | int) -> int:
    """Return the nearest int, half to even."""
    if isinstance(number, int):
        return number
    return checked_int(int(number.to_integral_value(ROUND_HALF_EVEN, EXACT)))


PRIMITIVES: Final[Table] = {
    "add.int": (2, _add_int),
    "sub.int": (2, _sub_int),
    "mul.int": (2, _mul_int),
    "floordiv.int": (2, floordiv_int),
    "mod.int": (2, _mod_int),
    "neg.int": (1, lambda a: checked_int(-a)),
    "abs.int": (1, lambda a: checked_int(abs(a))),
    "add.decimal": (2, exactly(EXACT.add)),
    "sub.decimal": (2, exactly(EXACT.subtract)),
    "mul.decimal": (2, exactly(EXACT.multiply)),
    "div.decimal": (2, exactly(EXACT.divide)),
    "neg.decimal": (1, lambda a: exact(EXACT.minus, a)),
    "abs.decimal": (1, lambda a: exact(EXACT.abs, a)),
    "round.decimal": (2, round_to),
    "number": (1, _number),
    "whole": (1, _whole),
}
