"""A cluster of one group in memory, in one thread, on a clock that jumps to whatever comes next.

Owns `World`. It is no imitation: the state machine, the replay and the owner's decisions are those
of a node; what a node does with a disk, a network and threads is done here by calling. So a run here
has the history that it has on a cluster, and a crash here loses what a crash there may lose: the
generators, the attempts under way, and nothing that was settled.
"""

from __future__ import annotations

import asyncio
import heapq
import inspect
from contextvars import copy_context
from copy import deepcopy
from random import Random
from typing import TYPE_CHECKING, Any, Final

from raftoral.codec import pack, unpack
from raftoral.convert import to_plain
from raftoral.errors import (
    RaftoralError,
    UnknownDefinition,
    UsageError,
    WorkflowFailed,
)
from raftoral.ids import SLOTS, Index, Millis, NodeId, RunId, Version
from raftoral.kv import MemoryKeyValue, Overlay
from raftoral.machines import children, commands, events, mail, outbox, runs
from raftoral.machines.execution import Execution
from raftoral.registry.app import Registry
from raftoral.registry.loader import Loader
from raftoral.replay.context import ActivityContext, attempt_context
from raftoral.replay.deciding import Begin, Later, Settle, Stop, attempted, cancelled, decide
from raftoral.replay.effects import Span, as_span
from raftoral.replay.failures import as_error
from raftoral.replay.history import Asked, Ended, Event, decode, encode
from raftoral.replay.interpreter import Replay
from raftoral.replay.packing import pack_result
from raftoral.replay.waits import ComputeWait, describe_waiting
from raftoral.testing.live import Around, Attempt, Live
from raftoral.testing.mocks import Takes, limits_of, outcome_of
from raftoral.values import millis_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from raftoral.machines.base import Result
    from raftoral.machines.command import Command
    from raftoral.machines.runs import Run
    from raftoral.registry.definition import Definition
    from raftoral.replay.advancing import Observer
    from raftoral.values import Value

BEGINNING: Final = Millis(1_767_225_600_000)
"""When the clock of a world begins: the first of January 2026."""

STEPS_MAX: Final = 1_000_000
"""After how many steps a world gives up: something in it goes round and round."""

_NODE: Final = NodeId(1)
_GROUP: Final = 1


class _Died(BaseException):
    """The process of a world dies where this is raised."""


