"""Stories over hosts, disks and wires in which something acknowledged could get lost."""

from __future__ import annotations

import asyncio
import dataclasses
from random import Random
from typing import TYPE_CHECKING

import pytest

from raftoral.errors import NotLeader, ProposalUnknown, Unavailable
from raftoral.ids import GroupId, Index, NodeId
from raftoral.raft.messages import ConfChange, ConfOp
from raftoral.transport.frame import Frame, Kind
from tests.groups.toy import G1, QUICK, Node, Toy, ToyCluster, Wrote, run, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.machines.base import Event

COMPACTING = dataclasses.replace(QUICK, log_entries_max=20, log_entries_margin=5)


async def crash_and_restart(cluster: ToyCluster, random: Random) -> None:
    """Crash every node at once, each with some of what it had not synced, and start them again."""
    for node in cluster.nodes.values():
        node.host.stop()
        await node.transport.close()
        node.disk.crash(keep=random.randint(0, node.disk.unsynced))
    for node in cluster.nodes.values():
        node.start()
        node.add(G1)


@pytest.mark.parametrize("seed", range(4))
def test_crashes_of_all_around_compactions_lose_no_answer(seed: int) -> None:
    """Whenever all crash while logs are compacted, every answered command is there, once, in order."""

    async def test(cluster: ToyCluster) -> None:
        random = Random(seed)
        answered: list[bytes] = []
        await cluster.three()

        async def propose(node: Node, command: bytes) -> None:
            try:
                await node.host.propose(G1, command, 2)
            except Unavailable:
                return
            answered.append(command)

        for turn in range(5):
            leader, one, two = await cluster.roles()
            calls = [
                asyncio.ensure_future(propose(random.choice((leader, one, two)), b"%d" % number))
                for number in range(turn * 40, turn * 40 + 40)
            ]
            for _ in range(random.randint(1, 12)):
                await asyncio.sleep(0.002)
            await crash_and_restart(cluster, random)
            await asyncio.gather(*calls)
        leader, *_ = await cluster.roles()
        await leader.host.propose(G1, b"last", 5)
        await until(lambda: all(n.commands()[-1:] == [b"last"] for n in cluster.nodes.values()))
        commands = leader.commands()
        assert len(answered) > 20
        assert set(answered) <= set(commands)
        assert len(commands) == len(set(commands))
        assert all(node.commands() == commands for node in cluster.nodes.values())

    run(test, COMPACTING)


def test_a_whole_cluster_restarts_from_compacted_logs() -> None:
    """After all crashed with most of the log compacted, state and counters go on where they were."""

    async def test(cluster: ToyCluster) -> None:
        leader, *_ = await cluster.three()
        for number in range(70):
            await leader.host.propose(G1, b"%d" % number, 5)
        await until(lambda: all(n.host.view(G1).first > 20 for n in cluster.nodes.values()))
        await crash_and_restart(cluster, Random(0))
        leader, *_ = await cluster.roles()
        assert (await leader.host.propose(G1, b"more", 5))[3] == 71
        assert leader.commands()[:70] == [b"%d" % number for number in range(70)]

    run(test, COMPACTING)


