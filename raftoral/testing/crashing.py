"""Crashes a run at every place where a process may die, and requires that nothing comes of it.

A crash drops the generators and the attempts under way, and rebuilds the run by replay from the
committed bytes: behind each event, and in the middle of each attempt of an activity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from raftoral.errors import NonDeterminismError
from raftoral.lang.primitives import text
from raftoral.replay.divergence import compare, explain, render
from raftoral.replay.history import Asked, Done, Event
from raftoral.replay.steps import recorded_steps
from raftoral.replay.wording import describe
from raftoral.testing.histories import begin_of
from raftoral.testing.running import RUN, Options, Plan, Tested, plan_of
from raftoral.testing.trials import run_trial
from raftoral.values import span_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from raftoral.ids import RunId
    from raftoral.lang.check.trials import Trial
    from raftoral.lang.compile import Compiled
    from raftoral.testing.running import Mocks, Tests
    from raftoral.testing.trials import Verdict
    from raftoral.testing.world import World

R = TypeVar("R")


def crash_at_every_event(
    workflow: Tests[R], /, *args: Any, **options: Unpack[Options]
) -> Tested[R]:
    """Run ``workflow`` once without a crash and once for each place to crash at; return the first.

    The arguments are those of `run`. `AssertionError` names the crash after which the run had another
    result or history, with the table of both. An attempt that is lost and made again ends when it would
    have ended, so that the branches of a run keep their order. What may be attempted once only and is crashed in the
    attempt ends in ``Interrupted`` by its own promise, which is no difference.
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
        _require_same(whole, _crashed(plan, where, attempt=number), where)
    return whole


def crash_trial(trial: Trial, compiled: Compiled, whole: Verdict) -> Iterator[str]:
    """Run a test block again for each event of ``whole``, its run as it is, with a crash behind it.

    Yields once a run: how it left the history or the time of ``whole``, empty if it did not. An
    attempt that the crash has lost is answered as it was, when it would have been; one that may be
    made once only ends in ``Interrupted`` by its own promise, which is no difference.
    """
    for number, (run, event) in enumerate(whole.settled, 1):
        told = _apart(whole, run_trial(trial, compiled, crash_behind=number))
        where = f"after a crash behind event {number} ({describe(event)} of {run})"
        yield f"{where}\n{told}" if told else ""


def _apart(whole: Verdict, other: Verdict) -> str:
    if not other.history:
        return "\n".join(f"  {words}" for _, words in other.wrong)
    if other.history == whole.history:
        times = [text(span_of(one.elapsed)) for one in (whole, other)]
        return "" if times[0] == times[1] else "  it takes {} without it, {} with it".format(*times)
    if _was_interrupted(whole.events, other.events):
        return ""
    return _told(whole.events, other.events)


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
                world.crash_soon(rejoin=True)

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


def _was_interrupted(whole: Sequence[Event], other: Sequence[Event]) -> bool:
    """Tell whether the crash met a step that may be attempted once only."""
    once = {event.path for event in whole if isinstance(event, Asked)}
    return any(
        isinstance(event, Done)
        and event.path in once
        and not event.ok
        and isinstance(event.value, list)
        and event.value[0] == "Interrupted"
        for event in other
    )


def _require_same(whole: Tested[Any], other: Tested[Any], where: str) -> None:
    if whole.history == other.history or _was_interrupted(whole.events, other.events):
        return
    found = _told(whole.events, other.events)
    raise AssertionError(f"after a crash {where}, run {RUN} had another history\n{found}")


def _told(mine: Sequence[Event], theirs: Sequence[Event]) -> str:
    found = compare(recorded_steps(mine), recorded_steps(theirs))
    if found is not None:
        return "\n".join(render(found))
    at = next(
        (n for n, pair in enumerate(zip(mine, theirs, strict=False)) if pair[0] != pair[1]), -1
    )
    if at < 0:
        return f"  {len(mine)} events without the crash, {len(theirs)} with it"
    return f"  without it: {describe(mine[at])}\n  with it:    {describe(theirs[at])}"
