"""Runs the test blocks of `.rwf` files: real runs in a `World`, with what the block mocks.

An activity that a block does not mock gives none if it has no result, and fails the test otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from raftoral.convert import to_plain
from raftoral.errors import RaftoralError, UsageError, WorkflowFailed
from raftoral.lang.boundary import Decoder
from raftoral.lang.check.nodes import numbered
from raftoral.lang.evaluate.expressions import Around, expression
from raftoral.lang.evaluate.frames import Meter, Shared, Sound
from raftoral.lang.evaluate.program import Compiler, load
from raftoral.lang.ir import FUEL, Unit
from raftoral.lang.primitives import text
from raftoral.registry.definition import Definition, rwf_definition
from raftoral.replay.context import current
from raftoral.replay.failures import as_error
from raftoral.replay.history import CallbackOpened, ChildAsked, Ended, Event, Set, decode
from raftoral.testing.mocks import Takes, outcome_of
from raftoral.testing.world import World
from raftoral.values import span_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from raftoral.ids import RunId
    from raftoral.lang.check.trials import Expectation, Happening, Mocked, Trial
    from raftoral.lang.compile import Compiled, WorkflowUnit
    from raftoral.lang.ir import Node
    from raftoral.lang.source import Span
    from raftoral.replay.advancing import Begin
    from raftoral.testing.coverage import Coverage

    Choose = Callable[[str, Callable[..., Any] | None], Callable[..., Any]]

_RUN: Final = "test"
_STAND_IN: Final = "stand-in for "
EVENTS_MAX: Final = 50_000
"""What the runs of one test may write in all, so that one that begins anew for ever ends too."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What one attempt of an activity fails with, by its number in the run (from 0)."""

    attempt: int
    failure: WorkflowFailed


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one test: what was not as expected, each with its place in the source."""

    trial: Trial
    wrong: tuple[tuple[Span, str], ...]
    history: tuple[bytes, ...] = field(repr=False)
    settled: tuple[tuple[RunId, Event], ...] = field(repr=False)
    """The events of all runs, those of children too, in the order in which they were settled."""
    attempts: tuple[str, ...] = field(repr=False)
    """The names of the activities of all attempts, in the order in which they began."""
    elapsed: int
    """How many milliseconds the run took on the virtual clock."""

    @property
    def events(self) -> tuple[Event, ...]:
        """Return the events of the run; none if it could not be run."""
        return tuple(map(decode, self.history))

    @property
    def passed(self) -> bool:
        """Tell whether everything was as expected."""
        return not self.wrong


def run_trial(
    trial: Trial,
    compiled: Compiled,
    *,
    crash_behind: int = 0,
    fault: Fault | None = None,
    coverage: Coverage | None = None,
) -> Verdict:
    """Run one test of a compiled file; never raises for what the test is about.

    ``crash_behind`` is the number (from 1) of the settled event behind which there is a crash.
    With a ``fault`` its attempt fails, and a callback that is completed before it is open is
    completed when it opens. ``coverage`` notes what is reached.
    """
    trying = _Trying(trial, compiled, crash_behind, fault)
    if coverage is not None:
        trying.note_in(coverage)
    return trying.verdict()


def _definitions(compiled: Compiled, trial: Trial) -> list[Definition]:
    """Return the workflows of the file, and a stand-in for each child that is mocked."""
    mocked = {mock.name for mock in trial.mocks}
    found = {
        (unit.name, unit.version): rwf_definition(unit)
        for unit in compiled.units
        if unit.name not in mocked
    }
    for unit in compiled.units:
        for name, version, params, result in load(unit.ir).unit.children:
            if (name, version) not in found:
                found[name, version] = _stand_in(unit, name, version, params, result)
    return list(found.values())


def _stand_in(
    unit: WorkflowUnit, name: str, version: int, params: Node, result: Node
) -> Definition:
    """Return a workflow that does one thing: ask what the test mocks for it."""
    around = load(unit.ir).unit
    activity = _STAND_IN + name
    bare = [None, None, None, None, None, False]
    slot = len(params) + 1
    made = Unit(
        name=name,
        version=version,
        inputs=params,
        output=result,
        raises=[],
        records=around.records,
        enums=around.enums,
        errors=[],
        activities=[[activity, [], result, [], True]],
        children=[],
        signals=[],
        updates=[],
        queries=[],
        search=[],
        functions=[],
        slots=slot,
        body=[
            ["compute", slot, "result", activity, [], bare, None],
            ["return", ["local", slot]],
        ],
        fuel=FUEL,
        spans=(1, 1, 1, 1),
        variables=[],
    )
    ir = made.encode()
    return Definition(name, version, "rwf", made.meaning_hash(), "", "", ir)


class _Trying:
    def __init__(
        self,
        trial: Trial,
        compiled: Compiled,
        crash_behind: int = 0,
        fault: Fault | None = None,
    ) -> None:
        self.trial = trial
        self.crash_behind = crash_behind
        self.fault = fault
        self.early: list[Happening] = []
        unit = next(
            one
            for one in compiled.units
            if (one.name, one.version) == (trial.workflow, trial.version)
        )
        program = load(unit.ir).unit
        self.numbers: Mapping[tuple[str, str], int] = trial.numbers
        compiler = Compiler(program)
        self.around = Around(Decoder(dict(program.records), dict(program.enums), strict=False))
        compiler.around = self.around
        compiler.functions_of(trial.functions)
        results = {name: result for name, _, result, _, _ in program.activities}
        self.compiled = compiled
        self.world = self.world_of(self.mocks(results))
        self.ended_at = 0
        self.events: list[Event] = []
        self.settled: list[tuple[RunId, Event]] = []
        self.wrong: list[tuple[Span, str]] = []

    def world_of(self, mocks: dict[str, Callable[..., Any]]) -> World:
        return World(definitions=_definitions(self.compiled, self.trial), mocks=mocks)

    def note_in(self, coverage: Coverage) -> None:
        usual = self.world.begin

        def begin(definition: Definition) -> Begin:
            known = coverage.knows(definition)
            return coverage.begin(definition) if known else usual(definition)

        self.world.begin = begin

    # -------------------------------------------------------------- values
    def value(self, node: Node, frame: list[Any] | None = None) -> Any:
        """Return the value of an expression of the test."""
        run = expression(numbered(node, self.numbers), self.around)
        meter = Meter(FUEL, Shared({}))
        known = [meter, *(frame or ())]
        with Sound(meter):
            return run(known + [None] * (self.trial.slots + 1 - len(known)))

    # -------------------------------------------------------------- mocks
    def mocks(self, results: Mapping[str, Node]) -> dict[str, Callable[..., Any]]:
        queues: dict[str, list[Mocked]] = {}
        for mock in self.trial.mocks:
            queues.setdefault(mock.name, []).append(mock)
        takes = {name: self.value(span) for name, span in self.trial.takes}
        found: dict[str, Callable[..., Any]] = {}
        names = {*queues, *takes, *(n for n, result in results.items() if result == ["none"])}
        for name in names:
            answer = self.mock(queues.get(name, []), takes.get(name))
            found[name] = found[_STAND_IN + name] = answer
        return found

    def mock(self, queue: list[Mocked], takes: Any) -> Callable[..., Any]:
        left = [mock.times for mock in queue]
        # An attempt that a crash has lost is made again, and is answered as it was.
        known: dict[tuple[str, int, str, int], Mocked | None] = {}

        def take() -> Mocked | None:
            for place, mock in enumerate(queue):
                if left[place] == 0:
                    continue
                if left[place] is not None:
                    left[place] -= 1  # type: ignore[operator]
                return mock
            return None

        def answer(*_args: Any, **_named: Any) -> Any:
            one = current()
            attempt = (one.run_id, one.generation, one.path, one.attempt)
            if attempt not in known:
                known[attempt] = take()
            mock = known[attempt]
            if mock is not None:
                return self.answered(mock, takes)
            return None if takes is None else Takes(takes)

        return answer

    def answered(self, mock: Mocked, takes: Any) -> Any:
        value = self.value(mock.value)
        if mock.fails:
            value = _as_failure(value)
        if takes is not None:
            return Takes(takes, value)
        if mock.fails:
            raise value
        return value

    # -------------------------------------------------------------- the run
    def verdict(self) -> Verdict:
        """Run the test and compare."""
        trial, world = self.trial, self.world
        begun = self.ended_at = world.clock
        history: list[bytes] = []
        world.settled = self.note
        world.choose = partial(self.choose, world.choose)
        try:
            for happening in trial.happenings:
                world.at(self.value(happening.when), partial(self.happen, happening))
            given = {name: self.value(node) for name, node in trial.given}
            world.start(trial.workflow, given, run_id=_RUN, version=trial.version)
            world.run()
            history = world.history(_RUN)
            self.events = [decode(data) for data in history]
            self.compare(self.ended_at - begun)
        except RaftoralError as error:
            self.wrong.append((trial.span, f"{type(error).__name__}: {error}"))
        finally:
            world.close()
        elapsed = self.ended_at - begun
        attempts = tuple(name for name, _ in world.attempts_made)
        return Verdict(
            trial, tuple(self.wrong), tuple(history), tuple(self.settled), attempts, elapsed
        )

    def choose(self, usual: Choose, name: str, real: Callable[..., Any] | None) -> Any:
        """Return what is called for an activity: its mock, unless this attempt is to fail."""
        fault = self.fault
        if fault is not None and fault.attempt == len(self.world.attempts_made) - 1:
            return outcome_of(fault.failure)
        return usual(name, real)

    def note(self, run_id: RunId, event: Event) -> None:
        self.settled.append((run_id, event))
        if len(self.settled) > EVENTS_MAX:
            raise UsageError(f"the test does not end: its runs have written {EVENTS_MAX:,} events")
        if len(self.settled) == self.crash_behind:
            self.world.crash_soon(rejoin=True)
        if self.early and run_id == _RUN and isinstance(event, CallbackOpened):
            early, self.early = self.early, []
            for one in early:
                self.world.at("0s", partial(self.happen, one))
        if run_id == _RUN and isinstance(event, Ended):
            self.ended_at = self.world.clock

    def happen(self, one: Happening) -> None:
        world = self.world
        if world.status(_RUN) not in ("running", "paused"):
            return
        match one.what:
            case "crash":
                world.crash()
            case "cancel":
                world.cancel(_RUN, "the test says so")
            case "signal":
                world.signal(_RUN, one.name, self.payload(one))
            case "update":
                world.update(_RUN, one.name, self.payload(one))
            case _:
                self.complete(one)

    def payload(self, one: Happening) -> dict[str, Any]:
        return {name: self.value(node) for name, node in one.given}

    def complete(self, one: Happening) -> None:
        tokens = [
            event.token
            for event in self.world.events(_RUN)
            if isinstance(event, CallbackOpened) and event.path.split("/")[-1] == one.name
        ]
        if not tokens and self.fault is not None:
            self.early.append(one)
            return
        if not tokens:
            raise UsageError(f"callback {one.name} is not open when the test completes it")
        value = self.value(one.given[0][1])
        if one.fails:
            failure = _as_failure(value)
            self.world.fail(tokens[-1], failure.name, failure.message)
        else:
            self.world.complete(tokens[-1], to_plain(value))

    # -------------------------------------------------------------- the comparison
    def compare(self, elapsed: int) -> None:
        last = self.events[-1]
        if not isinstance(last, Ended):
            waits = "; ".join(self.world.waits(_RUN)) or "nothing, it is paused"
            self.wrong.append((self.trial.span, f"the run does not end, it waits for {waits}"))
            return
        failure = None
        if last.status != "completed":
            failure = str(as_error(last.value))
            wanted = any(one.failure for one in self.trial.expectations)
            if not wanted:
                self.wrong.append((self.trial.span, f"the run ends with {failure}"))
        frame = self.frame(last, failure, elapsed)
        for one in self.trial.expectations:
            self.expect(one, frame, last, failure)

    def frame(self, last: Ended, failure: str | None, elapsed: int) -> list[Any]:
        cells = {event.path: event.value for event in self.events if isinstance(event, Set)}
        children = [event.name for event in self.events if isinstance(event, ChildAsked)]
        attempts = [name for name, _ in self.world.attempts_made]
        return [
            last.value if failure is None else None,
            failure,
            span_of(elapsed),
            *(cells.get(name) for name in self.trial.cells),
            *((children + attempts).count(name) for name in self.trial.calls),
        ]

    def expect(self, one: Expectation, frame: list[Any], last: Ended, failure: str | None) -> None:
        if one.test is None:
            ended = last.value[0] if failure is not None and isinstance(last.value, list) else None
            if ended != one.failure:
                shown = "completes" if failure is None else f"ends with {failure}"
                self.wrong.append((one.span, f"the run {shown}"))
            return
        try:
            if self.value(one.test, frame):
                return
            shown = self.sides(one.test, frame)
        except (WorkflowFailed, TypeError, LookupError, AttributeError) as error:
            # A run that failed has no result to look into.
            shown = failure or f"{type(error).__name__}: {error}"
        self.wrong.append((one.span, shown))

    def sides(self, test: Node, frame: list[Any]) -> str:
        """Return both sides of a comparison, as text."""
        if test[0] == "do" and len(test[2]) == 2:
            left, right = (text(self.value(side, frame)) for side in test[2])
            return f"left is {left:.200}, right is {right:.200}"
        return "this does not hold"


def _as_failure(value: Any) -> WorkflowFailed:
    return value if isinstance(value, WorkflowFailed) else WorkflowFailed("Failed", str(value))
