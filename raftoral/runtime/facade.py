"""What an application asks of a node about runs and schedules: the methods that `Node` has.

Owns their signatures and the conversions at the edge: times, durations, workflows. Each is asked in
the node's own loop and awaited in the application's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from raftoral.codec import pack
from raftoral.convert import result_type, to_plain
from raftoral.errors import UsageError
from raftoral.machines.listing import Filter
from raftoral.registry.python import as_input
from raftoral.replay.effects import Workflow, as_span
from raftoral.runtime.histories import Steps
from raftoral.runtime.runs import Run
from raftoral.runtime.views import SpecView
from raftoral.values import millis_of, millis_since_epoch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
    from datetime import datetime

    from raftoral.replay.effects import Span
    from raftoral.runtime.engine import Engine
    from raftoral.runtime.views import (
        HistoryView,
        Overlap,
        Policy,
        RunView,
        ScheduleView,
        Status,
    )

T = TypeVar("T")
R = TypeVar("R")

CATCH_UP: Final = "7d"
"""How late the run of a schedule may begin, if its user says nothing."""


class Asking(ABC):
    """Somebody who can ask a node."""

    @abstractmethod
    async def _ask(self, work: Callable[[Engine], Coroutine[Any, Any, T]]) -> T:
        """Do a piece of work in the node's own loop."""


