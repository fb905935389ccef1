"""A core whose host takes the next `Ready` while it still writes and applies the last ones."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from raftoral.ids import Index, NodeId, Term
from raftoral.raft.messages import (
    ConfState,
    Entry,
    EntryKind,
    Message,
    MessageType,
    Snapshot,
    SnapshotMeta,
)
from raftoral.raft.node import Config, RawNode, Role
from tests.raft.network import MemoryLog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.raft.node import Ready

VOTERS = ConfState(tuple(NodeId(n) for n in (1, 2, 3)))
BASE = SnapshotMeta(Index(1), Term(1), VOTERS)


@dataclass
class Slow:
    """A member with a disk and a machine that work through what they were given, in order."""

    node: NodeId
    chance: Any = lambda _: 0
    options: dict[str, Any] = field(default_factory=dict)
    log: MemoryLog = field(default_factory=lambda: MemoryLog(BASE))
    applied: list[Entry] = field(default_factory=list)
    disk: deque[Ready] = field(default_factory=deque)
    written: deque[Ready] = field(default_factory=deque)
    machine: deque[Ready] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Start over what the disk and the machine have; the rest of the work is lost."""
        self.disk.clear()
        self.written.clear()
        self.machine.clear()
        settings = {"election_ticks": 5, "heartbeat_ticks": 1, **self.options}
        config = Config(id=self.node, chance=self.chance, pipelined=True, **settings)
        applied = self.applied[-1].index if self.applied else self.log.base.index
        self.raw = RawNode(config, self.log, applied)

    def take(self) -> list[Message]:
        """Take a `Ready`, and hand its parts to disk and machine; return what may leave."""
        ready = self.raw.ready()
        self.disk.append(ready)
        if ready.committed:
            self.machine.append(ready)
        return ready.messages

    def write(self) -> list[Message]:
        """Write what one `Ready` wants written; return what may leave then."""
        ready = self.disk.popleft()
        if ready.snapshot is not None:
            self.log.install(ready.snapshot)
            self.applied = [Entry(Term(1), ready.snapshot.meta.index, EntryKind.NORMAL, b"")]
        self.log.append(ready.entries)
        if ready.hard_state is not None:
            self.log.hard_state = ready.hard_state
        self.written.append(ready)
        return ready.messages_after_sync

    def hear(self) -> None:
        """Tell the core that one `Ready` was written."""
        self.raw.stored(self.written.popleft())

    def apply(self) -> None:
        """Apply what one `Ready` had committed."""
        ready = self.machine.popleft()
        self.applied += ready.committed
        self.raw.applied_all(ready)

    def rest(self, wire: list[Message]) -> None:
        """Do everything that is to be done; messages for others go to ``wire``."""
        own: list[Message] = []
        while own or self.raw.has_ready() or self.disk or self.written or self.machine:
            for message in own:
                self.raw.step(message)
            sent = self.take() if self.raw.has_ready() else []
            sent += self.write() if self.disk else []
            own = [message for message in sent if message.to == self.node]
            wire += [message for message in sent if message.to != self.node]
            if self.written and not own:
                self.hear()
            if self.machine:
                self.apply()


