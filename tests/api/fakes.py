"""A node that keeps its runs in a dictionary: what the HTTP application needs, and no cluster."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from raftoral.errors import (
    DefinitionRefused,
    RunConflict,
    UnknownDefinition,
    UnknownNode,
    UnknownRun,
)
from raftoral.ids import Millis
from raftoral.replay.history import Ended, Set, Started, encode
from raftoral.runtime.histories import Steps
from raftoral.runtime.views import (
    ClusterView,
    DefinitionView,
    ErrorView,
    GroupView,
    HistoryView,
    NodeView,
    RunView,
    ScheduleView,
    SpecView,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


SCHEDULE = ScheduleView(
    "nightly", SpecView("report", "0 3 * * *", {"day": 1}), 7, next_at=9_000, fired=2
)

ANSWERS: dict[str, Any] = {
    "update": {"total": 3},
    "query": {"done": 3},
    "retry": 4,
    "put_schedule": SCHEDULE,
    "schedule": SCHEDULE,
    "schedules": [SCHEDULE],
    "trigger_schedule": "nightly@1",
    "backfill_schedule": ["nightly@1", "nightly@2"],
}


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
    policies: list[str] = field(default_factory=list)
    requests: list[str | None] = field(default_factory=list)
    filters: dict[str, Any] = field(default_factory=dict)
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    breaks: Exception | None = None
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

    def __getattr__(self, name: str) -> Any:
        """Return a coroutine function that keeps its call, and answers as `ANSWERS` has it."""
        if name.startswith("_"):
            raise AttributeError(name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._check()
            self.calls.append((name, args, kwargs))
            answer = ANSWERS.get(name)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return call

    async def start_run(
        self,
        name: str,
        input: Any,
        *,
        id: str | None = None,
        version: int | None = None,
        policy: str = "join",
        request: str | None = None,
    ) -> Handle:
        """Start or join, as the contract says."""
        self._check()
        self.policies.append(policy)
        self.requests.append(request)
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

    async def fork(
        self, id: str, position: int, *, new_id: str | None = None, version: int | None = None
    ) -> Handle:
        """Give the copy another id."""
        view = await self.show(id)
        self.runs[new_id or "fork"] = replace(view, id=new_id or "fork", events=position)
        return Handle(new_id or "fork")

    async def watch(self, id: str) -> AsyncIterator[RunView]:
        """Show the run; one that goes on is shown running, then paused, then nothing happens."""
        view = await self.show(id)
        yield view
        if not view.ended:
            yield replace(view, status="paused", reason="lunch")
            await asyncio.sleep(60)

    async def follow(
        self, id: str, *, generation: int = 0, position: int = 0
    ) -> AsyncIterator[Steps]:
        """Give the history of generation 1, two steps at a time; break off if it is to fail."""
        events = (await self.history(id)).events
        start = position if generation == 1 else 0
        yield Steps(1, start, events[start : start + 2], complete=False)
        if self.breaks is not None:
            error, self.breaks = self.breaks, None
            raise error
        yield Steps(1, start + 2, events[start + 2 :], complete=True)

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
            raise UnknownNode(f"no node is called {node!r}; there are: 1 (a), 2 (b)")
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
        **filters: Any,
    ) -> list[RunView]:
        """Return runs, newest first, which is the highest id here."""
        self._check()
        self.filters = filters
        views = [
            v
            for key, v in sorted(self.runs.items(), reverse=True)
            if (status is None or v.status == status)
            and (name is None or v.name == name)
            and (after is None or key < after)
        ]
        return views[:limit]
