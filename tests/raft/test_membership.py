"""Steps between memberships keep every two majorities overlapping."""

from __future__ import annotations

from itertools import combinations
from random import Random

import pytest

from raftoral.ids import NodeId
from raftoral.raft.membership import ConfChangeError, Membership
from raftoral.raft.messages import ConfChange, ConfOp, Transition


def nodes(*ids: int) -> frozenset[NodeId]:
    """Return a set of node ids."""
    return frozenset(NodeId(n) for n in ids)


def quorums(voters: frozenset[NodeId]) -> list[frozenset[NodeId]]:
    """Return the smallest majorities."""
    return [frozenset(c) for c in combinations(sorted(voters), len(voters) // 2 + 1)]


def deciders(membership: Membership) -> list[frozenset[NodeId]]:
    """Return every smallest set of nodes that can decide under ``membership``."""
    if not membership.is_joint:
        return quorums(membership.voters)
    return [a | b for a in quorums(membership.voters) for b in quorums(membership.outgoing)]


def random_change(random: Random) -> ConfChange:
    """Return a change of up to three nodes, often a senseless one."""
    steps = tuple(
        (random.choice(list(ConfOp)), NodeId(random.randrange(6)))
        for _ in range(random.randrange(4))
    )
    return ConfChange(steps, random.choice(list(Transition)))


def test_section_6_old_and_new_majorities_always_share_a_voter() -> None:
    """After any legal step, no two disjoint sets of nodes could decide before and after."""
    random = Random(5)
    steps = 0
    for _ in range(60):
        membership = Membership(voters=nodes(1))
        for _ in range(30):
            try:
                after = membership.apply(random_change(random)).membership
            except ConfChangeError:
                continue
            steps += 1
            for old in deciders(membership):
                assert all(old & new for new in deciders(after)), (membership, after)
            membership = after
    assert steps > 300


def test_a_membership_is_always_well_formed() -> None:
    """Nobody votes and learns at once, only outgoing voters learn next, and a voter stays."""
    random = Random(6)
    membership = Membership(voters=nodes(1))
    for _ in range(2000):
        try:
            change = membership.apply(random_change(random))
        except ConfChangeError:
            continue
        membership = change.membership
        assert membership.voters
        assert not membership.learners & (membership.voters | membership.outgoing)
        assert membership.learners_next <= membership.outgoing - membership.voters
        assert membership.is_joint or not membership.auto_leave
        assert change.kept <= membership.members
        assert Membership.of(membership.conf_state()) == membership
        assert NodeId(0) not in membership.members


def test_a_node_that_left_and_came_back_is_unknown() -> None:
    """A member that a step removes and adds again starts from nothing."""
    before = Membership(voters=nodes(1, 2))
    steps = ((ConfOp.REMOVE, NodeId(2)), (ConfOp.ADD_VOTER, NodeId(2)))
    change = before.simple(steps)
    assert change.membership == before
    assert change.kept == nodes(1)


@pytest.mark.parametrize(
    ("steps", "transition", "message"),
    [
        ("r1", Transition.AUTO, "removed all voters"),
        ("", Transition.AUTO, "can't leave a non-joint config"),
    ],
)
def test_a_refusal_names_its_reason(steps: str, transition: Transition, message: str) -> None:
    """An impossible step raises with the rule that forbids it."""
    parsed = tuple((ConfOp.REMOVE, NodeId(int(word[1:]))) for word in steps.split())
    with pytest.raises(ConfChangeError, match=message):
        Membership(voters=nodes(1)).apply(ConfChange(parsed, transition))
