"""Statements without effects, as closures over a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raftoral.errors import Cancelled, WorkflowFailed
from raftoral.lang.evaluate.expressions import items_of
from raftoral.lang.evaluate.frames import BREAK, CONTINUE, GIVE, RETURN, Frame, Pure
from raftoral.lang.evaluate.patterns import tester

if TYPE_CHECKING:
    from raftoral.lang.ir import Node


def failure(value: Any) -> BaseException:
    """Return the error to raise: a new one each time, so that no traceback is carried along."""
    if type(value) is str:
        return WorkflowFailed("Failed", value)
    assert isinstance(value, WorkflowFailed)
    if value.name == "Cancelled":
        return Cancelled(value.message)
    return WorkflowFailed(value.name, value.message, value.details, attempts=value.attempts)


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


def give(value: Pure) -> Pure:
    """Return the closure of `give`."""

    def run(f: Frame) -> int:
        f[0].result = value(f)
        return GIVE

    return run


def for_(index: int | None, slot: int, source: Pure, body: Pure) -> Pure:
    """Return the closure of a `for` without effects."""

    def run(f: Frame) -> int | None:
        meter = f[0]
        for number, item in items_of(source(f)):
            meter.spend(1)
            if index is not None:
                f[index] = number
            f[slot] = item
            signal: int | None = body(f)
            if signal == BREAK:
                break
            if signal is not None and signal != CONTINUE:
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
            if signal is not None and signal != CONTINUE:
                return signal
        return None

    return run


def too_many(most: int) -> WorkflowFailed:
    """Return the error of a loop that reaches its bound."""
    return WorkflowFailed("LoopLimit", f"the loop may turn {most} times and is not done")


def case(pattern: Node, slot: int, guard: Pure | None) -> Pure:
    """Return the test of one case; the names that it binds are set before the guard is asked."""
    test = tester(pattern)
    if guard is None:
        return lambda f: test(f, f[slot])
    return lambda f: test(f, f[slot]) and guard(f)
