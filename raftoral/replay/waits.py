"""What a run waits for: one record for each thing that its owner has to bring about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, assert_never

from raftoral.ids import Millis
from raftoral.replay.effects import (
    Call,
    Callback,
    Compute,
    Now,
    Random,
    Receive,
    Sleep,
    SleepUntil,
    Update,
    Uuid,
    as_span,
)
from raftoral.replay.history import DUE_MAX
from raftoral.replay.wording import describe_call
from raftoral.values import millis_of, millis_since_epoch

if TYPE_CHECKING:
    from datetime import timedelta

    from raftoral.values import Value


@dataclass(slots=True)
class ComputeWait:
    """An activity is wanted: attempt number ``attempt`` may begin at ``not_before``.

    ``due`` is the deadline of all attempts once it is recorded, ``asked`` the attempt that
    `at_most_once` has recorded. A branch that was cancelled makes it ``cancelling``: the attempt
    is to be stopped, and the step settled with whatever it ends in. ``last_heartbeat`` is what the
    attempt before told last.
    """

    path: str
    effect: Compute[Any]
    call: bytes
    attempt: int = 1
    not_before: Millis | None = None
    due: Millis | None = None
    asked: int = 0
    cancelling: bool = False
    last_heartbeat: Value = None


@dataclass(slots=True)
class TimerWait:
    """A branch sleeps: until ``due`` once the timer is set, None before."""

    path: str
    effect: Sleep | SleepUntil
    due: Millis | None = None


@dataclass(slots=True)
class SignalWait:
    """A signal is wanted, at most until ``due`` if it has a timeout that was set."""

    path: str
    effect: Receive[Any]
    due: Millis | None = None


@dataclass(slots=True)
class UpdateWait:
    """A request is wanted."""

    path: str
    effect: Update[Any]


@dataclass(slots=True)
class NoteWait:
    """The owner's clock or chance is wanted."""

    path: str
    effect: Now | Random | Uuid


@dataclass(slots=True)
class TokenWait:
    """A token for a callback is wanted."""

    path: str
    effect: Callback[Any]


@dataclass(slots=True)
class CallbackWait:
    """The holder of ``token`` may complete the step; from its opening on, awaited or not."""

    path: str
    token: str
    kind: Any
    due: Millis | None
    beat: int


@dataclass(slots=True)
class ChildWait:
    """The end of a child run is awaited; its group tells it."""

    path: str
    id: str
    effect: Call[Any]


Wait: TypeAlias = (
    ComputeWait
    | TimerWait
    | SignalWait
    | UpdateWait
    | NoteWait
    | TokenWait
    | CallbackWait
    | ChildWait
)


def describe_waiting(waiting: Wait) -> str:
    """Return one line for people: what the run waits for."""
    match waiting:
        case ComputeWait(path, _, call):
            return f"compute {path} = {describe_call(call)}"
        case TimerWait(path):
            return f"sleep {path}"
        case SignalWait(path, effect):
            return f"signal {effect.name} ({path})"
        case UpdateWait(path, request):
            return f"update {request.name} ({path})"
        case NoteWait(path, note):
            return f"{note_kind(note)} {path}"
        case TokenWait(path) | CallbackWait(path):
            return f"callback {path}"
        case ChildWait(path, child, call_effect):
            return f"call {path} = {call_effect.name} ({child})"
        case _:
            assert_never(waiting)


def note_kind(effect: Now | Random | Uuid) -> str:
    """Return what a `Noted` of this effect calls it."""
    match effect:
        case Now():
            return "now"
        case Random():
            return "random"
        case Uuid():
            return "uuid"
        case _:
            assert_never(effect)


def timer_due(effect: Sleep | SleepUntil | Receive[Any], now: Millis) -> Millis | None:
    """Return when a wait that begins ``now`` ends; None for a receive without a timeout."""
    match effect:
        case SleepUntil(until):
            return _bounded(millis_since_epoch(until))
        case Sleep(span):
            return due_after(as_span(span), now)
        case Receive():
            return None if effect.within is None else due_after(effect.within, now)
        case _:
            assert_never(effect)


def due_after(span: timedelta, now: Millis) -> Millis:
    """Return the moment that is ``span`` after ``now``, at most the last one that can be stored."""
    return _bounded(now + millis_of(span))


def _bounded(due: int) -> Millis:
    return Millis(min(max(due, 0), DUE_MAX))
