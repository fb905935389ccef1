"""`crash_at_every_event` and `run_twice`: what they let pass, and what they find."""

from __future__ import annotations

import pytest

from raftoral.errors import UsageError, WorkflowFailed
from raftoral.replay.effects import Compute, Flow, Race, Sleep, workflow
from raftoral.testing import InTurn, Request, Signal, Takes, crash_at_every_event, run_twice, rwf
from tests.testing import flows
from tests.testing.test_running import MOCKS, WORKFLOWS

EVERYTHING = {
    "signals": [Signal("approved", True, after="30m")],
    "updates": [Request("wanted", 4, after="2h")],
    "callbacks": {"review": Takes("3h", "fine")},
    "children": [flows.child],
    "real": True,
}


def test_a_sound_workflow_survives_a_crash_anywhere() -> None:
    """Behind each event and in each attempt, the run goes on to the same history."""
    mocks = {**MOCKS, flows.charge: InTurn(WorkflowFailed("Busy"), "p-1")}
    tested = crash_at_every_event(flows.order, "o-1", mocks=mocks)
    assert tested.result.id == "o-1"
    assert crash_at_every_event(flows.everything, ["a", "b"], **EVERYTHING).result["once"] == "ONCE"
    hello = rwf(WORKFLOWS / "hello.rwf")
    assert crash_at_every_event(hello, "Ann", mocks={"people.greet": "Hi"}).result == "Hi"


def test_a_crash_beside_what_may_be_attempted_once_is_no_difference() -> None:
    """The attempt is lost by a crash behind another branch's event too, and ends as it promises."""

    @workflow("once", version=1)
    def once() -> Flow[int]:
        won = yield from Race(
            "r", Compute("a", flows.plain, "x").at_most_once(), Sleep("10m"), Sleep("20m")
        )
        return won.index

    assert crash_at_every_event(once, mocks={flows.plain: Takes("1h", "X")}).result == 1


def test_branches_keep_their_order_after_a_crash() -> None:
    """An attempt that a crash has lost ends when it would have, so what follows it comes no later."""

    @workflow("racing", version=1)
    def racing() -> Flow[str]:
        def slow(name: str) -> Flow[str]:
            yield from Compute("work", flows.plain, name)
            yield from Sleep("20m")
            return name

        won = yield from Race("r", slow("a"), slow("b"), Sleep("65m"))
        return str(won.index)

    mocks = {flows.plain: lambda name: Takes("30m" if name == "a" else "40m", name)}
    assert crash_at_every_event(racing, mocks=mocks).result == "0"


def test_a_failing_run_fails_in_the_same_way_after_any_crash() -> None:
    """A failure is a history like any other."""
    tested = crash_at_every_event(flows.order, "o-1", mocks={flows.charge: WorkflowFailed("Broke")})
    with pytest.raises(WorkflowFailed, match="Broke"):
        tested.result  # noqa: B018


def test_state_that_outlives_a_run_is_found() -> None:
    """Code that remembers something outside of the run is told, with what it did and does."""
    with pytest.raises(AssertionError) as found:
        crash_at_every_event(flows.remembers, registry=flows.careless, real=True)
    text = str(found.value)
    assert text.startswith("after a crash behind event 1 (Started remembers v1")
    assert "had another history" in text
    assert "`step-1` is called `step-3` now" in text
    assert "flows.py:" not in text.splitlines()[0]


def test_state_that_changes_between_replays_is_found() -> None:
    """Code whose rebuilt generator asks for something else is told where."""
    seen: list[int] = []

    @workflow("grows", version=1)
    def grows() -> Flow[None]:
        seen.append(1)
        yield from Compute(f"step-{'even' if len(seen) % 2 else 'odd'}", flows.plain, "x")

    flows.careless.add_workflow(grows)
    with pytest.raises(AssertionError, match=r"after a crash behind event") as found:
        crash_at_every_event(grows, registry=flows.careless, real=True)
    assert "step-" in str(found.value)


def test_the_order_of_sets_is_found_in_other_processes() -> None:
    """A workflow that goes through a set does not repeat its history under another hash seed."""
    names = ["ann", "bob", "cid", "dee", "eve", "fay"]
    with pytest.raises(AssertionError, match="with PYTHONHASHSEED=") as found:
        run_twice(flows.unordered, names, registry=flows.careless, real=True)
    assert "flows.py:" in str(found.value)


def test_a_sound_workflow_repeats_itself_everywhere() -> None:
    """Other hash seeds and other latencies change nothing."""
    assert run_twice(flows.everything, ["a", "b"], **EVERYTHING).status == "completed"
    hello = rwf(WORKFLOWS / "hello.rwf")
    assert run_twice(hello, "Ann", mocks={"people.greet": "Hi"}).result == "Hi"


def test_a_workflow_that_no_other_process_finds_is_refused() -> None:
    """Another process imports a module; it cannot reach into a function."""

    @workflow("inner", version=1)
    def inner() -> Flow[None]:
        yield from Compute("x", flows.plain, "x")

    with pytest.raises(UsageError, match="let it stand at the top of its module"):
        run_twice(inner, real=True)
