"""Statements that run branches: parallel, race, `for ... parallel`, and sagas.

A branch runs over a copy of the frame, so that branches see what was there before and never each
other; each has fuel of its own. The block of a race's `on` or `after` runs in the place of the race.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raftoral.errors import CorruptionError, WorkflowFailed
from raftoral.lang.evaluate import effects
from raftoral.lang.evaluate.expressions import items_of
from raftoral.lang.evaluate.flows import turn_key
from raftoral.lang.evaluate.frames import FLOW, GIVE, STEP, Sound, beside
from raftoral.replay.effects import ForEach, Parallel, Race, Saga, Sleep, undo_now
from raftoral.replay.effects.branches import DONE, FAILED, TOO_MANY
from raftoral.replay.failures import failure_of
from raftoral.replay.history import BRANCHES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from raftoral.lang.evaluate.frames import Flow, Frame, Meter, Pure, Steps
    from raftoral.lang.evaluate.notes import Noting
    from raftoral.lang.evaluate.program import Compiler
    from raftoral.lang.ir import Node
    from raftoral.replay.effects import Effect, Outcome, Outcomes, Won
    from raftoral.values import Value


def statement(c: Compiler, node: Node) -> tuple[int, Any, Any]:
    """Return kind, closure and what takes the answer, of a statement with branches."""
    noting = c.noting
    match node:
        case ["saga", block]:
            return FLOW, saga(c.flow(block)), None
        case ["undo"]:
            return FLOW, _undo, None
        case ["parallel", slot, key, limits, arms]:
            bounds = Bounds(c, limits)
            flows = [
                (name, noting.way(way, c.flow(block))) for way, (_, name, block) in enumerate(arms)
            ]
            return STEP, parallel(key, bounds, flows), _named(slot, bounds)
        case ["fan", slot, key, index, item, source, by, limits, block]:
            bounds = Bounds(c, limits)
            items = noting.either(c.expr(source))
            made = fan(key, index, item, items, c.maybe(by), bounds, c.flow(block))
            return STEP, made, _listed(slot, bounds)
        case ["race", slot, key, ways]:
            arms_ = [_way(c, way, noting, number) for number, way in enumerate(ways)]
            return FLOW, race(slot, key, arms_), None
        case _:
            raise CorruptionError(f"unknown statement {node[0]!r:.30}")


def branch(body: Flow, f: Frame) -> Generator[Effect[Any], Any, Any]:
    """Return the generator of a branch over its own frame; its result is what it gives."""
    flow = _branch(body, f)
    meter: Meter = f[0]
    meter.shared.places[flow] = f
    return flow


def _branch(body: Flow, f: Frame) -> Generator[Effect[Any], Any, Any]:
    meter: Meter = f[0]
    with Sound(meter):
        signal = yield from body(f)
    return meter.result if signal == GIVE else None


# ------------------------------------------------------------------ bounds
class Bounds:
    """How many branches run at once, how many must succeed or may fail, and whether that is told."""

    def __init__(self, c: Compiler, limits: Node) -> None:
        limit, least, tolerate, *told = limits
        self.limit = c.maybe(limit)
        self.least = c.maybe(least)
        self.share: int | None = None
        self.failures: Pure | None = None
        if tolerate is not None:
            if tolerate[0] == "share":
                self.share = tolerate[1]
            else:
                self.failures = c.expr(tolerate[1])
        self.told = bool(told)
        self.tolerant = self.told or least is not None or tolerate is not None

    def applied(self, f: Frame, group: Any) -> Effect[Any]:
        """Return the group of branches with its bounds."""
        made: Effect[Any] = self._limited(f, self._tolerated(f, group))
        return made

    def _limited(self, f: Frame, group: Any) -> Any:
        if self.limit is None:
            return group
        return group.limit(_at_least(self.limit(f), 1, "a limit of branches"))

    def _tolerated(self, f: Frame, group: Any) -> Any:
        if not self.tolerant:
            return group
        failures = None
        if self.failures is not None:
            failures = _at_least(self.failures(f), 0, "a number of failures")
        if self.least is None:
            return group.tolerate(failures=failures, percent=self.share)
        least = _at_least(self.least(f), 1, "a number of successes")
        return group.enough(least, failures=failures, percent=self.share)

    def values(self, f: Frame, outcomes: Outcomes[Any]) -> list[Any]:
        """Return what each branch gave, none where it failed; fails if too many did.

        With ``outcomes`` it is how each ended, and nothing fails.
        """
        if self.told:
            return [_outcome(each) for each in outcomes]
        values = [each.value if each.status == DONE else None for each in outcomes]
        short = self.least is not None and len(outcomes.values()) < self.least(f)
        if outcomes.reason == TOO_MANY or short:
            outcomes.raise_first()
            raise WorkflowFailed("Failed", f"{len(outcomes.values())} branches are not enough")
        return values


def _outcome(one: Outcome[Any]) -> Value:
    """Return how a branch ended, as a case of `types.OutcomeType`."""
    if one.status == DONE:
        return ["Completed", {"value": one.value}]
    if one.status != FAILED or one.error is None:
        return "Unfinished"
    name, message, _ = failure_of(one.error)
    return ["Failed", {"name": name, "message": message}]


def _at_least(value: int, least: int, what: str) -> int:
    if value < least:
        raise WorkflowFailed("OutOfRange", f"{what} is {least} or more, not {value}")
    return value


# ------------------------------------------------------------------ parallel
def parallel(key: str | None, bounds: Bounds, flows: list[tuple[str, Flow]]) -> Pure:
    """Return what makes a `Parallel` of named branches."""

    def step(f: Frame) -> Effect[Any]:
        made: dict[str, Any] = {name: branch(flow, beside(f)) for name, flow in flows}
        return bounds.applied(f, Parallel(key, **made))

    return step


def _named(slot: int | None, bounds: Bounds) -> Callable[[Frame, Any], None]:
    def accept(f: Frame, answer: Any) -> None:
        values = answer
        if bounds.tolerant:
            found = bounds.values(f, answer)
            values = {each.name: value for each, value in zip(answer, found, strict=True)}
        if slot is not None:
            f[slot] = values

    return accept


def fan(
    key: str,
    index: int | None,
    slot: int,
    source: Pure,
    by: Pure | None,
    bounds: Bounds,
    body: Flow,
) -> Pure:
    """Return what makes a `ForEach`."""

    def step(f: Frame) -> Effect[Any]:
        items = [*items_of(source(f))]
        if len(items) > BRANCHES_MAX:
            raise WorkflowFailed(
                "TooLarge", f"{len(items):,} turns at once; {BRANCHES_MAX:,} are possible"
            )
        f[0].spend(len(items))
        seen: set[str] = set()
        turns: list[tuple[str, Frame]] = []
        for number, (name, item) in enumerate(items):
            own = beside(f)
            own[slot] = item
            if index is not None:
                own[index] = name
            turns.append((str(number) if by is None else turn_key(by(own), seen), own))
        group: ForEach[Any] = ForEach(
            key, turns, lambda turn: branch(body, turn[1]), by=lambda turn: turn[0]
        )
        return bounds.applied(f, group)

    return step


def _listed(slot: int | None, bounds: Bounds) -> Callable[[Frame, Any], None]:
    def accept(f: Frame, answer: Any) -> None:
        values = bounds.values(f, answer) if bounds.tolerant else answer
        if slot is not None:
            f[slot] = values

    return accept


# ------------------------------------------------------------------ race
def _way(c: Compiler, way: Node, noting: Noting, number: int) -> tuple[str, Any, Any, Flow | None]:
    """Return the name of an arm, what competes, what takes its value, and what runs if it wins."""
    match way:
        case ["branch", name, block]:
            flow = c.flow(block)
            return name, lambda f: branch(flow, beside(f)), noting.way(number, _dropped), None
        case ["after", pause, block]:
            span = c.expr(pause)
            return "after", lambda f: Sleep(span(f)), _dropped, noting.way(number, c.flow(block))
        case ["on", name, source, block]:
            make, accept = effects.wait(c, source)
            return name, make, accept or _dropped, noting.way(number, c.flow(block))
        case _:
            raise CorruptionError(f"unknown arm {way[0]!r:.30}")


def _dropped(f: Frame, value: Any) -> None:
    """Take the value of an arm that has no name for it."""


def race(slot: int | None, key: str | None, ways: list[tuple[str, Any, Any, Flow | None]]) -> Flow:
    """Return the flow of a race: it is decided first, then the winner's block runs here."""

    def run(f: Frame) -> Steps:
        meter: Meter = f[0]
        arms = {name: make(f) for name, make, _, _ in ways}
        effect: Race[Any] = Race(key, **arms)
        meter.left = meter.limit
        won: Won[Any] = yield effect
        _, _, accept, block = ways[won.index]
        accept(f, won.value)
        if block is None:
            if slot is not None:
                f[slot] = won.value
            return None
        if slot is not None:
            f[slot] = None
        signal = yield from block(f)
        if signal == GIVE and slot is not None:
            f[slot] = meter.result
            return None
        return signal

    return run


# ------------------------------------------------------------------ sagas
def saga(body: Flow) -> Flow:
    """Return the flow of a saga: a failure that leaves it takes back what its steps have done."""

    def run(f: Frame) -> Steps:
        return (yield from Saga(body(f)))

    return run


def _undo(f: Frame) -> Steps:
    meter: Meter = f[0]
    meter.left = meter.limit
    yield from undo_now()
    return None
