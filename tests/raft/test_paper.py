"""The rules of the Raft paper and thesis, each under its section number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from raftoral.errors import NotLeader, PeerError, ProposalDropped
from raftoral.ids import Index, NodeId, Term
from raftoral.raft.membership import ConfChangeError
from raftoral.raft.messages import (
    ConfChange,
    ConfOp,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageType,
    SnapshotMeta,
    Transition,
)
from raftoral.raft.node import OnRemoval, Role
from raftoral.raft.progress import ProgressState
from tests.raft.network import MemoryLog, Network

if TYPE_CHECKING:
    from raftoral.raft.node import RawNode

ADD, REMOVE, LEARN = ConfOp.ADD_VOTER, ConfOp.REMOVE, ConfOp.ADD_LEARNER


def change(*steps: tuple[ConfOp, int], transition: Transition = Transition.AUTO) -> ConfChange:
    """Return a membership change."""
    return ConfChange(tuple((op, NodeId(node)) for op, node in steps), transition)


def lonely(terms: list[int], hard_state: HardState, **options: Any) -> Network:
    """Return member 1 of three over a stored log; nobody else is there."""
    network = Network(0, **options)
    conf = ConfState((NodeId(1), NodeId(2), NodeId(3)))
    log = MemoryLog(SnapshotMeta(Index(0), Term(0), conf))
    log.append([Entry(Term(t), Index(i), EntryKind.NORMAL, b"") for i, t in enumerate(terms, 1)])
    log.hard_state = hard_state
    network.start(NodeId(1), log, Index(0))
    return network


def said(network: Network) -> list[Message]:
    """Return what the members want to send now, and forget it."""
    network.process()
    messages, network.wire = network.wire, []
    return messages


def vote_request(term: int, log_term: int, index: int, sender: int = 2) -> Message:
    """Return a candidate's request to member 1."""
    return Message(
        MessageType.VOTE, NodeId(1), NodeId(sender), Term(term), Term(log_term), Index(index)
    )


# ------------------------------------------------------------------ 5.1 terms
def test_section_5_1_a_higher_term_makes_everyone_a_follower() -> None:
    """A leader and a candidate that see a higher term follow it at once."""
    network = Network(3)
    for node in (network.elect(1), network[2]):
        node.campaign()
        answer = Message(
            MessageType.APPEND_RESPONSE, node.id, NodeId(3), Term(node.term + 5), reject=True
        )
        node.step(answer)
        assert (node.role, node.term) == (Role.FOLLOWER, answer.term)


def test_section_5_1_a_stale_term_is_rejected() -> None:
    """Entries of an old leader are not taken, and it is told the newer term."""
    network = lonely([1], HardState(Term(5)))
    old = Message(MessageType.APPEND, NodeId(1), NodeId(2), Term(4), Term(1), Index(1))
    network[1].step(old)
    (answer,) = said(network)
    assert (answer.type, answer.term) == (MessageType.APPEND_RESPONSE, 5)


# ------------------------------------------------------------------ 5.2 elections
def test_section_5_2_servers_start_as_followers() -> None:
    """A member that starts follows nobody in its stored term."""
    node = lonely([1], HardState(Term(3), NodeId(2)))[1]
    assert (node.role, node.leader, node.term) == (Role.FOLLOWER, 0, 3)


def test_section_5_2_a_silent_leader_is_replaced() -> None:
    """Without heartbeats a follower stands within two election timeouts and votes for itself."""
    network = lonely([], HardState(), pre_vote=False)
    for _ in range(20):
        network[1].tick()
    requests = said(network)
    assert {m.to for m in requests} == {2, 3}
    assert {m.type for m in requests} == {MessageType.VOTE}
    assert network[1].status().vote == 1


def test_section_5_2_election_timeouts_are_spread() -> None:
    """Timeouts take every value from one to just under two election timeouts."""
    network = lonely([], HardState(), pre_vote=False)
    node = network[1]
    seen = set()
    for _ in range(400):
        node._core.become_follower(node.term, NodeId(2))
        seen.add(node._core.election_timeout)
    assert seen == set(range(10, 20))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_section_5_2_a_majority_elects(size: int) -> None:
    """A candidate with a majority leads, and everyone learns it."""
    network = Network(size)
    network.elect(1)
    assert [network[n].leader for n in range(1, size + 1)] == [1] * size


