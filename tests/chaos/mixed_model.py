"""What one run promises to those who start, signal, update, pause, cancel and read it.

Owns a run as a sequential object: whoever asks, each answer must fit one order of all that was asked
of it. A run goes on by itself in two ways only: at some moment it ends for good, and it takes what
waits in its mailboxes. So an end may be any until somebody has seen it, and what was taken may lag
behind what was sent, but no answer goes back behind another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from raftoral.sim.linearizability import UNKNOWN_RESULT, Action, Model
from tests.chaos.record import ABSENT, ENDED, RUNNING, fits

if TYPE_CHECKING:
    from collections.abc import Hashable

DONE = "done"
PAUSED = "paused"


class Standing(NamedTuple):
    """How a run was shown: its phase, status, and how long its history is."""

    phase: Any
    """`ABSENT`, `RUNNING`, or `ENDED` with the end."""
    status: str = ""
    generation: int = 0
    events: int = 0


class Seen(NamedTuple):
    """What a read showed: signals taken in their order, the sum of the updates, and their ids.

    ``updates`` is None for a query of cells, which are set one settlement behind the answer.
    """

    taken: tuple[str, ...]
    total: int
    updates: tuple[str, ...] | None


class RunState(NamedTuple):
    """A run as far as its callers can know it."""

    phase: Any = ABSENT
    signals: tuple[str, ...] = ()
    """Delivered, in their order, which is the one in which they are taken."""
    updates: tuple[tuple[str, int], ...] = ()
    """Answered, in their order, each with the sum that it was answered."""
    requests: frozenset[tuple[str, str]] = frozenset()
    """Pauses, resumings and cancels that were made, with their answers."""
    paused: bool = False
    cancelled: bool = False
    length: tuple[int, int] = (0, 0)
    """Generation and events of the longest history that was shown."""
    taken: int = 0
    """How many signals were shown as taken."""
    counted: int = 0
    """How many updates a query has shown."""


def mixed_model() -> Model:
    """Return the model of one run.

    ``("start",)`` is answered with a `Standing`, ``("look",)`` too or `ABSENT`; ``("signal", id)`` and
    ``("pause" | "resume" | "cancel", id)`` with `DONE` or `ENDED`; ``("add", id, amount)`` with the
    sum so far or `ENDED`; ``("read",)`` with `Seen`, or `ABSENT`.
    """
    return Model(RunState(), _step)


def _step(before: Any, action: Action, result: Hashable) -> tuple[Hashable] | None:
    state: RunState = before
    match action:
        case ("start",):
            return _started(state, result)
        case ("look",):
            return _looked(state, result)
        case ("signal", str(mark)):
            return _signalled(state, mark, result)
        case ("add", str(mark), int(amount)):
            return _added(state, mark, amount, result)
        case ("read",):
            return _read(state, result)
        case (str(what), str(mark)):
            return _changed(state, what, mark, result)
        case _:
            raise AssertionError(f"a run knows no {action!r}")


def _started(state: RunState, result: Any) -> tuple[RunState] | None:
    """Begin a run or join it. The answer is the member's own view, so only its phase counts."""
    phase = RUNNING if state.phase == ABSENT else state.phase
    if result is UNKNOWN_RESULT:
        return (state._replace(phase=phase),)
    return _in_phase(state, phase, result.phase)


def _looked(state: RunState, result: Any) -> tuple[RunState] | None:
    if result is UNKNOWN_RESULT:
        return (state,)
    if result == ABSENT:
        return _in_phase(state, state.phase, ABSENT)
    length = (result.generation, result.events)
    if length < state.length:
        return None
    if result.status in (PAUSED, RUNNING) and state.paused != (result.status == PAUSED):
        return None
    return _in_phase(state._replace(length=length), state.phase, result.phase)


def _in_phase(state: RunState, phase: Any, shown: Any) -> tuple[RunState] | None:
    """Return the state after an answer that shows the phase; nobody is cancelled who was not asked."""
    after = fits(phase, shown)
    if after is None:
        return None
    end = shown[1] if isinstance(shown, tuple) and len(shown) > 1 else b""
    if end.startswith(b'["cancelled"') and not state.cancelled:
        return None
    return (state._replace(phase=after),)


def _signalled(state: RunState, mark: str, result: Any) -> tuple[RunState] | None:
    """Put a signal behind the others, once."""
    known = mark in state.signals
    if result == ENDED:
        return None if known else _in_phase(state, state.phase, (ENDED,))
    if known and result in (DONE, UNKNOWN_RESULT):
        return (state,)
    if state.phase == RUNNING:
        return (state._replace(signals=(*state.signals, mark)),)
    return (state,) if result is UNKNOWN_RESULT else None


def _added(state: RunState, mark: str, amount: int, result: Any) -> tuple[RunState] | None:
    """Add to the sum, once; the same request is told the same sum."""
    known = dict(state.updates)
    if result == ENDED:
        return None if mark in known else _in_phase(state, state.phase, (ENDED,))
    if mark in known:
        return (state,) if result in (known[mark], UNKNOWN_RESULT) else None
    total = amount + (state.updates[-1][1] if state.updates else 0)
    if state.phase == RUNNING and result in (total, UNKNOWN_RESULT):
        return (state._replace(updates=(*state.updates, (mark, total))),)
    return (state,) if result is UNKNOWN_RESULT else None


def _changed(state: RunState, what: str, mark: str, result: Any) -> tuple[RunState] | None:
    """Pause, resume or cancel, once; the same request is told the same answer."""
    known = dict(state.requests)
    if mark in known:
        return (state,) if result in (known[mark], UNKNOWN_RESULT) else None
    asked_before = what == "cancel" and state.cancelled
    if result == ENDED:
        state = state._replace(requests=state.requests | {(mark, ENDED)})
        return None if asked_before else _in_phase(state, state.phase, (ENDED,))
    if state.phase != RUNNING and not asked_before:
        return (state,) if result is UNKNOWN_RESULT else None
    state = state._replace(requests=state.requests | {(mark, DONE)})
    if what == "cancel":
        return (state._replace(cancelled=True),)
    return (state._replace(paused=what == "pause"),)


def _read(state: RunState, result: Any) -> tuple[RunState] | None:
    if result is UNKNOWN_RESULT:
        return (state,)
    if state.phase == ABSENT or result == ABSENT:
        return (state,) if state.phase == result else None
    count = len(result.taken)
    if count < state.taken or state.signals[:count] != result.taken:
        return None
    state = state._replace(taken=count)
    sums = [0, *(total for _, total in state.updates)]
    if result.updates is not None:
        whole = tuple(mark for mark, _ in state.updates) == result.updates
        return (state,) if whole and result.total == sums[-1] else None
    if result.total not in sums[-2:]:
        return None
    counted = sums.index(result.total)
    return None if counted < state.counted else (state._replace(counted=counted),)
