"""One live run on this node: its record, its replay, and what has been proposed for it.

Owns the bookkeeping of settling. The *tail* is what the history lacks and this node could settle:
the events that the code yielded, then the answers to what it waits for. What of the tail is
proposed and not committed yet is *in flight*. Everything else follows from that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

from raftoral.ids import Position
from raftoral.machines.commands import Settle
from raftoral.replay.history import chained
from raftoral.replay.waits import CallbackWait, ChildWait, SignalWait, TimerWait, describe_waiting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from raftoral.machines.runs import Run
    from raftoral.registry.definition import Definition
    from raftoral.replay.interpreter import Replay
    from raftoral.replay.waits import Wait
    from raftoral.runtime.attempts import Attempt

SETTLE_BYTES_MAX: Final = 384 * 1024
"""How many bytes of events go into one entry; what encloses them takes the rest of its 512 KiB."""

EVENT_FRAME_BYTES: Final = 5
"""What each event takes beside its own bytes."""


@dataclass(slots=True)
class Live:
    """A run that has not ended. ``stuck`` says why this node cannot follow it, if it cannot."""

    run: Run
    definition: Definition | None = None
    replay: Replay | None = None
    todo: dict[str, None] = field(default_factory=dict)
    """The paths whose waits the owner has to look at."""
    takers: dict[str, None] = field(default_factory=dict)
    """The paths that can take something from a mailbox once no answer is in flight."""
    attempts: dict[str, Attempt] = field(default_factory=dict)
    """The attempts under way, by path."""
    asked: dict[str, None] = field(default_factory=dict)
    """The steps that this owner may attempt once, and has not begun."""
    answers: dict[str, bytes] = field(default_factory=dict)
    """Answers by path that no committed event has given yet."""
    unsent: dict[str, None] = field(default_factory=dict)
    """The paths of the answers that are not in flight, in the order in which they came."""
    flight: list[tuple[bytes, str | None]] = field(default_factory=list)
    """What is in flight, in order: the event, and its path if it is an answer."""
    flown: int = 0
    """How many of the yielded events are in flight."""
    chain: bytes = b""
    """The digest of the history as far as it was fed."""
    tip: bytes | None = None
    """The digest of the history with all that is in flight; None if nothing is."""
    round: int = 0
    """Counts how often everything in flight was given up; what comes of older rounds is ignored."""
    stuck: str = ""
    missing: str = ""
    leaving: bool = False

    # -------------------------------------------------------------- looking
    def look(self, paths: Iterable[str] | None = None) -> None:
        """Have the owner look at the waits of ``paths``, or at all of them."""
        if paths is not None:
            self.todo.update(dict.fromkeys(paths))
        elif self.replay is not None:
            self.todo.update(dict.fromkeys(self.replay.waits))

    def open_waits(self) -> Iterator[Wait]:
        """Yield what is to be looked at and has no answer yet; forget that it is to be looked at.

        An answer to what nobody waits for any more is dropped if it is not in flight.
        """
        assert self.replay is not None
        waits, changed = self.replay.waits, self.replay.changed
        if changed:
            self.todo.update(changed)
            changed.clear()
        todo, self.todo = self.todo, {}
        for path in todo:
            wait = waits.get(path)
            if wait is None:
                if path in self.unsent:
                    del self.unsent[path], self.answers[path]
            elif path not in self.answers:
                yield wait

    # -------------------------------------------------------------- settling
    def answer(self, path: str, event: bytes) -> None:
        """Note the answer to what the run waits for at ``path``."""
        self.answers[path] = event
        self.unsent[path] = None

    @property
    def answering(self) -> bool:
        """Whether an answer is in flight."""
        return len(self.flight) > self.flown

    def committed(self, events: Sequence[bytes]) -> None:
        """Note that ``events`` were settled and fed; forget the answers that they hold.

        An event of somebody else's takes the place of what is in flight: nothing of it can be taken
        any more.
        """
        for data in events:
            if self.flight and self.flight[0][0] == data:
                _, path = self.flight.pop(0)
                if path is None:
                    self.flown -= 1
                else:
                    del self.answers[path]
            else:
                self.answers = {path: own for path, own in self.answers.items() if own != data}
                self.give_up()

    def give_up(self) -> None:
        """Note that nothing is in flight any more: all of the tail is to be settled anew."""
        self.flight.clear()
        self.flown = 0
        self.tip = None
        self.unsent = dict.fromkeys(self.answers)
        self.round += 1

    def forget_answer(self, path: str) -> None:
        """Drop an answer that is not in flight, and have its wait looked at again."""
        del self.unsent[path], self.answers[path]
        self.todo[path] = None

    def overtaken(self, settle: Settle) -> bool:
        """Tell whether nothing is lost with a ``settle`` that was not taken.

        So it is if the run has another epoch, or the history holds those events already: an earlier
        proposal of them came through.
        """
        if self.replay is None or settle.epoch != self.run.epoch:
            return True
        return settle.base + len(settle.events) <= self.replay.position

    def next_settle(self) -> Settle | None:
        """Return the settlement of what of the tail is not in flight, and count it as in flight.

        None if there is nothing to settle. A long tail is cut at 384 KiB; the rest follows when
        this part is committed. While something is to be taken from a mailbox no other answer
        leaves, until it can go first.
        """
        if self.replay is None:
            return None
        base = Position(self.replay.position + len(self.flight))
        chain = self.chain if self.tip is None else self.tip
        events: list[bytes] = []
        size = 0
        for data, path in self._tail(self.replay):
            size += len(data) + EVENT_FRAME_BYTES
            if events and size > SETTLE_BYTES_MAX:
                break
            events.append(data)
            self.flight.append((data, path))
            if path is None:
                self.flown += 1
            else:
                del self.unsent[path]
        if not events:
            return None
        self.tip = chained(chain, events)
        return Settle(self.run.id, self.run.epoch, base, chain, events)

    def _tail(self, replay: Replay) -> list[tuple[bytes, str | None]]:
        """Return what could be settled and is not in flight."""
        tail: list[tuple[bytes, str | None]] = []
        if replay.yielded > self.flown:
            tail += [(data, None) for data in islice(replay.outbox, self.flown, None)]
        if self.unsent and not (self.takers and self.answering):
            tail += [(self.answers[path], path) for path in self.unsent]
        return tail

    # -------------------------------------------------------------- leaving
    def idle(self) -> bool:
        """Tell whether nothing of the run is under way here, so that no work is lost with it."""
        yielded = self.replay is not None and self.replay.yielded
        busy = self.attempts or self.answers or self.flight or self.takers or self.asked
        return not (self.leaving or busy or yielded)

    def resting(self) -> bool:
        """Tell whether its generators may be dropped: it waits for time or others, nothing else."""
        if self.leaving or self.attempts or self.answers or self.flight or self.takers:
            return False
        if self.replay is None:
            return bool(self.stuck or self.missing)
        if self.replay.yielded or self.replay.ended or self.asked:
            return False
        return all(map(_rests, self.replay.waits.values()))

    def waiting_for(self) -> str:
        """Return what the run waits for, for people; empty if that is nothing."""
        if self.replay is None or self.replay.waiting is None:
            return ""
        more = len(self.replay.waits) - 1
        first = describe_waiting(self.replay.waiting)
        return f"{first}, and {more} more" if more else first

    def reset(self) -> None:
        """Forget what was done as an owner: the run has another epoch."""
        self.answers.clear()
        self.takers.clear()
        self.asked.clear()
        self.give_up()
        self.leaving = False
        self._stop_attempts()
        self.look()

    def _stop_attempts(self) -> None:
        """Cancel the attempts under way; in a thread one goes on, and its answer is dropped."""
        attempts, self.attempts = self.attempts, {}
        for attempt in attempts.values():
            attempt.cancel()

    def close(self) -> None:
        """Drop the generators and the attempts under way."""
        self._stop_attempts()
        replay, self.replay = self.replay, None
        if replay is not None:
            replay.close()


def _rests(wait: Wait) -> bool:
    match wait:
        case TimerWait(due=due):
            return due is not None
        case SignalWait(effect=effect, due=due):
            return due is not None or effect.within is None
        case _:
            return isinstance(wait, CallbackWait | ChildWait)
