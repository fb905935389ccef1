"""The settled steps of one run: what each event holds, and its canonical bytes.

Owns the event kinds and their encoding; nothing else enters a history. An event's bytes are packed
once, by the owner of the run, and are compared and stored as they are ever after.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast

from raftoral.codec import VALUE_BYTES_MAX, pack, unpack
from raftoral.convert import to_plain
from raftoral.errors import CorruptionError, RaftoralError, WorkflowFailed
from raftoral.replay.text import short
from raftoral.values import instant_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.ids import Millis
    from raftoral.values import Value

Failure: TypeAlias = "list[Value]"
"""A failure as stored: [name, message, details]."""

MESSAGE_MAX: Final = 4_000
"""How many characters of a failure's message are kept."""

CALL_BYTES_MAX: Final = 256
"""A call is recorded whole up to this size, and as a digest of its arguments above it."""

HISTORY_EVENTS_MAX: Final = 20_000
HISTORY_BYTES_MAX: Final = 8 * 1024 * 1024
"""How long one history may grow; a replay refuses to run ahead further, a group to store more."""


DUE_MAX: Final = 253_402_300_799_999
"""The last moment that a timer may wait for: the end of the year 9999."""


class Started(NamedTuple):
    """The first event: which definition runs, on what, since when."""

    name: str
    version: int
    meaning_hash: str
    input: Value
    at: Millis
    parent: str
    generation: int


class Set(NamedTuple):
    """A checkpoint cell got a value."""

    path: str
    value: Value


class Retry(NamedTuple):
    """An attempt failed and will be repeated at ``next_at``."""

    path: str
    attempt: int
    error: Failure
    next_at: Millis


class Done(NamedTuple):
    """A compute is settled: with its result, or with the failure that no attempt is left for.

    ``call`` holds the packed ``[activity, args, kwargs]`` (a digest where that is long), so that a
    replay can tell changed arguments.
    """

    path: str
    call: bytes
    ok: bool
    value: Value
    attempts: int


class TimerSet(NamedTuple):
    """A wait began that ends at ``due``."""

    path: str
    due: Millis


class TimerFired(NamedTuple):
    """The wait ended by its timer."""

    path: str


class Taken(NamedTuple):
    """A signal was taken from the mailbox; the payload is kept so that a history stands alone."""

    path: str
    signal_id: str
    value: Value


class Logged(NamedTuple):
    """A line was written to the log, once."""

    path: str
    text: str


class Ended(NamedTuple):
    """The last event. ``value`` is the result if ``status`` is completed, else a `Failure`."""

    status: str
    value: Value


Event: TypeAlias = Started | Set | Retry | Done | TimerSet | TimerFired | Taken | Logged | Ended

_KINDS: Final[tuple[type[Event], ...]] = (
    Started,
    Set,
    Retry,
    Done,
    TimerSet,
    TimerFired,
    Taken,
    Logged,
    Ended,
)
_BY_NAME: Final = {kind.__name__: cast("Callable[..., Event]", kind) for kind in _KINDS}
_NAMES: Final = {kind: ("kind", *kind._fields) for kind in _KINDS}


EVENT_BYTES_MAX: Final = VALUE_BYTES_MAX + 4096
"""A value of the largest size, with room for the path and the call beside it."""


def encode(event: Event, *, floats: bool = False) -> bytes:
    """Return the canonical bytes of ``event``; refuses what `raftoral.codec.pack` refuses."""
    kind = type(event)
    return pack(
        [kind.__name__, *event], floats=floats, bytes_max=EVENT_BYTES_MAX, names=_NAMES[kind]
    )


def is_log(data: bytes) -> bool:
    """Tell whether canonical bytes hold a `Logged`, without decoding them."""
    return data[1:8] == b"\xa6Logged"


def decode(data: bytes) -> Event:
    """Return the event of canonical bytes; `CorruptionError` if they hold none."""
    fields = unpack(data)
    try:
        kind, *rest = cast("list[Any]", fields)
        return _BY_NAME[kind](*rest)
    except (TypeError, KeyError, ValueError):
        raise CorruptionError(f"these bytes hold no event: {data[:40]!r}") from None


