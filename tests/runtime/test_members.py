"""Nodes that come into groups and leave them, in simulated clusters: real managers, virtual time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from raftoral.ids import MANAGEMENT, GroupId, NodeId
from raftoral.machines import management, runs
from raftoral.runtime.members import GIVEN_UP_S
from raftoral.storage.memory import MemoryNodeStore
from tests.runtime.topology import Topology

if TYPE_CHECKING:
    from raftoral.kv import Reader

SETTLES_S = 60.0
"""Virtual seconds within which a cluster without faults must be as it is meant to be."""


def zero(cluster: Topology) -> Reader:
    """Return group 0 as its leader has applied it."""
    leader = cluster.leader(MANAGEMENT)
    assert leader is not None
    return leader.topology


def owners(cluster: Topology) -> set[NodeId]:
    """Return who owns a run, in any group."""
    found = set()
    for group in cluster.all_groups()[1:]:
        leader = cluster.leader(group)
        assert leader is not None
        state = leader.host.groups[group].state
        for run_id in runs.live_ids(state):
            run = runs.find(state, run_id)
            assert run is not None
            found.add(run.owner)
    return found


def count_runs(cluster: Topology) -> int:
    """Return how many runs the groups hold."""
    total = 0
    for group in cluster.all_groups()[1:]:
        leader = cluster.leader(group)
        assert leader is not None
        total += sum(1 for _ in runs.live_ids(leader.host.groups[group].state))
    return total


def check_gone(cluster: Topology, number: int, *, rest: set[int], all_runs: int) -> None:
    """Check that the cluster goes on without a node, with everything it had."""
    state = zero(cluster)
    assert management.is_gone(state, NodeId(number))
    assert set(management.staying(state)) == rest
    assert owners(cluster) <= rest
    assert count_runs(cluster) == all_runs
    cluster.check_equal()
    for node in cluster.living():
        if node.id in rest:
            assert set(node.peers) == rest - {node.id}


def lead(cluster: Topology, group: GroupId, number: int) -> None:
    """Have a node lead a group."""
    wanted = cluster.nodes[NodeId(number)]

    def ask() -> bool:
        leader = cluster.leader(group)
        if leader is not None and leader is not wanted:
            leader.loop.call_soon(leader.host.transfer_leadership, group, wanted.id)
            cluster.run(0.5)
        return leader is wanted

    cluster.until(ask, 20)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_node_leaves_and_a_spare_one_takes_its_places(seed: int, number: int) -> None:
    """Whoever leaves, leader or spare: groups keep three voters all the time, it keeps nothing."""
    cluster = Topology(seed)
    cluster.grow(4)
    cluster.start_runs(12)
    fewest = 3

    def watch() -> None:
        nonlocal fewest
        fewest = min(fewest, *(len(cluster.newest_conf(g).voters) for g in cluster.all_groups()))

    cluster.watch = watch
    assert cluster.remove(number) == ["ok", "leaving"]
    assert cluster.remove(number) == ["ok", "leaving"], "again is no change"
    cluster.until(cluster.is_settled, SETTLES_S)
    cluster.run(1)
    assert fewest == 3
    leaver = cluster.nodes[NodeId(number)]
    assert leaver.has_left, "it learnt it from the log of group 0"
    store = MemoryNodeStore(leaver.disk)
    assert (store.is_retired, store.groups()) == (True, [])
    check_gone(cluster, number, rest={1, 2, 3, 4} - {number}, all_runs=12)
    assert cluster.remove(number) == ["ok", "gone"]


@pytest.mark.parametrize("seed", range(4, 10))
def test_a_dead_node_is_removed_and_disturbs_nobody_when_it_is_back(seed: int) -> None:
    """Dead nodes are replaced too; back on its old disk, one changes neither members nor leaders."""
    cluster = Topology(seed)
    cluster.grow(5)
    cluster.start_runs(12)
    victim = cluster.random.choice(cluster.living())
    victim.kill()
    cluster.remove(victim.id)
    rest = {1, 2, 3, 4, 5} - {int(victim.id)}
    cluster.until(cluster.is_settled, SETTLES_S)
    cluster.run(1)
    check_gone(cluster, victim.id, rest=rest, all_runs=12)
    terms = [cluster.leader(group) for group in cluster.all_groups()]
    victim.start()
    cluster.run(20)
    assert cluster.is_settled()
    assert [cluster.leader(group) for group in cluster.all_groups()] == terms
    check_gone(cluster, victim.id, rest=rest, all_runs=12)


def test_a_joiner_that_never_came_can_be_removed() -> None:
    """It got a place and never answered; without it the place goes to the next one that comes."""
    cluster = Topology(11)
    cluster.grow(2)
    cluster.join("ghost", comes=False)
    cluster.run(3)
    assert cluster.newest_conf(GroupId(1)).learners == (3,), "it never votes"
    cluster.remove(3)
    cluster.until(cluster.is_settled, SETTLES_S)
    assert management.groups(zero(cluster)) == {1: [1, 2], 2: [1, 2]}
    late = cluster.join("late")
    assert late.id == 4, "an id is never given twice"
    cluster.until(cluster.is_settled, SETTLES_S)
    assert management.groups(zero(cluster)) == {1: [1, 2, 4], 2: [1, 2, 4]}


def test_a_cluster_shrinks_to_one_node_and_grows_again() -> None:
    """Without a spare the groups get smaller, down to one; whoever joins then fills them."""
    cluster = Topology(12)
    cluster.grow(3)
    cluster.start_runs(9)
    for number, rest in ((1, {2, 3}), (3, {2})):
        cluster.remove(number)
        cluster.until(cluster.is_settled, SETTLES_S)
        cluster.run(1)
        check_gone(cluster, number, rest=rest, all_runs=9)
    assert cluster.remove(2)[:2] == ["refused", "usage"]
    for nonce in ("a", "b"):
        cluster.join(nonce)
    cluster.until(cluster.is_settled, SETTLES_S)
    assert management.groups(zero(cluster)) == {1: [2, 4, 5], 2: [2, 4, 5]}
    cluster.check_equal()


def test_group_0_has_five_voters_and_the_next_one_learns_until_it_is_needed() -> None:
    """The sixth node learns, and votes once one of the five has left."""
    cluster = Topology(13)
    cluster.grow(6)
    conf = cluster.newest_conf(MANAGEMENT)
    assert (conf.voters, conf.learners) == ((1, 2, 3, 4, 5), (6,))
    cluster.nodes[NodeId(2)].kill()
    cluster.remove(2)
    cluster.until(cluster.is_settled, SETTLES_S)
    conf = cluster.newest_conf(MANAGEMENT)
    assert (conf.voters, conf.learners) == ((1, 3, 4, 5, 6), ())


def test_a_node_that_comes_back_fills_a_place_that_was_left_free() -> None:
    """With the spare node down a group stays small; the spare gets the place once it is back."""
    cluster = Topology(14)
    cluster.grow(4)
    cluster.nodes[NodeId(4)].kill()
    cluster.run(2)
    cluster.remove(3)
    cluster.until(lambda: management.is_gone(zero(cluster), NodeId(3)), SETTLES_S)
    assert management.groups(zero(cluster)) == {1: [1, 2], 2: [1, 2]}
    cluster.nodes[NodeId(4)].start()
    cluster.until(cluster.is_settled, SETTLES_S)
    assert management.groups(zero(cluster)) == {1: [1, 2, 4], 2: [1, 2, 4]}


def test_who_is_to_come_in_and_dies_holds_a_removal_up_for_a_while_only() -> None:
    """Nobody waits for ever for a replacement; once it is back, it still takes the place."""
    cluster = Topology(15)
    cluster.grow(4)
    cluster.remove(3)
    cluster.nodes[NodeId(4)].kill()
    cluster.run(GIVEN_UP_S - 1)
    assert 3 in cluster.newest_conf(GroupId(1)).voters
    cluster.until(lambda: management.is_gone(zero(cluster), NodeId(3)), SETTLES_S)
    cluster.nodes[NodeId(4)].start()
    cluster.until(cluster.is_settled, SETTLES_S)
    assert management.groups(zero(cluster)) == {1: [1, 2, 4], 2: [1, 2, 4]}


def test_two_of_three_are_not_removed_together_from_under_the_third() -> None:
    """A removal that would leave no majority that answers waits, and goes on once there is one."""
    cluster = Topology(16)
    cluster.grow(3)
    cluster.nodes[NodeId(3)].kill()
    cluster.run(1)
    cluster.remove(2)
    cluster.run(30)
    assert set(cluster.newest_conf(GroupId(1)).voters) == {1, 2, 3}
    cluster.nodes[NodeId(3)].start()
    cluster.until(cluster.is_settled, SETTLES_S)
    assert management.groups(zero(cluster)) == {1: [1, 3], 2: [1, 3]}


def test_who_has_left_a_group_is_not_needed_there_any_more() -> None:
    """It stays until a majority knows that it is out: if the leader dies before, they need its vote."""
    cluster = Topology(20, groups=1)
    cluster.grow(5)
    lead(cluster, MANAGEMENT, 5)
    lead(cluster, GroupId(1), 1)
    one = cluster.nodes[NodeId(1)]
    closed: list[GroupId] = []
    cut: list[int] = []

    def watch() -> None:
        """Cut the leader off from the group, not from group 0, once it alone knows of the change."""
        if not cut and one.alive and 2 not in one.host.groups[GroupId(1)].raw.conf.voters:
            cut.extend((3, 4))
            for other in cut:
                cluster.network.cut(NodeId(1), NodeId(other))
                cluster.network.cut(NodeId(other), NodeId(1))

    cluster.watch, cluster.step_s = watch, 0.0005
    cluster.on_close = closed.append
    cluster.remove(2, living=[1, 3, 4])
    cluster.until(lambda: bool(cut), 20)
    conf = cluster.nodes[NodeId(3)].host.groups[GroupId(1)].raw.conf
    assert 2 in conf.voters, "it does not know yet"
    cluster.step_s = 0.05
    cluster.run(0.4)
    assert not closed, "with this leader dead, nobody would be elected without it"
    one.kill()
    cluster.until(lambda: (it := cluster.leader(GroupId(1))) is not None and it.id in (3, 4), 20)
    cluster.until(lambda: bool(closed), 20)


def test_a_lost_node_is_removed_after_a_while_if_that_is_wished_and_others_take_over() -> None:
    """Silent for longer than is allowed, it goes; not while it would leave a place empty."""
    cluster = Topology(17, remove_lost_after=timedelta(seconds=20))
    cluster.grow(4)
    cluster.nodes[NodeId(2)].kill()
    cluster.run(15)
    assert management.staying(zero(cluster)) == [1, 2, 3, 4]
    cluster.until(lambda: management.is_gone(zero(cluster), NodeId(2)), SETTLES_S)
    cluster.until(cluster.is_settled, SETTLES_S)
    cluster.nodes[NodeId(3)].kill()
    cluster.run(60)
    assert management.staying(zero(cluster)) == [1, 3, 4], "nobody is left to take its places"


@pytest.mark.parametrize("seed", range(100, 112))
def test_removals_go_on_whoever_dies_in_the_middle(seed: int) -> None:
    """Leaders are killed, lines are cut, nodes come back: two removals end, and nothing is lost."""
    cluster = Topology(seed)
    cluster.grow(6)
    cluster.start_runs(20)
    random = cluster.random
    leavers = random.sample(range(1, 7), 2)
    cluster.remove(leavers[0])
    for turn in range(8):
        cluster.run(random.uniform(0.05, 1.5))
        leader = cluster.leader(GroupId(random.randrange(3)))
        victim = leader or random.choice(list(cluster.nodes.values()))
        victim.kill()
        cluster.events.after(random.uniform(0.2, 4), victim.start)
        if random.random() < 0.5:
            inside = random.choice(list(cluster.nodes))
            pairs = {(inside, each) for each in cluster.nodes if each != inside}
            for pair in pairs:
                cluster.network.cut(*pair)
            cluster.events.after(random.uniform(0.2, 2), cluster.network.mend, pairs)
        if turn == 3:
            cluster.remove(leavers[1])
    cluster.run(6)
    for node in cluster.nodes.values():
        node.start()
    cluster.until(cluster.is_settled, SETTLES_S)
    cluster.run(1)
    for leaver in leavers:
        check_gone(cluster, leaver, rest={*range(1, 7)} - {*leavers}, all_runs=20)
