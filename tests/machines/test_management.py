"""Group 0: ids, nonces, names, groups, and the rules of deploying."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from raftoral.ids import SLOTS, GroupId, Index, Millis, NodeId, RunId
from raftoral.kv import MemoryKeyValue
from raftoral.machines import commands, management
from raftoral.machines.management import (
    GROUP_MEMBERS_MAX,
    Deployed,
    Management,
    NodeForgotten,
    TopologyChanged,
)
from raftoral.machines.placement import home_of, slot_of
from raftoral.registry import catalog
from raftoral.registry.definition import Definition
from tests.machines.hostile import topology

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.machines.base import Result


class Zero:
    """Group 0 under test."""

    def __init__(self, groups: int = 2) -> None:
        self.state = MemoryKeyValue()
        self.machine = Management()
        self.index = 0
        self.events: Sequence[object] = ()
        self.apply(commands.FormCluster("c-1", groups))

    def apply(self, command: commands.Command, at: int = 1) -> Result:
        """Apply one command."""
        self.index += 1
        result, self.events = self.machine.apply(
            Index(self.index), Millis(at), command.encode(), self.state
        )
        return result

    def add(self, nonce: str, name: str = "", address: str = "a:1") -> Result:
        """Add a node."""
        return self.apply(commands.AddNode(nonce, name, address, "h:1"))

    def remove(self, node: int, *living: int) -> Result:
        """Mark a node as one that is to leave."""
        alive = [NodeId(each) for each in living]
        return self.apply(commands.RemoveNode(NodeId(node), alive))

    def place(self, group: int, index: int, *members: int) -> Result:
        """Have a group tell its members."""
        told = [NodeId(each) for each in members]
        return self.apply(commands.Placed(GroupId(group), Index(index), told))

    def forget(self, node: int) -> Result:
        """Forget a node."""
        return self.apply(commands.ForgetNode(NodeId(node)))

    def ids(self) -> list[int]:
        """Return the nodes."""
        return [int(each.id) for each in management.nodes(self.state)]

    def deploy(self, version: int, meaning: str = "m", name: str = "w", **other: str) -> Result:
        """Deploy a definition."""
        kind = other.get("kind", "rwf")
        definition = Definition(name, version, kind, meaning, "t", other.get("source", "s"), b"")  # type: ignore[arg-type]
        return self.apply(commands.DeployVersion(definition.encode()))


# ------------------------------------------------------------------ the cluster
def test_a_cluster_is_formed_once() -> None:
    """The first command names the cluster; the same again is no change, another number refused."""
    zero = Zero(groups=2)
    assert management.cluster(zero.state) == ("c-1", 2)
    assert zero.apply(commands.FormCluster("c-2", 2)) == ["ok", "c-1"]
    assert zero.apply(commands.FormCluster("c-1", 3))[:2] == ["refused", "usage"]
    assert list(management.groups(zero.state)) == [1, 2]


@pytest.mark.parametrize("count", [0, 257])
def test_a_number_of_groups_is_bounded(count: int) -> None:
    """A cluster has 1 to 256 execution groups."""
    machine, state = Management(), MemoryKeyValue()
    command = commands.FormCluster("c", count).encode()
    assert machine.apply(Index(1), Millis(1), command, state)[0][0] == "refused"
    assert management.cluster(state) is None


@pytest.mark.parametrize("count", [1, 2, 3, 7, 256])
def test_every_slot_belongs_to_one_group(count: int) -> None:
    """The slot maps of the groups cover all slots, each once."""
    owned = [0] * SLOTS
    for group in range(1, count + 1):
        bitmap = management.slots_of(GroupId(group), count)
        for slot in range(SLOTS):
            owned[slot] += bitmap[slot // 8] >> slot % 8 & 1
    assert owned == [1] * SLOTS


# ------------------------------------------------------------------ nodes
def test_ids_are_given_out_by_consensus_and_never_twice() -> None:
    """Each nonce gets the next id; the same nonce gets the same id, so joining can be repeated."""
    zero = Zero()
    assert zero.add("n1") == ["ok", 1]
    assert zero.add("n2") == ["ok", 2]
    assert zero.add("n1", "another name") == ["ok", 1]
    assert not zero.events
    assert zero.add("n3") == ["ok", 3]
    assert [each.id for each in management.nodes(zero.state)] == [1, 2, 3]
    assert zero.add("")[:2] == ["refused", "usage"]


def test_names_are_unique() -> None:
    """A name that is taken is refused; without one a node is called by its id."""
    zero = Zero()
    zero.add("n1", "alpha")
    assert zero.add("n2", "alpha")[:2] == ["refused", "usage"]
    assert zero.add("n2", "beta") == ["ok", 2]
    zero.add("n3")
    assert [each.name for each in management.nodes(zero.state)] == ["alpha", "beta", "node-3"]


def test_groups_are_filled_to_three() -> None:
    """Each node is put into every group that has less than three members."""
    zero = Zero(groups=2)
    for number in range(1, 6):
        zero.add(f"n{number}")
        filled = list(range(1, min(number, GROUP_MEMBERS_MAX) + 1))
        assert management.groups(zero.state) == {1: filled, 2: filled}
    assert management.management_voters(zero.state) == [1, 2, 3, 4, 5]
    zero.add("n6")
    assert management.management_voters(zero.state) == [1, 2, 3, 4, 5], "the sixth learns"


def test_a_node_moves_and_keeps_its_name() -> None:
    """A node may be reached elsewhere; a node that nobody knows may not."""
    zero = Zero()
    zero.add("n1", "alpha")
    assert zero.apply(commands.MoveNode(NodeId(1), "b:2", "")) == ["ok"]
    assert isinstance(zero.events[0], TopologyChanged)
    assert management.node(zero.state, NodeId(1)) == management.Node(NodeId(1), "alpha", "b:2", "")
    assert zero.apply(commands.MoveNode(NodeId(9), "b:2", ""))[:2] == ["refused", "usage"]


def test_many_nodes_are_listed_by_id() -> None:
    """Ids are ordered as numbers, also above 255."""
    zero = Zero()
    for number in range(300):
        zero.add(f"n{number}")
    assert [each.id for each in management.nodes(zero.state)] == list(range(1, 301))


# ------------------------------------------------------------------ leaving
def test_a_spare_node_takes_the_places_of_one_that_is_to_leave() -> None:
    """Marking a node gives its places to living nodes, the fewest places first; twice is once."""
    zero = Zero(groups=2)
    for number in range(1, 6):
        zero.add(f"n{number}")
    assert zero.remove(2, 1, 2, 3, 4, 5) == ["ok", "leaving"]
    assert isinstance(zero.events[0], TopologyChanged)
    assert management.groups(zero.state) == {1: [1, 3, 4], 2: [1, 3, 5]}
    assert management.management_voters(zero.state) == [1, 3, 4, 5]
    assert (zero.ids(), management.leaving(zero.state)) == ([1, 2, 3, 4, 5], [2])
    assert zero.remove(2, 4) == ["ok", "leaving"]
    assert not zero.events
    assert management.groups(zero.state) == {1: [1, 3, 4], 2: [1, 3, 5]}


def test_a_place_without_a_living_spare_waits_for_one() -> None:
    """Who does not answer gets no place; the next one that joins or comes back does."""
    zero = Zero(groups=2)
    for number in range(1, 5):
        zero.add(f"n{number}")
    zero.remove(1, 2, 3)
    assert management.groups(zero.state) == {1: [2, 3], 2: [2, 3]}
    assert zero.apply(commands.FillGroups([NodeId(1), NodeId(2), NodeId(9)])) == ["ok"]
    assert not zero.events
    zero.add("n5")
    assert management.groups(zero.state) == {1: [2, 3, 5], 2: [2, 3, 5]}
    zero.remove(5, 2, 3)
    assert zero.apply(commands.FillGroups([NodeId(4)])) == ["ok"]
    assert management.groups(zero.state) == {1: [2, 3, 4], 2: [2, 3, 4]}


def test_a_node_is_forgotten_once_no_group_has_it() -> None:
    """Only a marked node that every group has told not to have is forgotten; again is no change."""
    zero = Zero(groups=2)
    for number in range(1, 4):
        zero.add(f"n{number}")
    stale = ["refused", "stale"]
    assert zero.forget(3)[:2] == stale, "it is not to leave"
    zero.remove(3, 1, 2)
    assert zero.forget(3)[:2] == stale, "no group has told its members"
    assert zero.place(1, 9, 1, 2) == ["ok"]
    assert zero.place(2, 7, 2, 3, 1) == ["ok"]
    assert zero.forget(3)[:2] == stale, "group 2 has it"
    assert zero.place(2, 8, 1, 2) == ["ok"]
    assert zero.forget(3) == ["ok"]
    assert list(zero.events) == [TopologyChanged(), NodeForgotten(NodeId(3))]
    assert (zero.forget(3), list(zero.events)) == (["ok"], [])
    assert zero.remove(3, 1) == ["ok", "gone"]
    assert zero.ids() == [1, 2]
    assert management.gone(zero.state)[NodeId(3)].name == "node-3"
    assert zero.forget(9)[:2] == stale


def test_what_a_group_told_earlier_does_not_undo_what_it_told_later() -> None:
    """Of two tales of a group's members the one of the later index holds, whatever comes last."""
    zero = Zero(groups=1)
    zero.add("n1")
    assert management.placed(zero.state, GroupId(1)) is None
    assert zero.place(1, 20, 3, 1, 1) == ["ok"]
    assert zero.place(1, 20, 1)[:2] == ["refused", "stale"]
    assert zero.place(1, 4, 1)[:2] == ["refused", "stale"]
    assert management.placed(zero.state, GroupId(1)) == (20, [1, 3])
    assert zero.place(2, 4, 1)[:2] == ["refused", "usage"]


