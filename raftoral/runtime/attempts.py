"""Runs one attempt of an activity, outside replay.

Owns the way into the application and back: a coroutine function runs on the application's loop, a
plain one in a thread. The rules it keeps: an activity gets copies of its arguments, so it cannot
change the workflow's variables; whatever it does, what comes out is a value that can be stored or
an exception that a future can carry.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any

from raftoral.errors import WorkflowFailed
from raftoral.replay.context import ActivityContext, attempt_context
from raftoral.replay.packing import pack_result

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from raftoral.registry.app import Registry
    from raftoral.replay.effects import Compute
    from raftoral.values import Value


class Attempts:
    """Runs attempts for one node; ``application`` is the loop that async activities run on."""

    def __init__(
        self, registry: Registry, application: asyncio.AbstractEventLoop, threads: int
    ) -> None:
        self._registry = registry
        self._application = application
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="raftoral-activity")

    async def run(self, effect: Compute[Any], context: ActivityContext) -> Value:
        """Return the result of one attempt, ready to be stored.

        Raises whatever the activity raises, `WorkflowFailed` named ``Timeout`` after the attempt's
        limit, and ``BadResult`` for a result that cannot be stored. `asyncio.CancelledError` says
        that the application stops: the attempt is neither a success nor a failure.
        """
        function = self._function(effect)
        args, kwargs = deepcopy((effect.call.args, dict(effect.call.kwargs)))
        variables = copy_context()
        variables.run(attempt_context.set, context)
        call = partial(function, *args, **kwargs)
        if inspect.iscoroutinefunction(function):
            work = self._on_application(call, variables)
        else:
            work = self._in_thread(call, variables)
        result = await _within(effect.options.within, asyncio.ensure_future(work))
        return pack_result(effect, result)

    def _function(self, effect: Compute[Any]) -> Callable[..., Any]:
        if effect.call.function is not None:
            return effect.call.function
        activity = self._registry.activities.get(effect.call.activity)
        if activity is None:
            raise WorkflowFailed("UnknownActivity", f"no activity {effect.call.activity!r} here")
        function: Callable[..., Any] = activity.function
        return function

    async def _in_thread(self, call: Callable[[], Any], variables: Context) -> Any:
        loop = asyncio.get_running_loop()
        result = await loop.run_in_executor(self._threads, variables.run, _contained, call)
        if inspect.isawaitable(result):
            # A plain function around a coroutine function, as many decorators make.
            return await self._on_application(lambda: result, variables)
        return result

    async def _on_application(self, call: Callable[[], Any], variables: Context) -> Any:
        if self._application.is_closed():
            raise asyncio.CancelledError
        loop = asyncio.get_running_loop()
        if self._application is loop:
            return await loop.create_task(_awaited(call), context=variables)
        crossing = variables.run(
            asyncio.run_coroutine_threadsafe, _awaited(call), self._application
        )
        return await asyncio.wrap_future(crossing)

    def close(self) -> None:
        """Take no more work; threads that still run are left to end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)


async def _within(limit: timedelta | None, work: asyncio.Future[Any]) -> Any:
    """Return the outcome of ``work``; give it up, without waiting for its end, after ``limit``."""
    try:
        await asyncio.wait({work}, timeout=None if limit is None else limit.total_seconds())
        if limit is not None and not work.done():
            raise WorkflowFailed("Timeout", f"no result within {limit.total_seconds():g} s")
        return work.result()
    finally:
        if not work.done():
            work.add_done_callback(lambda given_up: given_up.cancelled() or given_up.exception())
            work.cancel()


def _contained(call: Callable[[], Any]) -> Any:
    """Call an activity in its thread; what no future can carry becomes a failure of that name."""
    try:
        return call()
    except (
        StopIteration,
        SystemExit,
        KeyboardInterrupt,
        GeneratorExit,
        asyncio.CancelledError,
        concurrent.futures.CancelledError,
    ) as error:
        raise WorkflowFailed(type(error).__name__, str(error)) from None


async def _awaited(call: Callable[[], Any]) -> Any:
    """Await an activity on the application's loop; its `sys.exit` must not stop the loop."""
    try:
        return await call()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise WorkflowFailed(
            "CancelledError", "something that it waited for was cancelled"
        ) from None
    except SystemExit as error:
        raise WorkflowFailed("SystemExit", str(error)) from None
