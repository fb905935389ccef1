"""An event loop that waits for nothing: where no callback is ready, its time jumps to the next timer.

Timers go off in their order and at their moments on however busy a machine, and who would wait for
ever is told so at once. It looks at no socket. While threads work for it, its time passes as
everybody's does.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from concurrent.futures import Future


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose clock is its own; it begins at 0."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._working: set[Future[Any]] = set()
        self._wait = self._selector.select  # type: ignore[attr-defined]
        self._selector.select = self._jump  # type: ignore[attr-defined]

    def time(self) -> float:
        """Return the seconds that have passed on this loop's clock."""
        return self._now

    def works(self, thread: Future[Any]) -> None:
        """Let time pass as it does elsewhere until what a thread does is done."""
        self._working.add(thread)
        thread.add_done_callback(self._working.discard)

    def _jump(self, timeout: float | None) -> list[Any]:
        if self._working:
            began = time.monotonic()
            found: list[Any] = self._wait(timeout)
            self._now += time.monotonic() - began
            return found
        if timeout is None:
            raise AssertionError("everybody waits for something that will never happen")
        self._now += timeout
        return self._wait(0)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` on a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)