class SlowGroup:
    """Three of them, and a scheduler that decides by its seed who does what next."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.members = {
            node: Slow(
                node,
                self.random.randrange,
                {"batch": self.random.random() < 0.5, "committed_bytes_max": 40},
            )
            for node in VOTERS.voters
        }
        self.wire: list[Message] = []
        self.leaders: dict[Term, NodeId] = {}
        self.proposed = 0

    def run(self, steps: int) -> None:
        """Take that many random steps; each leaves the laws intact."""
        for _ in range(steps):
            self.step(self.random.choice(list(self.members.values())))
            self.check()

    def step(self, member: Slow) -> None:
        """Let one thing happen at ``member``."""
        raw = member.raw
        dice = self.random.random()
        if dice < 0.25 and raw.has_ready():
            self.wire += member.take()
        elif dice < 0.45 and member.disk:
            self.wire += member.write()
        elif dice < 0.6 and member.written:
            member.hear()
        elif dice < 0.7 and member.machine:
            member.apply()
        elif dice < 0.707:
            raw.tick()
        elif dice < 0.74 and raw.is_leader:
            self.proposed += 1
            raw.propose(b"%d" % self.proposed)
        elif dice < 0.741:
            member.start()
        elif self.wire:
            message = self.wire.pop(self.random.randrange(min(len(self.wire), 6)))
            is_own = message.from_ == message.to
            if is_own or self.random.random() < 0.97:
                self.members[message.to].raw.step(message)

    def check(self) -> None:
        """Check what holds after every step."""
        for member in self.members.values():
            raw, log = member.raw, member.raw._core.log
            if raw.role is Role.LEADER:
                assert self.leaders.setdefault(raw.term, raw.id) == raw.id
            assert log.applied <= log.applying <= log.committed
            assert log.stable <= log.handed <= log.last
            for ready in member.disk:
                # Nothing on its way to the disk goes over what counts as stored.
                assert not ready.entries or ready.entries[0].index > log.stable
            if member.applied:
                assert member.applied[-1].index <= log.stable, "applied before it was stored"
        self.check_prefixes([member.applied for member in self.members.values()])

    @staticmethod
    def check_prefixes(logs: Sequence[list[Entry]]) -> None:
        """Check that all machines have applied the same, as far as they are."""
        for one, other in pairwise(logs):
            assert all(a == b for a, b in zip(one, other, strict=False))

    def settle(self) -> None:
        """Lose nothing any more until everybody has applied the same."""
        for _ in range(60):
            for member in self.members.values():
                member.raw.tick()
                member.rest(self.wire)
            while self.wire:
                message = self.wire.pop(0)
                self.members[message.to].raw.step(message)
                self.members[message.to].rest(self.wire)
        assert any(member.raw.is_leader for member in self.members.values())
        assert len({tuple(member.applied) for member in self.members.values()}) == 1


@pytest.mark.parametrize("seed", range(12))
def test_slow_disks_break_no_law(seed: int) -> None:
    """Whatever overtakes what, and whoever crashes, nothing counts before it is on the disk."""
    group = SlowGroup(seed)
    group.run(20_000)
    # What was on its way to the own core is lost with a crash, so it may be lost here as well.
    group.wire = []
    for member in group.members.values():
        member.start()
    group.settle()
    assert group.proposed > 10


def follower() -> Slow:
    """Return a member that follows 2 in term 5."""
    member = Slow(NodeId(1))
    member.raw.step(Message(MessageType.HEARTBEAT, NodeId(1), NodeId(2), Term(5)))
    member.rest([])
    return member


def append(member: Slow, leader: int, term: int, *entries: tuple[int, int]) -> None:
    """Let ``leader`` of ``term`` send entries (term, index) from the base on."""
    member.raw.step(
        Message(
            MessageType.APPEND,
            NodeId(1),
            NodeId(leader),
            Term(term),
            Term(1),
            Index(1),
            entries=tuple(Entry(Term(t), Index(i), EntryKind.NORMAL, b"") for t, i in entries),
        )
    )


def test_the_same_entry_twice_is_stored_when_nothing_can_replace_it() -> None:
    """An entry that comes, goes and comes again is not stored by the news of its first writing."""
    member = follower()
    log = member.raw._core.log
    append(member, 2, 5, (5, 2), (5, 3))
    member.take()
    append(member, 3, 6, (6, 2))
    member.take()
    append(member, 2, 7, (5, 2), (5, 3), (7, 4))
    member.take()
    assert [[tuple(e[:2]) for e in ready.entries] for ready in member.disk] == [
        [(5, 2), (5, 3)],
        [(6, 2)],
        [(5, 2), (5, 3), (7, 4)],
    ]
    member.write()
    member.hear()
    assert log.stable == 1, "the second writing is still to come"
    member.write()
    member.hear()
    assert log.stable == 1
    assert member.log.last_index() == 2
    assert log.term(Index(3)) == 5, "what is not stored is read from memory"
    member.write()
    member.hear()
    assert log.stable == 4


def test_a_new_term_vouches_for_what_is_under_way() -> None:
    """News of an older term count for nothing; the next `Ready` covers the same entries."""
    member = follower()
    append(member, 2, 5, (5, 2))
    member.take()
    append(member, 2, 6, (5, 2))
    member.take()
    second = member.disk[-1]
    assert not second.entries
    assert second.log_end == (2, 5)
    member.write()
    member.hear()
    assert member.raw._core.log.stable == 1
    member.write()
    member.hear()
    assert member.raw._core.log.stable == 2


def test_a_leader_does_not_count_itself_before_its_disk() -> None:
    """What a member sends to itself waits for the sync as any other answer does."""
    member = Slow(NodeId(1), options={"pre_vote": False})
    member.raw.campaign()
    assert all(m.type is not MessageType.VOTE_RESPONSE for m in member.take())
    own = [m for m in member.write() if m.to == 1]
    member.hear()
    assert [m.type for m in own] == [MessageType.VOTE_RESPONSE]
    member.raw.step(own[0])
    member.raw.step(Message(MessageType.VOTE_RESPONSE, NodeId(1), NodeId(2), Term(1)))
    assert member.raw.is_leader
    member.take()
    member.raw.step(
        Message(MessageType.APPEND_RESPONSE, NodeId(1), NodeId(2), Term(1), index=Index(2))
    )
    assert member.raw.commit == 1, "one of three holds it, and the own disk does not"
    member.raw.step(next(m for m in member.write() if m.to == 1))
    assert member.raw.commit == 2
    assert member.raw._core.log.appliable(100) == 1, "it is not known to be stored"
    member.hear()
    assert member.raw.ready().committed[0].index == 2


def test_a_snapshot_is_handed_out_once() -> None:
    """While it is installed there is no second one, no election and nothing to apply."""
    member = follower()
    meta = SnapshotMeta(Index(9), Term(4), VOTERS)
    member.raw.step(
        Message(MessageType.SNAPSHOT, NodeId(1), NodeId(2), Term(5), snapshot=Snapshot(meta))
    )
    member.take()
    assert member.disk[-1].snapshot is not None
    assert not member.raw.has_ready()
    assert member.raw.ready().snapshot is None
    member.raw.campaign()
    assert member.raw.role is Role.FOLLOWER
    member.write()
    member.hear()
    assert member.raw.applied == 9
    assert member.raw._core.log.applying == 9


def test_what_is_being_applied_is_bounded() -> None:
    """Entries that would go beyond the bound wait until some of those before them were applied."""
    member = Slow(NodeId(1), options={"committed_bytes_max": 40})
    append(member, 2, 5, *((5, index) for index in range(2, 12)))
    while member.raw.has_ready() or member.disk or member.written:
        if member.raw.has_ready():
            member.take()
        if member.disk:
            member.write()
            member.hear()
    member.raw.step(Message(MessageType.HEARTBEAT, NodeId(1), NodeId(2), Term(5), commit=Index(11)))
    counts = []
    while member.raw.has_ready():
        member.take()
        counts.append(len(member.disk[-1].committed))
    assert counts == [2], "a third entry of 16 bytes would go beyond 40"
    member.apply()
    assert member.raw.has_ready()
