"""Durations in whole milliseconds, and moments in UTC."""

from __future__ import annotations

import operator
from datetime import UTC
from typing import TYPE_CHECKING, Final

from raftoral.errors import WorkflowFailed
from raftoral.lang.primitives.bounds import checked_span, overflow
from raftoral.lang.primitives.numbers import floordiv_int
from raftoral.values import millis_of

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from raftoral.lang.primitives.bounds import Table


def add_duration(a: timedelta, b: timedelta) -> timedelta:
    """Return the sum of two durations."""
    try:
        return a + b
    except OverflowError:
        raise overflow("a duration") from None


def _sub_duration(a: timedelta, b: timedelta) -> timedelta:
    return add_duration(a, -b)


def _mul_duration(a: timedelta, b: int) -> timedelta:
    return checked_span(millis_of(a) * b)


def _div_duration(a: timedelta, b: int) -> timedelta:
    return checked_span(floordiv_int(millis_of(a), b))


def _ratio_duration(a: timedelta, b: timedelta) -> int:
    return floordiv_int(millis_of(a), millis_of(b))


def _shift(a: datetime, b: timedelta) -> datetime:
    try:
        return a + b
    except OverflowError:
        raise overflow("a moment") from None


def _shift_back(a: datetime, b: timedelta) -> datetime:
    return _shift(a, -b)


def _date_part(moment: datetime, part: str) -> int:
    moment = moment.astimezone(UTC)
    match part:
        case "year" | "month" | "day" | "hour" | "minute" | "second":
            return int(getattr(moment, part))
        case "weekday":
            return moment.isoweekday()
        case "yearday":
            return moment.timetuple().tm_yday
        case _:
            raise WorkflowFailed("OutOfRange", f"a date has no {part!r:.40}")


PRIMITIVES: Final[Table] = {
    "add.duration": (2, add_duration),
    "sub.duration": (2, _sub_duration),
    "mul.duration": (2, _mul_duration),
    "div.duration": (2, _div_duration),
    "ratio.duration": (2, _ratio_duration),
    "neg.duration": (1, operator.neg),
    "abs.duration": (1, abs),
    "shift.timestamp": (2, _shift),
    "back.timestamp": (2, _shift_back),
    "since.timestamp": (2, operator.sub),
    "date_part": (2, _date_part),
}