def test_section_5_2_one_vote_a_term() -> None:
    """A vote is given once a term, and again only to the same candidate."""
    network = lonely([], HardState())
    votes = []
    for sender in (2, 3, 2):
        network[1].step(vote_request(1, 0, 0, sender))
        votes += [(m.to, m.reject) for m in said(network)]
    assert votes == [(2, False), (3, True), (2, False)]


def test_section_5_2_a_split_vote_is_settled_later() -> None:
    """Two candidates of one term both fail, and a later one wins."""
    network = Network(4, pre_vote=False)
    network[1].campaign()
    network[2].campaign()
    network.lose = lambda m: (m.from_, m.to) in ((1, 4), (2, 3))
    network.settle()
    assert network.leaders() == []
    network.heal()
    network.tick(times=60)
    assert len(network.leaders()) == 1


def test_section_5_2_a_candidate_yields_to_the_leader_of_its_term() -> None:
    """A candidate that hears the elected leader of its own term follows it."""
    network = lonely([], HardState(), pre_vote=False)
    network[1].campaign()
    network[1].step(Message(MessageType.HEARTBEAT, NodeId(1), NodeId(3), Term(1)))
    assert (network[1].role, network[1].leader) == (Role.FOLLOWER, 3)


# ------------------------------------------------------------------ 5.3 replication
def test_section_5_3_entries_reach_everyone_in_order() -> None:
    """What a leader accepts is applied by all, once, in its order."""
    network = Network(3)
    leader = network.elect(1)
    for n in range(50):
        leader.propose(b"%d" % n)
    network.settle()
    assert [network.applied(n) for n in (1, 2, 3)] == [[b"%d" % n for n in range(50)]] * 3


def test_section_5_3_a_majority_is_enough() -> None:
    """An entry commits with two of three, not with one."""
    network = Network(3)
    leader = network.elect(1)
    network.isolate(3)
    leader.propose(b"two")
    network.settle()
    assert network.applied(1) == [b"two"]
    network.isolate(1, 2, 3)
    leader.propose(b"one")
    network.settle()
    assert network.applied(1) == [b"two"]


def test_section_5_3_a_divergent_follower_is_made_to_agree() -> None:
    """A follower with entries that never committed ends with the leader's log."""
    network = Network(3)
    network.elect(1)
    network.isolate(1)
    for n in range(5):
        network[1].propose(b"lost %d" % n)
    network.process()
    network.deliver()
    network.tick([2, 3], times=40)
    (leader,) = [n for n in network.leaders() if n != 1]
    network[leader].propose(b"kept")
    network.settle()
    network.heal()
    network.tick(times=5)
    assert network.log(1).entries_ == network.log(2).entries_ == network.log(3).entries_
    assert network.applied(1) == [b"kept"]


def test_section_5_3_lost_appends_are_sent_again() -> None:
    """Appends that the network dropped arrive after heartbeats find the gap."""
    network = Network(3, inflight_max=4)
    leader = network.elect(1)
    network.drop(MessageType.APPEND)
    for n in range(20):
        leader.propose(b"%d" % n)
        network.settle()
    assert network.applied(2) == []
    network.heal()
    network.tick(times=8)
    assert len(network.applied(2)) == len(network.applied(3)) == 20


def test_section_5_3_a_window_bounds_what_is_under_way() -> None:
    """No more appends than the window wait for answers, and none is larger than its limit."""
    network = Network(3, inflight_max=3, message_bytes_max=100)
    leader = network.elect(1)
    network.drop(MessageType.APPEND_RESPONSE)
    for _ in range(40):
        leader.propose(bytes(40))
        network.process()
        for message in network.wire:
            assert sum(len(e.data) for e in message.entries) <= 100
        network.deliver()
    view = leader.status().progress[NodeId(2)]
    assert (view.inflight, view.inflight_full, view.paused) == (3, True, True)
    network.heal()
    network.tick(times=30)
    assert len(network.applied(3)) == 40


