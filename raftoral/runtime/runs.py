"""The handle of one run, as an application holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from raftoral.convert import from_plain
from raftoral.errors import WorkflowFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from raftoral.runtime.facade import RunCalls
    from raftoral.runtime.histories import Steps
    from raftoral.runtime.views import HistoryView, RunView

R = TypeVar("R")


class Run(Generic[R]):
    """A run that was started or joined; `result` waits for its end.

    Its other methods are those of `raftoral.Node` for this run.
    """

    def __init__(self, node: RunCalls, run_id: str, kind: Any = Any) -> None:
        self.id = run_id
        self._node = node
        self._kind = kind

    async def result(self, timeout: float | None = None) -> R:
        """Return the result, as the type that a Python workflow declares.

        Raises `WorkflowFailed` with the run's failure (named ``Cancelled`` or ``Terminated`` if it
        was), and `TimeoutError` after ``timeout`` seconds (the run goes on).
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

    def watch(self) -> AsyncIterator[RunView]:
        """Yield the run as it stands, and again at each change of its standing, until its end."""
        return self._node.watch(self.id)

    async def history(self) -> HistoryView:
        """Return the settled steps."""
        return await self._node.history(self.id)

    def follow(self) -> AsyncIterator[Steps]:
        """Yield the settled steps as they come, until the run has ended."""
        return self._node.follow(self.id)

    async def signal(self, signal: str, payload: Any = None, *, id: str | None = None) -> None:
        """Put a signal into the run's mailbox; the same ``id`` is one signal."""
        await self._node.signal(self.id, signal, payload, id=id)

    async def update(
        self,
        update: str,
        payload: Any = None,
        *,
        id: str | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Send a request to the run and return its answer; the same ``id`` is one request."""
        return await self._node.update(self.id, update, payload, id=id, timeout=timeout)

    async def query(self, query: str, *, consistent: bool = False) -> Any:
        """Return what a query makes of the run's committed cells."""
        return await self._node.query(self.id, query, consistent=consistent)

    async def cancel(self, *, reason: str = "", request: str | None = None) -> None:
        """Ask the run to stop."""
        await self._node.cancel(self.id, reason=reason, request=request)

    async def terminate(self, *, reason: str = "", request: str | None = None) -> None:
        """End the run at once."""
        await self._node.terminate(self.id, reason=reason, request=request)

    async def pause(self, *, reason: str = "", request: str | None = None) -> None:
        """Let the run begin nothing more."""
        await self._node.pause(self.id, reason=reason, request=request)

    async def resume(self, *, request: str | None = None) -> None:
        """Let the paused run go on."""
        await self._node.resume(self.id, request=request)

    async def retry(self) -> int:
        """Let the run go on if it ended without completing; return its new generation."""
        return await self._node.retry(self.id)

    def __repr__(self) -> str:
        return f"<run {self.id}>"
