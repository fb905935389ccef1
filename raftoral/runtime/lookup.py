"""Shows runs, on any node: one as it stands, or once it has ended.

Owns the reading of one run. A group that this node is a member of is read here; otherwise a member
is asked. The rule it keeps: who asks for one run is shown nothing older than what anybody was told
before. A run that has completed here has completed; any other is looked at again behind a read
barrier. What is asked for as ``local`` is what the answering member has applied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from raftoral.codec import unpack
from raftoral.errors import UnknownRun
from raftoral.machines import runs, search
from raftoral.machines.children import parent_of
from raftoral.replay.failures import as_error
from raftoral.replay.history import Ended, decode
from raftoral.runtime.subscriptions import STANDING, Topic
from raftoral.runtime.views import ErrorView, RunView, plain_run, run_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from raftoral.ids import GroupId, RunId
    from raftoral.runtime.executor import Executor
    from raftoral.runtime.routing import Routing
    from raftoral.runtime.subscriptions import Subscriptions
    from raftoral.values import Value


class Lookup:
    """The runs as one node can show them."""

    def __init__(
        self,
        routing: Routing,
        subscriptions: Subscriptions,
        executors: Mapping[GroupId, Executor],
    ) -> None:
        """``executors`` may be asked what a run here waits for."""
        self._routing = routing
        self._subscriptions = subscriptions
        self._executors = executors
        routing.serve("run.show", self._serve_show)

    async def show(self, run_id: str, *, local: bool = False) -> RunView:
        """Return the run as it stands; ``local`` as this member has applied it, if it is one."""
        chosen = runs.check_known_id(run_id)
        group = self._routing.group_of(chosen)
        if self._routing.is_here(group):
            find = self.find if local else self.find_latest
            return self.view(group, await find(group, chosen))
        return run_of(await self._routing.ask(group, "run.show", [run_id]))

    async def _serve_show(self, run_id: str) -> Value:
        return plain_run(await self.show(run_id))

    async def wait(self, run_id: str, timeout: float | None) -> RunView:
        """Return the run once it has ended, or as it stands after ``timeout`` seconds."""
        chosen = runs.check_known_id(run_id)
        group = self._routing.group_of(chosen)

        async def ended() -> RunView | None:
            # Notices of a group that is here are those of this very copy of it.
            view = await self.show(run_id, local=True)
            if view.ended and view.status != runs.COMPLETED:
                view = await self.show(run_id)  # It may have been retried meanwhile.
            return view if view.ended else None

        found = await self._subscriptions.until(Topic(group, chosen, STANDING), ended, timeout)
        return found if found is not None else await self.show(run_id)

    async def appeared(self, run_id: RunId, timeout: float) -> bool:
        """Tell whether a run that was asked for is there, waiting for it at most so many seconds."""

        async def there() -> bool | None:
            try:
                await self.show(run_id, local=True)
            except UnknownRun:
                return None
            return True

        topic = Topic(self._routing.group_of(run_id), run_id, STANDING)
        return bool(await self._subscriptions.until(topic, there, timeout))

    async def next_standing(self, run_id: str, last: RunView | None) -> RunView:
        """Return the run once its status, owner or reason is another than in ``last``."""
        chosen = runs.check_known_id(run_id)
        group = self._routing.group_of(chosen)

        async def another() -> RunView | None:
            view = await self.show(run_id, local=True)
            return view if last is None or _standing(view) != _standing(last) else None

        found = await self._subscriptions.until(Topic(group, chosen, STANDING), another)
        assert found is not None, "there is no limit of time"
        return found

    # -------------------------------------------------------------- one run of a group that is here
    async def find(self, group: GroupId, run_id: RunId) -> runs.Run:
        """Return the run as it stands here; what is not here is looked for behind a barrier."""
        run = runs.find(self._routing.state(group), run_id)
        return run if run is not None else await self._find_behind_barrier(group, run_id)

    async def find_latest(self, group: GroupId, run_id: RunId) -> runs.Run:
        """Return the run no older than anybody was shown it before."""
        run = runs.find(self._routing.state(group), run_id)
        if run is not None and run.status == runs.COMPLETED:
            return run  # the last that happens to it
        return await self._find_behind_barrier(group, run_id)

    async def _find_behind_barrier(self, group: GroupId, run_id: RunId) -> runs.Run:
        await self._routing.barrier(group)
        run = runs.find(self._routing.state(group), run_id)
        if run is None:
            raise UnknownRun(f"no run is called {run_id!r} (or it was forgotten after its time)")
        return run

    def view(self, group: GroupId, run: runs.Run) -> RunView:
        """Return a run of a group that is here as users see it."""
        result: Value = None
        error: ErrorView | None = None
        if not run.live:
            last = decode(runs.last_event(self._routing.state(group), run))
            assert isinstance(last, Ended), "a run that has ended has an end"
            if run.status == runs.COMPLETED:
                result = last.value
            else:
                failure = as_error(last.value)
                error = ErrorView(failure.name, failure.message, failure.details)
        executor = self._executors[group]
        parent = parent_of(run.parent)
        cells = search.cells(self._routing.state(group), run)
        return RunView(
            id=run.id,
            name=run.name,
            version=run.version,
            status=cast("Any", run.status),
            group=group,
            owner=run.owner,
            epoch=run.epoch,
            events=run.length,
            started_at=run.started_at,
            ended_at=run.ended_at or None,
            result=result,
            error=error,
            reason=run.reason or executor.problem(run.id),
            waiting_for=executor.waiting_for(run.id),
            generation=run.generation,
            parent="" if parent is None else parent.id,
            attributes={path: unpack(data) for path, data in cells.items()},
        )


def _standing(view: RunView) -> tuple[object, ...]:
    return view.status, view.owner, view.epoch, view.generation, view.reason
