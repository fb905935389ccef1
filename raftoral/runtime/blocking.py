"""`BlockingNode`: a node for an application without an event loop.

Owns a loop in a thread of its own, where async activities run and whose coroutines the callers wait
for. Every method is the one of `Node`, with the same arguments, and blocks until it has its answer.
It may be called from any thread but that one.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from raftoral.errors import NodeStopped, UsageError
from raftoral.registry.python import as_input
from raftoral.runtime.node import Node
from raftoral.runtime.runs import Run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from types import TracebackType
    from typing import Self

    from raftoral.registry.app import Registry
    from raftoral.replay.effects import Workflow
    from raftoral.runtime.views import Policy

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")


def _blocking(
    method: Callable[Concatenate[Node, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[BlockingNode, P], T]:
    """Return a method of `Node` as one that blocks."""

    @functools.wraps(method)
    def call(self: BlockingNode, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._wait(method(self.node, *args, **kwargs))

    return call


def _iterating(
    method: Callable[Concatenate[Node, P], AsyncIterator[T]],
) -> Callable[Concatenate[BlockingNode, P], Iterator[T]]:
    """Return a method of `Node` that yields as one that blocks between its items."""

    @functools.wraps(method)
    def call(self: BlockingNode, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        items = method(self.node, *args, **kwargs)

        async def following() -> T:
            return await anext(items)

        while True:
            try:
                yield self._wait(following())
            except StopAsyncIteration:
                return

    return call


def _of_run(
    method: Callable[Concatenate[Run[R], P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[BlockingRun[R], P], T]:
    """Return a method of `Run` as one that blocks."""

    @functools.wraps(method)
    def call(self: BlockingRun[R], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._node._wait(method(self._run, *args, **kwargs))  # noqa: SLF001  # same module

    return call


class BlockingNode:
    """A member of a cluster: ``with BlockingNode(registry, data="./data") as node: ...``.

    The arguments are those of `Node`.
    """

    def __init__(self, registry: Registry | None = None, **options: Any) -> None:
        self.node = Node(registry, **options)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # -------------------------------------------------------------- life
    def start(self) -> Self:
        """Start the node; return when it has its place in the cluster. See `Node.start`."""
        if self._loop is not None:
            raise UsageError("this node is started already")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="raftoral-application", daemon=True
        )
        self._thread.start()
        try:
            self._wait(self.node.start())
        except BaseException:
            self._end_thread()
            raise
        return self

    def stop(self) -> None:
        """Stop the node. Runs go on elsewhere, or here after the next start."""
        if self._loop is not None:
            self._wait(self.node.stop())
            self._end_thread()

    def _end_thread(self) -> None:
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        assert loop is not None
        assert thread is not None
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def id(self) -> int:
        """This node's number in the cluster."""
        return self.node.id

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None or threading.current_thread() is self._thread:
            work.close()
            if self._loop is None:
                raise NodeStopped(
                    "this node is not running; use it inside `with BlockingNode(...)`"
                )
            raise UsageError("an async activity must not block its loop: use a `Node` there")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    # -------------------------------------------------------------- runs
    def start_run(
        self,
        workflow: str | Workflow[Any, Any],
        input: Any = None,
        *,
        id: str | None = None,
        version: int | None = None,
        policy: Policy = "join",
        request: str | None = None,
    ) -> BlockingRun[Any]:
        """Start a run, or do what ``policy`` says if the id is taken; see `Node.start_run`."""
        run = self._wait(
            self.node.start_run(
                workflow, input, id=id, version=version, policy=policy, request=request
            )
        )
        return BlockingRun(self, run)

    @overload
    def run(
        self,
        workflow: Workflow[Any, R],
        *args: Any,
        id: str | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> R: ...
    @overload
    def run(
        self,
        workflow: str,
        *args: Any,
        id: str | None = None,
        version: int | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> Any: ...
    def run(
        self,
        workflow: str | Workflow[Any, Any],
        *args: Any,
        id: str | None = None,
        version: int | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """Start a run (or join it) and return its result; see `Node.run`."""
        run = self.start_run(workflow, as_input(args, kwargs), id=id, version=version)
        return run.result(timeout)

    def fork(
        self, id: str, position: int, *, new_id: str | None = None, version: int | None = None
    ) -> BlockingRun[Any]:
        """Begin a run with the first ``position`` settled steps of another one."""
        run = self._wait(self.node.fork(id, position, new_id=new_id, version=version))
        return BlockingRun(self, run)

    deploy = _blocking(Node.deploy)
    definitions = _blocking(Node.definitions)
    show = _blocking(Node.show)
    wait = _blocking(Node.wait)
    watch = _iterating(Node.watch)
    history = _blocking(Node.history)
    follow = _iterating(Node.follow)
    query = _blocking(Node.query)
    signal = _blocking(Node.signal)
    update = _blocking(Node.update)
    complete_callback = _blocking(Node.complete_callback)
    fail_callback = _blocking(Node.fail_callback)
    beat_callback = _blocking(Node.beat_callback)
    cancel = _blocking(Node.cancel)
    terminate = _blocking(Node.terminate)
    pause = _blocking(Node.pause)
    resume = _blocking(Node.resume)
    retry = _blocking(Node.retry)
    put_schedule = _blocking(Node.put_schedule)
    schedule = _blocking(Node.schedule)
    schedules = _blocking(Node.schedules)
    pause_schedule = _blocking(Node.pause_schedule)
    resume_schedule = _blocking(Node.resume_schedule)
    drop_schedule = _blocking(Node.drop_schedule)
    trigger_schedule = _blocking(Node.trigger_schedule)
    backfill_schedule = _blocking(Node.backfill_schedule)
    nodes = _blocking(Node.nodes)
    remove_node = _blocking(Node.remove_node)
    leave = _blocking(Node.leave)
    status = _blocking(Node.status)
    failed = _blocking(Node.failed)
    list = _blocking(Node.list)


class BlockingRun(Generic[R]):
    """The handle of a run: `Run` with methods that block."""

    def __init__(self, node: BlockingNode, run: Run[R]) -> None:
        self.id = run.id
        self._node = node
        self._run = run

    result = _of_run(Run[R].result)
    status = _of_run(Run[R].status)
    history = _of_run(Run[R].history)
    signal = _of_run(Run[R].signal)
    update = _of_run(Run[R].update)
    query = _of_run(Run[R].query)
    cancel = _of_run(Run[R].cancel)
    terminate = _of_run(Run[R].terminate)
    pause = _of_run(Run[R].pause)
    resume = _of_run(Run[R].resume)
    retry = _of_run(Run[R].retry)

    def __repr__(self) -> str:
        return f"<run {self.id}>"
