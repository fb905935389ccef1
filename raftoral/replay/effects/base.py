"""The root of all effects, and what their arguments have in common.

Nothing here acts: an effect is a description, the interpreter compares it with the history or hands
it to the owner of the run. `Effect[T]` iterates itself, so ``x = yield from Compute("x", f, 1)`` is
typed exactly by mypy and pyright, and ``x = yield Compute("x", f, 1)`` runs the same (typed `Any`).
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from typing import Any, Final, Generic, TypeAlias, TypeVar

from raftoral.errors import UsageError
from raftoral.values import parse_span

T = TypeVar("T")
R = TypeVar("R")

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


Branch: TypeAlias = "Effect[R] | Flow[R]"
"""What may run beside others: one effect, or a generator of effects."""


def positive(limit: Span, what: str) -> timedelta:
    """Return ``limit`` as a `timedelta` longer than nothing; ``what`` is named in the refusal."""
    span = as_span(limit)
    if span <= timedelta(0):
        raise UsageError(f"{what} is longer than nothing")
    return span
