"""Statements that are one effect: closures that make it, and what takes its answer."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from raftoral.errors import WorkflowFailed
from raftoral.lang.evaluate.frames import Flow, Frame, Pure, Steps, bounded
from raftoral.replay.effects import (
    Checkpoint,
    Effect,
    Log,
    Receive,
    Sleep,
    SleepUntil,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def store(slot: int) -> Callable[[Frame, Any], None]:
    """Return what puts an answer into a slot."""

    def accept(f: Frame, answer: Any) -> None:
        f[slot] = answer

    return accept


def checkpoint(name: str, value: Pure) -> Pure:
    """Return what makes the first record of a cell."""

    def step(f: Frame) -> Checkpoint[Any]:
        first = value(f)
        bounded(first)
        return Checkpoint(name, first, Any)

    return step


def set_cell(slot: int, value: Pure) -> Pure:
    """Return what records the next value of a cell."""

    def step(f: Frame) -> Effect[Any]:
        following = value(f)
        bounded(following)
        effect: Effect[Any] = f[slot].set(following)
        return effect

    return step


def positive(span: timedelta) -> timedelta:
    """Refuse a timeout that is over before it begins."""
    if span <= timedelta(0):
        raise WorkflowFailed("OutOfRange", "a timeout is longer than nothing")
    return span


def sleep(value: Pure) -> Pure:
    """Return what makes a `Sleep`."""
    return lambda f: Sleep(value(f))


def until(value: Pure) -> Pure:
    """Return what makes a `SleepUntil`."""
    return lambda f: SleepUntil(value(f))


def log(value: Pure) -> Pure:
    """Return what makes a `Log`."""
    return lambda f: Log(value(f))


def receive_within(name: str, within: Pure) -> Pure:
    """Return what makes a `Receive` with a timeout."""
    return lambda f: Receive(name).timeout(positive(within(f)))


def or_timeout(
    name: str, accept: Callable[[Frame, Any], None] | None
) -> Callable[[Frame, Any], None]:
    """Return what takes a signal, and fails if none came in time."""

    def take(f: Frame, answer: Any) -> None:
        if answer is None:
            raise WorkflowFailed("Timeout", f"no signal {name} came in time")
        if accept is not None:
            accept(f, answer)

    return take


def receive_or(
    name: str, within: Pure, accept: Callable[[Frame, Any], None] | None, otherwise: Flow
) -> Flow:
    """Return the flow of an `await` with an `else`."""

    def run(f: Frame) -> Steps:
        meter = f[0]
        effect = Receive(name).timeout(positive(within(f)))
        meter.left = meter.limit
        answer = yield effect
        if accept is not None:
            accept(f, answer)
        if answer is None:
            return (yield from otherwise(f))
        return None

    return run
