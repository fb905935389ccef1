"""When a schedule is due: at the times of a cron expression, or at every interval; the only cronsim.

Owns nothing. Only a group's leader asks, and what it is told goes into the log, because the rules
of time zones differ between nodes and change with time.

Source: the cron of Debian, also for the hours that a change of the clock skips or repeats.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, timedelta
from itertools import count, islice, takewhile
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from raftoral.errors import UsageError
from raftoral.ids import Millis
from raftoral.replay.history import DUE_MAX
from raftoral.values import EPOCH, instant_of, millis_of, millis_since_epoch, parse_span

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

WHEN_LENGTH_MAX: Final = 200
SHORTEST: Final = timedelta(seconds=1)

_EVERY: Final = re.compile(r"every\s+(?P<span>\S+)(?:\s+offset\s+(?P<offset>\S+))?")
_NICKNAMES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}


class Calendar:
    """The times of one schedule: ``Calendar("0 9 * * MON-FRI", "Europe/Berlin")``.

    ``when`` is a cron expression of five fields (or six, the first being seconds), one of
    ``@hourly``, ``@daily``, ``@weekly``, ``@monthly`` and ``@yearly``, or ``every 15m``, counted from
    1970 in UTC, with ``every 1h offset 5m`` five minutes later. `UsageError` for anything else.

    A time that a change of the clock skips comes as soon as the clock goes on; one that comes twice
    comes once. An expression for many hours (``*/30 * * * *``) goes by the time that really passed.
    """

    def __init__(self, when: str, zone: str = "UTC") -> None:
        self._zone = _zone_of(zone)
        self._every: tuple[int, int] | None = None
        self._cron = when.strip()
        if len(when) > WHEN_LENGTH_MAX:
            raise UsageError(f"a schedule's times take at most {WHEN_LENGTH_MAX} characters")
        if self._cron.lower().startswith("every"):
            self._every = _every(self._cron)
            return
        self._cron = _NICKNAMES.get(self._cron.lower(), self._cron)
        try:
            CronSim(self._cron, EPOCH)
        except CronSimError as error:
            raise UsageError(
                f"{when!r} is no time of a schedule ({str(error).lower()}); write a cron expression "
                "such as '0 9 * * MON-FRI', or 'every 15m'"
            ) from None

    def after(self, moment: Millis) -> Millis | None:
        """Return the first time after ``moment`` (milliseconds since 1970); None if there is none."""
        return next(self._times(moment), None)

    def between(self, start: Millis, end: Millis, limit: int) -> list[Millis]:
        """Return the times from ``start`` to ``end``, both included, the first ``limit`` of them."""
        times = takewhile(lambda time: time <= end, self._times(Millis(start - 1)))
        return list(islice(times, limit))

    def newest(self, end: Millis, count: int) -> Millis:
        """Return a moment from which on about ``count`` times come until ``end``; 0 if fewer do.

        Backwards, a change of the clock may be counted otherwise than forwards.
        """
        if self._every is not None:
            return Millis(max(0, end - self._every[0] * count + 1))
        second = instant_of(end // 1000 * 1000 + 1000)
        with suppress(OverflowError):
            times = CronSim(self._cron, second.astimezone(self._zone), reverse=True)
            for found in islice(times, count - 1, count):
                return Millis(max(0, millis_since_epoch(found)))
        return Millis(0)

    def _times(self, moment: Millis) -> Iterator[Millis]:
        """Yield the times after ``moment``, up to the last one that can be stored."""
        times = self._intervals(moment) if self._every is not None else self._marks(moment)
        return takewhile(lambda time: time <= DUE_MAX, times)

    def _intervals(self, moment: Millis) -> Iterator[Millis]:
        assert self._every is not None
        span, offset = self._every
        first = (moment - offset) // span * span + offset + span
        return map(Millis, count(first, span))

    def _marks(self, moment: Millis) -> Iterator[Millis]:
        # The library counts in whole seconds and begins after the one that it is given.
        second = instant_of(moment // 1000 * 1000)
        with suppress(OverflowError):  # the year 10000
            for found in CronSim(self._cron, second.astimezone(self._zone)):
                yield Millis(millis_since_epoch(found))


def _zone_of(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(
            f"no time zone is called {name!r:.60} here; write one such as Europe/Berlin. If this "
            "system has no time zones at all, install the package tzdata"
        ) from None


def _every(text: str) -> tuple[int, int]:
    """Return span and offset in milliseconds."""
    matched = _EVERY.fullmatch(text.lower())
    if matched is None:
        raise UsageError(
            f"{text!r} is no time of a schedule; write it like 'every 15m', or 'every 1h offset 5m'"
        )
    try:
        span = parse_span(matched["span"])
        offset = parse_span(matched["offset"] or "0s")
    except ValueError as error:
        raise UsageError(f"{text!r} is no time of a schedule: {error}") from None
    if span < SHORTEST:
        raise UsageError(f"a schedule comes once a second at most, not {text!r}")
    return millis_of(span), millis_of(offset) % millis_of(span)
