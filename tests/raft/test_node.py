"""The door to the core: what a `Ready` holds and in which order it must be done."""

from __future__ import annotations

import pytest

from raftoral.errors import UsageError
from raftoral.ids import Index, NodeId, Term
from raftoral.raft.messages import CONTEXT_BYTES_MAX, HardState, Message, MessageType
from raftoral.raft.node import RawNode, Role, SoftState
from tests.raft.network import Network

NODE = NodeId(1)


def test_a_member_at_rest_has_nothing_to_say() -> None:
    """After everything is done, and after a restart, there is no `Ready`."""
    network = Network(3)
    network.elect(1)
    assert not any(network[n].has_ready() for n in (1, 2, 3))
    member = network.members[NODE]
    assert not network.start(NODE, member.log, member.raw.applied).raw.has_ready()


def test_answers_wait_for_the_disk() -> None:
    """Whatever vouches for something leaves after the sync; a leader's appends need not wait."""
    network = Network(3)
    early, late = set(), set()
    network.lose = lambda _: False
    network[1].campaign()
    for _ in range(20):
        for node in (1, 2, 3):
            if network[node].has_ready():
                ready = network[node].ready()
                early |= {m.type for m in ready.messages}
                late |= {m.type for m in ready.messages_after_sync}
                member = network.members[NodeId(node)]
                member.store(ready)
                member.apply(ready)
                network.wire += [*ready.messages, *ready.messages_after_sync]
                network[node].advance()
        network.deliver()
    assert early == {MessageType.APPEND}
    assert late == {
        MessageType.PRE_VOTE,
        MessageType.PRE_VOTE_RESPONSE,
        MessageType.VOTE,
        MessageType.VOTE_RESPONSE,
        MessageType.APPEND_RESPONSE,
    }


def test_what_must_be_synced() -> None:
    """Entries, a term and a vote must be; a commit index alone need not."""
    network = Network(1)
    raw, member = network[1], network.members[NODE]
    raw.campaign()
    seen = []
    while raw.has_ready():
        ready = raw.ready()
        seen.append((ready.hard_state, len(ready.entries), ready.must_sync))
        member.store(ready)
        raw.advance()
    assert seen == [
        (None, 0, False),  # a pre-candidate
        (HardState(Term(1), NODE, Index(1)), 0, True),  # its vote for itself
        (None, 1, True),  # a leader's first entry
        (HardState(Term(1), NODE, Index(2)), 0, False),  # which is committed
    ]


def test_one_ready_at_a_time() -> None:
    """The next `Ready` comes after `advance`, and `advance` after `ready`."""
    raw = Network(1)[1]
    raw.campaign()
    raw.ready()
    assert not raw.has_ready()
    with pytest.raises(AssertionError):
        raw.ready()
    raw.advance()
    with pytest.raises(AssertionError):
        raw.advance()


def test_proposals_between_ready_and_advance_are_kept() -> None:
    """What is proposed while a `Ready` is being done comes with the next one, once."""
    network = Network(1)
    raw, member = network.elect(1), network.members[NODE]
    raw.propose(b"first")
    ready = raw.ready()
    raw.propose(b"second")
    member.store(ready)
    raw.advance()
    assert [e.data for e in raw.ready().entries] == [b"second"]


def test_roles_are_told_once() -> None:
    """A change of leader or role is in one `Ready` only."""
    network = Network(1)
    raw = network[1]
    raw.campaign()
    told = []
    member = network.members[NODE]
    while raw.has_ready():
        ready = raw.ready()
        told.append(ready.soft_state)
        member.store(ready)
        raw.advance()
    assert told[:2] == [
        SoftState(NodeId(0), Role.PRE_CANDIDATE),
        SoftState(NodeId(0), Role.CANDIDATE),
    ]
    assert told[2:] == [SoftState(NODE, Role.LEADER), None]


def test_who_is_no_member_unseats_nobody() -> None:
    """An answer from a stranger is dropped before its term counts."""
    network = Network(3)
    leader = network.elect(1)
    for type_ in (MessageType.APPEND_RESPONSE, MessageType.HEARTBEAT_RESPONSE):
        leader.step(Message(type_, NODE, NodeId(9), Term(99)))
    assert (leader.is_leader, leader.term) == (True, 1)


def test_a_restart_finds_term_vote_and_log() -> None:
    """A member that comes back votes for nobody else in its term and holds its entries."""
    network = Network(3)
    network.elect(1)
    network[1].propose(b"x")
    network.settle()
    member = network.members[NodeId(2)]
    again = network.start(NodeId(2), member.log, member.raw.applied).raw
    status = again.status()
    assert (status.term, status.vote, status.last, status.commit) == (1, 1, 3, 3)
    network[1].propose(b"y")
    network.tick(times=2)
    assert network.applied(2) == [b"x", b"y"]


def test_a_read_context_is_bounded() -> None:
    """A context that no peer would accept is refused where it is given."""
    network = Network(1)
    with pytest.raises(UsageError, match="context"):
        network.elect(1).read_index(bytes(CONTEXT_BYTES_MAX + 1))


def test_a_follower_can_forget_its_leader() -> None:
    """Who follows nobody may vote within what was a lease."""
    network = Network(3, pre_vote=False)
    network.elect(1)
    for node in (2, 3):
        network[node].forget_leader()
    network[2].campaign()
    network.settle()
    assert network.leaders() == [2]


def committed_by_leader() -> tuple[Network, RawNode]:
    """Return three members and their leader, which alone knows that its last entry is committed."""
    network = Network(3)
    leader = network.elect(1)
    leader.propose(b"first")
    network.wire += network.members[NODE].drain()
    network.deliver()
    for node in (2, 3):
        network.wire += network.members[NodeId(node)].drain()
    network.deliver()
    return network, leader


def test_a_commit_index_waits_for_entries() -> None:
    """What followers may commit is told by the next entries; on its own only where it is asked."""
    network, leader = committed_by_leader()
    assert leader.commit == leader.status().last
    ready = leader.ready(news=False)
    assert (ready.messages, leader.has_news) == ([], True)
    network.members[NODE].store(ready)
    leader.advance()
    assert not leader.has_ready(news=False)
    assert leader.has_ready()
    leader.propose(b"second")
    sent = leader.ready(news=False).messages
    assert [(m.commit, len(m.entries)) for m in sent] == [(leader.commit, 1)] * 2
    assert not leader.has_news


def test_one_follower_may_be_told_of_a_commit_ahead_of_the_others() -> None:
    """Who asks for it is told once, without entries; the others still wait for theirs."""
    network, leader = committed_by_leader()
    for node in (2, 2, 9):
        leader.tell_commit(NodeId(node))
    sent = leader.ready(news=False).messages
    assert [(m.to, m.commit, len(m.entries)) for m in sent] == [(2, leader.commit, 0)]
    assert leader.has_news
    network[2].tell_commit(NODE)
    assert not network[2].has_ready()
