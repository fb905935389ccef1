"""Majorities, against a second implementation that counts every subset."""

from __future__ import annotations

from itertools import combinations
from random import Random
from typing import TYPE_CHECKING

from raftoral.ids import Index, NodeId
from raftoral.raft.quorum import (
    INDEX_MAX,
    VoteResult,
    commit_index,
    joint_commit_index,
    joint_vote_result,
    vote_result,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def majorities(voters: set[NodeId]) -> Iterator[set[NodeId]]:
    """Yield every set of more than half of the voters."""
    for size in range(len(voters) // 2 + 1, len(voters) + 1):
        for chosen in combinations(sorted(voters), size):
            yield set(chosen)


def slow_commit(match: dict[NodeId, Index], voters: set[NodeId]) -> Index:
    """Return the best index that all nodes of some majority hold."""
    if not voters:
        return INDEX_MAX
    return max(min(match.get(v, Index(0)) for v in chosen) for chosen in majorities(voters))


def slow_vote(votes: dict[NodeId, bool], voters: set[NodeId]) -> VoteResult:
    """Try all ways in which the missing votes could come in."""
    if not voters:
        return VoteResult.WON
    if any(all(votes.get(v, False) for v in chosen) for chosen in majorities(voters)):
        return VoteResult.WON
    if any(all(votes.get(v, True) for v in chosen) for chosen in majorities(voters)):
        return VoteResult.PENDING
    return VoteResult.LOST


def some_nodes(random: Random) -> set[NodeId]:
    """Return up to six of eight nodes."""
    return {NodeId(n) for n in random.sample(range(1, 9), random.randrange(7))}


def test_the_commit_index_is_what_a_majority_holds() -> None:
    """The quick answer equals the best minimum over all majorities."""
    random = Random(1)
    for _ in range(500):
        voters, known = some_nodes(random), some_nodes(random)
        match = {node: Index(random.randrange(6)) for node in known}
        assert commit_index(match, voters) == slow_commit(match, voters)


def test_a_vote_is_decided_when_no_other_vote_can_change_it() -> None:
    """The quick answer equals trying every majority with the missing votes."""
    random = Random(2)
    for _ in range(500):
        voters, known = some_nodes(random), some_nodes(random)
        votes = {node: random.random() < 0.5 for node in known}
        assert vote_result(votes, voters) is slow_vote(votes, voters)


def test_joint_configurations_must_agree() -> None:
    """Of two configurations the slower commits, one refusal loses, and both must elect."""
    random = Random(3)
    for _ in range(500):
        old, new, known = some_nodes(random), some_nodes(random), some_nodes(random)
        match = {node: Index(random.randrange(6)) for node in known}
        assert joint_commit_index(match, new, old) == min(
            slow_commit(match, new), slow_commit(match, old)
        )
        votes = {node: random.random() < 0.5 for node in known}
        both = {slow_vote(votes, new), slow_vote(votes, old)}
        expected = next(
            r for r in (VoteResult.LOST, VoteResult.PENDING, VoteResult.WON) if r in both
        )
        assert joint_vote_result(votes, new, old) is expected
