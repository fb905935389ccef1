"""What a workflow may yield: descriptions of work, never the work itself.

Owns the effect classes, `activity`, `workflow` and `scope`. Nothing here acts: an effect is a frozen
description, the interpreter compares it with the history or hands it to the owner of the run.

`Effect[T]` iterates itself, so ``x = yield from Compute("x", f, 1)`` is typed exactly by mypy and
pyright, and ``x = yield Compute("x", f, 1)`` runs the same (typed `Any`).
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Generic, ParamSpec, TypeAlias, TypeVar, cast, overload

from raftoral.errors import UsageError
from raftoral.values import parse_span

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")

Span: TypeAlias = timedelta | str
"""A duration: a `timedelta`, or a text such as ``"250ms"`` or ``"1h30m"``."""

KEY_LENGTH_MAX: Final = 200


def as_span(value: Span) -> timedelta:
    """Return ``value`` as a `timedelta`; `UsageError` for a text that names none."""
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise UsageError(f"a duration is a timedelta or a text such as '10s', not {value!r:.60}")
    try:
        return parse_span(value)
    except ValueError as error:
        raise UsageError(str(error)) from None


def check_key(key: str) -> str:
    """Return ``key`` if it may stand in a path: not empty, no ``/``, at most 200 characters."""
    if not key or "/" in key or len(key) > KEY_LENGTH_MAX or not key.isprintable():
        raise UsageError(
            f"{key!r:.60} cannot name a step: use 1 to {KEY_LENGTH_MAX} printable characters, no '/'"
        )
    return key


class Effect(Generic[T]):
    """One step that a workflow asks for; ``T`` is what it is answered with."""

    __slots__ = ()

    def __iter__(self) -> Generator[Effect[Any], Any, T]:
        """Yield this effect once and return its answer (for ``yield from``)."""
        answer: T = yield self
        return answer


Flow: TypeAlias = Generator[Effect[Any], Any, R]
"""The type of a workflow's body: ``def order(...) -> Flow[Receipt]``."""


