"""Three real cores on memory disks and a memory network: what callers and disks can rely on."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from random import Random
from typing import TYPE_CHECKING

import pytest

from raftoral.errors import (
    LimitExceeded,
    NodeStopped,
    NotLeader,
    PeerError,
    ProposalDropped,
    ProposalUnknown,
    StorageFailed,
    Unavailable,
    UsageError,
)
from raftoral.groups.clock import SystemClock
from raftoral.groups.host import Host
from raftoral.groups.proposals import Proposal
from raftoral.groups.router import Router
from raftoral.ids import GroupId, Index, NodeId, Term
from raftoral.raft.messages import (
    ConfChange,
    ConfOp,
    ConfState,
    Entry,
    EntryKind,
    Message,
    MessageType,
    SnapshotMeta,
)
from raftoral.storage.memory import MemoryNodeStore
from raftoral.storage.records import HARD, LOG, group_prefix
from raftoral.transport.base import Local
from raftoral.transport.frame import Frame, Kind, frame_of
from raftoral.transport.tcp import TcpTransport
from tests.groups.toy import G1, G2, QUICK, WALL, Node, Toy, ToyCluster, run, until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.groups.toy import Node


# ------------------------------------------------------------------ proposals
def test_any_member_proposes() -> None:
    """A command proposed by leader or follower is applied on all, and answered by the machine."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, two = await cluster.three()
        for number, node in enumerate((leader, one, two), start=1):
            kind, _index, at, count = await node.host.propose(G1, b"c%d" % number, 5)
            assert (kind, count) == ("ok", number)
            assert at >= WALL
        await until(lambda: all(len(node.events) == 3 for node in cluster.nodes.values()))
        for node in cluster.nodes.values():
            assert node.commands() == [b"c1", b"c2", b"c3"]
            assert [event.command for event in node.events] == node.commands()

    run(test)


def test_who_proposed_hears_of_the_commit_before_the_leader_applies() -> None:
    """The commit index leaves for the follower that waits for it, then the leader's machine works."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, _two = await cluster.three()
        steps: list[tuple[str, Index]] = []
        post, apply = leader.host.router.post, leader.host.groups[G1].apply

        def posting(gid: GroupId, messages: list[Message]) -> list[Message]:
            told = [each for each in messages if each.to == one.id and not each.entries]
            steps.extend(("told", each.commit) for each in told if each.type is MessageType.APPEND)
            return post(gid, messages)

        def applying(committed: Sequence[Entry]) -> None:
            steps.extend(("applied", entry.index) for entry in committed)
            apply(committed)

        leader.host.router.post = posting  # type: ignore[method-assign]
        leader.host.groups[G1].apply = applying  # type: ignore[method-assign]
        for _ in range(5):
            _, index, *_ = await one.host.propose(G1, b"c", 5)
            assert steps.index(("told", index)) < steps.index(("applied", index))

    run(test)


def test_a_node_outside_the_group_proposes() -> None:
    """Who has no member here gets the machine's answer from the leader, whomever it asks first."""

    async def test(cluster: ToyCluster) -> None:
        await cluster.three()
        outside = cluster.node(4)
        answers = await asyncio.gather(
            *(outside.host.propose(G1, b"c%d" % n, 5) for n in range(50))
        )
        assert sorted(answer[3] for answer in answers) == list(range(1, 51))
        assert (await outside.host.propose(G1, b"last", 5))[3] == 51

    run(test)


def test_a_node_that_is_not_added_yet_proposes() -> None:
    """Who has opened a group before it is made a member of it reaches the leader all the same."""

    async def test(cluster: ToyCluster) -> None:
        await cluster.three()
        early = cluster.node(4)
        early.host.add_group(G1, Toy())
        assert (await early.host.propose(G1, b"c", 5))[3] == 1

    run(test)


