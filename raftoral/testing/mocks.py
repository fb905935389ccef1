"""What stands in for activities: what it gives, and how long that takes on the clock of a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raftoral.replay.deciding import late
from raftoral.replay.effects import Span, as_span
from raftoral.values import millis_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from raftoral.replay.history import Failure
    from raftoral.replay.waits import ComputeWait


@dataclass(frozen=True, slots=True)
class Takes:
    """What a mocked activity gives, and how long it takes on the world's clock.

    ``beats`` are the moments, counted from its beginning, at which it tells that it is alive.
    """

    span: Span
    result: Any = None
    beats: tuple[Span, ...] = ()


def outcome_of(mock: Any) -> Callable[..., Any]:
    """Return a mock as a function: a value or an exception is what the function gives or raises."""
    if callable(mock) and not isinstance(mock, type):
        function: Callable[..., Any] = mock
        return function

    def give(*_args: Any, **_kwargs: Any) -> Any:
        if isinstance(mock, BaseException):
            raise mock
        return mock

    return give


def limits_of(wait: ComputeWait, takes: Takes, span: int) -> Iterable[tuple[int, Failure]]:
    """Yield the moments, in milliseconds, at which an attempt might be late, and the failures."""
    options = wait.effect.options
    if options.within is not None:
        yield millis_of(options.within), late("Timeout", options.within)
    if options.heartbeat is not None:
        silence = millis_of(options.heartbeat)
        last = 0
        for beat in (*(millis_of(as_span(each)) for each in takes.beats), span):
            if beat - last > silence:
                yield last + silence, late("HeartbeatTimeout", options.heartbeat)
                return
            last = beat