def test_a_batch_of_proposals_travels_in_one_append() -> None:
    """Proposals between two `Ready`s leave together, one message a follower."""
    network = Network(3)
    leader = network.elect(1)
    for n in range(100):
        leader.propose(b"%d" % n)
    appends = [m for m in said(network) if m.type is MessageType.APPEND]
    assert [len(m.entries) for m in appends] == [100, 100]


def test_the_own_copy_counts_after_the_sync() -> None:
    """An alone leader commits nothing before `advance` says that its entry is stored."""
    network = Network(1)
    leader = network.elect(1)
    index = leader.propose(b"x")
    ready = leader.ready()
    assert [e.index for e in ready.entries] == [index]
    assert leader.commit == index - 1
    network.members[NodeId(1)].store(ready)
    leader.advance()
    assert leader.commit == index


# ------------------------------------------------------------------ 5.4 safety
@pytest.mark.parametrize(
    ("log_term", "index", "granted"),
    [(1, 9, False), (2, 2, False), (2, 3, True), (2, 4, True), (3, 1, True)],
)
def test_section_5_4_1_only_a_complete_log_gets_a_vote(
    log_term: int, index: int, granted: bool
) -> None:
    """A voter refuses a candidate whose log is behind its own."""
    network = lonely([1, 2, 2], HardState(Term(2)))
    network[1].step(vote_request(5, log_term, index))
    (answer,) = said(network)
    assert answer.reject is not granted


def test_section_5_4_2_old_entries_commit_only_with_one_of_the_own_term() -> None:
    """A leader that finds an old entry on a majority does not commit it by counting."""
    network = lonely([1, 2], HardState(Term(2)), pre_vote=False)
    network[1].campaign()
    said(network)
    granted = Message(MessageType.VOTE_RESPONSE, NodeId(1), NodeId(2), Term(3))
    network[1].step(granted)
    said(network)

    def acknowledge(index: int) -> None:
        network[1].step(
            Message(MessageType.APPEND_RESPONSE, NodeId(1), NodeId(2), Term(3), index=Index(index))
        )

    acknowledge(2)
    assert network[1].commit == 0
    acknowledge(3)
    assert network[1].commit == 3


def test_a_leader_appends_an_empty_entry_first() -> None:
    """A new leader's first entry is empty and of its own term (section 8)."""
    network = Network(3)
    network.elect(1)
    first = network.log(2).entries_[0]
    assert (first.term, first.data, first.kind) == (1, b"", EntryKind.NORMAL)


# ------------------------------------------------------------------ 6 membership
def test_section_6_voters_come_and_go() -> None:
    """A cluster grows from one to three and shrinks to the two newcomers."""
    network = Network(1)
    network.elect(1)
    for node in (2, 3):
        network.add(node)
        network.change(1, change((ADD, node)))
        network.tick(times=3)
    network[1].propose(b"for all")
    network.settle()
    assert [network.applied(n) for n in (1, 2, 3)] == [[b"for all"]] * 3
    network.change(1, change((REMOVE, 1)))
    assert network[1].role is Role.FOLLOWER
    network.tick([2, 3], times=40)
    assert network.leaders() in ([2], [3])


def test_section_6_a_removed_leader_stays_until_the_others_know() -> None:
    """It takes no proposals, but leads until a majority knows the commit; then one follows it."""
    network = Network(3)
    leader = network.elect(1)
    network.lose = lambda m: m.from_ == 1 and m.type is MessageType.HEARTBEAT
    network.change(1, change((REMOVE, 1)))
    assert leader.is_leader
    assert leader.conf.voters == (2, 3)
    with pytest.raises(ProposalDropped, match="removed"):
        leader.propose(b"x")
    network.heal()
    network.tick([1])
    assert leader.role is Role.FOLLOWER
    assert network.leaders() == [2]