def test_the_id_of_a_node_that_left_is_never_given_again() -> None:
    """The next node gets a new id, though the highest one is free; the old nonce is refused."""
    zero = Zero(groups=1)
    for number in range(1, 4):
        zero.add(f"n{number}", f"name-{number}")
    zero.remove(3, 1, 2)
    zero.place(1, 5, 1, 2)
    zero.forget(3)
    refused = zero.add("n3", "name-3")
    assert refused[:2] == ["refused", "usage"]
    assert "empty --data folder" in refused[2]
    assert zero.add("n4", "name-3") == ["ok", 4], "its name is free"
    assert management.groups(zero.state) == {1: [1, 2, 4]}


def test_the_last_node_does_not_leave() -> None:
    """A cluster keeps a node that stays; one that nobody knows cannot leave either."""
    zero = Zero()
    zero.add("n1")
    zero.add("n2")
    assert zero.remove(7)[:2] == ["refused", "usage"]
    assert zero.remove(1) == ["ok", "leaving"]
    refused = zero.remove(2)
    assert refused[:2] == ["refused", "usage"]
    assert "last one" in refused[2]


@pytest.mark.parametrize("seed", range(30))
def test_whoever_comes_and_goes_the_topology_makes_sense(seed: int) -> None:
    """After any commands: ids are never given twice, somebody stays, groups mean those who stay."""
    zero, chance, given = Zero(groups=3), Random(seed), set[int]()
    for _ in range(300):
        zero.index += 1
        before = set(zero.ids())
        command = topology(chance, zero.index)
        zero.machine.apply(Index(zero.index), Millis(1), command, zero.state)
        state, after = zero.state, set(zero.ids())
        assert not (after - before) & given
        given |= after
        assert given == set(range(1, len(given) + 1))
        assert given - after == set(management.gone(state))
        stay = management.staying(state)
        assert bool(stay) == bool(given)
        assert {*stay, *management.leaving(state)} == after
        assert management.management_voters(state) == sorted(stay)[:5]
        for members in management.groups(state).values():
            assert len(members) == len(set(members)) <= GROUP_MEMBERS_MAX
            assert set(members) <= set(stay)
    assert len(given) > 3


