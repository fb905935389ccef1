"""etcd's membership cases: which steps are legal, and who is known after each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.ids import Index, NodeId
from raftoral.raft.describe import describe_conf
from raftoral.raft.membership import Change, ConfChangeError, Membership
from raftoral.raft.messages import ConfOp
from tests.corpora.tally import Tally, data_files

if TYPE_CHECKING:
    from pathlib import Path

    from tests.transcript import Block

_OPS = {
    "v": ConfOp.ADD_VOTER,
    "l": ConfOp.ADD_LEARNER,
    "r": ConfOp.REMOVE,
    "u": ConfOp.UPDATE,
}


def check(root: Path) -> Tally:
    """Run every case; each file is one membership that goes through all its commands."""
    tally = Tally("etcd-confchange")
    for path in data_files(root / "etcd-raft-neutral" / "confchange"):
        case = Case()
        for block in tally.blocks(path):
            where = f"{path.name}:{block.line}: {block.command}"
            answer = case.answer(block).splitlines()
            tally.compare(where, answer, block.expected.splitlines())
    return tally


def parse_changes(text: str) -> tuple[tuple[ConfOp, NodeId], ...]:
    """Return the changes that ``v1 l2 r3`` writes."""
    return tuple((_OPS[word[0]], NodeId(int(word[1:]))) for word in text.split())


class Case:
    """A membership, and for each member the first entry that its leader would send."""

    def __init__(self) -> None:
        self.membership = Membership()
        self.next: dict[NodeId, Index] = {}
        self.last = Index(0)

    def answer(self, block: Block) -> str:
        """Return the membership after one command, or why it is refused."""
        try:
            change = self._step(block)
        except ConfChangeError as error:
            return str(error)
        finally:
            new_next = Index(max(self.last, 1))
            self.last = Index(self.last + 1)
        self.membership = change.membership
        known = {node: self.next[node] for node in change.kept}
        self.next = {node: known.get(node, new_next) for node in change.membership.members}
        rows = [
            f"{node}: StateProbe match=0 next={self.next[node]}"
            + " learner" * (node in self.membership.learners)
            for node in sorted(self.next)
        ]
        return "\n".join([describe_conf(self.membership.conf_state()), *rows])

    def _step(self, block: Block) -> Change:
        changes = parse_changes(block.input)
        if block.name == "simple":
            return self.membership.simple(changes)
        if block.name == "enter-joint":
            auto_leave = block.args.get("autoleave") == ["true"]
            return self.membership.enter_joint(changes, auto_leave=auto_leave)
        assert block.name == "leave-joint", block.name
        return self.membership.leave_joint()
