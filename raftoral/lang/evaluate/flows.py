"""Blocks, and statements that hold effects: generator functions over a frame."""

from __future__ import annotations

from typing import Any, Final

from raftoral.errors import Cancelled, RaftoralError, WorkflowFailed
from raftoral.lang.evaluate.expressions import items_of
from raftoral.lang.evaluate.frames import (
    BREAK,
    CONTINUE,
    FLOW,
    PURE,
    STEP,
    Exhausted,
    Flow,
    Frame,
    Pure,
    Steps,
    nobody_catches,
)
from raftoral.lang.evaluate.pure import too_many
from raftoral.replay.effects import scope
from raftoral.replay.effects.base import KEY_LENGTH_MAX

TURN_KEY_MAX: Final = 150


def as_flow(kind: int, run: Any) -> Flow:
    """Return the closure of a block as a generator function."""
    if kind == FLOW:
        flow: Flow = run
        return flow

    def pure(f: Frame) -> Steps:
        yield from ()  # makes it a generator
        signal: int | None = run(f)
        return signal

    return pure


def pure_block(steps: tuple[tuple[int, Pure], ...], *, count: bool) -> Pure:
    """Return the closure of a block without effects; in a function no statement is counted."""
    if not count:
        plain = tuple(step for _, step in steps)

        def in_function(f: Frame) -> int | None:
            meter = f[0]
            for step in plain:
                meter.left -= 1
                if meter.left < 0:
                    raise Exhausted
                signal: int | None = step(f)
                if signal is not None:
                    return signal
            return None

        return in_function

    def run(f: Frame) -> int | None:
        meter = f[0]
        for number, step in steps:
            meter.left -= 1
            if meter.left < 0:
                raise Exhausted
            meter.at = number
            signal: int | None = step(f)
            if signal is not None:
                return signal
        return None

    return run


def flow_block(steps: tuple[tuple[int, int, Any, Any], ...]) -> Flow:
    """Return the generator function of a block with effects."""

    def run(f: Frame) -> Steps:
        meter = f[0]
        for kind, number, step, accept in steps:
            meter.left -= 1
            if meter.left < 0:
                raise Exhausted
            meter.at = number
            if kind == STEP:
                effect = step(f)
                meter.left = meter.limit
                answer = yield effect
                if accept is not None:
                    accept(f, answer)
                continue
            signal: int | None = step(f) if kind == PURE else (yield from step(f))
            if signal is not None:
                return signal
        return None

    return run


def if_flow(arms: tuple[tuple[Pure, Flow], ...], otherwise: Flow | None) -> Flow:
    """Return the generator function of an `if` or `match` with effects."""

    def run(f: Frame) -> Steps:
        for test, block in arms:
            if test(f):
                return (yield from block(f))
        if otherwise is not None:
            return (yield from otherwise(f))
        return None

    return run


def for_flow(
    stem: str, index: int | None, slot: int, source: Pure, by: Pure | None, body: Flow
) -> Flow:
    """Return the generator function of a `for` with effects; each turn has its scope."""

    def run(f: Frame) -> Steps:
        meter = f[0]
        seen: set[str] = set()
        for number, (key, item) in enumerate(items_of(source(f))):
            meter.spend(1)
            if index is not None:
                f[index] = key
            f[slot] = item
            name = str(number) if by is None else turn_key(by(f), seen, len(stem) + 2)
            with scope(f"{stem}[{name}]"):
                signal = yield from body(f)
            if signal == BREAK:
                break
            if signal is not None and signal != CONTINUE:
                return signal
        return None

    return run


def turn_key(value: Any, seen: set[str], around: int = 0) -> str:
    """Return what `by` says as the key of a turn; each has its own, or the run fails.

    ``around`` is how many characters of its part of the path stand around it.
    """
    key = str(value)
    most = min(TURN_KEY_MAX, KEY_LENGTH_MAX - around)
    if not key or "/" in key or "]" in key or not key.isprintable() or len(key) > most:
        raise WorkflowFailed(
            "BadKey", f"a key has 1 to {most} printable characters, no `/` and no `]`"
        )
    if key in seen:
        raise WorkflowFailed("BadKey", f"two turns have the key {key!r:.60}")
    seen.add(key)
    return key


def while_flow(stem: str, condition: Pure, limit: Pure, body: Flow) -> Flow:
    """Return the generator function of a `while` with effects; each turn has its scope."""

    def run(f: Frame) -> Steps:
        meter = f[0]
        turns, most = 0, limit(f)
        while condition(f):
            if turns >= most:
                raise too_many(most)
            meter.spend(1)
            with scope(f"{stem}[{turns}]"):
                signal = yield from body(f)
            turns += 1
            if signal == BREAK:
                break
            if signal is not None and signal != CONTINUE:
                return signal
        return None

    return run


def catching(body: Flow, handlers: tuple[tuple[frozenset[str], int | None, Flow], ...]) -> Flow:
    """Return the generator function of a `try` with its `catch` blocks."""

    def run(f: Frame) -> Steps:
        original: BaseException
        try:
            return (yield from body(f))
        except WorkflowFailed as failed:
            original = failure = failed
        except Cancelled as stop:
            original, failure = stop, WorkflowFailed("Cancelled", stop.reason)
        if nobody_catches(failure):
            raise original
        # Outside of `except`: what the handler raises has no hidden context.
        for names, slot, handler in handlers:
            if failure.name in names or (not names and failure.name != "Cancelled"):
                if slot is not None:
                    f[slot] = failure
                return (yield from handler(f))
        raise original

    return run


def finally_(body: Flow, final: Flow) -> Flow:
    """Return the generator function of a block that is always followed by another."""

    def run(f: Frame) -> Steps:
        meter = f[0]
        failure: BaseException
        try:
            signal = yield from body(f)
        except (RaftoralError, Cancelled) as failed:
            failure = failed
        else:
            result = meter.result
            yield from final(f)
            meter.result = result
            return signal
        if nobody_catches(failure):
            raise failure
        yield from final(f)
        raise failure

    return run
