"""Random groups under random faults: whatever happens, the invariants of the paper hold.

Messages are lost, doubled and reordered, groups are cut in two; members crash between any two parts of a `Ready` and come
back with what was stored; memberships change, logs are compacted, leadership is handed over. Each
run is decided by its seed.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from raftoral.errors import Unavailable, UsageError
from raftoral.ids import Index, NodeId, Term
from raftoral.raft.messages import (
    ConfChange,
    ConfOp,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    Message,
    Snapshot,
    SnapshotMeta,
    Transition,
)
from raftoral.raft.node import Config, RawNode
from raftoral.raft.progress import ProgressState
from tests.raft.network import NOTHING, MemoryLog, over_the_wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.raft.node import Ready

ALL = (NodeId(1), NodeId(2), NodeId(3), NodeId(4), NodeId(5))
STEPS = 12_000


class Machine:
    """One member of the simulation: its core, its disk, and how far its machine is."""

    def __init__(self, log: MemoryLog, applied: Index) -> None:
        self.log = log
        self.applied = applied
        self.raw: RawNode | None = None
        self.committed_seen = Index(0)


class Simulation:
    """Five machines, three or all of them voters at first, and everything that is known to be chosen."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.batch, self.pre_vote, self.check_quorum = (
            self.random.random() < 0.8 for _ in range(3)
        )
        self.wire: list[Message] = []
        self.chosen: dict[Index, Entry] = {}
        self.leader_of: dict[Term, NodeId] = {}
        self.promised: dict[bytes, Index] = {}
        self.loss = self.random.choice([0.0, 0.05, 0.2])
        self.cut: set[NodeId] = set()
        """These hear only each other, and so do the others."""
        first = self.random.choice([ALL[:3], ALL])
        base = SnapshotMeta(Index(1), Term(1), ConfState(first))
        self.machines = {
            node: Machine(
                MemoryLog(base if node in first else NOTHING), Index(1 if node in first else 0)
            )
            for node in ALL
        }
        for node in ALL:
            self.boot(node)

    # -------------------------------------------------------------- machines
    def boot(self, node: NodeId) -> None:
        """Start a machine from what its disk holds."""
        machine = self.machines[node]
        config = Config(
            id=node,
            election_ticks=10,
            heartbeat_ticks=2,
            chance=self.random.randrange,
            message_bytes_max=self.random.choice([0, 60, 10_000]),
            inflight_max=self.random.choice([1, 3, 100]),
            inflight_bytes_max=self.random.choice([0, 50]),
            committed_bytes_max=self.random.choice([0, 60, 10_000]),
            kept_bytes_max=self.random.choice([0, 100, 10_000]),
            uncommitted_bytes_max=500,
            batch=self.batch,
            pre_vote=self.pre_vote,
            check_quorum=self.check_quorum,
        )
        machine.committed_seen = Index(0)
        machine.raw = RawNode(config, machine.log, machine.applied)

    def crash(self, node: NodeId) -> None:
        """Lose everything that is not on the disk."""
        self.machines[node].raw = None

    def drain(self, node: NodeId) -> None:
        """Do one `Ready`, and perhaps crash between two of its parts."""
        machine = self.machines[node]
        raw = machine.raw
        if raw is None or not raw.has_ready():
            return
        ready = raw.ready()
        crash_at = self.random.randrange(5) if self.random.random() < 0.004 else 9
        parts: list[Callable[[Machine, Ready], None]] = [
            self._send_early,
            self._store,
            self._send_late,
            self._apply,
        ]
        for at, part in enumerate(parts):
            if at == crash_at:
                self.crash(node)
                return
            part(machine, ready)
        raw.advance()
        self.observe(node)

    def _send_early(self, machine: Machine, ready: Ready) -> None:
        self.wire += ready.messages

    def _send_late(self, machine: Machine, ready: Ready) -> None:
        self.wire += ready.messages_after_sync

    def _store(self, machine: Machine, ready: Ready) -> None:
        if ready.snapshot is not None:
            meta = ready.snapshot.meta
            assert self.chosen[meta.index].term == meta.term, "a snapshot of what was never chosen"
            machine.log.install(ready.snapshot)
            machine.applied = meta.index
        machine.log.append(ready.entries)
        # A commit index that need not be synced may be lost; half of the time it is.
        if ready.hard_state is not None and (ready.must_sync or self.random.random() < 0.5):
            machine.log.hard_state = ready.hard_state

    def _apply(self, machine: Machine, ready: Ready) -> None:
        raw = machine.raw
        assert raw is not None
        for read in ready.read_states:
            assert read.index >= self.promised[read.context], (
                "a read would miss what was committed before it"
            )
        for entry in ready.committed:
            assert entry.index == machine.applied + 1, "an entry was skipped"
            known = self.chosen.setdefault(entry.index, entry)
            assert known == entry, "two machines applied different entries"
            if entry.kind is EntryKind.CONF:
                machine.log.conf = raw.apply_conf_change(ConfChange.decode(entry.data))
            machine.applied = entry.index
            machine.log.latest = Snapshot(SnapshotMeta(entry.index, entry.term, machine.log.conf))
            # The commit index is in the batch that holds what was applied.
            state = machine.log.hard_state
            machine.log.hard_state = HardState(
                state.term, state.vote, Index(max(state.commit, entry.index))
            )

    # -------------------------------------------------------------- invariants
    def observe(self, node: NodeId) -> None:
        """Check what must be true of a leader, and remember who led when."""
        raw = self.machines[node].raw
        assert raw is not None
        if raw.is_leader:
            first = self.leader_of.setdefault(raw.term, node)
            assert first == node, f"two leaders of term {raw.term}"
        machine = self.machines[node]
        assert raw.commit >= machine.committed_seen, "a commit index went back"
        machine.committed_seen = raw.commit

    def check_logs(self) -> None:
        """Check that logs which agree at a place agree before it, and hold what was chosen."""
        for machine in self.machines.values():
            entries = machine.log.entries_
            for entry in entries:
                known = self.chosen.get(entry.index)
                if known is not None and entry.index <= machine.applied:
                    assert known == entry
        logs = [{(e.index, e.term): e for e in m.log.entries_} for m in self.machines.values()]
        for a in logs:
            for b in logs:
                common = sorted(a.keys() & b.keys())
                if not common:
                    continue
                low = max(min(a)[0], min(b)[0])
                top = common[-1][0]
                own = [e for e in a.values() if low <= e.index <= top]
                other = [e for e in b.values() if low <= e.index <= top]
                assert own == other, "logs that agree at a place differ before it"

    # -------------------------------------------------------------- the world
    def step(self, number: int) -> None:
        """Let one random thing happen."""
        if number % 600 == 0:
            split = self.random.random() < 0.6
            self.cut = set(self.random.sample(ALL, self.random.randint(1, 2))) if split else set()
        node = self.random.choice(ALL)
        machine = self.machines[node]
        raw = machine.raw
        if raw is None:
            if self.random.random() < 0.05:
                self.boot(node)
            return
        dice = self.random.random()
        if dice < 0.25:
            raw.tick()
        elif dice < 0.55:
            self.deliver()
        elif dice < 0.80:
            self.drain(node)
        else:
            self.act(node, raw, number)

    def deliver(self) -> None:
        """Hand over some message, lose it, or hand it over twice."""
        if not self.wire:
            return
        # Mostly the oldest one: pure chaos makes no progress.
        at = 0 if self.random.random() < 0.7 else self.random.randrange(len(self.wire))
        message = self.wire[at]
        if self.random.random() > 0.02:
            del self.wire[at]
        raw = self.machines[message.to].raw
        passes = (message.from_ in self.cut) == (message.to in self.cut)
        if raw is not None and passes and self.random.random() >= self.loss:
            raw.step(over_the_wire(message))
        del self.wire[:-400]

    def act(self, node: NodeId, raw: RawNode, number: int) -> None:
        """Let the application or the operator do something on ``node``."""
        dice = self.random.random()
        try:
            if dice < 0.5:
                raw.propose(b"%d" % number)
            elif dice < 0.65:
                self.read(raw, b"%d" % number)
            elif dice < 0.70:
                raw.propose_conf_change(self.some_change())
            elif dice < 0.72:
                raw.transfer_leadership(self.random.choice(ALL))
            elif dice < 0.74:
                raw.campaign()
            elif dice < 0.80:
                raw.report_unreachable(self.random.choice(ALL))
            elif dice < 0.83:
                raw.report_snapshot(self.random.choice(ALL), self.random.random() < 0.5)
            elif dice < 0.84:
                self.crash(node)
            elif dice < 0.90:
                self.compact(self.machines[node])
        except (Unavailable, UsageError):
            pass

    def read(self, raw: RawNode, context: bytes) -> None:
        """Ask for a read, which must see all that any machine has applied by now."""
        self.promised[context] = Index(max(self.chosen, default=0))
        raw.read_index(context)

    def compact(self, machine: Machine) -> None:
        """Forget a part of what was applied."""
        low = machine.log.base.index
        if machine.applied > low:
            machine.log.compact(Index(self.random.randint(low, machine.applied)))

    def some_change(self) -> ConfChange:
        """Return a membership change that may make sense."""
        steps: list[tuple[ConfOp, NodeId]] = [
            (self.random.choice(list(ConfOp)), self.random.choice(ALL))
            for _ in range(self.random.choice([0, 1, 1, 1, 2, 3]))
        ]
        return ConfChange(tuple(steps), self.random.choice(list(Transition)))

    def calm(self) -> None:
        """Boot everyone, lose nothing more, and run until all members agree."""
        self.loss, self.cut = 0.0, set()
        for node, machine in self.machines.items():
            if machine.raw is None:
                self.boot(node)
        for _ in range(400):
            for node in ALL:
                raw = self.machines[node].raw
                if raw is None:
                    self.boot(node)
                else:
                    raw.tick()
                    self.report_lost_snapshots(raw)
            self.settle()
            if self.agreed():
                return
        raise AssertionError([m.raw.status() for m in self.machines.values() if m.raw])

    def report_lost_snapshots(self, raw: RawNode) -> None:
        """Tell a leader of transfers that came to nothing, as a host must."""
        for node, view in raw.status().progress.items():
            if view.state is ProgressState.SNAPSHOT and self.random.random() < 0.2:
                raw.report_snapshot(node, ok=False)

    def settle(self) -> None:
        """Deliver and drain until nothing moves."""
        busy = True
        while busy:
            busy = bool(self.wire)
            batch, self.wire = self.wire, []
            for message in batch:
                raw = self.machines[message.to].raw
                if raw is not None:
                    raw.step(over_the_wire(message))
            for node, machine in self.machines.items():
                while machine.raw is not None and machine.raw.has_ready():
                    self.drain(node)
                    busy = True

    def agreed(self) -> bool:
        """Whether one leader has brought all members of its group to its last entry."""
        leaders: list[Any] = [m.raw for m in self.machines.values() if m.raw and m.raw.is_leader]
        if not leaders:
            return False
        leader = max(leaders, key=lambda raw: raw.term)
        status = leader.status()
        members = status.conf.members()
        return status.commit == status.last and all(
            self.machines[node].applied == status.last for node in members
        )


@pytest.mark.parametrize("seed", range(16))
def test_no_fault_breaks_an_invariant(seed: int) -> None:
    """One leader a term, matching logs, one sequence of applied entries, and reads that see it."""
    simulation = Simulation(seed)
    for number in range(STEPS):
        simulation.step(number)
        if number % 500 == 0:
            simulation.check_logs()
    chosen = len(simulation.chosen)
    simulation.calm()
    simulation.check_logs()
    assert len(simulation.chosen) >= chosen > 3
