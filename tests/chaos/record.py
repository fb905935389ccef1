"""What the clients of a chaos run were told, and what such answers promise.

Owns the order of all calls, what was acknowledged, and when operations succeeded; shared by the
threads of all clients.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from raftoral.convert import to_json
from raftoral.sim.linearizability import UNKNOWN_RESULT, Action, History, Model

if TYPE_CHECKING:
    from collections.abc import Hashable

ABSENT, RUNNING, ENDED = "absent", "running", "ended"


class Record:
    """Calls, acknowledgements and successes so far; safe for any thread."""

    def __init__(self) -> None:
        self.history = History()
        self.started: dict[str, tuple[str, dict[str, Any]]] = {}
        """Acknowledged starts: name and input by run id."""
        self.signalled: dict[str, set[str]] = defaultdict(set)
        """Payloads of acknowledged signals by run id."""
        self.results: dict[str, bytes] = {}
        """Ends that a client was shown, by run id."""
        self.contradictions: list[str] = []
        self.writes: list[float] = []
        """When a start or a signal was acknowledged, on the monotonic clock."""
        self.calls = 0
        self._lock = threading.Lock()

    def begin(self, client: int, run_id: str, *action: Hashable) -> None:
        """Note that a client asks for something."""
        with self._lock:
            self.calls += 1
            self.history.begin(client, run_id, action)

    def end(self, client: int, result: Hashable) -> None:
        """Note what it was told."""
        with self._lock:
            self.history.end(client, result)

    def give_up(self, client: int, *, was_sent: bool) -> None:
        """Note that it got no answer; ``was_sent`` False is certain that nothing happened."""
        with self._lock:
            if was_sent:
                self.history.crash(client)
            else:
                self.history.withdraw(client)

    def acknowledged(self) -> None:
        """Note that a write was acknowledged now."""
        with self._lock:
            self.writes.append(time.monotonic())

    def shown(self, view: dict[str, Any]) -> Hashable:
        """Return what a view says to the model; an end is remembered and compared."""
        if view["status"] in ("running", "paused", "parked"):
            return RUNNING
        end = to_json([view["status"], view["result"], view["error"]])
        with self._lock:
            if self.results.setdefault(view["id"], end) != end:
                self.contradictions.append(view["id"])
        return (ENDED, end)


def run_model() -> Model:
    """Return a run: absent until it is started, then running, and at some moment ended for good.

    ``("start",)`` and ``("look",)`` are answered with how the run stands. ``("signal", number)`` is
    answered with whether it was taken: while the run lasts, or if it was taken before. A run ends
    by itself, so the first answer that shows its end is where it may end; afterwards nobody may be
    told that it is running, or another end.
    """
    return Model((ABSENT, frozenset()), _step)


def _step(state: Any, action: Action, result: Hashable) -> tuple[Hashable] | None:
    phase, taken = state
    match action:
        case ("start",):
            phase = fits(RUNNING if phase == ABSENT else phase, result)
        case ("look",):
            phase = fits(phase, result)
        case ("signal", number):
            if result == ENDED:
                phase = None if number in taken else fits(phase, (ENDED,))
            elif phase == RUNNING or (result is not UNKNOWN_RESULT and number in taken):
                taken |= {number}
            elif result is not UNKNOWN_RESULT:
                phase = None
        case _:
            raise AssertionError(f"a run knows no {action!r}")
    return None if phase is None else ((phase, taken),)


def fits(phase: Any, result: Any) -> Any:
    """Return the phase after an answer that shows ``result``; None if it cannot be shown.

    Both are `ABSENT`, `RUNNING`, ``(ENDED,)`` for an end that nobody knows, or ``(ENDED, end)``.
    """
    if result is UNKNOWN_RESULT:
        return phase
    if result in (ABSENT, RUNNING):
        return phase if phase == result else None
    if phase in (RUNNING, (ENDED,)):
        return result  # an end that nobody has seen yet may be any
    return phase if result in (phase, (ENDED,)) and phase != ABSENT else None
