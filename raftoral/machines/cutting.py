"""What of a history a retry keeps, and what is still open in a part of one. Pure functions of events.

The rule it keeps: what is kept is a history that the code could have had, so that it replays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from raftoral.codec import pack
from raftoral.errors import UsageError
from raftoral.replay.history import (
    EVENT_BYTES_MAX,
    Asked,
    CallbackDone,
    CallbackOpened,
    CancelAsked,
    ChildAsked,
    ChildDone,
    ChildLeft,
    Done,
    Ended,
    Retry,
    TimerSet,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from raftoral.replay.history import Event
    from raftoral.values import Value

Opening: TypeAlias = ChildAsked | CallbackOpened


class Cut(NamedTuple):
    """A history without what a retry does again."""

    kept: list[Event]
    dropped: list[Event]


def open_steps(events: Iterable[Event]) -> dict[str, Opening]:
    """Return the children that are awaited and the callbacks that wait, by path."""
    waiting: dict[str, Opening] = {}
    for event in events:
        match event:
            case ChildAsked(path, detached=False) | CallbackOpened(path):
                waiting[path] = event
            case ChildDone(path) | ChildLeft(path) | CallbackDone(path):
                waiting.pop(path, None)
            case _:
                pass
    return waiting


def for_retry(events: Sequence[Event]) -> Cut:
    """Return what a retry of a run that ended and did not complete keeps of its history.

    If it failed because a step did, everything from that failure on is done again, and so are the
    earlier attempts of that step. If it was cancelled, everything from the asking on. What arrived
    from other runs meanwhile is kept. `UsageError` if something that would count as done was undone.
    """
    last = events[-1]
    assert isinstance(last, Ended), "a run that has ended has an end"
    again, place = _where(events, last)
    kept: list[Event] = [
        event
        for event in events[:place]
        if not (isinstance(event, Retry | Asked | TimerSet) and event.path == again)
    ]
    dropped = [event for event in events[place:] if event is not last]
    undone = [event.path for event in dropped if isinstance(event, Done) and _undoes(event)]
    if undone:
        raise UsageError(
            f"this run has compensated what it did (`{undone[0]}`), so it cannot go on from there; "
            "start it again under its id with the policy `retry_failed`, or under another id"
        )
    arrived = [
        event
        for event in dropped
        if isinstance(event, ChildDone | CallbackDone) and event.path != again
    ]
    waiting = open_steps(kept)
    arrived = [event for event in arrived if event.path in waiting]
    return Cut([*kept, *arrived], [event for event in dropped if event not in arrived])


def _where(events: Sequence[Event], last: Ended) -> tuple[str, int]:
    """Return the path of the step to do again, if it is one, and where in the history that is."""
    end = len(events) - 1
    if last.status != "failed":
        asked = (place for place, event in enumerate(events) if isinstance(event, CancelAsked))
        return "", next(asked, end)
    failure = _packed(last.value)
    for place in range(end - 1, -1, -1):
        event = events[place]
        if not isinstance(event, Done | ChildDone | CallbackDone) or event.ok:
            continue
        if _packed(event.value) != failure:
            continue
        if isinstance(event, CallbackDone):
            # Its token is used up, and its time may be over: it has to be opened again.
            opened = (
                place
                for place, other in enumerate(events)
                if isinstance(other, CallbackOpened) and other.path == event.path
            )
            return event.path, next(opened, place)
        return event.path, place
    return "", end


def _undoes(event: Done) -> bool:
    """Tell whether a compensation was settled; it stands under ``undo/``."""
    return event.ok and event.path.startswith("undo/")


def _packed(value: Value) -> bytes:
    return pack(value, floats=True, bytes_max=EVENT_BYTES_MAX)
