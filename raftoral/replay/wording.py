"""Events of a history as one line each, for people and transcripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.codec import unpack
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
)
from raftoral.replay.text import short, visible
from raftoral.values import instant_of

if TYPE_CHECKING:
    from raftoral.replay.history import Event
    from raftoral.values import Value


def describe(event: Event) -> str:
    """Return one line for people and transcripts: the kind, the path, and what was recorded."""
    return visible(_line(event))


def _line(event: Event) -> str:
    match event:
        case Started(name, version, _, value):
            return f"Started {name} v{version} {short(value)}"
        case Set(path, value):
            return f"Set {path} = {short(value)}"
        case Retry(path, attempt, error, _):
            return f"Retry {path} after attempt {attempt}: {as_error(error)}"
        case Done(path, call, ok, value, attempts):
            tries = f" ({attempts} attempts)" if attempts > 1 else ""
            return f"Done {path} = {describe_call(call)} -> {_outcome(ok, value)}{tries}"
        case TimerSet(path, due):
            return f"TimerSet {path} due {short(instant_of(due))}"
        case TimerFired(path):
            return f"TimerFired {path}"
        case Taken(path, signal_id, value):
            return f"Taken {path} {short(value)} ({signal_id})"
        case Logged(path, text):
            return f"Logged {path} {text!r}"
        case Opened(path, n):
            return f"Opened {path} with {n} branches"
        case Closed(path, order):
            return f"Closed {path} in the order {', '.join(map(str, order))}"
        case ChildAsked(path, child, name, version, given):
            return f"ChildAsked {path} = {name}{f' v{version}' if version else ''} {short(given)} as {child}"
        case ChildLeft(path):
            return f"ChildLeft {path}"
        case ChildDone(path, ok, value):
            return f"ChildDone {path} -> {_outcome(ok, value)}"
        case CallbackOpened(path):
            return f"CallbackOpened {path}"  # The token is a secret.
        case CallbackDone(path, ok, value):
            return f"CallbackDone {path} -> {_outcome(ok, value)}"
        case CancelAsked(reason):
            return f"CancelAsked {reason}".rstrip()
        case Paused(reason):
            return f"Paused {reason}".rstrip()
        case Resumed():
            return "Resumed"
        case Asked(path, attempt):
            return f"Asked {path} attempt {attempt}"
        case Noted(path, kind, value):
            return f"Noted {path} {kind} {short(value)}"
        case Updated(path, update_id, value, ok, answer):
            return f"Updated {path} {short(value)} -> {_outcome(ok, answer)} ({update_id})"
        case Restarted(given):
            return f"Restarted {short(given)}"
        case Ended(status, value):
            return f"Ended {status} {short(value)}"


def _outcome(ok: bool, value: Value) -> str:
    return short(value) if ok else f"failed {as_error(value)}"


def describe_call(call: bytes) -> str:
    """Return a recorded call as text, for example ``charge('o-1', 30)``."""
    match unpack(call):
        case [str(activity), list(args), dict(kwargs)]:
            parts = [short(arg, 40) for arg in args]
            parts += [f"{name}={short(value, 40)}" for name, value in kwargs.items()]
            return f"{activity}({', '.join(parts)})"
        case [str(activity), str(digest), int(size)]:
            return f"{activity}(<{size} bytes {digest[:8]}>)"
        case _:
            return "?"
