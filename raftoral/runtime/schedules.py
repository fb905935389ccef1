"""Schedules, on any node: stored, shown, changed; and their times, worked out from the calendar.

Owns the requests. Where the next time of a schedule is told to its group it was worked out on the
node that was asked, once; what the group has recorded holds (`raftoral.machines.schedules`). That
they fire is the work of whoever leads their group: `raftoral.runtime.firing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from raftoral.codec import pack, unpack
from raftoral.convert import to_plain
from raftoral.errors import (
    InvalidInput,
    LimitExceeded,
    ScheduleConflict,
    Unavailable,
    UnknownSchedule,
    UsageError,
)
from raftoral.ids import GroupId, Index, Millis
from raftoral.machines import runs, schedules
from raftoral.machines.commands import (
    Backfill,
    DropSchedule,
    PauseSchedule,
    PutSchedule,
    ResumeSchedule,
)
from raftoral.machines.schedules import Spec
from raftoral.runtime.calendars import Calendar
from raftoral.runtime.views import ScheduleView, SpecView

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.ids import RunId
    from raftoral.machines.command import Command
    from raftoral.runtime.lookup import Lookup
    from raftoral.runtime.routing import Routing
    from raftoral.runtime.starts import Starts
    from raftoral.values import Value

PAGE_MAX: Final = 100
"""How many schedules travel in one message."""

TRIES_MAX: Final = 5
"""How often a change is tried on a schedule that others change too."""


class Schedules:
    """The schedules as one node can show and change them."""

    def __init__(
        self,
        routing: Routing,
        starts: Starts,
        lookup: Lookup,
        now: Callable[[], Millis],
        unique: Callable[[], str],
    ) -> None:
        """``now`` is the cluster's clock as this node can best tell it; ``unique`` makes ids."""
        self._routing = routing
        self._starts = starts
        self._lookup = lookup
        self._now = now
        self._unique = unique
        routing.serve("schedule.show", self._serve_show)
        routing.serve("schedule.list", self._serve_list)

    # -------------------------------------------------------------- looking
    async def show(self, schedule: str) -> ScheduleView:
        """Return a schedule as it stands; `UnknownSchedule` if there is none."""
        group = self._routing.group_of(runs.check_run_id(schedule))
        if not self._routing.is_here(group):
            return _view_of(await self._routing.ask(group, "schedule.show", [schedule]))
        await self._routing.barrier(group)
        known = schedules.find(self._routing.state(group), schedule)
        if known is None:
            raise UnknownSchedule(f"no schedule is called {schedule!r:.200}")
        return _view(known)

    async def _serve_show(self, schedule: str) -> Value:
        return (await self.show(schedule)).plain()

    async def all(self) -> list[ScheduleView]:
        """Return the schedules of all groups, by id."""
        found = [view for group in self._routing.groups() for view in await self._of_group(group)]
        return sorted(found, key=lambda view: view.id)

    async def _of_group(self, group: GroupId) -> list[ScheduleView]:
        if self._routing.is_here(group):
            return [_view(each) for each in schedules.by_id(self._routing.state(group))]
        found: list[ScheduleView] = []
        while True:
            after = found[-1].id if found else ""
            page = cast(
                "list[Value]", await self._routing.ask(group, "schedule.list", [group, after])
            )
            found += map(_view_of, page)
            if len(page) < PAGE_MAX:
                return found

    async def _serve_list(self, group: int, after: str) -> Value:
        listed = schedules.by_id(self._routing.state(GroupId(group)), after)
        return [_view(each).plain() for _, each in zip(range(PAGE_MAX), listed, strict=False)]

    # -------------------------------------------------------------- changing
    async def put(self, schedule: str, spec: SpecView) -> ScheduleView:
        """Store a schedule, in place of the one that has this id; return it as it stands then.

        Its workflow has to be deployed and the input has to fit it, as it is now.
        """
        runs.check_run_id(schedule)
        stored = await self._stored(spec)
        for _ in range(TRIES_MAX):
            known = await self._known(schedule)
            revision = Index(0) if known is None else Index(known.revision)
            command = PutSchedule(schedule, stored.encode(), revision, self._next(stored))
            try:
                await self._say(schedule, command)
            except ScheduleConflict:
                continue
            return await self.show(schedule)
        raise ScheduleConflict(f"schedule {schedule} is changed by others all the time; try again")

    async def _known(self, schedule: str) -> ScheduleView | None:
        try:
            return await self.show(schedule)
        except UnknownSchedule:
            return None

    async def _stored(self, spec: SpecView) -> Spec:
        """Return what is stored of a schedule, checked as far as it can be today."""
        definition = await self._starts.definitions.find(spec.name, spec.version or None)
        given = to_plain(spec.input)
        if not isinstance(given, (dict, list)):
            raise InvalidInput("the input of a schedule is a map by name, or a list by position")
        self._starts.loader.checked_input(definition, given)
        Calendar(spec.when, spec.zone)
        return Spec(
            spec.name,
            spec.version,
            pack(given, floats=True),
            spec.when,
            spec.zone,
            spec.overlap,
            Millis(spec.start_at),
            Millis(spec.end_at),
            spec.catch_up_ms,
        )

    def _next(self, spec: Spec) -> Millis:
        """Return the first time from now, and from the schedule's start, on; 0 if there is none."""
        behind = max(self._now(), spec.start_at - 1)
        return Calendar(spec.when, spec.zone).after(Millis(behind)) or Millis(0)

    async def pause(self, schedule: str, reason: str, request: str | None = None) -> None:
        """Let a schedule fire no more; the same ``request`` does so once."""
        await self._say(schedule, PauseSchedule(schedule, reason, request or self._unique()))

    async def resume(self, schedule: str, request: str | None = None) -> None:
        """Let a paused schedule fire again, from now on; the same ``request`` does so once."""
        view = await self.show(schedule)
        next_at = self._next(await self._stored(view.spec))
        await self._say(schedule, ResumeSchedule(schedule, next_at, request or self._unique()))

    async def drop(self, schedule: str, revision: int | None = None) -> None:
        """Remove a schedule; one that is not there is fine.

        `ScheduleConflict` if it is not at ``revision`` any more; None is the one that it is at now.
        """
        if revision is None:
            known = await self._known(schedule)
            if known is None:
                return
            revision = known.revision
        await self._say(schedule, DropSchedule(schedule, Index(revision)))

    async def trigger(self, schedule: str, at: int | None) -> RunId:
        """Start a run now, whatever goes on; return its id. The same moment ``at`` is one run."""
        moment = Millis(at) if at is not None else self._now()
        if moment < 0:
            raise UsageError("the moment that names a run is not before 1970")
        await self._start(schedule, lambda _view: [moment])
        run_id = schedules.run_id_of(schedule, moment)
        # Its start is on its way from one group to another; who triggers it will look at it.
        if not await self._lookup.appeared(run_id, self._routing.timeout_s):
            raise Unavailable(
                f"run {run_id} has not begun yet; if it stays away, the log of the node that leads "
                "the schedule's group says why"
            )
        return run_id

    async def backfill(self, schedule: str, start: int, end: int) -> list[RunId]:
        """Start a run for each time of a schedule from ``start`` to ``end``; return their ids.

        Times whose runs there were already start none. `LimitExceeded` above 1,000.
        """

        def times(view: ScheduleView) -> list[Millis]:
            limit = schedules.BACKFILL_MAX
            calendar = Calendar(view.spec.when, view.spec.zone)
            found = calendar.between(Millis(start), Millis(end), limit + 1)
            if len(found) > limit:
                raise LimitExceeded(f"that are more than {limit:,} runs; backfill in parts")
            return found

        found = await self._start(schedule, times)
        return [schedules.run_id_of(schedule, at) for at in found]

    async def _start(
        self, schedule: str, times: Callable[[ScheduleView], list[Millis]]
    ) -> list[Millis]:
        """Start the runs of some times; a run's id is its time, so doing it twice starts none twice."""
        for _ in range(TRIES_MAX):
            view = await self.show(schedule)
            found = times(view)
            try:
                await self._say(schedule, Backfill(schedule, Index(view.revision), [*found]))
            except ScheduleConflict:
                continue
            return found
        raise ScheduleConflict(f"schedule {schedule} is changed by others all the time; try again")

    async def _say(self, schedule: str, command: Command) -> None:
        await self._routing.propose(self._routing.group_of(schedule), command.encode())


def _view(known: schedules.Schedule) -> ScheduleView:
    return ScheduleView(
        id=known.id,
        spec=_spec_view(known.plan),
        revision=known.revision,
        next_at=known.due or 0,
        paused=known.paused is not None,
        reason=known.paused or "",
        current=known.current,
        waiting_at=known.waiting,
        last_at=known.last_at,
        fired=known.fired,
        left_out=known.left_out,
    )


def _spec_view(spec: Spec) -> SpecView:
    return SpecView(
        name=spec.name,
        when=spec.when,
        input=unpack(spec.input),
        version=spec.version,
        zone=spec.zone,
        overlap=cast("Any", spec.overlap),
        start_at=spec.start_at,
        end_at=spec.end_at,
        catch_up_ms=spec.catch_up,
    )


def _view_of(plain: Value) -> ScheduleView:
    fields = cast("dict[str, Any]", plain)
    return ScheduleView(**{**fields, "spec": SpecView(**fields["spec"])})
