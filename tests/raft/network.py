"""A deterministic network of cores: every message waits until a test delivers it.

Owns a log in memory, a member that does what its `Ready` says, and the wires between members. One
thread, one seeded `Random`, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from raftoral.codec import pack_record, record_reader
from raftoral.ids import Index, NodeId, Term
from raftoral.raft.log import CompactedError, MissingError
from raftoral.raft.messages import (
    ConfChange,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageType,
    Snapshot,
    SnapshotMeta,
    check,
)
from raftoral.raft.node import Config, RawNode, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from raftoral.raft.node import Ready
    from raftoral.raft.reads import ReadState


NOTHING = SnapshotMeta(Index(0), Term(0), ConfState())

_read = record_reader(Message)


def over_the_wire(message: Message) -> Message:
    """Return a message as it arrives; one with a snapshot, which travels in parts, as it is."""
    if message.snapshot is not None:
        return message
    arrived: Message = _read(pack_record(message))
    check(arrived)
    return arrived


class MemoryLog:
    """A stored log as a list; `entries_[0]` stands behind `base`."""

    def __init__(self, base: SnapshotMeta) -> None:
        self.base = base
        self.entries_: list[Entry] = []
        self.hard_state = HardState(commit=base.index)
        self.conf = base.conf
        self.latest = Snapshot(base)

    def initial_state(self) -> tuple[HardState, ConfState]:
        """Return what a restart finds."""
        return self.hard_state, self.conf

    def first_index(self) -> Index:
        """Return the first index behind the base."""
        return Index(self.base.index + 1)

    def last_index(self) -> Index:
        """Return the last index."""
        return Index(self.base.index + len(self.entries_))

    def term(self, index: Index) -> Term:
        """Return the term at ``index``."""
        if index < self.base.index:
            raise CompactedError(index)
        if index == self.base.index:
            return self.base.term
        if index > self.last_index():
            raise MissingError(index)
        return self.entries_[index - self.first_index()].term

    def entries(self, low: Index, high: Index, bytes_max: int) -> Sequence[Entry]:
        """Return entries, cut to ``bytes_max``."""
        if low < self.first_index():
            raise CompactedError(low)
        if high > self.last_index() + 1:
            raise MissingError(high)
        found: list[Entry] = []
        for entry in self.entries_[low - self.first_index() : high - self.first_index()]:
            bytes_max -= len(entry.data)
            if bytes_max < 0 and found:
                break
            found.append(entry)
        return found

    def snapshot(self) -> Snapshot:
        """Return the newest snapshot."""
        return self.latest

    def append(self, entries: Sequence[Entry]) -> None:
        """Write entries over whatever stands on their places."""
        if entries:
            assert self.base.index < entries[0].index <= self.last_index() + 1
            del self.entries_[entries[0].index - self.first_index() :]
            self.entries_.extend(entries)

    def install(self, snapshot: Snapshot) -> None:
        """Replace everything by ``snapshot``."""
        self.base, self.entries_, self.latest = snapshot.meta, [], snapshot
        self.conf = snapshot.meta.conf

    def compact(self, index: Index) -> None:
        """Forget the entries up to ``index``."""
        meta = SnapshotMeta(index, self.term(index), self.conf)
        del self.entries_[: index - self.base.index]
        self.base = meta


@dataclass
class Member:
    """A core with its log and its machine, which is the list of what was applied."""

    raw: RawNode
    log: MemoryLog
    applied: list[Entry] = field(default_factory=list)
    reads: list[ReadState] = field(default_factory=list)

    def drain(self) -> list[Message]:
        """Do one `Ready` in the order that it asks for; return its messages."""
        ready = self.raw.ready()
        self.store(ready)
        self.apply(ready)
        self.raw.advance()
        return [*ready.messages, *ready.messages_after_sync]

    def store(self, ready: Ready) -> None:
        """Write what a `Ready` wants written."""
        if ready.snapshot is not None:
            self.log.install(ready.snapshot)
        self.log.append(ready.entries)
        if ready.hard_state is not None:
            self.log.hard_state = ready.hard_state

    def apply(self, ready: Ready) -> None:
        """Hand what is committed to the machine."""
        for entry in ready.committed:
            if entry.kind is EntryKind.CONF:
                self.log.conf = self.raw.apply_conf_change(ConfChange.decode(entry.data))
            self.applied.append(entry)
        if ready.committed:
            index, term = ready.committed[-1].index, ready.committed[-1].term
            self.log.latest = Snapshot(SnapshotMeta(index, term, self.log.conf))
        self.reads += ready.read_states


class Network:
    """Members 1 to n, all voters; messages travel only in `settle` and `deliver`.

    Every message passes through its wire form. ``lose`` decides what the network drops.
    """

    def __init__(self, voters: int, seed: int = 1, **options: Any) -> None:
        self.random = Random(seed)
        self.options = options
        self.members: dict[NodeId, Member] = {}
        self.wire: list[Message] = []
        self.lose: Callable[[Message], bool] = lambda _: False
        conf = ConfState(tuple(NodeId(n) for n in range(1, voters + 1)))
        for node in conf.voters:
            self.add(node, conf)

    def add(self, node: int, conf: ConfState = ConfState(), **options: Any) -> Member:  # noqa: B008
        """Start a member that begins with ``conf``, or a newcomer that knows nothing.

        The first members' log begins behind entry 1, so that a newcomer, who lacks ``conf``, gets a
        snapshot with it.
        """
        base = SnapshotMeta(Index(1), Term(1), conf) if conf.voters else NOTHING
        return self.start(NodeId(node), MemoryLog(base), base.index, **options)

    def start(self, node: NodeId, log: MemoryLog, applied: Index, **options: Any) -> Member:
        """Start a member over ``log``, as after a crash."""
        settings = {"election_ticks": 10, "heartbeat_ticks": 1, **self.options, **options}
        config = Config(id=node, chance=self.random.randrange, **settings)
        member = Member(RawNode(config, log, applied), log)
        if node in self.members:
            member.applied = [e for e in self.members[node].applied if e.index <= applied]
        self.members[node] = member
        return member

    def __getitem__(self, node: int) -> RawNode:
        return self.members[NodeId(node)].raw

    def log(self, node: int) -> MemoryLog:
        """Return the log of ``node``."""
        return self.members[NodeId(node)].log

    def applied(self, node: int) -> list[bytes]:
        """Return the data that ``node`` has applied, without the empty entries of leaders."""
        return [
            e.data
            for e in self.members[NodeId(node)].applied
            if e.data and e.kind is EntryKind.NORMAL
        ]

    # -------------------------------------------------------------- time
    def process(self, *nodes: int) -> None:
        """Drain the members (all without names) until none of them has anything to say."""
        chosen = [self.members[NodeId(n)] for n in nodes] if nodes else list(self.members.values())
        busy = True
        while busy:
            busy = False
            for member in chosen:
                while member.raw.has_ready():
                    self.wire += member.drain()
                    busy = True

    def deliver(self) -> None:
        """Hand over what was on the wire when this began."""
        batch, self.wire = self.wire, []
        for message in batch:
            if message.to in self.members and not self.lose(message):
                self.members[message.to].raw.step(over_the_wire(message))

    def settle(self) -> None:
        """Drain and deliver until nothing moves."""
        self.process()
        while self.wire:
            self.deliver()
            self.process()

    def tick(self, nodes: Iterable[int] = (), times: int = 1) -> None:
        """Let time pass for ``nodes`` (all by default), settling after each tick."""
        for _ in range(times):
            for node in tuple(nodes) or tuple(self.members):
                self[node].tick()
            self.settle()

    # -------------------------------------------------------------- faults
    def isolate(self, *nodes: int) -> None:
        """Cut ``nodes`` off from everyone, each other included."""
        self.lose = lambda m: m.from_ in nodes or m.to in nodes

    def split(self, *side: int) -> None:
        """Cut ``side`` off from the rest."""
        self.lose = lambda m: (m.from_ in side) != (m.to in side)

    def drop(self, *types: MessageType) -> None:
        """Lose every message of these types."""
        self.lose = lambda m: m.type in types

    def heal(self) -> None:
        """Lose nothing any more."""
        self.lose = lambda _: False

    # -------------------------------------------------------------- shortcuts
    def elect(self, node: int) -> RawNode:
        """Make ``node`` the leader and settle."""
        self[node].campaign()
        self.settle()
        assert self[node].role is Role.LEADER, self[node].status()
        return self[node]

    def leaders(self) -> list[int]:
        """Return who believes to lead."""
        return [n for n, member in self.members.items() if member.raw.is_leader]

    def change(self, node: int, change: ConfChange) -> None:
        """Propose a membership change on ``node`` and settle."""
        self[node].propose_conf_change(change)
        self.settle()
