"""What is known of a simulated run as a whole, and the sentences that must hold of it.

Owns who led which term, who voted for whom, what is committed, and what was applied where. The rule
it keeps: the first broken sentence ends the run and is told with its evidence.

Source: Raft paper, figure 3; the invariants of etcd's TLA+ specification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftoral.ids import Index, NodeId, Term

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping

    from raftoral.groups.group import Group
    from raftoral.ids import GroupId
    from raftoral.raft.messages import ConfState
    from raftoral.sim.disk import SimDisk

ELECTION_SAFETY: Final = "at most one node leads a term"
LOG_MATCHING: Final = "logs that agree at a place agree everywhere before it"
LEADER_COMPLETENESS: Final = "a leader has every entry that was committed in an earlier term"
COMMITTED_IS_DURABLE: Final = "a committed entry is on the disks of a quorum"
QUORUM_LOG: Final = "every quorum has a member that holds all committed entries"
COMMITTED_FOR_EVER: Final = "what is committed at a place stays"
UP_TO_DATE: Final = "a log that is as up to date as another holds what the other knows committed"
STATE_MACHINE_SAFETY: Final = "all machines apply the same command at the same index"
ONCE: Final = "a command takes effect once for its id"
IN_ORDER: Final = "a machine applies each index once, in order"
MEMBERSHIP: Final = "all members have the same membership at the same index"
DISK_BEFORE_WIRE: Final = "nothing is vouched for before it is on the disk"
ONE_VOTE: Final = "a node votes for one candidate a term, crashes or not"
ELECTED: Final = "a leader has the votes of a quorum"
STICKY: Final = "who hears a living leader helps nobody to unseat it"
OWN_TERM: Final = "a leader counts only entries of its own term"
ONE_CHANGE: Final = "one membership change is under way at a time"
KNOWS_ITS_CHANGES: Final = (
    "who comes back knows of all changes in its log but the last to be committed"
)
READ_INDEX: Final = "a read is served at all that was committed when it was asked"
TRUE_ACKNOWLEDGEMENTS: Final = "what a follower acknowledges is in the leader's log"
NEVER_BACK: Final = "term and vote never go back across a crash"
SYNCED_SURVIVES: Final = "what was synced is there after a crash"
STAMPS: Final = "a group's clock never goes back"
NO_SILENT_DAMAGE: Final = "damage on a disk is found when it is read"
STOPS_FOR_A_REASON: Final = "no node stops unless its disk broke"
PEERS_ARE_CORRECT: Final = "no node sends what a node must refuse"
NOTHING_ESCAPES: Final = "no error escapes into the event loop"


class Chosen:
    """What is known of one group as a whole."""

    def __init__(self) -> None:
        self.entries: dict[tuple[Index, Term], tuple[Term, int]] = {}
        self.leaders: dict[Term, NodeId] = {}
        self.votes: dict[tuple[NodeId, Term], NodeId] = {}
        self.spoke_in: dict[NodeId, Term] = {}
        self.committed: dict[Index, Term] = {}
        self.committed_in: dict[Term, Index] = {}
        """The highest index that was seen committed in each term, or before."""
        self.last = Index(0)
        self.applied: dict[Index, bytes] = {}
        self.last_stamp: tuple[Index, int] = (Index(0), 0)
        self.effects: dict[tuple[int, int], Index] = {}
        self.confs: dict[Index, ConfState] = {}


class Evidence:
    """What was seen, and the first sentence that it breaks."""

    def __init__(self, count: Counter[str], disks: Mapping[NodeId, SimDisk]) -> None:
        self.violation: str | None = None
        self.on_violation: Callable[[], None] = lambda: None
        self.count = count
        self.disks = disks
        self._chosen: dict[GroupId, Chosen] = {}

    def fail(self, sentence: str, evidence: str) -> None:
        """Note that ``sentence`` does not hold; the first one counts."""
        if self.violation is None:
            self.violation = f"{sentence}: {evidence}"
            self.on_violation()

    def chosen(self, gid: GroupId) -> Chosen:
        """Return what is known of a group."""
        known = self._chosen.get(gid)
        if known is None:
            known = self._chosen[gid] = Chosen()
        return known

    def newest_membership(self, gid: GroupId) -> ConfState | None:
        """Return the newest membership that anyone has applied; None before the first."""
        confs = self.chosen(gid).confs
        return confs[max(confs)] if confs else None


def has(group: Group, index: Index, term: Term) -> bool:
    """Tell whether a log has that entry, or had it before it was compacted."""
    log = group.raw._core.log  # noqa: SLF001  # the watcher looks inside
    return index < log.first_index() or log.matches(index, term)


def conf_at(confs: Mapping[Index, ConfState], index: Index) -> ConfState | None:
    """Return the membership that holds at ``index``."""
    at = max((each for each in confs if each <= index), default=None)
    return None if at is None else confs[at]
