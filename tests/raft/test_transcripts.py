"""Small stories of a few members, line by line, as transcripts.

Commands: ``members N [learners=(..)] [key=value]``, ``newcomer ID``, ``campaign ID``, ``propose ID
TEXT``, ``change ID`` with ``v2 l3 r4`` as input, ``read ID CONTEXT``, ``transfer ID TO``, ``compact
ID INDEX``, ``unreachable ID PEER``, ``tick ID [TIMES]``, ``ready ID``, ``deliver [IDS] [drop=(..)]``,
``settle [IDS] [quiet]`` and ``status [IDS]``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from raftoral.errors import RaftoralError
from raftoral.ids import Index, NodeId, Term
from raftoral.raft.describe import describe_message, describe_ready, describe_status
from raftoral.raft.messages import ConfChange, ConfState, SnapshotMeta, Transition
from raftoral.raft.node import Config, RawNode
from tests import transcript
from tests.corpora.confchange import parse_changes
from tests.raft.network import NOTHING, Member, MemoryLog

if TYPE_CHECKING:
    from tests.transcript import Block

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))


class Story:
    """The members of one transcript and the wires between them."""

    def __init__(self) -> None:
        self.members: dict[int, Member] = {}
        self.wire: list[Any] = []
        self.options: dict[str, int] = {}

    def handle(self, block: Block) -> str:
        """Run one command; an error of the library is part of the story."""
        try:
            lines = getattr(self, f"_do_{block.name}")(block)
        except RaftoralError as error:
            lines = [f"{type(error).__name__}: {error}"]
        return "\n".join(lines or ["ok"])

    def _start(self, node: int, base: SnapshotMeta) -> None:
        log = MemoryLog(base)
        config = Config(
            id=NodeId(node),
            election_ticks=10,
            heartbeat_ticks=1,
            chance=lambda _: node % 10,
            kept_bytes_max=0,
            **self.options,  # type: ignore[arg-type]  # numbers of limits only
        )
        self.members[node] = Member(RawNode(config, log, base.index), log)

    def _raw(self, block: Block) -> RawNode:
        return self.members[int(block.words()[0])].raw

    def _chosen(self, block: Block) -> list[Member]:
        numbers = [int(word) for word in block.words() if word.isdigit()]
        return [self.members[n] for n in numbers or sorted(self.members)]

    # -------------------------------------------------------------- commands
    def _do_members(self, block: Block) -> None:
        learners = tuple(NodeId(n) for n in block.numbers("learners"))
        voters = tuple(NodeId(n) for n in range(1, int(block.words()[0]) + 1))
        self.options = {k: int(v[0]) for k, v in block.args.items() if v and k != "learners"}
        for node in (*voters, *learners):
            self._start(node, SnapshotMeta(Index(1), Term(1), ConfState(voters, learners)))

    def _do_newcomer(self, block: Block) -> None:
        self._start(int(block.words()[0]), NOTHING)

    def _do_campaign(self, block: Block) -> None:
        self._raw(block).campaign()

    def _do_propose(self, block: Block) -> list[str]:
        return [f"index {self._raw(block).propose(block.words()[1].encode())}"]

    def _do_change(self, block: Block) -> list[str]:
        transition = Transition[block.args.get("transition", ["auto"])[0].upper()]
        change = ConfChange(parse_changes(block.input), transition)
        return [f"index {self._raw(block).propose_conf_change(change)}"]

    def _do_read(self, block: Block) -> None:
        self._raw(block).read_index(block.words()[1].encode())

    def _do_transfer(self, block: Block) -> None:
        self._raw(block).transfer_leadership(NodeId(int(block.words()[1])))

    def _do_compact(self, block: Block) -> None:
        self.members[int(block.words()[0])].log.compact(Index(int(block.words()[1])))

    def _do_unreachable(self, block: Block) -> None:
        self._raw(block).report_unreachable(NodeId(int(block.words()[1])))

    def _do_tick(self, block: Block) -> None:
        for _ in range(int((block.words()[1:] or ["1"])[0])):
            self._raw(block).tick()

    def _do_status(self, block: Block) -> list[str]:
        return [
            line for member in self._chosen(block) for line in describe_status(member.raw.status())
        ]

    def _do_ready(self, block: Block) -> list[str]:
        return self._ready(self._chosen(block)[0])

    def _do_deliver(self, block: Block) -> list[str]:
        lines = []
        dropped = block.numbers("drop")  # Of the members that are named, or of all.
        for member in self._chosen(block):
            lines += self._deliver(member, drop=member.raw.id in dropped)
        return lines

    def _do_settle(self, block: Block) -> list[str]:
        lines = []
        chosen = self._chosen(block)
        busy = True
        while busy:
            busy = False
            for member in chosen:
                if member.raw.has_ready():
                    lines.append(f"{member.raw.id}:")
                    lines += [f"  {line}" for line in self._ready(member)]
                    busy = True
            for member in chosen:
                busy = bool(self._deliver(member, drop=False)) or busy
        return [] if "quiet" in block.args else lines

    # -------------------------------------------------------------- work
    def _ready(self, member: Member) -> list[str]:
        ready = member.raw.ready()
        member.store(ready)
        member.apply(ready)
        member.raw.advance()
        self.wire += [*ready.messages, *ready.messages_after_sync]
        return describe_ready(ready)

    def _deliver(self, member: Member, *, drop: bool) -> list[str]:
        batch = [message for message in self.wire if message.to == member.raw.id]
        self.wire = [message for message in self.wire if message.to != member.raw.id]
        for message in batch:
            if not drop:
                member.raw.step(message)
        return [("lost " if drop else "") + describe_message(message) for message in batch]


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_the_story_is_the_same(path: Path, rewrite: bool) -> None:
    """What the members say and do is what the transcript tells."""
    transcript.run(path, Story().handle, rewrite=rewrite)


def test_there_are_stories() -> None:
    """The transcripts are where the test looks for them."""
    assert len(TRANSCRIPTS) >= 5
