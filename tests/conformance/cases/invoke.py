"""Calling other workflows."""

from __future__ import annotations

from typing import Any

from raftoral.errors import WorkflowFailed
from raftoral.replay.effects import Call, Compute, Flow, Log, workflow
from tests.conformance.cases.common import NOT_EXPRESSIBLE, context, gives, requirement

NOT_EXPRESSIBLE["5-8"] = "there are no tenants: a cluster belongs to one application"


@workflow("echo", version=1)
def echo(payload: Any) -> Flow[Any]:
    """Give the payload back."""
    yield from Log("called")
    return payload


@workflow("failing", version=1)
def failing(payload: Any) -> Flow[Any]:
    """Fail."""
    yield from Log("called")
    raise RuntimeError("the target fails")


@requirement("5-1", children=(echo,))
def call(given: str) -> Flow[Any]:
    """Call and give the result back."""
    return (yield from Call("call", echo, given))


@requirement("5-2", children=(echo,))
def named(given: dict[str, str]) -> Flow[Any]:
    """A call with a name from the input."""
    return (yield from Call(given["name"], echo, given["payload"]))


@requirement("5-4", children=(echo,))
def nothing(given: Any) -> Flow[Any]:
    """Nothing as the payload."""
    return (yield from Call("call", echo, None))


@requirement("5-6", children=(failing,))
def caught(given: Any) -> Flow[str]:
    """The target fails, which is caught."""
    try:
        yield from Call("call", failing, given)
    except WorkflowFailed:
        return "fallback"
    return "no failure"


@requirement("5-11", children=(echo,), work=gives("step result"))
def after_step(given: Any) -> Flow[Any]:
    """A step, and its result to the target."""
    result = yield from Compute("work", "work")
    return (yield from Call("call", echo, result))


@requirement("5-13", children=(echo,))
def in_context(given: Any) -> Flow[Any]:
    """A call in a context."""

    def body() -> Flow[Any]:
        return (yield from Call("call", echo, "inside"))

    return (yield from context("child", body()))


@requirement("5-15", children=(echo,))
def written_otherwise(given: dict[str, str]) -> Flow[Any]:
    """The payload is written by a pure function of the workflow."""
    payload = {key: value.upper() for key, value in given.items()}
    return (yield from Call("call", echo, payload))