def test_many_at_once_share_syncs() -> None:
    """A thousand concurrent proposals take few syncs and keep one order everywhere."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, _two = await cluster.three()
        before = leader.flushes.count(True)
        answers = await asyncio.gather(
            *(node.host.propose(G1, b"%d" % n, 10) for n in range(500) for node in (leader, one))
        )
        assert len({answer[1] for answer in answers}) == 1_000
        assert leader.flushes.count(True) - before < 20
        await until(lambda: all(len(n.commands()) == 1_000 for n in cluster.nodes.values()))
        assert leader.commands() == one.commands()

    run(test)


def test_two_groups_share_one_sync() -> None:
    """One drain of two groups is one flush, and the groups do not mix."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, two = await cluster.three(G1, G2)
        leader.host.transfer_leadership(G1, leader.id)
        await until(lambda: leader.host.groups[G2].leader != 0)
        leader.host.transfer_leadership(G2, leader.id)
        await until(lambda: leader.host.groups[G2].reigns)
        await asyncio.sleep(0.02)
        for node in (leader, one, two):
            node.flushes.clear()
        await asyncio.gather(leader.host.propose(G1, b"a", 5), leader.host.propose(G2, b"b", 5))
        for node in (leader, one, two):
            assert node.flushes.count(True) == 1
        assert (leader.commands(G1), leader.commands(G2)) == ([b"a"], [b"b"])

    run(test)


def test_without_a_leader_a_proposal_is_refused_in_time() -> None:
    """With no quorum nothing is appended, and the caller learns that repeating is safe."""

    async def test(cluster: ToyCluster) -> None:
        node = cluster.node(1)
        node.add(G1)
        with pytest.raises(NotLeader):
            await node.host.propose(G1, b"c", 0.05)
        with pytest.raises(NotLeader):
            await node.host.propose(GroupId(9), b"c", 0.05)

    run(test)


def test_a_cut_off_leader_does_not_know() -> None:
    """What only a minority has got may or may not commit; here it does not."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, two = await cluster.three()
        cluster.network.cut(leader.id, one.id)
        cluster.network.cut(leader.id, two.id)
        with pytest.raises(ProposalUnknown):
            await leader.host.propose(G1, b"lost", 0.02)
        await until(lambda: one.host.groups[G1].reigns or two.host.groups[G1].reigns)
        await one.host.propose(G1, b"kept", 5)
        cluster.network.heal()
        await until(lambda: leader.commands() == [b"kept"])

    run(test)


def test_an_entry_replaced_by_another_leader_is_dropped() -> None:
    """Who waits for an index that another term takes learns that repeating is safe."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, two = await cluster.three()
        group = leader.host.groups[G1]
        cluster.network.cut(leader.id, one.id)
        cluster.network.cut(leader.id, two.id)
        outcome = leader.host._submit(G1, EntryKind.NORMAL, b"lost", leader.clock.monotonic() + 9)
        await until(lambda: len(group.waiters) == 1)
        await until(lambda: one.host.groups[G1].reigns or two.host.groups[G1].reigns)
        await one.host.propose(G1, b"kept", 5)
        cluster.network.heal()
        with pytest.raises(ProposalDropped):
            await outcome
        # Through the front door the same is simply done again.
        assert (await leader.host.propose(G1, b"again", 5))[3] == 2

    run(test)


def test_entries_above_the_new_leaders_log_are_dropped_at_once() -> None:
    """Whose entry goes with the end of a deposed leader's log learns it at the next commit."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, two = await cluster.three()
        group = leader.host.groups[G1]
        cluster.network.cut(leader.id, one.id)
        cluster.network.cut(leader.id, two.id)
        until_then = leader.clock.monotonic() + 60
        lost = [leader.host._submit(G1, EntryKind.NORMAL, b"lost", until_then) for _ in range(20)]
        await until(lambda: len(group.waiters) == 20)
        term = group.raw.term
        await until(lambda: one.host.groups[G1].reigns or two.host.groups[G1].reigns)
        cluster.network.heal()
        outcomes = await asyncio.wait_for(asyncio.gather(*lost, return_exceptions=True), 5)
        assert {type(outcome) for outcome in outcomes} == {ProposalDropped}
        # One of which this node hears as late as that is known to be dropped as well.
        told: list[object] = []
        late = Proposal(EntryKind.NORMAL, b"late", until_then, told.append)
        group.wait_for(Index(group.store.applied + 5), term, late)
        assert [type(each) for each in told] == [ProposalDropped]
        assert len(group.waiters) == 0

    run(test)


def test_losing_the_leader_loses_no_answer() -> None:
    """While the leader dies, every caller elsewhere gets an answer or an honest error in time."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, _two = await cluster.three()
        calls = [asyncio.ensure_future(one.host.propose(G1, b"%d" % n, 5)) for n in range(200)]
        await asyncio.sleep(0)
        await leader.kill()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        done = {answer[1] for answer in answers if isinstance(answer, list)}
        assert all(isinstance(answer, list | ProposalUnknown) for answer in answers)
        assert (await one.host.propose(G1, b"after", 5))[0] == "ok"
        commands = one.commands()
        assert len(done) <= len(commands) - 1
        assert len(commands) == len(set(commands))

    run(test)


