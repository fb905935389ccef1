"""What the HTTP application needs from a node, so that it runs over any object that has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Sequence

    from raftoral.runtime.histories import Steps
    from raftoral.runtime.views import (
        ClusterView,
        DefinitionView,
        HistoryView,
        NodeView,
        RunView,
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
        self, name: str, input: Any, *, id: str | None = None, version: int | None = None
    ) -> Awaitable[Started]:
        """Start a run, or join the run of the same id, name and input."""
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
    ) -> Awaitable[Sequence[RunView]]:
        """Return runs, newest first, from behind the run ``after`` on."""
        ...

    def signal(
        self, run_id: str, signal: str, payload: Value, *, id: str | None = None
    ) -> Awaitable[None]:
        """Put a signal into the mailbox of a run; the same ``id`` is one signal."""
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
