"""Lets schedules fire, for each group that this node leads.

Owns no schedule and no time: both stand in the group's state, so another leader goes on where this
one stopped. It looks at what is due, works out the time after that, and proposes both; the group
takes each time once. The rule it keeps: after a standstill the missed times within the schedule's
window, the newest 1,000 of them, are proposed in order; what came before is passed over in one step,
and counted, however long the standstill was.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from raftoral.errors import RaftoralError, Unavailable
from raftoral.ids import GroupId, Millis
from raftoral.machines import schedules
from raftoral.machines.commands import Fired, Many
from raftoral.runtime.calendars import Calendar
from raftoral.values import instant_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.machines.schedules import Schedule
    from raftoral.runtime.routing import Routing

log = logging.getLogger("raftoral.schedules")

MANY_MAX: Final = 256
"""How many times go into one entry."""

LOOK_S: Final = 1.0
"""How soon the group's clock is looked at again, at the latest: it may jump."""

PAUSE_S: Final = 0.2
"""How soon it is tried again after times were not taken."""


class Firing:
    """The schedules of the groups that this node leads; all methods belong to the node's loop."""

    def __init__(self, routing: Routing, now: Callable[[GroupId], Millis]) -> None:
        """``now`` is the clock of a group as this node can best tell it."""
        self._routing = routing
        self._now = now
        self._led: dict[GroupId, _Clockwork] = {}

    def leads(self, group: GroupId, leads: bool) -> None:
        """Begin or stop to let the schedules of a group fire."""
        if leads:
            self._led[group] = _Clockwork(group, self._routing, self._now)
        elif group in self._led:
            self._led.pop(group).close()

    def changed(self, group: GroupId) -> None:
        """Look again at when the schedules of a group are due."""
        if group in self._led:
            self._led[group].changed()

    def close(self) -> None:
        """Stop."""
        for each in self._led.values():
            each.close()
        self._led.clear()


class _Clockwork:
    """The schedules of one group."""

    def __init__(self, group: GroupId, routing: Routing, now: Callable[[GroupId], Millis]) -> None:
        self._group = group
        self._routing = routing
        self._now = now
        self._changed = asyncio.Event()
        self._unread: set[tuple[str, int]] = set()
        """Schedules (and revisions) whose times cannot be read here; told once."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def changed(self) -> None:
        """Look again."""
        self._changed.set()

    def close(self) -> None:
        """Stop."""
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            try:
                pause_s = await self._fire()
            except Exception as error:
                level = logging.DEBUG if isinstance(error, Unavailable) else logging.ERROR
                log.log(level, "group %d: its schedules wait: %s", self._group, error)
                await asyncio.sleep(PAUSE_S)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._changed.wait()

    async def _fire(self) -> float:
        """Propose what is due; return how long there is nothing more to do, in seconds."""
        if commands := self._due():
            result = await self._routing.propose(self._group, Many(commands).encode())
            taken = all(each[0] == "ok" for each in result[1])
            return 0.0 if taken else PAUSE_S
        now = self._now(self._group)
        for due, _ in schedules.by_due(self._routing.state(self._group)):
            if due > now:
                return min(LOOK_S, (due - now) / 1_000)
        return LOOK_S

    def _due(self) -> list[bytes]:
        """Return the commands for times that have come, at most 256."""
        state, now = self._routing.state(self._group), self._now(self._group)
        commands: list[bytes] = []
        for due, schedule in schedules.by_due(state):
            if due > now or len(commands) >= MANY_MAX:
                break
            known = schedules.find(state, schedule)
            assert known is not None, "an index names a schedule that is not there"
            commands += self._times(known, due, now, MANY_MAX - len(commands))
        return commands

    def _times(self, known: Schedule, due: Millis, now: Millis, limit: int) -> list[bytes]:
        """Return the commands for the times of one schedule from ``due`` until now."""
        spec = known.plan
        try:
            calendar = Calendar(spec.when, spec.zone)
        except RaftoralError as error:
            if (known.id, known.revision) not in self._unread:
                self._unread.add((known.id, known.revision))
                log.error("schedule %s does not fire: %s", known.id, error)  # noqa: TRY400
            return []
        first = Millis(
            max(now - spec.catch_up if spec.catch_up else 0, _newest(calendar, due, now))
        )
        if due < first:
            return [_passed_over(known, calendar, due, first).encode()]
        times = [due, *calendar.between(Millis(due + 1), now, limit - 1)]
        after = [*times[1:], calendar.after(times[-1]) or Millis(0)]
        return [
            Fired(known.id, known.revision, at, next_at).encode()
            for at, next_at in zip(times, after, strict=True)
        ]


def _newest(calendar: Calendar, due: Millis, now: Millis) -> Millis:
    """Return from when on missed times are made up for, counted from the newest."""
    missed = calendar.between(due, now, schedules.MISSED_MAX + 1)
    return calendar.newest(now, schedules.MISSED_MAX) if len(missed) > schedules.MISSED_MAX else due


def _passed_over(known: Schedule, calendar: Calendar, due: Millis, first: Millis) -> Fired:
    """Return the command that leaves out the times from ``due`` until before ``first``."""
    next_at = calendar.after(Millis(first - 1)) or Millis(0)
    last = min(first - 1, known.plan.end_at or first)
    missed = calendar.between(due, Millis(last), schedules.MISSED_MAX)
    log.warning(
        "schedule %s was missed %s%d times from %s on; they are too late and left out",
        known.id,
        "at least " if len(missed) == schedules.MISSED_MAX else "",
        len(missed),
        instant_of(due).isoformat(),
    )
    return Fired(known.id, known.revision, due, next_at, max(1, len(missed)))
