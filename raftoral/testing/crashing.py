"""Crashes a run at every place where a process may die, and requires that nothing comes of it.

A crash drops the generators and the attempts under way, and rebuilds the run by replay from the
committed bytes: behind each event, and in the middle of each attempt of an activity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from raftoral.errors import NonDeterminismError
from raftoral.replay.divergence import Divergence, compare, explain, render
from raftoral.replay.history import Asked, Done, Event
from raftoral.replay.steps import recorded_steps
from raftoral.replay.wording import describe
from raftoral.testing.histories import begin_of
from raftoral.testing.running import RUN, Options, Plan, Tested, plan_of

if TYPE_CHECKING:
    from raftoral.ids import RunId
    from raftoral.testing.running import Mocks, Tests
    from raftoral.testing.world import World

R = TypeVar("R")


def crash_at_every_event(
    workflow: Tests[R], /, *args: Any, **options: Unpack[Options]
) -> Tested[R]:
    """Run ``workflow`` once without a crash and once for each place to crash at; return the first.

    The arguments are those of `run`. `AssertionError` names the crash after which the run had another
    result or history, with the table of both. What may be attempted once only is not crashed in the
    attempt, since it then ends in ``Interrupted`` by its own promise.
    """
    plan: Plan[R] = plan_of(workflow, args, options)
    settled: list[tuple[str, Event]] = []

    def listening(world: World, _mocks: Mocks) -> None:
        _listen(world, lambda run, event: settled.append((run, event)))

    whole = plan.run(listening)
    for number, (run, event) in enumerate(settled, 1):
        if not isinstance(event, Asked):
            where = f"behind event {number} ({describe(event)} of {run})"
            _require_same(whole, _crashed(plan, where, behind=number), where)
    for number, (name, _) in enumerate(whole.calls):
        where = f"in attempt {number + 1} of an activity ({name})"
        other = _crashed(plan, where, attempt=number)
        if not _was_interrupted(whole, other):
            _require_same(whole, other, where)
    return whole


def _crashed(plan: Plan[R], where: str, *, behind: int = 0, attempt: int = -1) -> Tested[R]:
    """Run the plan with one crash; `AssertionError` if the rebuilt run leaves its history."""
    worlds: list[World] = []

    def prepare(world: World, mocks: Mocks) -> None:
        worlds.append(world)
        count = 0

        def settled(_run: str, _event: Event) -> None:
            nonlocal count
            count += 1
            if count == behind:
                world.crash_soon()

        lost = False

        def attempting(number: int) -> None:
            nonlocal lost
            if number == attempt and not lost:
                lost = True
                world.die()

        _listen(world, settled)
        mocks.attempting = attempting

    try:
        return plan.run(prepare)
    except NonDeterminismError as error:
        found = explain(error.run_id, begin_of(plan.workflow), worlds[0].history(RUN))
        told = str(error) if found is None else "\n".join(render(found))
        raise AssertionError(
            f"after a crash {where}, the code does not repeat what it had done\n{told}"
        ) from None


def _listen(world: World, hear: Any) -> None:
    before = world.settled

    def settled(run: RunId, event: Event) -> None:
        before(run, event)
        hear(run, event)

    world.settled = settled


def _was_interrupted(whole: Tested[Any], other: Tested[Any]) -> bool:
    """Tell whether the crash met a step that may be attempted once only."""
    once = {event.path for event in whole.events if isinstance(event, Asked)}
    return any(
        isinstance(event, Done)
        and event.path in once
        and not event.ok
        and isinstance(event.value, list)
        and event.value[0] == "Interrupted"
        for event in other.events
    )


def _require_same(whole: Tested[Any], other: Tested[Any], where: str) -> None:
    if whole.history == other.history:
        return
    found = compare(recorded_steps(whole.events), recorded_steps(other.events))
    raise AssertionError(
        f"after a crash {where}, run {RUN} had another history\n{_told(found, whole, other)}"
    )


def _told(found: Divergence | None, whole: Tested[Any], other: Tested[Any]) -> str:
    if found is not None:
        return "\n".join(render(found))
    mine, theirs = whole.events, other.events
    at = next(
        (n for n, pair in enumerate(zip(mine, theirs, strict=False)) if pair[0] != pair[1]), -1
    )
    if at < 0:
        return f"  {len(mine)} events without the crash, {len(theirs)} with it"
    return f"  without it: {describe(mine[at])}\n  with it:    {describe(theirs[at])}"
