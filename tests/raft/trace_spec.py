"""What a trace means: a second, dumb implementation of the steps that etcd's trace spec allows.

It reads a trace line by line, keeps the state of every node, all messages that were sent and what of
each node is durable, does what each line says, and refuses the line if that step is not possible
then, or if it ends in another state than the line shows. After each step it checks the eight
invariants of that spec. It knows nothing of the library.

Source: etcd-io/raft, tla/etcdraft.tla (what a step does) and tla/Traceetcdraft.tla (which line is
which step, and which lines are skipped); the words and the code are our own.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FOLLOWER, CANDIDATE, LEADER = "StateFollower", "StateCandidate", "StateLeader"
NOBODY = "0"
BOOTSTRAP = {"InitState", "BecomeFollower", "ApplyConfChange"}
RECEIVED = {
    "ReceiveAppendEntriesRequest",
    "ReceiveAppendEntriesResponse",
    "ReceiveRequestVoteRequest",
    "ReceiveRequestVoteResponse",
}


class Refused(Exception):
    """A line that no step explains; the message says which and why."""


class Conf(NamedTuple):
    """Who votes, in the new and in the old configuration, and who learns."""

    voters: frozenset[str]
    outgoing: frozenset[str] = frozenset()
    learners: frozenset[str] = frozenset()


NO_MEMBERS = Conf(frozenset())


class Entry(NamedTuple):
    """One entry of a log; ``conf`` is that of a change, None of a value."""

    term: int
    conf: Conf | None = None


class Msg(NamedTuple):
    """One message; fields that a kind does not have stay as they are."""

    kind: str
    term: int
    sender: str
    to: str
    granted: bool = True
    prev: int = 0
    prev_term: int = 0
    entries: tuple[Entry, ...] = ()
    commit: int = 0
    match: int = 0


@dataclass
class Durable:
    """What a node has after a restart."""

    term: int
    vote: str
    length: int
    commit: int
    conf: Conf


@dataclass
class Node:
    """One node's state."""

    term: int = 0
    vote: str = NOBODY
    role: str = FOLLOWER
    log: list[Entry] = field(default_factory=list)
    commit: int = 0
    conf: Conf = NO_MEMBERS
    answered: set[str] = field(default_factory=set)
    votes: set[str] = field(default_factory=set)
    match: Counter[str] = field(default_factory=Counter)
    pending_change: int = 0
    pending: list[Msg] = field(default_factory=list)
    durable: Durable = field(default_factory=lambda: Durable(0, NOBODY, 0, 0, NO_MEMBERS))

    @property
    def last_term(self) -> int:
        """The term of the last entry."""
        return self.log[-1].term if self.log else 0

    def persist(self) -> None:
        """Make the present state durable."""
        self.durable = Durable(self.term, self.vote, len(self.log), self.commit, self.conf)


def majority(some: Iterable[str], of: frozenset[str]) -> bool:
    """Tell whether ``some`` are a majority of a set, all of them in it."""
    chosen = frozenset(some)
    return chosen <= of and 2 * len(chosen) > len(of)


