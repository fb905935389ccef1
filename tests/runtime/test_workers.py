"""Activities in processes of their own: what crosses, and what ends with an attempt."""

from __future__ import annotations

import asyncio
import os
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from raftoral.errors import UsageError, WorkflowFailed
from raftoral.replay.effects import Activity, Compute, Flow, Race, Sleep, activity, workflow
from raftoral.replay.history import Done, Ended
from tests.runtime.cluster import cluster, end, events, registry
from tests.runtime.computing import Hidden, Order, fall, refuse, spin, total, watch, where

if TYPE_CHECKING:
    from collections.abc import Callable


def is_alive(pid: int) -> bool:
    """Tell whether a process runs and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def run_alone(flow: Any, check: Callable[[Any], None] | None = None, **given: object) -> Ended:
    """Run a workflow on one member; return its end."""

    async def story() -> Ended:
        async with cluster(registry(flow)) as made:
            made.start("r", flow, **given)
            await made.ended("r")
            if check is not None:
                check(made)
            return end(made, "r")

    return asyncio.run(story())


def test_arguments_and_results_cross_by_their_declared_types() -> None:
    """A dataclass, exact numbers, more arguments and named ones arrive as the function says."""

    @workflow("w", version=1)
    def w() -> Flow[list[object]]:
        order = Order("o-1", Decimal("1.50"))
        more = yield from Compute("total", total, order, 2, 3, factor=0.5)
        return [more.id, more.price, type(more).__name__]

    ended = run_alone(w)
    assert ended == Ended("completed", ["o-1", Decimal("3.750"), "Order"])


def test_a_process_is_another_one_is_kept_and_knows_its_attempt() -> None:
    """Steps one after the other share a process, which is not the node's."""

    @workflow("w", version=1)
    def w() -> Flow[list[list[object]]]:
        first = yield from Compute("one", where, 1)
        second = yield from Compute("two", where, 2)
        return [first, second]

    value: Any = run_alone(w).value
    (pid, *first), (again, *second) = value
    assert pid == again != os.getpid()
    assert first == ["r/0/one", 1, None]
    assert second == ["r/0/two", 1, None]
    assert not is_alive(pid), "it ends with its node"


def test_a_computation_ends_with_its_attempt(tmp_path: Path) -> None:
    """A timeout ends the process, whatever it computes; the next attempt has another one."""
    mark = tmp_path / "pids"

    @workflow("w", version=1)
    def w() -> Flow[str]:
        try:
            yield from Compute("spin", spin, str(mark)).timeout("700ms").retry(2, first="1ms")
        except WorkflowFailed as error:
            return error.name
        return ""

    assert run_alone(w) == Ended("completed", "Timeout")
    pids = [int(line) for line in mark.read_text().split()]
    assert len(set(pids)) == 2
    assert not any(map(is_alive, pids))


def test_a_process_is_told_that_nobody_waits_and_beats_across() -> None:
    """Heartbeats keep it alive; when its branch is cancelled it may return what it has."""

    @workflow("w", version=1)
    def w() -> Flow[object]:
        won = yield from Race("first", Compute("watch", watch).heartbeat("400ms"), Sleep("1200ms"))
        return won.name

    def check(made: Any) -> None:
        (done,) = [event for event in events(made, "r") if isinstance(event, Done)]
        assert (done.ok, done.value) == (True, "told")

    run_alone(w, check)


def test_a_process_that_dies_fails_its_attempt_alone() -> None:
    """``ProcessDied`` names the signal; a retry finds another process and the last heartbeat."""

    @workflow("w", version=1)
    def w() -> Flow[list[object]]:
        try:
            yield from Compute("fall", fall)
        except WorkflowFailed as error:
            return [error.name, error.message, error.details]
        return []

    @workflow("again", version=1)
    def again() -> Flow[None]:
        yield from Compute("fall", fall).retry(2, first="1ms")

    assert run_alone(w).value == [
        "ProcessDied",
        "the process of the activity ended by signal 9",
        {"last_heartbeat": {"page": 7}},
    ]
    assert run_alone(again) == Ended("completed", None)


def test_whatever_ends_a_call_in_a_process_is_a_failure_of_that_name() -> None:
    """An exception, an exit, a result that cannot be stored, a function that is not found."""
    gone = Activity("gone", Hidden.moved, process=True)

    @workflow("w", version=1)
    def w() -> Flow[list[str]]:
        seen = []
        for step in (
            *(Compute(kind, refuse, kind) for kind in ("raise", "leave", "set")),
            Compute("gone", gone),
        ):
            try:
                yield from step
            except WorkflowFailed as error:
                seen.append(error.name)
        return seen

    assert run_alone(w).value == ["ValueError", "SystemExit", "BadResult", "NotImportable"]


def test_what_no_other_process_can_import_is_refused_at_once() -> None:
    """A function inside a function and a coroutine function say what to do instead."""
    with pytest.raises(UsageError, match="top level of a module"):

        @activity("local", process=True)
        def local() -> None:
            """Stand where nobody can import it."""

    with pytest.raises(UsageError, match="leave process=True out"):

        @activity("async", process=True)
        async def waits() -> None:
            """Wait."""
