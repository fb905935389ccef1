"""Scopes: where in a run a step is, which makes its path."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from raftoral.errors import UsageError
from raftoral.replay.effects.base import check_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.replay.effects.sagas import Undo


class Scopes:
    """The scopes that one branch of a run has open, and the counters of its unnamed steps."""

    __slots__ = ("_counters", "_open", "run_id", "shield", "undo")

    def __init__(self, inside: Sequence[str] = (), undo: Undo | None = None) -> None:
        self._open: list[str] = list(inside)
        self._counters: dict[str, int] = {}
        self.undo = undo
        """What the innermost saga around the code has to undo; None outside of any."""
        self.run_id = ""
        """Whose scopes these are; known at the root, for front ends that tell a workflow its id."""
        self.shield = 0
        """How many compensations are under way: a cancellation waits until they are through."""

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

    def moved(self, to: Sequence[str]) -> list[str]:
        """Put the steps that follow under the scopes ``to``; return where they were, to move back."""
        before, self._open = self._open, list(to)
        return before

    def within(self, key: str, segment: str) -> tuple[str, ...]:
        """Return the scopes of a branch: of group ``key`` here, ``segment`` as it is in its path."""
        if segment.startswith("["):
            return (*self._open, key + segment)
        return (*self._open, key, segment)


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