def test_a_lost_answer_is_unknown_at_once() -> None:
    """When the peer that a proposal was sent to is lost, the caller learns it without waiting."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, _two = await cluster.three()
        cluster.network.loses = lambda _sender, _to, frame: frame.kind is Kind.PROPOSED
        started = one.clock.monotonic()
        call = asyncio.ensure_future(one.host.propose(G1, b"c", 60))
        await until(lambda: leader.commands() == [b"c"])
        cluster.network.cut(leader.id, one.id)
        with pytest.raises(ProposalUnknown, match="lost before it answered"):
            await call
        assert one.clock.monotonic() - started < 5

    run(test)


def test_a_lost_answer_runs_into_the_time_limit() -> None:
    """When an answer is lost on a living connection, the time limit speaks: unknown."""

    async def test(cluster: ToyCluster) -> None:
        _leader, one, _two = await cluster.three()
        outside = cluster.node(4)
        cluster.network.loses = lambda _sender, _to, frame: (
            frame.kind
            in (
                Kind.PROPOSED,
                Kind.APPLIED,
            )
        )
        for node in (one, outside):
            with pytest.raises(ProposalUnknown):
                await node.host.propose(G1, b"c", 0.05)

    run(test)


def test_too_large_commands_are_refused() -> None:
    """A command above the bound is the caller's mistake; one at the bound is replicated."""

    async def test(cluster: ToyCluster) -> None:
        _leader, one, _two = await cluster.three()
        with pytest.raises(LimitExceeded):
            await one.host.propose(G1, b"x" * (512 * 1024 + 1), 1)
        await one.host.propose(G1, b"x" * 512 * 1024, 5)
        await until(lambda: all(len(n.commands()) == 1 for n in cluster.nodes.values()))

    run(test)


def test_stopping_answers_everyone() -> None:
    """Whoever waits on a node that stops is told so, and later callers too."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, two = await cluster.three()
        cluster.network.cut(leader.id, one.id)
        cluster.network.cut(leader.id, two.id)
        calls = [
            asyncio.ensure_future(leader.host.propose(G1, b"c", 60)),
            asyncio.ensure_future(leader.host.read_barrier(G1, 60)),
            asyncio.ensure_future(leader.host.propose(G2, b"c", 60)),
        ]
        await asyncio.sleep(0.01)
        leader.host.stop()
        for call in calls:
            with pytest.raises(NodeStopped):
                await call
        with pytest.raises(NodeStopped):
            await leader.host.propose(G1, b"c", 1)

    run(test)


# ------------------------------------------------------------------ restart and snapshots
def test_a_restarted_node_goes_on_from_its_disk() -> None:
    """After a crash the node applies its log again from where its machine stood."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, two = await cluster.three()
        for n in range(20):
            await leader.host.propose(G1, b"%d" % n, 5)
        await one.kill()
        await two.host.propose(G1, b"meanwhile", 5)
        one.start()
        one.add(G1)
        await until(lambda: one.commands() == leader.commands())
        assert len(one.commands()) == 21
        assert one.snapshots == []

    run(test)


