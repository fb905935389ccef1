"""etcd's interaction transcripts: whole groups of cores, command by command.

Two gauges. T1 is what members say of their state (``raft-log``, ``raft-state``, ``status``) and each
answer that is only ``ok`` or an error. T2 is every line that the protocol decides: messages, entries,
hard states, progress, who does what next; what counts is how many of etcd's lines come, in their
order. Lines of etcd's logger are not the protocol's and are not compared; nothing else is masked. A
command that this runner does not know counts as lines that did not come.

Three things are done here and not in the core, which has no need of them:
- A follower's proposal is handed to its leader. The core refuses it, and the host asks the leader.
- A host that reads from the leader's lease does not let a member forget its leader.
- Requests for votes leave before the sync, as etcd's do; the core would rather they waited.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from raftoral.errors import RaftoralError, Unavailable
from raftoral.ids import NOBODY, Index, NodeId, Term
from raftoral.raft.config import OnRemoval, Role
from raftoral.raft.log import NO_LIMIT
from raftoral.raft.membership import ConfChangeError
from raftoral.raft.messages import (
    ConfChange,
    ConfState,
    Entry,
    EntryKind,
    Message,
    MessageType,
    SnapshotMeta,
    Transition,
)
from raftoral.raft.node import Config, RawNode
from tests import transcript
from tests.corpora import words
from tests.corpora.confchange import parse_changes
from tests.corpora.tally import Tally, common_lines, data_files
from tests.raft.network import Member, MemoryLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from raftoral.raft.node import Ready
    from tests.transcript import Block

_LOGGED = re.compile(r"\s*(DEBUG|INFO|WARN|ERROR|FATAL) ")
# These describe work or state; all other commands answer "ok" or an error.
_DESCRIBES_WORK = (
    "compact",
    "deliver-msgs",
    "process-append-thread",
    "process-apply-thread",
    "process-ready",
    "send-snapshot",
    "stabilize",
)
_LEVELS = ("DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE")
_ELECTION_TICKS = 3
_ENOUGH = 0.9


def check(root: Path) -> tuple[Tally, Tally]:
    """Run every transcript and return both gauges."""
    states = Tally("etcd-interaction T1", unit=" outputs")
    everything = Tally("etcd-interaction T2", unit=" lines", enough=_ENOUGH)
    for path in data_files(root / "etcd-raft-interaction"):
        group = Group()
        for block in transcript.read(path.read_text(encoding="utf-8")):
            actual, expected = _lines(group.handle(block)), _lines(block.expected)
            where = f"{path.name}:{block.line}: {block.command}"
            everything.count(where, common_lines(actual, expected), len(expected), actual, expected)
            if block.name not in _DESCRIBES_WORK or expected == ["ok"]:
                states.compare(where, actual or ["ok"], expected or ["ok"])
    return states, everything


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if not _LOGGED.match(line)]


@dataclass(frozen=True)
class Letter:
    """Something on its way to a member; a local one, from its own disk or machine, is never lost."""

    to: NodeId
    name: str
    text: str
    is_local: bool
    open: Callable[[], None]


@dataclass(frozen=True)
class Work:
    """What the disk or the machine of a member has to do, and the answers to it."""

    text: str
    do: Callable[[], None]
    answers: list[Letter]

    def __str__(self) -> str:
        """Return the order as it stands in a `Ready`."""
        inner = [f"\n  {part}" for letter in self.answers for part in letter.text.splitlines()]
        return self.text + "".join([" Responses:[", *inner, "\n]"] if inner else [])


@dataclass
class Peer(Member):
    """A member with its own disk and machine, which need not be done with one thing at a time."""

    pipelined: bool = False
    leases: bool = False
    forwarded: list[Letter] = field(default_factory=list)
    to_append: deque[Work] = field(default_factory=deque)
    to_apply: deque[Work] = field(default_factory=deque)

    @property
    def has_ready(self) -> bool:
        """Whether there is a `Ready`, or a proposal to hand to the leader."""
        return bool(self.forwarded) or self.raw.has_ready()


class Group:
    """The members of one transcript and the letters between them."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.wire: list[Letter] = []
        self.quiet = False
        self.indent = ""
        self.out: list[str] = []

    def handle(self, block: Block) -> str:
        """Run one command and return what it prints."""
        self.out, self.indent = [], ""
        error = []
        run = getattr(self, "_do_" + block.name.replace("-", "_"), self._unknown)
        try:
            run(block)
        except Unavailable:
            error = ["raft proposal dropped"]
        except (RaftoralError, AssertionError, LookupError, ValueError) as failure:
            error = [str(failure) or type(failure).__name__]
        return "\n".join(self.out + error) or "ok"

    def _unknown(self, block: Block) -> None:
        raise LookupError("unknown command")

    def _say(self, text: str) -> None:
        if not self.quiet:
            self.out += [self.indent + line for line in text.splitlines()]

    def _peer(self, number: int | str) -> Peer:
        return self.peers[int(number) - 1]

    def _first(self, block: Block) -> Peer:
        return self._peer(block.words()[0])

    def _one_by_one(self, block: Block, what: str, run: Callable[[Peer], None]) -> None:
        chosen = [self._peer(word) for word in block.words()]
        for peer in chosen:
            if len(chosen) > 1:
                self._under(f"> {peer.raw.id} {what}", run, peer)
            else:
                run(peer)

    def _under(self, headline: str, run: Callable[[Peer], object], peer: Peer) -> None:
        self._say(headline)
        self.indent = "  "
        run(peer)
        self.indent = ""

    # -------------------------------------------------------------- members
    def _do__breakpoint(self, block: Block) -> None:
        """Nothing happens: it is where a person would stop a debugger."""

    def _do_log_level(self, block: Block) -> None:
        self._set_level(block.words()[0])

    def _set_level(self, level: str) -> None:
        if level.upper() not in _LEVELS:
            raise ValueError(f"log levels must be either of [{' '.join(_LEVELS)}]")
        self.quiet = level.upper() == _LEVELS[-1]

    def _do_add_nodes(self, block: Block) -> None:
        index = Index(_number(block, "index", 0))
        conf = ConfState(
            tuple(NodeId(n) for n in block.numbers("voters")),
            tuple(NodeId(n) for n in block.numbers("learners")),
        )
        if index <= 1 and (index or conf != ConfState() or "content" in block.args):
            raise ValueError("index must be specified as > 1 due to bootstrap")
        reads = block.args.get("read-only", ["safe"])[0]
        if reads not in ("safe", "lease-based"):
            raise ValueError(f'invalid read-only option "{reads}"')
        for _ in range(int(block.words()[0])):
            log = MemoryLog(SnapshotMeta(index, Term(1 if index else 0), conf))
            # The core knows that what was applied is committed; nobody has stored it.
            log.hard_state = log.hard_state._replace(commit=Index(0))
            config = _config(block, NodeId(len(self.peers) + 1))
            self.peers.append(
                Peer(
                    RawNode(config, log, index),
                    log,
                    pipelined=config.pipelined,
                    leases=reads == "lease-based",
                )
            )

    def _do_campaign(self, block: Block) -> None:
        self._first(block).raw.campaign()

    def _do_propose(self, block: Block) -> None:
        data = block.words()[1].encode()
        entry = Entry(Term(0), Index(0), EntryKind.NORMAL, data)
        self._propose(self._first(block), entry, lambda raw: raw.propose(data))

    def _do_propose_conf_change(self, block: Block) -> None:
        how = block.args.get("transition", ["auto"])[0]
        if how.upper() not in Transition.__members__:
            raise ValueError(f"unknown transition {how}")
        old = _flag(block, "v1")
        change = ConfChange(
            parse_changes(block.input), Transition[how.upper()], words.V1 if old else b""
        )
        if old and (len(change.changes) > 1 or change.transition is not Transition.AUTO):
            raise ValueError("v1 conf change can only have one operation and no transition")

        def propose(raw: RawNode) -> None:
            try:
                raw.propose_conf_change(change)
            except (Unavailable, ConfChangeError):
                # etcd puts an empty entry on the place of a change that it refuses.
                raw.propose(b"")

        entry = Entry(Term(0), Index(0), EntryKind.CONF, change.encode())
        self._propose(self._first(block), entry, propose)

    def _propose(self, peer: Peer, entry: Entry, propose: Callable[[RawNode], object]) -> None:
        raw = peer.raw
        if raw.role is not Role.FOLLOWER or raw.leader == NOBODY:
            propose(raw)
            return
        leader = raw.leader
        text = words.line(f"{raw.id}->{leader} MsgProp", entries=(entry,))

        def deliver() -> None:
            self._propose(self._peer(leader), entry, propose)

        peer.forwarded.append(Letter(leader, "MsgProp", text, is_local=False, open=deliver))

    def _do_transfer_leadership(self, block: Block) -> None:
        from_, to = _number(block, "from"), _number(block, "to")
        raw = self._peer(from_).raw
        if raw.leader != NOBODY:  # Elsewhere the wish is dropped, and only the logger says so.
            raw.transfer_leadership(NodeId(to))

    def _do_forget_leader(self, block: Block) -> None:
        peer = self._first(block)
        if not peer.leases:
            peer.raw.forget_leader()

    def _do_report_unreachable(self, block: Block) -> None:
        self._first(block).raw.report_unreachable(NodeId(int(block.words()[1])))

    def _do_compact(self, block: Block) -> None:
        self._first(block).log.compact(Index(int(block.words()[1])))
        self._do_raft_log(block)

    def _tick(self, block: Block, times: int) -> None:
        for _ in range(times):
            self._first(block).raw.tick()

    def _do_tick(self, block: Block) -> None:
        self._tick(block, int(block.words()[1]))

    def _do_tick_heartbeat(self, block: Block) -> None:
        self._tick(block, 1)

    def _do_tick_election(self, block: Block) -> None:
        self._tick(block, _ELECTION_TICKS)

    def _do_set_randomized_election_timeout(self, block: Block) -> None:
        self._first(block).raw._core.election_timeout = _number(block, "timeout")

    def _do_send_snapshot(self, block: Block) -> None:
        sender, to = (NodeId(int(word)) for word in block.words())
        peer = self._peer(sender)
        snapshot = peer.log.latest
        message = Message(MessageType.SNAPSHOT, to, sender, peer.raw.term, snapshot=snapshot)
        self.wire.append(self._letter(message))
        self._say(words.message(message))

    # -------------------------------------------------------------- state
    def _do_raft_log(self, block: Block) -> None:
        log = self._first(block).log
        if not log.entries_:
            first, last = log.first_index(), log.last_index()
            self._say(f"log is empty: first index={first}, last index={last}")
        for entry in log.entries_:
            self._say(words.entry(entry))

    def _do_raft_state(self, block: Block) -> None:
        for peer in self.peers:
            self._say(words.state(peer.raw.status()))

    def _do_status(self, block: Block) -> None:
        for node, view in self._first(block).raw.status().progress.items():
            self._say(f"{node}: {words.progress(view)}")

    # -------------------------------------------------------------- letters
    def _letter(self, message: Message) -> Letter:
        return Letter(
            message.to,
            words.NAMES[message.type],
            words.message(message),
            is_local=message.to == message.from_,
            open=partial(self._step, message),
        )

    def _step(self, message: Message) -> None:
        raw = self._peer(message.to).raw
        if "RESPONSE" in message.type.name and message.from_ not in raw._core.progress:
            self._say("raft: cannot step as peer not found")
        raw.step(message)

    def _do_deliver_msgs(self, block: Block) -> None:
        name = block.args.get("type", [""])[0]
        count = sum(self._deliver(int(word), name) for word in block.words())
        count += sum(self._deliver(node, name, drop=True) for node in block.numbers("drop"))
        if not count:
            self._say("no messages")

    def _deliver(self, to: int, name: str = "", *, drop: bool = False) -> int:
        def is_chosen(letter: Letter) -> bool:
            return letter.to == to and name in ("", letter.name) and not (drop and letter.is_local)

        batch = [letter for letter in self.wire if is_chosen(letter)]
        self.wire = [letter for letter in self.wire if not is_chosen(letter)]
        for letter in batch:
            self._say(f"dropped: {letter.text}" if drop else letter.text)
            if not drop:
                try:
                    letter.open()
                except Unavailable:
                    self._say("raft proposal dropped")
        return len(batch)

    # -------------------------------------------------------------- work
    def _do_process_ready(self, block: Block) -> None:
        self._one_by_one(block, "handling Ready", self._process)

    def _do_process_append_thread(self, block: Block) -> None:
        self._one_by_one(block, "processing append thread", self._append)

    def _do_process_apply_thread(self, block: Block) -> None:
        self._one_by_one(block, "processing apply thread", self._apply)

    def _process(self, peer: Peer) -> None:
        ready = peer.raw.ready()
        after = [m for m in ready.messages_after_sync if m.type in _ANSWERS]
        early = [m for m in ready.messages_after_sync if m.type not in _ANSWERS]
        letters = [self._letter(m) for m in (*ready.messages, *early)] + peer.forwarded
        answers = [self._letter(message) for message in after]
        peer.forwarded = []
        if peer.pipelined:
            orders = list(self._orders(peer, ready, answers))
            self._describe(ready, [*(letter.text for letter in letters), *map(str, orders)])
            self.wire += letters
            return
        letters += answers
        self._describe(ready, [letter.text for letter in letters])
        peer.store(ready)
        peer.apply(ready)
        self.wire += letters
        peer.raw.advance()

    def _describe(self, ready: Ready, messages: list[str]) -> None:
        for line in words.ready(ready, messages):
            self._say(line)

    def _orders(self, peer: Peer, ready: Ready, answers: list[Letter]) -> Iterator[Work]:
        """Give the disk and the machine of ``peer`` what a `Ready` has for them."""
        raw, end = peer.raw, ready.log_end
        needs_disk = any((ready.entries, ready.hard_state, ready.snapshot, answers))
        if end is not None or ready.snapshot is not None:
            index, term = end or (Index(0), Term(0))
            text = words.line(
                f"AppendThread->{raw.id} MsgStorageAppendResp",
                term=ready.term,
                log=(term, index),
                with_snapshot=ready.snapshot,
            )
            stored = partial(raw.stored, ready)
            answers.append(Letter(raw.id, "MsgStorageAppendResp", text, is_local=True, open=stored))
        if needs_disk:
            hard = ready.hard_state
            text = words.line(
                f"{raw.id}->AppendThread MsgStorageAppend",
                term=hard.term if hard else 0,
                commit=hard.commit if hard else 0,
                vote=hard.vote if hard else 0,
                entries=ready.entries,
                with_snapshot=ready.snapshot,
            )
            peer.to_append.append(Work(text, partial(peer.store, ready), answers))
            yield peer.to_append[-1]
        if ready.committed:
            text = words.line(f"{raw.id}->ApplyThread MsgStorageApply", entries=ready.committed)
            name = "MsgStorageApplyResp"
            applied = Letter(
                raw.id,
                name,
                words.line(f"ApplyThread->{raw.id} {name}", entries=ready.committed),
                is_local=True,
                open=partial(raw.applied_all, ready),
            )
            peer.to_apply.append(Work(text, partial(peer.apply, ready), [applied]))
            yield peer.to_apply[-1]

    def _append(self, peer: Peer) -> None:
        self._work(peer.to_append, "append")

    def _apply(self, peer: Peer) -> None:
        self._work(peer.to_apply, "apply")

    def _work(self, queue: deque[Work], kind: str) -> None:
        if not queue:
            self._say(f"no {kind} work to perform")
            return
        work = queue.popleft()
        self._say(f"Processing:\n{work.text}")
        work.do()
        self._say("\n".join(["Responses:", *(letter.text for letter in work.answers)]))
        self.wire += work.answers

    def _do_stabilize(self, block: Block) -> None:
        was_quiet = self.quiet
        if "log-level" in block.args:
            self._set_level(block.args["log-level"][0])
        chosen = [self._peer(word) for word in block.words()] or self.peers
        while self._round(chosen):
            pass
        self.quiet = was_quiet

    def _round(self, chosen: list[Peer]) -> bool:
        """Let everyone do each kind of work once; False if there was none."""
        busy = False
        kinds: tuple[tuple[str, Callable[[Peer], object], Callable[[Peer], object]], ...] = (
            ("handling Ready", lambda peer: peer.has_ready, self._process),
            ("receiving messages", self._has_mail, lambda peer: self._deliver(peer.raw.id)),
            ("processing append thread", lambda peer: peer.to_append, self._append_all),
            ("processing apply thread", lambda peer: peer.to_apply, self._apply_all),
        )
        for what, has_work, run in kinds:
            for peer in chosen:
                if has_work(peer):
                    self._under(f"> {peer.raw.id} {what}", run, peer)
                    busy = True
        return busy

    def _has_mail(self, peer: Peer) -> bool:
        return any(letter.to == peer.raw.id for letter in self.wire)

    def _append_all(self, peer: Peer) -> None:
        while peer.to_append:
            self._append(peer)

    def _apply_all(self, peer: Peer) -> None:
        while peer.to_apply:
            self._apply(peer)


