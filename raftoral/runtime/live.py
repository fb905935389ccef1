"""One live run on this node: its record, its replay, and what has been proposed for it.

Owns the bookkeeping of settling. The *tail* is what the history lacks and this node could settle:
the deterministic events that the code yielded, then the answer to what it waits for. The first
``ahead`` of the tail are proposed and not committed yet. Everything else follows from that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from raftoral.ids import Position
from raftoral.machines.commands import Settle

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from raftoral.machines.runs import Run
    from raftoral.registry.definition import Definition
    from raftoral.replay.interpreter import Replay

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
    answers: list[bytes] = field(default_factory=list)
    ahead: int = 0
    attempt: asyncio.Task[Any] | None = None
    stuck: str = ""
    missing: str = ""
    leaving: bool = False

    def committed(self, events: list[bytes]) -> None:
        """Note that ``events`` were settled and fed; drop the answers that they hold."""
        self.ahead = max(0, self.ahead - len(events))
        for data in events:
            if self.answers and self.answers[0] == data:
                self.answers.pop(0)

    def not_taken(self, settle: Settle, *, keep: Callable[[bytes], bool]) -> bool:
        """Note that ``settle`` was not taken; tell whether something has to be settled anew.

        Nothing has to if the run has another epoch, or the history holds those events already (an
        earlier proposal of them came through). Else the whole tail is not under way any more, and
        of the answers only those stay that ``keep`` is true for.
        """
        if self.replay is None or settle.epoch != self.run.epoch:
            return False
        if settle.base + len(settle.events) <= self.replay.position:
            return False
        self.ahead = 0
        self.answers = [data for data in self.answers if keep(data)]
        return True

    def reset(self) -> None:
        """Forget what was done as an owner: the run has another epoch."""
        self.ahead = 0
        self.answers.clear()
        self.leaving = False
        self._stop_attempt()

    def _stop_attempt(self) -> None:
        """Cancel the attempt under way; in a thread it goes on, and its answer is dropped."""
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            attempt.cancel()

    def next_settle(self) -> Settle | None:
        """Return the settlement of what of the tail is not under way, and count it as under way.

        None if there is nothing to settle. A long tail is cut at 384 KiB; the rest follows when
        this part is committed.
        """
        if self.replay is None:
            return None
        tail = [*self.replay.outbox, *self.answers]
        events: list[bytes] = []
        size = 0
        for data in tail[self.ahead :]:
            size += len(data) + EVENT_FRAME_BYTES
            if events and size > SETTLE_BYTES_MAX:
                break
            events.append(data)
        if not events:
            return None
        base = Position(self.replay.position + self.ahead)
        self.ahead += len(events)
        return Settle(self.run.id, self.run.epoch, base, events)

    def close(self) -> None:
        """Drop the generator and the attempt under way."""
        self._stop_attempt()
        replay, self.replay = self.replay, None
        if replay is not None:
            replay.close()