# ------------------------------------------------------------------ activities
@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a failed attempt is repeated.

    ``attempts`` counts the first one too. The pause before attempt n+1 is ``first`` times
    ``factor`` to the n-1, at most ``longest``, spread by up to ``jitter_percent`` either way by the
    owner, who records the moment it chose. ``only`` names the failures worth repeating; empty
    means all but those in ``never``.
    """

    attempts: int = 1
    first: timedelta = timedelta(milliseconds=200)
    longest: timedelta = timedelta(minutes=1)
    factor_percent: int = 200
    jitter_percent: int = 0
    only: tuple[str, ...] = ()
    never: tuple[str, ...] = ()

    def pause_after(self, attempt: int, spread: int = 0) -> timedelta:
        """Return the pause after failed attempt number ``attempt`` (from 1).

        ``spread`` is what chance chose, from -jitter_percent to +jitter_percent.
        """
        millis = self.first // timedelta(milliseconds=1)
        longest = self.longest // timedelta(milliseconds=1)
        for _ in range(attempt - 1):
            millis = millis * self.factor_percent // 100
            if millis >= longest:
                break
        return timedelta(milliseconds=min(millis, longest) * (100 + spread) // 100)

    def repeats(self, failure: str, attempt: int) -> bool:
        """Tell whether a failure of that name in attempt number ``attempt`` is tried again."""
        if attempt >= self.attempts or failure in self.never:
            return False
        return not self.only or failure in self.only


class Activity(Generic[P, R]):
    """A function with effects on the world, under the name that histories and `.rwf` use."""

    def __init__(self, name: str, function: Callable[P, R]) -> None:
        self.name = check_key(name)
        self.function = function
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__wrapped__ = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function directly, as a test does."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<activity {self.name}>"


def activity(name: str) -> Callable[[Callable[P, R]], Activity[P, R]]:
    """Make a function the activity called ``name``, for example ``@activity("payments.charge")``."""

    def wrap(function: Callable[P, R]) -> Activity[P, R]:
        return Activity(name, function)

    return wrap


@dataclass(frozen=True, slots=True)
class Call:
    """What a `Compute` asks the owner to run: a name, arguments, and the function if it is known."""

    activity: str
    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...]
    function: Callable[..., Any] | None


def _call_of(fn: Callable[..., Any] | str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    named = tuple(sorted(kwargs.items()))
    if isinstance(fn, str):
        return Call(fn, args, named, None)
    if isinstance(fn, Activity):
        return Call(fn.name, args, named, fn.function)
    name = getattr(fn, "__qualname__", None)
    if name is None:
        # Its `repr` would hold an address of memory, which is another one on each node.
        raise UsageError(f"{fn!r:.60} has no name: make it one with @activity(...)")
    code = getattr(fn, "__code__", None)
    if code is not None and code.co_flags & inspect.CO_GENERATOR:
        raise UsageError(f"{name} is a generator, not an activity: compose it with `yield from`")
    return Call(name.replace("/", "."), args, named, fn)


class Compute(Effect[T]):
    """Have the owner run an activity once; every node is answered with the recorded result.

    ``Compute("payment", charge, order, amount)``: key, function, its arguments. The function may
    be plain (it runs in a thread) or async (it runs on the application's loop). The options are
    methods that return a new effect. Fails with `WorkflowFailed` once no attempt is left.
    """

    __slots__ = ("call", "key", "policy", "within")

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
        self.call = _call_of(fn, args, kwargs)
        self.policy = RetryPolicy()
        self.within: timedelta | None = None

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
        return self._copy(policy, self.within)

    def timeout(self, limit: Span) -> Compute[T]:
        """Return this effect with a limit for each attempt; a later one fails with ``Timeout``."""
        span = as_span(limit)
        if span <= timedelta(0):
            raise UsageError("a timeout is longer than nothing")
        return self._copy(self.policy, span)

    def _copy(self, policy: RetryPolicy, within: timedelta | None) -> Compute[T]:
        other: Compute[T] = Compute.__new__(Compute)
        other.key, other.call, other.policy, other.within = self.key, self.call, policy, within
        return other

    def __repr__(self) -> str:
        return f"Compute({self.key!r}, {self.call.activity})"


# ------------------------------------------------------------------ the other effects
class Cell(Generic[T]):
    """A checkpoint variable: `value` is what was last recorded; `set` yields the next record."""

    __slots__ = ("kind", "path", "value")

    def __init__(self, path: str, value: T, kind: Any) -> None:
        self.path = path
        self.value = value
        self.kind = kind

    def get(self) -> T:
        """Return the value last recorded."""
        return self.value

    def set(self, value: T) -> SetCell[T]:
        """Return the effect that records ``value``: ``yield from cell.set(v)``."""
        return SetCell(self, value)

    def update(self, change: Callable[[T], T]) -> SetCell[T]:
        """Return the effect that records ``change(value)``."""
        return SetCell(self, change(self.value))


@dataclass(frozen=True, slots=True)
class Checkpoint(Effect[Cell[T]]):
    """Name a replicated variable and record its first value; answered with its `Cell`.

    ``kind`` says what type the value comes back as, where that is not the type of the value
    itself (for example ``list[Item]``).
    """

    key: str
    value: T
    kind: Any = None

    def __post_init__(self) -> None:
        check_key(self.key)


@dataclass(frozen=True, slots=True)
class SetCell(Effect[None], Generic[T]):
    """Record another value of a cell; made by `Cell.set`."""

    cell: Cell[T]
    value: T


@dataclass(frozen=True, slots=True)
class Sleep(Effect[None]):
    """Wait for a span of the group's clock, however often the nodes restart meanwhile."""

    span: Span
    key: str | None = None

    def __post_init__(self) -> None:
        as_span(self.span)


@dataclass(frozen=True, slots=True)
class SleepUntil(Effect[None]):
    """Wait until an instant (with a zone) of the group's clock; the past does not wait."""

    until: datetime
    key: str | None = None

    def __post_init__(self) -> None:
        if self.until.tzinfo is None:
            raise UsageError("SleepUntil needs a time with a zone, such as datetime.now(UTC)")


class Receive(Effect[T]):
    """Take the oldest signal of that name from the run's mailbox, waiting until there is one.

    ``Receive("approve", Approval)`` is answered with the payload as an ``Approval``; with
    `timeout` the answer is None when none came in time.
    """

    __slots__ = ("key", "kind", "name", "within")

    @overload
    def __init__(self: Receive[Any], name: str) -> None: ...
    @overload
    def __init__(self: Receive[R], name: str, kind: type[R]) -> None: ...
    def __init__(self, name: str, kind: Any = Any) -> None:
        self.name = check_key(name)
        self.kind = kind
        self.within: timedelta | None = None
        self.key: str | None = None

    def timeout(self, limit: Span) -> Receive[T | None]:
        """Return this effect with a limit; the answer is None when it passes."""
        other: Receive[T | None] = Receive.__new__(Receive)
        other.name, other.kind, other.key = self.name, self.kind, self.key
        other.within = as_span(limit)
        return other

    def __repr__(self) -> str:
        return f"Receive({self.name!r})"


@dataclass(frozen=True, slots=True)
class Log(Effect[None]):
    """Write a line once, into the history and the log of the owner; never again on replay."""

    text: str
    key: str | None = None


# ------------------------------------------------------------------ scopes
class Scopes:
    """The scopes that one branch of a run has open, and the counters of its unnamed steps."""

    __slots__ = ("_counters", "_open")

    def __init__(self) -> None:
        self._open: list[str] = []
        self._counters: dict[str, int] = {}

    def path(self, key: str) -> str:
        """Return the path of a named step here."""
        return "/".join((*self._open, key)) if self._open else key

    def unnamed(self, kind: str) -> str:
        """Return the path of the next unnamed step of that kind here, for example ``sleep#0``."""
        stem = self.path(kind)
        count = self._counters.get(stem, 0)
        self._counters[stem] = count + 1
        return f"{stem}#{count}"

    def enter(self, name: str) -> None:
        """Open a scope inside the current one."""
        self._open.append(name)

    def leave(self) -> None:
        """Close the innermost scope."""
        self._open.pop()


current_scopes: ContextVar[Scopes] = ContextVar("current_scopes")
"""The scopes of the generator that is being advanced right now; the interpreter sets it."""


@dataclass(slots=True)
class scope:  # noqa: N801 - reads as a statement: `with scope("page-3"):`
    """Give the steps inside a name of their own: ``with scope(f"page-{n}"): ...`` in a loop."""

    name: str
    _scopes: Scopes | None = field(default=None, init=False, repr=False)

    def __enter__(self) -> None:
        check_key(self.name)
        scopes = current_scopes.get(None)
        if scopes is None:
            raise UsageError("`scope` belongs inside a workflow")
        self._scopes = scopes
        scopes.enter(self.name)

    def __exit__(self, *exc: object) -> None:
        assert self._scopes is not None
        self._scopes.leave()


# ------------------------------------------------------------------ workflows
class Workflow(Generic[P, R]):
    """A generator function under a name and a version; calling it makes the generator."""

    def __init__(self, name: str, version: int, function: Callable[P, Flow[R]]) -> None:
        if not inspect.isgeneratorfunction(function):
            raise UsageError(
                f"workflow {name}: {function.__name__} yields nothing. A workflow is a generator: "
                "it needs at least one `yield from Compute(...)` or `yield from Checkpoint(...)`"
            )
        if version < 1:
            raise UsageError(f"workflow {name}: versions are counted from 1, not {version}")
        for part in name.split("."):
            check_key(part)
        self.name = name
        self.version = version
        self.function = function
        self.signature = inspect.signature(function)
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__wrapped__ = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Flow[R]:
        """Return the generator of one run."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<workflow {self.name} version {self.version}>"


def workflow(name: str, *, version: int) -> Callable[[Callable[P, Flow[R]]], Workflow[P, R]]:
    """Make a generator function the workflow ``name`` of that version."""

    def wrap(function: Callable[P, Flow[R]]) -> Workflow[P, R]:
        return Workflow(name, version, function)

    return wrap


def renamed(effect: Effect[T], key: str) -> Effect[T]:
    """Return ``effect`` under another key; for front ends that name steps by their binding."""
    if isinstance(effect, (Sleep, SleepUntil, Log)):
        return cast("Effect[T]", replace(effect, key=check_key(key)))
    if isinstance(effect, Receive):
        other: Receive[Any] = Receive.__new__(Receive)
        other.name, other.kind, other.within = effect.name, effect.kind, effect.within
        other.key = check_key(key)
        return cast("Effect[T]", other)
    raise UsageError(f"{effect!r} is named when it is made")