def test_a_whole_cluster_restarts() -> None:
    """After all nodes crashed at once, every answered command is still there."""

    async def test(cluster: ToyCluster) -> None:
        leader, *_ = await cluster.three()
        for n in range(20):
            await leader.host.propose(G1, b"%d" % n, 5)
        for node in cluster.nodes.values():
            await node.kill()
        for node in cluster.nodes.values():
            node.start()
            node.add(G1)
        leader, *_ = await cluster.roles()
        assert (await leader.host.propose(G1, b"more", 5))[3] == 21

    run(test)


COMPACTING = dataclasses.replace(QUICK, log_entries_max=20, log_entries_margin=5)


def test_a_node_far_behind_gets_a_snapshot() -> None:
    """A restarted node whose entries are compacted gets the state in chunks, then the log."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, two = await cluster.three()
        await one.kill()
        for n in range(60):
            await leader.host.propose(G1, b"%d" % n + b"x" * 20_000, 5)
        await until(lambda: leader.host.view(G1).first > 30)
        one.start()
        one.add(G1)
        await until(lambda: bool(one.snapshots) and one.commands() == leader.commands())
        assert len(one.snapshots) == 1
        # Killed before its leader knows of it, it would rightly get another.
        await until(lambda: leader.host.view(G1).match[one.id] >= one.snapshots[0][1])
        await one.kill()
        one.start()
        one.add(G1)
        assert one.commands()[:50] == leader.commands()[:50]
        await two.host.propose(G1, b"after", 5)
        await until(lambda: one.commands() == leader.commands())
        assert len(one.snapshots) == 1

    run(test, COMPACTING)


def test_a_snapshot_whose_chunk_is_lost_is_sent_again() -> None:
    """A transfer that breaks off is given up, and the next one brings the state."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, _two = await cluster.three()
        await one.kill()
        for n in range(60):
            await leader.host.propose(G1, b"%d" % n + b"x" * 20_000, 5)
        await until(lambda: leader.host.view(G1).first > 30)
        lost: list[int] = []

        def loses(_sender: NodeId, to: NodeId, frame: Frame) -> bool:
            if frame.kind is Kind.SNAPSHOT and frame.body[1] == 2 and len(lost) < 2:
                lost.append(to)
                return True
            return False

        cluster.network.loses = loses
        one.start()
        one.add(G1)
        await until(lambda: one.commands() == leader.commands())
        assert lost == [one.id, one.id]

    run(test, COMPACTING)


def test_a_new_member_gets_a_snapshot() -> None:
    """A node that is added as learner, then as voter, gets state and membership by snapshot."""

    async def test(cluster: ToyCluster) -> None:
        _leader, one, _two = await cluster.three()
        await one.host.propose(G1, b"before", 5)
        newcomer = cluster.node(4)
        newcomer.host.add_group(G1, Toy())
        for operation in (ConfOp.ADD_LEARNER, ConfOp.ADD_VOTER):
            change = ConfChange(((operation, newcomer.id),))
            assert await one.host.propose_conf_change(G1, change, 5) == ["ok"]
        await until(lambda: newcomer.commands() == [b"before"])
        await until(lambda: newcomer.host.view(G1).conf.voters == (1, 2, 3, 4))
        await until(lambda: bool(newcomer.snapshots))
        assert len(newcomer.snapshots) == 1
        assert (await newcomer.host.propose(G1, b"own", 5))[3] == 2
        await newcomer.kill()
        newcomer.start()
        newcomer.host.add_group(G1, Toy())
        assert newcomer.host.view(G1).conf.voters == (1, 2, 3, 4)

    run(test)


def test_a_removed_leader_hands_over() -> None:
    """A leader that is removed steps down, and the others go on."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, _two = await cluster.three()
        change = ConfChange(((ConfOp.REMOVE, leader.id),))
        assert await one.host.propose_conf_change(G1, change, 5) == ["ok"]
        assert (await one.host.propose(G1, b"after", 5))[3] == 1
        assert one.host.view(G1).conf.voters == tuple(
            node for node in (1, 2, 3) if node != leader.id
        )

    run(test)


def test_an_impossible_change_is_the_callers_mistake() -> None:
    """A change that would leave no voter is refused with a usage error, also when forwarded."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, _two = await cluster.three()
        change = ConfChange(tuple((ConfOp.REMOVE, NodeId(node)) for node in (1, 2, 3)))
        for node in (leader, one):
            with pytest.raises(UsageError):
                await node.host.propose_conf_change(G1, change, 5)

    run(test)


