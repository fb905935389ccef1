"""Child contexts."""

from __future__ import annotations

from typing import Any

from raftoral.replay.effects import Compute, Flow, Log, Sleep
from tests.conformance.cases.common import context, fails, requirement, same


def step(value: Any) -> Flow[Any]:
    """One step that gives its argument back."""
    return (yield from Compute("step", "echo", value))


@requirement("3-1", echo=same)
def one(given: str) -> Flow[str]:
    """A step inside."""
    return str((yield from context("child", step(given))))


@requirement("3-2", echo=same)
def named(given: dict[str, str]) -> Flow[str]:
    """A context with a name from the input."""
    return str((yield from context(given["name"], step(given["value"]))))


@requirement("3-4", broken=fails(9, RuntimeError("broken")))
def failing(given: Any) -> Flow[Any]:
    """The step inside fails."""

    def body() -> Flow[Any]:
        return (yield from Compute("step", "broken"))

    return (yield from context("child", body()))


@requirement("3-6", echo=same)
def nested(given: str) -> Flow[str]:
    """A context in a context."""

    def body() -> Flow[str]:
        yield from Compute("step", "echo", given)
        return str((yield from context("inner", step(given))))

    return str((yield from context("outer", body())))


@requirement("3-8", broken=fails(9, RuntimeError("broken")))
def exhausted(given: Any) -> Flow[Any]:
    """The step inside fails after its retries."""

    def body() -> Flow[Any]:
        return (yield from Compute("step", "broken").retry(2, first="1s"))

    return (yield from context("child", body()))


@requirement("3-11", echo=same)
def large(given: str) -> Flow[int]:
    """A result beyond what can be stored: a branch's result is made again, never stored."""

    def body() -> Flow[str]:
        yield from Log(given)
        small = yield from Compute("step", "echo", given)
        return str(small) * 100_000

    big = yield from context("child", body())
    yield from Sleep("1s")
    return len(big)


@requirement("3-13", echo=same)
def waiting(given: str) -> Flow[str]:
    """A wait inside, a step outside."""

    def body() -> Flow[str]:
        yield from Sleep("1s")
        return given

    yield from context("child", body())
    return str((yield from Compute("step", "echo", given)))


@requirement("3-15")
def at_once(given: Any) -> Flow[Any]:
    """The context fails without a step."""

    def body() -> Flow[Any]:
        yield from ()
        raise RuntimeError("at once")

    return (yield from context("child", body()))


@requirement("3-17")
def logging(given: str) -> Flow[str]:
    """A context that only writes to the log, once."""

    def body() -> Flow[str]:
        yield from Log(given)
        return given

    found = yield from context("child", body())
    yield from Sleep("1s")
    return str(found)