def test_section_6_a_refusal_tells_a_candidate_what_is_committed() -> None:
    """Who does not know that it became the only voter learns it from those who refuse it."""
    network = Network(3, on_removal=OnRemoval.STEP_DOWN)
    leader = network.elect(2)
    # Member 1 gets the entry that leaves the joint configuration, not the news that it committed.
    network.lose = lambda m: m.to == 1 and (m.commit > 3 or any(e.index > 4 for e in m.entries))
    leader.propose_conf_change(change((REMOVE, 2), (REMOVE, 3), transition=Transition.IMPLICIT))
    while leader.status().last < 4:
        network.process()
        network.deliver()
    leader.propose(b"makes the others' logs longer")
    network.settle()
    network.heal()
    assert (network[1].commit, leader.commit, leader.role) == (3, 4, Role.FOLLOWER)
    network.tick(times=80)
    assert network.leaders() == [1]
    assert network[1].conf.voters == (1,)


def test_section_6_a_joint_change_needs_both_majorities() -> None:
    """While two configurations are joint neither can commit without the other."""
    network = Network(3)
    leader = network.elect(1)
    for node in (4, 5):
        network.add(node)
    network.change(
        1, change((ADD, 4), (ADD, 5), (REMOVE, 2), (REMOVE, 3), transition=Transition.EXPLICIT)
    )
    network.tick(times=3)
    assert leader.conf.voters == (1, 4, 5)
    assert leader.conf.voters_outgoing == (1, 2, 3)
    for side in ((2, 3), (4, 5)):
        network.split(*side)
        before = leader.commit
        leader.propose(b"needs all")
        network.settle()
        assert leader.commit == before
        network.heal()
        network.tick(times=3)
        assert leader.commit > before
    network.change(1, ConfChange())
    network.tick(times=3)
    assert leader.conf == ConfState((NodeId(1), NodeId(4), NodeId(5)))


def test_section_6_a_joint_change_is_left_by_itself() -> None:
    """A change of several nodes ends in its final configuration without another proposal."""
    network = Network(1)
    network.elect(1)
    for node in (2, 3):
        network.add(node)
    network.change(1, change((ADD, 2), (ADD, 3)))
    network.tick(times=5)
    final = ConfState((NodeId(1), NodeId(2), NodeId(3)))
    assert [network[n].conf for n in (1, 2, 3)] == [final] * 3


def test_section_6_one_change_at_a_time() -> None:
    """A second change is refused until the first is applied, and senseless ones at once."""
    network = Network(3)
    leader = network.elect(1)
    leader.propose_conf_change(change((LEARN, 4)))
    with pytest.raises(ProposalDropped, match="pending"):
        leader.propose_conf_change(change((LEARN, 5)))
    network.settle()
    with pytest.raises(ConfChangeError, match="removed all voters"):
        leader.propose_conf_change(
            change((REMOVE, 1), (REMOVE, 2), (REMOVE, 3), transition=Transition.EXPLICIT)
        )
    with pytest.raises(ConfChangeError, match="non-joint"):
        leader.propose_conf_change(ConfChange())
    assert leader.propose_conf_change(change((LEARN, 5)))


def test_section_6_a_learner_follows_without_a_vote() -> None:
    """A learner gets everything, decides nothing, never stands, and can be promoted."""
    network = Network(1)
    leader = network.elect(1)
    network.add(2)
    network.change(1, change((LEARN, 2)))
    network.tick(times=3)
    leader.propose(b"x")
    network.settle()
    assert network.applied(2) == [b"x"]
    network.isolate(2)
    leader.propose(b"alone")
    network.settle()
    assert network.applied(1) == [b"x", b"alone"]
    for _ in range(50):
        network[2].tick()
    assert network[2].role is Role.FOLLOWER
    network.heal()
    network.tick(times=3)
    network.change(1, change((ADD, 2)))
    assert leader.conf.voters == (1, 2)


def test_section_6_a_removed_node_unseats_nobody() -> None:
    """A member that was removed and does not know it cannot disturb the others."""
    network = Network(3)
    leader = network.elect(1)
    network.isolate(3)
    network.change(1, change((REMOVE, 3)))
    network.heal()
    for _ in range(100):
        network[3].tick()
        network.tick([1, 2])
    assert (leader.is_leader, leader.term) == (True, 1)


