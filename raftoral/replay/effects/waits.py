"""Effects that wait for time, for signals, for requests, and for whoever holds a token."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast, overload

from raftoral.errors import UsageError
from raftoral.replay.effects.base import Effect, Span, as_span, check_key, positive

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
R = TypeVar("R")


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


class Update(Effect[T]):
    """Take the oldest request of that name, answer its sender, and go on with what it brought.

    ``Update("add", Item, check)``: ``check`` is a pure function of the value as ``Item``; what it
    returns is the sender's answer, what it raises refuses the request, and the run goes on waiting.
    """

    __slots__ = ("handler", "key", "kind", "name")

    @overload
    def __init__(
        self: Update[Any], name: str, *, handler: Callable[[Any], Any] | None = None
    ) -> None: ...
    @overload
    def __init__(
        self: Update[R], name: str, kind: type[R], handler: Callable[[R], Any] | None = None
    ) -> None: ...
    def __init__(
        self, name: str, kind: Any = Any, handler: Callable[[Any], Any] | None = None
    ) -> None:
        self.name = check_key(name)
        self.kind = kind
        self.handler = handler
        self.key: str | None = None

    def __repr__(self) -> str:
        return f"Update({self.name!r})"


class Callback(Effect["Pending[T]"], Generic[T]):
    """Make a token with which anyone may complete this step; answered with a `Pending`.

    Hand ``pending.token`` to whoever shall answer (in an activity), then
    ``value = yield from pending.wait()``. With `timeout` the wait fails with ``Timeout``; with
    `heartbeat` it fails with ``HeartbeatTimeout`` when the holder of the token was silent that long.
    """

    __slots__ = ("beat", "key", "kind", "within")

    @overload
    def __init__(self: Callback[Any], key: str | None = None) -> None: ...
    @overload
    def __init__(self: Callback[R], key: str | None, kind: type[R]) -> None: ...
    def __init__(self, key: str | None = None, kind: Any = Any) -> None:
        self.key = None if key is None else check_key(key)
        self.kind = kind
        self.within: timedelta | None = None
        self.beat: timedelta | None = None

    def timeout(self, limit: Span) -> Callback[T]:
        """Return this effect with a limit from now to the completion."""
        return self._copy(positive(limit, "a timeout"), self.beat)

    def heartbeat(self, limit: Span) -> Callback[T]:
        """Return this effect with a limit for the silence of the token's holder."""
        return self._copy(self.within, positive(limit, "a heartbeat"))

    def _copy(self, within: timedelta | None, beat: timedelta | None) -> Callback[T]:
        other: Callback[T] = Callback.__new__(Callback)
        other.key, other.kind, other.within, other.beat = self.key, self.kind, within, beat
        return other

    def __repr__(self) -> str:
        return f"Callback({self.key!r})"


@dataclass(frozen=True, slots=True)
class Pending(Generic[T]):
    """A step that waits for whoever holds ``token``."""

    path: str
    token: str
    kind: Any

    def wait(self) -> AwaitCallback[T]:
        """Return the effect that waits for the completion: ``yield from pending.wait()``."""
        return AwaitCallback(self)


@dataclass(frozen=True, slots=True)
class AwaitCallback(Effect[T], Generic[T]):
    """Wait until a callback is completed; made by `Pending.wait`."""

    pending: Pending[T]


@dataclass(frozen=True, slots=True)
class Log(Effect[None]):
    """Write a line once, into the history and the log of the owner; never again on replay."""

    text: str
    key: str | None = None


# ------------------------------------------------------------------ what only the owner can tell
INT_END: Final = 2**63


@dataclass(frozen=True, slots=True)
class Now(Effect[datetime]):
    """The group's clock, read once and recorded: a datetime in UTC, to the millisecond."""

    key: str | None = None


@dataclass(frozen=True, slots=True)
class Random(Effect[int]):
    """A number from 0 to ``below`` - 1, thrown once and recorded."""

    below: int = INT_END
    key: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.below <= INT_END:
            raise UsageError(f"a random number is below 1 to 2**63, not {self.below}")


@dataclass(frozen=True, slots=True)
class Uuid(Effect[str]):
    """A random UUID as text, made once and recorded."""

    key: str | None = None


def renamed(effect: Effect[T], key: str) -> Effect[T]:
    """Return ``effect`` under another key; for front ends that name steps by their binding."""
    check_key(key)
    if isinstance(effect, (Sleep, SleepUntil, Log, Now, Random, Uuid)):
        return cast("Effect[T]", replace(effect, key=key))
    if isinstance(effect, (Receive, Update)):
        other: Any = type(effect).__new__(type(effect))
        for name in type(effect).__slots__:
            setattr(other, name, getattr(effect, name))
        other.key = key
        return cast("Effect[T]", other)
    raise UsageError(f"{effect!r} is named when it is made")
