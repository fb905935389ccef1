"""`Node`: the cluster's member inside an application.

Owns the node's thread. Raft, storage and the workflows run there, in a loop of their own, so that a
busy application cannot hold up heartbeats; async activities run on the application's loop, plain
ones in threads. Every method here may be awaited on the application's loop.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from raftoral.convert import result_type
from raftoral.errors import NodeRemoved, NodeStopped, Unavailable, UsageError
from raftoral.registry.app import Registry
from raftoral.registry.python import as_input
from raftoral.replay.effects import Workflow
from raftoral.runtime.config import HTTP, LISTEN, NodeConfig
from raftoral.runtime.engine import Engine
from raftoral.runtime.histories import Steps
from raftoral.runtime.runs import Run
from raftoral.runtime.state import cluster_view, node_views
from raftoral.security.tls import TlsFiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
    from types import TracebackType

    from raftoral.runtime.views import (
        ClusterView,
        DefinitionView,
        HistoryView,
        NodeView,
        Policy,
        RunView,
        Status,
    )

__all__ = ["HTTP", "LISTEN", "Node"]

T = TypeVar("T")
R = TypeVar("R")


class Node:
    """One member of a cluster: ``async with Node(registry, data="./data") as node: ...``.

    ``registry`` holds the application's workflows and activities. ``data`` is the folder that the
    node owns; None keeps everything in memory. ``listen`` is where peers reach it, ``advertise``
    what they call it if that differs, ``join`` addresses of nodes that are in the cluster (none for
    its first node). ``groups`` is the number of execution groups of a new cluster. ``tls`` is the
    folder that `raftoral certs issue` made for this node, or `TlsFiles`: peers then talk by TLS 1.3.
    Without it they talk in the clear, and anything but loopback needs ``insecure=True``. A node that
    was not heard for ``remove_lost_after`` seconds is removed from the cluster, if others can take
    all its places; None leaves that to people.
    """

    def __init__(
        self,
        registry: Registry | None = None,
        *,
        data: str | Path | None = None,
        listen: str = LISTEN,
        advertise: str | None = None,
        join: Sequence[str] = (),
        groups: int | None = None,
        name: str | None = None,
        http: str | None = None,
        insecure: bool = False,
        tls: str | Path | TlsFiles | None = None,
        remove_lost_after: float | None = None,
        config: NodeConfig | None = None,
    ) -> None:
        self.registry = registry if registry is not None else Registry()
        self.config = config or NodeConfig(
            data=None if data is None else str(data),
            listen=listen,
            advertise=advertise or "",
            http=http or "",
            join=tuple(join),
            groups=groups,
            name=name or "",
            insecure=insecure,
            tls=TlsFiles.of_folder(tls) if isinstance(tls, str | Path) else tls,
            remove_lost_after=(
                None if remove_lost_after is None else timedelta(seconds=remove_lost_after)
            ),
        )
        self.config.checked()
        self._engine: Engine | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # -------------------------------------------------------------- life
    async def start(self) -> Self:
        """Start the node; return when it has its place in the cluster.

        Raises `UsageError` (a port or folder in use, another cluster's data ...), `Unavailable` (no
        seed answers, no leader), `CorruptionError` or `StorageFailed`; nothing stays open then.
        """
        if sys.flags.optimize:
            raise UsageError("a node does not run under `python -O`: its checks are assertions")
        if self._thread is not None:
            raise UsageError("this node is started already")
        application = asyncio.get_running_loop()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="raftoral-node", daemon=True
        )
        self._thread.start()
        try:
            self._engine = await self._call(self._started(application))
        except BaseException:
            await self._end_thread()
            raise
        return self

    async def _started(self, application: asyncio.AbstractEventLoop) -> Engine:
        engine = Engine(self.config, self.registry, application)
        await engine.start()
        return engine

    async def stop(self) -> None:
        """Stop the node. Runs go on elsewhere, or here after the next start."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await self._call(engine.stop())
        await self._end_thread()

    async def _end_thread(self) -> None:
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(thread.join)
        loop.close()

    async def failed(self) -> BaseException:
        """Return, once it happens, what the node cannot go on after: a disk that failed, or its end.

        The end is a `NodeRemoved`: the node left its cluster, or was removed from it.
        """

        async def wait(engine: Engine) -> BaseException:
            return await asyncio.shield(engine.failed)

        return await self._ask(wait)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def id(self) -> int:
        """This node's number in the cluster."""
        return self._running().node

    # -------------------------------------------------------------- definitions
    async def deploy(
        self, what: str | Path | Workflow[Any, Any], *, path: str = "<text>"
    ) -> list[DefinitionView]:
        """Deploy a `.rwf` file (a `Path`), a `.rwf` text, or a Python workflow of the registry.

        ``path`` is what diagnostics call a text. Returns one view a workflow; `DefinitionRefused`
        with every diagnostic if it is broken, or if the version is deployed with another meaning.
        """
        if isinstance(what, Workflow):
            if self.registry.workflows.get((what.name, what.version)) is not what:
                self.registry.add_workflow(what)
                await self._ask(_application_changed)
            return [await self._ask(lambda engine: engine.services.definitions.deploy_python(what))]
        path, text = (str(what), _read(what)) if isinstance(what, Path) else (path, what)
        return await self._ask(lambda engine: engine.services.definitions.deploy_text(path, text))

    async def definitions(self) -> list[DefinitionView]:
        """Return every deployed version."""

        async def look(engine: Engine) -> list[DefinitionView]:
            return engine.services.definitions.definitions()

        return await self._ask(look)

    # -------------------------------------------------------------- runs
    async def start_run(
        self,
        workflow: str | Workflow[Any, Any],
        input: Any = None,
        *,
        id: str | None = None,
        version: int | None = None,
        policy: Policy = "join",
    ) -> Run[Any]:
        """Start a run on ``input`` (a map by name, or a list by position); return its handle.

        Without an ``id`` the run gets one. If it is taken, ``policy`` decides: ``join`` returns the
        run of the same workflow and input, ``reject`` refuses any, and ``retry_failed`` begins
        anew what ended without completing, and joins the rest. What is refused is a `RunConflict`.
        """
        name, version, kind = _target(workflow, version)
        given = {} if input is None else input
        run_id = await self._ask(
            lambda engine: engine.services.requests.start(
                name, given, run_id=id, version=version, policy=policy
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

    async def cancel(self, id: str, *, reason: str = "") -> None:
        """Ask a run to stop: `Cancelled` meets its code at the next effect, then it ends."""
        await self._ask(lambda engine: engine.services.requests.cancel(id, reason))

    async def terminate(self, id: str, *, reason: str = "") -> None:
        """End a run at once: none of its code runs any more, nothing is compensated."""
        await self._ask(lambda engine: engine.services.requests.terminate(id, reason))

    async def pause(self, id: str, *, reason: str = "") -> None:
        """Let a run begin nothing more; what is under way is still settled, timers still count."""
        await self._ask(lambda engine: engine.services.requests.pause(id, reason))

    async def resume(self, id: str) -> None:
        """Let a paused run go on."""
        await self._ask(lambda engine: engine.services.requests.resume(id))

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

    # -------------------------------------------------------------- the cluster
    async def nodes(self) -> list[NodeView]:
        """Return the nodes of the cluster as this one sees them."""

        async def look(engine: Engine) -> list[NodeView]:
            return node_views(engine)

        return await self._ask(look)

    async def remove_node(self, node: int | str) -> None:
        """Have a node, by id or name, leave the cluster for good; `nodes` shows how far that is.

        Its runs are handed over and a spare node takes its places, whether it answers or not. It
        stops once it has left. Asking again is fine. Raises `UsageError` if there is no such node,
        if it is the last one, or if the rest would lose a majority (the message says what to do).
        """
        await self._ask(lambda engine: engine.services.removal.ask(node))

    async def leave(self, timeout: float | None = None) -> None:
        """Leave the cluster for good: return once the others go on without this node, and stop it.

        Raises like `remove_node`, and `Unavailable` if it takes longer than ``timeout`` seconds; it
        goes on leaving then.
        """
        engine = self._running()
        await self.remove_node(engine.node)
        try:
            failure = await asyncio.wait_for(self.failed(), timeout)
        except TimeoutError:
            raise Unavailable(
                f"this node has not left within {timeout:g} s; it goes on leaving, see `nodes`"
            ) from None
        if not isinstance(failure, NodeRemoved):
            raise failure
        await self.stop()

    async def status(self) -> ClusterView:
        """Return the cluster as this node sees it."""

        async def look(engine: Engine) -> ClusterView:
            return cluster_view(engine)

        return await self._ask(look)

    # -------------------------------------------------------------- into the node's thread
    def _running(self) -> Engine:
        if self._engine is None:
            raise NodeStopped("this node is not running; use it inside `async with Node(...)`")
        return self._engine

    async def _ask(self, work: Callable[[Engine], Coroutine[Any, Any, T]]) -> T:
        return await self._call(work(self._running()))

    async def _call(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise NodeStopped("this node is not running")
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    # Last, because its name hides the type `list` from annotations behind it.
    async def list(
        self,
        status: Status | None = None,
        name: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> list[RunView]:
        """Return runs, the one started last first; ``after`` is the last id of the page before."""
        return await self._ask(
            lambda engine: engine.services.listing.page(status, name, limit, after)
        )


async def _application_changed(engine: Engine) -> None:
    engine.application_changed()


def _target(workflow: str | Workflow[Any, Any], version: int | None) -> tuple[str, int | None, Any]:
    if isinstance(workflow, str):
        return workflow, version, Any
    flow = result_type(workflow.function)
    arguments = getattr(flow, "__args__", ())
    return workflow.name, workflow.version, arguments[-1] if arguments else Any


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no UTF-8 text") from None
