"""Snapshots on their way between hosts: what gets lost, what is kept for them, what stays."""

from __future__ import annotations

import asyncio
import dataclasses
from random import Random
from typing import TYPE_CHECKING

from raftoral.groups.clock import SystemClock
from raftoral.groups.host import Host
from raftoral.ids import Index, NodeId, Term
from raftoral.raft.messages import ConfChange, ConfOp, ConfState, SnapshotMeta
from raftoral.storage.memory import MemoryNodeStore
from raftoral.transport.base import Local
from raftoral.transport.frame import Frame, Kind
from raftoral.transport.tcp import TcpTransport
from tests.groups.toy import G1, G2, QUICK, Node, Toy, ToyCluster, run, until

if TYPE_CHECKING:
    from raftoral.transport.connection import Connection

COMPACTING = dataclasses.replace(
    QUICK, log_entries_max=20, log_entries_margin=5, snapshot_stall_ms=400
)
PATIENT = dataclasses.replace(QUICK, snapshot_stall_ms=60_000)
LARGE = b"x" * 200_000


class Parts:
    """Every part of a snapshot that was put on the wire; some of them get lost."""

    def __init__(self, cluster: ToyCluster) -> None:
        self.seen: list[tuple[int, int]] = []
        self.lost_kinds: set[Kind] = set()
        self.lost_once: set[int] = set()
        self.lost_to: NodeId | None = None
        self.lost_from: int | None = None
        cluster.network.loses = self._loses

    def _loses(self, _sender: NodeId, to: NodeId, frame: Frame) -> bool:
        if frame.kind is Kind.SNAPSHOT:
            transfer, number = frame.body[:2]
            self.seen.append((transfer, number))
            if number in self.lost_once:
                self.lost_once.remove(number)
                return True
            if self.lost_from is not None and number >= self.lost_from:
                return True
        return frame.kind in self.lost_kinds and self.lost_to in (None, to)

    @property
    def transfers(self) -> set[int]:
        """The numbers of the transfers."""
        return {transfer for transfer, _ in self.seen}

    @property
    def last(self) -> int:
        """The highest number of a part."""
        return max((number for _, number in self.seen), default=-1)


async def one_far_behind(cluster: ToyCluster) -> tuple[Node, Node]:
    """Return a leader of a large state, and a node that was down and is not started yet."""
    leader, one, _two = await cluster.three()
    await one.kill()
    for n in range(40):
        await leader.host.propose(G1, b"%d" % n + LARGE, 5)
    await until(lambda: leader.host.view(G1).first > 20)
    return leader, one


def machine_keys(node: Node) -> set[bytes]:
    """Return which kinds of keys of the group the node's disk holds."""
    gid = G1.to_bytes(4, "big")
    return {key[4:5] for key in node.disk.pairs.items() if key[:4] == gid}


def test_a_transfer_goes_on_after_a_lost_connection() -> None:
    """With both halves there, the same transfer goes on behind what was acknowledged."""

    async def test(cluster: ToyCluster) -> None:
        leader, one = await one_far_behind(cluster)
        parts = Parts(cluster)
        parts.lost_from = 12
        one.start()
        one.add(G1)
        await until(lambda: parts.last >= 12)
        cluster.network.cut(leader.id, one.id)
        before = len(parts.seen)
        parts.lost_from = None
        cluster.network.heal()
        await until(lambda: bool(one.snapshots) and one.commands() == leader.commands())
        assert len(parts.transfers) == 1
        assert min(number for _, number in parts.seen[before:]) >= 8
        assert len(one.snapshots) == 1

    run(test, COMPACTING)


def test_a_lost_part_is_sent_again_at_once() -> None:
    """The receiver says that one is missing: nobody waits for a time limit, or begins anew."""

    async def test(cluster: ToyCluster) -> None:
        leader, one = await one_far_behind(cluster)
        parts = Parts(cluster)
        parts.lost_once = {3, 9, 15}
        one.start()
        one.add(G1)
        await until(lambda: bool(one.snapshots) and one.commands() == leader.commands())
        assert len(parts.transfers) == 1
        assert not parts.lost_once

    run(test, dataclasses.replace(COMPACTING, snapshot_stall_ms=60_000))


