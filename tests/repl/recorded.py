"""Histories as a node would have recorded them, made by driving a `Replay` by hand."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from raftoral.errors import WorkflowFailed
from raftoral.ids import Millis, RunId
from raftoral.replay.failures import failure_of
from raftoral.replay.history import Done, Event, Retry, Started, Taken, TimerFired, TimerSet, encode
from raftoral.replay.interpreter import Replay
from raftoral.replay.waits import ComputeWait, SignalWait, TimerWait, timer_due
from raftoral.runtime.views import HistoryView

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from raftoral.replay.interpreter import Begin
    from raftoral.replay.waits import Wait

BEGAN = Millis(1_767_225_600_000)  # 2026-01-01T00:00:00Z


def record(
    start: Begin, name: str, input: Mapping[str, Any], answers: Mapping[str, Sequence[Any]]
) -> list[bytes]:
    """Return what a run records whose steps are answered by ``answers``, by path.

    An answer that is a `WorkflowFailed` fails its attempt; a path without answers ends the
    recording there, as a run that still waits.
    """
    left = {path: list(given) for path, given in answers.items()}
    replay = Replay(RunId("recorded"), start)
    history: list[bytes] = []

    def feed(data: bytes) -> None:
        history.append(data)
        replay.feed(data)

    feed(encode(Started(name, 1, "", dict(input), BEGAN, "", 0)))
    while True:
        while replay.outbox:
            feed(replay.outbox[0])
        waiting = replay.waiting
        if waiting is None or waiting.path not in left:
            break
        for event in _settled(waiting, left[waiting.path]):
            feed(encode(event))
    replay.close()
    return history


def _settled(waiting: Wait, answers: list[Any]) -> Iterator[Event]:
    match waiting:
        case ComputeWait(path, _, call, attempt):
            answer = answers.pop(0)
            failed = isinstance(answer, WorkflowFailed)
            value = failure_of(answer) if failed else answer
            if failed and answers:
                yield Retry(path, attempt, value, Millis(BEGAN + 200))
            else:
                yield Done(path, call, not failed, value, attempt)
        case TimerWait(path, effect):
            due = timer_due(effect, BEGAN)
            assert due is not None
            yield TimerSet(path, due)
            yield TimerFired(path)
        case SignalWait(path):
            yield Taken(path, "s-1", answers.pop(0))


def view_of(name: str, events: list[bytes], **fields: Any) -> HistoryView:
    """Return the exported form of a history of version 1."""
    digest = hashlib.sha256(b"".join(events)).hexdigest()
    known = {"run_id": f"{name}-1", "meaning_hash": "", **fields}
    return HistoryView(name=name, version=1, node=1, events=events, sha256=digest, **known)
