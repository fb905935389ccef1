"""The handle of one run, as an application holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from raftoral.convert import from_plain
from raftoral.errors import WorkflowFailed

if TYPE_CHECKING:
    from raftoral.runtime.node import Node
    from raftoral.runtime.views import RunView

R = TypeVar("R")


class Run(Generic[R]):
    """A run that was started or joined; `result` waits for its end."""

    def __init__(self, node: Node, run_id: str, kind: Any = Any) -> None:
        self.id = run_id
        self._node = node
        self._kind = kind

    async def result(self, timeout: float | None = None) -> R:
        """Return the result, as the type that a Python workflow declares.

        Raises `WorkflowFailed` with the run's failure, and `TimeoutError` after ``timeout`` seconds
        (the run goes on).
        """
        view = await self._node.wait(self.id, timeout)
        if not view.ended:
            raise TimeoutError(f"run {self.id} has not ended within {timeout} s; it goes on")
        if view.error is not None:
            raise WorkflowFailed(view.error.name, view.error.message, view.error.details)
        result: R = from_plain(view.result, self._kind)
        return result

    async def status(self) -> RunView:
        """Return the run as it stands."""
        return await self._node.show(self.id)

    def __repr__(self) -> str:
        return f"<run {self.id}>"