def test_a_change_waits_to_be_applied_before_an_election() -> None:
    """Who has a committed change that it did not apply yet does not stand."""
    network = Network(3, pre_vote=False)
    network.elect(1)
    network[1].propose_conf_change(change((LEARN, 4)))
    network.process(1)
    network.deliver()
    network.process(2)
    network.deliver()
    network.process(1)
    network.deliver()
    assert network[2].commit > network[2].applied
    network[2].campaign()
    assert network[2].term == 1
    network.process(2)
    network[2].campaign()
    assert (network[2].role, network[2].term) == (Role.CANDIDATE, 2)


# ------------------------------------------------------------------ 7 snapshots
def lagging() -> tuple[Network, RawNode]:
    """Return a network whose leader has compacted what member 3 still needs."""
    network = Network(3, kept_bytes_max=0)
    leader = network.elect(1)
    network.isolate(3)
    for n in range(10):
        leader.propose(b"%d" % n)
        network.settle()
    network.log(1).compact(leader.applied)
    network.heal()
    return network, leader


def test_section_7_who_is_too_far_behind_gets_a_snapshot() -> None:
    """A follower whose entries were compacted installs a snapshot and goes on from there."""
    network, leader = lagging()
    network.tick(times=4)
    assert network[3].applied == leader.applied
    assert leader.status().progress[NodeId(3)].state is ProgressState.REPLICATE
    leader.propose(b"after")
    network.settle()
    assert network.applied(3)[-1] == b"after"


@pytest.mark.parametrize("ok", [True, False])
def test_section_7_a_snapshot_that_was_reported_is_followed_by_probes(ok: bool) -> None:
    """After a report the leader probes: behind the snapshot, or from the match if it failed."""
    network, leader = lagging()
    network.drop(MessageType.SNAPSHOT)
    network.tick(times=4)
    view = leader.status().progress[NodeId(3)]
    assert (view.state, view.pending_snapshot) == (ProgressState.SNAPSHOT, leader.applied)
    leader.report_snapshot(NodeId(3), ok)
    view = leader.status().progress[NodeId(3)]
    assert view.state is ProgressState.PROBE
    assert view.next == (leader.applied + 1 if ok else view.match + 1)
    network.heal()
    network.tick(times=6)
    assert network[3].applied == leader.applied


def test_section_7_a_snapshot_that_brings_nothing_is_refused() -> None:
    """A snapshot of what is already here replaces nothing and only proves what is committed."""
    network, leader = lagging()
    meta = network.log(1).latest
    message = Message(MessageType.SNAPSHOT, NodeId(2), NodeId(1), leader.term, snapshot=meta)
    assert not network[2].wants_snapshot(message)
    assert network[3].wants_snapshot(message._replace(to=NodeId(3)))
    assert not network[3].wants_snapshot(message._replace(to=NodeId(3), term=Term(0)))
    network[2].step(message)
    assert network[2].ready().snapshot is None


def test_section_7_a_snapshot_may_be_installed_before_its_message() -> None:
    """A host that replaced the stored state first gets the same `Ready` as one that waits."""
    network, leader = lagging()
    snapshot = network.log(1).latest
    network.log(3).install(snapshot)
    network[3].step(
        Message(MessageType.SNAPSHOT, NodeId(3), NodeId(1), leader.term, snapshot=snapshot)
    )
    assert network[3].ready().snapshot == snapshot
    network[3].advance()
    network.tick(times=3)
    assert network[3].applied == leader.applied


def test_a_snapshot_message_without_a_snapshot_is_a_peer_error() -> None:
    """No correct peer sends an empty SNAPSHOT message."""
    network = Network(3)
    network.elect(1)
    with pytest.raises(PeerError):
        network[2].step(Message(MessageType.SNAPSHOT, NodeId(2), NodeId(1), Term(1)))


# ------------------------------------------------------------------ thesis: pre-vote, leases
def test_thesis_9_6_a_pre_vote_changes_nobodys_term() -> None:
    """A member that was cut off asks first, so it comes back without unseating the leader."""
    network = Network(3)
    leader = network.elect(1)
    network.isolate(3)
    network.tick(times=60)
    assert (network[3].role, network[3].term) == (Role.PRE_CANDIDATE, 1)
    network.heal()
    network.tick(times=3)
    assert (leader.is_leader, leader.term, network[3].leader) == (True, 1, 1)


