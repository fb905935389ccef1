"""A recorded history replayed step by step: where the code stands after each of its events.

Owns `Trace`, which answers for any position n by replaying the first n events. It calls no activity and reads no clock; it never holds a second
truth: going back is a shorter replay. The same for both front ends.

The rule it keeps: a `Stop` is text and numbers only, so what it says does not change when the code
goes on to change a list it holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from raftoral.errors import NonDeterminismError, UsageError
from raftoral.ids import Position, RunId
from raftoral.replay.divergence import explain, render
from raftoral.replay.effects import Cell
from raftoral.replay.history import Event, Set, decode, take
from raftoral.replay.interpreter import Replay
from raftoral.replay.text import text_of
from raftoral.replay.waits import describe_waiting
from raftoral.replay.wording import describe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from raftoral.replay.interpreter import Begin


@dataclass(frozen=True, slots=True)
class Departure:
    """The history holds one thing where the code asks for another; ``where`` is the code's line.

    ``why`` are the lines of `raftoral.replay.divergence.render`: the cause in words, and the table.
    """

    recorded: str
    yielded: str
    where: str
    why: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stop:
    """Where the code stands after the first ``position`` events.

    ``place`` and ``line`` name the statement it stands at (line 0 before the code began and after
    it returned), ``asks`` what that statement asks for, "" if nothing. ``variables`` are those in
    sight, ``cells`` the checkpoints recorded so far by path, both as text. ``diverged`` is set when
    the code does not take the next event.
    """

    position: Position
    place: str
    line: int
    asks: str
    ended: bool
    variables: Mapping[str, str]
    cells: Mapping[str, str]
    diverged: Departure | None = None

    @property
    def known(self) -> dict[str, str]:
        """Every name that has a value here: variables, and checkpoints that no variable shows."""
        return {**self.cells, **self.variables}


class Trace:
    """One run's history beside the code that has to repeat it.

    ``start`` is what starts the code, ``history`` the canonical bytes of each event. Raises
    `CorruptionError` for bytes that hold no event. Call `close` at the end: code that is parked
    runs its `finally` blocks then.
    """

    def __init__(self, start: Begin, history: Sequence[bytes], *, run_id: str = "") -> None:
        self.run_id = RunId(run_id)
        self.events: tuple[Event, ...] = tuple(map(take, history))
        self._history = tuple(history)
        self._start = start
        self._live: Replay | None = None

    def __len__(self) -> int:
        """Return how many events were recorded."""
        return len(self.events)

    def at(self, position: int) -> Stop:
        """Return where the code stands after the first ``position`` events.

        Where the code leaves the history before that, the answer is the last stop that both reach,
        with `Stop.diverged` set. `UsageError` for a position outside of 0 to the history's length.
        """
        if not 0 <= position <= len(self):
            raise UsageError(f"there is no position {position}; they go from 0 to {len(self)}")
        live = self._rewound(position)
        try:
            live.feed_all(self._history[live.position : position])
        except NonDeterminismError as error:
            # The refused event changed nothing: the code stands where it did.
            stop = self._stop(live, self._departure(error))
            self.close()
            return stop
        except BaseException:
            # Interrupted in the middle of the code: what is left of it repeats nothing.
            self.close()
            raise
        return self._stop(live, None)

    def _departure(self, error: NonDeterminismError) -> Departure:
        found = explain(self.run_id, self._start, self._history)
        why = () if found is None else tuple(render(found))
        return Departure(error.recorded, error.yielded, error.where, why)

    def _rewound(self, position: int) -> Replay:
        """Return a replay that has not passed ``position``: the one at hand, or a new one."""
        if self._live is None or self._live.position > position:
            self.close()
            self._live = Replay(self.run_id, self._start, lockstep=True, known=self._history)
        return self._live

    def _stop(self, live: Replay, diverged: Departure | None) -> Stop:
        place, line = ("", 0) if live.body is None else live.body.where()
        recorded = self.events[: live.position]
        latest = {event.path: event.value for event in recorded if isinstance(event, Set)}
        cells = {path: text_of(value) for path, value in latest.items()}
        variables = {} if live.body is None else live.body.variables()
        return Stop(
            live.position,
            place,
            line,
            _asks(live),
            live.ended,
            {name: _variable(value) for name, value in variables.items()},
            cells,
            diverged,
        )

    def close(self) -> None:
        """Drop the code that is parked; a later `at` begins anew."""
        live, self._live = self._live, None
        if live is not None:
            live.close()


def _asks(live: Replay) -> str:
    if live.outbox:
        return describe(decode(live.outbox[0]))
    return describe_waiting(live.waiting) if live.waiting is not None else ""


def _variable(value: object) -> str:
    return text_of(value.value if isinstance(value, Cell) else value)


def path_of(event: Event) -> str:
    """Return the path that an event belongs to; "" for one of the whole run."""
    path: str = getattr(event, "path", "")
    return path


@dataclass(frozen=True, slots=True)
class Change:
    """A name whose value differs between two stops; None where it is not in sight."""

    name: str
    before: str | None
    after: str | None


def changes(before: Stop, after: Stop) -> tuple[Change, ...]:
    """Return what differs between two stops, in the order of the names."""
    old, new = before.known, after.known
    # A workflow that has returned has no variables any more, which tells nobody anything.
    names = [*new, *(name for name in old if name not in new and not after.ended)]
    return tuple(
        Change(name, old.get(name), new.get(name))
        for name in names
        if old.get(name) != new.get(name)
    )
