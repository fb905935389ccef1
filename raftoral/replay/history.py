"""The settled steps of one run: what each event holds, and its canonical bytes.

Owns the event kinds and their encoding; nothing else enters a history. An event's bytes are packed
once and are compared and stored as they are ever after.

There are three classes of events. What the code *yielded* (`Set`, `Logged`, `Opened`, `Closed`,
`ChildAsked`, `ChildLeft`, `Restarted`, `Ended`) follows from the events before it. An *answer* of the owner
(`Retry`, `Asked`, `Done`, `TimerSet`, `TimerFired`, `Taken`, `Noted`, `CallbackOpened`, `Updated`)
is to something that a branch waits for. An *arrival* (`Started`, `ChildDone`, `CallbackDone`,
`CancelAsked`, `Paused`, `Resumed`) is written by the group itself and may stand between any two.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast

from raftoral.codec import VALUE_BYTES_MAX, pack, unpack, unpack_trusted
from raftoral.errors import CorruptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from raftoral.ids import Millis
    from raftoral.values import Value

Failure: TypeAlias = "list[Value]"
"""A failure as stored: [name, message, details]."""

CALL_BYTES_MAX: Final = 256
"""A call is recorded whole up to this size, and as a digest of its arguments above it."""

HISTORY_EVENTS_MAX: Final = 20_000
HISTORY_BYTES_MAX: Final = 8 * 1024 * 1024
"""How long one history may grow; a replay refuses to run ahead further, a group to store more."""


BRANCHES_MAX: Final = 1_000
"""How many branches one group may have."""

CHAIN_BYTES: Final = 16

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


class Opened(NamedTuple):
    """A group of ``n`` branches began: a parallel, a race or a fan-out."""

    path: str
    n: int


class Closed(NamedTuple):
    """A group of branches is over; ``order`` holds their indexes in the order in which they ended.

    Of a race the first is the winner. Results are never here: replay makes them again.
    """

    path: str
    order: list[int]


class ChildAsked(NamedTuple):
    """A child run was asked for; its group hears of it from the outbox of this one.

    ``version`` 0 is the newest one there. ``input`` is a map by name or a list by position.
    ``close`` says what happens to it when this run ends: `CLOSINGS`. Nobody waits for the end of a
    ``detached`` one.
    """

    path: str
    id: str
    name: str
    version: int
    input: Value
    close: str
    detached: bool


class ChildLeft(NamedTuple):
    """The branch that waited for a child was cancelled: the child is closed by its policy."""

    path: str


class ChildDone(NamedTuple):
    """A child run ended: with its result, or with a `Failure`."""

    path: str
    ok: bool
    value: Value


class CallbackOpened(NamedTuple):
    """A token was made with which anyone may complete this step.

    It fails with ``Timeout`` at ``due``, and with ``HeartbeatTimeout`` after ``beat`` milliseconds
    of silence; 0 is no limit.
    """

    path: str
    token: str
    due: Millis
    beat: int


class CallbackDone(NamedTuple):
    """The holder of the token completed the step, or its time is up."""

    path: str
    ok: bool
    value: Value


class CancelAsked(NamedTuple):
    """Somebody asked the run to stop: it meets a failure `Cancelled` at its next effect."""

    reason: str


class Paused(NamedTuple):
    """The owner begins nothing more until `Resumed`."""

    reason: str


class Resumed(NamedTuple):
    """The owner goes on."""


class Asked(NamedTuple):
    """An attempt of an activity that may be attempted once only is about to begin."""

    path: str
    attempt: int


class Noted(NamedTuple):
    """The owner looked at its clock or rolled its dice; ``kind`` is one of `NOTES`."""

    path: str
    kind: str
    value: Value


class Updated(NamedTuple):
    """A request was taken and answered: ``answer`` is a `Failure` if it was refused.

    A refused one leaves the code where it was.
    """

    path: str
    update_id: str
    value: Value
    ok: bool
    answer: Value


class Restarted(NamedTuple):
    """The run begins anew with another input; this is the last event of its generation."""

    input: Value


class Ended(NamedTuple):
    """The last event. ``value`` is the result if ``status`` is completed, else a `Failure`."""

    status: str
    value: Value


CLOSINGS: Final = ("abandon", "cancel", "terminate")
"""What may happen to a child when its parent ends."""

NOTES: Final = ("now", "random", "uuid")
"""What may be noted: an instant, an int of 64 bit from 0, a text."""

Yielded: TypeAlias = Set | Logged | Opened | Closed | ChildAsked | ChildLeft | Restarted | Ended
Answer: TypeAlias = (
    Retry | Asked | Done | TimerSet | TimerFired | Taken | Noted | CallbackOpened | Updated
)
Arrival: TypeAlias = Started | ChildDone | CallbackDone | CancelAsked | Paused | Resumed
Event: TypeAlias = Yielded | Answer | Arrival

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
    Opened,
    Closed,
    ChildAsked,
    ChildLeft,
    ChildDone,
    CallbackOpened,
    CallbackDone,
    CancelAsked,
    Paused,
    Resumed,
    Asked,
    Noted,
    Updated,
    Restarted,
)
_BY_NAME: Final = {kind.__name__: cast("Callable[..., Event]", kind) for kind in _KINDS}
_HEADS: Final = {kind: pack(kind.__name__) for kind in _KINDS}
_NAMES: Final = {kind: ("kind", *kind._fields) for kind in _KINDS}


EVENT_BYTES_MAX: Final = VALUE_BYTES_MAX + 4096
"""A value of the largest size, with room for the path and the call beside it."""


def encode(event: Event, *, floats: bool = False) -> bytes:
    """Return the canonical bytes of ``event``; refuses what `raftoral.codec.pack` refuses."""
    kind = type(event)
    return pack(
        [kind.__name__, *event], floats=floats, bytes_max=EVENT_BYTES_MAX, names=_NAMES[kind]
    )


def is_kind(data: bytes, kind: type[Event]) -> bool:
    """Tell whether canonical bytes hold an event of that kind, without decoding them."""
    return data.startswith(_HEADS[kind], 1)


def chained(chain: bytes, events: Iterable[bytes]) -> bytes:
    """Return the digest of a history that ``events`` extend; ``chain`` is that before, or empty.

    Two histories of one length have the same digest only if they are the same.
    """
    for data in events:
        chain = blake2b(chain + data, digest_size=CHAIN_BYTES).digest()
    return chain


def is_log(data: bytes) -> bool:
    """Tell whether canonical bytes hold a `Logged`, without decoding them."""
    return is_kind(data, Logged)


def is_child(data: bytes) -> bool:
    """Tell whether canonical bytes hold a `ChildAsked`, without decoding them."""
    return data[1:12] == b"\xaaChildAsked"


def decode(data: bytes) -> Event:
    """Return the event of bytes that `take` has taken before; `CorruptionError` for damage."""
    return _event(unpack_trusted(data), data)


def _event(fields: Value, data: bytes) -> Event:
    try:
        kind, *rest = cast("list[Any]", fields)
        return _BY_NAME[kind](*rest)
    except (TypeError, KeyError, ValueError):
        raise CorruptionError(f"these bytes hold no event: {data[:40]!r}") from None


def take(data: bytes) -> Event:
    """Return the event of bytes from outside; `CorruptionError` unless `encode` would write them.

    Its fields are checked too, since a replay, which reads only what a group has taken, trusts them.
    """
    event = _event(unpack(data), data)
    check(event)
    return event


def check(event: Event) -> None:
    """Refuse an event whose fields are not what they must be, with `CorruptionError`."""
    if not _fits(event):
        raise CorruptionError(
            f"the fields of this {type(event).__name__} are not what they must be"
        )


def _fits(event: Event) -> bool:
    match event:
        case Started(str(), int(), str(), _, int(), str(), int()):
            return True
        case Set(str(), _) | TimerFired(str()) | Taken(str(), str(), _) | Logged(str(), str()):
            return True
        case Retry(str(), int(), failure, int()):
            return _is_failure(failure)
        case Done(str(), bytes(), bool(ok), value, int()):
            return ok or _is_failure(value)
        case ChildDone(str(), bool(ok), value) | CallbackDone(str(), bool(ok), value):
            return ok or _is_failure(value)
        case Updated(str(), str(), _, bool(ok), answer):
            return ok or _is_failure(answer)
        case TimerSet(str(), int(due)):
            return type(due) is int and 0 <= due <= DUE_MAX
        case Opened(str(), int(n)):
            return type(n) is int and 0 <= n <= BRANCHES_MAX
        case Closed(str(), list(order)):
            return len(order) <= BRANCHES_MAX and all(type(index) is int for index in order)
        case ChildAsked(str(), str(), str(), int(), list() | dict(), close, bool()):
            return close in CLOSINGS
        case Noted(str(), kind, _):
            return kind in NOTES
        case CallbackOpened(str(), str(), int(due), int(beat)):
            return type(due) is type(beat) is int and 0 <= due <= DUE_MAX and 0 <= beat <= DUE_MAX
        case Asked(str(), int()) | ChildLeft(str()):
            return True
        case CancelAsked(str()) | Paused(str()) | Resumed():
            return True
        case Restarted(dict() | list()) | Ended("completed", _):
            return True
        case Ended("failed" | "cancelled" | "terminated", value):
            return _is_failure(value)
        case _:
            return False


def _is_failure(value: Value) -> bool:
    match value:
        case [str(), str(), dict()]:
            return True
        case _:
            return False
