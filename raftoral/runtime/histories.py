"""The settled steps of runs: fetched whole, or followed as they are settled.

Owns the paging of histories between nodes. A history only grows within one generation of its run,
so pages fit together; in another generation it begins anew.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from raftoral.errors import UnknownRun, UsageError
from raftoral.ids import GroupId, RunId
from raftoral.machines import runs
from raftoral.runtime.subscriptions import STEPS, Topic
from raftoral.runtime.views import HistoryView

if TYPE_CHECKING:
    from raftoral.runtime.deploying import Deploying
    from raftoral.runtime.lookup import Lookup
    from raftoral.runtime.routing import Routing
    from raftoral.runtime.subscriptions import Subscriptions
    from raftoral.runtime.views import RunView
    from raftoral.values import Value

PAGE_BYTES_MAX: Final = 256 * 1024


class Steps(NamedTuple):
    """Some settled steps of one generation of a run, from ``position`` on, as canonical bytes.

    ``complete`` tells that the run has ended with the last of them.
    """

    generation: int
    position: int
    events: list[bytes]
    complete: bool


class Beginning(NamedTuple):
    """The first events of a run, and the run as it stood then."""

    run: RunView
    events: list[bytes]


class Histories:
    """The histories as one node can show them."""

    def __init__(
        self,
        routing: Routing,
        subscriptions: Subscriptions,
        lookup: Lookup,
        definitions: Deploying,
    ) -> None:
        self._routing = routing
        self._subscriptions = subscriptions
        self._lookup = lookup
        self._definitions = definitions
        routing.serve("run.history", self._serve_history)
        routing.serve("run.steps", self._serve_steps)

    # -------------------------------------------------------------- whole
    async def history(self, run_id: str, *, local: bool) -> HistoryView:
        """Return a run's settled steps; ``local`` reads what this very node has stored."""
        chosen = runs.check_known_id(run_id)
        group = self._routing.group_of(chosen)
        if not self._routing.is_here(group):
            if local:
                raise UsageError(
                    f"this node is no member of group {group}, so it keeps no history of {run_id}"
                )
            return await self._history_elsewhere(group, chosen)
        if local:
            run = runs.find(self._routing.state(group), chosen)
            if run is None:
                raise UnknownRun(f"this node has not applied a run called {run_id!r}")
        else:
            run = await self._lookup.find_latest(group, chosen)
        events = runs.history(self._routing.state(group), chosen)
        return self._with_source(
            HistoryView(
                run.id,
                run.name,
                run.version,
                run.meaning_hash,
                self._routing.node,
                events,
                sha256(b"".join(events)).hexdigest(),
            )
        )

    def _with_source(self, view: HistoryView) -> HistoryView:
        """Add the definition, which every node has."""
        definition = self._definitions.known(view.name, view.version)
        if definition is None:
            return view
        return replace(view, kind=definition.kind, source=definition.source, ir=definition.ir)

    async def _history_elsewhere(self, group: GroupId, run_id: RunId) -> HistoryView:
        """Fetch a history page by page."""
        events: list[bytes] = []
        while True:
            answer = await self._routing.ask(group, "run.history", [run_id, len(events)])
            head, page, total = cast("tuple[dict[str, Any], list[bytes], int]", answer)
            events += page
            if len(events) >= total or not page:
                digest = sha256(b"".join(events)).hexdigest()
                whole = HistoryView(**{**head, "events": events, "sha256": digest})
                return self._with_source(whole)

    async def _serve_history(self, run_id: str, start: int) -> Value:
        view = await self.history(run_id, local=False)
        head = {**asdict(view), "events": [], "source": "", "ir": b""}
        return cast("Value", [head, _cut(view.events[start:]), len(view.events)])

    async def beginning(self, run_id: str, count: int) -> Beginning:
        """Return the first ``count`` events of a run; `UsageError` if it has fewer."""
        view = await self._lookup.show(run_id)
        chosen, group = RunId(view.id), GroupId(view.group)
        events: list[bytes] = []
        while len(events) < count:
            steps = await self._steps(group, chosen, view.generation, len(events))
            if steps.generation != view.generation:
                return await self.beginning(run_id, count)  # It began anew meanwhile.
            if not steps.events:
                raise UsageError(f"run {run_id} has {len(events):,} events, not {count:,}")
            events += steps.events
        return Beginning(view, events[:count])

    # -------------------------------------------------------------- followed
    async def next_steps(self, run_id: str, generation: int, position: int) -> Steps:
        """Return the next steps of a run from one on, once there are any or it has ended.

        ``position`` counts in ``generation``; in a later generation the steps begin at 0.
        """
        chosen = runs.check_known_id(run_id)
        topic = Topic(self._routing.group_of(chosen), chosen, STEPS)

        async def more() -> Steps | None:
            steps = await self._steps(topic.group, chosen, generation, position)
            return steps if steps.events or steps.complete else None

        found = await self._subscriptions.until(topic, more)
        assert found is not None, "there is no limit of time"
        return found

    async def _steps(self, group: GroupId, run_id: RunId, generation: int, position: int) -> Steps:
        if not self._routing.is_here(group):
            answer = await self._routing.ask(group, "run.steps", [run_id, generation, position])
            return Steps(*cast("Any", answer))
        run = await self._lookup.find(group, run_id)
        start = position if run.generation == generation else 0
        events = _cut(runs.history(self._routing.state(group), run_id, start))
        complete = not run.live and start + len(events) >= run.length
        return Steps(run.generation, start, events, complete)

    async def _serve_steps(self, run_id: str, generation: int, position: int) -> Value:
        chosen = runs.check_known_id(run_id)
        group = self._routing.group_of(chosen)
        await self._lookup.find_latest(group, chosen)
        return cast("Value", [*await self._steps(group, chosen, generation, position)])


def _cut(events: list[bytes]) -> list[bytes]:
    """Return as many events as one message takes, at least one if there is any."""
    size = 0
    for count, data in enumerate(events):
        size += len(data)
        if count and size > PAGE_BYTES_MAX:
            return events[:count]
    return events
