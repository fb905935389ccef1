"""`Saga`: steps that are taken back, newest first, when what is around them fails.

Pure bookkeeping on top of the other effects. The interpreter notes each completed `Compute` with a
compensation in the innermost saga around it, in the order of the log; the compensations are
computes under ``undo/<path>``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from raftoral.errors import Cancelled, UsageError, WorkflowFailed
from raftoral.replay.effects.base import Effect, Flow
from raftoral.replay.effects.compute import Compute
from raftoral.replay.effects.scopes import current_scopes

if TYPE_CHECKING:
    from collections.abc import Generator

T = TypeVar("T")


@dataclass(slots=True)
class Undo:
    """What a saga has to take back: path and compensation of each completed step."""

    entries: list[tuple[str, Compute[Any]]] = field(default_factory=list)

    def add(self, path: str, compensation: Compute[Any]) -> None:
        """Note how the step at ``path`` is taken back."""
        self.entries.append((path, compensation))

    def run(self) -> Flow[None]:
        """Run the compensations, newest first, and forget them.

        A cancellation waits until they are through. One that fails does not keep the others from
        running; afterwards the failure is raised as
        `WorkflowFailed` named ``CompensationFailed``.
        """
        failed: list[str] = []
        scopes = current_scopes.get()
        scopes.shield += 1
        while self.entries:
            path, compensation = self.entries.pop()
            try:
                yield from _undone(path, compensation)
            except Exception as error:
                failed.append(f"{path}: {error}")
        scopes.shield -= 1
        if failed:
            raise WorkflowFailed("CompensationFailed", "; ".join(failed))


def _undone(path: str, compensation: Compute[Any]) -> Flow[None]:
    scopes = current_scopes.get()
    *inside, key = path.split("/")
    before = scopes.moved(["undo", *inside])
    saga, scopes.undo = scopes.undo, None
    try:
        yield from Compute.of(key, compensation.call, compensation.options)
    finally:
        scopes.moved(before)
        scopes.undo = saga


class Saga(Effect[T], Generic[T]):
    """Run ``body``; if an error or a cancellation leaves it, take its completed steps back.

    ``result = yield from Saga(book(trip))``, where ``book`` yields computes with ``.compensate(...)``.
    The error is raised again afterwards. A saga inside a saga hands its steps on to the outer one
    when it succeeds.
    """

    __slots__ = ("_body",)

    def __init__(self, body: Flow[T] | Effect[T]) -> None:
        if not hasattr(body, "__iter__"):
            raise UsageError("a saga is made of a generator of effects: Saga(book(trip))")
        self._body = body

    def __iter__(self) -> Generator[Effect[Any], Any, T]:
        """Run the body here; ``yield from`` is the only way to run a saga."""
        scopes = current_scopes.get(None)
        if scopes is None:
            raise UsageError("a saga belongs inside a workflow")
        outer = scopes.undo
        mine = scopes.undo = Undo()
        try:
            result = yield from self._body
        except (Exception, Cancelled):
            scopes.undo = outer
            yield from mine.run()
            raise
        scopes.undo = outer
        if outer is not None:
            outer.entries.extend(mine.entries)
        return result


def undo_now() -> Flow[None]:
    """Take back what the saga around this call has completed so far, on purpose."""
    scopes = current_scopes.get(None)
    if scopes is None or scopes.undo is None:
        raise UsageError("there is nothing to undo outside of a saga")
    yield from scopes.undo.run()
