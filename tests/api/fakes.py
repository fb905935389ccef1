"""A node that keeps its runs in a dictionary: what the HTTP application needs, and no cluster."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

from raftoral.errors import (
    DefinitionRefused,
    RunConflict,
    UnknownDefinition,
    UnknownRun,
    UsageError,
)
from raftoral.ids import Millis
from raftoral.replay.history import Ended, Set, Started, encode
from raftoral.runtime.views import (
    ClusterView,
    DefinitionView,
    ErrorView,
    GroupView,
    HistoryView,
    NodeView,
    RunView,
)


@dataclass
class Handle:
    """What `start_run` returns."""

    id: str


@dataclass
class FakeNode:
    """Runs named ``slow`` never end, runs named ``broken`` fail, all others echo their input."""

    failing: Exception | None = None
    leader: int = 1
    runs: dict[str, RunView] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)
    signals: list[tuple[str, str, Any, str | None]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    others: list[NodeView] = field(default_factory=list)
    removed: list[str | int] = field(default_factory=list)
    looks: int = 2
    """How often a node that leaves is still shown."""

    def _check(self) -> None:
        if self.failing is not None:
            raise self.failing

    async def deploy(self, what: str, *, path: str = "<text>") -> list[DefinitionView]:
        """Refuse a text that says ``broken``."""
        self._check()
        if "broken" in what:
            raise DefinitionRefused(
                f"error[RWF0101]: something else belongs here\n  --> {path}:1:1"
            )
        new = what not in self.texts
        self.texts.append(what)
        return [DefinitionView("order", 1, "rwf", "ab" * 32, new)]

    async def definitions(self) -> list[DefinitionView]:
        """Return one definition."""
        self._check()
        return [DefinitionView("order", 1, "rwf", "ab" * 32)]

    async def start_run(
        self, name: str, input: Any, *, id: str | None = None, version: int | None = None
    ) -> Handle:
        """Start or join, as the contract says."""
        self._check()
        if name == "nothing":
            raise UnknownDefinition("no workflow named nothing is deployed")
        run_id = id or f"r{len(self.runs)}"
        if run_id in self.runs:
            if self.inputs[run_id] != input:
                raise RunConflict(f"run {run_id} has another input")
            return Handle(run_id)
        view = RunView(run_id, name, version or 1, "running", 1, 1, 7, 1, 1_000, waiting_for="ship")
        if name == "broken":
            error = ErrorView("CardDeclined", "no money", {"code": "51"})
            view = replace(view, status="failed", error=error, ended_at=2_000, waiting_for="")
        elif name != "slow":
            view = replace(view, status="completed", result=input, ended_at=2_000, waiting_for="")
        self.runs[run_id] = view
        self.inputs[run_id] = input
        return Handle(run_id)

    async def wait(self, id: str, timeout: float | None) -> RunView:
        """Wait for a run that ends at once or never."""
        view = await self.show(id)
        if view.ended:
            return view
        await asyncio.sleep(timeout or 0)
        return view

    async def show(self, id: str, *, local: bool = False) -> RunView:
        """Return the run."""
        self._check()
        if id not in self.runs:
            raise UnknownRun(f"no run {id}")
        return self.runs[id]

    async def signal(
        self, run_id: str, signal: str, payload: Any, *, id: str | None = None
    ) -> None:
        """Keep the signal."""
        await self.show(run_id)
        self.signals.append((run_id, signal, payload, id))

    async def history(self, id: str, *, local: bool = False) -> HistoryView:
        """Return three events; the copy of node 1, or the local one of node 2."""
        view = await self.show(id)
        events = [
            encode(Started(view.name, 1, "ab" * 32, {}, Millis(1_000), "", 0)),
            encode(Set("status", "paid")),
            encode(Ended("completed", {"total": 3})),
        ]
        digest = hashlib.sha256(b"".join(events)).hexdigest()
        node = 2 if local else 1
        return HistoryView(
            id, view.name, 1, "ab" * 32, node, events, digest, "rwf", "workflow", b"ir"
        )

    async def nodes(self) -> list[NodeView]:
        """Return this node, and others as long as they are there."""
        self._check()
        this = NodeView(1, "a", "127.0.0.1:7400", "127.0.0.1:7480", True, True, "leader", [0, 1])
        if self.removed:
            self.looks -= 1
            self.others = [replace(v, leaving=True) for v in self.others if self.looks > 0]
        return [this, *self.others]

    async def remove_node(self, node: int | str) -> None:
        """Keep who is to leave."""
        self._check()
        if str(node) not in ("1", "2", "b"):
            raise UsageError(f"no node is called {node!r}; there are: 1 (a), 2 (b)")
        self.removed.append(node)

    async def status(self) -> ClusterView:
        """Return one group, led by `leader`."""
        self._check()
        group = GroupView(1, [1], [], self.leader, 2, 9, 9, True, 1)
        return ClusterView("c1", 1, "a", "", [group], await self.nodes(), 1)

    async def list(
        self,
        status: Any = None,
        name: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> list[RunView]:
        """Return runs, newest first, which is the highest id here."""
        self._check()
        views = [
            v
            for key, v in sorted(self.runs.items(), reverse=True)
            if (status is None or v.status == status)
            and (name is None or v.name == name)
            and (after is None or key < after)
        ]
        return views[:limit]
