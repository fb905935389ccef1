"""How large a result may be, and what is raised by one that is out of range."""

from __future__ import annotations

import decimal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from raftoral.errors import WorkflowFailed
from raftoral.values import EXACT, INT_MAX, INT_MIN, span_of

if TYPE_CHECKING:
    from datetime import timedelta
    from decimal import Decimal

STRING_MAX: Final = 256 * 1024
ITEMS_MAX: Final = 100_000
PARTS_MAX: Final = 256 * 1024
DEPTH_MAX: Final = 64

Table: TypeAlias = dict[str, tuple[int, Callable[..., Any]]]
"""Name to number of arguments (-1: any) and function."""


def overflow(what: str) -> WorkflowFailed:
    """Return the failure of ``what``, whose result no value can hold."""
    return WorkflowFailed("Overflow", f"the result of {what} is out of range")


def checked_int(value: int) -> int:
    """Return ``value`` if it fits into 64 bits."""
    if INT_MIN <= value <= INT_MAX:
        return value
    raise overflow("an integer operation")


def checked_text(value: str) -> str:
    """Return ``value`` if it is no longer than a text may be."""
    if len(value) > STRING_MAX:
        raise WorkflowFailed("TooLarge", f"a text may have {STRING_MAX:,} characters")
    return value


def checked_list(value: list[Any]) -> list[Any]:
    """Return ``value`` if it has no more items than a list may have."""
    if len(value) > ITEMS_MAX:
        raise WorkflowFailed("TooLarge", f"a list may have {ITEMS_MAX:,} items")
    return value


def exact(operation: Callable[..., Decimal], *args: Any) -> Decimal:
    """Return what an operation of `EXACT` gives; its signals become failures by name."""
    try:
        return operation(*args)
    except decimal.DivisionByZero:
        raise WorkflowFailed("DivisionByZero", "a number is divided by zero") from None
    except decimal.InvalidOperation:
        if operation == EXACT.divide:
            raise WorkflowFailed("DivisionByZero", "zero is divided by zero") from None
        raise overflow("a decimal operation") from None
    except decimal.Overflow:
        raise overflow("a decimal operation") from None


def exactly(operation: Callable[..., Decimal]) -> Callable[[Any, Any], Decimal]:
    """Return an operation of `EXACT` on two numbers as a primitive; see `exact`."""

    def run(a: Any, b: Any) -> Decimal:
        return exact(operation, a, b)

    return run


def checked_span(millis: int) -> timedelta:
    """Return a duration of so many milliseconds, if there is one."""
    try:
        return span_of(millis)
    except OverflowError:
        raise overflow("a duration") from None
