"""What the HTTP application needs from a node, so that it runs over any object that has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
    from datetime import datetime

    from raftoral.runtime.histories import Steps
    from raftoral.runtime.views import (
        ClusterView,
        DefinitionView,
        HistoryView,
        NodeView,
        Overlap,
        Policy,
        RunView,
        ScheduleView,
    )
    from raftoral.values import Value


class Started(Protocol):
    """The handle of a run that was started or joined."""

    @property
    def id(self) -> str:
        """The run's id."""
        ...


class Backend(Protocol):
    """The coroutines of `raftoral.runtime.node.Node` that the HTTP paths call."""

    def deploy(self, what: str, *, path: str = ...) -> Awaitable[Sequence[DefinitionView]]:
        """Deploy every workflow of a `.rwf` text, which diagnostics call ``path``."""
        ...

    def definitions(self) -> Awaitable[Sequence[DefinitionView]]:
        """Return every deployed version."""
        ...

    def start_run(
        self,
        name: str,
        input: Any,
        *,
        id: str | None = None,
        version: int | None = None,
        policy: Policy = "join",
        request: str | None = None,
    ) -> Awaitable[Started]:
        """Start a run, or do what ``policy`` says if the id is taken."""
        ...

    def fork(
        self, id: str, position: int, *, new_id: str | None = None, version: int | None = None
    ) -> Awaitable[Started]:
        """Begin a run with the first ``position`` settled steps of another one."""
        ...

    def retry(self, id: str, *, generation: int | None = None) -> Awaitable[int]:
        """Let a run that ended without completing go on; return its new generation."""
        ...

    def cancel(self, id: str, *, reason: str = "", request: str | None = None) -> Awaitable[None]:
        """Ask a run to stop."""
        ...

    def terminate(
        self, id: str, *, reason: str = "", request: str | None = None
    ) -> Awaitable[None]:
        """End a run at once."""
        ...

    def pause(self, id: str, *, reason: str = "", request: str | None = None) -> Awaitable[None]:
        """Let a run begin nothing more."""
        ...

    def resume(self, id: str, *, request: str | None = None) -> Awaitable[None]:
        """Let a paused run go on."""
        ...

    def wait(self, id: str, timeout: float | None) -> Awaitable[RunView]:
        """Return the run once it ended, or as it stands after ``timeout`` seconds."""
        ...

    def show(self, id: str, *, local: bool = False) -> Awaitable[RunView]:
        """Return the run as it stands; ``local`` reads this node's own copy, however old."""
        ...

    def list(
        self,
        status: Any = None,
        name: str | None = None,
        limit: int = 100,
        after: str | None = None,
        *,
        version: int | None = None,
        started_after: datetime | None = None,
        started_before: datetime | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Awaitable[Sequence[RunView]]:
        """Return runs, newest first, from behind the run ``after`` on."""
        ...

    def signal(
        self, run_id: str, signal: str, payload: Value, *, id: str | None = None
    ) -> Awaitable[None]:
        """Put a signal into the mailbox of a run; the same ``id`` is one signal."""
        ...

    def update(
        self,
        run_id: str,
        update: str,
        payload: Value,
        *,
        id: str | None = None,
        timeout: float | None = None,
    ) -> Awaitable[Any]:
        """Send a request to a run and return its answer; `TimeoutError` after ``timeout`` s."""
        ...

    def complete_callback(self, token: str, value: Value) -> Awaitable[None]:
        """Complete a step by its token."""
        ...

    def fail_callback(self, token: str, error: BaseException) -> Awaitable[None]:
        """Complete a step by its token, with a failure."""
        ...

    def beat_callback(self, token: str) -> Awaitable[None]:
        """Tell that the holder of a token is still at it."""
        ...

    def put_schedule(
        self,
        id: str,
        workflow: str,
        input: Any = None,
        *,
        when: str,
        zone: str = "UTC",
        version: int | None = None,
        overlap: Overlap = "skip",
        start: datetime | None = None,
        end: datetime | None = None,
        catch_up: str | None = None,
    ) -> Awaitable[ScheduleView]:
        """Store a schedule, in place of the one of this id."""
        ...

    def schedule(self, id: str) -> Awaitable[ScheduleView]:
        """Return a schedule."""
        ...

    def schedules(self) -> Awaitable[Sequence[ScheduleView]]:
        """Return all schedules."""
        ...

    def pause_schedule(
        self, id: str, *, reason: str = "", request: str | None = None
    ) -> Awaitable[None]:
        """Let a schedule fire no more."""
        ...

    def resume_schedule(self, id: str, *, request: str | None = None) -> Awaitable[None]:
        """Let a paused schedule fire again."""
        ...

    def drop_schedule(self, id: str, *, revision: int | None = None) -> Awaitable[None]:
        """Remove a schedule, if it is at ``revision``."""
        ...

    def trigger_schedule(self, id: str, *, at: datetime | None = None) -> Awaitable[str]:
        """Start a run of a schedule now."""
        ...

    def backfill_schedule(
        self, id: str, start: datetime, end: datetime
    ) -> Awaitable[Sequence[str]]:
        """Start the runs of a schedule's times from ``start`` to ``end``."""
        ...

    def history(self, id: str, *, local: bool = False) -> Awaitable[HistoryView]:
        """Return the settled steps; ``local`` reads this node's own copy, however old."""
        ...

    def follow(self, id: str, *, generation: int = 0, position: int = 0) -> AsyncIterator[Steps]:
        """Yield the settled steps as they come, from one on, until the run has ended."""
        ...

    def watch(self, id: str) -> AsyncIterator[RunView]:
        """Yield the run as it stands, and again at each change of its standing, until it ended."""
        ...

    def query(self, run_id: str, query: str, *, consistent: bool = False) -> Awaitable[Any]:
        """Return what a query makes of the run's committed cells."""
        ...

    def nodes(self) -> Awaitable[Sequence[NodeView]]:
        """Return the nodes of the cluster."""
        ...

    def remove_node(self, node: int | str) -> Awaitable[None]:
        """Have a node leave the cluster for good; asking again changes nothing."""
        ...

    def status(self) -> Awaitable[ClusterView]:
        """Return the cluster as this node sees it."""
        ...