class World:
    """Runs workflows of a registry, and of `.rwf` definitions, until nothing is left to do.

    ``mocks`` maps names of activities to what stands in for them: a function, an exception to be
    raised, or a value. ``seed`` decides chance. ``observe`` is told of branches: see `Replay`.
    """

    def __init__(
        self,
        registry: Registry | None = None,
        *,
        definitions: Iterable[Definition] = (),
        mocks: Mapping[str, Any] | None = None,
        seed: int = 0,
        start: Millis = BEGINNING,
        observe: Observer | None = None,
    ) -> None:
        self.registry = registry or Registry()
        self.mocks = dict(mocks or {})
        self.settled: Callable[[RunId, Event], None] = lambda _run, _event: None
        """Called after each event of each run, for tests that crash or look in between."""
        self.choose = self._choose
        """What is called for an activity, given its name and its function (None if unknown)."""
        self.attempts_made: list[tuple[str, tuple[Any, ...]]] = []
        """Name and arguments of each attempt of an activity, in the order in which they began."""
        self.clock = start
        self._loader = Loader(self.registry)
        self.begin = self._loader.start
        """What gives the function that starts a run, for its definition."""
        self._definitions: dict[str, dict[int, Definition]] = {}
        for definition in (*self._loader.python_definitions(), *definitions):
            self._definitions.setdefault(definition.name, {})[definition.version] = definition
        self._chance = Random(seed)  # noqa: S311 - the dice of a test, the same each time
        self._observe = observe
        self._machine = Execution()
        self._store = MemoryKeyValue()
        self._index = 0
        self._live: dict[RunId, Live] = {}
        self._pending: list[events.Event] = []
        self._planned: list[tuple[Millis, int, Callable[[], object]]] = []
        self._plans = 0
        self._wake: set[Millis] = set()
        self._crashing: bool | None = None
        self._lost: dict[tuple[RunId, str, int], Millis] = {}
        self.propose(commands.OwnSlots(b"\xff" * (SLOTS // 8)))
        self.propose(commands.Publish(_NODE, "world"))

    # -------------------------------------------------------------- commands
    def propose(self, command: Command) -> Result:
        """Apply a command as the group's log would; raises the error of a refusal."""
        result = self._apply(command)
        if result[0] == "refused":
            raise UsageError(f"{result[1]}: {result[2]}")
        return result

    def _apply(self, command: Command) -> Result:
        self._index += 1
        txn = Overlay(self._store)
        result, happened = self._machine.apply(
            Index(self._index), self.clock, command.encode(), txn
        )
        for key, value in txn.writes.items():
            if value is None:
                self._store.delete(key)
            else:
                self._store.put(key, value)
        self._pending += happened
        self._take_events()
        return result

    def start(
        self,
        name: str,
        given: object = (),
        *,
        run_id: str = "run",
        version: int = 0,
        policy: str = commands.JOIN,
    ) -> RunId:
        """Start a run, or join it; return its id."""
        definition = self._definition(name, version)
        checked = self._loader.checked_input(definition, given)
        chosen = runs.check_run_id(run_id)
        self.propose(self._start_command(definition, chosen, checked, policy, b""))
        return chosen

    def _definition(self, name: str, version: int = 0) -> Definition:
        versions = self._definitions.get(name, {})
        found = versions.get(version or max(versions, default=0))
        if found is None:
            which = f" version {version}" if version else ""
            raise UnknownDefinition(f"no workflow {name}{which} is in this world")
        return found

    def _start_command(
        self, definition: Definition, run_id: RunId, given: Value, policy: str, parent: bytes
    ) -> commands.StartRun:
        return commands.StartRun(
            run_id,
            definition.name,
            Version(definition.version),
            definition.meaning_hash,
            pack(given, floats=True),
            Index(0),
            policy,
            parent,
            self._loader.search(definition),
        )

    def signal(
        self, run_id: str, name: str, payload: object = None, *, signal_id: str = ""
    ) -> None:
        """Send a signal to a run."""
        self._plans += 1
        data = pack(to_plain(payload), floats=True)
        chosen = signal_id or f"signal-{self._plans}"
        self.propose(commands.Signal(RunId(run_id), name, chosen, data))

    def update(self, run_id: str, name: str, payload: object = None, *, update_id: str = "") -> str:
        """Send a request to a run; return its id, for `answer`."""
        self._plans += 1
        data = pack(to_plain(payload), floats=True)
        chosen = update_id or f"update-{self._plans}"
        self.propose(commands.Update(RunId(run_id), name, chosen, data))
        return chosen

    def answer(self, run_id: str, update_id: str) -> Value:
        """Return the answer to an update; raises `WorkflowFailed` if it was refused."""
        found = mail.answer_of(self._store, RunId(run_id), update_id)
        if found is None:
            raise UsageError(f"run {run_id} has not answered update {update_id}")
        ok, value = found
        if not ok:
            raise as_error(value)
        return value

    def cancel(self, run_id: str, reason: str = "") -> None:
        """Ask a run to stop."""
        self.propose(commands.Cancel(RunId(run_id), reason))

    def complete(self, token: str, value: object = None) -> None:
        """Complete a callback with a value."""
        self.propose(commands.CompleteCallback(token, True, pack(to_plain(value), floats=True)))

    def fail(self, token: str, name: str, message: str = "") -> None:
        """Complete a callback with a failure."""
        self.propose(commands.CompleteCallback(token, False, pack([name, message, {}])))

    def beat(self, token: str) -> None:
        """Tell that the holder of a token is still at it."""
        self.propose(commands.BeatCallback(token))

    # -------------------------------------------------------------- time
    def at(self, after: Span, do: Callable[[], object]) -> None:
        """Plan to ``do`` something when the clock stands ``after`` later than now."""
        self._plans += 1
        moment = Millis(self.clock + millis_of(as_span(after)))
        heapq.heappush(self._planned, (moment, self._plans, do))

    def run(self, *, until: Callable[[], bool] | None = None) -> None:
        """Go on until nothing is left to do, or ``until`` says so; the clock jumps over waits."""
        for _ in range(STEPS_MAX):
            if until is not None and until():
                return
            if not self._step() and not self._jump():
                return
        raise UsageError(f"nothing came to rest within {STEPS_MAX:,} steps")

    def _jump(self) -> bool:
        """Move the clock to the next moment at which something happens; tell whether one is."""
        moments = {each for each in self._wake if each > self.clock}
        moments.update(moment for moment, _, _ in self._planned[:1])
        for live in self._live.values():
            moments.update(each.ends_at for each in live.attempts.values())
        if not moments:
            return False
        self.clock = max(self.clock, min(moments))
        self._wake.clear()
        return True

    # -------------------------------------------------------------- one thing at a time
    def _step(self) -> bool:
        """Do the next thing that can be done now; tell whether there was any."""
        if self._crashing is not None:
            rejoin, self._crashing = self._crashing, None
            self.crash(rejoin=rejoin)
            return True
        if self._planned and self._planned[0][0] <= self.clock:
            heapq.heappop(self._planned)[2]()
            return True
        if self._deliver():
            return True
        return any(self._advance(live) for live in list(self._live.values()))

    def _advance(self, live: Live) -> bool:
        replay = live.replay
        if replay.outbox:
            self._settle(live, replay.outbox[0])
            return True
        for path, attempt in live.attempts.items():
            if attempt.ends_at <= self.clock:
                del live.attempts[path]
                self._end_attempt(live, attempt)
                return True
        if live.run.status == runs.PAUSED:
            return False  # What was under way is settled, nothing is begun.
        around = self._around(live)
        return any(self._act(live, path, around) for path in list(replay.waits))

    def _around(self, live: Live) -> Around:
        return Around(live, self._store, self.clock, self._chance)

    def _act(self, live: Live, path: str, around: Around) -> bool:
        wait = live.replay.waits[path]
        match decide(wait, around):
            case Settle(event):
                if isinstance(event, Asked):
                    live.asked.add(path)
                live.attempts.pop(path, None)
                self._settle(live, encode(event, floats=True))
                return True
            case Begin():
                assert isinstance(wait, ComputeWait)
                live.attempts[path] = self._begin(live, wait)
                return True
            case Stop():
                assert isinstance(wait, ComputeWait)
                del live.attempts[path]
                self._settle(live, encode(cancelled(wait)))
                return True
            case Later(at):
                if at is not None:
                    self._wake.add(at)
                return False

    def _settle(self, live: Live, data: bytes) -> None:
        run = live.run
        self._apply(commands.Settle(run.id, run.epoch, run.length, run.chain, [data]))

    # -------------------------------------------------------------- activities
    def _begin(self, live: Live, wait: ComputeWait) -> Attempt:
        """Call the activity; what it gives counts when its time has passed."""
        run = live.run
        context = ActivityContext(run.id, run.generation, wait.path, wait.attempt, run.epoch)
        self.attempts_made.append((wait.effect.call.activity, wait.effect.call.args))
        try:
            outcome = self._call(wait, context)
        except Exception as error:
            outcome = error
        except _Died:
            self.crash_soon(rejoin=True)
            outcome = Takes("1s")
        takes = outcome if isinstance(outcome, Takes) else Takes("0s", outcome)
        span = millis_of(as_span(takes.span))
        result = takes.result
        for limit, failure in limits_of(wait, takes, span):
            if limit < span:
                span, result = limit, as_error(failure)
        began_at = self._lost.pop((run.id, wait.path, wait.attempt), self.clock)
        return Attempt(wait, wait.attempt, began_at, Millis(began_at + span), result)

    def _call(self, wait: ComputeWait, context: ActivityContext) -> Any:
        call = wait.effect.call
        function = call.function
        if function is None and call.activity in self.registry.activities:
            function = self.registry.activities[call.activity].function
        function = self.choose(call.activity, function)
        args, kwargs = deepcopy((call.args, dict(call.kwargs)))
        variables = copy_context()
        variables.run(attempt_context.set, context)
        result = variables.run(function, *args, **kwargs)
        if inspect.iscoroutine(result):
            return variables.run(asyncio.run, result)
        return result

    def _choose(self, name: str, real: Callable[..., Any] | None) -> Callable[..., Any]:
        """Return what is called for the activity ``name``: its mock, or the activity itself."""
        if name in self.mocks:
            return outcome_of(self.mocks[name])
        if real is None:
            raise WorkflowFailed("UnknownActivity", f"no activity {name!r} here; mock it")
        return real

    def _end_attempt(self, live: Live, attempt: Attempt) -> None:
        wait = live.replay.waits.get(attempt.wait.path)
        assert isinstance(wait, ComputeWait), "an attempt is stopped before its wait goes"
        outcome = attempt.outcome
        if not isinstance(outcome, BaseException):
            try:
                value = pack_result(wait.effect, outcome)
                definition = self._definition(live.run.name, live.run.version)
                outcome = self._loader.checked_result(definition, wait.effect.call.activity, value)
            except WorkflowFailed as error:
                outcome = error
        event = attempted(wait, outcome, self._around(live))
        self._settle(live, encode(event, floats=True))

    # -------------------------------------------------------------- between runs
    def _deliver(self) -> bool:
        """Deliver the oldest message of the outbox; tell whether there was one."""
        first = next(outbox.messages(self._store), None)
        if first is None:
            return False
        number, message = first
        command = self._as_command(message)
        if command is not None:
            self._apply(commands.Delivered(_GROUP, number, outbox.low(self._store), command))
        self._apply(commands.OutboxDone([number]))
        return True

    def _as_command(self, message: outbox.Message) -> bytes | None:
        if isinstance(message, outbox.Say):
            return message.command
        try:
            definition = self._definition(message.name, message.version)
            given = self._loader.checked_input(definition, unpack(message.input))
        except RaftoralError as error:
            refused = children.refusal(message, [type(error).__name__, str(error), {}])
            return None if refused is None else refused.encode()
        return self._start_command(
            definition, message.run_id, given, commands.JOIN, message.parent
        ).encode()

    # -------------------------------------------------------------- events
    def _take_events(self) -> None:
        while self._pending:
            event = self._pending.pop(0)
            match event:
                case events.RunStarted(run) | events.Regenerated(run):
                    self._open(run)
                    for data in runs.history(self._store, run.id):
                        self.settled(run.id, decode(data))
                case events.Settled(run, _, added):
                    live = self._live.get(run.id)
                    if live is not None:
                        live.run = run
                        live.replay.feed_all(added)
                        live.attempts = {
                            path: each
                            for path, each in live.attempts.items()
                            if path in live.replay.waits
                        }
                    if not run.live:
                        self._close(run.id)
                    for data in added:
                        self.settled(run.id, decode(data))
                case events.OwnerChanged(run):
                    if run.id in self._live:
                        self._live[run.id].run = run
                case events.Forgotten(run_id):
                    self._close(run_id)
                case _:
                    pass

    def _open(self, run: Run) -> None:
        self._close(run.id)
        definition = self._definition(run.name, run.version)
        events = runs.history(self._store, run.id)
        body = self.begin(definition)
        replay = Replay(run.id, body, observe=self._observe, known=events)
        self._live[run.id] = Live(run, replay)
        replay.feed_all(events)

    def _close(self, run_id: RunId) -> None:
        live = self._live.pop(run_id, None)
        if live is not None:
            live.replay.close()

    def die(self) -> None:
        """Crash in the middle of an attempt; for calls from within an activity."""
        raise _Died

    def crash_soon(self, *, rejoin: bool = False) -> None:
        """Have the next step be a `crash`; for calls from within `settled`."""
        self._crashing = rejoin

    def crash(self, *, rejoin: bool = False) -> None:
        """Lose all that a killed process loses: generators, and attempts under way.

        With ``rejoin`` an attempt that is made again ends when the lost one would have ended, as if
        it had found the work of that one going on; otherwise it takes its whole time again.
        """
        self._lost = {
            (run_id, path, each.attempt): each.began_at
            for run_id, live in self._live.items()
            for path, each in live.attempts.items()
            if rejoin
        }
        for run_id in list(self._live):
            self._close(run_id)
        for run_id in list(runs.live_ids(self._store)):
            run = runs.find(self._store, run_id)
            assert run is not None, "an index names a run that is not there"
            self._open(run)

    def close(self) -> None:
        """Drop every generator."""
        for run_id in list(self._live):
            self._close(run_id)

    # -------------------------------------------------------------- looking
    def status(self, run_id: str) -> str:
        """Return the status of a run."""
        return self._run(run_id).status

    def _run(self, run_id: str) -> Run:
        run = runs.find(self._store, RunId(run_id))
        if run is None:
            raise UsageError(f"no run is called {run_id!r} in this world")
        return run

    def history(self, run_id: str = "run") -> list[bytes]:
        """Return the history of a run."""
        return runs.history(self._store, RunId(run_id))

    def definition_of(self, run_id: str = "run") -> Definition:
        """Return the definition that a run is pinned to."""
        run = self._run(run_id)
        return self._definition(run.name, run.version)

    def waits(self, run_id: str = "run") -> list[str]:
        """Return what a run waits for, one line for each; none once it has ended."""
        live = self._live.get(RunId(run_id))
        waits = [] if live is None else live.replay.waits.values()
        return [describe_waiting(wait) for wait in waits]

    def events(self, run_id: str = "run") -> list[Event]:
        """Return the events of a run."""
        return [decode(data) for data in self.history(run_id)]

    def result(self, run_id: str = "run") -> Value:
        """Return what a run ended with; raises its failure, or `UsageError` while it goes on."""
        run = self._run(run_id)
        last = decode(runs.last_event(self._store, run))
        if run.live or not isinstance(last, Ended):
            raise UsageError(f"run {run_id} has not ended: it is {run.status}")
        if last.status != "completed":
            raise as_error(last.value)
        return last.value
