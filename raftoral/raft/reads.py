"""Linearizable reads without a log entry: which reads wait for which heartbeat round.

Owns the reads that a leader has promised to answer. A read may be served at the commit index of its
arrival once a majority has answered a heartbeat sent after it: then no newer leader can have
committed anything before. Rounds are numbered, and an answer to one round confirms all earlier
ones, so any number of reads share a round and the confirmed round is a quorum's index like any.

Source: Raft thesis, section 6.4.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from raftoral.ids import Index

if TYPE_CHECKING:
    from raftoral.ids import NodeId

_ROUND_BYTES = 8


class ReadState(NamedTuple):
    """A read may be served once the machine has applied ``index``."""

    index: Index  # type: ignore[assignment]  # a record, nobody searches in it
    context: bytes


class ReadRequest(NamedTuple):
    """Who asks, and the context that comes back with the answer."""

    requester: NodeId
    context: bytes


class ReadQueue:
    """The reads of one leader's reign, oldest first."""

    __slots__ = ("_round", "_waiting", "acknowledged", "early", "needs_round")

    def __init__(self) -> None:
        self._round = 0
        self._waiting: deque[tuple[int, Index, ReadRequest]] = deque()
        self.acknowledged: dict[NodeId, Index] = {}
        """The last round that each node has answered."""
        self.early: list[ReadRequest] = []
        """Reads that came before the reign's first commit; only then is the commit index true."""
        self.needs_round = False

    def add(self, request: ReadRequest, commit: Index) -> None:
        """Let ``request`` wait for the next round, to be served at ``commit``."""
        self._waiting.append((self._round + 1, commit, request))
        self.needs_round = True

    def begin_round(self, leader: NodeId) -> bytes:
        """Return the context for the heartbeats of a new round, which the leader has answered."""
        self._round += 1
        self.needs_round = False
        self.acknowledged[leader] = Index(self._round)
        return self.context()

    def context(self) -> bytes:
        """Return what a heartbeat carries now: the running round, or nothing if none waits."""
        if not self._waiting or not self._round:
            return b""
        return self._round.to_bytes(_ROUND_BYTES, "big")

    def acknowledge(self, node: NodeId, context: bytes) -> None:
        """Note a heartbeat's answer with this context."""
        if len(context) != _ROUND_BYTES:
            return
        number = int.from_bytes(context, "big")
        if self.acknowledged.get(node, 0) < number <= self._round:
            self.acknowledged[node] = Index(number)

    def release(self, confirmed: Index) -> list[tuple[Index, ReadRequest]]:
        """Return the reads of all rounds up to ``confirmed``, with the index of each."""
        released = []
        while self._waiting and self._waiting[0][0] <= confirmed:
            _, index, request = self._waiting.popleft()
            released.append((index, request))
        return released