def test_lost_acknowledgements_are_made_up_for() -> None:
    """What nobody acknowledges is sent again, and acknowledged again, within the transfer."""

    async def test(cluster: ToyCluster) -> None:
        leader, one = await one_far_behind(cluster)
        parts = Parts(cluster)
        parts.lost_kinds = {Kind.SNAPSHOT_ACK}
        one.start()
        one.add(G1)
        await until(lambda: parts.seen.count((min(parts.transfers, default=0), 0)) > 1)
        parts.lost_kinds = set()
        await until(lambda: bool(one.snapshots) and one.commands() == leader.commands())
        assert len(parts.transfers) == 1

    run(test, COMPACTING)


def test_a_receiver_without_its_half_begins_anew() -> None:
    """Whoever restarts in the middle keeps nothing of the first transfer and gets a second one."""

    async def test(cluster: ToyCluster) -> None:
        leader, one = await one_far_behind(cluster)
        parts = Parts(cluster)
        parts.lost_from = 12
        one.start()
        one.add(G1)
        await until(lambda: parts.last >= 12)
        await one.kill()
        parts.lost_from = None
        one.start()
        one.add(G1)
        await until(lambda: bool(one.snapshots) and one.commands() == leader.commands())
        assert len(parts.transfers) == 2

    run(test, COMPACTING)


def test_what_makes_no_progress_is_given_up_and_holds_nothing() -> None:
    """A stuck transfer ends in bounded time at both ends; the log is compacted meanwhile."""

    async def test(cluster: ToyCluster) -> None:
        leader, one = await one_far_behind(cluster)
        parts = Parts(cluster)
        parts.lost_from = 12
        one.start()
        one.add(G1)
        await until(lambda: parts.last >= 12)
        offered = leader.host.view(G1).applied
        assert b"N" in machine_keys(one)
        cluster.network.cut(leader.id, one.id)
        for n in range(60):
            await leader.host.propose(G1, b"%d" % n, 5)
        await until(lambda: leader.host.view(G1).first > offered)
        await until(lambda: b"N" not in machine_keys(one))
        parts.lost_from = None
        cluster.network.heal()
        await until(lambda: bool(one.snapshots) and one.commands() == leader.commands())
        assert len(parts.transfers) == 2

    run(test, COMPACTING)


def test_the_log_reaches_back_until_the_receiver_has_caught_up() -> None:
    """What is committed during a transfer is not compacted before its receiver has it."""

    async def test(cluster: ToyCluster) -> None:
        leader, one = await one_far_behind(cluster)
        parts = Parts(cluster)
        parts.lost_from = 12
        one.start()
        one.add(G1)
        await until(lambda: parts.last >= 12)
        for n in range(100):
            await leader.host.propose(G1, b"%d" % n, 5)
        parts.lost_kinds, parts.lost_to = {Kind.RAFT}, one.id
        parts.lost_from = None
        await until(lambda: bool(one.snapshots))
        await asyncio.sleep(0.05)  # Ticks that compact, while nothing gets through.
        parts.lost_kinds = set()
        await until(lambda: one.commands() == leader.commands())
        assert len(one.snapshots) == 1
        assert len(parts.transfers) == 1
        await leader.host.propose(G1, b"after", 5)
        await until(lambda: leader.host.view(G1).first > 100)

    run(test, COMPACTING)


def test_a_transfer_keeps_its_rate() -> None:
    """A snapshot takes as long as its size demands at the rate that is allowed."""

    async def test(cluster: ToyCluster) -> None:
        leader, one = await one_far_behind(cluster)
        loop = asyncio.get_running_loop()
        began = loop.time()
        one.start()
        one.add(G1)
        await until(lambda: bool(one.snapshots) and one.commands() == leader.commands())
        assert loop.time() - began > 0.35

    run(test, dataclasses.replace(COMPACTING, snapshot_bytes_per_s=20_000_000))