def test_groups_begin_behind_index_one() -> None:
    """A group that began at index 0 could not bring its membership to a newcomer."""

    async def test(cluster: ToyCluster) -> None:
        node = cluster.node(1)
        conf = ConfState(voters=(NodeId(1),))
        with pytest.raises(UsageError, match="index 1"):
            node.host.add_group(G1, Toy(), bootstrap=SnapshotMeta(Index(0), Term(0), conf))
        node.add(G1, voters=(1,))
        with pytest.raises(UsageError, match="already"):
            node.add(G1)
        assert (await node.host.propose(G1, b"alone", 5))[3] == 1
        node.host.remove_group(G1, forget=True)
        assert node.host.groups == {}
        assert node.store.groups() == []

    run(test)


# ------------------------------------------------------------------ disk
def test_nothing_is_vouched_for_before_it_is_synced() -> None:
    """Whenever votes or acknowledgements leave a node, its whole log has been synced."""

    async def test(cluster: ToyCluster) -> None:
        vouched: list[bool] = []

        def watch(sender: NodeId, _to: NodeId, frame: Frame) -> bool:
            if frame.kind is Kind.RAFT and sends_after_sync(frame):
                vouched.append(has_synced_all(cluster.nodes[sender]))
            return False

        cluster.network.loses = watch
        leader, *_ = await cluster.three()
        await asyncio.gather(*(leader.host.propose(G1, b"%d" % n, 20) for n in range(100)))
        assert len(vouched) > 4
        assert all(vouched)

    run(test)


def has_synced_all(node: Node) -> bool:
    """Return whether a crash now would take no entry, no term and no vote of the group."""
    prefix = group_prefix(G1)
    lost = {key[: len(prefix) + 1] for batch in node.disk._undo for key, _ in batch}
    log = node.host.groups[G1].store.log
    return log._unwritten == log.last + 1 and not lost & {prefix + LOG, prefix + HARD}


def sends_after_sync(frame: Frame) -> bool:
    """Return whether a RAFT frame holds an acknowledgement or a vote."""
    kinds = {message.type for _, message in frame.body}
    return bool(kinds & {MessageType.APPEND_RESPONSE, MessageType.VOTE_RESPONSE})


def test_a_failed_disk_stops_the_node() -> None:
    """After a failed sync the node answers nobody with success and takes part no more."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, _two = await cluster.three()
        leader.disk.fail("no space left")
        with pytest.raises((NodeStopped, ProposalUnknown)):
            await leader.host.propose(G1, b"c", 5)
        assert [type(failure) for failure in leader.failures] == [StorageFailed]
        cluster.network.cut(leader.id, one.id)
        assert (await one.host.propose(G1, b"d", 5))[0] == "ok"

    run(test)


def test_a_broken_machine_stops_the_node() -> None:
    """An exception out of `apply` is a broken invariant and stops the node, not the loop."""

    async def test(cluster: ToyCluster) -> None:
        node = cluster.node(1)
        node.add(G1, voters=(1,))
        with pytest.raises(NodeStopped):
            await node.host.propose(G1, b"bug", 5)
        assert len(node.failures) == 1

    run(test)


class Panicked(BaseException):
    """What a library in another language raises when it breaks: no `Exception`."""


def test_a_panic_in_a_drain_stops_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no `Exception` leaves disk and memory apart just as well: the node stops."""

    async def test(cluster: ToyCluster) -> None:
        node = cluster.node(1)
        group = node.add(G1, voters=(1,))
        await until(lambda: group.reigns)

        def breaks(_entries: object) -> None:
            raise Panicked("out of bounds")

        monkeypatch.setattr(group.store, "append", breaks)
        with pytest.raises(NodeStopped):
            await node.host.propose(G1, b"c", 5)
        assert [type(failure) for failure in node.failures] == [Panicked]

    run(test)