_ANSWERS = (
    MessageType.APPEND_RESPONSE,
    MessageType.VOTE_RESPONSE,
    MessageType.PRE_VOTE_RESPONSE,
)


def _number(block: Block, key: str, default: int | None = None) -> int:
    found = block.numbers(key)
    if found:
        return found[0]
    if default is None:
        raise ValueError(f"{block.name} needs {key}=")
    return default


def _flag(block: Block, key: str) -> bool:
    told = block.args.get(key, ["false"])[0]
    if told.lower() not in _TRUE + _FALSE:
        raise ValueError(f"{key} is true or false, not {told}")
    return told.lower() in _TRUE


_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


def _config(block: Block, node: NodeId) -> Config:
    flag = partial(_flag, block)
    return Config(
        id=node,
        election_ticks=_ELECTION_TICKS,
        heartbeat_ticks=1,
        chance=lambda _: 0,
        message_bytes_max=NO_LIMIT,
        committed_bytes_max=_number(block, "max-committed-size-per-ready", NO_LIMIT),
        inflight_max=_number(block, "inflight", 2**31),
        uncommitted_bytes_max=NO_LIMIT,
        kept_bytes_max=0,
        check_quorum=flag("checkquorum"),
        pre_vote=flag("prevote"),
        batch=False,
        pipelined=flag("async-storage-writes"),
        check_changes=not flag("disable-conf-change-validation"),
        on_removal=OnRemoval.STEP_DOWN if flag("step-down-on-removal") else OnRemoval.STAY,
    )
