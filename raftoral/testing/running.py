"""Runs one workflow in a test: mocked activities, signals in time, a clock that jumps.

Owns `run` and what it gives back. The run itself is that of a `World`: the engine's own machine, replay
and decisions, so its history is the one that a cluster would have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypedDict, TypeVar, Unpack

from raftoral.convert import flow_result, from_plain
from raftoral.errors import UsageError
from raftoral.ids import Millis
from raftoral.lang.compile import compile_source
from raftoral.lang.render import render_all
from raftoral.lang.source import Source
from raftoral.registry.app import Registry
from raftoral.registry.definition import Definition, rwf_definition
from raftoral.replay.effects import Span, Workflow, as_span, invocation_of
from raftoral.replay.failures import as_error
from raftoral.replay.history import CallbackOpened, Ended, Event, Logged, Set, decode
from raftoral.runtime.rhx import write_rhx
from raftoral.runtime.views import HistoryView
from raftoral.testing.mocks import Takes, outcome_of
from raftoral.testing.world import BEGINNING, World
from raftoral.values import format_span, instant_of, millis_since_epoch

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

R = TypeVar("R")

RUN: Final = "run"
"""The id of a tested run, unless a test gives another."""

Tests: TypeAlias = "Workflow[..., R] | Definition"
"""What can be tested: a Python workflow, or a compiled `.rwf` one (see `rwf`)."""


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal that is sent ``after`` that time, counted from the beginning of the run."""

    name: str
    payload: Any = None
    after: Span = "0s"


@dataclass(frozen=True, slots=True)
class Request:
    """An update that is sent ``after`` that time, counted from the beginning of the run."""

    name: str
    payload: Any = None
    after: Span = "0s"


class InTurn:
    """A mock that gives one outcome after the other; the last one goes on for ever.

    Each outcome is what a mock may be: a value, an exception, a function, or `Takes`.
    """

    def __init__(self, *outcomes: Any) -> None:
        if not outcomes:
            raise UsageError("InTurn needs at least one outcome")
        self.outcomes = outcomes


@dataclass(frozen=True, slots=True)
class Tested(Generic[R]):
    """What became of a run. ``calls`` are the attempts of activities: name and arguments.

    ``status`` is ``completed``, ``failed``, ``cancelled``, or ``running`` if nothing could go on; then
    ``waits`` says what it waits for. ``clock`` is when it came to rest.
    """

    status: str
    history: tuple[bytes, ...]
    calls: tuple[tuple[str, tuple[Any, ...]], ...]
    waits: tuple[str, ...]
    clock: datetime
    definition: Definition = field(repr=False)
    kind: Any = field(default=Any, repr=False)

    @property
    def events(self) -> list[Event]:
        """The history, decoded."""
        return [decode(data) for data in self.history]

    @property
    def result(self) -> R:
        """What the run returned, by its declared type; raises its failure if it failed.

        `UsageError` if it has not ended, with what it waits for.
        """
        last = decode(self.history[-1])
        if not isinstance(last, Ended):
            waits = "; ".join(self.waits) or "nothing"
            raise UsageError(f"the run has not ended, it waits for: {waits}")
        if last.status != "completed":
            raise as_error(last.value)
        result: R = from_plain(last.value, self.kind)
        return result

    @property
    def cells(self) -> dict[str, Any]:
        """The value of each checkpoint, by its path, as stored."""
        return {event.path: event.value for event in self.events if isinstance(event, Set)}

    @property
    def log(self) -> list[str]:
        """The lines that it wrote."""
        return [event.text for event in self.events if isinstance(event, Logged)]

    def save(self, path: str | Path) -> None:
        """Write the history as a new `.rhx` file, for `replay`; one that exists is never replaced."""
        one = self.definition
        digest = sha256(b"".join(self.history)).hexdigest()
        kept = (one.kind, one.source, one.ir)
        view = HistoryView(
            RUN, one.name, one.version, one.meaning_hash, 1, list(self.history), digest, *kept
        )
        try:
            with Path(path).open("xb") as file:
                file.write(write_rhx(view))
        except FileExistsError:
            raise UsageError(
                f"{path} exists, and a stored history is never rewritten: later releases have to "
                "replay it as it is. Give the new one another name"
            ) from None


