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
from typing import TYPE_CHECKING, Any, Self, TypeVar

from raftoral.errors import NodeRemoved, NodeStopped, Unavailable, UsageError
from raftoral.registry.app import Registry
from raftoral.replay.effects import Workflow
from raftoral.runtime.config import HTTP, LISTEN, NodeConfig
from raftoral.runtime.engine import Engine
from raftoral.runtime.facade import RunCalls, ScheduleCalls
from raftoral.runtime.state import cluster_view, node_views
from raftoral.security.tls import TlsFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from types import TracebackType

    from raftoral.runtime.views import (
        ClusterView,
        DefinitionView,
        NodeView,
    )

__all__ = ["HTTP", "LISTEN", "Node"]

T = TypeVar("T")


class Node(RunCalls, ScheduleCalls):
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

    # -------------------------------------------------------------- the cluster
    async def nodes(self) -> list[NodeView]:
        """Return the nodes of the cluster as this one sees them."""

        async def look(engine: Engine) -> list[NodeView]:
            return node_views(engine)

        return await self._ask(look)

    async def remove_node(self, node: int | str) -> None:
        """Have a node, by id or name, leave the cluster for good; `nodes` shows how far that is.

        Its runs are handed over and a spare node takes its places, whether it answers or not. It
        stops once it has left. Asking again is fine. Raises `UnknownNode` if there is none,
        `UsageError` if it is the last one, or if the rest would lose a majority (the message says what to do).
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


async def _application_changed(engine: Engine) -> None:
    engine.application_changed()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no UTF-8 text") from None
