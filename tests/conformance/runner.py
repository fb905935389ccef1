"""Runs one requirement in a world in memory: once as it is, and once with a crash at each event."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raftoral.errors import RaftoralError
from raftoral.ids import RunId
from raftoral.registry.app import Registry
from raftoral.registry.definition import Definition
from raftoral.replay.effects import Activity, Workflow
from raftoral.replay.history import CallbackOpened
from raftoral.testing import World
from raftoral.testing.histories import begin_of
from tests.conformance.mapping import difference, name_of, seen

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.replay.history import Event
    from tests.conformance.cases import Case
    from tests.conformance.mapping import Seen
    from tests.conformance.requirements import Action, Requirement

RUN = RunId("run")


@dataclass
class Ran:
    """What came of a run: its history, the moments of its events, its status and result."""

    history: list[bytes]
    times: list[int]
    status: str
    result: Any


def run(one: Requirement, case: Case, *, crash_after: int = -1) -> Ran:
    """Run a requirement's workflow; the process dies after its ``crash_after``-th event."""
    flows = [case.flow, *case.children]
    registry = Registry(
        workflows=[flow for flow in flows if isinstance(flow, Workflow)],
        activities=[Activity(name, fn) for name, fn in case.activities.items()],
    )
    world = World(registry, definitions=[one for one in flows if isinstance(one, Definition)])
    times: list[int] = []
    waiting = list(one.actions)

    def settled(run_id: RunId, event: Event) -> None:
        if run_id != RUN:
            return
        times.append(world.clock)
        if len(times) == crash_after:
            world.crash_soon()
        if isinstance(event, CallbackOpened):
            _plan(world, waiting, event)

    if case.crash_in:
        world.mocks[case.crash_in] = lambda *_: world.die()
    world.settled = settled
    world.start(case.flow.name, case.arguments(one.input))
    until = None if one.status else lambda: len(times) > len(one.events)
    world.run(until=until)
    result = None
    with contextlib.suppress(RaftoralError):
        result = world.result()
    ran = Ran(world.history(), times, world.status(RUN), result)
    world.close()
    return ran


def _plan(world: World, waiting: list[Action], event: CallbackOpened) -> None:
    """Plan what is done with a callback, up to what completes it."""
    for action in list(waiting):
        if action.callback not in ("*", name_of(event.path)):
            continue
        waiting.remove(action)
        world.at(f"{action.delay}s", _doing(world, action, event.token))
        if action.operation != "heartbeat":
            return


def _doing(world: World, action: Action, token: str) -> Callable[[], None]:
    def do() -> None:
        if action.operation == "heartbeat":
            world.beat(token)
        elif action.operation == "success":
            world.complete(token, action.payload)
        else:
            error = action.payload or {}
            world.fail(token, error.get("ErrorType", "Error"), error.get("ErrorMessage", ""))

    return do


def verdict(one: Requirement, make: Callable[[], Case]) -> str:
    """Return why a workflow does not meet a requirement; empty if it does, with crashes too."""
    case = make()
    ran = run(one, case)
    why = _unmet(one, case, ran)
    if why:
        return why
    for crash in range(1, len(ran.history) + 1):
        again = run(one, make(), crash_after=crash)
        if again.history != ran.history:
            return f"another history with a crash after event {crash}"
    return ""


def _unmet(one: Requirement, case: Case, ran: Ran) -> str:
    status = {"completed": "SUCCEEDED", "failed": "FAILED"}.get(ran.status, ran.status)
    if one.status is not None and status != one.status:
        return f"it ended {ran.status}, not {one.status}"
    if one.has_result and ran.result != one.result:
        return f"the result is {ran.result!r}, not {one.result!r}"
    return difference(one.events, told(case, ran), all_of=lists_all(one))


def told(case: Case, ran: Ran) -> list[Seen]:
    """Return the history of a run in the words of the requirements."""
    return seen(RUN, begin_of(case.flow), ran.history, ran.times)


def lists_all(one: Requirement) -> bool:
    """Tell whether a requirement lists every event; one that lists a single one leaves the rest open."""
    return len(one.events) != 1 or one.events[0]["EventType"] != "ContextStarted"
