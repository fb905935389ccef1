"""Bugs to plant, so that it is known what the simulator finds.

Owns a table: each mutant is a mistake that real systems have made, as one replaced function of the
running code. Never touches a file. A simulator that misses one of them has a hole in its checks or
in its faults.

Source: the bugs are those of the Raft paper's and thesis's warnings, and of published reports.
"""

# ruff: noqa: SLF001 - who plants a bug looks inside
from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from raftoral.groups import group as group_module
from raftoral.groups import host as host_module
from raftoral.groups import reads as reads_module
from raftoral.ids import NOBODY, Index, NodeId, Term
from raftoral.raft import core as core_module
from raftoral.raft import elections, following, log, quorum, replication
from raftoral.raft.core import Core
from raftoral.raft.membership import Change, Membership
from raftoral.raft.messages import Entry, HardState, Message, MessageType
from raftoral.raft.progress import Progress
from raftoral.storage import group as store_module
from raftoral.storage import records

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from raftoral.groups.host import Host
    from raftoral.groups.reads import Reads
    from raftoral.raft.log import RaftLog
    from raftoral.raft.messages import ConfChange, SnapshotMeta
    from raftoral.raft.reads import ReadRequest
    from raftoral.storage.group import GroupStore


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake: ``make`` gets the right function of ``owner`` and returns the wrong one."""

    name: str
    owner: object
    attribute: str
    make: Callable[[Any], object]


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """Run the body with the mistake in the code."""
    right = getattr(mutant.owner, mutant.attribute)
    setattr(mutant.owner, mutant.attribute, mutant.make(right))
    try:
        yield
    finally:
        setattr(mutant.owner, mutant.attribute, right)


def mutant_named(name: str) -> Mutant:
    """Return a mutant of the table; `KeyError` if there is none of that name."""
    return {mutant.name: mutant for mutant in MUTANTS}[name]


# ------------------------------------------------------------------ disk
def _acknowledge_before_sync(_right: object) -> object:
    def sync(self: Host) -> None:
        self._store.flush(sync=False)

    return sync


def _forget_the_vote(_right: object) -> object:
    def set_hard_state(self: GroupStore, hard: HardState) -> None:
        self._hard = hard
        self._set(records.HARD, [hard.term, NOBODY, hard.commit])

    return set_hard_state


def _lose_the_hard_state(_right: object) -> object:
    def set_hard_state(self: GroupStore, hard: HardState) -> None:
        self._hard = hard

    return set_hard_state


def _change_without_its_commit(right: Callable[[GroupStore, Any], None]) -> object:
    def append(self: GroupStore, entries: Any) -> None:
        right(self, entries)
        self._commit_counts = False

    return append


def _apply_twice_after_restart(right: Callable[[GroupStore], None]) -> object:
    def stage(self: GroupStore) -> None:
        right(self)
        self._set(records.APPLIED, [max(self.log.base, self.applied - 1)])

    return stage


def _state_behind_its_index(right: Callable[[GroupStore, Any], None]) -> object:
    def collect(self: GroupStore, batch: Any) -> None:  # any batch
        staged = dict(self._staged.writes)
        self._staged.clear()
        right(self, batch)
        for key, value in staged.items():
            if value is None:
                self._staged.delete(key)
            else:
                self._staged.put(key, value)

    return collect


def _trust_the_disk(_right: object) -> object:
    def unseal_entry(key: bytes, data: bytes, _path: str | None) -> Entry:
        return Entry(
            Term(int.from_bytes(data[4:12], "big")),
            Index(int.from_bytes(key[5:], "big")),
            records._KINDS[data[12] & 1],
            data[13:],
        )

    return unseal_entry


def _snapshot_takes_the_vote(right: Callable[[GroupStore, SnapshotMeta], None]) -> object:
    def begin(self: GroupStore, meta: SnapshotMeta) -> None:
        right(self, meta)
        self.set_hard_state(HardState(meta.term, NOBODY, meta.index))

    return begin


def _snapshot_without_configuration(right: Callable[[GroupStore, SnapshotMeta], None]) -> object:
    def begin(self: GroupStore, meta: SnapshotMeta) -> None:
        before = self._conf
        right(self, meta)
        if before.voters:
            self.set_conf(before)

    return begin


# ------------------------------------------------------------------ elections
def _without_comparing_logs(_right: object) -> object:
    def is_up_to_date(_self: RaftLog, _index: Index, _term: Term) -> bool:
        return True

    return is_up_to_date


def _vote_twice(right: Callable[[Core, Message], None]) -> object:
    def on_vote_request(core: Core, message: Message) -> None:
        core.vote, core.leader = NOBODY, NOBODY
        right(core, message)

    return on_vote_request


def _one_majority_elects(_right: object) -> object:
    def joint_vote_result(
        votes: Mapping[NodeId, bool], voters: Collection[NodeId], _outgoing: Collection[NodeId]
    ) -> quorum.VoteResult:
        return quorum.vote_result(votes, voters)

    return joint_vote_result


def _half_is_enough(_right: object) -> object:
    def joint_vote_result(
        votes: Mapping[NodeId, bool], voters: Collection[NodeId], _outgoing: Collection[NodeId]
    ) -> quorum.VoteResult:
        granted = sum(votes.get(voter) is True for voter in voters)
        enough = granted >= (len(voters) + 1) // 2 - (len(voters) > 2)
        return quorum.VoteResult.WON if enough else quorum.VoteResult.PENDING

    return joint_vote_result


def _no_stickiness(_right: object) -> object:
    return property(lambda _core: False)


# ------------------------------------------------------------------ commitment
def _commit_an_old_term(_right: object) -> object:
    def maybe_commit(core: Core) -> bool:
        match = {node: progress.match for node, progress in core.progress.items()}
        members = core.membership
        index = quorum.joint_commit_index(match, members.voters, members.outgoing)
        if index <= core.log.committed:
            return False
        core.log.commit_to(index)
        return True

    return maybe_commit


def _count_learners(right: Callable[[Core], bool]) -> object:
    def maybe_commit(core: Core) -> bool:
        real = core.membership
        core.membership = Membership(real.voters | real.learners, real.outgoing)
        try:
            return right(core)
        finally:
            core.membership = real

    return maybe_commit


def _one_majority_commits(_right: object) -> object:
    def joint_commit_index(
        match: Mapping[NodeId, Index], voters: Collection[NodeId], _outgoing: Collection[NodeId]
    ) -> Index:
        return quorum.commit_index(match, voters)

    return joint_commit_index


def _commit_beyond_the_quorum(_right: object) -> object:
    def joint_commit_index(
        match: Mapping[NodeId, Index], voters: Collection[NodeId], _outgoing: Collection[NodeId]
    ) -> Index:
        stored = sorted((match.get(voter, Index(0)) for voter in voters), reverse=True)
        return stored[max(len(stored) // 2 - 1, 0)] if stored else quorum.INDEX_MAX

    return joint_commit_index


def _count_what_was_only_sent(right: Callable[..., None]) -> object:
    def sent(self: Progress, entries: Sequence[Entry], commit: Index) -> None:
        right(self, entries, commit)
        if entries:
            self.match = entries[-1].index

    return sent


def _heartbeats_commit_too_much(right: Callable[[Core], None]) -> object:
    def broadcast_heartbeat(core: Core) -> None:
        before = len(core.messages)
        right(core)
        core.messages[before:] = [
            message._replace(commit=core.log.committed)
            if message.type is MessageType.HEARTBEAT
            else message
            for message in core.messages[before:]
        ]

    return broadcast_heartbeat


# ------------------------------------------------------------------ the log
def _truncate_a_matching_suffix(_right: object) -> object:
    def new_part(self: RaftLog, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        return tuple(entry for entry in entries if entry.index > self.committed)

    return new_part


def _append_without_comparing(_right: object) -> object:
    def matches(self: RaftLog, index: Index, term: Term) -> bool:
        try:
            return self.term(index) == term or index > self.committed
        except LookupError:
            return False

    return matches


def _acknowledge_what_was_refused(right: Callable[[Core, Message], None]) -> object:
    def on_append(core: Core, message: Message) -> None:
        right(core, message)
        last = core.messages_after_sync[-1]
        if last.type is MessageType.APPEND_RESPONSE and last.reject:
            index = min(message.index, core.log.last)
            core.messages_after_sync[-1] = last._replace(reject=False, index=index)

    return on_append


def _snapshot_leaves_the_membership(_right: object) -> object:
    def switch(self: Core, change: Change) -> None:
        if self.log.pending_snapshot is None:
            right_switch(self, change)

    right_switch = core_module.Core.switch_membership
    return switch


def _two_changes_at_once(right: Callable[[Core, ConfChange], Index]) -> object:
    def propose_conf_change(self: Core, change: ConfChange) -> Index:
        self.pending_conf_index = Index(0)
        return right(self, change)

    return propose_conf_change


# ------------------------------------------------------------------ reads and answers
def _read_without_asking(_right: object) -> object:
    def serve_read(core: Core, request: ReadRequest) -> None:
        replication._answer_read(core, core.log.committed, request)

    return serve_read


def _read_before_the_first_commit(_right: object) -> object:
    def serve_read(core: Core, request: ReadRequest) -> None:
        if core.membership.is_singleton(core.id):
            replication._answer_read(core, core.log.committed, request)
        else:
            core.reads.add(request, core.log.committed)

    return serve_read


def _read_before_it_is_applied(_right: object) -> object:
    def applied(self: Reads, _index: Index) -> None:
        for _, waiting in self._indexed:
            for answer in waiting:
                if not answer.done():
                    answer.set_result(None)
        self._indexed = []

    return applied


def _answer_by_index_alone(right: Callable[..., None]) -> object:
    def apply(self: group_module.Group, committed: Any) -> None:  # passed on
        for term, index, _, _ in committed:
            waited = self.waiters.take(index)
            if waited is not None:
                self.waiters.add(index, term, waited[1])
        right(self, committed)

    return apply


MUTANTS: Final = (
    Mutant("acknowledge before the sync", host_module.Host, "_sync", _acknowledge_before_sync),
    Mutant("forget the vote", store_module.GroupStore, "set_hard_state", _forget_the_vote),
    Mutant("lose the hard state", store_module.GroupStore, "set_hard_state", _lose_the_hard_state),
    Mutant(
        "apply twice after a restart", store_module.GroupStore, "stage", _apply_twice_after_restart
    ),
    Mutant(
        "store the state after its index",
        store_module.GroupStore,
        "collect",
        _state_behind_its_index,
    ),
    Mutant(
        "store a membership change without the commit index",
        store_module.GroupStore,
        "append",
        _change_without_its_commit,
    ),
    Mutant("trust the disk", records, "unseal_entry", _trust_the_disk),
    Mutant(
        "a snapshot takes the vote along",
        store_module.GroupStore,
        "_begin",
        _snapshot_takes_the_vote,
    ),
    Mutant(
        "a snapshot without its configuration",
        store_module.GroupStore,
        "_begin",
        _snapshot_without_configuration,
    ),
    Mutant("elect without comparing logs", log.RaftLog, "is_up_to_date", _without_comparing_logs),
    Mutant("vote twice", elections, "on_vote_request", _vote_twice),
    Mutant("one majority of two elects", elections, "joint_vote_result", _one_majority_elects),
    Mutant("half of the votes elects", elections, "joint_vote_result", _half_is_enough),
    Mutant("no stickiness to a living leader", Core, "in_lease", _no_stickiness),
    Mutant("commit an old term by counting", replication, "maybe_commit", _commit_an_old_term),
    Mutant("count learners", replication, "maybe_commit", _count_learners),
    Mutant("one majority of two commits", replication, "joint_commit_index", _one_majority_commits),
    Mutant(
        "commit beyond the quorum", replication, "joint_commit_index", _commit_beyond_the_quorum
    ),
    Mutant("count what was only sent", Progress, "sent", _count_what_was_only_sent),
    Mutant(
        "heartbeats commit beyond the match",
        replication,
        "broadcast_heartbeat",
        _heartbeats_commit_too_much,
    ),
    Mutant("truncate a matching suffix", log.RaftLog, "_new_part", _truncate_a_matching_suffix),
    Mutant("append without comparing terms", log.RaftLog, "matches", _append_without_comparing),
    Mutant("acknowledge what was refused", following, "on_append", _acknowledge_what_was_refused),
    Mutant(
        "a snapshot leaves the membership",
        core_module.Core,
        "switch_membership",
        _snapshot_leaves_the_membership,
    ),
    Mutant("two membership changes at once", Core, "propose_conf_change", _two_changes_at_once),
    Mutant("read without asking a quorum", replication, "serve_read", _read_without_asking),
    Mutant(
        "read before the reign's first commit",
        replication,
        "serve_read",
        _read_before_the_first_commit,
    ),
    Mutant("read before it is applied", reads_module.Reads, "applied", _read_before_it_is_applied),
    Mutant("answer by index alone", group_module.Group, "apply", _answer_by_index_alone),
)
