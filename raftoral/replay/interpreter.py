"""Runs a workflow's generators beside its history: replay is "run again, feed the recorded answers".

Owns `Replay`, one run's branches and where they stand. It acts on nothing: what the owner has to do
is told as data (`outbox`: events that the code yielded and the history lacks; `waits`: what is to be
answered).

The rules it keeps: each event is compared with what the code yields *before* it answers; answers
are decoded from committed bytes, on the owner too; what follows from the events before it (a
checkpoint, a log line, the end) is put in the outbox and not waited for, so a step costs one commit.
A history is compared branch by branch; which branch went first is decided by the log alone.

Two traps. Closing a parked generator runs its `finally` blocks, so a generator is only ever closed
in `Replay.close`, and an effect yielded while closing is ignored. An exception of a workflow is
kept as data (name, message, declared fields), never as an object.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from inspect import getgeneratorstate, isgenerator
from typing import TYPE_CHECKING, Any, ClassVar, Final

from raftoral.convert import flow_result, from_plain, result_type
from raftoral.errors import Cancelled, NonDeterminismError, RaftoralError
from raftoral.replay.advancing import Advancing, Begin, Body, Observer
from raftoral.replay.context import heartbeat_of
from raftoral.replay.effects import Pending, undoing
from raftoral.replay.failures import as_error
from raftoral.replay.history import (
    Asked,
    CallbackDone,
    CallbackOpened,
    CancelAsked,
    ChildAsked,
    ChildDone,
    ChildLeft,
    Closed,
    Done,
    Ended,
    Event,
    Logged,
    Noted,
    Opened,
    Paused,
    Restarted,
    Resumed,
    Retry,
    Set,
    Started,
    Taken,
    TimerFired,
    TimerSet,
    Updated,
    decode,
    is_child,
)
from raftoral.replay.waits import (
    CallbackWait,
    ChildWait,
    ComputeWait,
    NoteWait,
    SignalWait,
    TimerWait,
    TokenWait,
    UpdateWait,
    Wait,
    describe_waiting,
)
from raftoral.replay.wording import describe
from raftoral.values import instant_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from raftoral.ids import Position, RunId
    from raftoral.replay.joins import Branch

__all__ = ["Begin", "Body", "Outcome", "Replay", "advance"]

CLOSING_YIELDS_MAX: Final = 100
"""How many effects of `finally` blocks are ignored before a closed generator is left alone."""


class Replay(Advancing):
    """One run's branches and their place in the history.

    Feed it every committed event in order. After each, `outbox` holds the events (as bytes) that
    the code has yielded and the history does not have yet, `waits` what must be answered, by path,
    and `ended` tells whether the workflow has finished (its `Ended` or `Restarted` is then the last
    of the outbox or settled; `restarting` tells which). `changed` collects the paths of `waits`
    that are new, changed or gone, for an owner that clears it. `committed` has the `Set` that each
    cell was last recorded by.

    With ``lockstep`` the code never runs ahead of the history: a branch stands at each yielded
    event until it is fed, and a cell holds its value from then on. So a debugger sees every
    statement; a node does not wait. ``observe`` is told the path of each branch and what becomes of
    it: ``begun``, ``done``, ``failed`` or ``cancelled``. ``known`` is the history that will be fed, as
    far as it is at hand: a fork or a retry keeps children under ids of another run or generation.
    """

    def __init__(
        self,
        run_id: RunId,
        begin: Begin,
        *,
        lockstep: bool = False,
        observe: Observer | None = None,
        known: Iterable[bytes] = (),
    ) -> None:
        super().__init__(run_id, lockstep=lockstep, observe=observe)
        self._begin_body = begin
        for data in filter(is_child, known):
            asked = decode(data)
            assert isinstance(asked, ChildAsked)
            self._children[asked.path] = asked.id

    # -------------------------------------------------------------- looking
    @property
    def position(self) -> Position:
        """How many events of the history were fed."""
        return self._ahead.position

    @property
    def outbox(self) -> list[bytes]:
        """The events that the code yielded and the history lacks, the oldest first."""
        return self._ahead.events()

    @property
    def yielded(self) -> int:
        """How many events `outbox` holds."""
        return len(self._ahead)

    @property
    def waiting(self) -> Wait | None:
        """The oldest thing that the run waits for; None while nothing is asked."""
        return next(iter(self.waits.values()), None)

    @property
    def oldest_yielded(self) -> tuple[bytes, str] | None:
        """The first of `outbox`, and the line that the code yielded it at."""
        return self._ahead.oldest(None)

    def line_of(self, path: str) -> str:
        """Return ``file:line`` where the branch that waits at ``path`` stands; "" if unknown."""
        return self.where(self._owners.get(path))

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
        for data in history if self._lockstep else self._ahead.stream(history):
            event = decode(data)
            self._handlers[type(event)](self, event, data)

    def _on_yielded(self, event: Event, data: bytes) -> None:
        """Compare an event with the oldest one that the branch of its path has run ahead by."""
        path: str = getattr(event, "path", "")
        branch = self._owners.get(path) if path else self.root
        if branch is None or not self._ahead.confirm(branch, data):
            raise self._divergence(event, branch)
        if isinstance(event, Set):
            self.committed[path] = data
        if branch.unset is not None:
            cell, value = branch.unset
            cell.value, branch.unset = value, None
        if branch.held is not None and not branch.outbox:
            self._unhold(branch)

    def _on_ended(self, event: Ended, data: bytes) -> None:
        if event.status != "terminated":
            self._on_yielded(event, data)
            return
        # The group itself ended the run: no code asked for it.
        self._ahead.passed(data)
        self._ahead.clear()
        self._over()

    def _on_started(self, event: Started, data: bytes) -> None:
        if self.started is not None:
            raise self._divergence(event, self.root)
        self.started = event
        self._ahead.passed(data)
        try:
            self.body = self._begin_body(event)
        except Exception as error:
            self._finish(self.root, None, error)
            return
        self.root.generator = self.body.generator
        self._resume(self.root, None)
        self._pump()

    def _on_cancel(self, event: CancelAsked, data: bytes) -> None:
        self._ahead.passed(data)
        self._release()
        if self.restarting and not (self.root.cancelling or self.root.scopes.shield):
            self._cancel_restart(event.reason)
        else:
            self._cancel(self.root, event.reason)
        self._pump()

    def _on_pause(self, _event: Event, data: bytes) -> None:
        # Pausing keeps the owner from acting, which is not the code's business.
        self._ahead.passed(data)

    def _on_arrival(self, event: ChildDone | CallbackDone, data: bytes) -> None:
        """A child ended, or a callback was completed: whoever waits for it goes on."""
        path = event.path
        self._ahead.passed(data)
        if path in self._dropped:
            return
        if self._left.pop(path, None) is not None and self.ended:
            self._arrived[path] = event  # The code is through, and its end is not settled yet.
            return
        wait = self.waits.get(path)
        if not isinstance(wait, ChildWait | CallbackWait):
            raise self._divergence(event, self._owners.get(path))
        self._release()
        self._drop(path)
        self._arrived[path] = event
        if isinstance(wait, CallbackWait):
            # Nobody may wait for it yet, or not any more.
            callers, kind = self._callers.pop(path, {}), wait.kind
        else:
            callers, kind = {self._owners[path]: None}, flow_result(wait.effect.target)
        for branch in callers:
            if branch.blocked is not wait:
                continue
            if event.ok:
                self._answer(branch, event.value, kind)
            else:
                self._throw(branch, as_error(event.value))
        self._pump()

    def _on_answer(self, event: Any, data: bytes) -> None:
        """Compare an answer with what the branch of its path waits for, and hand it on."""
        path = event.path
        wait = self.waits.get(path)
        if wait is None and path in self._dropped:
            self._ahead.passed(data)  # It was under way when its branch was cancelled.
            return
        branch = self._owners.get(path)
        if wait is None or branch is None or branch.outbox:
            raise self._divergence(event, branch)
        if not self._fits(event, wait):
            raise self._divergence(event, branch)
        self._ahead.passed(data)
        if self._only_noted(event, wait):
            self.changed[path] = None
            return
        self._drop(path)
        self._hand_on(branch, event, wait)
        self._pump()

    def _fits(self, event: Any, wait: Wait) -> bool:
        """Tell whether this kind of answer belongs to what is waited for."""
        match event, wait:
            case Done(_, call), ComputeWait():
                return bool(call == wait.call)
            case (
                (Retry(), ComputeWait())
                | (TimerSet() | TimerFired(), TimerWait() | SignalWait())
                | (Taken(), SignalWait())
                | (Updated(), UpdateWait())
                | (CallbackOpened(), TokenWait())
            ):
                return True
            case Asked(), ComputeWait():
                return wait.effect.options.once
            case TimerSet(), ComputeWait():
                return wait.effect.options.deadline is not None
            case Noted(_, kind), NoteWait():
                return bool(kind == type(wait.effect).__name__.lower())
            case _:
                return False

    def _only_noted(self, event: Any, wait: Wait) -> bool:
        """Note what brings the answer nearer without being it; tell whether the event is that."""
        match event, wait:
            case Retry(), ComputeWait():
                wait.attempt, wait.not_before = event.attempt + 1, event.next_at
                wait.last_heartbeat = heartbeat_of(event.error)
            case Asked(), ComputeWait():
                wait.asked = event.attempt
            case TimerSet(), ComputeWait() | TimerWait() | SignalWait():
                wait.due = event.due
            case Updated(ok=False), _:
                pass  # Refused: the code waits for another one.
            case _:
                return False
        return True

    def _hand_on(self, branch: Branch, event: Any, wait: Wait) -> None:
        match event, wait:
            case Done(), ComputeWait():
                self._computed(branch, wait, event)
            case Taken() | Updated(), SignalWait() | UpdateWait():
                self._answer(branch, event.value, wait.effect.kind)
            case Noted(_, "now", int(at)), _:
                self._resume(branch, instant_of(at))
            case Noted(), _:
                self._resume(branch, event.value)
            case CallbackOpened(path, token, due, beat), TokenWait():
                kind = wait.effect.kind
                self.waits[path] = CallbackWait(path, token, kind, due or None, beat)
                self._resume(branch, Pending(path, token, kind))
            case _:
                self._resume(branch, None)

    def _computed(self, branch: Branch, wait: ComputeWait, event: Done) -> None:
        if not event.ok:
            failure = as_error(event.value, event.attempts)
            if failure.name == "Cancelled" and wait.cancelling and branch.cancel_due is not None:
                due, branch.cancel_due = branch.cancel_due, None
                self._throw(branch, due)
            else:
                self._throw(branch, failure)
            return
        function = wait.effect.call.function
        try:
            value = from_plain(event.value, Any if function is None else result_type(function))
        except Exception as error:
            self._throw(branch, error)
            return
        undo = wait.effect.options.undo
        if undo is not None and branch.scopes.undo is not None:
            try:
                branch.scopes.undo.add(event.path, undoing(undo, value))
            except RaftoralError as error:
                self._throw(branch, error)
                return
        self._resume(branch, value)

    # -------------------------------------------------------------- divergence
    def _divergence(self, event: Event, branch: Branch | None) -> NonDeterminismError:
        """Return the report that the history has ``event`` where the code yields something else."""
        if branch is not None and branch.generator is None:
            branch = None
        ahead = self._ahead.oldest(branch) or self._ahead.oldest(None)
        if ahead is not None:
            yielded, line = describe(decode(ahead[0])), ahead[1]
        else:
            yielded, line = self._asks(branch), self.where(branch)
        return NonDeterminismError(self.run_id, self.position, describe(event), yielded, line)

    def _asks(self, branch: Branch | None) -> str:
        blocked = None if branch is None else branch.blocked
        wait = blocked if isinstance(blocked, Wait) else self.waiting
        if wait is not None:
            return describe_waiting(wait)
        if self.started is None:
            return "nothing before `Started`"
        return "nothing more: the run has ended"

    # -------------------------------------------------------------- leaving
    def close(self) -> None:
        """Drop the generators, running their `finally` blocks; what they yield is ignored."""
        if self.body is None:
            return
        self.body = None
        branches = [self.root]
        for branch in branches:  # It grows meanwhile: the inner ones are closed first.
            if branch.join is None or not branch.ended:
                branches += getattr(branch.blocked, "branches", {}).values()
        for branch in reversed(branches):
            _close(branch.generator)

    _handlers: ClassVar[dict[type[Event], Callable[[Any, Any, bytes], None]]] = {
        **dict.fromkeys((Set, Logged, Opened, Closed, ChildAsked, ChildLeft), _on_yielded),
        **dict.fromkeys(
            (Retry, Asked, Done, TimerSet, TimerFired, Taken, Noted, CallbackOpened, Updated),
            _on_answer,
        ),
        **dict.fromkeys((ChildDone, CallbackDone), _on_arrival),
        **dict.fromkeys((Paused, Resumed), _on_pause),
        Started: _on_started,
        CancelAsked: _on_cancel,
        Restarted: _on_yielded,
        Ended: _on_ended,
    }


def _close(generator: Any) -> None:
    ignored = 0
    while ignored < CLOSING_YIELDS_MAX:
        innermost = _innermost(generator)
        if innermost is None:
            return
        # Python calls an effect that is yielded here a RuntimeError and stays there. Closed from
        # outside, a generator would let go of one that does, for the collector to run on some day.
        with suppress(Exception, SystemExit, Cancelled):
            innermost.close()
        ignored += getgeneratorstate(innermost) == "GEN_SUSPENDED"


def _innermost(generator: Any) -> Any:
    """Return the generator that ``generator`` really stands in, through each `yield from`."""
    found = None
    while isgenerator(generator) and getgeneratorstate(generator) == "GEN_SUSPENDED":
        found, generator = generator, generator.gi_yieldfrom
    return found


# ------------------------------------------------------------------ the walk in one call
@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a replay ended: waiting for ``waits``, or over with ``ended``; ``yielded`` is ahead."""

    waits: tuple[Wait, ...]
    ended: Ended | None
    yielded: tuple[Event, ...]

    @property
    def waiting(self) -> Wait | None:
        """The oldest thing that the run waits for."""
        return self.waits[0] if self.waits else None


def advance(run_id: RunId, begin: Begin, history: Iterable[bytes]) -> Outcome:
    """Replay ``history`` and return where the code stands then.

    A pure function of its arguments. Raises `NonDeterminismError` where they do not fit.
    """
    events = list(history)
    replay = Replay(run_id, begin, known=events)
    last: Event | None = None
    try:
        replay.feed_all(events)
        if replay.ended and events:
            last = decode(events[-1])
        yielded = tuple(decode(data) for data in replay.outbox)
    finally:
        replay.close()
    ended = next((event for event in (*yielded, last) if isinstance(event, Ended)), None)
    return Outcome(tuple(replay.waits.values()), ended, yielded)
