"""The values that may be stored: what a history, an input or a result is made of.

None, bool, int (64 bit), str, bytes, list, dict with string keys, and four exact kinds: `Decimal`
(34 significant digits), `Money`, `timedelta` (whole milliseconds) and `datetime` (UTC, whole
milliseconds). No float: it is not equal on every platform once formatted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from typing import Final, TypeAlias

Value: TypeAlias = (
    "None | bool | int | str | bytes | Decimal | Money | timedelta | datetime"
    " | list[Value] | dict[str, Value]"
)

EXACT: Final = Context(
    prec=34,
    rounding=ROUND_HALF_EVEN,
    Emin=-6143,
    Emax=6144,
    traps=[DivisionByZero, InvalidOperation, Overflow],
)
"""The one context of decimal arithmetic (IEEE 754 decimal128); never the thread's own."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1

_CURRENCY = re.compile(r"[A-Z]{3}\Z")


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount of one currency (ISO 4217 code). Amounts of two currencies never mix."""

    amount: Decimal
    currency: str

    def __post_init__(self) -> None:
        if not _CURRENCY.match(self.currency):
            raise ValueError(f"a currency is three capitals such as EUR, not {self.currency!r}")
        if not self.amount.is_finite():
            raise ValueError("an amount of money is a finite number")

    def __str__(self) -> str:
        return f"{self.amount:f}{self.currency}"


def millis_of(span: timedelta) -> int:
    """Return the whole milliseconds of ``span``, rounded towards the past."""
    return span // timedelta(milliseconds=1)


def span_of(millis: int) -> timedelta:
    """Return the span of so many milliseconds."""
    return timedelta(milliseconds=millis)


def instant_of(millis: int) -> datetime:
    """Return the UTC instant so many milliseconds after 1970."""
    return EPOCH + timedelta(milliseconds=millis)


def millis_since_epoch(at: datetime) -> int:
    """Return the milliseconds from 1970 to ``at``, which must know its zone."""
    return (at - EPOCH) // timedelta(milliseconds=1)


# ------------------------------------------------------------------ spans as people write them
_UNITS: Final = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
}
_SPAN = re.compile(r"(?:[0-9]+(?:ms|w|d|h|m|s))+\Z")
_SPAN_PART = re.compile(r"([0-9]+)(ms|w|d|h|m|s)")


def parse_span(text: str) -> timedelta:
    """Return the span that a text such as ``250ms``, ``1h30m`` or ``7d`` names.

    Units are ms, s, m, h, d and w; there is no month. Raises `ValueError` for anything else.
    """
    if not _SPAN.match(text):
        raise ValueError(f"a duration is written like 250ms, 10s, 1h30m or 7d, not {text!r:.40}")
    millis = sum(int(count) * _UNITS[unit] for count, unit in _SPAN_PART.findall(text))
    if millis > 10_000 * 365 * _UNITS["d"]:
        raise ValueError(f"the duration {text!r:.40} is longer than ten thousand years")
    return span_of(millis)


def format_span(span: timedelta) -> str:
    """Return the shortest text that `parse_span` reads back; a negative span gets a minus sign."""
    millis = millis_of(span)
    if millis < 0:
        return "-" + format_span(-span)
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, millis = divmod(millis, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
