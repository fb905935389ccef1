"""What the owner of a run does next for each thing that the run waits for.

Pure: the clock, chance, the mailboxes and what is under way are arguments. The executor of a node
and `raftoral.testing` carry the same decisions out, so a test of a workflow meets the engine's rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, assert_never

from raftoral.convert import from_plain, to_plain
from raftoral.errors import RaftoralError
from raftoral.ids import Millis
from raftoral.replay.effects import Now, Random, Uuid
from raftoral.replay.failures import failure_of
from raftoral.replay.history import (
    Asked,
    CallbackDone,
    CallbackOpened,
    Done,
    Event,
    Failure,
    Noted,
    Retry,
    Taken,
    TimerFired,
    TimerSet,
    Updated,
    encode,
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
    due_after,
    timer_due,
)
from raftoral.values import format_span, millis_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from raftoral.values import Value


@dataclass(frozen=True, slots=True)
class Settle:
    """Propose ``event``. One that ``takes`` from a mailbox goes directly behind what is committed.

    Behind another answer that is not committed, its branch might be cancelled by then, and what
    was taken would be lost.
    """

    event: Event
    takes: bool = False


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin attempt ``wait.attempt``; look again at ``until``, if that is not None."""

    until: Millis | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop the attempt under way: its branch was cancelled. It still settles what it ends in."""


@dataclass(frozen=True, slots=True)
class Later:
    """Nothing to do before ``at``; None: before something arrives."""

    at: Millis | None = None


Decision: TypeAlias = Settle | Begin | Stop | Later


class Surroundings(Protocol):
    """What the owner of a run sees around it."""

    def now(self) -> Millis:
        """Return the group's clock."""
        ...

    def chance(self, below: int) -> int:
        """Return a random number from 0 to ``below`` - 1."""
        ...

    def token(self, path: str) -> str:
        """Return a new token for the callback at ``path``, which nobody can guess."""
        ...

    def signal(self, name: str) -> tuple[str, Value] | None:
        """Return id and payload of the oldest signal of that name that was not taken."""
        ...

    def request(self, name: str) -> tuple[str, Value] | None:
        """Return id and payload of the oldest update of that name that was not taken."""
        ...

    def last_beat(self, path: str) -> Millis:
        """Return when the holder of a callback's token was last heard of."""
        ...

    def under_way(self, path: str) -> bool:
        """Tell whether this owner has an attempt of the step under way."""
        ...

    def asked_here(self, path: str) -> bool:
        """Tell whether this owner, since it is the owner, recorded the attempt as asked for."""
        ...


def decide(wait: Wait, around: Surroundings) -> Decision:
    """Return what the owner does next for ``wait``."""
    match wait:
        case ComputeWait():
            return _compute(wait, around)
        case TimerWait(path, effect, due):
            if due is None:
                return _timer(path, timer_due(effect, around.now()))
            return _when(due, around, TimerFired(path))
        case SignalWait():
            return _signal(wait, around)
        case UpdateWait():
            return _update(wait, around)
        case NoteWait(path, note):
            return Settle(_noted(path, note, around))
        case TokenWait(path, callback):
            limit = callback.within
            due = Millis(0) if limit is None else due_after(limit, around.now())
            beat = 0 if callback.beat is None else millis_of(callback.beat)
            return Settle(CallbackOpened(path, around.token(path), due, beat))
        case CallbackWait():
            return _callback(wait, around)
        case ChildWait():
            return Later()
        case _:
            assert_never(wait)


# ------------------------------------------------------------------ activities
def _compute(wait: ComputeWait, around: Surroundings) -> Decision:
    options = wait.effect.options
    now = around.now()
    under_way = around.under_way(wait.path)
    if wait.cancelling:
        return Stop() if under_way else Settle(cancelled(wait))
    if options.deadline is not None:
        if wait.due is None:
            return _timer(wait.path, due_after(options.deadline, now))
        if now >= wait.due:
            return Settle(_failed(wait, "DeadlineExceeded", "no result within the deadline"))
    if under_way:
        return Later(wait.due)
    if wait.not_before is not None and now < wait.not_before:
        soon = wait.not_before
        return Later(soon if wait.due is None else min(soon, wait.due))
    if options.once and not wait.asked:
        return Settle(Asked(wait.path, wait.attempt))
    if options.once and not around.asked_here(wait.path):
        why = "its owner was lost while it ran, and it may be attempted once only"
        return Settle(_failed(wait, "Interrupted", why))
    return Begin(wait.due)