def test_a_restarted_leader_alone_answers_nothing() -> None:
    """Back from a crash and cut off, a former leader neither takes commands nor serves reads."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, two = await cluster.three()
        for number in range(20):
            await leader.host.propose(G1, b"%d" % number, 5)
        await leader.kill()
        cluster.network.cut(leader.id, one.id)
        cluster.network.cut(leader.id, two.id)
        leader.start()
        leader.add(G1)
        view = leader.host.view(G1)
        assert view.applied <= view.commit <= view.last
        for number in range(3):
            with pytest.raises(NotLeader):
                await leader.host.propose(G1, b"alone %d" % number, 0.1)
        with pytest.raises(Unavailable):
            await leader.host.read_barrier(G1, 0.1)
        assert leader.host.view(G1).last == view.last

    run(test)


def test_two_of_five_do_not_go_back_to_being_two_of_three() -> None:
    """The membership comes back with the log, so the first three decide nothing without a fourth."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, two = await cluster.three()
        for number in (4, 5):
            newcomer = cluster.node(number)
            newcomer.host.add_group(G1, Toy())
        changes = ((ConfOp.ADD_VOTER, NodeId(4)), (ConfOp.ADD_VOTER, NodeId(5)))
        assert await leader.host.propose_conf_change(G1, ConfChange(changes), 5) == ["ok"]
        everyone = (1, 2, 3, 4, 5)
        await until(
            lambda: all(
                (view := node.host.view(G1)).conf.voters == everyone
                and not view.conf.voters_outgoing
                for node in cluster.nodes.values()
            )
        )
        for node in (one, two):
            await node.kill()
        for number in (leader.id, 4, 5):
            for node in (one, two):
                cluster.network.cut(NodeId(number), node.id)
        for node in (one, two):
            node.start()
            node.add(G1)
        for node in (one, two):
            with pytest.raises(NotLeader):
                await node.host.propose(G1, b"of two", 0.2)
        await until(lambda: any(cluster.nodes[n].host.groups[G1].reigns for n in (leader.id, 4, 5)))
        await cluster.nodes[4].host.propose(G1, b"of three", 5)
        assert not one.host.view(G1).leader
        assert len({*one.host.view(G1).conf.voters} - {1, 2, 3}) == 2
        cluster.network.heal()
        await until(lambda: all(n.commands() == [b"of three"] for n in cluster.nodes.values()))

    run(test)


def test_those_who_were_removed_do_not_go_back_to_being_a_majority() -> None:
    """What they forget in a crash is less than the change that they were removed by.

    Both hold the whole change in their logs. Had they not kept with its second half that the first
    is committed, they would stand for election among the members of before it, and win: without
    what the members of now have committed since.
    """

    async def test(cluster: ToyCluster) -> None:
        leader, one, two = await cluster.three()
        for number in (4, 5):
            cluster.node(number).host.add_group(G1, Toy())
        begun = leader.host.view(G1).last

        def hears_late(_sender: NodeId, to: NodeId, frame: Frame) -> bool:
            """Whether a frame tells one of them that the first half is committed, and no more."""
            if frame.kind is not Kind.RAFT or to not in (one.id, two.id):
                return False
            halves = cluster.nodes[to].host.view(G1).last - begun
            return halves == 1 and all(not message.entries for _, message in frame.body)

        cluster.network.loses = hears_late
        swap = [(ConfOp.ADD_VOTER, NodeId(number)) for number in (4, 5)]
        swap += [(ConfOp.REMOVE, gone.id) for gone in (one, two)]
        assert await leader.host.propose_conf_change(G1, ConfChange(tuple(swap)), 5) == ["ok"]
        now = tuple(sorted((leader.id, NodeId(4), NodeId(5))))
        await until(lambda: all(n.host.view(G1).conf.voters == now for n in cluster.nodes.values()))
        await until(lambda: not any(n.host.view(G1).conf.voters_outgoing for n in (one, two)))
        last = one.host.view(G1).last
        for node in (one, two):
            await node.kill()
        await leader.host.propose(G1, b"of now", 5)
        for number in now:
            for node in (one, two):
                cluster.network.cut(number, node.id)
        for node in (one, two):
            node.start()
            node.add(G1)
            assert node.host.view(G1).last == last  # The whole change is there.
        await asyncio.sleep(2)
        for node in (one, two):
            assert not node.host.view(G1).leader
        await leader.host.propose(G1, b"of now again", 5)
        assert leader.commands() == [b"of now", b"of now again"]

    run(test)


