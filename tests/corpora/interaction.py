"""etcd's interaction transcripts: whole groups of cores, command by command.

Every line that the protocol decides is compared: messages, entries, hard states, progress. Lines of
etcd's logger are not. Two gauges: the state that members report when asked, and everything.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from raftoral.errors import RaftoralError, Unavailable
from raftoral.ids import Index, NodeId, Term
from raftoral.raft.config import OnRemoval
from raftoral.raft.log import NO_LIMIT
from raftoral.raft.membership import ConfChangeError
from raftoral.raft.messages import (
    ConfChange,
    ConfState,
    EntryKind,
    Message,
    MessageType,
    SnapshotMeta,
    Transition,
)
from raftoral.raft.node import Config, RawNode
from tests.corpora.confchange import parse_changes
from tests.corpora.tally import Tally, data_files
from tests.raft.network import Member, MemoryLog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from raftoral.raft.messages import Entry, Snapshot
    from raftoral.raft.node import ProgressView, Ready
    from tests.transcript import Block

_LOGGED = re.compile(r"\s*(DEBUG|INFO|WARN|ERROR|FATAL) ")
_STATE_COMMANDS = ("raft-log", "raft-state", "status")
_NOT_BUILT = ("async-storage-writes", "disable-conf-change-validation", "read-only")
_NAMES = {
    MessageType.APPEND: "MsgApp",
    MessageType.APPEND_RESPONSE: "MsgAppResp",
    MessageType.VOTE: "MsgVote",
    MessageType.VOTE_RESPONSE: "MsgVoteResp",
    MessageType.SNAPSHOT: "MsgSnap",
    MessageType.HEARTBEAT: "MsgHeartbeat",
    MessageType.HEARTBEAT_RESPONSE: "MsgHeartbeatResp",
    MessageType.TRANSFER_LEADER: "MsgTransferLeader",
    MessageType.TIMEOUT_NOW: "MsgTimeoutNow",
    MessageType.READ_INDEX: "MsgReadIndex",
    MessageType.READ_INDEX_RESPONSE: "MsgReadIndexResp",
    MessageType.PRE_VOTE: "MsgPreVote",
    MessageType.PRE_VOTE_RESPONSE: "MsgPreVoteResp",
}
# These tell the sender's commit index as well, which etcd's do not.
_SAY_MORE = (
    MessageType.HEARTBEAT_RESPONSE,
    MessageType.VOTE_RESPONSE,
    MessageType.PRE_VOTE_RESPONSE,
)
_ANSWERS = (
    MessageType.APPEND_RESPONSE,
    MessageType.VOTE_RESPONSE,
    MessageType.PRE_VOTE_RESPONSE,
)


def _check(root: Path, name: str, commands: tuple[str, ...] | None) -> Tally:
    tally = Tally(name)
    for path in data_files(root / "etcd-raft-interaction"):
        blocks = list(tally.blocks(path))
        if any(key in block.args for block in blocks for key in _NOT_BUILT):
            continue
        group = Group()
        for block in blocks:
            actual = group.handle(block)
            if commands is None or block.name in commands:
                tally.compare(path, block, _comparable(actual), _comparable(block.expected))
    return tally


def check_states(root: Path) -> Tally:
    """Compare only what members say of their state."""
    return _check(root, "etcd-interaction-states", _STATE_COMMANDS)


def check_everything(root: Path) -> Tally:
    """Compare every message, entry and state."""
    return _check(root, "etcd-interaction", None)


CHECKS: tuple[Callable[[Path], Tally], ...] = (check_states, check_everything)


def _comparable(text: str) -> str:
    lines = [line.rstrip() for line in text.splitlines() if not _LOGGED.match(line)]
    # One encoding of membership changes is enough for us; etcd has an older one as well.
    joined = "\n".join(lines).replace("EntryConfChangeV2", "EntryConfChange")
    return "" if joined == "ok" else joined


class Group:
    """The members of one transcript and the messages between them."""

    def __init__(self) -> None:
        self.members: list[Member] = []
        self.wire: list[Message] = []
        self.quiet = False
        self.out: list[str] = []

    def handle(self, block: Block) -> str:
        """Run one command and return what it prints."""
        self.out = []
        error = ""
        try:
            getattr(self, "_do_" + block.name.replace("-", "_"))(block)
        except Unavailable:
            error = "raft proposal dropped"
        except (RaftoralError, AssertionError, LookupError, AttributeError) as failure:
            error = f"{type(failure).__name__}: {failure}"
        lines = [] if self.quiet else self.out
        return "\n".join([*lines, error] if error else lines) or "ok"

    def _member(self, block: Block) -> Member:
        return self.members[int(block.words()[0]) - 1]

    def _chosen(self, block: Block) -> list[Member]:
        return [self.members[int(word) - 1] for word in block.words()] or self.members

    # -------------------------------------------------------------- members
    def _do_log_level(self, block: Block) -> None:
        self.quiet = block.words()[0].lower() == "none"

    def _do_add_nodes(self, block: Block) -> None:
        index = Index((block.numbers("index") or [0])[0])
        conf = ConfState(
            tuple(NodeId(n) for n in block.numbers("voters")),
            tuple(NodeId(n) for n in block.numbers("learners")),
        )
        flags = {key: block.args.get(key) == ["true"] for key in ("prevote", "checkquorum")}
        for _ in range(int(block.words()[0])):
            log = MemoryLog(SnapshotMeta(index, Term(1 if index else 0), conf))
            log.hard_state = log.hard_state._replace(commit=Index(0))
            config = Config(
                id=NodeId(len(self.members) + 1),
                election_ticks=3,
                heartbeat_ticks=1,
                chance=lambda _: 0,
                message_bytes_max=NO_LIMIT,
                committed_bytes_max=(block.numbers("max-committed-size-per-ready") or [NO_LIMIT])[
                    0
                ],
                inflight_max=(block.numbers("inflight") or [2**31])[0],
                uncommitted_bytes_max=NO_LIMIT,
                kept_bytes_max=0,
                check_quorum=flags["checkquorum"],
                pre_vote=flags["prevote"],
                batch=False,
                on_removal=(
                    OnRemoval.STEP_DOWN
                    if block.args.get("step-down-on-removal") == ["true"]
                    else OnRemoval.STAY
                ),
            )
            self.members.append(Member(RawNode(config, log, index), log))

    def _do_campaign(self, block: Block) -> None:
        self._member(block).raw.campaign()

    def _do_propose(self, block: Block) -> None:
        self._member(block).raw.propose(block.words()[1].encode())

    def _do_propose_conf_change(self, block: Block) -> None:
        raw = self._member(block).raw
        how = block.args.get("transition", ["auto"])[0]
        change = ConfChange(parse_changes(block.input), Transition[how.upper()])
        try:
            raw.propose_conf_change(change)
        except (Unavailable, ConfChangeError):
            # etcd puts an empty entry on the place of a change that it refuses.
            raw.propose(b"")

    def _do_transfer_leadership(self, block: Block) -> None:
        (from_,), (to,) = block.numbers("from"), block.numbers("to")
        self.members[from_ - 1].raw.transfer_leadership(NodeId(to))

    def _do_forget_leader(self, block: Block) -> None:
        self._member(block).raw.forget_leader()

    def _do_report_unreachable(self, block: Block) -> None:
        self._member(block).raw.report_unreachable(NodeId(int(block.words()[1])))

    def _do_compact(self, block: Block) -> None:
        self._member(block).log.compact(Index(int(block.words()[1])))

    def _do_tick_heartbeat(self, block: Block) -> None:
        self._member(block).raw.tick()

    def _do_tick_election(self, block: Block) -> None:
        for _ in range(3):
            self._member(block).raw.tick()

    def _do_set_randomized_election_timeout(self, block: Block) -> None:
        self._member(block).raw._core.election_timeout = block.numbers("timeout")[0]

    def _do_send_snapshot(self, block: Block) -> None:
        sender, to = (NodeId(int(word)) for word in block.words())
        member = self.members[sender - 1]
        message = Message(
            MessageType.SNAPSHOT, to, sender, member.raw.term, snapshot=member.log.latest
        )
        self.wire.append(message)
        self._say(_message(message))

    # -------------------------------------------------------------- state
    def _do_raft_log(self, block: Block) -> None:
        log = self._member(block).log
        if not log.entries_:
            first, last = log.first_index(), log.last_index()
            self._say(f"log is empty: first index={first}, last index={last}")
        for entry in log.entries_:
            self._say(_entry(entry))

    def _do_raft_state(self, block: Block) -> None:
        for member in self.members:
            status = member.raw.status()
            voters = status.conf.voters + status.conf.voters_outgoing
            self._say(
                f"{status.id}: {_camel(status.role.value)} "
                f"({'Voter' if status.id in voters else 'Non-Voter'}) "
                f"Term:{status.term} Lead:{status.leader}"
            )

    def _do_status(self, block: Block) -> None:
        for node, view in self._member(block).raw.status().progress.items():
            self._say(f"{node}: {_progress(view)}")

    # -------------------------------------------------------------- work
    def _do_process_ready(self, block: Block) -> None:
        chosen = self._chosen(block)
        for member in chosen:
            if len(chosen) > 1:
                self._say(f"> {member.raw.id} handling Ready")
            self._process(member, "  " if len(chosen) > 1 else "")

    def _do_deliver_msgs(self, block: Block) -> None:
        wanted = block.args.get("type")
        delivered = 0
        for word in block.words():
            delivered += self._deliver(NodeId(int(word)), "", wanted=wanted)
        for node in block.numbers("drop"):
            delivered += self._deliver(NodeId(node), "", wanted=wanted, drop=True)
        if not delivered:
            self._say("no messages")

    def _do_stabilize(self, block: Block) -> None:
        was_quiet = self.quiet
        if "log-level" in block.args:
            self.quiet = block.args["log-level"][0].lower() == "none"
        chosen = self._chosen(block)
        busy = True
        while busy:
            busy = False
            for member in chosen:
                if member.raw.has_ready():
                    self._say(f"> {member.raw.id} handling Ready")
                    self._process(member, "  ")
                    busy = True
            for member in chosen:
                if any(message.to == member.raw.id for message in self.wire):
                    self._say(f"> {member.raw.id} receiving messages")
                    self._deliver(member.raw.id, "  ")
                    busy = True
        if self.quiet and not was_quiet:
            self.out = []
        self.quiet = was_quiet

    def _process(self, member: Member, indent: str) -> None:
        ready = member.raw.ready()
        messages = sorted(
            (*ready.messages, *ready.messages_after_sync), key=lambda m: m.type in _ANSWERS
        )
        for line in _ready(ready, messages):
            self._say(indent + line)
        member.store(ready)
        member.apply(ready)
        self.wire += messages
        member.raw.advance()

    def _deliver(
        self, to: NodeId, indent: str, *, wanted: list[str] | None = None, drop: bool = False
    ) -> int:
        batch = [m for m in self.wire if m.to == to and (not wanted or _NAMES[m.type] in wanted)]
        self.wire = [m for m in self.wire if m not in batch]
        for message in batch:
            for line in (("dropped: " if drop else "") + _message(message)).splitlines():
                self._say(indent + line)
            if not drop:
                self._step(self.members[to - 1].raw, message, indent)
        return len(batch)

    def _step(self, raw: RawNode, message: Message, indent: str) -> None:
        if "RESPONSE" in message.type.name and message.from_ not in raw._core.progress:
            self._say(f"{indent}raft: cannot step as peer not found")
        raw.step(message)

    def _say(self, line: str) -> None:
        self.out.append(line)


# ------------------------------------------------------------------ etcd's words
def _camel(words: str) -> str:
    return "State" + words.title().replace("-", "")


def _entry(entry: Entry) -> str:
    place = f"{entry.term}/{entry.index}"
    if entry.kind is EntryKind.NORMAL:
        return f'{place} EntryNormal "{entry.data.decode()}"'
    changes = ConfChange.decode(entry.data).changes
    words = " ".join(f"{'vrul'[op]}{node}" for op, node in changes)
    return f"{place} EntryConfChange {words}".rstrip()


def _snapshot(snapshot: Snapshot) -> str:
    meta, conf = snapshot.meta, snapshot.meta.conf

    def nodes(ids: tuple[NodeId, ...]) -> str:
        return f"[{' '.join(map(str, ids))}]"

    return (
        f"Index:{meta.index} Term:{meta.term} ConfState:Voters:{nodes(conf.voters)} "
        f"VotersOutgoing:{nodes(conf.voters_outgoing)} Learners:{nodes(conf.learners)} "
        f"LearnersNext:{nodes(conf.learners_next)} AutoLeave:{str(conf.auto_leave).lower()}"
    )


def _message(message: Message) -> str:
    if message.type in _SAY_MORE:
        message = message._replace(commit=Index(0), log_term=Term(0))
    text = (
        f"{message.from_}->{message.to} {_NAMES[message.type]} Term:{message.term} "
        f"Log:{message.log_term}/{message.index}"
    )
    if message.reject:
        text += f" Rejected (Hint: {message.reject_hint})"
    if message.commit:
        text += f" Commit:{message.commit}"
    if len(message.entries) == 1:
        text += f" Entries:[{_entry(message.entries[0])}]"
    elif message.entries:
        text += "".join([" Entries:[", *(f"\n  {_entry(e)}" for e in message.entries), "\n]"])
    if message.snapshot is not None:
        text += f"\n  Snapshot: {_snapshot(message.snapshot)}"
    return text


def _ready(ready: Ready, messages: list[Message]) -> list[str]:
    lines = []
    if ready.soft_state is not None:
        lines.append(f"Lead:{ready.soft_state.leader} State:{_camel(ready.soft_state.role.value)}")
    if ready.hard_state is not None:
        state = ready.hard_state
        vote = f" Vote:{state.vote}" if state.vote else ""
        lines.append(f"HardState Term:{state.term}{vote} Commit:{state.commit}")
    if ready.entries:
        lines += ["Entries:", *map(_entry, ready.entries)]
    if ready.snapshot is not None:
        lines.append(f"Snapshot {_snapshot(ready.snapshot)}")
    if ready.committed:
        lines += ["CommittedEntries:", *map(_entry, ready.committed)]
    if messages:
        lines.append("Messages:")
        for message in messages:
            lines += _message(message).splitlines()
    if not lines:
        return ["<empty Ready>"]
    return [f"Ready MustSync={str(ready.must_sync).lower()}:", *lines]


def _progress(view: ProgressView) -> str:
    text = f"{_camel(view.state.value)} match={view.match} next={view.next}"
    text += " learner" * view.is_learner + " paused" * view.paused
    if view.pending_snapshot:
        text += f" pendingSnap={view.pending_snapshot}"
    text += " inactive" * (not view.active)
    if view.inflight:
        text += f" inflight={view.inflight}" + "[full]" * view.inflight_full
    return text