def test_thesis_9_6_a_pre_vote_needs_a_complete_log() -> None:
    """Who is behind gets no pre-vote even when the leader is gone."""
    network = Network(3)
    network.elect(1)
    network.isolate(3)
    network[1].propose(b"x")
    network.settle()
    network.isolate(1)
    network.tick([2, 3], times=60)
    assert network.leaders() == [1, 2] or network.leaders() == [2]


def test_thesis_4_2_3_who_hears_a_leader_does_not_vote() -> None:
    """Within a lease even a real vote request is ignored, and no term moves."""
    network = Network(3, pre_vote=False)
    leader = network.elect(1)
    network[3].campaign()
    network.settle()
    assert leader.is_leader
    assert network[2].term == 1


def test_thesis_6_2_a_leader_without_a_quorum_steps_down() -> None:
    """A leader that hears no majority for an election timeout leads no more."""
    network = Network(3)
    leader = network.elect(1)
    network.isolate(1)
    network.tick([1], times=25)
    assert leader.role is not Role.LEADER


def test_a_stuck_follower_is_freed() -> None:
    """A member whose term ran ahead makes the leader notice and rejoins."""
    network = Network(3, pre_vote=False)
    network.elect(1)
    network.isolate(3)
    network.tick([3], times=60)
    assert network[3].term > 1
    network.heal()
    network.tick(times=80)
    (leader,) = network.leaders()
    assert {network[n].leader for n in (1, 2, 3)} == {leader}


def test_a_member_that_may_not_lead_never_stands() -> None:
    """`may_lead = False` holds against timeouts, orders and transfers, but the member votes."""
    network = Network(3)
    network[1].may_lead = False
    network[1].campaign()
    network.tick([1], times=50)
    assert network[1].role is Role.FOLLOWER
    network.elect(2)
    network[2].transfer_leadership(NodeId(1))
    network.settle()
    network.isolate(3)
    network.tick(times=30)
    assert network.leaders() == [2]


# ------------------------------------------------------------------ thesis 3.10: transfer
def test_thesis_3_10_leadership_is_handed_over() -> None:
    """The new leader wins at once, within the lease and without a pre-vote."""
    network = Network(3)
    network.elect(1).transfer_leadership(NodeId(2))
    network.settle()
    assert network.leaders() == [2]


def test_thesis_3_10_a_follower_passes_the_wish_on() -> None:
    """A transfer may be asked for anywhere."""
    network = Network(3)
    network.elect(1)
    network[2].transfer_leadership(NodeId(3))
    network.settle()
    assert network.leaders() == [3]


def test_thesis_3_10_the_target_catches_up_first() -> None:
    """A target that is behind gets the missing entries before it may stand."""
    network = Network(3)
    leader = network.elect(1)
    network.isolate(3)
    leader.propose(b"x")
    network.settle()
    network.heal()
    leader.transfer_leadership(NodeId(3))
    with pytest.raises(ProposalDropped, match="handed over"):
        leader.propose(b"y")
    network.tick(times=3)
    assert network.leaders() == [3]
    assert network.applied(3) == [b"x"]


def test_thesis_3_10_a_transfer_is_given_up() -> None:
    """After an election timeout, or by order, the leader goes on and takes proposals again."""
    network = Network(3)
    leader = network.elect(1)
    network.isolate(3)
    leader.propose(b"x")
    network.settle()
    leader.transfer_leadership(NodeId(3))
    network.tick(times=11)
    assert leader.propose(b"y")
    leader.transfer_leadership(NodeId(3))
    leader.abort_transfer()
    assert leader.propose(b"z")
    leader.transfer_leadership(NodeId(3))
    leader.transfer_leadership(NodeId(1))
    assert leader.propose(b"to itself")


def test_thesis_3_10_senseless_transfers_are_ignored() -> None:
    """Nothing happens for the leader itself, a learner, a stranger, or a removed target."""
    network = Network(3)
    leader = network.elect(1)
    network.change(1, change((LEARN, 4)))
    for node in (1, 4, 9):
        leader.transfer_leadership(NodeId(node))
        assert leader.status().transferee == 0
    with pytest.raises(NotLeader):
        network.add(8).raw.transfer_leadership(NodeId(8))


