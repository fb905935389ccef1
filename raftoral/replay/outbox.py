"""What the code of a run has yielded, held against what its history records.

Owns the comparison. An event that the code yields is checked against the record right where it is
yielded, as long as the next record is the same; else it waits in the outbox until its record comes
by. Each branch yields in an order of its own; the order of branches is that of the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.errors import LimitExceeded
from raftoral.ids import Position
from raftoral.replay.history import HISTORY_BYTES_MAX, HISTORY_EVENTS_MAX, Ended, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from raftoral.replay.joins import Branch


class Outbox:
    """The yielded events that the history lacks, in their order; and how long the history is."""

    __slots__ = ("_entries", "_lines", "_pushed", "_recorded", "_sequence", "position", "size")

    def __init__(self) -> None:
        self.position = Position(0)
        self.size = 0
        self._entries: dict[int, bytes] = {}
        self._lines: dict[int, str] = {}
        self._sequence = 0
        self._recorded: Iterator[bytes] = iter(())
        self._pushed: bytes | None = None

    def __len__(self) -> int:
        """Return how many yielded events the history lacks."""
        return len(self._entries)

    def events(self) -> list[bytes]:
        """Return the yielded events that the history lacks, the oldest first."""
        return list(self._entries.values())

    def stream(self, history: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the events that `put` has not met meanwhile: those somebody has to take."""
        recorded = self._recorded = iter(history)
        while True:
            data, self._pushed = self._pushed, None
            if data is None:
                data = next(recorded, None)
            if data is None:
                return
            yield data

    def passed(self, data: bytes) -> None:
        """Count an event that was taken otherwise."""
        self.position = Position(self.position + 1)
        self.size += len(data)

    def check_room(self, size: int) -> None:
        """Refuse, with `LimitExceeded`, to run ahead beyond what a history may hold."""
        # One event is left for the end.
        if (
            self.position + len(self._entries) >= HISTORY_EVENTS_MAX - 1
            or self.size + size > HISTORY_BYTES_MAX
        ):
            raise LimitExceeded(
                f"the history would pass its bound of {HISTORY_EVENTS_MAX:,} events or "
                f"{HISTORY_BYTES_MAX:,} bytes; end the run and go on in a new one with `Restart`, "
                "or split the work into several runs"
            )

    def put(self, branch: Branch, data: bytes, line: Callable[[], str]) -> bool:
        """Take what ``branch`` yields; tell whether the history has it already.

        ``line`` says where the code stands, for the report of a divergence.
        """
        self.size += len(data)
        if not self._entries and self._pushed is None:
            recorded = next(self._recorded, None)
            if recorded == data:
                self.position = Position(self.position + 1)
                return True
            self._pushed = recorded
        number = self._sequence = self._sequence + 1
        self._entries[number] = data
        self._lines[number] = line()
        branch.outbox.append(number)
        return False

    def oldest(self, branch: Branch | None) -> tuple[bytes, str] | None:
        """Return the oldest event of ``branch`` that the history lacks, and its line.

        Without a branch, that of all branches.
        """
        numbers = iter(self._entries) if branch is None else iter(branch.outbox)
        number = next(numbers, None)
        return None if number is None else (self._entries[number], self._lines[number])

    def confirm(self, branch: Branch, data: bytes) -> bool:
        """Drop the oldest event of ``branch`` if ``data`` is its record; tell whether it is."""
        known = self.oldest(branch)
        if known is None or (known[0] != data and not _same_failure(known[0], data)):
            return False
        number = branch.outbox.popleft()
        del self._entries[number], self._lines[number]
        self.position = Position(self.position + 1)
        return True

    def withdraw(self, branch: Branch) -> None:
        """Forget the newest event of ``branch`` that the history lacks: it is not to come."""
        number = branch.outbox.pop()
        self.size -= len(self._entries.pop(number))
        del self._lines[number]

    def clear(self) -> None:
        """Forget everything yielded: the run is over by other means."""
        self._entries.clear()
        self._lines.clear()


def _same_failure(expected: bytes, recorded: bytes) -> bool:
    """Tell whether both are failed ends of one name: a message may hold an address of memory."""
    mine, theirs = decode(expected), decode(recorded)
    if not isinstance(mine, Ended) or not isinstance(theirs, Ended):
        return False
    return (
        mine.status == theirs.status == "failed"
        and isinstance(mine.value, list)
        and isinstance(theirs.value, list)
        and mine.value[0] == theirs.value[0]
    )