@pytest.mark.parametrize("error", [KeyError, Panicked])
@pytest.mark.parametrize("place", ["compact", "expire"])
def test_an_error_in_a_tick_stops_the_node(place: str, error: type[BaseException]) -> None:
    """An error between two drains stops the node and tells who waits, not its timer alone."""

    def fails(*_arguments: object) -> None:
        raise error("no such entry")

    async def test(cluster: ToyCluster) -> None:
        node = cluster.node(1)
        group = node.add(G1)
        setattr(group, place, fails)
        await until(lambda: node.failures != [])
        assert [type(failure) for failure in node.failures] == [error]
        with pytest.raises(NodeStopped):
            await node.host.propose(G1, b"c", 5)

    run(test)


def slow_down(node: Node) -> None:
    """Let every sync of a node seem to take almost an election timeout."""
    flush = node.store.flush

    def slow(*, sync: bool) -> None:
        flush(sync=sync)
        node.store.sync_seconds = 0.04

    node.store.flush = slow  # type: ignore[method-assign]  # pretends to be slow


def test_a_slow_disk_does_not_lead() -> None:
    """A leader whose sync takes longer than half an election timeout hands over."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, two = await cluster.three()
        slow_down(leader)
        await one.host.propose(G1, b"c", 5)
        await until(lambda: one.host.groups[G1].reigns or two.host.groups[G1].reigns)
        assert leader.host.slow_syncs > 0
        assert leader.leadership[-1] == (G1, False)

    run(test, dataclasses.replace(QUICK, slow_disk_reign_ms=0))


def test_where_all_disks_are_slow_somebody_leads() -> None:
    """With slow disks everywhere a node hands over once in a long time, and commands commit."""

    async def test(cluster: ToyCluster) -> None:
        nodes = await cluster.three()
        transfers: list[NodeId] = []
        for node in nodes:
            slow_down(node)
            raw = node.host.groups[G1].raw
            hand_over = raw.transfer_leadership

            def counted(to: NodeId, hand_over: Callable[[NodeId], None] = hand_over) -> None:
                transfers.append(to)
                hand_over(to)

            raw.transfer_leadership = counted  # type: ignore[method-assign]  # counts, passes on
        for n in range(50):
            await nodes[n % 3].host.propose(G1, b"%d" % n, 5)
        assert 1 <= len(transfers) <= 3
        assert all(node.host.slow_syncs > 10 for node in nodes)

    run(test, dataclasses.replace(QUICK, slow_disk_reign_ms=0))


def test_a_new_leader_with_a_slow_disk_stays_for_a_while() -> None:
    """A leader does not hand over at the beginning of its reign, however slow its disk is."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, _two = await cluster.three()
        slow_down(leader)
        for n in range(20):
            await one.host.propose(G1, b"%d" % n, 5)
        assert leader.host.slow_syncs > 0
        assert leader.host.groups[G1].handed_over == -math.inf

    run(test)


# ------------------------------------------------------------------ reads, leadership, time
def test_a_read_sees_all_that_was_answered() -> None:
    """After a barrier on any member its machine holds every command answered before."""

    async def test(cluster: ToyCluster) -> None:
        nodes = await cluster.three()
        for n in range(30):
            writer, reader = nodes[n % 3], nodes[(n + 1) % 3]
            await writer.host.propose(G1, b"%d" % n, 5)
            await asyncio.gather(*(reader.host.read_barrier(G1, 5) for _ in range(3)))
            assert len(reader.commands()) == n + 1

    run(test)


def test_a_cut_off_leader_serves_no_reads() -> None:
    """A leader without a quorum lets no read through, nor does a node without the group."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, two = await cluster.three()
        cluster.network.cut(leader.id, one.id)
        cluster.network.cut(leader.id, two.id)
        with pytest.raises(Unavailable):
            await leader.host.read_barrier(G1, 0.2)
        with pytest.raises(Unavailable, match="not on this node"):
            await leader.host.read_barrier(G2, 0.2)

    run(test)


def test_leadership_is_told_once_everything_is_applied() -> None:
    """A new leader is told that it leads when its machine has all that was answered before."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, _two = await cluster.three()
        seen: list[int] = []

        def told(_gid: GroupId, leads: bool) -> None:
            if leads:
                seen.append(len(one.commands()))

        one.host.on_leadership = told
        await asyncio.gather(*(leader.host.propose(G1, b"%d" % n, 5) for n in range(50)))
        leader.host.transfer_leadership(G1, one.id)
        await until(lambda: seen == [50])
        assert leader.leadership == [(G1, True), (G1, False)]
        view = one.host.view(G1)
        assert (view.is_leader, view.leader, set(view.match)) == (True, one.id, {1, 2, 3})

    run(test)


