"""What an activity may know of the attempt that it is: handed to it by the owner, never replayed."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raftoral.errors import UsageError

if TYPE_CHECKING:
    from raftoral.ids import Epoch, RunId


@dataclass(frozen=True, slots=True)
class ActivityContext:
    """One attempt of one activity.

    ``idempotency_key`` is ``run id/generation/path``: equal for every attempt of this step, so a
    service that remembers it does the work once. ``attempt`` counts from 1; ``epoch`` only grows
    when another node takes the run over, so it can fence off a late predecessor.
    """

    run_id: RunId
    generation: int
    path: str
    attempt: int
    epoch: Epoch

    @property
    def idempotency_key(self) -> str:
        """Return the key that stays the same when this step is attempted again."""
        return f"{self.run_id}/{self.generation}/{self.path}"


attempt_context: ContextVar[ActivityContext] = ContextVar("attempt_context")


def current() -> ActivityContext:
    """Return the context of the attempt that calls this; `UsageError` outside an activity."""
    try:
        return attempt_context.get()
    except LookupError:
        raise UsageError("only an activity that a node runs has an attempt") from None
