"""Moves through a trace: step, back, go to. Pure: a move is a value, nothing is printed.

Owns the position of a session. It changes only when a move succeeds, so an interrupted command
leaves the session where it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from raftoral.replay.trace import changes, path_of

if TYPE_CHECKING:
    from raftoral.replay.history import Event
    from raftoral.replay.trace import Change, Stop, Trace


@dataclass(frozen=True, slots=True)
class Move:
    """Where a move came to: the stop, the event replayed last, what differs from before.

    ``note`` says why it did not come as far as asked; "" if it did.
    """

    stop: Stop
    event: Event | None
    total: int
    changed: tuple[Change, ...]
    note: str = ""


class Stepper:
    """The place of one session in one trace, from just after the first event on."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.here = trace.at(min(1, len(trace)))

    def step(self, count: int = 1) -> Move:
        """Replay ``count`` more events, as far as the history goes."""
        wanted = self.here.position + count
        note = self._end_note() if wanted > len(self.trace) else ""
        return self._to(min(wanted, len(self.trace)), note)

    def back(self, count: int = 1) -> Move:
        """Take ``count`` events back, to the beginning at most."""
        wanted = self.here.position - count
        return self._to(max(wanted, 0), "this is the beginning" if wanted < 0 else "")

    def goto(self, position: int) -> Move:
        """Go to a position; `UsageError` if the history has none of that number."""
        return self._to(position, "")

    def show(self) -> Move:
        """Stay, and tell where that is."""
        return Move(self.here, self._event(self.here), len(self.trace), ())

    def next_of(self, path: str) -> int:
        """Return where the next event of a path of the history comes, from the start if none is."""
        found = [n for n, event in enumerate(self.trace.events) if path_of(event) == path]
        return next((n for n in found if n > self.here.position), found[0])

    def paths(self) -> list[str]:
        """Return the paths of the history, in order, each once."""
        return list(dict.fromkeys(filter(None, map(path_of, self.trace.events))))

    def _to(self, position: int, note: str) -> Move:
        before, stop = self.here, self.trace.at(position)
        self.here = stop
        changed = changes(before, stop)
        return Move(
            stop, self._event(stop), len(self.trace), changed, "" if stop.diverged else note
        )

    def _event(self, stop: Stop) -> Event | None:
        return self.trace.events[stop.position - 1] if stop.position else None

    def _end_note(self) -> str:
        last = self.trace.at(len(self.trace))
        if last.ended or not last.asks:
            return "this is the end"
        return f"this is the end of what is recorded; the run waits for {last.asks}"
