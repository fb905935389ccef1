"""Clients: they write under ids, repeat what they do not know, and read what must be there.

Owns what was promised to the outside: the answers of writes, and what reads saw. Each client has
one operation under way. The rule it checks: whatever a client was told before an operation began is
there when that operation ends, in real time and over all clients of a group (linearizability: the
log gives the order, so this is the whole of it).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from raftoral.errors import (
    NodeStopped,
    NotLeader,
    ProposalDropped,
    ProposalUnknown,
    Unavailable,
)
from raftoral.ids import GroupId, Index
from raftoral.sim import machine

if TYPE_CHECKING:
    from raftoral.groups.host import Host
    from raftoral.sim.cluster import Cluster
    from raftoral.sim.node import SimNode

REAL_TIME: Final = "an operation comes after all that had ended before it began"
NO_STALE_READ: Final = "no read is older than a write that was acknowledged before it"
ANSWERS: Final = "every call ends with an answer or an honest error"


class Client:
    """One caller, outside of all nodes."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        self.cluster = cluster
        self.id = number
        self.is_idle = True
        self.pause = cluster.random.choice((0.02, 0.1, 0.3))
        self.patience = cluster.random.choice((0.15, 0.5, 2.0))
        """How long it lets a node try, in seconds; it waits twice that for its answer."""
        self._group = GroupId(0)
        self._written = 0
        self._command = b""
        self._floor = Index(0)
        self._attempt = 0
        self._node: SimNode | None = None

    # -------------------------------------------------------------- what next
    def begin(self) -> None:
        """Begin the next operation, unless the run comes to its end."""
        cluster, random = self.cluster, self.cluster.random
        self.is_idle = True
        if not cluster.clients_go_on:
            return
        self.is_idle = False
        self._group = random.choice(cluster.gids)
        self._floor = cluster.floors[self._group]
        if cluster.shape.is_traced or random.random() < 0.6:
            self._written += 1
            size = 8 if random.random() < 0.97 else random.randrange(cluster.shape.value_bytes_max)
            value = self._written.to_bytes(8, "big") * (size // 8 + 1)
            self._command = machine.command(
                self.id, self._written, random.randrange(machine.REGISTERS), value
            )
        else:
            self._command = b""
        self._try()

    def _rest(self) -> None:
        seconds = self.cluster.random.expovariate(1 / self.pause)
        self.cluster.events.after(seconds, self.begin)

    # -------------------------------------------------------------- one attempt
    def _try(self) -> None:
        cluster = self.cluster
        self._attempt += 1
        node = self._node
        if node is None or not node.runs or cluster.random.random() < 0.1:
            node = self._node = self._choose()
        if node is None:
            cluster.events.after(0.1, self._again, self._attempt)
            return
        done: partial[None] = partial(self._ended, self._attempt)
        work = partial(
            _write if self._command else _read, self._group, self._command, self.patience
        )
        node.run(work, done)
        while self._command and cluster.random.random() < 0.25:
            # The same once more, at once: still it happens once.
            node.run(work, partial(self._ended, 0))
        cluster.events.after(2 * self.patience, self._again, self._attempt)

    def _choose(self) -> SimNode | None:
        """Choose a node: any for a write, one with the group for a read.

        Mostly one that belongs to the group by its newest membership: who was removed and does not
        know of it refuses, rightly, for as long as anyone asks.
        """
        cluster, gid = self.cluster, self._group
        nodes = [
            node
            for node in cluster.nodes.values()
            if node.host is not None and (self._command or node.member(gid) is not None)
        ]
        if self._command and cluster.random.random() < 0.3:
            # Callers often sit where the leader is, also where one is cut off and does not know.
            leaders = [
                node for node in nodes if (group := node.member(gid)) and group.raw.is_leader
            ]
            if leaders:
                return cluster.random.choice(leaders)
        if not cluster.clients_go_on or cluster.random.random() < 0.8:
            conf = cluster.checkers.newest_membership(gid)
            members = conf.members() if conf is not None else frozenset()
            nodes = [node for node in nodes if node.id in members] or nodes
        return cluster.random.choice(nodes) if nodes else None

    def _again(self, attempt: int) -> None:
        if attempt == self._attempt:
            if self._command:
                self.cluster.count["repeated with the same id"] += 1
            if not self._command or self.cluster.random.random() < 0.3:
                self._node = None
            self._try()

    # -------------------------------------------------------------- its end
    def _ended(self, attempt: int, result: object) -> None:
        if attempt != self._attempt:
            return
        count = self.cluster.count
        match result:
            case ["ok", int(index)]:
                self._attempt += 1
                count["writes"] += 1
                self._wrote(Index(index))
            case ["read", int(index)]:
                self._attempt += 1
                count["read barriers"] += 1
                self._saw(Index(index))
            case ProposalUnknown():
                count["outcomes unknown"] += 1
                self._later(attempt)
            case NotLeader() | ProposalDropped() | NodeStopped() | Unavailable():
                count["refused: " + result.code] += 1
                self._later(attempt)
            case KeyError() if not self._command:
                self._later(attempt)
            case _:
                self.cluster.checkers.fail(ANSWERS, f"client {self.id} got {result!r}")

    def _later(self, attempt: int) -> None:
        self.cluster.events.after(0.02 + self.cluster.random.random() * 0.1, self._again, attempt)

    def _wrote(self, index: Index) -> None:
        cluster, gid = self.cluster, self._group
        cluster.checkers.acknowledged(gid, self.id, self._written, index)
        if index <= self._floor:
            cluster.checkers.fail(
                REAL_TIME,
                f"group {gid}: client {self.id} began when {self._floor} was known, its command "
                f"took effect at {index}",
            )
        cluster.floors[gid] = max(cluster.floors[gid], index)
        cluster.acknowledged[gid, self.id] = self._written
        self._rest()

    def _saw(self, index: Index) -> None:
        cluster, gid = self.cluster, self._group
        if index < self._floor:
            cluster.checkers.fail(
                NO_STALE_READ,
                f"group {gid}: client {self.id} read a state at {index}, {self._floor} was "
                "known before it asked",
            )
        cluster.floors[gid] = max(cluster.floors[gid], index)
        self._rest()


async def _write(gid: GroupId, command: bytes, patience: float, host: Host) -> list[object]:
    return await host.propose(gid, command, patience)


async def _read(gid: GroupId, _command: bytes, patience: float, host: Host) -> list[object]:
    """Read as an application does: a barrier, then the state."""
    await host.read_barrier(gid, patience)
    return ["read", host.groups[gid].store.applied]