def attempted(
    wait: ComputeWait, outcome: Value | BaseException, around: Surroundings
) -> Done | Retry:
    """Return the event of an attempt that ended: in a stored value, or in an exception.

    A failure is a `Retry` while the policy allows another attempt in time, else the end of the step.
    """
    if not isinstance(outcome, BaseException):
        return Done(wait.path, wait.call, True, outcome, wait.attempt)
    failure = failure_of(outcome)
    options = wait.effect.options
    policy = options.policy
    if not wait.cancelling and policy.repeats(str(failure[0]), wait.attempt):
        spread = policy.jitter_percent
        spread = around.chance(2 * spread + 1) - spread if spread else 0
        at = due_after(policy.pause_after(wait.attempt, spread), around.now())
        if wait.due is None or at < wait.due:
            return Retry(wait.path, wait.attempt, failure, at)
    return Done(wait.path, wait.call, False, failure, wait.attempt)


def late(name: str, limit: timedelta) -> Failure:
    """Return the failure of an attempt that had no result, or told nothing, within ``limit``."""
    what = "heartbeat" if name == "HeartbeatTimeout" else "result"
    return [name, f"no {what} within {format_span(limit)}", {}]


def cancelled(wait: ComputeWait) -> Done:
    """Return the end of a step whose branch was cancelled before it had a result."""
    return _failed(wait, "Cancelled", "its branch was cancelled")


def _failed(wait: ComputeWait, name: str, message: str) -> Done:
    failure: Failure = [name, message, {}]
    return Done(wait.path, wait.call, False, failure, wait.attempt)


# ------------------------------------------------------------------ time, signals, requests
def _timer(path: str, due: Millis | None) -> Decision:
    return Later() if due is None else Settle(TimerSet(path, due))


def _when(due: Millis, around: Surroundings, event: Event) -> Decision:
    return Settle(event) if around.now() >= due else Later(due)


def _signal(wait: SignalWait, around: Surroundings) -> Decision:
    mail = around.signal(wait.effect.name)
    if mail is not None:
        return Settle(Taken(wait.path, *mail), takes=True)
    if wait.due is None:
        return _timer(wait.path, timer_due(wait.effect, around.now()))
    return _when(wait.due, around, TimerFired(wait.path))


def _update(wait: UpdateWait, around: Surroundings) -> Decision:
    mail = around.request(wait.effect.name)
    if mail is None:
        return Later()
    update_id, value = mail
    event = Updated(wait.path, update_id, value, *_answered(wait, value))
    try:
        encode(event, floats=True)
    except RaftoralError as unfit:
        message = f"the answer to update {wait.effect.name} cannot be stored with it: {unfit}"
        refusal: Failure = ["BadAnswer", message, {}]
        event = Updated(wait.path, update_id, value, False, refusal)
    return Settle(event, takes=True)


def _answered(wait: UpdateWait, value: Value) -> tuple[bool, Value]:
    """Return whether the handler takes a request, and its answer or its failure as stored."""
    handler: Callable[[Any], Any] | None = wait.effect.handler
    try:
        given = from_plain(value, wait.effect.kind)
        answer: Any = None if handler is None else to_plain(handler(given))
    except (Exception, SystemExit) as error:
        return False, failure_of(error)
    return True, answer


def _noted(path: str, effect: Now | Random | Uuid, around: Surroundings) -> Noted:
    match effect:
        case Now():
            return Noted(path, "now", around.now())
        case Random(below):
            return Noted(path, "random", around.chance(below))
        case Uuid():
            return Noted(path, "uuid", _uuid(around.chance(1 << 128)))
        case _:
            assert_never(effect)


def _uuid(number: int) -> str:
    """Return a random UUID (RFC 9562, version 4) made of 128 random bits."""
    number = number & ~(0xF000 << 64) | 4 << 76
    number = number & ~(0xC000 << 48) | 0x8000 << 48
    text = f"{number:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _callback(wait: CallbackWait, around: Surroundings) -> Decision:
    now = around.now()
    limits = [] if wait.due is None else [(wait.due, "Timeout", "nobody completed it in time")]
    if wait.beat:
        silent = Millis(around.last_beat(wait.path) + wait.beat)
        limits.append((silent, "HeartbeatTimeout", "the holder of the token was silent too long"))
    if not limits:
        return Later()
    at, name, message = min(limits)
    if now < at:
        return Later(at)
    failure: Failure = [name, message, {}]
    return Settle(CallbackDone(wait.path, False, failure))