def test_a_snapshot_that_arrives_damaged_is_not_acknowledged() -> None:
    """Its receiver keeps what it has, applies nothing of it, and gets a sound one afterwards."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, _two = await cluster.three()
        await leader.host.propose(G1, b"early", 5)
        await until(lambda: one.commands() == [b"early"])
        await one.kill()
        for number in range(60):
            await leader.host.propose(G1, b"%d" % number + b"x" * 20_000, 5)
        await until(lambda: leader.host.view(G1).first > 30)
        damaged: list[int] = []

        def damages(_sender: NodeId, to: NodeId, frame: Frame) -> bool:
            if frame.kind is Kind.SNAPSHOT and frame.body[1] == 2 and len(damaged) < 2:
                damaged.append(to)
                data = bytearray(frame.body[3])
                data[len(data) // 2] ^= 1
                frame.body[3] = bytes(data)
                assert one.commands() == [b"early"]
                assert leader.host.view(G1).match[one.id] < leader.host.view(G1).first
            return False

        cluster.network.loses = damages
        one.start()
        one.add(G1)
        await until(lambda: bool(one.snapshots) and one.commands() == leader.commands())
        assert damaged == [one.id, one.id]
        assert len(one.snapshots) == 1

    run(test, COMPACTING)


@pytest.mark.slow
def test_a_large_snapshot_keeps_nobody_waiting() -> None:
    """While 40 MB travel to a newcomer the others commit, nobody stands for election, and it arrives."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, two = await cluster.three()
        block = b"x" * 500_000
        for number in range(80):
            await leader.host.propose(G1, b"%03d" % number + block, 10)
        await until(lambda: leader.host.view(G1).first > 50)
        term = leader.host.view(G1).term
        newcomer = cluster.node(4)
        newcomer.host.add_group(G1, Toy())
        await one.host.propose_conf_change(G1, ConfChange(((ConfOp.ADD_LEARNER, newcomer.id),)), 10)
        meanwhile = 0
        while not newcomer.snapshots:
            await two.host.propose(G1, b"small", 10)
            await asyncio.sleep(0.001)
            meanwhile += 1
        assert meanwhile > 5
        await until(lambda: len(newcomer.commands()) == len(leader.commands()))
        assert newcomer.commands()[:80] == leader.commands()[:80]
        assert leader.host.view(G1).term == term

    run(test, dataclasses.replace(COMPACTING, tick_ms=50, log_bytes_max=1_000_000))


def test_a_lost_request_is_answered_too() -> None:
    """A proposal that never reaches the leader ends: at once with the connection, or in time."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, _two = await cluster.three()
        cluster.network.loses = lambda _sender, _to, frame: frame.kind is Kind.PROPOSE
        with pytest.raises(ProposalUnknown):
            await one.host.propose(G1, b"a", 0.05)
        call = asyncio.ensure_future(one.host.propose(G1, b"b", 60))
        await asyncio.sleep(0.01)
        cluster.network.cut(leader.id, one.id)
        with pytest.raises(ProposalUnknown):
            await asyncio.wait_for(call, 5)
        assert leader.commands() == []

    run(test)


def test_who_waits_for_an_entry_that_a_snapshot_jumps_over_learns_so() -> None:
    """A caller whose entry comes inside a snapshot is told that nobody knows, and does not hang."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, _two = await cluster.three()
        cluster.network.loses = lambda _sender, to, frame: to == one.id and frame.kind is Kind.RAFT
        call = asyncio.ensure_future(one.host.propose(G1, b"mine", 60))
        await until(lambda: b"mine" in leader.commands())
        await until(lambda: one.host.view(G1).waiting == 1)
        for number in range(60):
            await leader.host.propose(G1, b"%d" % number + b"x" * 20_000, 5)
        await until(lambda: leader.host.view(G1).first > 30)
        assert not call.done()
        cluster.network.loses = lambda _sender, _to, _frame: False
        with pytest.raises(ProposalUnknown, match="a snapshot took the place"):
            await asyncio.wait_for(call, 10)
        assert one.commands() == leader.commands()
        assert one.commands().count(b"mine") == 1

    run(test, COMPACTING)


