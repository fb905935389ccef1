"""Who votes, who learns, and how one membership becomes the next.

Owns `Membership`, one or two joint configurations, and the three legal steps between memberships:
a simple change of at most one voter, entering a joint configuration, leaving it. Pure: a step
returns the new membership or raises `ConfChangeError`. The rule it keeps: any majority of the old
and any of the new membership share a voter.

Source: Raft paper, section 6; thesis chapter 4.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, assert_never

from raftoral.errors import UsageError
from raftoral.ids import NOBODY
from raftoral.raft.messages import ConfChange, ConfOp, ConfState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raftoral.ids import NodeId


class ConfChangeError(UsageError):
    """The membership cannot change like this."""

    code = "conf_change"


@dataclass(frozen=True, slots=True)
class Membership:
    """Voters and learners; `outgoing` is not empty while two configurations are joint."""

    voters: frozenset[NodeId] = frozenset()
    outgoing: frozenset[NodeId] = frozenset()
    learners: frozenset[NodeId] = frozenset()
    learners_next: frozenset[NodeId] = frozenset()
    auto_leave: bool = False

    @classmethod
    def of(cls, conf: ConfState) -> Membership:
        """Return the membership that ``conf`` stored."""
        return cls(
            frozenset(conf.voters),
            frozenset(conf.voters_outgoing),
            frozenset(conf.learners),
            frozenset(conf.learners_next),
            conf.auto_leave,
        )

    def conf_state(self) -> ConfState:
        """Return the form to store."""
        return ConfState(
            tuple(sorted(self.voters)),
            tuple(sorted(self.learners)),
            tuple(sorted(self.outgoing)),
            tuple(sorted(self.learners_next)),
            self.auto_leave,
        )

    @property
    def is_joint(self) -> bool:
        """Whether two configurations decide together."""
        return bool(self.outgoing)

    @property
    def all_voters(self) -> frozenset[NodeId]:
        """Everyone who votes in either configuration."""
        return self.voters | self.outgoing

    @property
    def members(self) -> frozenset[NodeId]:
        """Everyone whom the leader sends entries to."""
        return self.voters | self.outgoing | self.learners

    def is_singleton(self, node: NodeId) -> bool:
        """Whether ``node`` alone decides."""
        return self.voters == {node} and not self.outgoing

    # -------------------------------------------------------------- steps
    def apply(self, change: ConfChange) -> Change:
        """Return the step that a change asks for, simple or through a joint configuration."""
        if change.leaves_joint:
            return self.leave_joint()
        if change.enters_joint:
            return self.enter_joint(change.changes, auto_leave=change.auto_leave)
        return self.simple(change.changes)

    def simple(self, changes: Iterable[tuple[ConfOp, NodeId]]) -> Change:
        """Return the step that changes at most one voter."""
        if self.is_joint:
            raise ConfChangeError("can't apply simple config change in joint config")
        change = _changed(self, changes)
        if len(self.voters ^ change.membership.voters) > 1:
            raise ConfChangeError("more than one voter changed without entering joint config")
        return change

    def enter_joint(self, changes: Iterable[tuple[ConfOp, NodeId]], *, auto_leave: bool) -> Change:
        """Return the step after which the old and the new voters decide together."""
        if self.is_joint:
            raise ConfChangeError("config is already joint")
        if not self.voters:
            raise ConfChangeError("can't make a zero-voter config joint")
        change = _changed(replace(self, outgoing=self.voters), changes)
        return replace(change, membership=replace(change.membership, auto_leave=auto_leave))

    def leave_joint(self) -> Change:
        """Return the step after which the new voters decide alone."""
        if not self.is_joint:
            raise ConfChangeError("can't leave a non-joint config")
        after = Membership(self.voters, learners=self.learners | self.learners_next)
        return Change(after, kept=after.members)


@dataclass(frozen=True, slots=True)
class Change:
    """A legal step: the membership after it, and which members the leader goes on to know.

    A member that is not in ``kept`` is new, or was removed and added again: nothing is known of it.
    """

    membership: Membership
    kept: frozenset[NodeId]


class _Draft:
    """A membership while single changes are applied to it, one after the other."""

    def __init__(self, before: Membership) -> None:
        self.before = before
        self.voters = set(before.voters)
        self.learners = set(before.learners)
        self.learners_next = set(before.learners_next)
        self.known = set(before.members)
        self.kept = set(before.members)

    def add_voter(self, node: NodeId) -> None:
        self.known.add(node)
        self.learners.discard(node)
        self.learners_next.discard(node)
        self.voters.add(node)

    def add_learner(self, node: NodeId) -> None:
        if node not in self.known:
            self.known.add(node)
            self.learners.add(node)
        elif node not in self.learners:
            self.voters.discard(node)
            self.learners_next.discard(node)
            # Who votes in the outgoing configuration becomes a learner when that is left.
            later = node in self.before.outgoing
            (self.learners_next if later else self.learners).add(node)

    def remove(self, node: NodeId) -> None:
        self.voters.discard(node)
        self.learners.discard(node)
        self.learners_next.discard(node)
        if node not in self.before.outgoing:
            self.known.discard(node)
            self.kept.discard(node)

    def change(self) -> Change:
        after = replace(
            self.before,
            voters=frozenset(self.voters),
            learners=frozenset(self.learners),
            learners_next=frozenset(self.learners_next),
        )
        return Change(after, frozenset(self.kept))


def _changed(before: Membership, changes: Iterable[tuple[ConfOp, NodeId]]) -> Change:
    draft = _Draft(before)
    for op, node in changes:
        if node == NOBODY:
            continue
        match op:
            case ConfOp.ADD_VOTER:
                draft.add_voter(node)
            case ConfOp.ADD_LEARNER:
                draft.add_learner(node)
            case ConfOp.REMOVE:
                draft.remove(node)
            case ConfOp.UPDATE:
                pass
            case _:
                assert_never(op)
    if not draft.voters:
        raise ConfChangeError("removed all voters")
    return draft.change()
