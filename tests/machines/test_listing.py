"""Lists: what they are asked for, they show, newest first; and the counts of a group."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from raftoral.codec import pack
from raftoral.ids import SLOTS, Index, Millis, RunId, Version
from raftoral.kv import MemoryKeyValue
from raftoral.machines import commands, listing, outbox, runs, search
from raftoral.machines.execution import Execution
from raftoral.machines.listing import Filter
from raftoral.replay.history import Ended, Restarted, Set
from tests.machines.group import FAILED, Group, R
from tests.machines.hostile import plausible

if TYPE_CHECKING:
    from raftoral.machines.base import Result


def start(group: Group, search_for: list[str], run_id: str = "r") -> Result:
    """Start a run with cells that are searched."""
    data = pack({"x": 1})
    return group.apply(
        commands.StartRun(RunId(run_id), "w", Version(1), "m", data, Index(0), search=search_for)
    )


def found(group: Group, **cells: Any) -> list[str]:
    """Return the runs whose cells have these values."""
    wanted = Filter(cells={path: pack(value) for path, value in cells.items()})
    listed = listing.newest_first(group.state, wanted)
    return [run.id for run in listed if wanted.fits(group.state, run)]


def test_every_filter_shows_what_a_look_at_all_runs_shows() -> None:
    """Whatever index a list is read from, it shows the same runs in the same order, page by page."""
    for seed in range(4):
        chance, state, at = Random(seed), MemoryKeyValue(), 1_000
        slots = commands.OwnSlots(b"\xff" * (SLOTS // 8)).encode()
        for index in range(1, 400):
            at += chance.randrange(0, 20)
            data = slots if index == 1 else plausible(chance, state)
            Execution().apply(Index(index), Millis(at), data, state)
        every = list(listing.newest_first(state))
        assert every == sorted(every, key=lambda run: (run.started_at, run.id), reverse=True)
        for _ in range(60):
            run = chance.choice(every)
            wanted = Filter(
                status=chance.choice((None, run.status)),
                name=chance.choice((None, run.name)),
                version=chance.choice((None, 1, 2)),
                started_from=chance.choice((None, run.started_at)),
                started_before=chance.choice((None, run.started_at + chance.randrange(500))),
                cells=chance.choice(({}, search.cells(state, run))),
            )
            expected = [each for each in every if wanted.fits(state, each)]
            listed = [
                each for each in listing.newest_first(state, wanted) if wanted.fits(state, each)
            ]
            assert listed == expected
            if expected:
                last = chance.choice(expected)
                behind = listing.newest_first(state, wanted, (last.started_at, last.id))
                page = [each for each in behind if wanted.fits(state, each)]
                assert page == expected[expected.index(last) + 1 :]


def test_a_run_is_found_by_the_last_value_of_its_cell() -> None:
    """A searched cell is found by what it holds now, also after the end; other cells are not."""
    group = Group()
    start(group, ["status", "pages[0]/n"])
    group.settle(Set("status", "new"), Set("other", "new"), Set("pages[0]/n", True))
    assert found(group, status="new") == ["r"]
    assert found(group, other="new") == []
    group.settle(Set("status", "paid"))
    assert found(group, status="new") == []
    assert found(group, **{"status": "paid", "pages[0]/n": True}) == ["r"]
    assert found(group, **{"status": "paid", "pages[0]/n": 1}) == [], "True is not 1"
    group.settle(Ended("completed", None))
    assert found(group, status="paid") == ["r"]
    group.apply(commands.Forget(9_999, 0, 9))
    assert found(group, status="paid") == []


def test_a_restart_empties_the_searched_cells() -> None:
    """The next generation has set nothing yet, so nothing of the last is found (semantics 7.1)."""
    group = Group()
    start(group, ["status"])
    group.settle(Set("status", "new"))
    group.settle(Restarted({"x": 2}))
    assert found(group, status="new") == []
    group.settle(Set("status", "new"))
    assert found(group, status="new") == ["r"]


def test_what_can_be_searched_is_bounded() -> None:
    """Too many cells are refused; too large a value is not found, and somebody is told."""
    group = Group()
    assert start(group, ["x"] * 17)[:2] == ["refused", "limit_exceeded"]
    assert start(group, [""])[:2] == ["refused", "usage"]
    start(group, ["status"])
    group.settle(Set("status", "short"))
    group.settle(Set("status", "x" * 2_000))
    assert group.told() == ["Warned", "Settled"]
    assert found(group, status="short") == []
    assert search.cells(group.state, group.run()) == {}


def test_a_group_counts_what_it_holds() -> None:
    """The numbers of runs by status, of messages and of schedules are kept, not counted."""
    group = Group()
    for number in range(6):
        group.start(f"r{number}")
    group.settle(Ended("completed", 1), run_id="r0")
    group.settle(Ended("failed", FAILED), run_id="r1")
    group.apply(commands.Pause(RunId("r2"), ""))
    group.ask(run_id="r3")
    counts = listing.counts(group.state)
    assert counts.runs == {
        "running": 3, "paused": 1, "parked": 0, "completed": 1, "failed": 1, "cancelled": 0,
        "terminated": 0,
    }  # fmt: skip
    assert (counts.live, counts.outbox, counts.schedules) == (4, 1, 0)
    assert outbox.count(group.state) == 1
    assert runs.find(group.state, R) is None
