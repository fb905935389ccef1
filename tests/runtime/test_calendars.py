"""When schedules are due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from raftoral.errors import UsageError
from raftoral.ids import Millis
from raftoral.replay.history import DUE_MAX
from raftoral.runtime.calendars import Calendar
from raftoral.values import instant_of, millis_since_epoch


def at(text: str) -> Millis:
    """Return the milliseconds of an instant in UTC."""
    return Millis(millis_since_epoch(datetime.fromisoformat(text).replace(tzinfo=UTC)))


def times(when: str, zone: str, start: str, count: int) -> list[str]:
    """Return the next ``count`` times after ``start``, in UTC."""
    found, moment = [], at(start)
    calendar = Calendar(when, zone)
    for _ in range(count):
        following = calendar.after(moment)
        assert following is not None
        moment = following
        found.append(instant_of(moment).strftime("%m-%dT%H:%M"))
    return found


@pytest.mark.parametrize(
    ("when", "zone", "start", "expected"),
    [
        # Times of one zone, written as people of that zone see them.
        ("0 9 * * MON-FRI", "UTC", "2026-11-27T08:00", ["11-27T09:00", "11-30T09:00"]),
        ("0 9 * * *", "Europe/Berlin", "2026-11-25T00:00", ["11-25T08:00", "11-26T08:00"]),
        ("0 9 * * *", "America/New_York", "2026-11-25T00:00", ["11-25T14:00"]),
        ("@daily", "Asia/Kolkata", "2026-11-25T00:00", ["11-25T18:30"]),
        # The clock goes from 02:00 to 03:00 on 29 March: 02:30 is skipped, and comes at 03:00.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T00:00",
            ["03-28T01:30", "03-29T01:00", "03-30T00:30"],
        ),
        # It goes from 03:00 back to 02:00 on 25 October: 02:30 comes once.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00",
            ["10-25T00:30", "10-26T01:30"],
        ),
        # Every half hour goes by the time that passes, through both.
        (
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-10-25T00:00",
            ["10-25T00:30", "10-25T01:00", "10-25T01:30", "10-25T02:00"],
        ),
        # Intervals are counted from 1970 in UTC, whatever the zone.
        ("every 90m", "Europe/Berlin", "2026-11-25T00:10", ["11-25T01:30", "11-25T03:00"]),
        ("every 1h offset 5m", "UTC", "2026-11-25T00:05", ["11-25T01:05", "11-25T02:05"]),
        ("every 1d offset 3h", "UTC", "2026-11-25T02:59", ["11-25T03:00", "11-26T03:00"]),
    ],
)
def test_times(when: str, zone: str, start: str, expected: list[str]) -> None:
    """A calendar gives the times after a moment, by the clock of its zone."""
    assert times(when, zone, start, len(expected)) == expected


def test_a_time_is_never_given_twice_and_none_is_left_out() -> None:
    """Stepping from time to time gives what looking at each minute gives."""
    chance = Random(7)

    def field(low: int, high: int) -> tuple[str, set[int]]:
        if chance.random() < 0.5:
            return "*", set(range(low, high + 1))
        chosen = chance.sample(range(low, high + 1), min(3, high - low + 1))
        return ",".join(map(str, chosen)), set(chosen)

    for _ in range(40):
        minute, hour, month = field(0, 59), field(0, 23), field(1, 12)
        calendar = Calendar(f"{minute[0]} {hour[0]} * {month[0]} *")
        begin = datetime(2026, chance.randrange(1, 13), chance.randrange(1, 29), tzinfo=UTC)
        end = begin + timedelta(days=3)
        expected = [
            moment
            for moment in (begin + timedelta(minutes=n) for n in range(3 * 24 * 60 + 1))
            if moment.minute in minute[1] and moment.hour in hour[1] and moment.month in month[1]
        ]
        start, stop = Millis(millis_since_epoch(begin)), Millis(millis_since_epoch(end))
        found = [instant_of(each) for each in calendar.between(start, stop, 10_000)]
        assert found == expected
        walked, moment = [], Millis(start - 1)
        while (following := calendar.after(moment)) is not None and following <= stop:
            moment = following
            walked.append(instant_of(moment))
        assert walked == expected


def test_the_milliseconds_of_a_moment_count() -> None:
    """A time that is exactly now has come; one a millisecond later has not."""
    calendar = Calendar("* * * * *")
    minute = at("2026-11-25T09:00")
    assert calendar.after(minute) == minute + 60_000
    assert calendar.after(Millis(minute - 1)) == minute
    assert calendar.after(Millis(minute + 999)) == minute + 60_000
    assert calendar.between(minute, Millis(minute + 60_000), 9) == [minute, minute + 60_000]
    assert calendar.between(minute, Millis(minute + 60_000), 1) == [minute]


def test_a_calendar_may_have_an_end() -> None:
    """No time lies beyond the last one that can be stored."""
    assert Calendar("every 1w").after(Millis(DUE_MAX - 1000)) is None
    assert Calendar("0 0 1 1 *").after(Millis(DUE_MAX - 1000)) is None


@pytest.mark.parametrize(
    ("when", "zone", "message"),
    [
        ("0 25 * * *", "UTC", "bad hour"),
        ("hello", "UTC", "wrong number of fields"),
        ("0 0 30 2 *", "UTC", "bad day-of-month"),
        ("every", "UTC", "write it like 'every 15m'"),
        ("every 10 minutes", "UTC", "write it like 'every 15m'"),
        ("every 10x", "UTC", "a duration is written like"),
        ("every 500ms", "UTC", "once a second at most"),
        ("* " * 200, "UTC", "at most 200 characters"),
        ("* * * * *", "Europe/Atlantis", "no time zone is called 'Europe/Atlantis'"),
        ("* * * * *", "../../etc/passwd", "no time zone"),
    ],
)
def test_what_is_no_calendar_is_told(when: str, zone: str, message: str) -> None:
    """A bad expression or zone is refused with what to write."""
    with pytest.raises(UsageError, match=message):
        Calendar(when, zone)


@pytest.mark.parametrize(
    "when", ["every 7m", "*/5 * * * *", "30 2 * * *", "0 0 1 * *", "*/7 * * * * *"]
)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_the_newest_times_are_counted_backwards(when: str, zone: str) -> None:
    """From the moment that is told on come so many times, but for a change of the clock."""
    end = Millis(millis_since_epoch(datetime(2026, 11, 25, 9, tzinfo=UTC)))
    calendar = Calendar(when, zone)
    for count in (1, 10, 500):
        first = calendar.newest(end, count)
        assert abs(len(calendar.between(first, end, 10_000)) - count) <= 1