# ------------------------------------------------------------------ deploying
def test_the_same_meaning_again_is_no_change() -> None:
    """Deploying a version twice with one meaning is fine and tells nothing."""
    zero = Zero()
    assert zero.deploy(1)[:2] == ["ok", True]
    assert isinstance(zero.events[0], Deployed)
    assert zero.deploy(1)[:2] == ["ok", False]
    assert not zero.events


def test_another_meaning_under_a_version_is_refused() -> None:
    """A version never changes, and the refusal says which number is free."""
    zero = Zero()
    zero.deploy(1)
    zero.deploy(2)
    result = zero.deploy(1, meaning="other")
    assert result[:2] == ["refused", "definition_refused"]
    assert "version 3" in result[2]


def test_versions_only_grow() -> None:
    """A version below the newest is refused; one above it may leave a gap."""
    zero = Zero()
    zero.deploy(5)
    assert zero.deploy(4)[:2] == ["refused", "definition_refused"]
    assert zero.deploy(9)[:2] == ["ok", True]
    found = catalog.find(zero.state, "w")
    assert found is not None
    assert found.version == 9


@pytest.mark.parametrize("version", [0, 2**31])
def test_a_version_that_cannot_be_is_refused(version: int) -> None:
    """A version is a positive 31 bit number."""
    assert Zero().deploy(version)[:2] == ["refused", "definition_refused"]


