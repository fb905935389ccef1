"""Who a member is, what it may be, and its limits.

Owns two small types that every part of the core shares.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from raftoral.ids import NOBODY

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.ids import NodeId
    from raftoral.raft.trace import Tracer


class Role(Enum):
    """What a member is in its term."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class OnRemoval(Enum):
    """What a leader does that is no voter any more."""

    HAND_OVER = "hand over"
    """It leads, without taking proposals, until a majority of the others knows that it left."""

    STEP_DOWN = "step down"
    STAY = "stay"


def _silent(_: str) -> None:
    """Drop a line of the core's story."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Who a member is, and its limits. Times are in ticks, sizes in bytes of entry data.

    ``chance(n)`` returns 0 to n - 1 and spreads elections: a follower waits ``election_ticks`` plus
    that many ticks. ``inflight_bytes_max`` 0 means no such limit. With ``batch`` entries leave once
    per `Ready`, else with each proposal. ``kept_bytes_max`` of applied entries stay in memory for
    followers. ``say`` hears one line per change of role or membership, ``trace`` every step.

    With ``pipelined`` a `Ready` may be taken before the last one is done, see `RawNode`. Without
    ``check_changes`` any membership change enters the log, for hosts that know which are legal when
    they are applied; an illegal one is then refused by `RawNode.apply_conf_change`.
    """

    id: NodeId
    election_ticks: int
    heartbeat_ticks: int
    chance: Callable[[int], int]
    message_bytes_max: int = 256 * 1024
    committed_bytes_max: int = 1024 * 1024
    inflight_max: int = 256
    inflight_bytes_max: int = 0
    uncommitted_bytes_max: int = 16 * 1024 * 1024
    kept_bytes_max: int = 512 * 1024
    check_quorum: bool = True
    pre_vote: bool = True
    batch: bool = True
    pipelined: bool = False
    check_changes: bool = True
    on_removal: OnRemoval = OnRemoval.HAND_OVER
    say: Callable[[str], None] = _silent
    trace: Tracer | None = None

    def __post_init__(self) -> None:
        assert self.id != NOBODY, "0 is nobody"
        assert 0 < self.heartbeat_ticks < self.election_ticks, "heartbeats must outrun elections"
        assert self.inflight_max > 0, "at least one append must be allowed to be under way"
        assert self.message_bytes_max >= 0, "a size is not negative"
