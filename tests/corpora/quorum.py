"""etcd's quorum cases: how far is it committed, and is the vote decided."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from raftoral.ids import Index, NodeId
from raftoral.raft.quorum import (
    INDEX_MAX,
    VoteResult,
    joint_commit_index,
    joint_vote_result,
)
from tests.corpora.tally import Tally, data_files

if TYPE_CHECKING:
    from pathlib import Path

    from tests.transcript import Block

_RESULTS = {
    VoteResult.PENDING: "VotePending",
    VoteResult.LOST: "VoteLost",
    VoteResult.WON: "VoteWon",
}


def check(root: Path) -> Tally:
    """Run every case; the last line of an answer is the answer, the rest draws it."""
    tally = Tally("etcd-quorum")
    for path in data_files(root / "etcd-raft-neutral" / "quorum"):
        for block in tally.blocks(path):
            expected = re.sub("^<.*>", "", block.expected.splitlines()[-1])
            where = f"{path.name}:{block.line}: {block.command}"
            tally.compare(where, [answer(block)], [expected])
    return tally


def answer(block: Block) -> str:
    """Return what our quorum says to one command."""
    voters = _nodes(block, "cfg")
    outgoing = _nodes(block, "cfgj")
    order = list(dict.fromkeys((*voters, *outgoing)))
    if block.name == "committed":
        given = zip(order, block.args.get("idx", ()), strict=False)
        match = {node: Index(int(value)) for node, value in given if value != "_"}
        index = joint_commit_index(match, set(voters), set(outgoing))
        return "∞" if index == INDEX_MAX else str(index)
    given = zip(order, block.args.get("votes", ()), strict=False)
    votes = {node: value == "y" for node, value in given if value != "_"}
    return _RESULTS[joint_vote_result(votes, set(voters), set(outgoing))]


def _nodes(block: Block, key: str) -> list[NodeId]:
    values = block.args.get(key, [])
    return [NodeId(int(value)) for value in values if value != "zero"]
