"""Virtual time: one heap of events, and an event loop for each process on top of it.

Owns what happens when. Never waits, reads no clock and does no input or output: time jumps to the
next event. The rule it keeps: events of equal time happen in the order in which they were made, so
a run is a function of its seed.

Each simulated process has an event loop of its own, so that it can stand still, be slow or die with
everything that waits in it, as a process does. A loop takes turns: a turn runs what was ready when
it began.
"""

from __future__ import annotations

import asyncio
from asyncio.events import _set_running_loop  # meant for whoever writes a loop
from collections import deque
from heapq import heappop, heappush
from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple
from weakref import WeakKeyDictionary

from raftoral.ids import Millis

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Context

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

WALL_START_MS = 1_700_000_000_000


class Events:
    """The heap; `now` is the virtual time in seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self.happened = 0
        """How many events there were."""
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._made = 0
        self._stopped = False

    def stop(self) -> None:
        """Let nothing happen any more, so that what went wrong can be looked at."""
        self._stopped = True
        self._heap.clear()

    def at(self, when: float, event: Callable[[*_Ts], object], *arguments: *_Ts) -> None:
        """Let ``event`` happen at ``when``, or now if that is past."""
        self._made += 1
        heappush(self._heap, (max(when, self.now), self._made, event, arguments))

    def after(self, seconds: float, event: Callable[[*_Ts], object], *arguments: *_Ts) -> None:
        """Let ``event`` happen in a while."""
        self.at(self.now + seconds, event, *arguments)

    def run(self, until: float) -> None:
        """Let everything happen that is due by ``until``."""
        heap = self._heap
        happened = 0
        while heap and heap[0][0] <= until:
            self.now, _, event, arguments = heappop(heap)
            event(*arguments)
            happened += 1
        if not self._stopped:
            self.now = until
        self.happened += happened


class ProcessLoop(asyncio.AbstractEventLoop):
    """The event loop of one simulated process."""

    def __init__(self, events: Events, on_error: Callable[[BaseException], None]) -> None:
        """``on_error`` is told what a callback let escape."""
        self.dead = False
        self.busy_until = 0.0
        """Until then the process is inside a system call that takes its time."""
        self._events = events
        self._on_error = on_error
        self._ready: deque[asyncio.Handle] = deque()
        self._turn_due = False
        self._standing_still = False
        self._tasks: WeakKeyDictionary[asyncio.Task[Any], None] = WeakKeyDictionary()
        self._left: list[asyncio.Task[Any]] = []

    # -------------------------------------------------------------- the process
    def stand_still(self) -> None:
        """Do nothing, as after SIGSTOP; what comes in waits."""
        self._standing_still = True

    def go_on(self) -> None:
        """Do what has waited."""
        self._standing_still = False
        self._wake()

    @property
    def answers(self) -> bool:
        """Whether the process would answer now."""
        return not (self.dead or self._standing_still)

    def take_time(self, seconds: float) -> None:
        """Let the running call take ``seconds``: the clock is ahead, and nothing else runs."""
        self.busy_until = max(self._events.now, self.busy_until) + seconds

    def die(self) -> None:
        """Drop everything that waits and whatever comes; `bury` follows by itself."""
        self.dead = True
        self._left = list(self._tasks)
        self._ready.clear()
        self._events.at(self._events.now, self.bury)

    def bury(self) -> None:
        """Close the coroutines that the dead process was in the middle of.

        Left to the collector they would run what is left of them on some day, and Python 3.11 can
        crash there: it may close a coroutine that is closing already.
        """
        _set_running_loop(self)
        try:
            for task in self._left:
                coroutine = task.get_coro()
                assert isinstance(coroutine, CoroutineType), "tasks here are of coroutines"
                try:
                    coroutine.close()
                except KeyboardInterrupt:
                    raise
                except BaseException:  # noqa: S110  # nobody is there to be told
                    pass
            self._left.clear()
        finally:
            _set_running_loop(None)

    def run_now(self, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Run ``callback`` in a turn of its own at once, or after whatever waits already."""
        if self._ready or self._standing_still or self.dead or self.busy_until > self._events.now:
            self.call_soon(callback, *args)
            return
        _set_running_loop(self)
        try:
            callback(*args)
        except BaseException as error:  # as a handle does
            self._on_error(error)
        finally:
            _set_running_loop(None)

    def _wake(self) -> None:
        if self._ready and not (self._turn_due or self._standing_still or self.dead):
            self._turn_due = True
            self._events.at(self.busy_until, self._turn)

    def _turn(self) -> None:
        self._turn_due = False
        if self._standing_still:
            return
        if self.busy_until > self._events.now:
            self._wake()
            return
        ready = self._ready
        _set_running_loop(self)
        try:
            for _ in range(len(ready)):
                handle = ready.popleft()
                if not handle._cancelled:  # noqa: SLF001  # as loops do
                    handle._run()  # noqa: SLF001  # this is an event loop
                if self.dead:
                    return
        finally:
            _set_running_loop(None)
        if ready:
            self._wake()

    # -------------------------------------------------------------- what asyncio asks of a loop
    def time(self) -> float:
        """Return the process's monotonic clock in seconds."""
        now = self._events.now
        return now if now > self.busy_until else self.busy_until

    def call_soon(
        self,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Run ``callback`` in the next turn."""
        handle = asyncio.Handle(callback, args, self, context)
        if not self.dead:
            self._ready.append(handle)
            if not self._turn_due:
                self._wake()
        return handle

    def call_soon_threadsafe(
        self,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Run ``callback`` in the next turn; there are no threads."""
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run ``callback`` after ``delay`` seconds."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run ``callback`` at ``when``."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        if not self.dead:
            self._events.at(when, self._timer_due, timer)
        return timer

    def _timer_due(self, timer: asyncio.TimerHandle) -> None:
        if not (self.dead or timer.cancelled()):
            self._ready.append(timer)
            self._wake()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing: a cancelled timer is skipped when it is due."""

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]  # the stub differs between versions of Python
        self, coro: Coroutine[Any, Any, _T], **options: Any
    ) -> asyncio.Task[_T]:
        """Return a task that begins in the next turn."""
        task = asyncio.Task(coro, loop=self, **options)
        if self.dead:
            coro.close()  # It never begins, and nobody is to complain of that.
        self._tasks[task] = None
        return task

    def get_debug(self) -> bool:
        """Return False: nothing here is checked twice."""
        return False

    def is_running(self) -> bool:
        """Return whether the process lives."""
        return not self.dead

    def is_closed(self) -> bool:
        """Return whether the process is dead."""
        return self.dead

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tell of what a callback let escape; what nobody waited for is not told."""
        error = context.get("exception")
        if error is not None and "handle" in context and not self.dead:
            self._on_error(error)


class ProcessClock:
    """The clocks of one process: its loop's, and a wall clock that may be wrong."""

    def __init__(self, loop: ProcessLoop, ahead_ms: int) -> None:
        self.ahead_ms = ahead_ms
        self.monotonic = loop.time

    def wall(self) -> Millis:
        """Return what the process believes to be the time."""
        return Millis(WALL_START_MS + int(self.monotonic() * 1_000) + self.ahead_ms)
