"""`Compute`: have the owner of the run do work, once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, overload

from raftoral.errors import UsageError
from raftoral.replay.effects.activities import Invocation, RetryPolicy, invocation_of
from raftoral.replay.effects.base import Effect, Span, as_span, check_key, positive

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class _Result:
    """Stands for the result of the compensated step among the arguments of its compensation."""

    def __repr__(self) -> str:
        return "RESULT"


RESULT: Final[Any] = _Result()


ONCE: Final = RetryPolicy()


@dataclass(frozen=True, slots=True)
class Options:
    """How a `Compute` is carried out. Spans are None where there is no limit.

    ``within`` bounds one attempt, ``deadline`` all of them with the pauses between, ``heartbeat``
    the silence of an attempt. ``once`` forbids a second attempt. ``token`` replaces the idempotency
    key that the activity is handed. ``undo`` is what takes the step back, inside a `Saga`: a call,
    or a function from the step's result to a `Compute`.
    """

    policy: RetryPolicy = ONCE
    within: timedelta | None = None
    deadline: timedelta | None = None
    heartbeat: timedelta | None = None
    once: bool = False
    token: str | None = None
    undo: Invocation | Callable[[Any], Compute[Any]] | None = None


class Compute(Effect[T]):
    """Have the owner run an activity once; every node is answered with the recorded result.

    ``Compute("payment", charge, order, amount)``: key, function, its arguments. The function may
    be plain (it runs in a thread) or async (it runs on the application's loop). The options are
    methods that return a new effect. Fails with `WorkflowFailed` once no attempt is left.
    """

    __slots__ = ("call", "key", "options")

    @overload
    def __init__(
        self: Compute[R],
        key: str | None,
        fn: Callable[P, Awaitable[R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None: ...
    @overload
    def __init__(
        self: Compute[R], key: str | None, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> None: ...
    @overload
    def __init__(
        self: Compute[Any], key: str | None, fn: str, /, *args: Any, **kwargs: Any
    ) -> None: ...
    def __init__(
        self, key: str | None, fn: Callable[..., Any] | str, /, *args: Any, **kwargs: Any
    ) -> None:
        self.key = None if key is None else check_key(key)
        self.call = invocation_of(fn, args, kwargs)
        self.options = Options()

    def retry(
        self,
        attempts: int,
        *,
        first: Span = "200ms",
        longest: Span = "1m",
        factor_percent: int = 200,
        jitter_percent: int = 0,
        only: tuple[str, ...] = (),
        never: tuple[str, ...] = (),
    ) -> Compute[T]:
        """Return this effect with up to ``attempts`` attempts; see `RetryPolicy`."""
        if attempts < 1:
            raise UsageError(f"an activity is attempted at least once, not {attempts} times")
        if not 0 <= jitter_percent <= 100 or factor_percent < 100:
            raise UsageError("jitter is 0 to 100 percent, and a factor at least 100 percent")
        if as_span(first) < timedelta(0) or as_span(longest) < timedelta(0):
            raise UsageError("a pause before the next attempt is not negative")
        policy = RetryPolicy(
            attempts,
            as_span(first),
            as_span(longest),
            factor_percent,
            jitter_percent,
            tuple(only),
            tuple(never),
        )
        return self.with_policy(policy)

    def with_policy(self, policy: RetryPolicy) -> Compute[T]:
        """Return this effect with the whole retry policy given."""
        return self._with(policy=policy)

    def timeout(self, limit: Span) -> Compute[T]:
        """Return this effect with a limit for each attempt; a later one fails with ``Timeout``."""
        return self._with(within=positive(limit, "a timeout"))

    def deadline(self, limit: Span) -> Compute[T]:
        """Return this effect with a limit for all attempts and the pauses between them.

        It fails with ``DeadlineExceeded`` then, also in the middle of an attempt.
        """
        return self._with(deadline=positive(limit, "a deadline"))

    def heartbeat(self, limit: Span) -> Compute[T]:
        """Return this effect with a limit for the silence of an attempt.

        The activity calls ``current_attempt().heartbeat(details)``; after a longer silence the
        attempt fails with ``HeartbeatTimeout``. The next attempt finds the last details in its
        context.
        """
        return self._with(heartbeat=positive(limit, "a heartbeat"))

    def at_most_once(self) -> Compute[T]:
        """Return this effect without a second attempt, whatever happens to the owner.

        The attempt is recorded before it begins. If the owner is lost then, the step fails with
        ``Interrupted``, since nobody knows how far it came.
        """
        return self._with(once=True)

    def idempotency_key(self, key: str) -> Compute[T]:
        """Return this effect with a key of your own for the activity, instead of run and path."""
        return self._with(token=check_key(key))

    def compensate(self, fn: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> Compute[T]:
        """Return this effect with the activity that takes it back, for the `Saga` around it.

        The arguments are fixed now; `RESULT` among them stands for what this step results in.
        """
        return self._with(undo=invocation_of(fn, args, kwargs))

    def undone_by(self, make: Callable[[T], Compute[Any]]) -> Compute[T]:
        """Return this effect with what takes it back, made of its result once it is done.

        ``make`` is pure; the retries and limits of the `Compute` that it returns are kept.
        """
        return self._with(undo=make)

    def _with(self, **changes: Any) -> Compute[T]:
        options = replace(self.options, **changes)
        if options.once and options.policy.attempts > 1:
            raise UsageError("at_most_once and retry contradict each other; leave one of them out")
        other: Compute[T] = Compute.__new__(Compute)
        other.key, other.call, other.options = self.key, self.call, options
        return other

    @classmethod
    def of(cls, key: str | None, call: Invocation, options: Options | None = None) -> Compute[Any]:
        """Return the effect that asks for ``call``; for front ends and compensations."""
        other: Compute[Any] = Compute.__new__(Compute)
        other.key, other.call, other.options = key, call, options or Options()
        return other

    def __repr__(self) -> str:
        return f"Compute({self.key!r}, {self.call.activity})"


def undoing(undo: Invocation | Callable[[Any], Compute[Any]], result: object) -> Compute[Any]:
    """Return the compensation of a step that is done, its result in its place."""
    if not isinstance(undo, Invocation):
        return undo(result)
    call = undo
    args = tuple(result if arg is RESULT else arg for arg in call.args)
    kwargs = tuple((name, result if arg is RESULT else arg) for name, arg in call.kwargs)
    return Compute.of(None, replace(call, args=args, kwargs=kwargs))
