"""The world in memory: whole runs on the engine's own rules, with crashes anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from raftoral.errors import WorkflowFailed
from raftoral.ids import RunId
from raftoral.machines import commands
from raftoral.registry.app import Registry
from raftoral.replay.effects import Compute, Flow, workflow
from raftoral.replay.wording import describe
from raftoral.testing import Takes, World
from tests.replay import forest
from tests.replay.forest import FOREST

if TYPE_CHECKING:
    from raftoral.replay.effects import Workflow


@workflow("child", version=1)
def child(n: int) -> Flow[int]:
    """What the forest calls."""
    return (yield from Compute("twice", forest.add, n, n))


def world(**options: Any) -> World:
    """Return a world with the forest in it."""
    return World(Registry(workflows=[*FOREST, child]), **options)


def grown(flow: Workflow[Any, Any], crash_after: int = -1) -> tuple[World, list[str]]:
    """Run one workflow to its end and return what is in its history."""
    one = world()
    count = 0

    def settled(_run: str, event: object) -> None:
        nonlocal count
        count += 1
        if count == crash_after:
            one.crash_soon()
        token = getattr(event, "token", None)
        if token is not None:
            one.at("3s", lambda: one.complete(token, 5 if "one" in event.path else "five"))

    one.settled = settled
    one.start(flow.name, [2])
    if flow.name == "asked":
        one.update("run", "add", 0)
        one.update("run", "add", 2)
    one.run()
    return one, [describe(event) for event in one.events()]


@pytest.mark.parametrize("flow", FOREST, ids=lambda flow: flow.name)
def test_a_crash_after_any_event_changes_nothing(flow: Workflow[Any, Any]) -> None:
    """Whatever event the process dies after, the run has the history that it has without."""
    whole, told = grown(flow)
    assert not whole._live
    for crash, line in enumerate(told, 1):
        if not line.startswith("Asked"):
            assert grown(flow, crash)[1] == told, crash


def test_a_crash_behind_asked_interrupts_what_may_be_attempted_once() -> None:
    """After a crash between `Asked` and the result, nobody attempts it again (semantics 3.6)."""
    whole, told = grown(forest.once)
    one, cut = grown(forest.once, 1 + next(n for n, line in enumerate(told) if "Asked" in line))
    assert whole.result() == [3, 4]
    assert not one.attempts_made
    with pytest.raises(WorkflowFailed, match="Interrupted"):
        one.result()
    assert cut[:2] == told[:2]


def test_a_paused_run_settles_what_is_under_way_and_begins_nothing() -> None:
    """An attempt that ends while the run is paused is not lost; the next one waits for the end of the pause."""

    @workflow("two", version=1)
    def two() -> Flow[list[int]]:
        first = yield from Compute("first", forest.add, 1, 1)
        second = yield from Compute("second", forest.add, first, 1)
        return [first, second]

    one = World(Registry(workflows=[two]))
    one.choose = lambda _name, _function: lambda *_args: Takes("1h", 2)
    one.start("two")
    one.at("1m", lambda: one.propose(commands.Pause(RunId("run"), "audit")))
    one.run()
    assert one.status("run") == "paused"
    assert [type(event).__name__ for event in one.events()] == ["Started", "Paused", "Done"]
    one.propose(commands.Resume(RunId("run")))
    one.run()
    assert one.result("run") == [2, 2]
    one.close()


def test_a_late_attempt_fails_in_the_words_of_a_node() -> None:
    """What a workflow reads of a timeout is the same in a test and on a cluster."""

    @workflow("late", version=1)
    def late() -> Flow[list[str]]:
        told = []
        for key, step in (
            ("slow", Compute("slow", forest.add, 1, 1).timeout("50ms")),
            ("silent", Compute("silent", forest.add, 1, 1).heartbeat("1m30s")),
        ):
            try:
                yield from step
            except WorkflowFailed as failure:
                told.append(f"{key} {failure}")
        return told

    one = World(Registry(workflows=[late]))
    one.choose = lambda _name, _function: lambda *_args: Takes("1h", 2)
    one.start("late")
    one.run()
    assert one.result("run") == [
        "slow Timeout: no result within 50ms",
        "silent HeartbeatTimeout: no heartbeat within 1m30s",
    ]
    one.close()
