"""Checkpoints: variables of a workflow that are replicated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from raftoral.replay.effects.base import Effect, check_key

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


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
