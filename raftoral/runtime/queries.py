"""Answers questions about a run from its committed cells, without running its workflow.

Owns the way of a query: any node takes it, a member of the run's group that has the workflow's code
answers it, from what it has applied, or behind a read barrier if that is asked for. A query changes
nothing and leaves no trace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from raftoral.codec import pack
from raftoral.errors import (
    InvalidInput,
    LimitExceeded,
    QueryFailed,
    RaftoralError,
    Unavailable,
    UnknownDefinition,
)
from raftoral.machines import runs
from raftoral.replay.history import Set, decode, is_kind
from raftoral.runtime.watchdog import StepTooLong

if TYPE_CHECKING:
    from raftoral.ids import GroupId, RunId
    from raftoral.registry.loader import Loader
    from raftoral.runtime.deploying import Deploying
    from raftoral.runtime.lookup import Lookup
    from raftoral.runtime.routing import Routing
    from raftoral.runtime.watchdog import Watchdog
    from raftoral.values import Value


class Queries:
    """The queries of one node; all methods belong to the node's loop."""

    def __init__(
        self,
        routing: Routing,
        lookup: Lookup,
        definitions: Deploying,
        loader: Loader,
        watchdog: Watchdog,
    ) -> None:
        self._routing = routing
        self._lookup = lookup
        self._definitions = definitions
        self._loader = loader
        self._watchdog = watchdog
        routing.serve("run.query", self._serve_query)

    async def query(self, run_id: str, name: str, *, consistent: bool) -> Value:
        """Return what the query ``name`` of a run answers.

        It is as new as the answering member; with ``consistent`` as new as anything that anybody
        was told before. Raises `UnknownQuery`, `UnknownRun`, or `QueryFailed`.
        """
        chosen = runs.check_known_id(run_id)
        group = self._routing.group_of(chosen)
        problem: RaftoralError | None = None
        if self._routing.is_here(group):
            try:
                return await self._answer(group, chosen, name, consistent=consistent)
            except (UnknownDefinition, Unavailable) as error:
                problem = error
        for member in self._routing.reachable_members(group):
            try:
                return await self._routing.call(member, "run.query", [chosen, name, consistent])
            except (UnknownDefinition, Unavailable) as error:
                problem = error
        raise problem or Unavailable(f"no member of group {group} can be reached; try again")

    async def _serve_query(self, run_id: str, name: str, consistent: bool) -> Value:
        chosen = runs.check_known_id(run_id)
        group = self._routing.group_of(chosen)
        if not self._routing.is_here(group):
            raise Unavailable(f"group {group} is not on this node")
        return await self._answer(group, chosen, name, consistent=consistent)

    async def _answer(self, group: GroupId, run_id: RunId, name: str, *, consistent: bool) -> Value:
        find = self._lookup.find_latest if consistent else self._lookup.find
        run = await find(group, run_id)
        definition = await self._definitions.find(run.name, run.version)
        cells = self._cells(group, run_id)
        try:
            with self._watchdog:
                answer = self._loader.answer(definition, name, cells)
        except StepTooLong:
            raise QueryFailed(
                f"query {name} of {definition} computes for more than {self._watchdog.limit_s:g} s; "
                "keep what it shows in a cell"
            ) from None
        try:
            pack(answer, floats=True)
        except (InvalidInput, LimitExceeded) as error:
            raise QueryFailed(f"the answer of query {name} of {definition}: {error}") from None
        return answer

    def _cells(self, group: GroupId, run_id: RunId) -> dict[str, Value]:
        """Return the committed cells of a run by path: what the last `Set` of each gave it."""
        cells: dict[str, Value] = {}
        for data in runs.history(self._routing.state(group), run_id):
            if is_kind(data, Set):
                path, value = cast("Any", decode(data))
                cells[path] = value
        return cells
