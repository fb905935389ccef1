"""Stories in which a naive core forgets what it has acknowledged, or lets two sides decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raftoral.errors import CorruptionError, ProposalDropped
from raftoral.ids import Index, NodeId
from raftoral.raft.messages import ConfChange, ConfOp, Message, MessageType
from raftoral.raft.node import RawNode, Role
from tests.raft.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable


def match(leader: RawNode, node: int) -> int:
    """Return up to which index the leader believes ``node`` to hold its log."""
    return leader.status().progress[NodeId(node)].match


class Copies:
    """Copies of messages that passed, to be delivered again later."""

    def __init__(self, network: Network, wanted: Callable[[Message], bool]) -> None:
        self.messages: list[Message] = []
        self._network = network
        self._wanted = wanted
        network.lose = self._take

    def _take(self, message: Message) -> bool:
        if self._wanted(message):
            self.messages.append(message)
        return False

    def deliver(self) -> None:
        """Hand all of them over once more, in their order."""
        for message in self.messages:
            self._network[message.to].step(message)


def test_an_acknowledgement_from_an_earlier_reign_does_not_count() -> None:
    """Late news that a follower held more in another term neither raises its match nor commits."""
    network = Network(5, pre_vote=False, check_quorum=False)
    leader = network.elect(1)
    held: list[Message] = []

    def lose(message: Message) -> bool:
        if (message.from_, message.to) == (2, 1):
            held.append(message)
            return True
        return bool({message.from_, message.to} - {1, 2})

    network.lose = lose
    for number in range(4):
        leader.propose(b"lost %d" % number)
    network.settle()
    assert max(message.index for message in held) == network.log(2).last_index()
    late = network.log(2).last_index()
    network.isolate(1)
    network.elect(3)
    assert network.log(2).last_index() < late
    network.heal()
    network.tick(times=2)
    leader = network.elect(1)
    network.lose = lambda message: bool({message.from_, message.to} - {1, 3})
    for number in range(4):
        leader.propose(b"y%d" % number)
    network.settle()
    before = (match(leader, 2), leader.commit)
    for message in held:
        leader.step(message)
    network.settle()
    assert network.log(1).last_index() >= late
    assert (match(leader, 2), leader.commit) == before


def test_a_late_refusal_takes_nothing_back() -> None:
    """Old refusals and appends that come again after a reconnection shorten no log."""
    network = Network(3, pre_vote=False, check_quorum=False, message_bytes_max=20)
    leader = network.elect(1)
    network.isolate(2)
    for number in range(3):
        leader.propose(b"k%02d" % number)
    network.settle()
    old = Copies(network, lambda message: 2 in (message.from_, message.to))
    for number in range(3, 9):
        leader.propose(b"k%02d" % number)
    network.tick(times=4)
    assert any(message.reject for message in old.messages)
    kept = [entry.data for entry in network.log(2).entries_]
    assert network.applied(2) == [b"k%02d" % number for number in range(9)]
    network.heal()
    for _ in range(2):
        old.deliver()
        assert match(leader, 2) == network.log(1).last_index()
        network.process(2)
        assert [entry.data for entry in network.log(2).entries_] == kept
        network.settle()
    network.isolate(1)
    network.elect(2)
    assert network.applied(3) == [b"k%02d" % number for number in range(9)]


def test_a_cut_off_leader_cannot_grow_a_majority_of_its_own() -> None:
    """Two additions at once are refused and one does not commit, so only one side decides."""
    network = Network(3, pre_vote=False, check_quorum=False)
    cut_off = network.elect(3)
    for newcomer in (4, 5):
        network.add(newcomer)
    network.split(3, 4, 5)
    cut_off.propose_conf_change(ConfChange(((ConfOp.ADD_VOTER, NodeId(4)),)))
    with pytest.raises(ProposalDropped):
        cut_off.propose_conf_change(ConfChange(((ConfOp.ADD_VOTER, NodeId(5)),)))
    before = cut_off.commit
    cut_off.propose(b"of the few")
    network.tick(times=3)
    assert cut_off.commit == before
    network.elect(1).propose(b"of the many")
    network.settle()
    network.heal()
    network.tick(times=3)
    for node in (1, 2, 3):
        assert network.applied(node) == [b"of the many"]
    assert cut_off.conf.voters == (1, 2, 3)


def test_both_nodes_of_a_joint_addition_do_not_help_a_cut_off_leader() -> None:
    """Adding two in one change needs the old majority as well, so the minority stays one."""
    network = Network(3, pre_vote=False, check_quorum=False)
    cut_off = network.elect(3)
    for newcomer in (4, 5):
        network.add(newcomer)
    network.split(3, 4, 5)
    both = tuple((ConfOp.ADD_VOTER, NodeId(newcomer)) for newcomer in (4, 5))
    cut_off.propose_conf_change(ConfChange(both))
    before = cut_off.commit
    network.tick(times=3)
    assert cut_off.commit == before
    assert network.elect(1).role is Role.LEADER


def test_a_vote_that_arrives_twice_counts_once() -> None:
    """One voter that is heard three times and the candidate itself are no majority of five."""
    network = Network(5, pre_vote=False)
    votes = Copies(network, lambda message: message.type is MessageType.VOTE_RESPONSE)
    network[1].campaign()
    network.process(1)
    network.wire = [message for message in network.wire if message.to == 2]
    network.settle()
    assert [message.from_ for message in votes.messages] == [2]
    votes.deliver()
    votes.deliver()
    network.settle()
    assert network[1].role is Role.CANDIDATE


def test_a_stored_commit_beyond_the_log_is_refused() -> None:
    """A member whose disk kept the commit index and lost the entries does not start."""
    network = Network(3)
    leader = network.elect(1)
    for number in range(5):
        leader.propose(b"%d" % number)
    network.settle()
    log = network.log(1)
    del log.entries_[-3:]
    assert log.hard_state.commit > log.last_index()
    with pytest.raises(CorruptionError):
        network.start(NodeId(1), log, Index(1))