def test_callers_that_give_up_do_not_disturb_what_they_proposed() -> None:
    """A cancelled caller's command is applied once, and so is every other one beside it."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, two = await cluster.three()
        calls = [
            asyncio.ensure_future(node.host.propose(G1, b"%d" % number, 5))
            for number, node in enumerate((leader, one, two) * 10)
        ]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(answer, list) for answer in answers[1::2])
        await leader.host.propose(G1, b"last", 5)
        await until(lambda: all(n.commands()[-1:] == [b"last"] for n in cluster.nodes.values()))
        commands = leader.commands()
        assert len(commands) == len(set(commands))
        assert {b"%d" % number for number in range(1, 30, 2)} <= set(commands)
        assert not any(node.failures for node in cluster.nodes.values())

    run(test)


def test_a_callback_that_raises_stops_the_node_and_applies_nothing_twice() -> None:
    """What was applied before the failure is not applied again by the node that restarts."""

    async def test(cluster: ToyCluster) -> None:
        node = cluster.node(1)
        node.add(G1, voters=(1,))
        await until(lambda: node.host.groups[G1].reigns)
        await node.host.propose(G1, b"one", 5)

        def raises(_gid: GroupId, _index: Index, _events: Sequence[Event]) -> None:
            raise LookupError("a callback's own mistake")

        node.host.on_applied = raises
        outcome = await asyncio.gather(node.host.propose(G1, b"two", 5), return_exceptions=True)
        assert [type(failure) for failure in node.failures] == [LookupError]
        assert isinstance(outcome[0], list | Unavailable)
        await node.kill()
        node.start()
        node.add(G1, voters=(1,))
        await until(lambda: node.host.groups[G1].reigns)
        assert (await node.host.propose(G1, b"three", 5))[3] == 3
        assert node.commands() == [b"one", b"two", b"three"]

    run(test)


def test_a_minority_waits_and_unseats_nobody() -> None:
    """A follower that was cut off for long comes back to the same leader in the same term."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, two = await cluster.three()
        term = leader.host.view(G1).term
        cluster.network.cut(one.id, leader.id)
        cluster.network.cut(one.id, two.id)
        with pytest.raises(Unavailable):
            await one.host.propose(G1, b"of one", 0.4)
        for number in range(20):
            await two.host.propose(G1, b"%d" % number, 5)
        cluster.network.heal()
        await until(lambda: one.commands() == leader.commands())
        assert len(one.commands()) == 20
        assert leader.host.groups[G1].reigns
        assert {node.host.view(G1).term for node in (leader, one, two)} == {term}

    run(test)


def test_who_lags_behind_is_told_everything_or_that_it_missed_something() -> None:
    """Every command reaches a listener as an event, or it is told of a snapshot that has it."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, two = await cluster.three()
        told: list[int] = []

        def applied(_gid: GroupId, index: Index, events: Sequence[Event]) -> None:
            told.extend(event.index for event in events if isinstance(event, Wrote))
            assert not told or told[-1] <= index

        one.host.on_applied = applied
        skipped: list[int] = []
        one.host.on_snapshot = lambda _gid, index: skipped.append(index)
        for number in range(10):
            await two.host.propose(G1, b"early %d" % number, 5)
        cluster.network.cut(one.id, leader.id)
        cluster.network.cut(one.id, two.id)
        for number in range(60):
            await two.host.propose(G1, b"late %d" % number + b"x" * 20_000, 5)
        await until(lambda: leader.host.view(G1).first > 30)
        cluster.network.heal()
        await leader.host.propose(G1, b"last", 5)
        await until(lambda: bool(skipped) and one.commands() == leader.commands())
        assert len(skipped) == 1
        indexes = [
            int.from_bytes(key[3:], "big")
            for key, _ in one.host.groups[G1].store.machine.scan(b"log")
        ]
        assert told == sorted(set(told))
        assert {index for index in indexes if index > skipped[0]} <= set(told)
        assert {index for index in indexes if index not in told} <= set(range(skipped[0] + 1))

    run(test, COMPACTING)
