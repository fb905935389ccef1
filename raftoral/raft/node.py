"""The door to the core: messages, ticks and proposals in, `Ready` out.

Owns the hand-over between the core and whoever does its input and output. Never lets anything out
twice: what a `Ready` holds is gone from the core, and the next one comes after `advance`. The rule
it keeps: disk before wire, see `Ready`.

Source: the shape is that of etcd's RawNode; thesis section 10.2.1 for what may leave early.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from raftoral.errors import NotLeader, UsageError
from raftoral.ids import NOBODY, Index
from raftoral.raft import following, replication
from raftoral.raft.config import Config, OnRemoval, Role
from raftoral.raft.core import Core
from raftoral.raft.messages import (
    CONTEXT_BYTES_MAX,
    NO_INDEX,
    NO_TERM,
    EntryKind,
    HardState,
    Message,
    MessageType,
)
from raftoral.raft.reads import ReadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from raftoral.ids import NodeId, Term
    from raftoral.raft.log import LogReader
    from raftoral.raft.messages import ConfChange, ConfState, Entry, Snapshot
    from raftoral.raft.progress import ProgressState
    from raftoral.raft.reads import ReadState

__all__ = ["Config", "OnRemoval", "ProgressView", "RawNode", "Ready", "Role", "SoftState", "Status"]


class SoftState(NamedTuple):
    """What need not be stored: who leads, and what this member is."""

    leader: NodeId
    role: Role


class Ready(NamedTuple):
    """What the core wants done, in this order, before `RawNode.advance`.

    Disk before wire: ``messages`` may leave at once; then ``snapshot`` is installed, ``entries`` and
    ``hard_state`` are stored, and synced if ``must_sync``; only then ``messages_after_sync`` leave,
    and ``committed`` goes to the state machine (a CONF entry also to `apply_conf_change`).
    """

    hard_state: HardState | None
    """None if it did not change."""
    soft_state: SoftState | None
    """None if it did not change."""
    snapshot: Snapshot | None
    """One to install: it replaces log and machine."""
    entries: tuple[Entry, ...]
    """To append; the first may stand on the place of an older one, which goes with all behind it."""
    committed: Sequence[Entry]
    messages: list[Message]
    messages_after_sync: list[Message]
    read_states: list[ReadState]
    must_sync: bool
    term: Term
    log_end: tuple[Index, Term] | None
    """The last place of the log, unless all of it was stored before: see `RawNode.stored`."""


@dataclass(frozen=True, slots=True)
class ProgressView:
    """One follower as the leader sees it; ``inflight`` counts unanswered appends.

    ``commit_known`` is the commit index that the follower has confirmed in answers to heartbeats.
    """

    match: Index
    next: Index
    commit_known: Index
    state: ProgressState
    is_learner: bool
    active: bool
    paused: bool
    pending_snapshot: Index
    inflight: int
    inflight_full: bool


@dataclass(frozen=True, slots=True)
class Status:
    """A member at one moment; ``progress`` is empty unless it leads."""

    id: NodeId
    term: Term
    vote: NodeId
    leader: NodeId
    role: Role
    commit: Index
    applied: Index
    last: Index
    conf: ConfState
    transferee: NodeId
    progress: Mapping[NodeId, ProgressView]


class RawNode:
    """One member of one group.

    ``log`` is what is stored; ``applied`` is the last entry that the state machine has, and
    ``log.initial_state()`` gives the membership as of that entry.

    A host does each `Ready` and calls `advance`. One that is ``pipelined`` may take the next while
    it writes and applies the last; it never calls `advance`, but `stored` and `applied_all` for each
    `Ready`, in order; and among ``messages_after_sync`` are then those that this member sends to
    itself, which are stepped after the sync, before `stored`.
    """

    def __init__(self, config: Config, log: LogReader, applied: Index = NO_INDEX) -> None:
        self._core = Core(config, log, applied)
        self._hard_state = self._core.hard_state
        self._soft_state = SoftState(NOBODY, Role.FOLLOWER)
        self._taken: Ready | None = None
        self._loopback: list[Message] = []

    # -------------------------------------------------------------- state
    @property
    def id(self) -> NodeId:
        """Who this member is."""
        return self._core.id

    @property
    def term(self) -> Term:
        """The term it lives in."""
        return self._core.term

    @property
    def leader(self) -> NodeId:
        """Who leads that term as far as is known; 0 if nobody."""
        return self._core.leader

    @property
    def role(self) -> Role:
        """What this member is in it."""
        return self._core.role

    @property
    def is_leader(self) -> bool:
        """Whether it leads."""
        return self._core.role is Role.LEADER

    @property
    def commit(self) -> Index:
        """The last entry known to be committed."""
        return self._core.log.committed

    @property
    def applied(self) -> Index:
        """The last entry that the machine has."""
        return self._core.log.applied

    @property
    def conf(self) -> ConfState:
        """The membership in force."""
        return self._core.membership.conf_state()

    @property
    def is_member(self) -> bool:
        """Whether the membership in force names this node."""
        return self._core.id in self._core.progress

    @property
    def may_lead(self) -> bool:
        """Whether this member stands for election; False keeps it from ever doing so."""
        return self._core.may_lead

    @may_lead.setter
    def may_lead(self, value: bool) -> None:
        self._core.may_lead = value

    def status(self) -> Status:
        """Return everything at once, for people and tests."""
        core = self._core
        return Status(
            id=core.id,
            term=core.term,
            vote=core.vote,
            leader=core.leader,
            role=core.role,
            commit=core.log.committed,
            applied=core.log.applied,
            last=core.log.last,
            conf=core.membership.conf_state(),
            transferee=core.transferee,
            progress={
                node: ProgressView(
                    match=progress.match,
                    next=progress.next,
                    commit_known=progress.commit_known,
                    state=progress.state,
                    is_learner=progress.is_learner,
                    active=progress.active,
                    paused=progress.is_paused,
                    pending_snapshot=progress.pending_snapshot,
                    inflight=len(progress.inflights),
                    inflight_full=progress.inflights.full,
                )
                for node, progress in (core.progress.items() if self.is_leader else ())
            },
        )

    # -------------------------------------------------------------- in
    def tick(self) -> None:
        """Let one tick of time pass."""
        self._core.tick()

    def step(self, message: Message) -> None:
        """Take a message of a peer. `PeerError` if no correct peer can have sent it."""
        # Who was removed may still answer, in a term of its own: that must not unseat a leader.
        if message.from_ not in self._core.progress and message.type in _ANSWERS:
            return
        self._core.step(message)

    def campaign(self) -> None:
        """Stand for election now; nothing happens if this member leads, may not or cannot."""
        self._core.campaign()

    def propose(self, data: bytes) -> Index:
        """Append an entry as leader; return its index, which only commits in this term.

        Raises `NotLeader` elsewhere, and `ProposalDropped` over the limit of uncommitted bytes or
        while leadership is handed over.
        """
        return self._core.propose(EntryKind.NORMAL, data)

    def propose_conf_change(self, change: ConfChange) -> Index:
        """Append a change of the membership as leader; return its index.

        Raises like `propose`, `ProposalDropped` while another change is not applied, and
        `ConfChangeError` for one that the membership of now cannot make.
        """
        return self._core.propose_conf_change(change)

    def apply_conf_change(self, change: ConfChange) -> ConfState:
        """Make a committed change true, when its entry is applied; return the new membership."""
        return self._core.apply_conf_change(change)

    def read_index(self, context: bytes) -> None:
        """Ask up to where to apply before a linearizable read; a `ReadState` brings the answer.

        It may be lost with a leader, so ask again after a while. Raises `NotLeader` if no leader is
        known. ``context`` tells the answers apart.
        """
        if len(context) > CONTEXT_BYTES_MAX:
            raise UsageError(f"a read's context is at most {CONTEXT_BYTES_MAX} bytes")
        core = self._core
        if self.is_leader:
            replication.serve_read(core, ReadRequest(core.id, context))
        elif core.leader == NOBODY:
            raise NotLeader(None)
        else:
            core.send(MessageType.READ_INDEX, core.leader, term=NO_TERM, context=context)

    def tell_commit(self, node: NodeId) -> None:
        """As leader, let ``node`` know the commit index with the next `Ready`, entries or not."""
        if self.is_leader:
            replication.send_commit(self._core, node)

    def transfer_leadership(self, to: NodeId) -> None:
        """Hand leadership to the voter ``to`` within an election timeout, or go on leading.

        Away from the leader the wish is passed on to it. Raises `NotLeader` if none is known.
        """
        core = self._core
        if self.is_leader:
            replication.transfer(core, to)
        elif core.leader == NOBODY:
            raise NotLeader(None)
        else:
            core.send(MessageType.TRANSFER_LEADER, core.leader, index=Index(to))

    def abort_transfer(self) -> None:
        """Give up a transfer that is under way, and accept proposals again."""
        replication.abort_transfer(self._core)

    def forget_leader(self) -> None:
        """Follow nobody until a leader is heard again, so that votes are free at once."""
        if self._core.role is Role.FOLLOWER:
            self._core.leader = NOBODY

    def report_unreachable(self, node: NodeId) -> None:
        """Tell the leader that messages to ``node`` were lost."""
        if self.is_leader:
            replication.report_unreachable(self._core, node)

    def report_snapshot(self, node: NodeId, ok: bool) -> None:
        """Tell the leader whether the snapshot for ``node`` arrived."""
        if self.is_leader:
            replication.report_snapshot(self._core, node, ok=ok)

    def wants_snapshot(self, message: Message) -> bool:
        """Whether stepping this SNAPSHOT message would make a `Ready` with the snapshot.

        For hosts that stream the state: ask before the transfer begins and again before the stored
        state is replaced.
        """
        core = self._core
        return (
            message.snapshot is not None
            and message.term >= core.term
            and (core.role is not Role.LEADER or message.term > core.term)
            and following.wants_snapshot(core, message.snapshot)
        )

    # -------------------------------------------------------------- out
    def has_ready(self, *, news: bool = True) -> bool:
        """Whether `ready` has anything to say; False between `ready` and `advance`.

        With ``batch``, a commit index that no entries carry may wait: without ``news`` it does not
        count here, and `ready` says nothing of it unless entries leave, or a change of the
        membership may be committed by it.
        """
        core = self._core
        log = core.log
        return self._taken is None and bool(
            core.messages
            or core.messages_after_sync
            or core.loopback
            or core.appends_due
            or (news and core.news_due)
            or core.reads.needs_round
            or core.read_states
            or log.last > log.handed
            or (log.pending_snapshot is not None and not log.snapshot_handed)
            or (
                log.committed > log.applying
                and log.appliable(core.config.committed_bytes_max) > log.applying
            )
            or core.leader != self._soft_state.leader
            or core.role is not self._soft_state.role
            or (core.term, core.vote, log.committed) != self._hard_state
        )

    @property
    def must_sync(self) -> bool:
        """Whether the next `Ready` will have to be synced; more may follow from a proposal."""
        core = self._core
        term, vote, _ = self._hard_state
        return core.log.last > core.log.handed or core.term != term or core.vote != vote

    @property
    def has_news(self) -> bool:
        """Whether followers wait for a commit index that no entries carried yet."""
        return self._core.news_due

    def ready(self, *, news: bool = True) -> Ready:
        """Return what is to be done now; `advance` must follow once it is done.

        For ``news`` see `has_ready`.
        """
        assert self._taken is None, "the last Ready was not advanced"
        core = self._core
        log = core.log
        if core.role is Role.LEADER:
            # Whom a change of the membership removes is told of its commit now or never.
            if core.news_due and (news or core.pending_conf_index > log.applied):
                core.appends_due = True
            if core.appends_due or core.reads.needs_round:
                replication.flush(core)
        entries = log.unstable()
        term, vote, commit = self._hard_state
        vouched = core.term != term or core.vote != vote
        hard_state = core.hard_state if vouched or log.committed != commit else None
        soft_state = self._soft_state
        if core.leader != soft_state.leader or core.role is not soft_state.role:
            soft_state = SoftState(core.leader, core.role)
        ready = Ready(
            hard_state=hard_state,
            soft_state=None if soft_state is self._soft_state else soft_state,
            snapshot=None if log.snapshot_handed else log.pending_snapshot,
            entries=entries,
            committed=log.next_committed(core.config.committed_bytes_max),
            messages=core.messages,
            messages_after_sync=core.messages_after_sync,
            read_states=core.read_states,
            # A commit index alone may be lost: it is found again.
            must_sync=vouched or bool(entries),
            term=core.term,
            log_end=(log.last, log.last_term) if log.last > log.stable else None,
        )
        log.hand_out(ready.committed)
        core.messages, core.messages_after_sync, core.read_states = [], [], []
        self._loopback, core.loopback = core.loopback, []
        self._hard_state, self._soft_state = hard_state or self._hard_state, soft_state
        if not core.config.pipelined:
            self._taken = ready
        if core.trace is not None:
            core.trace.node("Ready", core)
        return ready

    def advance(self) -> None:
        """Note that everything in the last `Ready` is done: stored, synced, applied."""
        ready, self._taken = self._taken, None
        assert ready is not None, "advance follows ready"
        for message in self._loopback:
            self._core.step(message)
        self._loopback = []
        self.stored(ready)
        self.applied_all(ready)

    def stored(self, ready: Ready) -> None:
        """Note that all that ``ready`` and those before it wanted stored is on disk, and synced."""
        log = self._core.log
        # In a later term other entries may be on their way to the same places of the disk, and even
        # the same ones again behind them. The first Ready of that term vouches for the log anew.
        if ready.log_end is not None and ready.term == self._core.term:
            log.stored_to(*ready.log_end)
        if ready.snapshot is not None:
            log.snapshot_installed(ready.snapshot.meta.index)

    def applied_all(self, ready: Ready) -> None:
        """Note that the machine has what ``ready`` had committed."""
        committed = ready.committed
        if committed:
            size = sum([len(entry.data) for entry in committed])
            self._core.applied_to(committed[-1].index, len(committed), size)


_ANSWERS: Final = frozenset(
    {
        MessageType.APPEND_RESPONSE,
        MessageType.HEARTBEAT_RESPONSE,
        MessageType.VOTE_RESPONSE,
        MessageType.PRE_VOTE_RESPONSE,
        MessageType.READ_INDEX_RESPONSE,
    }
)