def rwf(path: str | Path, name: str = "") -> Definition:
    """Return the workflow of a `.rwf` file, compiled; by its ``name`` if the file has several.

    `UsageError` with the reports if it does not compile.
    """
    try:
        source = Source.from_bytes(str(path), Path(path).read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    compiled = compile_source(source)
    if compiled.has_errors:
        report = render_all(compiled.diagnostics, compiled.source).rstrip()
        raise UsageError(f"{path} does not compile\n{report}")
    found = [unit for unit in compiled.units if name in ("", unit.name)]
    if len({unit.name for unit in found}) != 1:
        known = ", ".join(sorted({unit.name for unit in compiled.units})) or "none"
        raise UsageError(f"say which workflow of {path} is meant; it has {known}")
    return rwf_definition(max(found, key=lambda unit: unit.version))


class Options(TypedDict, total=False):
    """What a test may say about a run, beside the workflow and its arguments.

    ``input`` gives the arguments by name. ``mocks`` says what each activity gives, by the activity,
    its function or its name: a value, an exception to raise, a function of its arguments, `Takes` for
    one that takes time, `InTurn` for several. An activity that is not mocked ends the test with a
    `UsageError`, unless ``real`` lets it run. ``signals`` (a map sends them at once) and ``updates``
    are sent at their time; ``callbacks`` maps the path of a callback to what completes it (`Takes` for
    later). ``clock`` is when the run begins (with a zone), ``seed`` decides chance, ``children`` are
    the workflows that it calls, and ``registry`` is an application's own.
    """

    input: Mapping[str, Any]
    mocks: Mapping[Any, Any]
    real: bool
    signals: Mapping[str, Any] | Iterable[Signal]
    updates: Iterable[Request]
    callbacks: Mapping[str, Any]
    cancel_after: Span
    clock: datetime
    seed: int
    children: Iterable[Tests[Any]]
    registry: Registry


def run(workflow: Tests[R], /, *args: Any, **options: Unpack[Options]) -> Tested[R]:
    """Run ``workflow`` on these arguments until nothing is left to do, and return what became of it.

    The clock jumps to whatever comes next, so waiting takes no time. See `Options`.
    """
    return plan_of(workflow, args, options).run()


def plan_of(workflow: Tests[R], args: tuple[Any, ...], options: Options) -> Plan[R]:
    """Return what `run` runs; `UsageError` for options that cannot be."""
    if args and "input" in options:
        raise UsageError("give the input by position or by name, not both")
    signals = options.get("signals", ())
    if isinstance(signals, Mapping):
        signals = [Signal(name, payload) for name, payload in signals.items()]
    clock = options.get("clock")
    if clock is not None and clock.tzinfo is None:
        raise UsageError("clock needs a zone, such as datetime(2026, 1, 1, tzinfo=UTC)")
    return Plan(
        workflow,
        dict(options["input"]) if "input" in options else list(args),
        dict(options.get("mocks", {})),
        options.get("real", False),
        tuple(signals),
        tuple(options.get("updates", ())),
        dict(options.get("callbacks", {})),
        options.get("cancel_after"),
        BEGINNING if clock is None else Millis(millis_since_epoch(clock)),
        options.get("seed", 0),
        *_everything(workflow, options),
    )


def _everything(workflow: Tests[Any], options: Options) -> tuple[Registry, tuple[Definition, ...]]:
    """Return a registry with all Python workflows of a test, and its other definitions."""
    tested = [workflow, *options.get("children", ())]
    registry = options.get("registry") or Registry()
    for one in tested:
        known = isinstance(one, Workflow) and registry.workflows.get((one.name, one.version))
        if isinstance(one, Workflow) and known is not one:
            registry.add_workflow(one)
    return registry, tuple(one for one in tested if isinstance(one, Definition))


# ------------------------------------------------------------------ one run, again and again
@dataclass(frozen=True, slots=True)
class Plan(Generic[R]):
    """Everything that a run needs, so that it can be run again from the beginning."""

    workflow: Tests[R]
    given: object
    mocks: Mapping[Any, Any]
    real: bool
    signals: tuple[Signal, ...]
    updates: tuple[Request, ...]
    callbacks: Mapping[str, Any]
    cancel_after: Span | None
    start: Millis
    seed: int
    registry: Registry
    definitions: tuple[Definition, ...]

    def run(self, prepare: Callable[[World, Mocks], None] | None = None) -> Tested[R]:
        """Run it in a world of its own; ``prepare`` is given the world before it begins."""
        mocks = Mocks(self.mocks, real=self.real)
        world = World(self.registry, definitions=self.definitions, seed=self.seed, start=self.start)
        world.choose = mocks.choose
        world.settled = self._completing(world)
        if prepare is not None:
            prepare(world, mocks)
        try:
            world.start(self.workflow.name, self.given, version=self.workflow.version, run_id=RUN)
            self._plan(world)
            world.run()
            return Tested(
                world.status(RUN),
                tuple(world.history(RUN)),
                tuple(world.attempts_made),
                tuple(world.waits(RUN)),
                instant_of(world.clock),
                world.definition_of(RUN),
                self._kind(),
            )
        except NotMocked as missing:
            raise UsageError(str(missing)) from None
        finally:
            world.close()

    def _kind(self) -> Any:
        return flow_result(self.workflow.function) if isinstance(self.workflow, Workflow) else Any

    def _plan(self, world: World) -> None:
        for signal in self.signals:
            send = partial(world.signal, RUN, signal.name, signal.payload)
            world.at(signal.after, _told(f"signal {signal.name}", signal.after, send))
        for request in self.updates:
            ask = partial(world.update, RUN, request.name, request.payload)
            world.at(request.after, _told(f"update {request.name}", request.after, ask))
        if self.cancel_after is not None:
            cancel = partial(world.cancel, RUN, "the test cancels it")
            world.at(self.cancel_after, _told("cancellation", self.cancel_after, cancel))

    def _completing(self, world: World) -> Callable[[str, Event], None]:
        """Return what completes each callback that the test has something for."""

        def settled(run_id: str, event: Event) -> None:
            if run_id == RUN and isinstance(event, CallbackOpened) and event.path in self.callbacks:
                outcome = self.callbacks[event.path]
                after = outcome.span if isinstance(outcome, Takes) else "0s"
                value = outcome.result if isinstance(outcome, Takes) else outcome
                world.at(after, lambda: _complete(world, event.token, value))

        return settled


def _told(what: str, after: Span, do: Callable[[], object]) -> Callable[[], object]:
    """Return ``do`` with a refusal that names what the test wanted, and when."""

    def told() -> object:
        try:
            return do()
        except UsageError as error:
            at = format_span(as_span(after))
            raise UsageError(f"the {what} that the test has at {at}: {error}") from None

    return told


def _complete(world: World, token: str, value: Any) -> None:
    if isinstance(value, BaseException):
        world.fail(token, type(value).__name__, str(value))
    else:
        world.complete(token, value)


class NotMocked(BaseException):
    """An activity is wanted that the test has nothing for: the test ends, whatever it catches."""


class Mocks:
    """The mocks of one run, by the names of activities, with where each `InTurn` stands.

    ``attempting`` is called with the number of each attempt before it begins.
    """

    def __init__(self, given: Mapping[Any, Any], *, real: bool) -> None:
        self._given = {_name(key): mock for key, mock in given.items()}
        self._real = real
        self._turns: dict[str, int] = {}
        self._count = 0
        self.attempting: Callable[[int], None] = lambda _number: None

    def choose(self, name: str, real: Callable[..., Any] | None) -> Callable[..., Any]:
        """Return what is called for the activity ``name``; see `World.choose`."""
        self._count += 1
        self.attempting(self._count - 1)
        if name in self._given:
            return outcome_of(self._in_turn(name, self._given[name]))
        if self._real and real is not None:
            return real
        raise NotMocked(
            f"the run calls the activity {name}, which is not mocked: "
            f"mocks={{{name!r}: ...}}" + ("" if self._real else ", or real=True to run it")
        )

    def _in_turn(self, name: str, mock: Any) -> Any:
        if not isinstance(mock, InTurn):
            return mock
        turn = self._turns.get(name, 0)
        self._turns[name] = turn + 1
        return mock.outcomes[min(turn, len(mock.outcomes) - 1)]


def _name(key: Any) -> str:
    """Return the name that an activity, its function or its own name stands for."""
    return key if isinstance(key, str) else invocation_of(key, (), {}).activity
