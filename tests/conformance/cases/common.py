"""What the cases have in common: how one is registered, contexts, and polls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from raftoral.replay.effects import (
    Callback,
    Compute,
    Flow,
    Parallel,
    RetryPolicy,
    Sleep,
    Workflow,
    scope,
    workflow,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.registry.definition import Definition


@dataclass
class Case:
    """One requirement's workflow, and what it calls. A fresh one for each run."""

    flow: Workflow[Any, Any] | Definition
    activities: dict[str, Callable[..., Any]] = field(default_factory=dict)
    children: tuple[Workflow[Any, Any] | Definition, ...] = ()
    crash_in: str = ""
    """The activity in the middle of which the process dies, once."""

    def arguments(self, given: Any) -> list[Any]:
        """Return what the workflow is started with; a program without a use for nothing takes none."""
        return [] if given is None and not isinstance(self.flow, Workflow) else [given]


CASES: Final[dict[str, Callable[[], Case]]] = {}
NOT_EXPRESSIBLE: Final[dict[str, str]] = {}


def requirement(
    number: str,
    *,
    children: tuple[Workflow[Any, Any], ...] = (),
    crash_in: str = "",
    **activities: Callable[[], Callable[..., Any]],
) -> Callable[[Callable[..., Flow[Any]]], Callable[..., Flow[Any]]]:
    """Register a generator function as the workflow of a requirement.

    ``activities`` are made anew for each run, since some of them fail at first.
    """

    def register(body: Callable[..., Flow[Any]]) -> Callable[..., Flow[Any]]:
        flow = workflow(f"case-{number}", version=1)(body)

        def case() -> Case:
            made = {name: make() for name, make in activities.items()}
            return Case(flow, made, children, crash_in)

        CASES[number] = case
        return body

    return register


def gives(value: Any) -> Callable[[], Callable[..., Any]]:
    """Return a maker of an activity that gives a value."""
    return lambda: lambda *_: value


def same() -> Callable[..., Any]:
    """Return an activity that gives back what it is given."""
    return lambda value=None: value


def fails(times: int, error: Exception, then: Any = None) -> Callable[[], Callable[..., Any]]:
    """Return a maker of an activity that fails so many times, and then gives a value."""

    def make() -> Callable[..., Any]:
        left = times

        def run(*_: Any) -> Any:
            nonlocal left
            left -= 1
            if left >= 0:
                raise error
            return then

        return run

    return make


# ------------------------------------------------------------------ contexts
def context(name: str, body: Flow[Any]) -> Flow[Any]:
    """Run ``body`` in a context of its own: a parallel of one branch."""
    found = yield from Parallel(name, context=body)
    return found["context"]


def wait_for_callback(
    name: str, submit: str, *, kind: Any = Any, timeout: str = "", beat: str = "", tries: int = 1
) -> Flow[Any]:
    """Open a callback, hand its token to an activity, and wait, all in a context."""

    def body() -> Flow[Any]:
        callback: Any = Callback("callback", kind)
        if timeout:
            callback = callback.timeout(timeout)
        if beat:
            callback = callback.heartbeat(beat)
        pending = yield from callback
        policy = RetryPolicy(tries)
        yield from Compute("submit", submit, pending.token).with_policy(policy)
        return (yield from pending.wait())

    found = yield from Parallel(name, callback=body())
    return found["callback"]


def wait_for_condition(
    name: str, check: str, state: Any, done: Callable[[Any], bool], pause: str = "1s"
) -> Flow[Any]:
    """Check, with a pause between, until the state is as it has to be."""
    for turn in range(1_000):
        with scope(f"name[{name}]"), scope(f"while[{turn}]"):
            state = yield from Compute("check", check, state)
            if done(state):
                return state
            yield from Sleep(pause)
    return state
