"""One member of one group: its role, and what it says about ticks and messages.

Owns term, vote, role, log and membership of the member, and the messages that wait for the next
`Ready`. Never does input or output, reads no clock, rolls no dice: ticks, chance and messages come
in by calls. The messages' own rules stand in `elections`, `replication` and `following`; here are
the transitions between roles and the rule for terms. The rule it keeps: a message that vouches for
something (a vote, an acknowledgement) goes to `messages_after_sync`.

Source: Raft paper, figure 2; thesis sections 4.2.3 (leader stickiness), 9.6 (pre-vote).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftoral.errors import NotLeader, ProposalDropped
from raftoral.ids import NOBODY, Index, NodeId, Term
from raftoral.raft import elections, following, replication
from raftoral.raft.config import OnRemoval, Role
from raftoral.raft.log import ENTRY_OVERHEAD_BYTES, RaftLog
from raftoral.raft.membership import ConfChangeError, Membership
from raftoral.raft.messages import (
    NO_INDEX,
    NO_TERM,
    ConfChange,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageType,
    Snapshot,
)
from raftoral.raft.progress import Inflights, Progress
from raftoral.raft.reads import ReadQueue, ReadState

if TYPE_CHECKING:
    from raftoral.raft.config import Config
    from raftoral.raft.log import LogReader
    from raftoral.raft.membership import Change
    from raftoral.raft.messages import ConfState


class Core:
    """The protocol state of one member; `node.RawNode` is the door to it."""

    def __init__(self, config: Config, reader: LogReader, applied: Index) -> None:
        hard_state, conf = reader.initial_state()
        self.config = config
        self.trace = config.trace
        self.id = config.id
        self.log = RaftLog(reader, applied, config.kept_bytes_max, stored_only=config.pipelined)
        self.term: Term = NO_TERM
        self.vote: NodeId = NOBODY
        self.leader: NodeId = NOBODY
        self.role = Role.FOLLOWER
        self.may_lead = True

        self.membership = Membership()
        self.progress: dict[NodeId, Progress] = {}
        self.votes: dict[NodeId, bool] = {}
        self.transferee: NodeId = NOBODY
        self.leaving = NO_INDEX
        """Not 0 once this leader was removed: the commit index that the others must know."""
        self.pending_conf_index = NO_INDEX
        self.uncommitted_bytes = 0
        self.reads = ReadQueue()

        self.messages: list[Message] = []
        self.messages_after_sync: list[Message] = []
        self.loopback: list[Message] = []
        """What this member answers itself; it counts after the sync, like any other answer."""
        self.read_states: list[ReadState] = []
        self.appends_due = False
        """Whether the next `Ready` of a batch has appends."""
        self.news_due = False
        """Whether a follower could raise its commit index, and no entry is due that tells it."""

        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.election_timeout = 0
        self._load(hard_state, Membership.of(conf))

    def _load(self, hard_state: HardState, membership: Membership) -> None:
        """Become again what was stored."""
        if self.trace is not None:
            self.trace.begins(self, membership)
        self._set_members(membership, frozenset())
        self.log.commit_to(hard_state.commit)
        self.term, self.vote = hard_state.term, hard_state.vote
        self.become_follower(self.term, NOBODY)

    # -------------------------------------------------------------- state
    @property
    def hard_state(self) -> HardState:
        """What must be stored before anyone may act on the messages after the sync."""
        return HardState(self.term, self.vote, self.log.committed)

    @property
    def is_leader(self) -> bool:
        """Whether this member leads its term."""
        return self.role is Role.LEADER

    @property
    def is_promotable(self) -> bool:
        """Whether this member could be elected: a voter with a whole log."""
        own = self.progress.get(self.id)
        return own is not None and not own.is_learner and self.log.pending_snapshot is None

    @property
    def in_lease(self) -> bool:
        """Whether a living leader was heard within the shortest election timeout."""
        return (
            self.config.check_quorum
            and self.leader != NOBODY
            and self.election_elapsed < self.config.election_ticks
        )

    # -------------------------------------------------------------- sending
    def send(
        self,
        type_: MessageType,
        to: NodeId,
        *,
        term: Term | None = None,
        log_term: Term = NO_TERM,
        index: Index = NO_INDEX,
        commit: Index = NO_INDEX,
        entries: tuple[Entry, ...] = (),
        reject: bool = False,
        reject_hint: Index = NO_INDEX,
        context: bytes = b"",
        snapshot: Snapshot | None = None,
    ) -> None:
        """Queue a message, in the own term unless ``term`` says otherwise."""
        message = Message(
            type_,
            to,
            self.id,
            self.term if term is None else term,
            log_term,
            index,
            commit,
            entries,
            reject,
            reject_hint,
            context,
            snapshot,
        )
        if self.trace is not None:
            self.trace.sent(self, message)
        if to == self.id and not self.config.pipelined:
            self.loopback.append(message)
        elif type_ in _AFTER_SYNC:
            self.messages_after_sync.append(message)
        else:
            self.messages.append(message)

    # -------------------------------------------------------------- transitions
    def become_follower(self, term: Term, leader: NodeId) -> None:
        """Follow ``leader``, or wait for one, in ``term``."""
        assert term >= self.term, "terms never go back"
        self._reset(term)
        self.leader = leader
        self.role = Role.FOLLOWER
        self.config.say(f"{self.id} became follower at term {self.term}")
        if self.trace is not None:
            self.trace.node("BecomeFollower", self)

    def become_pre_candidate(self) -> None:
        """Ask for an election without disturbing anyone: term and vote stay."""
        assert self.role is not Role.LEADER, "a leader does not campaign"
        self.votes = {}
        self.leader = NOBODY
        self.role = Role.PRE_CANDIDATE
        self.config.say(f"{self.id} became pre-candidate at term {self.term}")

    def become_candidate(self) -> None:
        """Stand for election in the next term."""
        assert self.role is not Role.LEADER, "a leader does not campaign"
        self._reset(Term(self.term + 1))
        self.vote = self.id
        self.role = Role.CANDIDATE
        self.config.say(f"{self.id} became candidate at term {self.term}")
        if self.trace is not None:
            self.trace.node("BecomeCandidate", self)

    def become_leader(self) -> None:
        """Lead the term that this candidate won, beginning with an empty entry."""
        assert self.role is Role.CANDIDATE, f"{self.role} cannot become leader"
        self._reset(self.term)
        self.leader = self.id
        self.role = Role.LEADER
        own = self.progress[self.id]
        own.become_replicate()
        own.active = True
        # Any change of the membership still in the log counts as pending: looking is expensive.
        self.pending_conf_index = self.log.last
        if self.trace is not None:
            self.trace.node("BecomeLeader", self)
        # A new leader knows what is committed only by an entry of its own term (5.4.2, 8).
        self.append(EntryKind.NORMAL, b"")
        self.config.say(f"{self.id} became leader at term {self.term}")

    def _reset(self, term: Term) -> None:
        if self.term != term:
            self.term = term
            self.vote = NOBODY
        self.leader = NOBODY
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.election_timeout = self.config.election_ticks + self.config.chance(
            self.config.election_ticks
        )
        self.transferee = NOBODY
        self.leaving = NO_INDEX
        self.votes = {}
        self.pending_conf_index = NO_INDEX
        self.uncommitted_bytes = 0
        self.reads = ReadQueue()
        self.appends_due = self.news_due = False
        self.progress = {}
        self._set_members(self.membership, frozenset())

    # -------------------------------------------------------------- time
    def tick(self) -> None:
        """Let one tick of time pass."""
        self.election_elapsed += 1
        if self.role is Role.LEADER:
            self._tick_leader()
        elif self.election_elapsed >= self.election_timeout and self.is_promotable:
            self.election_elapsed = 0
            self.campaign()

    def _tick_leader(self) -> None:
        self.heartbeat_elapsed += 1
        if self.election_elapsed >= self.config.election_ticks:
            self.election_elapsed = 0
            if self.config.check_quorum:
                elections.check_quorum(self)
            # A transfer that takes longer than an election has failed.
            self.transferee = NOBODY
        if self.role is Role.LEADER and self.heartbeat_elapsed >= self.config.heartbeat_ticks:
            self.heartbeat_elapsed = 0
            replication.broadcast_heartbeat(self)

    def campaign(self) -> None:
        """Stand for election, with a pre-vote if that is configured."""
        elections.hup(
            self,
            elections.Campaign.PRE_ELECTION
            if self.config.pre_vote
            else elections.Campaign.ELECTION,
        )

    # -------------------------------------------------------------- messages
    def step(self, message: Message) -> None:
        """Take one message: first its term, then what it says."""
        if message.term > self.term and self._must_ignore(message):
            return
        if self.trace is not None:
            self.trace.received(self, message)
        if message.term > self.term:
            self._follow_term(message)
        elif 0 < message.term < self.term:
            self._answer_old_term(message)
            return
        if message.type in _VOTE_REQUESTS:
            elections.on_vote_request(self, message)
        elif self.role is Role.LEADER:
            replication.step_leader(self, message)
        elif self.role is Role.FOLLOWER:
            following.step_follower(self, message)
        elif message.type in _FROM_LEADER:
            # Someone else was elected in this term.
            self.become_follower(message.term, message.from_)
            following.step_follower(self, message)
        else:
            elections.step_candidate(self, message)

    def _must_ignore(self, message: Message) -> bool:
        """Tell whether a request of a higher term gets no answer.

        Who hears a living leader helps nobody to disturb it (thesis 4.2.3), unless that leader
        itself wants to hand over.
        """
        type_ = message.type
        if not (type_ is MessageType.VOTE or type_ is MessageType.PRE_VOTE):
            return False
        if not self.in_lease or message.context == elections.TRANSFER:
            return False
        self.config.say(f"{self.id} ignored {type_.name} from {message.from_}: in lease")
        return True

    def _follow_term(self, message: Message) -> None:
        """Follow a message of a higher term into it, unless it only asks or tells of a pre-vote."""
        type_ = message.type
        if type_ is MessageType.PRE_VOTE:
            return
        if type_ is MessageType.PRE_VOTE_RESPONSE and not message.reject:
            return  # It carries the term that we asked for, which is not ours yet.
        self.become_follower(message.term, message.from_ if type_ in _FROM_LEADER else NOBODY)

    def _answer_old_term(self, message: Message) -> None:
        """Free a sender that is stuck in an old term."""
        type_ = message.type
        if type_ is MessageType.HEARTBEAT or type_ is MessageType.APPEND:
            if self.config.check_quorum or self.config.pre_vote:
                # A member that left its leader's term alone can neither win nor follow; its answer
                # in the higher term makes that leader step down and a new election mend it.
                self.send(MessageType.APPEND_RESPONSE, message.from_)
        elif type_ is MessageType.PRE_VOTE:
            self.send(MessageType.PRE_VOTE_RESPONSE, message.from_, reject=True)

    # -------------------------------------------------------------- proposals
    def propose(self, kind: EntryKind, data: bytes) -> Index:
        """Append an entry as leader and return its index; see `RawNode.propose`."""
        self._admit(len(data))
        index = self.append(kind, data)
        replication.broadcast_append(self)
        return index

    def _admit(self, size: int) -> None:
        """Refuse a proposal of this size unless it may enter the log now."""
        if self.role is not Role.LEADER:
            raise NotLeader(self.leader or None)
        if self.leaving or self.id not in self.progress:
            raise ProposalDropped("this node was removed from the group; propose to its new leader")
        if self.transferee:
            raise ProposalDropped(f"leadership is being handed over to node {self.transferee}")
        waiting = self.uncommitted_bytes
        # An empty tail takes a proposal of any size, and an empty proposal always fits.
        if waiting and size and waiting + size > self.config.uncommitted_bytes_max:
            raise ProposalDropped(
                f"{waiting:,} bytes of proposals are not committed yet; slow down"
            )

    def append(self, kind: EntryKind, data: bytes) -> Index:
        """Put an entry behind the last one, in the own term."""
        index = Index(self.log.last + 1)
        if self.trace is not None and kind is EntryKind.NORMAL:
            self.trace.node("Replicate", self)
        self.log.append(Entry(self.term, index, kind, data))
        self.uncommitted_bytes += len(data)
        # The leader's own copy counts once it is synced (thesis 10.2.1).
        if not self.config.batch:
            self.send(MessageType.APPEND_RESPONSE, self.id, index=index)
        return index

    def propose_conf_change(self, change: ConfChange) -> Index:
        """Append a change of the membership that is legal now; see `RawNode`."""
        if self.role is not Role.LEADER:
            raise NotLeader(self.leader or None)
        if self.config.check_changes:
            self._check_change(change)
        data = change.encode()
        self._admit(len(data))
        if self.trace is not None:
            self.trace.change_proposed(self, change)
        self.pending_conf_index = index = self.append(EntryKind.CONF, data)
        replication.broadcast_append(self)
        return index

    def _check_change(self, change: ConfChange) -> None:
        """Refuse a change that is not legal now, or may not be once those before it are applied."""
        if self.pending_conf_index > self.log.applied:
            raise ProposalDropped(
                f"a membership change may be pending up to entry {self.pending_conf_index}; only "
                f"{self.log.applied} is applied"
            )
        if self.membership.is_joint and not change.leaves_joint:
            raise ConfChangeError("must transition out of joint config first")
        self.membership.apply(change)

    # -------------------------------------------------------------- membership
    def apply_conf_change(self, change: ConfChange) -> ConfState:
        """Make a committed change of the membership true and return the new one."""
        self.switch_membership(self.membership.apply(change))
        return self.membership.conf_state()

    def switch_membership(self, change: Change) -> None:
        """Use the membership of ``change``, and react as leader to who came and went."""
        if self.trace is not None:
            self.trace.change_applied(self, change.membership)
        self._set_members(change.membership, change.kept)
        self.config.say(f"{self.id} switched to {self.membership.conf_state()}")
        if self.role is not Role.LEADER:
            return
        own = self.progress.get(self.id)
        if own is None or own.is_learner:
            if self.config.on_removal is OnRemoval.STEP_DOWN:
                self.become_follower(self.term, NOBODY)
            elif self.config.on_removal is OnRemoval.HAND_OVER:
                self.leaving = self.log.committed
                replication.broadcast_heartbeat(self)
            return
        self.leaving = NO_INDEX
        if not self.membership.voters:
            return
        if replication.maybe_commit(self):
            replication.broadcast_commit(self)
        else:
            replication.send_news(self)
        replication.release_reads(self)
        if self.transferee not in self.membership.all_voters:
            self.transferee = NOBODY

    def _set_members(self, membership: Membership, kept: frozenset[NodeId]) -> None:
        """Use ``membership``; what is known of the followers in ``kept`` stays."""
        before = self.progress
        self.membership = membership
        self.progress = {}
        for node in sorted(membership.members):
            progress = before.get(node) if node in kept else None
            if progress is None:
                progress = self._new_progress(node, fresh=bool(kept))
            progress.is_learner = node in membership.learners
            self.progress[node] = progress

    def _new_progress(self, node: NodeId, *, fresh: bool) -> Progress:
        config = self.config
        inflights = Inflights(config.inflight_max, config.inflight_bytes_max)
        if fresh:
            # Probe a newcomer at our last entry, and give it time to answer before it counts as
            # inactive.
            progress = Progress(Index(max(self.log.last, 1)), inflights)
            progress.active = True
            return progress
        progress = Progress(Index(self.log.last + 1), inflights)
        if node == self.id:
            progress.match = self.log.last
        return progress

    # -------------------------------------------------------------- progress of the host
    def applied_to(self, index: Index, count: int, size: int) -> None:
        """Note that the machine has all up to ``index``: ``count`` entries, ``size`` bytes more."""
        self.log.applied_to(index, size + count * ENTRY_OVERHEAD_BYTES)
        self.uncommitted_bytes = max(0, self.uncommitted_bytes - size)
        if (
            self.role is Role.LEADER
            and self.membership.is_joint
            and self.membership.auto_leave
            and index >= self.pending_conf_index
            and not self.transferee
        ):
            self.pending_conf_index = self.propose(EntryKind.CONF, ConfChange().encode())


_AFTER_SYNC: Final = frozenset(
    {
        MessageType.APPEND_RESPONSE,
        MessageType.VOTE_RESPONSE,
        MessageType.PRE_VOTE_RESPONSE,
        # A request shows the own log to voters, so that log must survive a crash as well.
        MessageType.VOTE,
        MessageType.PRE_VOTE,
    }
)
_VOTE_REQUESTS: Final = frozenset({MessageType.VOTE, MessageType.PRE_VOTE})
_FROM_LEADER: Final = frozenset({MessageType.APPEND, MessageType.HEARTBEAT, MessageType.SNAPSHOT})
