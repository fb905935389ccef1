"""Runs one attempt of an activity, outside replay.

A coroutine function runs on the application's loop, a plain one in a thread. Owns the way into the application and back. Whatever the activity does, what comes out is a value
that can be stored or a failure as data.
"""

from __future__ import annotations

import asyncio
import inspect
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from raftoral.errors import WorkflowFailed
from raftoral.replay.context import ActivityContext, attempt_context
from raftoral.replay.interpreter import pack_result

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
        limit, and ``BadResult`` for a result that cannot be stored.
        """
        function = self._function(effect)
        arguments = (effect.call.args, dict(effect.call.kwargs))
        result = await self._within(effect.within, self._begin(function, arguments, context))
        return pack_result(effect, result)

    def _function(self, effect: Compute[Any]) -> Callable[..., Any]:
        if effect.call.function is not None:
            return effect.call.function
        activity = self._registry.activities.get(effect.call.activity)
        if activity is None:
            raise WorkflowFailed("UnknownActivity", f"no activity {effect.call.activity!r} here")
        function: Callable[..., Any] = activity.function
        return function

    def _begin(
        self,
        function: Callable[..., Any],
        arguments: tuple[tuple[Any, ...], dict[str, Any]],
        attempt: ActivityContext,
    ) -> asyncio.Future[Any]:
        args, kwargs = arguments
        context = copy_context()
        context.run(attempt_context.set, attempt)
        loop = asyncio.get_running_loop()
        if not inspect.iscoroutinefunction(function):
            return loop.run_in_executor(
                self._threads, lambda: context.run(function, *args, **kwargs)
            )
        if self._application is loop:
            return loop.create_task(function(*args, **kwargs), context=context)
        crossing = context.run(
            asyncio.run_coroutine_threadsafe, function(*args, **kwargs), self._application
        )
        return asyncio.wrap_future(crossing, loop=loop)

    @staticmethod
    async def _within(limit: timedelta | None, work: asyncio.Future[Any]) -> Any:
        if limit is None:
            return await work
        done, _ = await asyncio.wait({work}, timeout=limit.total_seconds())
        if not done:
            work.cancel()
            raise WorkflowFailed("Timeout", f"no result within {limit.total_seconds():g} s")
        return work.result()

    def close(self) -> None:
        """Take no more work; threads that still run are left to end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)
