"""Who leads: campaigns, votes, and a leader's doubt in itself.

Owns the rules for standing, voting and giving up; the state is the core's. The rules it keeps: one
vote a term, and only for a log that is at least as good as the own one.

Source: Raft paper, sections 5.2 and 5.4.1; thesis sections 3.10 (transfer), 4.2.3, 6.2 (a leader
without a quorum steps down) and 9.6 (pre-vote).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, assert_never

from raftoral.ids import NOBODY, Term
from raftoral.raft import replication
from raftoral.raft.config import Role
from raftoral.raft.messages import NO_INDEX, NO_TERM, MessageType
from raftoral.raft.quorum import VoteResult, joint_vote_result

if TYPE_CHECKING:
    from raftoral.raft.core import Core
    from raftoral.raft.messages import Message

TRANSFER: Final = b"transfer"
"""The context of a vote request that a leader caused; it is granted even within its lease."""


class Campaign(Enum):
    """Why and how a member stands for election."""

    PRE_ELECTION = "pre-election"
    ELECTION = "election"
    TRANSFER = "transfer"


def hup(core: Core, campaign: Campaign) -> None:
    """Stand for election, unless this member leads, must not lead or cannot."""
    if core.is_leader or not core.may_lead or not core.is_promotable:
        return
    if core.log.has_unapplied_conf_change():
        core.config.say(f"{core.id} cannot campaign: a membership change is not applied yet")
        return
    core.config.say(f"{core.id} is starting a new election at term {core.term}")
    run(core, campaign)


def run(core: Core, campaign: Campaign) -> None:
    """Become a candidate of the kind and ask every voter."""
    if campaign is Campaign.PRE_ELECTION:
        core.become_pre_candidate()
        request, answer = MessageType.PRE_VOTE, MessageType.PRE_VOTE_RESPONSE
        term = Term(core.term + 1)
    else:
        core.become_candidate()
        request, answer = MessageType.VOTE, MessageType.VOTE_RESPONSE
        term = core.term
    log_term = core.log.last_term
    for voter in sorted(core.membership.all_voters):
        if voter == core.id:
            core.send(answer, voter, term=term)
        else:
            core.send(
                request,
                voter,
                term=term,
                log_term=log_term,
                index=core.log.last,
                context=TRANSFER if campaign is Campaign.TRANSFER else b"",
            )


def on_vote_request(core: Core, message: Message) -> None:
    """Grant or refuse a vote or a pre-vote.

    Learners are asked and answer too: they may be voters already and not know it yet.
    """
    is_pre_vote = message.type is MessageType.PRE_VOTE
    answer = MessageType.PRE_VOTE_RESPONSE if is_pre_vote else MessageType.VOTE_RESPONSE
    may_vote = (
        core.vote == message.from_
        or (core.vote == NOBODY and core.leader == NOBODY)
        or (is_pre_vote and message.term > core.term)
    )
    if may_vote and core.log.is_up_to_date(message.index, message.log_term):
        # In the term of the request: a pre-vote's is ahead of ours.
        core.send(answer, message.from_, term=message.term)
        if not is_pre_vote:
            core.election_elapsed = 0
            core.vote = message.from_
    else:
        # What is committed here helps a candidate that may have the entries and not know it. Who
        # can stand for election itself needs not say it: as leader it tells everyone.
        can_lead = core.may_lead and core.is_promotable
        commit = NO_INDEX if can_lead else core.log.committed
        core.send(
            answer,
            message.from_,
            reject=True,
            commit=commit,
            log_term=core.log.term_or_zero(commit) if commit else NO_TERM,
        )


def step_candidate(core: Core, message: Message) -> None:
    """Take a message as candidate or pre-candidate, of the own term."""
    match message.type:
        case MessageType.VOTE_RESPONSE if core.role is Role.CANDIDATE:
            on_vote_response(core, message)
        case MessageType.PRE_VOTE_RESPONSE if core.role is Role.PRE_CANDIDATE:
            on_vote_response(core, message)
        case _:
            pass  # An answer to another candidacy, or a request that only others can serve.


def on_vote_response(core: Core, message: Message) -> None:
    """Count one answer; the first of a voter stands."""
    if message.reject and message.commit > core.log.committed and _learn_commit(core, message):
        return
    core.votes.setdefault(message.from_, not message.reject)
    result = joint_vote_result(core.votes, core.membership.voters, core.membership.outgoing)
    match result:
        case VoteResult.WON if core.role is Role.PRE_CANDIDATE:
            run(core, Campaign.ELECTION)
        case VoteResult.WON:
            core.become_leader()
            replication.broadcast_append(core)
        case VoteResult.LOST:
            core.become_follower(core.term, NOBODY)
        case VoteResult.PENDING:
            pass
        case _:
            assert_never(result)


def _learn_commit(core: Core, message: Message) -> bool:
    """Take the commit index of a refusal; True if that ends the candidacy.

    A membership change may have made this node's vote enough, and all who could tell it by other
    means may have been removed by that very change.
    """
    if not core.log.matches(message.commit, message.log_term):
        return False
    core.log.commit_to(message.commit)
    if not core.log.has_unapplied_conf_change():
        return False
    core.become_follower(core.term, NOBODY)
    return True


def check_quorum(core: Core) -> None:
    """Step down as leader unless a quorum was heard since the last check."""
    active = {node: progress.active for node, progress in core.progress.items()}
    active[core.id] = True
    membership = core.membership
    if joint_vote_result(active, membership.voters, membership.outgoing) is not VoteResult.WON:
        core.config.say(f"{core.id} stepped down to follower since quorum is not active")
        core.become_follower(core.term, NOBODY)
    for node, progress in core.progress.items():
        progress.active = node == core.id
