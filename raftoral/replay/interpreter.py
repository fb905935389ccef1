"""Runs a workflow's generator beside its history: replay is "run again, feed the recorded answers".

Owns `Replay`, one run's generator and where it stands. It acts on nothing: what the owner has to do
is told as data (`outbox`: deterministic events to settle; `waiting`: the one effect to be answered).

The rules it keeps: each event is compared with what the code yields *before* it answers; answers
are decoded from committed bytes, on the owner too; a deterministic effect (a checkpoint, a log
line, the end) is put in the outbox and not waited for, so a step costs one commit.

Two traps. Closing a parked generator runs its `finally` blocks, so a generator is only ever closed
in `Replay.close`, and an effect yielded while closing is ignored. An exception of a workflow is
kept as data (name, message, declared fields), never as an object.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from inspect import getgeneratorstate
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, assert_never, cast

from raftoral.codec import pack, unpack
from raftoral.convert import from_plain, mentions_float, result_type, takes_float, to_plain
from raftoral.errors import (
    LimitExceeded,
    NonDeterminismError,
    RaftoralError,
    UsageError,
    WorkflowFailed,
)
from raftoral.ids import Millis, Position
from raftoral.replay.effects import (
    Cell,
    Checkpoint,
    Compute,
    Effect,
    Log,
    Receive,
    Scopes,
    SetCell,
    Sleep,
    SleepUntil,
    as_span,
    current_scopes,
)
from raftoral.replay.failures import as_error, failure_of
from raftoral.replay.history import (
    CALL_BYTES_MAX,
    DUE_MAX,
    HISTORY_BYTES_MAX,
    HISTORY_EVENTS_MAX,
    Done,
    Ended,
    Event,
    Logged,
    Retry,
    Set,
    Started,
    Taken,
    TimerFired,
    TimerSet,
    decode,
    encode,
)
from raftoral.replay.text import short
from raftoral.replay.wording import describe, describe_call
from raftoral.values import millis_of, millis_since_epoch

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from raftoral.ids import RunId
    from raftoral.values import Value


CLOSING_YIELDS_MAX: Final = 100
"""How many effects of `finally` blocks are ignored before a closed generator is left alone."""


class Body(Protocol):
    """A started workflow of either front end."""

    @property
    def generator(self) -> Generator[Effect[Any], Any, Any]:
        """The generator of effects."""
        ...

    @property
    def floats(self) -> bool:
        """Whether the workflow declares that its result holds floats."""
        ...

    def variables(self) -> dict[str, object]:
        """Return the variables that are in sight where the generator stands."""
        ...

    def where(self) -> tuple[str, int]:
        """Return the file (or definition) and line where the generator stands; line 0 if unknown."""
        ...


Start: TypeAlias = "Callable[[Started], Body]"


# ------------------------------------------------------------------ what a run waits for
@dataclass(slots=True)
class ComputeWait:
    """The run waits for an activity: attempt number ``attempt`` may begin at ``not_before``."""

    path: str
    effect: Compute[Any]
    call: bytes
    attempt: int = 1
    not_before: Millis | None = None


@dataclass(slots=True)
class TimerWait:
    """The run sleeps: until ``due`` once the timer is set, None before."""

    path: str
    effect: Sleep | SleepUntil
    due: Millis | None = None


@dataclass(slots=True)
class SignalWait:
    """The run waits for a signal, at most until ``due`` if it has a timeout that was set."""

    path: str
    effect: Receive[Any]
    due: Millis | None = None


Waiting: TypeAlias = ComputeWait | TimerWait | SignalWait


def describe_waiting(waiting: Waiting) -> str:
    """Return one line for people: what the run waits for."""
    match waiting:
        case ComputeWait(path, _, call):
            return f"compute {path} = {describe_call(call)}"
        case TimerWait(path):
            return f"sleep {path}"
        case SignalWait(path, effect):
            return f"signal {effect.name} ({path})"
        case _:
            assert_never(waiting)


def call_bytes(effect: Compute[Any]) -> bytes:
    """Return the packed call of a compute; its arguments as a digest where they are long."""
    call = effect.call
    args = [to_plain(arg) for arg in call.args]
    kwargs = {name: to_plain(value) for name, value in call.kwargs}
    floats = call.function is not None and takes_float(call.function)
    data = pack([call.activity, args, kwargs], floats=floats, names=("activity", "args", "kwargs"))
    if len(data) <= CALL_BYTES_MAX:
        return data
    return pack([call.activity, sha256(data).hexdigest(), len(data)])


# ------------------------------------------------------------------ the interpreter
class Replay:
    """One run's generator and its place in the history.

    Feed it every committed event in order. After each, `outbox` holds the deterministic events
    (as bytes) that the code has yielded and the history does not have yet, `waiting` the effect
    that must be answered next (None while nothing is asked or the run is over), and `ended` tells
    whether the generator has finished (its `Ended` is then the last of the outbox or settled).

    With ``lockstep`` the code never runs ahead of the history: it stands at each deterministic
    effect too, until its event is fed, and a cell holds its value from then on. So a debugger sees
    every statement; a node does not wait.
    """

    def __init__(self, run_id: RunId, start: Start, *, lockstep: bool = False) -> None:
        self.run_id = run_id
        self.position = Position(0)
        self.outbox: deque[bytes] = deque()
        self.waiting: Waiting | None = None
        self.ended = False
        self.started: Started | None = None
        self.cells: dict[str, Cell[Any]] = {}
        self.body: Body | None = None
        self._start = start
        self._scopes = Scopes()
        self._paths: set[str] = set()
        self._size = 0
        self._recorded: Iterator[bytes] = iter(())
        self._lines: deque[str] = deque()
        self._lockstep = lockstep
        self._held: tuple[object] | None = None
        self._held_cell: tuple[Cell[Any], object] | None = None

    # -------------------------------------------------------------- committed events
    def feed(self, data: bytes) -> None:
        """Take one committed event; see `feed_all`."""
        self.feed_all((data,))

    def feed_all(self, history: Iterable[bytes]) -> None:
        """Take many committed events, in order.

        Raises `NonDeterminismError` if the code yields something else, with the line that yielded
        it; the replay is then of no use any more and the caller closes it.
        """
        # What the code yields is compared where it is yielded, as long as there is a record of it.
        self._recorded = iter(() if self._lockstep else history)
        for data in history if self._lockstep else self._recorded:
            if self.outbox:
                self._confirm(data)
            else:
                self._answer(decode(data), len(data))

    def _confirm(self, data: bytes) -> None:
        """Compare a committed event with the oldest one that the code has run ahead by."""
        self._compare(self.outbox[0], data, self._lines[0])
        if self.outbox:
            self.outbox.popleft()
            self._lines.popleft()
        self.position = Position(self.position + 1)
        if self._held_cell is not None:
            cell, value = self._held_cell
            cell.value = value
            self._held_cell = None
        held, self._held = self._held, None
        if held is not None and self.body is not None and not self.ended:
            self._run(self.body.generator.send, held[0])

    def _compare(self, yielded: bytes, recorded: bytes, where: str | None = None) -> None:
        if yielded == recorded or _same_failure(yielded, recorded):
            return
        if _is_termination(recorded):
            self._terminate()
            return
        place = self.where() if where is None else where
        texts = describe(decode(recorded)), describe(decode(yielded))
        raise NonDeterminismError(self.run_id, self.position, *texts, place)

    def _terminate(self) -> None:
        """The group itself ended the run (its history grew too long): no code asked for it."""
        self.ended = True
        self.waiting = None
        self.outbox.clear()
        self._lines.clear()

    def _answer(self, event: Event, size: int) -> None:
        """Compare an event with what the code waits for, and answer it."""
        waiting = self.waiting
        match event, waiting:
            case Done(path, call), ComputeWait() if path == waiting.path and call == waiting.call:
                self.waiting = None
            case Retry(path, attempt, _, next_at), ComputeWait() if path == waiting.path:
                waiting.attempt = attempt + 1
                waiting.not_before = next_at
            case TimerSet(path, due), TimerWait() | SignalWait() if path == waiting.path:
                waiting.due = due
            case TimerFired(path), TimerWait() | SignalWait() if path == waiting.path:
                self.waiting = None
            case Taken(path), SignalWait() if path == waiting.path:
                self.waiting = None
            case Started(), None if self.started is None:
                self.started = event
            case Ended("terminated"), _:
                self._terminate()
            case _:
                texts = describe(event), self._yielded()
                raise NonDeterminismError(self.run_id, self.position, *texts, self.where())
        self.position = Position(self.position + 1)
        self._size += size
        if self.waiting is None and not self.ended:
            self._go_on(event, waiting)

    def _go_on(self, event: Event, waiting: Waiting | None) -> None:
        """Resume the code with the answer that ``event`` holds."""
        match event, waiting:
            case Done(ok=False), _:
                self._throw(as_error(event.value, event.attempts))
            case Done(), ComputeWait(effect=effect) if effect.call.function is not None:
                self._resume(event.value, result_type(effect.call.function))
            case ((Done() | Taken()), _):
                self._resume(
                    event.value, waiting.effect.kind if isinstance(waiting, SignalWait) else Any
                )
            case Started(), _:
                self._begin(event)
            case _:
                self._resume(None, Any)

    def _begin(self, event: Started) -> None:
        try:
            self.body = self._start(event)
        except Exception as error:
            self._end(_failed(error))
            return
        self._resume(None, Any)

    # -------------------------------------------------------------- the generator
    def _resume(self, answer: Value, kind: Any) -> None:
        """Send the answer as the type ``kind`` and run to the next effect to be waited for."""
        assert self.body is not None
        try:
            value = from_plain(answer, kind)
        except Exception as error:
            self._throw(error)
            return
        self._run(self.body.generator.send, value)

    def _throw(self, error: Exception) -> None:
        assert self.body is not None
        self._run(self.body.generator.throw, error)

    def _run(self, step: Callable[[Any], Effect[Any]], argument: object) -> None:
        """Advance the generator through deterministic effects until it blocks or ends."""
        assert self.body is not None
        generator = self.body.generator
        token = current_scopes.set(self._scopes)
        try:
            effect = step(argument)
            while True:
                try:
                    answer = self._take(effect)
                except NonDeterminismError:
                    raise
                except RaftoralError as refused:
                    effect = generator.throw(refused)
                    continue
                if self.waiting is not None or self.ended:
                    return
                if self._lockstep:
                    self._held = (answer,)
                    return
                effect = generator.send(answer)
        except StopIteration as stop:
            self._finish(stop.value)
        except NonDeterminismError:
            raise
        except (Exception, SystemExit, GeneratorExit) as error:
            # Nothing that a workflow raises may leave the node's loop.
            self._end(_failed(error))
        finally:
            current_scopes.reset(token)

    def _finish(self, value: object) -> None:
        assert self.body is not None
        try:
            result = cast("Value", to_plain(value))
            data = encode(Ended("completed", result), floats=self.body.floats)
        except Exception as error:
            data = _failed(error)
        self._end(data)

    def _end(self, data: bytes) -> None:
        self.waiting = None
        self._yield(data)
        self.ended = True

    def _take(self, effect: object) -> object:
        """Note what was yielded; return the answer if it is deterministic, else set `waiting`."""
        match effect:
            case Compute():
                call = call_bytes(effect)
                self.waiting = ComputeWait(self._path(effect.key, "compute"), effect, call)
            case Checkpoint(key, value, kind):
                return self._open_cell(key, value, kind)
            case SetCell(cell, value):
                self._record(cell, value)
            case Log(text, key):
                self._emit(encode(Logged(self._path(key, "log"), str(text))))
            case Sleep(_, key) | SleepUntil(_, key):
                self.waiting = TimerWait(self._path(key, "sleep"), effect)
            case Receive():
                self.waiting = SignalWait(self._path(effect.key, effect.name), effect)
            case _:
                raise UsageError(
                    f"a workflow yields effects only, not {short(effect)} "
                    "(forgot `yield from` before a helper, or Compute around a call?)"
                )
        return None

    def _open_cell(self, key: str, value: object, kind: Any) -> Cell[Any]:
        path = self._path(key)
        if kind is None and type(value) is float:
            kind = object  # A float is stored only where the code says so.
        cell: Cell[Any] = Cell(path, value, type(value) if kind is None else kind)
        try:
            self._record(cell, value)
        except UsageError:
            self._paths.discard(path)  # A step that is refused has not taken its name.
            raise
        self.cells[path] = cell
        return cell

    def _record(self, cell: Cell[Any], value: object) -> None:
        """Put a `Set` in the outbox; the cell then holds the value as it will be read back."""
        plain: Any = to_plain(value)
        data = encode(Set(cell.path, plain), floats=mentions_float(cell.kind))
        stored = unpack(data)[2]  # type: ignore[index]
        kind = cell.kind
        if kind is not None and kind is not type(None) and value is not None:
            stored = from_plain(stored, kind)
        self._emit(data)
        if self._lockstep:
            self._held_cell = (cell, stored)
        else:
            cell.value = stored

    def _emit(self, data: bytes) -> None:
        """Yield a deterministic event, unless the code runs ahead without bound."""
        # One event is left for the end.
        if (
            self.position + len(self.outbox) >= HISTORY_EVENTS_MAX - 1
            or self._size + len(data) > HISTORY_BYTES_MAX
        ):
            raise LimitExceeded(
                f"the history would pass its bound of {HISTORY_EVENTS_MAX:,} events or "
                f"{HISTORY_BYTES_MAX:,} bytes; split the work into several runs"
            )
        self._yield(data)

    def _yield(self, data: bytes) -> None:
        """Compare a deterministic event with its record, or put it in the outbox without one."""
        self._size += len(data)
        recorded = next(self._recorded, None)
        if recorded is None:
            self.outbox.append(data)
            self._lines.append(self.where())
            return
        self._compare(data, recorded)
        self.position = Position(self.position + 1)

    def _path(self, key: str | None, kind: str = "") -> str:
        """Return the path of a step here: of its key, or counted by its kind without one."""
        path = self._scopes.unnamed(kind) if key is None else self._scopes.path(key)
        if path in self._paths:
            raise UsageError(
                f"two steps are called `{path}`; inside a loop, open a scope for each turn: "
                "`with scope(f'item-{n}'): ...`"
            )
        self._paths.add(path)
        return path

    # -------------------------------------------------------------- looking and leaving
    def where(self) -> str:
        """Return ``file:line`` of the statement that the generator stands at; empty if unknown."""
        if self.body is None:
            return ""
        name, line = self.body.where()
        return f"{name}:{line}" if line else name

    def _yielded(self) -> str:
        if self.waiting is not None:
            return describe_waiting(self.waiting)
        if self.started is None:
            return "nothing before `Started`"
        return "nothing more: the run has ended"

    def close(self) -> None:
        """Drop the generator, running its `finally` blocks; what they yield is ignored."""
        body, self.body = self.body, None
        if body is None:
            return
        for _ in range(CLOSING_YIELDS_MAX):
            if getgeneratorstate(body.generator) != "GEN_SUSPENDED":
                return
            # Python calls an effect that is yielded here a RuntimeError and stays there.
            with suppress(Exception, SystemExit):
                body.generator.close()


def _failed(error: BaseException) -> bytes:
    return encode(Ended("failed", failure_of(error)))


def _is_termination(data: bytes) -> bool:
    event = decode(data)
    return isinstance(event, Ended) and event.status == "terminated"


def _same_failure(expected: bytes, recorded: bytes) -> bool:
    """Tell whether both are failed ends of one name: a message may hold an address of memory."""
    mine, theirs = decode(expected), decode(recorded)
    if not isinstance(mine, Ended) or not isinstance(theirs, Ended):
        return False
    return (
        mine.status == theirs.status == "failed"
        and isinstance(mine.value, list)
        and isinstance(theirs.value, list)
        and mine.value[0] == theirs.value[0]
    )


# ------------------------------------------------------------------ the walk in one call
@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a replay ended: blocked on ``waiting``, or over with ``ended``; ``yielded`` is ahead."""

    waiting: Waiting | None
    ended: Ended | None
    yielded: tuple[Event, ...]