# ------------------------------------------------------------------ thesis 6.4: reads
def contexts(network: Network, node: int) -> list[tuple[int, bytes]]:
    """Return the reads that ``node`` may serve."""
    return [(read.index, read.context) for read in network.members[NodeId(node)].reads]


@pytest.mark.parametrize(("size", "node"), [(1, 1), (3, 1), (3, 2)])
def test_thesis_6_4_a_read_waits_for_a_quorum(size: int, node: int) -> None:
    """A read is answered anywhere, at the commit index, after one round of heartbeats."""
    network = Network(size)
    leader = network.elect(1)
    leader.propose(b"x")
    network.settle()
    for name in (b"a", b"b"):
        network[node].read_index(name)
    network.settle()
    assert contexts(network, node) == [(leader.commit, b"a"), (leader.commit, b"b")]


def test_thesis_6_4_a_leader_that_was_cut_off_answers_no_read() -> None:
    """Without a majority a read stays open, whatever the old leader believes."""
    network = Network(3)
    leader = network.elect(1)
    network.isolate(1)
    leader.read_index(b"stale")
    network.settle()
    assert contexts(network, 1) == []


def test_thesis_6_4_answers_to_earlier_heartbeats_do_not_count() -> None:
    """Only a heartbeat that was sent after the read confirms it."""
    network = Network(3)
    leader = network.elect(1)
    leader.read_index(b"first")
    network.process()
    network.deliver()
    leader.read_index(b"second")
    network.process(2, 3)
    late, network.wire = network.wire, []
    for message in late:
        leader.step(message)
    network.process(1)
    assert contexts(network, 1) == [(leader.commit, b"first")]
    network.settle()
    assert contexts(network, 1)[-1] == (leader.commit, b"second")


def test_thesis_6_4_a_new_leader_waits_for_its_first_commit() -> None:
    """Before an entry of its own term commits, a leader may not know what is committed."""
    network = Network(3)
    network.elect(1).transfer_leadership(NodeId(2))
    network.lose = lambda m: m.type is MessageType.APPEND and m.from_ == 2
    network.settle()
    assert network.leaders() == [2]
    network[2].read_index(b"early")
    network.tick(times=3)
    assert contexts(network, 2) == []
    network.heal()
    network.tick(times=3)
    assert contexts(network, 2) == [(network[2].commit, b"early")]


def test_a_read_without_a_leader_is_refused() -> None:
    """A member that knows no leader says so at once."""
    with pytest.raises(NotLeader):
        Network(3)[1].read_index(b"x")


# ------------------------------------------------------------------ limits
def test_uncommitted_bytes_are_bounded() -> None:
    """Over its limit a leader refuses, but one entry of any size and empty ones always go."""
    network = Network(3, uncommitted_bytes_max=100)
    leader = network.elect(1)
    leader.propose(bytes(500))
    with pytest.raises(ProposalDropped, match="slow down"):
        leader.propose(b"x")
    leader.propose(b"")
    network.settle()
    for _ in range(2):
        leader.propose(bytes(50))
    with pytest.raises(ProposalDropped):
        leader.propose(b"x")


def test_a_follower_names_the_leader_to_who_proposes() -> None:
    """A proposal on a follower raises with the leader to go to."""
    network = Network(3)
    network.elect(1)
    with pytest.raises(NotLeader) as refused:
        network[2].propose(b"x")
    assert refused.value.leader == 1


def test_committed_entries_come_in_bounded_pages() -> None:
    """One `Ready` hands over at most its limit, and the rest follows in order."""
    network = Network(1, committed_bytes_max=100)
    leader = network.elect(1)
    for n in range(10):
        leader.propose(bytes([n]) * 40)
    member = network.members[NodeId(1)]
    pages = []
    while leader.has_ready():
        before = len(member.applied)
        member.drain()
        pages.append(len(member.applied) - before)
    assert max(pages) == 1
    assert [data[0] for data in network.applied(1)] == list(range(10))
