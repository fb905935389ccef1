"""Stops a workflow that computes too long between two effects, so that it cannot stop a cluster.

Workflows advance in the node's own thread. A `while True` without an effect would hold it for ever;
after the limit a second thread raises `StepTooLong` inside the step. Only Python code can be
interrupted so: one call into C that never returns cannot.

The limit is counted in looks of the watching thread, not read from a clock: a process that was
stopped, or starved by others, did not compute meanwhile, and its steps are innocent.
"""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")

CHECKS_PER_LIMIT: Final = 8


class StepTooLong(BaseException):
    """Raised inside a workflow's step; no `except Exception` of a workflow swallows it."""


class Watchdog:
    """Watches the steps of one thread, ``with watchdog: ...``; none may take over ``limit_s`` seconds."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._lock = threading.Lock()
        self._looks: int | None = None
        """How often the step that runs now was seen; None between steps."""
        self._fired = False
        self._watched = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="raftoral-watchdog", daemon=True)

    def start(self) -> None:
        """Watch the calling thread from now on."""
        self._watched = threading.get_ident()
        self._thread.start()

    def stop(self) -> None:
        """End the watching thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> None:
        """Watch the body; it is left by `StepTooLong` when it takes longer than the limit."""
        with self._lock:
            self._fired = False
            self._looks = 0

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._looks = None
            if self._fired:
                # The step may have ended by itself just now: take back what is not raised yet.
                self._fired = False
                _raise_in(self._watched, None)

    def each(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items within one step, whose limit is then for each of them."""
        for item in items:
            self._looks = 0
            yield item

    def _watch(self) -> None:
        while not self._stop.wait(self.limit_s / CHECKS_PER_LIMIT):
            self.look()

    def look(self) -> None:
        """Count that a step was seen; stop it if that was once too often."""
        with self._lock:
            if self._looks is None:
                return
            self._looks += 1
            if self._looks > CHECKS_PER_LIMIT:
                self._fired = True
                # Once more after the limit: the step's own handlers may compute too long.
                self._looks = 0
                _raise_in(self._watched, StepTooLong)


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    raised = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)
