"""Statements without effects, as closures over a frame."""

from __future__ import annotations

from typing import Any

from raftoral.errors import WorkflowFailed
from raftoral.lang.evaluate.frames import BREAK, RETURN, Frame, Pure
from raftoral.lang.ir import Node, decode_value
from raftoral.lang.primitives import same


def failure(value: Any) -> WorkflowFailed:
    """Return the error to raise: a new one each time, so that no traceback is carried along."""
    if type(value) is str:
        return WorkflowFailed("Failed", value)
    assert isinstance(value, WorkflowFailed)
    return WorkflowFailed(value.name, value.message, value.details, attempts=value.attempts)


# ------------------------------------------------------------------ pure statements
def let(slot: int, value: Pure) -> Pure:
    """Return the closure of `let`, `var` and assignment."""

    def run(f: Frame) -> None:
        f[slot] = value(f)

    return run


def return_(value: Pure) -> Pure:
    """Return the closure of `return`."""

    def run(f: Frame) -> int:
        f[0].result = value(f)
        return RETURN

    return run


def fail(error: Pure) -> Pure:
    """Return the closure of `fail`."""

    def run(f: Frame) -> None:
        raise failure(error(f))

    return run


def require(condition: Pure, error: Pure) -> Pure:
    """Return the closure of `require`."""

    def run(f: Frame) -> None:
        if not condition(f):
            raise failure(error(f))

    return run


def if_(arms: tuple[tuple[Pure, Pure], ...], otherwise: Pure) -> Pure:
    """Return the closure of an `if` or `match` without effects."""

    def run(f: Frame) -> Any:
        for test, block in arms:
            if test(f):
                return block(f)
        return otherwise(f)

    return run


def for_(slot: int, source: Pure, body: Pure) -> Pure:
    """Return the closure of a `for` without effects."""

    def run(f: Frame) -> int | None:
        meter = f[0]
        for item in source(f):
            meter.spend(1)
            f[slot] = item
            signal: int | None = body(f)
            if signal == BREAK:
                break
            if signal == RETURN:
                return signal
        return None

    return run


def while_(condition: Pure, limit: Pure, body: Pure) -> Pure:
    """Return the closure of a `while` without effects."""

    def run(f: Frame) -> int | None:
        meter = f[0]
        turns, most = 0, limit(f)
        while condition(f):
            if turns >= most:
                raise too_many(most)
            turns += 1
            meter.spend(1)
            signal: int | None = body(f)
            if signal == BREAK:
                break
            if signal == RETURN:
                return signal
        return None

    return run


def too_many(most: int) -> WorkflowFailed:
    """Return the error of a loop that reaches its bound."""
    return WorkflowFailed("LoopLimit", f"the loop may turn {most} times and is not done")


def pattern(node: Node, slot: int, guard: Pure | None) -> Pure:
    """Return the test of one case; a name that it binds is set before the guard is asked."""
    match node:
        case ["bind", name]:

            def bind(f: Frame) -> bool:
                f[name] = f[slot]
                return guard is None or bool(guard(f))

            return bind
        case ["is", plain]:
            values = tuple(decode_value(value) for value in plain)

            def test(f: Frame) -> bool:
                subject = f[slot]
                return any(same(subject, value) for value in values) and (
                    guard is None or bool(guard(f))
                )

            return test
        case _:
            return lambda f: guard is None or guard(f)