class Spec:
    """All nodes, and the messages under way."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self.events = events
        self.nodes: dict[str, Node] = {}
        self.messages: Counter[Msg] = Counter()
        self.skipped: set[int] = set()
        self._last: dict[str, dict[str, Any]] = {}
        self._begin()

    # -------------------------------------------------------------- the beginning
    def _begin(self) -> None:
        """Take the lines with which each node begins: all up to its first other step."""
        last: dict[str, dict[str, Any]] = {}
        over: set[str] = set()
        names = set()
        for at, event in enumerate(self.events):
            node = event["nid"]
            names.add(node)
            if event["name"] == "ChangeConf":
                first = event["prop"]["cc"]["changes"][0]
                names |= {first["nid"]} if first["action"] != "RemoveServer" else set()
            if event["name"] not in BOOTSTRAP:
                over.add(node)
            elif node not in over:
                self.skipped.add(at)
                last[node] = event
        for name in sorted(names):
            if name not in last:
                raise Refused(f"node {name} takes part, but never begins")
            event = last[name]
            voters = event["conf"][0]
            if event["name"] == "ApplyConfChange":
                voters = event["prop"]["cc"]["newconf"]
            conf, state = Conf(frozenset(voters)), event["state"]
            node = Node(state["term"], state["vote"], event["role"], conf=conf)
            node.log = [Entry(1, conf) for _ in range(event["log"])]
            node.commit = state["commit"]
            node.persist()
            self.nodes[name] = node

    # -------------------------------------------------------------- line by line
    def run(self) -> None:
        """Take every line; `Refused` for the first that is not possible."""
        for at, event in enumerate(self.events):
            try:
                if at not in self.skipped and not self._is_skipped(event):
                    self._step(event)
                    self._invariants()
            except Refused as refused:
                raise Refused(f"line {at + 1}: {refused}: {json.dumps(event)}") from None
            self._last[event["nid"]] = event

    def _is_skipped(self, event: dict[str, Any]) -> bool:
        """Tell whether a line only shows what the step before has done already."""
        name, msg = event["name"], event.get("msg", {})
        if name in ("SendAppendEntriesResponse", "SendRequestVoteResponse"):
            return bool(msg["from"] != msg["to"])
        if name != "BecomeFollower":
            return False
        last = self._last.get(event["nid"])
        if last is None or last["name"] not in RECEIVED:
            return False
        term, was, came = event["state"]["term"], last["state"]["term"], last["msg"]["term"]
        if came != term:
            return False
        returns = last["name"] == "ReceiveAppendEntriesRequest" and last["role"] == CANDIDATE
        return was < came or (was == came and returns)

    def _step(self, event: dict[str, Any]) -> None:
        name, node = event["name"], self.nodes[event["nid"]]
        if name in ("Replicate", "Ready"):
            self._shows(event, "before it")  # Etcd's own checker does not look.
        if name in RECEIVED:
            need(event["msg"]["to"] == event["nid"], "it is for another node")
            self._shows(event, "before it")
            self._receive(event)
        elif name.startswith("Send"):
            self._send(event)
        else:
            getattr(self, "_" + name)(event["nid"], node, event)
        if name not in RECEIVED and name not in UNCHECKED:
            self._shows(event, "after it")

    def _shows(self, event: dict[str, Any], when: str) -> None:
        """Compare the state of the node with what the line shows."""
        node, state = self.nodes[event["nid"]], event["state"]
        ours = (node.term, node.vote, node.role, node.commit, len(node.log))
        theirs = (state["term"], state["vote"], event["role"], state["commit"], event["log"])
        need(ours == theirs, f"the state {when} is {ours}, the line shows {theirs}")
        shown = Conf(*map(frozenset, event["conf"]))
        same = (node.conf.voters, node.conf.outgoing) == (shown.voters, shown.outgoing)
        need(same, f"the members {when} are {node.conf}, the line shows {shown}")

    # -------------------------------------------------------------- steps of one node
    def _InitState(self, name: str, node: Node, _event: dict[str, Any]) -> None:  # noqa: N802
        kept = node.durable
        self.nodes[name] = Node(
            kept.term, kept.vote, log=node.log[: kept.length], commit=kept.commit, conf=kept.conf
        )
        self.nodes[name].durable = kept

    def _BecomeCandidate(self, name: str, node: Node, event: dict[str, Any]) -> None:  # noqa: N802
        need(node.role in (FOLLOWER, CANDIDATE), "a leader does not stand for election")
        need(name in node.conf.voters, "who does not vote does not stand for election")
        changes = [entry.conf for entry in node.log[: node.commit] if entry.conf is not None]
        need(not changes or changes[-1] == node.conf, "a committed change is not applied")
        node.term, node.vote, node.role = node.term + 1, name, CANDIDATE
        node.answered, node.votes = set(), set()
        need((event["role"], event["state"]["term"]) == (node.role, node.term), "another term")

    def _BecomeLeader(self, name: str, node: Node, _event: dict[str, Any]) -> None:  # noqa: N802
        need(node.role == CANDIDATE, "only a candidate becomes leader")
        need(majority(node.votes, node.conf.voters), f"{node.votes} are no majority of {node.conf}")
        node.role, node.match = LEADER, Counter({name: len(node.log)})

    def _BecomeFollower(self, _name: str, node: Node, _event: dict[str, Any]) -> None:  # noqa: N802
        need(node.role in (LEADER, CANDIDATE), "nothing made it step down")
        node.role = FOLLOWER

    def _Replicate(self, _name: str, node: Node, _event: dict[str, Any]) -> None:  # noqa: N802
        need(node.role == LEADER, "only a leader appends")
        node.log.append(Entry(node.term))

    def _Commit(self, _name: str, node: Node, _event: dict[str, Any]) -> None:  # noqa: N802
        need(node.role == LEADER, "only a leader commits")
        agreed = [
            index
            for index in range(1, len(node.log) + 1)
            if majority((n for n in node.conf.voters if node.match[n] >= index), node.conf.voters)
        ]
        if agreed and node.log[max(agreed) - 1].term == node.term:
            node.commit = max(node.commit, max(agreed))

    def _ChangeConf(self, _name: str, node: Node, event: dict[str, Any]) -> None:  # noqa: N802
        need(node.role == LEADER, "only a leader changes the members")
        changes = event["prop"]["cc"]["changes"]
        need(len(changes) == 1, "more than one change at once")
        action, other = changes[0]["action"], changes[0]["nid"]
        voters, _, learners = node.conf
        need(not node.conf.outgoing, "the members are joint")
        if action == "AddNewServer":
            need(other not in voters, "it votes already")
            after = Conf(voters | {other}, learners=learners)
        elif action == "AddLearner":
            need(other not in voters | learners, "it is a member already")
            after = Conf(voters, learners=learners | {other})
        else:
            need(action == "RemoveServer" and other in voters | learners, "it is no member")
            after = Conf(voters - {other}, learners=learners - {other})
        if node.pending_change:
            node.log.append(Entry(node.term))  # It is refused, and an empty entry takes its place.
        else:
            node.log.append(Entry(node.term, after))
            node.pending_change = len(node.log)

    def _ApplyConfChange(self, _name: str, node: Node, _event: dict[str, Any]) -> None:  # noqa: N802
        need(not node.conf.outgoing, "the members are joint")
        changes = [at for at in range(node.commit) if node.log[at].conf is not None]
        need(bool(changes), "no change is committed")
        conf = node.log[changes[-1]].conf
        assert conf is not None
        node.conf = conf
        if node.role == LEADER and node.pending_change > changes[-1]:
            node.pending_change = 0

    def _Ready(self, _name: str, node: Node, _event: dict[str, Any]) -> None:  # noqa: N802
        node.persist()
        self.messages.update(node.pending)
        node.pending = []

    # -------------------------------------------------------------- sending
    def _send(self, event: dict[str, Any]) -> None:
        name, msg = event["nid"], event["msg"]
        node, to = self.nodes[name], msg["to"]
        need(msg["from"] == name, "it is from another node")
        need(msg["term"] == node.term, "it is of another term")
        members = node.conf.voters | node.conf.learners
        if event["name"].startswith("SendRequestVote"):
            need(node.role == CANDIDATE, "only a candidate asks for votes")
            need(to in members - node.answered, "it asks who is no member or has answered")
            if to == name:
                sent = Msg("MsgVoteResp", node.term, name, to, granted=True)
            else:
                sent = Msg("MsgVote", node.term, name, to, prev=len(node.log))
                sent = sent._replace(prev_term=node.last_term)
        else:
            need(node.role == LEADER, "only a leader sends this")
            sent = self._append(node, name, msg)
            need(to == name or to in members, "it is to who is no member")
        need(agrees(sent, msg), f"that would be {sent}")
        node.pending.append(sent)

    @staticmethod
    def _append(node: Node, name: str, msg: dict[str, Any]) -> Msg:
        kind, to, count = msg["type"], msg["to"], msg["entries"]
        sent = Msg(kind, node.term, name, to)
        if kind == "MsgAppResp":
            return sent._replace(match=len(node.log))
        if kind == "MsgHeartbeat":
            return sent._replace(commit=min(node.commit, node.match[to]))
        prev = msg["index"] if kind == "MsgApp" else 0
        if kind == "MsgSnap":
            need(1 <= count <= node.commit, "a snapshot is of what is committed")
        else:
            need(prev >= node.match[to], "it begins before what is known to be there")
        last = min(len(node.log), prev + count)
        return sent._replace(
            prev=prev,
            prev_term=node.log[prev - 1].term if 0 < prev <= len(node.log) else 0,
            entries=tuple(node.log[prev:last]),
            commit=min(node.commit, last),
        )

    # -------------------------------------------------------------- receiving
    def _receive(self, event: dict[str, Any]) -> None:
        msg = event["msg"]
        found = next((each for each in self.messages if agrees(each, msg)), None)
        need(found is not None, "no such message is under way")
        assert found is not None
        self.messages[found] -= 1
        if not self.messages[found]:
            del self.messages[found]
        node = self.nodes[found.to]
        if found.term > node.term:
            node.term, node.vote, node.role = found.term, NOBODY, FOLLOWER
        match found.kind:
            case "MsgVote":
                self._vote(node, found)
            case "MsgVoteResp" if found.term == node.term:
                node.answered.add(found.sender)
                node.votes |= {found.sender} if found.granted else set()
            case "MsgAppResp" if found.term == node.term and found.granted:
                node.match[found.sender] = max(node.match[found.sender], found.match)
            case "MsgApp" | "MsgHeartbeat" | "MsgSnap":
                self._take(node, found)
            case _:
                pass  # An answer of an earlier term, or one that changes nothing.

    @staticmethod
    def _vote(node: Node, msg: Msg) -> None:
        is_better = (msg.prev_term, msg.prev) >= (node.last_term, len(node.log))
        granted = msg.term == node.term and is_better and node.vote in (NOBODY, msg.sender)
        if granted:
            node.vote = msg.sender
        node.pending.append(Msg("MsgVoteResp", node.term, msg.to, msg.sender, granted=granted))

    @staticmethod
    def _take(node: Node, msg: Msg) -> None:
        """Take an append, a heartbeat or a snapshot, which are appends of their kinds."""
        need(msg.term < node.term or node.role != LEADER, "two leaders in one term")
        fits = msg.prev == 0 or (
            msg.prev <= len(node.log) and node.log[msg.prev - 1].term == msg.prev_term
        )
        if msg.term == node.term and node.role == CANDIDATE:
            node.role = FOLLOWER
        if msg.term < node.term or not fits:
            refusal = Msg("MsgAppResp", node.term, msg.to, msg.sender, granted=False)
            node.pending.append(refusal)
            return
        is_heartbeat = msg.kind == "MsgHeartbeat"
        match = end = msg.prev + len(msg.entries)
        if msg.prev < node.commit:
            match = match if is_heartbeat else node.commit
            node.commit = max(node.commit, msg.commit) if is_heartbeat else node.commit
        else:
            for at, entry in enumerate(msg.entries, start=msg.prev):
                if at < len(node.log) and node.log[at].term != entry.term:
                    del node.log[at:]
                if at == len(node.log):
                    node.log.append(entry)
            node.commit = max(node.commit, min(msg.commit, end))
        kind = {"MsgHeartbeat": "MsgHeartbeatResp", "MsgSnap": "MsgSnapResp"}.get(msg.kind)
        answer = Msg(kind or "MsgAppResp", node.term, msg.to, msg.sender, match=match)
        node.pending.append(answer)

    # -------------------------------------------------------------- invariants
    def _invariants(self) -> None:
        nodes = self.nodes.values()
        leaders = [node for node in nodes if node.role == LEADER]
        for one in nodes:
            committed = one.log[: one.commit]
            for other in nodes:
                self._pair(one, other)
            for chosen in minorities(one.conf.voters):
                rest = one.conf.voters - chosen
                need(
                    any(self.nodes[each].log[: one.commit] == committed for each in rest),
                    f"a majority {sorted(rest)} lacks what is committed",
                )
            for leader in leaders:
                for at, entry in enumerate(committed):
                    need(
                        leader.term <= entry.term or leader.log[at : at + 1] == [entry],
                        f"a later leader lacks committed entry {at + 1}",
                    )
        for leader in leaders:
            need(leader.commit <= leader.durable.length, "it committed what it has not stored")
            last = last_of(leader, leader.term)
            need(
                all(last_of(node, leader.term) <= last for node in nodes),
                "somebody has more of the leader's term than the leader",
            )

    @staticmethod
    def _pair(one: Node, other: Node) -> None:
        shared = min(one.commit, other.commit)
        need(one.log[:shared] == other.log[:shared], "committed entries differ")
        if one is not other and one.role == other.role == LEADER:
            need(one.term != other.term, "two leaders in one term")
        for at in range(min(len(one.log), len(other.log)), 0, -1):
            if one.log[at - 1].term == other.log[at - 1].term:
                need(one.log[:at] == other.log[:at], f"logs that agree at {at} differ before")
                break
        if (one.last_term, len(one.log)) >= (other.last_term, len(other.log)):
            need(
                one.log[: other.commit] == other.log[: other.commit],
                "a log that is as good lacks what is committed",
            )


UNCHECKED = {"Replicate", "ChangeConf", "ApplyConfChange", "Ready", "BecomeCandidate"}
"""Steps whose line shows the state before, or that the trace spec does not compare."""


def agrees(one: Msg, shown: dict[str, Any]) -> bool:
    """Tell whether a line can show this message."""
    if (one.kind, one.sender, one.to) != (shown["type"], shown["from"], shown["to"]):
        return False
    if one.term != shown["term"]:
        return False
    if one.kind == "MsgVote":
        return (one.prev, one.prev_term) == (shown["index"], shown["logTerm"])
    if one.kind in ("MsgVoteResp", "MsgAppResp", "MsgHeartbeatResp"):
        if one.granted is shown["reject"]:
            return False
        return one.kind != "MsgAppResp" or not one.granted or one.match == shown["index"]
    if one.kind == "MsgHeartbeat":
        return one.commit == shown["commit"] and not shown["entries"]
    place = (one.prev, one.prev_term, len(one.entries))
    if place != (shown["index"], shown["logTerm"], shown["entries"]):
        return False
    return one.kind == "MsgSnap" or one.commit == shown["commit"]


def last_of(node: Node, term: int) -> int:
    """Return the last index whose entry is of a term."""
    return max((at for at, entry in enumerate(node.log, start=1) if entry.term == term), default=0)


def minorities(voters: frozenset[str]) -> Iterator[frozenset[str]]:
    """Yield the largest sets that a majority can do without."""
    for chosen in combinations(sorted(voters), (len(voters) - 1) // 2) if voters else ():
        yield frozenset(chosen)


def need(truth: bool, why: str) -> None:
    """Refuse the line unless something holds."""
    if not truth:
        raise Refused(why)


def check(lines: Iterable[str]) -> Spec:
    """Read a trace; `Refused` names the first line that no step explains."""
    events = [line["event"] for line in map(json.loads, lines) if line.get("tag") == "trace"]
    spec = Spec(events)
    spec.run()
    return spec