@pytest.mark.parametrize("name", ["", "a/b", "a..b", ".a", "x" * 201, "a\nb"])
def test_a_name_that_cannot_be_is_refused(name: str) -> None:
    """A workflow's name is made of parts with dots between them; a slash would reach elsewhere."""
    assert Zero().deploy(1, name=name)[:2] == ["refused", "definition_refused"]


def test_other_kinds_and_endless_sources_are_refused() -> None:
    """A definition is rwf or python, and its source has a bound."""
    assert Zero().deploy(1, kind="lua")[:2] == ["refused", "definition_refused"]
    assert Zero().deploy(1, source="x" * 300_000)[:2] == ["refused", "definition_refused"]


def test_names_do_not_mix() -> None:
    """A name that begins like another has versions of its own."""
    zero = Zero()
    zero.deploy(7, name="order")
    zero.deploy(1, name="order.line")
    zero.deploy(1, name="ord")
    for name, version in (("order", 7), ("order.line", 1), ("ord", 1)):
        found = catalog.find(zero.state, name)
        assert found is not None
        assert (found.name, found.version) == (name, version)
    assert catalog.find(zero.state, "orde") is None
    assert catalog.find(zero.state, "order", 0) is None
    assert catalog.find(zero.state, "order", 2**40) is None
    assert [str(each) for each in catalog.all_definitions(zero.state)] == [
        "ord version 1",
        "order.line version 1",
        "order version 7",
    ]


def test_the_clock_never_goes_back() -> None:
    """The clock of group 0 is the largest stamp so far."""
    zero = Zero()
    zero.apply(commands.MoveNode(NodeId(1), "", ""), at=50)
    zero.apply(commands.MoveNode(NodeId(1), "", ""), at=20)
    assert zero.machine.clock(zero.state) == 50


# ------------------------------------------------------------------ placement
def test_a_home_moves_only_when_its_node_leaves() -> None:
    """Of many runs, only those of the node that left find another home."""
    nodes = [NodeId(n) for n in range(1, 6)]
    ids = [RunId(f"r{n}") for n in range(500)]
    before = {run_id: home_of(run_id, nodes) for run_id in ids}
    assert set(before.values()) == set(nodes)
    for run_id in ids:
        after = home_of(run_id, [n for n in reversed(nodes) if n != 3])
        assert after == before[run_id] or before[run_id] == 3
    assert home_of(RunId("r"), []) == 0


def test_slots_are_spread() -> None:
    """Run ids fall on all slots about evenly."""
    counts = [0] * SLOTS
    for number in range(20 * SLOTS):
        counts[slot_of(RunId(f"order-{number}"))] += 1
    assert min(counts) > 0
    assert max(counts) < 60