def test_stamps_never_go_back() -> None:
    """Stamps grow over changes of leaders whose wall clocks differ by seconds."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, two = await cluster.three()
        leader.clock.ahead_ms, two.clock.ahead_ms = 4_000, -4_000
        await asyncio.sleep(0.05)
        stamps = []
        for target in (one, two, leader, one):
            target.host.transfer_leadership(G1, target.id)
            await until(lambda: target.host.groups[G1].reigns)  # noqa: B023  # awaited at once
            for node in (leader, one, two):
                stamps.append((await node.host.propose(G1, b"c", 5))[2])
            assert abs(target.host.stamp_now(G1) - stamps[-1]) < 1_000
        assert stamps == sorted(stamps)
        assert stamps[-1] - WALL < 3_600_000 + one.clock.wall() - WALL

    run(test)


def test_a_node_with_a_wrong_clock_does_not_lead() -> None:
    """A node whose clock is far off the others' hands over and stands for no election."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, two = await cluster.three()
        leader.clock.ahead_ms = 60_000
        await until(lambda: one.host.groups[G1].reigns or two.host.groups[G1].reigns)
        assert leader.host.clock_is_off
        assert not leader.host.groups[G1].raw.may_lead
        assert not one.host.clock_is_off
        assert abs(one.host.clock_offsets()[leader.id] - 60_000) < 1_000
        leader.clock.ahead_ms = 0
        await until(lambda: leader.host.groups[G1].raw.may_lead)

    run(test)