class RunCalls(Asking):
    """What can be asked about runs."""

    # -------------------------------------------------------------- starting and ending
    async def start_run(
        self,
        workflow: str | Workflow[Any, Any],
        input: Any = None,
        *,
        id: str | None = None,
        version: int | None = None,
        policy: Policy = "join",
        request: str | None = None,
    ) -> Run[Any]:
        """Start a run on ``input`` (a map by name, or a list by position); return its handle.

        Without an ``id`` the run gets one. If it is taken, ``policy`` decides: ``join`` returns the
        run of the same workflow and input, ``reject`` refuses any, and ``retry_failed`` begins
        anew what ended without completing, and joins the rest. What is refused is a `RunConflict`.
        Asked again with the same ``request``, it is one start under every policy.
        """
        name, version, kind = target(workflow, version)
        given = {} if input is None else input
        run_id = await self._ask(
            lambda engine: engine.services.requests.start(
                name, given, run_id=id, version=version, policy=policy, request=request
            )
        )
        return Run(self, run_id, kind)

    @overload
    async def run(
        self,
        workflow: Workflow[Any, R],
        *args: Any,
        id: str | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> R: ...
    @overload
    async def run(
        self,
        workflow: str,
        *args: Any,
        id: str | None = None,
        version: int | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> Any: ...
    async def run(
        self,
        workflow: str | Workflow[Any, Any],
        *args: Any,
        id: str | None = None,
        version: int | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """Start a run (or join it, see `start_run`) and return its result; see `Run.result`."""
        run = await self.start_run(workflow, as_input(args, kwargs), id=id, version=version)
        return await run.result(timeout)

    # -------------------------------------------------------------- looking
    async def show(self, id: str, *, local: bool = False) -> RunView:
        """Return a run as it stands, or as this node has applied it; `UnknownRun` if there is none."""
        return await self._ask(lambda engine: engine.services.lookup.show(id, local=local))

    async def wait(self, id: str, timeout: float | None = None) -> RunView:
        """Return a run once it has ended, or as it stands after ``timeout`` seconds."""
        return await self._ask(lambda engine: engine.services.lookup.wait(id, timeout))

    async def signal(
        self, run_id: str, signal: str, payload: Any = None, *, id: str | None = None
    ) -> None:
        """Put a signal into a run's mailbox; sent again with the same ``id`` it is one signal."""
        await self._ask(lambda engine: engine.services.requests.signal(run_id, signal, payload, id))

    async def update(
        self,
        run_id: str,
        update: str,
        payload: Any = None,
        *,
        id: str | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Send a request to a run and return its answer; sent again with the same ``id`` it is one.

        `UpdateRefused` if the workflow's handler refuses it, `RunEnded` if the run ends before it
        answers, `TimeoutError` after ``timeout`` seconds.
        """
        return await self._ask(
            lambda engine: engine.services.requests.update(run_id, update, payload, id, timeout)
        )

    async def cancel(self, id: str, *, reason: str = "", request: str | None = None) -> None:
        """Ask a run to stop: `Cancelled` meets its code at the next effect, then it ends.

        Asked again with the same ``request``, a run is cancelled, terminated, paused or resumed once,
        however late the first asking takes effect; the last 64 ids are remembered.
        """
        await self._ask(lambda engine: engine.services.requests.cancel(id, reason, request))

    async def terminate(self, id: str, *, reason: str = "", request: str | None = None) -> None:
        """End a run at once: none of its code runs any more, nothing is compensated."""
        await self._ask(lambda engine: engine.services.requests.terminate(id, reason, request))

    async def pause(self, id: str, *, reason: str = "", request: str | None = None) -> None:
        """Let a run begin nothing more; what is under way is still settled, timers still count."""
        await self._ask(lambda engine: engine.services.requests.pause(id, reason, request))

    async def resume(self, id: str, *, request: str | None = None) -> None:
        """Let a paused run go on."""
        await self._ask(lambda engine: engine.services.requests.resume(id, request))

    async def retry(self, id: str, *, generation: int | None = None) -> int:
        """Let a run that failed, was cancelled or terminated go on from before what it failed by.

        ``generation`` is the one that ended; retried again, nothing happens. Returns the one that
        goes on now.
        """
        return await self._ask(lambda engine: engine.services.forking.retry(id, generation))

    async def fork(
        self, id: str, position: int, *, new_id: str | None = None, version: int | None = None
    ) -> Run[Any]:
        """Begin a run with the first ``position`` settled steps of another one; return its handle.

        It goes on from there under the same version, or under another one that those steps fit.
        """
        made = await self._ask(
            lambda engine: engine.services.forking.fork(id, position, new_id, version)
        )
        return Run(self, made)

    async def complete_callback(self, token: str, value: Any = None) -> None:
        """Complete a step that waits for whoever holds ``token``, with its result.

        The same completion again is fine; another one is refused with `CallbackOver`.
        """
        await self._ask(lambda engine: engine.services.requests.complete_callback(token, value))

    async def fail_callback(self, token: str, error: BaseException) -> None:
        """Complete a step that waits for whoever holds ``token``, with a failure."""
        await self._ask(lambda engine: engine.services.requests.fail_callback(token, error))

    async def beat_callback(self, token: str) -> None:
        """Tell that the holder of ``token`` is still at it, for a callback with a heartbeat."""
        await self._ask(lambda engine: engine.services.requests.beat_callback(token))

    async def query(self, run_id: str, query: str, *, consistent: bool = False) -> Any:
        """Return what a query of a run's workflow makes of the run's committed cells.

        Answered by a member of the run's group from its own copy; with ``consistent`` that copy is
        first brought up to date. `UnknownQuery` lists the queries there are; `QueryFailed` tells of
        an error inside the query.
        """
        return await self._ask(
            lambda engine: engine.services.queries.query(run_id, query, consistent=consistent)
        )

    async def history(self, id: str, *, local: bool = False) -> HistoryView:
        """Return a run's settled steps; ``local`` reads what this very node has stored."""
        return await self._ask(lambda engine: engine.services.histories.history(id, local=local))

    async def watch(self, id: str) -> AsyncIterator[RunView]:
        """Yield a run as it stands, and again when its status, owner or reason changed.

        The last view is the one of its end.
        """
        view: RunView | None = None
        while view is None or not view.ended:
            view = await self._standing_after(id, view)
            yield view

    async def _standing_after(self, id: str, last: RunView | None) -> RunView:
        return await self._ask(lambda engine: engine.services.lookup.next_standing(id, last))

    async def follow(
        self, id: str, *, generation: int = 0, position: int = 0
    ) -> AsyncIterator[Steps]:
        """Yield a run's settled steps as they come, some at a time, until it has ended.

        Begins at ``position`` of ``generation``; of a later generation at its first step.
        """
        steps = Steps(generation, position, [], complete=False)
        while not steps.complete:
            steps = await self._steps_after(id, steps)
            yield steps

    async def _steps_after(self, id: str, last: Steps) -> Steps:
        position = last.position + len(last.events)
        return await self._ask(
            lambda engine: engine.services.histories.next_steps(id, last.generation, position)
        )

    # Last, because its name hides the type `list` from annotations behind it.
    async def list(
        self,
        status: Status | None = None,
        name: str | None = None,
        limit: int = 100,
        after: str | None = None,
        *,
        version: int | None = None,
        started_after: datetime | None = None,
        started_before: datetime | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> list[RunView]:
        """Return runs, the one started last first; ``after`` is the last id of the page before.

        What is None may be anything. ``started_after`` is inclusive. ``attributes`` are values that
        cells must have; only cells that the workflow names in ``search`` are found.
        """
        cells = {
            path: pack(to_plain(value), floats=True) for path, value in (attributes or {}).items()
        }
        wanted = Filter(
            status, name, version, _moment(started_after), _moment(started_before), cells
        )
        return await self._ask(lambda engine: engine.services.listing.page(wanted, limit, after))


class ScheduleCalls(Asking):
    """What can be asked about schedules."""

    async def put_schedule(
        self,
        id: str,
        workflow: str | Workflow[Any, Any],
        input: Any = None,
        *,
        when: str,
        zone: str = "UTC",
        version: int | None = None,
        overlap: Overlap = "skip",
        start: datetime | None = None,
        end: datetime | None = None,
        catch_up: Span | None = None,
    ) -> ScheduleView:
        """Store a schedule that starts runs of a workflow, in place of the one of this ``id``.

        ``when`` is a cron expression such as ``"0 9 * * MON-FRI"`` by the clock of ``zone``, or an
        interval such as ``"every 15m"``. The run of a time is called ``id@2026-11-25T09:00:00Z``.
        ``overlap`` says what happens while the last run goes on. Times that were missed while no
        node was there run later, but none that is more than ``catch_up`` late (seven days if not
        given), and of those the newest 1,000; the others are counted as left out, up to 1,000 at a
        time. Without a version each run is of the newest one.
        """
        name, pinned, _ = target(workflow, version)
        spec = SpecView(
            name=name,
            when=when,
            input={} if input is None else input,
            version=pinned or 0,
            zone=zone,
            overlap=overlap,
            start_at=_moment(start) or 0,
            end_at=_moment(end) or 0,
            catch_up_ms=max(1, millis_of(as_span(CATCH_UP if catch_up is None else catch_up))),
        )
        return await self._ask(lambda engine: engine.services.schedules.put(id, spec))

    async def schedule(self, id: str) -> ScheduleView:
        """Return a schedule as it stands; `UnknownSchedule` if there is none."""
        return await self._ask(lambda engine: engine.services.schedules.show(id))

    async def schedules(self) -> list[ScheduleView]:
        """Return all schedules, by id."""
        return await self._ask(lambda engine: engine.services.schedules.all())

    async def pause_schedule(
        self, id: str, *, reason: str = "", request: str | None = None
    ) -> None:
        """Let a schedule fire no more; times that come meanwhile are not made up for."""
        await self._ask(lambda engine: engine.services.schedules.pause(id, reason, request))

    async def resume_schedule(self, id: str, *, request: str | None = None) -> None:
        """Let a paused schedule fire again, from now on."""
        await self._ask(lambda engine: engine.services.schedules.resume(id, request))

    async def drop_schedule(self, id: str, *, revision: int | None = None) -> None:
        """Remove a schedule; its runs go on. One that is not there is fine.

        `ScheduleConflict` if it is not at ``revision`` any more.
        """
        await self._ask(lambda engine: engine.services.schedules.drop(id, revision))

    async def trigger_schedule(self, id: str, *, at: datetime | None = None) -> str:
        """Start a run of a schedule now, whatever goes on; return the run's id.

        The same moment ``at`` is one run, so that asking again is safe.
        """
        moment = _moment(at)
        return await self._ask(lambda engine: engine.services.schedules.trigger(id, moment))

    async def backfill_schedule(self, id: str, start: datetime, end: datetime) -> list[str]:
        """Start the runs of a schedule's times from ``start`` to ``end``, both included.

        At most 1,000, whatever goes on. Returns their ids; those that were there are joined.
        """
        first, last = moment_of(start), moment_of(end)
        return [
            *await self._ask(lambda engine: engine.services.schedules.backfill(id, first, last))
        ]


def moment_of(at: datetime) -> int:
    """Return a datetime as milliseconds since 1970; `UsageError` for one without a zone."""
    if at.tzinfo is None:
        raise UsageError(f"{at} has no zone; write one such as datetime.now(UTC)")
    return millis_since_epoch(at)


def _moment(at: datetime | None) -> int | None:
    return None if at is None else moment_of(at)


def target(workflow: str | Workflow[Any, Any], version: int | None) -> tuple[str, int | None, Any]:
    """Return name, version and result type of what is to be started."""
    if isinstance(workflow, str):
        return workflow, version, Any
    flow = result_type(workflow.function)
    arguments = getattr(flow, "__args__", ())
    return workflow.name, workflow.version, arguments[-1] if arguments else Any
