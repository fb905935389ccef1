"""Runs one attempt of an activity, outside replay.

Owns the way into the application and back: a coroutine function runs on the application's loop, a
plain one in a thread, or in a process if it asks for one. The rules it keeps: an activity gets
copies of its arguments, so it cannot change the workflow's variables; whatever it does, what comes
out is a value that can be stored or a failure; an attempt ends once.

The first two ways cross between two loops, and waking the other one costs more than all the rest of
a short step. So what goes one way in one turn of a loop shares a wake-up.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast

from raftoral.errors import WorkflowFailed
from raftoral.replay import deciding
from raftoral.replay.context import ActivityContext, attempt_context, with_heartbeat
from raftoral.replay.failures import failure_of
from raftoral.replay.packing import pack_result
from raftoral.runtime.workers import Job, Workers, request_of

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Sequence

    from raftoral.registry.app import Registry
    from raftoral.replay.effects import Compute
    from raftoral.replay.history import Failure
    from raftoral.values import Value

GRACE_S: Final = 5.0
"""How long an attempt that was asked to end may go on."""

_UNCHANGEABLE = frozenset({type(None), bool, int, float, str, bytes})


class Outcome(NamedTuple):
    """How an attempt ended: with a result that can be stored, or with a stored failure."""

    ok: bool
    value: Value


CANCELLED: Final = Outcome(False, ["Cancelled", "its branch was cancelled", {}])

Done: TypeAlias = "Callable[[Sequence[tuple[Attempt, Outcome | None]]], None]"
"""Told, in the node's loop, of attempts that ended. None says that the application stops: it is
neither a success nor a failure."""


class Attempt:
    """One attempt under way; ``token`` is whatever its owner knows it by."""

    __slots__ = (
        "_attempts", "begun_at", "call", "context", "done", "effect", "job", "over", "stopping",
        "task", "thread", "timer", "token", "variables",
    )  # fmt: skip

    def __init__(
        self,
        attempts: Attempts,
        effect: Compute[Any],
        context: ActivityContext,
        done: Done,
        token: Any,
    ) -> None:
        self.effect = effect
        self.context = context
        self.done = done
        self.token = token
        self.over = False
        self.stopping = False
        self.begun_at: float | None = None
        self.call: Callable[[], Any] | None = None
        self.task: asyncio.Task[None] | None = None
        self.thread: concurrent.futures.Future[None] | None = None
        self.job: Job | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.variables = copy_context()
        self._attempts = attempts

    def stop(self) -> None:
        """Ask the attempt to end, since its branch was cancelled; `done` is told how it ended."""
        self._attempts.stop(self)

    def cancel(self) -> None:
        """Give the attempt up: `done` is not told of it. In a thread it goes on to its end."""
        if not self.over:
            self._attempts.give_up(self)


class Attempts:
    """Runs attempts for one node; ``application`` is the loop that async activities run on."""

    def __init__(
        self,
        registry: Registry,
        application: asyncio.AbstractEventLoop,
        threads: int,
        processes: int = 1,
    ) -> None:
        """Called in the node's loop, where all methods belong."""
        self._registry = registry
        self._loop = asyncio.get_running_loop()
        self._there = _Crossing(application, self._begin_all)
        self._back = _Crossing(self._loop, self._end_all)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="raftoral-activity")
        self._workers = Workers(processes)

    def clock(self) -> float:
        """Return the monotonic seconds that limits are counted in."""
        return self._loop.time()

    def start(
        self, effect: Compute[Any], context: ActivityContext, done: Done, token: Any
    ) -> Attempt:
        """Begin one attempt; ``done`` is told once, in a later turn, unless it is cancelled.

        The failure is whatever the activity raises; ``Timeout`` and ``HeartbeatTimeout`` after the
        attempt's limits, counted from when a thread or process is free for it; and ``BadResult``
        for a result that cannot be stored.
        """
        attempt = Attempt(self, effect, context, done, token)
        try:
            self._begin(attempt)
        except Exception as error:
            self._back.send((attempt, _failed(error)))
        else:
            if effect.options.within is not None or effect.options.heartbeat is not None:
                self._watch(attempt)
        return attempt

    def _begin(self, attempt: Attempt) -> None:
        call = attempt.effect.call
        function, process = call.function, call.process
        if function is None:
            activity = self._registry.activities.get(call.activity)
            if activity is None:
                raise WorkflowFailed("UnknownActivity", f"no activity {call.activity!r} here")
            function, process = activity.function, activity.process
        if process:
            self._in_process(attempt, function)
            return
        args, kwargs = _copied(call.args, call.kwargs)
        attempt.call = partial(function, *args, **kwargs)
        attempt.variables.run(attempt_context.set, attempt.context)
        if inspect.iscoroutinefunction(function):
            self._to_application(attempt)
        else:
            run = attempt.variables.run
            attempt.thread = self._threads.submit(run, self._in_thread, attempt)

    # -------------------------------------------------------------- in a process
    def _in_process(self, attempt: Attempt, function: Callable[..., Any]) -> None:
        call, context = attempt.effect.call, attempt.context
        request = request_of(function, call, context, typed=call.function is not None)

        def begun() -> None:
            attempt.begun_at = self._loop.time()

        def done(ok: bool, value: Value) -> None:
            self._back.send((attempt, Outcome(ok, value)))

        attempt.job = Job(request, context.pulse, begun, done)
        self._workers.run(attempt.job)

    # -------------------------------------------------------------- in a thread
    def _in_thread(self, attempt: Attempt) -> None:
        """Run a plain activity; what no future can carry becomes a failure of that name."""
        assert attempt.call is not None
        attempt.begun_at = self._loop.time()
        try:
            result = attempt.call()
            if inspect.isawaitable(result):
                # A plain function around a coroutine function, as many decorators make.
                attempt.call = lambda: result
                # This thread is still inside the first one, and no task may enter it meanwhile.
                attempt.variables = attempt.variables.copy()
                self._to_application(attempt)
                return
            outcome = Outcome(True, pack_result(attempt.effect, result))
        except BaseException as error:
            outcome = _failed(error)
        self._back.send((attempt, outcome))

    # -------------------------------------------------------------- on the application's loop
    def _to_application(self, attempt: Attempt) -> None:
        if not self._there.send(attempt):
            self._back.send((attempt, None))

    def _begin_all(self, attempts: Sequence[Attempt]) -> None:
        """In the application's loop: begin those attempts, stop those that are given up."""
        for attempt in attempts:
            if attempt.task is not None:
                attempt.task.cancel()
            elif attempt.stopping:
                self._back.send((attempt, CANCELLED))
            elif not attempt.over:
                work = self._on_application(attempt)
                attempt.task = asyncio.get_running_loop().create_task(
                    work, context=attempt.variables
                )

    async def _on_application(self, attempt: Attempt) -> None:
        """Await an async activity; its `sys.exit` must not stop the application's loop."""
        assert attempt.call is not None
        attempt.begun_at = attempt.begun_at or self._loop.time()
        outcome: Outcome | None = None
        try:
            result = await attempt.call()
            outcome = Outcome(True, pack_result(attempt.effect, result))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                outcome = CANCELLED if attempt.stopping else None
                raise
            outcome = Outcome(
                False, ["CancelledError", "something that it waited for was cancelled", {}]
            )
        except (KeyboardInterrupt, GeneratorExit):
            raise  # The application ends, and with it its loop.
        except BaseException as error:
            outcome = _failed(error)
        finally:
            self._back.send((attempt, outcome))

    # -------------------------------------------------------------- back in the node's loop
    def _end_all(self, ended: Sequence[tuple[Attempt, Outcome | None]]) -> None:
        """Tell of all attempts that ended since the last turn."""
        by_owner: dict[Done, list[tuple[Attempt, Outcome | None]]] = {}
        for attempt, outcome in ended:
            if not attempt.over:
                self._over(attempt)
                told = attempt.context.pulse.told
                if outcome is not None and not outcome.ok and told:
                    failure = cast("Failure", outcome.value)
                    outcome = Outcome(False, with_heartbeat(failure, told))
                by_owner.setdefault(attempt.done, []).append((attempt, outcome))
        for done, some in by_owner.items():
            done(some)

    def _over(self, attempt: Attempt) -> None:
        attempt.over = True
        attempt.context.pulse.cancelled = True
        if attempt.timer is not None:
            attempt.timer.cancel()
        if attempt.job is not None:
            self._workers.cancel(attempt.job)

    def _watch(self, attempt: Attempt) -> None:
        """Fail an attempt whose time is up; else look again when it may be."""
        options, now = attempt.effect.options, self._loop.time()
        begun = now if attempt.begun_at is None else attempt.begun_at
        soonest = None
        for limit, since, name in (
            (options.within, begun, "Timeout"),
            (options.heartbeat, attempt.context.pulse.beaten_at, "HeartbeatTimeout"),
        ):
            if limit is None:
                continue
            left = max(since, begun) + limit.total_seconds() - now
            if left <= 0:
                self._end_all([(attempt, Outcome(False, deciding.late(name, limit)))])
                self._let_go(attempt)
                return
            soonest = left if soonest is None else min(soonest, left)
        assert soonest is not None, "an attempt without limits is not watched"
        attempt.timer = self._loop.call_later(soonest, self._watch, attempt)

    def stop(self, attempt: Attempt) -> None:
        """Ask an attempt to end, and wait for its outcome for the grace time at most."""
        if attempt.over or attempt.stopping:
            return
        attempt.stopping = True
        attempt.context.pulse.cancelled = True
        if attempt.timer is not None:
            attempt.timer.cancel()
        attempt.timer = self._loop.call_later(GRACE_S, self._back.send, (attempt, CANCELLED))
        if attempt.job is not None:
            self._workers.ask_to_end(attempt.job)
        elif attempt.thread is not None and attempt.thread.cancel():
            self._back.send((attempt, CANCELLED))
        elif attempt.thread is None or attempt.task is not None:
            self._there.send(attempt)

    def give_up(self, attempt: Attempt) -> None:
        """Cancel an attempt that is not over; nobody is told."""
        self._over(attempt)
        self._let_go(attempt)

    def _let_go(self, attempt: Attempt) -> None:
        """Stop what an attempt that is over still does, as far as that is possible."""
        if attempt.thread is not None and attempt.thread.cancel():
            return  # It waited for a thread.
        if attempt.job is None and (attempt.thread is None or attempt.task is not None):
            self._there.send(attempt)

    def close(self) -> None:
        """Take no more work; threads that still run are left to end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._workers.close()


class _Crossing:
    """Hands things from any thread to one loop, all of one turn together."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, receive: Callable[[Sequence[Any]], None]
    ) -> None:
        self._loop = loop
        self._receive = receive
        self._things: deque[Any] = deque()
        self._woken = False

    def send(self, thing: Any) -> bool:
        """Hand ``thing`` over; False if the loop is closed."""
        self._things.append(thing)
        if not self._woken:
            self._woken = True
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._turn)
        return not self._loop.is_closed()

    def _turn(self) -> None:
        # In this order: what comes after the last look wakes the loop again.
        self._woken = False
        things = []
        with suppress(IndexError):
            while True:
                things.append(self._things.popleft())
        if things:
            self._receive(things)


def _copied(
    args: tuple[Any, ...], kwargs: Sequence[tuple[str, Any]]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return copies of the arguments; those that nobody can change stand for themselves."""
    if not kwargs and all(type(arg) in _UNCHANGEABLE for arg in args):
        return args, {}
    return deepcopy((args, dict(kwargs)))


def _failed(error: BaseException) -> Outcome:
    failure: Any = failure_of(error)
    return Outcome(False, failure)