def advance(run_id: RunId, start: Start, history: Iterable[bytes]) -> Outcome:
    """Replay ``history`` and return where the code stands then.

    A pure function of its arguments. Raises `NonDeterminismError` where they do not fit.
    """
    replay = Replay(run_id, start)
    last: Event | None = None
    try:
        events = list(history)
        replay.feed_all(events)
        if replay.ended and events:
            last = decode(events[-1])
        yielded = tuple(decode(data) for data in replay.outbox)
    finally:
        replay.close()
    ended = next((event for event in (*yielded, last) if isinstance(event, Ended)), None)
    return Outcome(replay.waiting, ended, yielded)


def pack_result(effect: Compute[Any], value: object) -> Value:
    """Return an activity's result as it will be stored, checked against its declared type.

    Raises `WorkflowFailed` named ``BadResult`` when it cannot be stored or read back.
    """
    function = effect.call.function
    try:
        plain = to_plain(value)
        kind = result_type(function) if function is not None else Any
        stored = unpack(pack(plain, floats=mentions_float(kind)))
        from_plain(stored, kind)
    except (RaftoralError, RecursionError) as error:
        message = f"the result of {effect.call.activity} cannot be stored: {error}"
        raise WorkflowFailed("BadResult", message) from None
    return stored


def timer_due(effect: Sleep | SleepUntil | Receive[Any], now: Millis) -> Millis | None:
    """Return when a wait that begins ``now`` ends; None for a receive without a timeout."""
    match effect:
        case SleepUntil(until):
            due = millis_since_epoch(until)
        case Sleep(span):
            due = now + millis_of(as_span(span))
        case Receive():
            if effect.within is None:
                return None
            due = now + millis_of(effect.within)
        case _:
            assert_never(effect)
    return Millis(min(max(due, 0), DUE_MAX))
