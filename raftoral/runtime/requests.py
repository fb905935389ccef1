"""Answers what users ask, on any node: finds the group of a run and goes to where it is.

Owns the way of a request. A group that this node is a member of is answered here; any other request
is passed to a member, whose answer (or typed error) comes back. The rule it keeps: who asks for one
run is shown nothing older than what anybody was told before. A run that has ended here has ended;
one that is missing or goes on here is looked at again behind a read barrier. Lists, and what is
asked for as ``local``, are what the answering member has applied.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, fields, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import uuid4

from raftoral import errors
from raftoral.codec import pack
from raftoral.errors import (
    DefinitionRefused,
    InvalidInput,
    RaftoralError,
    Unavailable,
    UnknownDefinition,
    UnknownRun,
    UsageError,
)
from raftoral.ids import MANAGEMENT, GroupId, Millis, NodeId, RunId, Version
from raftoral.lang.compile import compile_source
from raftoral.lang.render import render_all
from raftoral.lang.source import Source
from raftoral.machines import management, runs
from raftoral.machines.commands import DeployVersion, Signal, StartRun
from raftoral.machines.placement import slot_of
from raftoral.registry import catalog
from raftoral.registry.definition import Definition, python_definition, rwf_definition
from raftoral.replay.failures import as_error
from raftoral.replay.history import Ended, decode
from raftoral.replay.waits import describe_waiting
from raftoral.runtime.views import DefinitionView, ErrorView, HistoryView, RunView

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from raftoral.kv import Reader
    from raftoral.machines.base import Result
    from raftoral.replay.effects import Workflow
    from raftoral.runtime.engine import Engine
    from raftoral.values import Value

WAIT_CHUNK_S: Final = 20.0
"""How long one forwarded wait lasts before it is asked again, so that a lost member is noticed."""

PAGE_BYTES_MAX: Final = 256 * 1024
LIST_MAX: Final = 1_000
LIST_SLICE: Final = 500
"""How many runs are looked at before the loop gets its turn again."""

NAME_LENGTH_MAX: Final = 200


class Requests:
    """The requests of one node; all methods belong to the node's loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._host = engine.host
        methods: dict[str, Callable[..., Awaitable[Value]]] = {
            "run.start": self._serve_start,
            "run.show": self._serve_show,
            "run.wait": self._serve_wait,
            "run.signal": self._serve_signal,
            "run.history": self._serve_history,
            "run.list": self._serve_list,
        }
        for method, serve in methods.items():
            engine.transport.serve(method, self._handler(serve))

    @staticmethod
    def _handler(
        serve: Callable[..., Awaitable[Value]],
    ) -> Callable[[NodeId, Value], Awaitable[Value]]:
        async def handle(_sender: NodeId, body: Value) -> Value:
            if not isinstance(body, list):
                raise UsageError("a request is a list of arguments")
            return await serve(*body)

        return handle

    # -------------------------------------------------------------- definitions
    async def deploy_text(self, path: str, text: str) -> list[DefinitionView]:
        """Compile a `.rwf` source and deploy every workflow in it; `DefinitionRefused` shows why not."""
        compiled = compile_source(Source(path, text))
        if any(each.severity == "error" for each in compiled.diagnostics):
            raise DefinitionRefused(render_all(compiled.diagnostics, Source(path, text)))
        if not compiled.units:
            raise DefinitionRefused(f"{path} holds no workflow, so there is nothing to deploy")
        return [await self.deploy(rwf_definition(unit)) for unit in compiled.units]

    async def deploy_python(self, workflow: Workflow[Any, Any]) -> DefinitionView:
        """Deploy a Python workflow: its name, version and the hash of its code."""
        return await self.deploy(python_definition(workflow))

    async def deploy(self, definition: Definition) -> DefinitionView:
        """Put a definition into the registry; the same meaning again changes nothing."""
        command = DeployVersion(definition.encode()).encode()
        result = await self._propose(MANAGEMENT, command)
        return _definition_view(definition, new=bool(result[1]))

    def definitions(self) -> list[DefinitionView]:
        """Return every deployed version, by name."""
        reader = self._host.groups[MANAGEMENT].state
        return [_definition_view(each) for each in catalog.all_definitions(reader)]

    async def _definition(self, name: str, version: int | None) -> Definition:
        """Return a deployed definition, asking the leader before saying that there is none."""
        reader = self._host.groups[MANAGEMENT].state
        if version is None:
            await self._host.read_barrier(MANAGEMENT, timeout=self._timeout)
        found = catalog.find(reader, name, version)
        if found is None and version is not None:
            await self._host.read_barrier(MANAGEMENT, timeout=self._timeout)
            found = catalog.find(reader, name, version)
        if found is None:
            raise UnknownDefinition(_unknown(reader, name, version))
        return found

    # -------------------------------------------------------------- starting
    async def start(
        self, name: str, given: object, *, run_id: str | None, version: int | None
    ) -> RunId:
        """Start a run, or join the one of the same id, workflow and input; return its id.

        The version is fixed now. `RunConflict` if the id names another run.
        """
        definition = await self._definition(name, version)
        checked = self._engine.loader.checked_input(definition, given)
        chosen = runs.check_run_id(run_id if run_id is not None else f"{name}-{uuid4().hex[:12]}")
        command = StartRun(
            chosen,
            definition.name,
            Version(definition.version),
            definition.meaning_hash,
            pack(checked, floats=True),
            self._host.groups[MANAGEMENT].store.applied,
        )
        group = self.group_of(chosen)
        if group in self._host.groups:
            await self._propose(group, command.encode())
        else:
            await self._ask_member(group, "run.start", [chosen, command.encode()])
        return chosen

    async def _serve_start(self, run_id: str, command: bytes) -> Value:
        await self._propose(self.group_of(RunId(run_id)), command)
        return None

    # -------------------------------------------------------------- looking
    async def show(self, run_id: str, *, local: bool = False) -> RunView:
        """Return the run as it stands; ``local`` as this member has applied it, if it is one."""
        chosen = runs.check_run_id(run_id)
        group = self.group_of(chosen)
        if group in self._host.groups:
            find = self._find if local else self._find_latest
            return self._view(group, await find(group, chosen))
        return _view_from(await self._ask_member(group, "run.show", [run_id]))

    async def _serve_show(self, run_id: str) -> Value:
        return _plain(await self.show(run_id))

    async def wait(self, run_id: str, timeout: float | None) -> RunView:
        """Return the run once it has ended, or as it stands after ``timeout`` seconds."""
        chosen = runs.check_run_id(run_id)
        group = self.group_of(chosen)
        loop = asyncio.get_running_loop()
        until = None if timeout is None else loop.time() + timeout
        while True:
            left = (
                WAIT_CHUNK_S if until is None else max(0.0, min(until - loop.time(), WAIT_CHUNK_S))
            )
            view = await self._wait_once(group, chosen, left)
            if view.ended:
                return view
            if until is not None and loop.time() >= until:
                return await self.show(run_id)

    async def _wait_once(self, group: GroupId, run_id: RunId, seconds: float) -> RunView:
        if group not in self._host.groups:
            wait_ms = int(seconds * 1000)
            return _view_from(
                await self._ask_member(group, "run.wait", [run_id, wait_ms], extra=seconds)
            )
        run = await self._find(group, run_id)
        if run.live:
            executor = self._engine.executors[group]
            ended = executor.ended(run_id)
            try:
                await asyncio.wait({ended}, timeout=seconds)
            finally:
                executor.forget(run_id, ended)
            run = await self._find(group, run_id)
        return self._view(group, run)

    async def _serve_wait(self, run_id: str, wait_ms: int) -> Value:
        chosen = runs.check_run_id(run_id)
        return _plain(await self._wait_once(self.group_of(chosen), chosen, wait_ms / 1000))

    async def _find(self, group: GroupId, run_id: RunId) -> runs.Run:
        """Return the run as it stands here; what is not here is looked for behind a barrier."""
        run = runs.find(self._host.groups[group].state, run_id)
        return run if run is not None else await self._find_behind_barrier(group, run_id)

    async def _find_latest(self, group: GroupId, run_id: RunId) -> runs.Run:
        """Return the run no older than anybody was shown it before."""
        run = runs.find(self._host.groups[group].state, run_id)
        if run is not None and not run.live:
            return run  # the end is the last that happens to it
        return await self._find_behind_barrier(group, run_id)

    async def _find_behind_barrier(self, group: GroupId, run_id: RunId) -> runs.Run:
        await self._host.read_barrier(group, timeout=self._timeout)
        run = runs.find(self._host.groups[group].state, run_id)
        if run is None:
            raise UnknownRun(f"no run is called {run_id!r} (or it was forgotten after its time)")
        return run

    async def listing(
        self, status: str | None, name: str | None, limit: int, after: str | None
    ) -> list[RunView]:
        """Return up to ``limit`` runs of all groups, the one started last first."""
        if not 1 <= limit <= LIST_MAX:
            raise UsageError(f"a list shows 1 to {LIST_MAX} runs at once, not {limit}")
        before = await self.show(after, local=True) if after is not None else None
        pages = await asyncio.gather(
            *(self._list_group(group, status, name, limit, before) for group in self._groups())
        )
        merged = sorted(
            (view for page in pages for view in page),
            key=lambda view: (view.started_at, view.id),
            reverse=True,
        )
        return merged[:limit]

    async def _list_group(
        self,
        group: GroupId,
        status: str | None,
        name: str | None,
        limit: int,
        before: RunView | None,
    ) -> list[RunView]:
        found: list[RunView] = []
        if group in self._host.groups:
            start = None if before is None else (Millis(before.started_at), RunId(before.id))
            listed = runs.newest_first(self._host.groups[group].state, start)
            for seen, run in enumerate(listed, start=1):
                if (status is None or run.status == status) and (name is None or run.name == name):
                    found.append(self._view(group, run))
                    if len(found) == limit:
                        break
                if seen % LIST_SLICE == 0:
                    await asyncio.sleep(0)  # A long list must not hold up heartbeats.
            return found
        while len(found) < limit:
            marker: Value = None if before is None else [before.started_at, before.id]
            wanted: list[Value] = [group, status, name, limit - len(found), marker]
            answer = await self._ask_member(group, "run.list", wanted)
            page, more = cast("tuple[list[Value], bool]", answer)
            found += [_view_from(each) for each in page]
            if not more:
                break
            before = found[-1]
        return found

    async def _serve_list(
        self,
        group: int,
        status: str | None,
        name: str | None,
        limit: int,
        marker: list[Any] | None,
    ) -> Value:
        """Answer with as many views as fit one message, and whether there are more."""
        before = None
        if marker is not None:
            before = replace(_NO_RUN, started_at=marker[0], id=marker[1])
        page: list[Value] = []
        size = 0
        for view in await self._list_group(GroupId(group), status, name, limit, before):
            plain = _plain(view)
            size += len(pack(plain, floats=True, bytes_max=2 * PAGE_BYTES_MAX))
            if page and size > PAGE_BYTES_MAX:
                return [page, True]
            page.append(plain)
        return [page, False]

    # -------------------------------------------------------------- signals and histories
    async def signal(self, run_id: str, name: str, payload: object, signal_id: str | None) -> None:
        """Put a signal into a run's mailbox; the same ``signal_id`` is one signal."""
        chosen = runs.check_run_id(run_id)
        mark = signal_id if signal_id is not None else uuid4().hex
        for text in (name, mark):
            if not text or "/" in text or len(text) > NAME_LENGTH_MAX:
                raise UsageError(
                    f"{text!r:.60} cannot name a signal: use 1 to {NAME_LENGTH_MAX} characters "
                    "without '/'"
                )
        view = await self.show(chosen, local=True)
        definition = await self._definition(view.name, view.version)
        checked = self._engine.loader.checked_signal(definition, name, payload)
        command = Signal(chosen, name, mark, pack(checked, floats=True))
        group = self.group_of(chosen)
        if group in self._host.groups:
            await self._propose(group, command.encode())
        else:
            await self._ask_member(group, "run.signal", [chosen, command.encode()])

    async def _serve_signal(self, run_id: str, command: bytes) -> Value:
        await self._propose(self.group_of(RunId(run_id)), command)
        return None

    async def history(self, run_id: str, *, local: bool) -> HistoryView:
        """Return a run's settled steps; ``local`` reads what this very node has stored."""
        chosen = runs.check_run_id(run_id)
        group = self.group_of(chosen)
        if group not in self._host.groups:
            if local:
                raise UsageError(
                    f"this node is no member of group {group}, so it keeps no history of {run_id}"
                )
            return await self._history_elsewhere(group, chosen)
        if local:
            run = runs.find(self._host.groups[group].state, chosen)
            if run is None:
                raise UnknownRun(f"this node has not applied a run called {run_id!r}")
        else:
            run = await self._find_latest(group, chosen)
        events = runs.history(self._host.groups[group].state, chosen)
        return self._with_source(
            HistoryView(
                run.id,
                run.name,
                run.version,
                run.meaning_hash,
                self._engine.node,
                events,
                sha256(b"".join(events)).hexdigest(),
            )
        )

    def _with_source(self, view: HistoryView) -> HistoryView:
        """Add the definition, which every node has."""
        definition = catalog.find(self._host.groups[MANAGEMENT].state, view.name, view.version)
        if definition is None:
            return view
        return replace(view, kind=definition.kind, source=definition.source, ir=definition.ir)

    async def _history_elsewhere(self, group: GroupId, run_id: RunId) -> HistoryView:
        """Fetch a history page by page; it only grows, so the pages fit together."""
        events: list[bytes] = []
        while True:
            answer = await self._ask_member(group, "run.history", [run_id, len(events)])
            head, page, total = cast("tuple[dict[str, Any], list[bytes], int]", answer)
            events += page
            if len(events) >= total or not page:
                digest = sha256(b"".join(events)).hexdigest()
                whole = HistoryView(**{**head, "events": events, "sha256": digest})
                return self._with_source(whole)

    async def _serve_history(self, run_id: str, start: int) -> Value:
        view = await self.history(run_id, local=False)
        page: list[bytes] = []
        size = 0
        for data in view.events[start:]:
            size += len(data)
            if page and size > PAGE_BYTES_MAX:
                break
            page.append(data)
        head = {**asdict(view), "events": [], "source": "", "ir": b""}
        return cast("Value", [head, page, len(view.events)])

    # -------------------------------------------------------------- the way of a request
    @property
    def _timeout(self) -> float:
        return self._engine.config.request_timeout_s

    def group_of(self, run_id: RunId) -> GroupId:
        """Return the execution group that a run belongs to."""
        reader = self._host.groups[MANAGEMENT].state
        if management.cluster(reader) is None:
            raise Unavailable("this node has not heard from its cluster yet; try again")
        return management.group_of_slot(reader, slot_of(run_id))

    def _groups(self) -> list[GroupId]:
        return sorted(management.groups(self._host.groups[MANAGEMENT].state))

    async def _propose(self, group: GroupId, command: bytes) -> Result:
        """Propose, and raise a refusal as the error that it is.

        Every command of a user carries its own id, so a proposal whose fate is unknown is repeated.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._timeout
        while True:
            try:
                left = max(0.1, until - loop.time())
                result = await self._host.propose(group, command, timeout=left)
            except errors.ProposalUnknown:
                if loop.time() >= until:
                    raise
                await asyncio.sleep(0.02)
                continue
            if result[0] == "refused" and result[1] == "wrong_group" and loop.time() < until:
                await asyncio.sleep(0.05)
                continue
            if result[0] == "refused":
                raise _refusal(result)
            return result

    async def _ask_member(
        self, group: GroupId, method: str, body: list[Value], *, extra: float = 0.0
    ) -> Value:
        """Pass a request to members of ``group`` until one answers."""
        members = management.groups(self._host.groups[MANAGEMENT].state).get(group, [])
        others = [node for node in members if node != self._engine.node]
        reached = [node for node in others if node in self._engine.transport.connected()]
        problem: RaftoralError = Unavailable(
            f"no member of group {group} can be reached; try again"
        )
        for member in reached:
            try:
                return await self._engine.transport.call(
                    member, method, body, self._timeout + extra
                )
            except Unavailable as error:
                problem = error
        raise problem

    # -------------------------------------------------------------- views
    def _view(self, group: GroupId, run: runs.Run) -> RunView:
        result: Value = None
        error: ErrorView | None = None
        if not run.live:
            last = decode(runs.last_event(self._host.groups[group].state, run))
            assert isinstance(last, Ended), "a run that has ended has an end"
            if run.status == runs.COMPLETED:
                result = last.value
            else:
                failure = as_error(last.value)
                error = ErrorView(failure.name, failure.message, failure.details)
        waiting = ""
        live = self._engine.executors[group].live.get(run.id)
        if live is not None and live.replay is not None and live.replay.waiting is not None:
            waiting = describe_waiting(live.replay.waiting)
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
            reason=run.reason or ("" if live is None else live.stuck),
            waiting_for=waiting,
        )


_NO_RUN: Final = RunView("", "", 0, "running", 0, 0, 0, 0, 0)


def _plain(view: RunView) -> Value:
    # Not `asdict`, which would take an amount of money in the result apart.
    plain: dict[str, Any] = {field.name: getattr(view, field.name) for field in fields(view)}
    if view.error is not None:
        error = view.error
        plain["error"] = {"name": error.name, "message": error.message, "details": error.details}
    return plain


def _view_from(answer: Value) -> RunView:
    fields = dict(cast("dict[str, Any]", answer))
    error = fields["error"]
    fields["error"] = None if error is None else ErrorView(**error)
    return RunView(**fields)


def _definition_view(definition: Definition, *, new: bool = False) -> DefinitionView:
    return DefinitionView(
        definition.name, definition.version, definition.kind, definition.meaning_hash, new
    )


def _unknown(reader: Reader, name: str, version: int | None) -> str:
    known = sorted({each.name for each in catalog.all_definitions(reader)})
    if version is not None and name in known:
        newest = catalog.find(reader, name)
        assert newest is not None
        return f"workflow {name} has no version {version}; the newest is {newest.version}"
    deployed = f"deployed are: {', '.join(known[:10])}" if known else "nothing is deployed yet"
    return f"no workflow is called {name!r}; {deployed}. Deploy it with `raftoral deploy FILE`"


_BY_CODE: Final = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type)
    and issubclass(kind, RaftoralError)
    and kind not in (errors.NotLeader, errors.NonDeterminismError, errors.WorkflowFailed)
}


def _refusal(result: Result) -> RaftoralError:
    kind = _BY_CODE.get(result[1], InvalidInput)
    return kind(str(result[2]))
