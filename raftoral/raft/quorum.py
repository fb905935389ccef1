"""What a majority says, of one configuration or of two joint ones.

Owns two questions: how far is the log committed, and is the election decided. Pure functions over
sets; never counts a node that is not a voter.

Source: Raft paper, sections 5.3, 5.4 and 6; thesis section 4.3.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from raftoral.ids import Index
from raftoral.raft.messages import NUMBER_MAX

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from raftoral.ids import NodeId

INDEX_MAX: Final = Index(NUMBER_MAX)


class VoteResult(Enum):
    """Where an election stands."""

    PENDING = "pending"
    LOST = "lost"
    WON = "won"


def commit_index(match: Mapping[NodeId, Index], voters: Collection[NodeId]) -> Index:
    """Return the highest log index held by a majority of ``voters``.

    ``match`` gives, per node, the last index that it is known to have stored; an absent voter
    counts as 0. With no voters the answer is ``INDEX_MAX``, so that the other half of a joint
    configuration decides.
    """
    if not voters:
        return INDEX_MAX
    nothing = Index(0)
    stored = sorted([match.get(voter, nothing) for voter in voters])
    return stored[(len(stored) - 1) // 2]


def joint_commit_index(
    match: Mapping[NodeId, Index], voters: Collection[NodeId], outgoing: Collection[NodeId]
) -> Index:
    """Return the highest index that both configurations hold."""
    if not outgoing:
        return commit_index(match, voters)
    return min(commit_index(match, voters), commit_index(match, outgoing))


def vote_result(votes: Mapping[NodeId, bool], voters: Collection[NodeId]) -> VoteResult:
    """Return whether ``votes`` decide an election among ``voters``; without voters it is won."""
    quorum = len(voters) // 2 + 1
    granted = sum(votes.get(voter) is True for voter in voters)
    missing = sum(voter not in votes for voter in voters)
    if granted >= quorum or not voters:
        return VoteResult.WON
    return VoteResult.PENDING if granted + missing >= quorum else VoteResult.LOST


def joint_vote_result(
    votes: Mapping[NodeId, bool], voters: Collection[NodeId], outgoing: Collection[NodeId]
) -> VoteResult:
    """Return whether both configurations elect; one that refuses is enough to lose."""
    results = {vote_result(votes, voters), vote_result(votes, outgoing)}
    if VoteResult.LOST in results:
        return VoteResult.LOST
    return VoteResult.PENDING if VoteResult.PENDING in results else VoteResult.WON
