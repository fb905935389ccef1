"""When to look at which run again: moments on the group's clock, which may jump."""

from __future__ import annotations

import heapq
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from raftoral.ids import Millis, RunId

ALARM_S: Final = 1.0
"""How soon the group's clock is looked at again, at the latest: it may jump."""


THIN_ABOVE: Final = 100


class Alarms:
    """The moments at which waits of runs are looked at, and one handle of the loop for the earliest."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        now: Callable[[], Millis],
        ring: Callable[[], None],
        wanted: Callable[[RunId], bool],
    ) -> None:
        """``ring`` is called in the loop when some may be due; it asks for `due`.

        ``wanted`` tells which runs still matter.
        """
        self._loop = loop
        self._now = now
        self._ring = ring
        self._wanted = wanted
        self._heap: list[tuple[Millis, RunId, str]] = []
        self._thin_above = THIN_ABOVE
        self._handle: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._heap)

    def later(self, run_id: RunId, path: str, at: Millis) -> None:
        """Come back at ``at`` to what a run waits for at ``path``."""
        # Runs of one workflow wait at the same paths: one text for a hundred thousand of them.
        heapq.heappush(self._heap, (at, run_id, sys.intern(path)))
        if len(self._heap) > self._thin_above:
            self._thin()
        if self._heap[0][1:] == (run_id, path):
            self._set()

    def due(self) -> Iterator[tuple[RunId, str]]:
        """Yield the runs and paths whose moment has come, and forget it."""
        if self._heap:
            now = self._now()
            while self._heap and self._heap[0][0] <= now:
                _, run_id, path = heapq.heappop(self._heap)
                yield run_id, path
            self._set()

    def _thin(self) -> None:
        """Keep the earliest moment of each path that still matters: it is looked at anew then."""
        earliest: dict[tuple[RunId, str], Millis] = {}
        for at, run_id, path in self._heap:
            if self._wanted(run_id):
                earliest[run_id, path] = min(at, earliest.get((run_id, path), at))
        self._heap = [(at, run_id, path) for (run_id, path), at in earliest.items()]
        heapq.heapify(self._heap)
        self._thin_above = 2 * len(self._heap) + THIN_ABOVE

    def clear(self) -> None:
        """Forget everything."""
        self._heap.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _set(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._heap:
            delay = max(0, self._heap[0][0] - self._now()) / 1000
            self._handle = self._loop.call_later(min(delay, ALARM_S), self._ring)