def test_silent_peers_are_hung_up_on() -> None:
    """A peer that is connected and says nothing is hung up on and dialled again."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, _two = await cluster.three()
        assert leader.host.heard(one.id) < 1
        assert leader.host.heard(NodeId(9)) == float("inf")
        cluster.network.loses = lambda sender, _to, _frame: sender == one.id
        await until(lambda: one.id not in leader.transport.connected())
        cluster.network.loses = lambda _sender, _to, _frame: False
        cluster.network.heal()
        assert (await one.host.propose(G1, b"c", 5))[0] == "ok"

    run(test, dataclasses.replace(QUICK, silence_max_ms=100))


def test_messages_for_groups_elsewhere_are_counted() -> None:
    """A message for a group that is not here is dropped and counted."""

    async def test(cluster: ToyCluster) -> None:
        await cluster.three()
        for number in (1, 2):
            cluster.nodes[number].add(G2)
        await until(lambda: cluster.nodes[3].host.router.unknown_groups[G2] > 0)

    run(test)


# ------------------------------------------------------------------ hostile peers
@pytest.mark.parametrize(
    "frame",
    [
        Frame(Kind.RAFT, GroupId(0), [(1, Message(MessageType.VOTE, NodeId(1), NodeId(2)))]),
        Frame(Kind.PROPOSE, G1, [0, 0, 1, ["text"]]),
        Frame(Kind.PROPOSE, G1, [7, 0, 1, []]),
        Frame(Kind.PROPOSE, G1, []),
        Frame(Kind.PROPOSED, G1, [1, 99, 0, 1, 1, "", 0, ""]),
        Frame(Kind.PROPOSED, G1, [1, -1, 0, 1, 1, "", 0, ""]),
        frame_of(Kind.APPLIED, 1),
        frame_of(Kind.APPLIED, 1, "text"),
        frame_of(Kind.BEAT, "now"),
        frame_of(Kind.REFUSED, "no"),
        Frame(Kind.SNAPSHOT, G1, [1, 0, 0, b"\x90"]),
        Frame(Kind.SNAPSHOT, G1, [1, 0, 0]),
        frame_of(Kind.SNAPSHOT_ACK, 1, 2, None),
    ],
)
def test_hostile_frames_are_the_peers_fault(frame: Frame) -> None:
    """A malformed frame costs the peer its connection and leaves the node at work."""

    async def test(cluster: ToyCluster) -> None:
        node = cluster.node(1)
        node.add(G1, voters=(1,))
        await until(lambda: node.host.groups[G1].reigns)
        with pytest.raises(PeerError):
            node.host.deliver(NodeId(2), frame)
        assert (await node.host.propose(G1, b"c", 5))[0] == "ok"

    run(test)


@pytest.mark.parametrize("claim", [{"from_": NodeId(3)}, {"to": NodeId(3)}])
def test_messages_in_others_names_are_refused(claim: dict[str, NodeId]) -> None:
    """A message whose sender or receiver is not that of the connection reaches no core."""

    async def test(cluster: ToyCluster) -> None:
        node = cluster.node(1)
        group = node.add(G1)
        message = Message(MessageType.HEARTBEAT, NodeId(1), NodeId(2), Term(9))._replace(**claim)
        with pytest.raises(PeerError, match="sent a message from"):
            node.host.deliver(NodeId(2), Frame(Kind.RAFT, GroupId(0), [(1, message)]))
        assert group.raw.term == 1

    run(test)


# ------------------------------------------------------------------ messages on the way
class Recorded:
    """A transport that only remembers what it was given."""

    def __init__(self) -> None:
        self.sent: list[tuple[NodeId, Frame]] = []
        self.works = True

    def send(self, to: NodeId, frame: Frame) -> bool:
        """Remember ``frame``."""
        self.sent.append((to, frame))
        return self.works


def append(to: int, *entries: bytes) -> Message:
    """Return an append with these entries behind index 5."""
    made = tuple(
        Entry(Term(2), Index(6 + n), EntryKind.NORMAL, data) for n, data in enumerate(entries)
    )
    return Message(
        MessageType.APPEND, NodeId(to), NodeId(1), Term(2), Term(2), Index(5), entries=made
    )


def test_messages_of_a_drain_share_frames_of_bounded_size() -> None:
    """Small messages of several groups share a frame, large ones travel alone, in order."""
    wire = Recorded()
    router = Router(NodeId(1), wire)  # type: ignore[arg-type]  # sending is all it does
    router.post(G1, [append(2, b"a"), append(2, b"x" * 200_000)])
    router.post(G2, [append(2, b"x" * 200_000), append(2, b"z")])
    router.send()
    groups = [[group for group, _ in frame.body] for _, frame in wire.sent]
    assert groups == [[1, 1], [2, 2]]
    wire.works = False
    router.post(G1, [append(2, b"a")])
    assert router.send() == [(G1, 2)]


def test_three_hosts_over_sockets() -> None:
    """The same hosts elect, commit and answer over TCP."""

    async def main() -> None:
        clock = SystemClock()
        transports = [
            TcpTransport(
                Local("c", NodeId(n), f"n{n}"),
                "127.0.0.1:0",
                wall=clock.wall,
                chance=Random(n).randrange,
            )
            for n in (1, 2, 3)
        ]
        hosts = []
        conf = ConfState(voters=(NodeId(1), NodeId(2), NodeId(3)))
        for transport in transports:
            await transport.start()
        peers = {transport.local.node: transport.address for transport in transports}
        for transport in transports:
            node = transport.local.node
            host = Host(node, MemoryNodeStore(), transport, clock, Random(node).randrange, QUICK)
            host.add_group(G1, Toy(), bootstrap=SnapshotMeta(Index(1), Term(1), conf))
            host.start()
            transport.set_peers(peers)
            hosts.append(host)
        answers = await asyncio.gather(
            *(host.propose(G1, b"%d" % n, 10) for n in range(100) for host in hosts)
        )
        assert sorted(answer[3] for answer in answers) == list(range(1, 301))
        for host, transport in zip(hosts, transports, strict=True):
            host.stop()
            await transport.close()

    asyncio.run(main())
