"""One group on one node: its core, its store, its machine, and who waits for them.

Owns what happens to a group within one drain, in pieces that the host puts in order. Never sends,
syncs or schedules. The rules it keeps: the machine's writes and the index they stand for are staged
together; an entry's stamp is given by the leader when the entry is made; `on_leadership` says True
only once everything committed before the reign is applied.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from raftoral.errors import RaftoralError, UsageError
from raftoral.groups.clock import GroupClock
from raftoral.groups.proposals import (
    PeerRequest,
    Proposal,
    Waiters,
    Waiting,
    dropped,
    unknown_after_snapshot,
)
from raftoral.ids import NOBODY, GroupId, Index, Millis, NodeId, Term
from raftoral.raft.messages import ConfChange, ConfState, Entry, EntryKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from raftoral.groups.clock import Clock, PeerClocks
    from raftoral.groups.config import HostConfig
    from raftoral.groups.reads import Reads
    from raftoral.kv import Reader
    from raftoral.machines.base import Event, Result, StateMachine
    from raftoral.raft.node import RawNode, Ready
    from raftoral.storage.group import GroupStore

_STAMP_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class GroupView:
    """One group as this member sees it; ``match`` is empty unless it leads."""

    group: GroupId
    leader: NodeId
    is_leader: bool
    term: Term
    commit: Index
    applied: Index
    first: Index
    last: Index
    conf: ConfState
    match: Mapping[NodeId, Index]
    waiting: int


class Group:
    """RawNode, store and machine of one group id."""

    def __init__(
        self,
        gid: GroupId,
        raw: RawNode,
        store: GroupStore,
        machine: StateMachine,
        *,
        clock: Clock,
        peer_clocks: PeerClocks,
        reads: Reads,
    ) -> None:
        self.gid = gid
        self.raw = raw
        self.store = store
        self.machine = machine
        self.reads = reads
        self.waiters = Waiters()
        self.clock = GroupClock(clock.monotonic, machine.clock(store.machine))
        self.queue: list[Proposal] = []
        """Proposals of this process since the last drain."""
        self.askers: dict[NodeId, Index] = {}
        """Up to which index each other node waits for what it had appended here."""
        self.handed_over = -math.inf
        """When this node last gave up leadership for its slow disk, in monotonic seconds."""
        self._monotonic = clock.monotonic
        self._peer_clocks = peer_clocks
        self._committed_term = Term(0)
        self._reign = Term(0)
        self._reign_since = 0.0
        self._reign_announced = False
        self._bytes_since_compaction = 0
        self._outcomes: list[tuple[Waiting, Result | None]] = []
        self._events: list[Event] = []

    @property
    def state(self) -> Reader:
        """What the machine has applied, to be read."""
        return self.store.machine

    @property
    def leader(self) -> NodeId:
        """Who leads as far as is known; 0 if nobody."""
        return self.raw.leader

    @property
    def is_member(self) -> bool:
        """Whether the membership of now, as far as it is known here, names this node."""
        return self.raw.is_member

    def view(self) -> GroupView:
        """Return everything at once, for people and for the layers above."""
        status = self.raw.status()
        return GroupView(
            self.gid,
            status.leader,
            self.raw.is_leader,
            status.term,
            status.commit,
            status.applied,
            self.store.first_index(),
            status.last,
            status.conf,
            {node: progress.match for node, progress in status.progress.items()},
            len(self.waiters),
        )

    # -------------------------------------------------------------- proposals
    def admit(self) -> None:
        """As leader, append what was proposed here since the last drain."""
        stamp = self.clock.now().to_bytes(_STAMP_BYTES, "big")
        propose, term, add = self.raw.propose, self.raw.term, self.waiters.add
        for proposal in self.queue:
            try:
                if proposal.kind is EntryKind.NORMAL:
                    index = propose(stamp + proposal.payload)
                else:
                    index = self._propose_change(proposal.payload)
            except RaftoralError as error:
                proposal.fail(error)
            else:
                add(index, term, proposal)
        self.queue.clear()

    def admit_request(
        self, request: PeerRequest, waiting: Callable[[int], Waiting]
    ) -> tuple[int, Index, Term, RaftoralError | None]:
        """Append what another node proposes, up to the first that is refused.

        Returns how many were taken, index and term of the first, and why the rest was not.
        ``waiting`` makes who waits for a proposal id, if the other node wants results.
        """
        first, taken = Index(0), 0
        stamp = self.clock.now().to_bytes(_STAMP_BYTES, "big")
        for payload in request.payloads:
            try:
                if request.kind is EntryKind.NORMAL:
                    index = self.raw.propose(stamp + payload)
                else:
                    index = self._propose_change(payload)
            except RaftoralError as error:
                return taken, first, self.raw.term, error
            first = first or index
            if request.wants_result:
                self.waiters.add(index, self.raw.term, waiting(request.first + taken))
            taken += 1
        return taken, first, self.raw.term, None

    def _propose_change(self, payload: bytes) -> Index:
        try:
            change = ConfChange.decode(payload)
        except RaftoralError as error:
            raise UsageError(f"this is no membership change: {error}") from None
        return self.raw.propose_conf_change(change)

    def tell_askers(self) -> None:
        """Tell those whose entries are all committed; nobody else waits for that."""
        commit = self.raw.commit
        for node in [node for node, index in self.askers.items() if index <= commit]:
            del self.askers[node]
            self.raw.tell_commit(node)

    def wait_for(self, index: Index, term: Term, proposal: Proposal) -> None:
        """Let a proposal that another node appended learn what becomes of the entry."""
        if index <= self.store.applied:
            proposal.fail(unknown_after_snapshot())
        elif term < self._committed_term:
            proposal.fail(dropped())
        else:
            self.waiters.add(index, term, proposal)

    # -------------------------------------------------------------- the steps of a drain
    def append(self, ready: Ready) -> None:
        """Buffer what must be stored before the answers of ``ready`` leave."""
        if ready.snapshot is not None:
            # The host imported it before the core heard of it; here it only takes effect.
            index = ready.snapshot.meta.index
            assert self.store.applied == index, "a snapshot is imported before it is stepped"
            self.clock.observe(self.machine.clock(self.store.machine))
            self.waiters.fail_through(index, unknown_after_snapshot())
            self._reached(index, ready.snapshot.meta.term)
            self._bytes_since_compaction = 0
        if ready.entries:
            self.store.append(ready.entries)
        if ready.hard_state is not None:
            self.store.set_hard_state(ready.hard_state)

    def advance(self, ready: Ready) -> None:
        """Do what may follow the sync, and tell the core that all of ``ready`` is done."""
        self.note_role()
        if ready.read_states:
            self.reads.answered(ready.read_states)
        if ready.committed:
            self.apply(ready.committed)
        self.raw.advance()

    def apply(self, committed: Sequence[Entry]) -> None:
        """Give committed entries to the machine and stage what it wrote."""
        store, machine, txn = self.store, self.machine, self.store.machine
        take, outcomes, events = self.waiters.take, self._outcomes, self._events
        stamp, size = self.clock.applied, 0
        conf: ConfState | None = None
        for term, index, kind, data in committed:
            result: Result = ["ok"]
            if kind is EntryKind.CONF:
                conf = self.raw.apply_conf_change(ConfChange.decode(data))
            elif data:
                stamp = max(stamp, Millis(int.from_bytes(data[:_STAMP_BYTES], "big")))
                result, new = machine.apply(index, stamp, data[_STAMP_BYTES:], txn)
                events += new
                size += len(data)
            waited = take(index)
            if waited is not None:
                outcomes.append((waited[1], result if waited[0] == term else None))
        last = committed[-1]
        self._reached(last.index, last.term)
        store.set_applied(last.index, conf)
        store.stage()
        self.clock.observe(stamp)
        self._bytes_since_compaction += size
        if last.term == self._reign:
            self._reign_announced = self._reign_announced or self.raw.is_leader

    def _reached(self, index: Index, term: Term) -> None:
        """Note the last committed entry: the first of a term drops what older leaders had above."""
        if term != self._committed_term:
            self._committed_term = term
            overtaken = self.waiters.take_overtaken(index, term)
            self._outcomes += [(waiting, None) for waiting in overtaken]

    def resolve(self) -> list[Event]:
        """Tell everyone whose entry was applied; return what happened in the machine."""
        outcomes, self._outcomes = self._outcomes, []
        for waiting, result in outcomes:
            if result is None:
                waiting.fail(dropped())
            else:
                waiting.resolve(result)
        self.reads.applied(self.store.applied)
        events, self._events = self._events, []
        return events

    # -------------------------------------------------------------- leadership
    def note_role(self) -> None:
        """Start or stop stamping when leadership changed."""
        raw = self.raw
        if raw.is_leader and raw.term != self._reign:
            self._reign, self._reign_announced = raw.term, False
            self._reign_since = self._monotonic()
            self.clock.lead(self._peer_clocks.median())
        elif not raw.is_leader and self._reign:
            self._reign, self._reign_announced = Term(0), False
            self.clock.follow()

    @property
    def reigns(self) -> bool:
        """Whether it leads and has applied all that was committed before its reign."""
        return self._reign_announced

    def may_hand_over(self, now: float, config: HostConfig) -> bool:
        """Whether it leads long enough, and has not been handed over lately, for a slow disk."""
        return (
            self.raw.is_leader
            and self.raw.term == self._reign
            and now - self._reign_since >= config.slow_disk_reign_ms / 1_000
            and now - self.handed_over >= config.slow_disk_pause_ms / 1_000
        )

    def successor(self) -> NodeId:
        """Return the voter heard of lately that is best prepared to take over; 0 if none is."""
        status = self.raw.status()
        others = [
            (progress.match, node)
            for node, progress in status.progress.items()
            if node != status.id and node in status.conf.voters and progress.active
        ]
        return max(others)[1] if others else NOBODY

    # -------------------------------------------------------------- upkeep
    def compact(self, config: HostConfig, needed: Index | None) -> None:
        """Drop old entries if there are too many; those behind ``needed`` stay."""
        applied = self.store.applied
        held = applied + 1 - self.store.first_index()
        margin = config.log_entries_margin
        if held > config.log_entries_max or (
            self._bytes_since_compaction > config.log_bytes_max and held > margin
        ):
            target = applied - margin if needed is None else min(applied - margin, needed)
            self.store.compact(Index(target))
            self._bytes_since_compaction = 0

    def expire(self, now: float) -> None:
        """Fail proposals whose time is up."""
        self.waiters.expire(now)
        self.reads.forget_given_up()

    def fail_all(self, queued: RaftoralError, appended: RaftoralError) -> None:
        """End every wait: ``queued`` for what is in no log, ``appended`` for the rest."""
        queue, self.queue = self.queue, []
        for proposal in queue:
            proposal.fail(queued)
        self.waiters.fail_all(appended)
        self.reads.fail_all(queued)