def check(event: Event) -> None:
    """Refuse an event whose fields are not what they must be, with `CorruptionError`.

    For whoever takes events from outside; `decode` alone trusts the fields, since a replay reads
    only what a group has checked.
    """
    match event:
        case Started(str(), int(), str(), _, int(), str(), int()) | Set(str(), _):
            return
        case Retry(str(), int(), failure, int()) if _is_failure(failure):
            return
        case Done(str(), bytes(), bool(ok), value, int()) if ok or _is_failure(value):
            return
        case TimerSet(str(), int(due)) if type(due) is int and 0 <= due <= DUE_MAX:
            return
        case TimerFired(str()) | Taken(str(), str(), _) | Logged(str(), str()):
            return
        case Ended("completed", _):
            return
        case Ended("failed" | "terminated", value) if _is_failure(value):
            return
    raise CorruptionError(f"the fields of this {type(event).__name__} are not what they must be")


def _is_failure(value: Value) -> bool:
    match value:
        case [str(), str(), dict()]:
            return True
        case _:
            return False


# ------------------------------------------------------------------ failures
def failure_of(error: BaseException) -> Failure:
    """Return an exception as stored: its name, message and declared fields. Never fails.

    Only fields that the exception's class declares by annotation are kept: whatever else hangs on
    an exception may hold secrets or be unequal on another node. Fields that cannot be stored are
    left out, and the message says so; a message is cut at 4,000 characters.
    """
    if isinstance(error, WorkflowFailed):
        name, message, given = str(error.name), str(error.message), dict(error.details)
    else:
        name, message = type(error).__name__, _message_of(error)
        given = {key: getattr(error, key) for key in _declared(type(error)) if hasattr(error, key)}
    details: Any = to_plain(given)
    try:
        pack(details)
    except RaftoralError as unfit:
        message, details = f"{message[:MESSAGE_MAX]} (its fields are left out: {unfit})", {}
    return [_storable(name, 200), _storable(message, MESSAGE_MAX), details]


def _declared(kind: type) -> list[str]:
    """Return the fields that an exception's class and its bases declare; no class variables."""
    return [
        name
        for base in reversed(kind.__mro__)
        for name, hint in inspect.get_annotations(base).items()
        if "ClassVar" not in str(hint)
    ]


def _message_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its message cannot be shown)"


def _storable(text: str, length_max: int) -> str:
    """Return ``text`` as any history can hold it: cut, and without halves of characters."""
    return text[:length_max].encode("utf-8", "replace").decode()


def as_error(failure: Value, attempts: int = 0) -> WorkflowFailed:
    """Return a stored failure as the exception that is thrown into a workflow."""
    match failure:
        case [str(name), str(message), dict(details)]:
            return WorkflowFailed(name, message, details, attempts=attempts)
        case _:
            pass
    raise CorruptionError(f"this is no stored failure: {failure!r:.80}")


def describe(event: Event) -> str:
    """Return one line for people and transcripts: the kind, the path, and what was recorded."""
    match event:
        case Started(name, version, _, value):
            return f"Started {name} v{version} {short(value)}"
        case Set(path, value):
            return f"Set {path} = {short(value)}"
        case Retry(path, attempt, error, _):
            return f"Retry {path} after attempt {attempt}: {as_error(error)}"
        case Done(path, call, ok, value, attempts):
            outcome = short(value) if ok else f"failed {as_error(value)}"
            tries = f" ({attempts} attempts)" if attempts > 1 else ""
            return f"Done {path} = {describe_call(call)} -> {outcome}{tries}"
        case TimerSet(path, due):
            return f"TimerSet {path} due {short(instant_of(due))}"
        case TimerFired(path):
            return f"TimerFired {path}"
        case Taken(path, signal_id, value):
            return f"Taken {path} {short(value)} ({signal_id})"
        case Logged(path, text):
            return f"Logged {path} {text!r}"
        case Ended(status, value):
            return f"Ended {status} {short(value)}"


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
