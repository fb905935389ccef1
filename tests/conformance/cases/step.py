"""Steps: results, failures, retries, at most once."""

from __future__ import annotations

from typing import Any

from raftoral.errors import WorkflowFailed
from raftoral.replay.effects import Compute, Flow, Sleep
from tests.conformance.cases.common import NOT_EXPRESSIBLE, fails, requirement

NOT_EXPRESSIBLE["1-6"] = "values have one stored form; a step has no serializer of its own"


class TransientError(Exception):
    """A failure that is worth another try."""


def greeting() -> Any:
    """Greet."""
    return lambda name: f"Hello, {name}!"


@requirement("1-1", greet=greeting)
def one_step(given: str) -> Flow[str]:
    """A step with an input and a result."""
    return (yield from Compute("greet", "greet", given))


@requirement(
    "1-4",
    build=lambda: lambda name, tags: {"user": {"name": name, "tags": tags}, "count": len(tags)},
)
def nested(given: dict[str, Any]) -> Flow[Any]:
    """A nested result."""
    return (yield from Compute("build", "build", given["name"], given["tags"]))


@requirement("1-8", work=lambda: lambda: "computed")
def step_and_wait(given: Any) -> Flow[str]:
    """A step, then a wait."""
    result = yield from Compute("work", "work")
    yield from Sleep("2s")
    return str(result)


@requirement("1-11", flaky=fails(1, RuntimeError("first"), "Operation succeeded"))
def retried(given: Any) -> Flow[str]:
    """A step that succeeds the second time."""
    return (yield from Compute("flaky", "flaky").retry(3, first="1s"))


@requirement("1-13", flaky=fails(2, RuntimeError("not yet"), "done"))
def six_attempts(given: Any) -> Flow[str]:
    """The retries that they have by default, spelt out: here nothing is retried unasked.

    Their jitter goes from nothing to 5 s, ours from the pause to either side.
    """
    step: Any = Compute("flaky", "flaky")
    return (yield from step.retry(6, first="2500ms", longest="30s", jitter_percent=100))


@requirement("1-15", flaky=fails(1, TransientError("busy"), "ok"))
def chosen_errors(given: Any) -> Flow[str]:
    """Only one kind of failure is retried."""
    return (yield from Compute("flaky", "flaky").retry(3, first="1s", only=("TransientError",)))


@requirement("1-17", crash_in="crash", crash=lambda: lambda text: text)
def at_most_once(given: str) -> Flow[str]:
    """The process dies in the middle of the step."""
    return (yield from Compute("at_most_once_flaky_step", "crash", given).at_most_once())


@requirement("1-19", broken=fails(9, RuntimeError("broken")))
def no_retry(given: Any) -> Flow[str]:
    """A step that fails for good."""
    return (yield from Compute("broken", "broken"))


@requirement(
    "1-20", broken=fails(9, RuntimeError("broken")), fallback=lambda: lambda: "fallback_result"
)
def caught(given: Any) -> Flow[str]:
    """A failure that is caught."""
    try:
        return (yield from Compute("broken", "broken"))
    except WorkflowFailed:
        return (yield from Compute("fallback", "fallback"))
