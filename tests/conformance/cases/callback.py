"""Callbacks, and waiting for one in a context."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from raftoral.errors import WorkflowFailed
from raftoral.replay.effects import Callback, Compute, Flow, Sleep
from tests.conformance.cases.common import fails, gives, requirement, wait_for_callback


@requirement("4-1")
def one(given: str) -> Flow[Any]:
    """Open and wait."""
    pending = yield from Callback(given)
    return (yield from pending.wait())


@requirement("4-3")
def timed_out(given: str) -> Flow[Any]:
    """Nobody completes it."""
    pending = yield from Callback(given).timeout("5s")
    return (yield from pending.wait())


@requirement("4-5")
def beaten(given: str) -> Flow[Any]:
    """A heartbeat, then the completion."""
    pending = yield from Callback(given).heartbeat("10s")
    return (yield from pending.wait())


@requirement("4-7", work=gives("done"))
def with_step(given: str) -> Flow[Any]:
    """A step between; then it fails."""
    pending = yield from Callback(given)
    yield from Compute("work", "work")
    return (yield from pending.wait())


@requirement("4-9")
def during_wait(given: str) -> Flow[Any]:
    """Completed while the code sleeps."""
    pending = yield from Callback(given)
    yield from Sleep("5s")
    return (yield from pending.wait())


@requirement("4-11")
def late(given: str) -> Flow[Any]:
    """Timed out while the code sleeps."""
    pending = yield from Callback(given).timeout("3s")
    yield from Sleep("6s")
    return (yield from pending.wait())


@requirement("4-13")
def caught(given: str) -> Flow[str]:
    """A failure that is caught, then a wait."""
    pending = yield from Callback(given)
    try:
        yield from pending.wait()
    except WorkflowFailed as error:
        yield from Sleep("2s")
        return error.message
    return "completed"


@requirement("4-15")
def typed(given: str) -> Flow[Any]:
    """The payload is read by a pure function of the workflow."""
    pending = yield from Callback(given)
    payload = yield from pending.wait()
    at = datetime.fromisoformat(payload["timestamp"].replace("Z", "+00:00"))
    return {"received": {**payload, "timestamp": int(at.timestamp())}}


@requirement("4-17")
def in_turn(given: list[str]) -> Flow[list[Any]]:
    """One after the other."""
    first = yield from Callback(given[0])
    one = yield from first.wait()
    second = yield from Callback(given[1])
    two = yield from second.wait()
    return [one, two]


@requirement("4-19")
def reversed_(given: list[str]) -> Flow[list[Any]]:
    """Both opened, waited for in the other order."""
    first = yield from Callback(given[0])
    second = yield from Callback(given[1])
    two = yield from second.wait()
    one = yield from first.wait()
    return [one, two]


# ------------------------------------------------------------------ waiting for one in a context
@requirement("7-1", submit=gives(None))
def waited(given: str) -> Flow[Any]:
    """Hand the token out and wait."""
    return (yield from wait_for_callback(given, "submit"))


@requirement("7-3", submit=gives(None))
def unnamed(given: Any) -> Flow[Any]:
    """The same without a name."""
    return (yield from wait_for_callback("anonymous", "submit"))


@requirement("7-5", submit=gives(None))
def waited_out(given: str) -> Flow[Any]:
    """Nobody completes it."""
    return (yield from wait_for_callback(given, "submit", timeout="3s"))


@requirement("7-7", submit=fails(9, RuntimeError("no")))
def unsent(given: str) -> Flow[Any]:
    """The token cannot be handed out."""
    return (yield from wait_for_callback(given, "submit", tries=2))


@requirement("7-9", submit=gives(None))
def twice(given: Any) -> Flow[Any]:
    """Two of them."""
    yield from wait_for_callback("first", "submit")
    return (yield from wait_for_callback("second", "submit"))


@requirement("7-11", submit=gives(None))
def an_object(given: str) -> Flow[Any]:
    """A payload that is an object."""
    payload = yield from wait_for_callback(given, "submit")
    return payload["status"]


@requirement("7-13", submit=gives(None))
def with_beat(given: str) -> Flow[Any]:
    """A heartbeat in between."""
    return (yield from wait_for_callback(given, "submit", beat="10s"))


@requirement("7-15", submit=gives(None))
def nothing(given: str) -> Flow[Any]:
    """No payload."""
    return (yield from wait_for_callback(given, "submit"))
