"""The leader's view of one follower: how far it is and what may be sent to it.

Owns the three ways of sending: PROBE (one message a heartbeat, until the logs are known to agree),
REPLICATE (as much as the window holds) and SNAPSHOT (nothing, until it is installed). Never sends.
The rule it keeps: ``match < next``, and what lies between is under way.

Source: Raft paper, section 5.3; thesis section 10.2.1 for the window.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

from raftoral.ids import Index
from raftoral.raft.messages import NO_INDEX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.raft.messages import Entry


class ProgressState(Enum):
    """How entries go to a follower."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Inflights:
    """The appends that a follower has not answered: last index and bytes of each, in order.

    Full at ``count_max`` messages or once they hold ``bytes_max`` bytes (0: no such limit), so the
    last one may go beyond the bytes.
    """

    __slots__ = ("_bytes", "_window", "bytes_max", "count_max", "full")

    def __init__(self, count_max: int, bytes_max: int) -> None:
        self.count_max = count_max
        self.bytes_max = bytes_max
        self._window: deque[tuple[Index, int]] = deque()
        self._bytes = 0
        self.full = False
        """Whether nothing more may be sent."""

    def __len__(self) -> int:
        return len(self._window)

    def add(self, last: Index, size: int) -> None:
        """Note a message whose last entry is ``last``; the window must not be full."""
        assert not self.full, "a message was sent into a full window"
        self._window.append((last, size))
        self._bytes += size
        self.full = len(self._window) >= self.count_max or 0 < self.bytes_max <= self._bytes

    def free_to(self, index: Index) -> None:
        """Forget the messages whose last entry is at most ``index``."""
        window = self._window
        while window and window[0][0] <= index:
            self._bytes -= window.popleft()[1]
        if self.full:
            self.full = len(window) >= self.count_max or 0 < self.bytes_max <= self._bytes

    def clear(self) -> None:
        """Forget everything."""
        self._window.clear()
        self._bytes = 0
        self.full = False


class Progress:
    """One follower as its leader sees it.

    ``match`` is the last index known to be stored there, ``next`` the first one to send,
    ``commit_sent`` the highest commit index that was told, ``commit_known`` the one that its answers
    to heartbeats confirm; ``paused`` holds appends back until an
    answer or a heartbeat's answer comes.
    """

    __slots__ = (
        "active",
        "commit_known",
        "commit_sent",
        "inflights",
        "is_learner",
        "match",
        "next",
        "paused",
        "pending_snapshot",
        "state",
    )

    def __init__(self, next_index: Index, inflights: Inflights) -> None:
        self.match = NO_INDEX
        self.next = next_index
        self.inflights = inflights
        self.state = ProgressState.PROBE
        self.pending_snapshot = NO_INDEX
        self.commit_sent = NO_INDEX
        self.commit_known = NO_INDEX
        self.paused = False
        self.active = False
        self.is_learner = False

    # -------------------------------------------------------------- transitions
    def become_probe(self) -> None:
        """Find out where the logs agree, from behind the match or a snapshot just installed."""
        after_snapshot = self.pending_snapshot if self.state is ProgressState.SNAPSHOT else 0
        self._become(ProgressState.PROBE)
        self.next = Index(max(self.match, after_snapshot) + 1)
        self.commit_sent = Index(min(self.commit_sent, self.next - 1))

    def become_replicate(self) -> None:
        """Send as fast as the window allows, from behind the match."""
        self._become(ProgressState.REPLICATE)
        self.next = Index(self.match + 1)

    def become_snapshot(self, index: Index) -> None:
        """Wait for the snapshot at ``index`` to be installed."""
        self._become(ProgressState.SNAPSHOT)
        self.pending_snapshot = index
        self.next = Index(index + 1)
        self.commit_sent = index

    def _become(self, state: ProgressState) -> None:
        self.paused = False
        self.pending_snapshot = NO_INDEX
        self.state = state
        self.inflights.clear()

    # -------------------------------------------------------------- sending
    @property
    def is_paused(self) -> bool:
        """Whether no append may be sent now."""
        return self.paused or self.state is ProgressState.SNAPSHOT

    def sent(self, entries: Sequence[Entry], commit: Index) -> None:
        """Note an append with these entries and this commit index."""
        if self.state is ProgressState.REPLICATE:
            if entries:
                self.next = Index(self.next + len(entries))
                self.inflights.add(entries[-1].index, sum([len(entry.data) for entry in entries]))
            # Into a full window only one more message goes, as a probe: see `may_carry`.
            self.paused = self.inflights.full
        elif entries:
            self.paused = True
        self.commit_sent = commit

    @property
    def may_carry(self) -> bool:
        """Whether an append to this follower may hold entries.

        With a full window only an empty one goes, so that a follower whose answers were all lost
        still answers something.
        """
        return self.state is not ProgressState.REPLICATE or not self.inflights.full

    def can_bump_commit(self, commit: Index) -> bool:
        """Whether telling ``commit`` could raise the follower's own."""
        return commit > self.commit_sent and self.commit_sent < self.next - 1

    # -------------------------------------------------------------- answers
    def acknowledge(self, index: Index) -> bool:
        """Note that the follower holds everything up to ``index``; False for old news."""
        if index <= self.match:
            return False
        self.match = index
        self.next = Index(max(self.next, index + 1))
        self.paused = False
        return True

    def step_back(self, rejected: Index, hint: Index) -> bool:
        """Lower `next` after a refused append; False if the refusal is old.

        ``rejected`` is the index before the refused entries, ``hint`` where the logs may agree.
        """
        if self.state is ProgressState.REPLICATE:
            if rejected <= self.match:
                return False
            self.next = Index(self.match + 1)
        else:
            # A probing follower has one message under way; another index is an old answer.
            if self.next - 1 != rejected:
                return False
            self.next = Index(max(min(rejected, hint + 1), self.match + 1))
            self.paused = False
        self.commit_sent = Index(min(self.commit_sent, self.next - 1))
        return True
