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

    from raftoral.machines.runs import Run
    from raftoral.registry.definition import Definition
    from raftoral.replay.interpreter import Replay

SETTLE_BYTES_MAX: Final = 512 * 1024


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

    def forget_proposals(self) -> None:
        """Note that nothing of the tail is under way any more; the tail itself stays."""
        self.ahead = 0

    def reset(self) -> None:
        """Forget what was done as an owner: the run has another epoch."""
        self.ahead = 0
        self.answers.clear()
        self.attempt = None
        self.leaving = False

    def next_settle(self) -> Settle | None:
        """Return the settlement of what of the tail is not under way, and count it as under way.

        None if there is nothing to settle. A long tail is cut at 512 KiB; the rest follows when
        this part is committed.
        """
        if self.replay is None:
            return None
        tail = [*self.replay.outbox, *self.answers]
        events: list[bytes] = []
        size = 0
        for data in tail[self.ahead :]:
            size += len(data)
            if events and size > SETTLE_BYTES_MAX:
                break
            events.append(data)
        if not events:
            return None
        base = Position(self.replay.position + self.ahead)
        self.ahead += len(events)
        return Settle(self.run.id, self.run.epoch, base, events)

    def close(self) -> None:
        """Drop the generator."""
        if self.replay is not None:
            self.replay.close()
            self.replay = None
