"""Activities: functions with effects on the world, and how often they are tried."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from raftoral.errors import UsageError
from raftoral.replay.effects.base import check_key

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


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
    """A function with effects on the world, under the name that histories and `.rwf` use.

    With ``process`` it runs in a process of its own, where it holds up nobody while it computes.
    """

    def __init__(self, name: str, function: Callable[P, R], *, process: bool = False) -> None:
        self.name = check_key(name)
        self.function = function
        self.process = process
        if process:
            _check_importable(name, function)
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__wrapped__ = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function directly, as a test does."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<activity {self.name}>"


def activity(name: str, *, process: bool = False) -> Callable[[Callable[P, R]], Activity[P, R]]:
    """Make a function the activity called ``name``, for example ``@activity("payments.charge")``.

    ``process`` is for functions that compute for long: each attempt gets a process, which is ended
    with the attempt. Arguments and result cross as stored values and come back by the types that
    the function declares. It has to be a plain function at the top level of a module, else
    `UsageError`.
    """

    def wrap(function: Callable[P, R]) -> Activity[P, R]:
        return Activity(name, function, process=process)

    return wrap


def _check_importable(name: str, function: Callable[..., Any]) -> None:
    """Refuse what another process could not import by its name, or has no use for a process."""
    if inspect.iscoroutinefunction(function):
        raise UsageError(
            f"activity {name}: a coroutine function waits more than it computes; leave process=True "
            "out, or make it a plain function"
        )
    qualname = getattr(function, "__qualname__", "<unnamed>")
    if "<" in qualname or getattr(function, "__module__", None) is None:
        raise UsageError(
            f"activity {name}: another process cannot import {qualname}; with process=True the "
            "function has to stand at the top level of a module"
        )


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a `Compute` asks the owner to run: a name, arguments, and the function if it is known.

    ``process`` says that it is to run in a process of its own.
    """

    activity: str
    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...]
    function: Callable[..., Any] | None
    process: bool = False


def invocation_of(
    fn: Callable[..., Any] | str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Invocation:
    """Return what a `Compute` of this function asks for; `UsageError` for one without a name."""
    named = tuple(sorted(kwargs.items()))
    if isinstance(fn, str):
        return Invocation(fn, args, named, None)
    if isinstance(fn, Activity):
        return Invocation(fn.name, args, named, fn.function, fn.process)
    fn = getattr(fn, "__raftoral_original__", fn)  # A workflow sees guarded copies of functions.
    name = getattr(fn, "__qualname__", None)
    if name is None:
        # Its `repr` would hold an address of memory, which is another one on each node.
        raise UsageError(f"{fn!r:.60} has no name: make it one with @activity(...)")
    code = getattr(fn, "__code__", None)
    if code is not None and code.co_flags & inspect.CO_GENERATOR:
        raise UsageError(f"{name} is a generator, not an activity: compose it with `yield from`")
    return Invocation(name.replace("/", "."), args, named, fn)
