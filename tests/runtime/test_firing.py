"""Schedules fire once for each time, whoever leads and however long nobody did."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Any, cast

import pytest

from raftoral.codec import pack
from raftoral.errors import ProposalDropped, ProposalUnknown
from raftoral.ids import SLOTS, GroupId, Index, Millis, NodeId, RunId
from raftoral.kv import MemoryKeyValue
from raftoral.machines import commands, execution, outbox, schedules
from raftoral.machines.outbox import Begin, Say
from raftoral.machines.schedules import Spec, run_id_of
from raftoral.runtime.calendars import Calendar
from raftoral.runtime.firing import Firing
from raftoral.values import instant_of, millis_since_epoch
from tests.virtual import run

if TYPE_CHECKING:
    from raftoral.machines.base import Result
    from raftoral.runtime.routing import Routing

GROUP = GroupId(1)
NINE = Millis(millis_since_epoch(datetime(2026, 11, 25, 9, tzinfo=UTC)))
MINUTE = 60_000


class World:
    """One group with a clock that the test turns, and whoever leads it."""

    def __init__(self, seed: int = 0, loss: float = 0.0) -> None:
        self.chance = Random(seed)
        self.loss = loss
        self.now = NINE
        self.state = MemoryKeyValue()
        self.machine = execution.Execution()
        self.index = 0
        self.leader: Firing | None = None
        self.proposed = 0
        self.commit(commands.OwnSlots(b"\xff" * (SLOTS // 8)))
        self.commit(commands.Publish(NodeId(1), "boot"))

    def lead(self) -> None:
        """Let a node lead the group, in place of the one that did."""
        self.stand_still()
        self.leader = Firing(cast("Routing", _Routing(self)), lambda _group: self.now)
        self.leader.leads(GROUP, leads=True)

    def stand_still(self) -> None:
        """Let nobody lead the group."""
        if self.leader is not None:
            self.leader.close()
            self.leader = None

    # -------------------------------------------------------------- what the firing needs
    def state_of(self, _group: GroupId) -> MemoryKeyValue:
        """Return the applied state."""
        return self.state

    async def propose(self, _group: GroupId, command: bytes) -> Result:
        """Put a command into the log, or lose it or its answer."""
        self.proposed += 1
        await asyncio.sleep(0)
        luck = self.chance.random()
        if luck < self.loss:
            raise ProposalDropped("lost before the log")
        result = self.commit(command)
        if luck < 2 * self.loss:
            raise ProposalUnknown("the answer was lost")
        return result

    def commit(self, command: commands.Command | bytes) -> Result:
        """Apply a command and tell the leader what happened."""
        self.index += 1
        data = command if isinstance(command, bytes) else command.encode()
        result, events = self.machine.apply(Index(self.index), self.now, data, self.state)
        if self.leader is not None and any(
            isinstance(event, execution.ScheduleChanged) for event in events
        ):
            self.leader.changed(GROUP)
        return result

    # -------------------------------------------------------------- what a test does
    def put(self, schedule: str, when: str, **more: Any) -> None:
        """Store a schedule."""
        spec = Spec("report", 0, pack({}), when, **more)
        first = Calendar(when, spec.zone).after(Millis(self.now - 1)) or Millis(0)
        result = self.commit(commands.PutSchedule(schedule, spec.encode(), Index(0), first))
        assert result[0] == "ok", result

    def get(self, schedule: str) -> schedules.Schedule:
        """Return a schedule."""
        found = schedules.find(self.state, schedule)
        assert found is not None
        return found

    def begun(self, schedule: str) -> list[RunId]:
        """Return the runs that a schedule has asked for, in their order."""
        return [
            message.run_id
            for _, message in outbox.messages(self.state)
            if isinstance(message, Begin) and message.run_id.startswith(f"{schedule}@")
        ]

    def end_current(self, schedule: str) -> None:
        """Let the run that a schedule waits for end."""
        current = RunId(self.get(schedule).current)
        self.commit(commands.ScheduledEnded(schedule, current))

    async def until(self, moment: int, step: int = MINUTE) -> None:
        """Turn the clock, a step at a time, and let everything come to rest each time."""
        while self.now < moment:
            self.now = Millis(min(moment, self.now + step))
            await self.rest()

    async def rest(self) -> None:
        """Let the leader do what is due."""
        if self.leader is None:
            return
        self.leader.changed(GROUP)
        async with asyncio.timeout(20):
            while any(due <= self.now for due, _ in schedules.by_due(self.state)):  # noqa: ASYNC110
                await asyncio.sleep(0.001)


class _Routing:
    """The world as `raftoral.runtime.routing.Routing`."""

    def __init__(self, world: World) -> None:
        self.state = world.state_of
        self.propose = world.propose


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raftoral.runtime.firing.PAUSE_S", 0.001)
    monkeypatch.setattr("raftoral.runtime.firing.LOOK_S", 0.01)


def ids(schedule: str, *minutes: int) -> list[RunId]:
    """Return the ids of runs so many minutes after nine."""
    return [run_id_of(schedule, Millis(NINE + minute * MINUTE)) for minute in minutes]


def test_a_schedule_fires_at_each_of_its_times_and_names_its_runs_by_them() -> None:
    """Runs begin when they are due, not before, under the id of their time."""

    async def main() -> None:
        world = World()
        world.lead()
        world.put("s", "*/5 * * * *", overlap="allow")
        await world.until(NINE + 14 * MINUTE, step=MINUTE)
        assert world.begun("s") == ids("s", 0, 5, 10)
        assert world.begun("s")[1] == "s@2026-11-25T09:05:00Z"
        assert world.get("s").next_at == NINE + 15 * MINUTE
        before = world.proposed
        await asyncio.sleep(0.05)
        assert world.proposed == before, "nothing is due, so nothing is proposed"
        world.stand_still()

    run(main())


@pytest.mark.parametrize(
    ("overlap", "begun", "left_out"),
    [("skip", [0, 3], 2), ("buffer_one", [0, 1, 3], 1), ("allow", [0, 1, 2, 3], 0)],
)
def test_what_overlaps_is_left_out_waits_or_begins(
    overlap: str, begun: list[int], left_out: int
) -> None:
    """While the first run goes on, two more times come; then it ends, and one more comes."""

    async def main() -> None:
        world = World()
        world.lead()
        world.put("s", "* * * * *", overlap=overlap)
        await world.until(NINE + 2 * MINUTE)
        while world.get("s").current:
            world.end_current("s")
        await world.until(NINE + 3 * MINUTE)
        assert world.begun("s") == ids("s", *begun)
        assert world.get("s").left_out == left_out
        world.stand_still()

    run(main())


@pytest.mark.parametrize("overlap", ["cancel_other", "terminate_other"])
def test_what_is_in_the_way_is_closed(overlap: str) -> None:
    """The run that goes on is asked to stop once it has begun, and the newest time is next."""

    async def main() -> None:
        world = World()
        world.lead()
        world.put("s", "* * * * *", overlap=overlap)
        await world.until(NINE + 2 * MINUTE)
        (first,) = outbox.messages(world.state)
        world.commit(commands.OutboxDone([first[0]]))
        said = [each.to for _, each in outbox.messages(world.state) if isinstance(each, Say)]
        assert said == ids("s", 0)
        world.end_current("s")
        assert world.begun("s") == ids("s", 2)
        assert world.get("s").left_out == 1
        world.stand_still()

    run(main())


def test_after_a_standstill_missed_times_are_made_up_for_within_a_window() -> None:
    """Those within the window begin, the others are left out and counted."""

    async def main() -> None:
        world = World()
        world.put("all", "* * * * *", overlap="allow")
        world.put("window", "* * * * *", overlap="allow", catch_up=10 * MINUTE)
        world.now = Millis(NINE + 700 * MINUTE)
        world.lead()
        await world.rest()
        assert world.get("all").fired == 701
        assert world.begun("window") == ids("window", *range(690, 701))
        assert world.get("window").left_out == 690
        assert world.proposed <= 10, "many times go into one entry"
        world.stand_still()

    run(main())


@pytest.mark.parametrize(
    ("when", "second"), [("every 1s", 1), ("*/10 * * * * *", 10), ("* * * * *", 60)]
)
def test_a_year_of_missed_times_is_passed_over_in_one_step(
    when: str, second: int, caplog: pytest.LogCaptureFixture
) -> None:
    """However long nobody led, the newest 1,000 times begin, and what was before is one command."""

    async def main() -> None:
        world = World()
        world.put("s", when, overlap="allow")
        world.now = Millis(NINE + 365 * 24 * 60 * MINUTE)
        world.lead()
        await world.rest()
        assert world.get("s").fired == 1_000
        begun = world.begun("s")
        assert begun[-1] == run_id_of("s", world.now)
        assert begun[0] == run_id_of("s", Millis(world.now - 999_000 * second))
        assert world.get("s").left_out == 1_000, "as many as are counted"
        assert world.proposed <= 6
        world.stand_still()

    asyncio.run(main())
    (told,) = [each.message for each in caplog.records if "schedule s" in each.message]
    assert "missed at least 1000 times from 2026-11-25T09:00:00+00:00 on" in told


def test_a_window_in_which_no_time_is_leaves_all_out_and_goes_on() -> None:
    """A standstill over some times that are too late by now: they are counted, the next one fires."""

    async def main() -> None:
        world = World()
        world.put("s", "0 9 * * *", overlap="allow", catch_up=60 * MINUTE)
        world.now = Millis(NINE + (3 * 24 * 60 + 120) * MINUTE)
        world.lead()
        await world.rest()
        assert (world.get("s").fired, world.get("s").left_out) == (0, 4)
        assert world.get("s").next_at == NINE + 4 * 24 * 60 * MINUTE
        await world.until(world.get("s").next_at, step=12 * 60 * MINUTE)
        assert world.begun("s") == ids("s", 4 * 24 * 60)
        world.stand_still()

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(8))
def test_each_time_fires_once_or_is_left_out_once(seed: int) -> None:
    """With lost commands, standstills and new leaders, every time of the calendar counts once."""

    async def main() -> None:
        world = World(seed, loss=0.2)
        zones = ["UTC", "Europe/Berlin", "America/New_York"]
        plans = {
            f"s{number}": (when, world.chance.choice(zones))
            for number, when in enumerate(("*/7 * * * *", "every 90s", "0 * * * *", "30 2 * * *"))
        }
        for name, (when, zone) in plans.items():
            overlap = world.chance.choice(["allow", "skip", "buffer_one"])
            catch_up = world.chance.choice([0, 30 * MINUTE])
            world.put(name, when, zone=zone, overlap=overlap, catch_up=catch_up)
        for _ in range(30):
            match world.chance.randrange(4):
                case 0:
                    world.stand_still()
                case 1:
                    world.lead()
                case _:
                    pass
            for name in plans:
                if world.chance.random() < 0.5 and world.get(name).current:
                    world.end_current(name)
            await world.until(world.now + world.chance.randrange(60) * MINUTE, step=20 * MINUTE)
        world.lead()
        await world.rest()
        for name, (when, zone) in plans.items():
            known = world.get(name)
            times = Calendar(when, zone).between(NINE, world.now, 100_000)
            waiting = 1 if known.waiting else 0
            assert known.fired + known.left_out + waiting == len(times), name
            assert len(set(world.begun(name))) == len(world.begun(name)) == known.fired
            assert set(world.begun(name)) <= {run_id_of(name, at) for at in times}
        world.stand_still()

    run(main())


def test_a_schedule_whose_times_cannot_be_read_here_stops_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A node without its time zone tells so once, and the others fire."""

    async def main() -> None:
        world = World()
        spec = Spec("report", 0, pack({}), "* * * * *", "Mars/Olympus")
        world.commit(commands.PutSchedule("bad", spec.encode(), Index(0), NINE))
        world.put("good", "* * * * *", overlap="allow")
        world.lead()
        world.now = Millis(NINE + MINUTE)
        for _ in range(200):
            await asyncio.sleep(0.001)
        assert world.begun("good") == ids("good", 0, 1)
        assert world.begun("bad") == []
        world.stand_still()

    run(main())
    told = [record.message for record in caplog.records if "schedule bad" in record.message]
    assert len(told) == 1
    assert "no time zone is called 'Mars/Olympus'" in told[0]


def test_a_schedule_fires_no_more_behind_its_end() -> None:
    """The last time is the last one before the end, also when many are made up for at once."""

    async def main() -> None:
        world = World()
        end = Millis(NINE + 3 * MINUTE + 1)
        world.put("s", "* * * * *", overlap="allow", end_at=end)
        world.now = Millis(NINE + 60 * MINUTE)
        world.lead()
        await world.rest()
        assert world.begun("s") == ids("s", 0, 1, 2, 3)
        assert world.get("s").due is None
        assert instant_of(world.get("s").last_at) == instant_of(NINE + 3 * MINUTE)
        world.stand_still()

    run(main())