# ------------------------------------------------------------------ what stays
def test_a_forgotten_group_leaves_nothing() -> None:
    """Forgetting a group in the middle of an import leaves no key of it, and other groups alone."""

    async def test(cluster: ToyCluster) -> None:
        _leader, one = await one_far_behind(cluster)
        parts = Parts(cluster)
        parts.lost_from = 12
        one.start()
        one.add(G1)
        one.add(G2, voters=(one.id,))
        await until(lambda: parts.last >= 12)
        await until(lambda: b"N" in machine_keys(one))
        one.host.remove_group(G1, forget=True)
        assert machine_keys(one) == set()
        assert one.store.groups() == [G2]
        await asyncio.sleep(0.05)
        assert machine_keys(one) == set()
        assert (await one.host.propose(G2, b"other", 5))[0] == "ok"
        assert not one.failures

    run(test, COMPACTING)


def test_a_removed_member_can_forget_all_that_it_stored() -> None:
    """A group that is removed from a node takes its data along, and the others go on."""

    async def test(cluster: ToyCluster) -> None:
        leader, one, two = await cluster.three(G1, G2)
        await leader.host.propose(G1, b"c", 5)
        await until(lambda: one.commands() == [b"c"])
        change = ConfChange(((ConfOp.REMOVE, one.id),))
        assert await leader.host.propose_conf_change(G1, change, 5) == ["ok"]
        one.host.remove_group(G1, forget=True)
        assert machine_keys(one) == set()
        assert one.store.groups() == [G2]
        assert (await two.host.propose(G1, b"after", 5))[3] == 2

    run(test)


# ------------------------------------------------------------------ sockets
def test_a_snapshot_over_sockets_has_a_connection_of_its_own() -> None:
    """Chunks come in beside the connection of the pair, and go on after a loss of their own one."""

    async def main() -> None:
        clock = SystemClock()
        conf = ConfState(voters=(NodeId(1),))
        transports, hosts = [], []
        bulk: list[Connection] = []
        for n in (1, 2):
            node = NodeId(n)
            transport = TcpTransport(
                Local("c", node, f"n{n}"),
                "127.0.0.1:0",
                wall=clock.wall,
                chance=Random(n).randrange,
            )
            await transport.start()
            host = Host(node, MemoryNodeStore(), transport, clock, Random(n).randrange, PATIENT)
            first = SnapshotMeta(Index(1), Term(1), conf) if n == 1 else None
            host.add_group(G1, Toy(), bootstrap=first)
            host.start()
            transports.append(transport)
            hosts.append(host)
        peers = {transport.local.node: transport.address for transport in transports}
        for transport in transports:
            transport.set_peers(peers)
        leader, joiner = hosts
        for n in range(40):
            await leader.propose(G1, b"%d" % n + LARGE, 5)
        send = transports[0].send

        def watched(to: NodeId, frame: Frame) -> bool:
            connection = transports[0].bulk(to)
            if frame.kind is Kind.SNAPSHOT and connection is not None:
                bulk.append(connection)
                if len(bulk) == 12 and connection._socket is not None:
                    connection._socket.abort()
            return send(to, frame)

        transports[0].send = watched  # type: ignore[method-assign]  # notes and passes on
        change = ConfChange(((ConfOp.ADD_LEARNER, NodeId(2)),))
        assert await leader.propose_conf_change(G1, change, 5) == ["ok"]
        await until(lambda: joiner.groups[G1].store.applied == leader.groups[G1].store.applied)
        await until(lambda: transports[0].bulk(NodeId(2)) is None)
        assert len(bulk) > 30
        assert len(set(bulk)) == 2
        assert len(bulk) < 60
        assert transports[0].connected() == [2]
        for host, transport in zip(hosts, transports, strict=True):
            host.stop()
            await transport.close()

    asyncio.run(main())
