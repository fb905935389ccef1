"""What must hold whatever goes wrong, checked at every hand-over of every simulated core.

Owns what each life of each member has said so far, and compares it with what is known of the run as a
whole (`evidence`). Never changes anything of what it watches.

Log matching is checked entry by entry: if each (index, term) has one content and one term before
it, equal places have equal logs before them. Durability is judged by what the disks have promised,
never by what a process believes.

Source: Raft paper, figure 3; the invariants of etcd's TLA+ specification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

from raftoral.ids import NOBODY, Index, NodeId, Term
from raftoral.raft.messages import Entry, EntryKind, MessageType
from raftoral.sim.evidence import (
    COMMITTED_FOR_EVER,
    COMMITTED_IS_DURABLE,
    ELECTED,
    ELECTION_SAFETY,
    IN_ORDER,
    KNOWS_ITS_CHANGES,
    LEADER_COMPLETENESS,
    LOG_MATCHING,
    MEMBERSHIP,
    NEVER_BACK,
    ONCE,
    ONE_CHANGE,
    OWN_TERM,
    QUORUM_LOG,
    READ_INDEX,
    STAMPS,
    STATE_MACHINE_SAFETY,
    STICKY,
    SYNCED_SURVIVES,
    UP_TO_DATE,
    Evidence,
    conf_at,
    has,
)
from raftoral.sim.machine import chain_of
from raftoral.sim.wire import Wire

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Collection, Mapping, Sequence

    from raftoral.groups.group import Group
    from raftoral.groups.host import Host
    from raftoral.ids import GroupId
    from raftoral.raft.messages import ConfState, HardState, Message
    from raftoral.raft.node import Ready
    from raftoral.sim.disk import SimDisk
    from raftoral.sim.evidence import Chosen
    from raftoral.sim.machine import Applied


class _Seen:
    """One member in one life of its process."""

    __slots__ = ("applied", "asked", "commit", "conf_indexes", "last_change", "led", "role")

    def __init__(self, applied: Index) -> None:
        self.applied = applied
        self.commit = Index(0)
        self.asked: dict[bytes, Index] = {}
        """What was committed anywhere when each read was asked."""
        self.conf_indexes: list[Index] = []
        self.last_change = Index(0)
        self.led = Term(0)
        self.role = ""


class Checkers(Evidence):
    """All sentences about the consensus of one run."""

    def __init__(self, count: Counter[str], disks: Mapping[NodeId, SimDisk]) -> None:
        super().__init__(count, disks)
        self._seen: dict[tuple[NodeId, GroupId], _Seen] = {}
        self._groups: dict[tuple[NodeId, GroupId], Group] = {}
        self._wire = Wire(self, self._groups)

    # -------------------------------------------------------------- watching
    def watch_host(self, node: NodeId, host: Host) -> None:
        """See every message before it leaves."""
        post = host.router.post

        def watched(gid: GroupId, messages: Sequence[Message]) -> list[Message]:
            chosen, promised = self.chosen(gid), self.disks[node].group(gid)
            for message in messages:
                self._wire.on_message(node, gid, message, chosen, promised)
            return post(gid, messages)

        host.router.post = watched  # type: ignore[method-assign, assignment]  # looks and passes on

    def watch_group(self, node: NodeId, group: Group) -> None:
        """See all that the core of a group that was just opened says."""
        raw, gid = group.raw, group.gid
        self._groups[node, gid] = group
        seen = self._seen[node, gid] = _Seen(group.store.applied)
        chosen = self.chosen(gid)
        hard, conf = group.store.initial_state()
        if not chosen.confs and conf.voters:
            chosen.confs[group.store.applied] = conf
            chosen.committed[group.store.applied] = group.store.term(group.store.applied)
        self._on_open(node, group, hard)
        ready, apply_conf_change, read_index = raw.ready, raw.apply_conf_change, raw.read_index

        def watched_ready(*, news: bool = True) -> Ready:
            taken = ready(news=news)
            self._on_ready(node, group, seen, chosen, taken)
            return taken

        def watched_change(change: object) -> ConfState:
            conf = apply_conf_change(change)  # type: ignore[arg-type]  # passed on as it came
            self._on_conf(node, gid, seen.conf_indexes.pop(0), conf)
            return conf

        def watched_read(context: bytes) -> None:
            read_index(context)
            seen.asked[context] = chosen.last

        raw.read_index = watched_read  # type: ignore[method-assign]  # looks and passes on
        raw.step = self._watched_step(node, group)  # type: ignore[method-assign, assignment]
        raw.ready = watched_ready  # type: ignore[method-assign]  # looks and passes on
        raw.apply_conf_change = watched_change  # type: ignore[method-assign]  # the same

    def _watched_step(self, node: NodeId, group: Group) -> Callable[[Message], None]:
        core, step = group.raw._core, group.raw.step  # noqa: SLF001  # the watcher looks inside

        def watched(message: Message) -> None:
            if message.type is not MessageType.PRE_VOTE or message.term <= core.term:
                step(message)
                return
            living = core.leader != NOBODY and core.election_elapsed < core.config.election_ticks
            before = len(core.messages_after_sync)
            step(message)
            if living and any(not each.reject for each in core.messages_after_sync[before:]):
                self.fail(
                    STICKY,
                    f"group {group.gid}, node {node} hears {core.leader} and would vote for "
                    f"{message.from_}",
                )

        return watched

    # -------------------------------------------------------------- a process begins
    def _on_open(self, node: NodeId, group: Group, hard: HardState) -> None:
        """Compare what a process reads with what its disk promised, and with what it said."""
        gid, store = group.gid, group.store
        chosen, promised = self.chosen(gid), self.disks[node].group(gid)
        if hard.term < chosen.spoke_in.get(node, 0):
            self.fail(
                NEVER_BACK,
                f"group {gid}, node {node} spoke in term {chosen.spoke_in[node]} and is back in "
                f"term {hard.term}",
            )
        voted = chosen.votes.get((node, hard.term), NOBODY)
        if voted != NOBODY and hard.vote != voted:
            self.fail(
                NEVER_BACK,
                f"group {gid}, node {node} voted for {voted} in term {hard.term} and knows of "
                f"{hard.vote}",
            )
        if hard[:2] < promised.hard[:2]:
            self.fail(SYNCED_SURVIVES, f"group {gid}, node {node}: {hard} after {promised.hard}")
        last = store.last_index()
        for index, term in promised.terms.items():
            if index > last or (index >= store.first_index() and store.term(Index(index)) != term):
                self.fail(
                    SYNCED_SURVIVES,
                    f"group {gid}, node {node} synced entry {index} of term {term}, but its log "
                    f"is {store.first_index()} to {last}",
                )
        unknown = store.entries(
            Index(max(hard.commit + 1, store.first_index())), Index(last + 1), 1 << 30
        )
        changes = [entry.index for entry in unknown if entry.kind is EntryKind.CONF]
        if len(changes) > 1:
            # Of two changes ago, a majority and one of now may share nobody.
            self.fail(
                KNOWS_ITS_CHANGES,
                f"group {gid}, node {node} knows of commit {hard.commit} and holds {changes}",
            )
        self._check_state(node, group, "opened")

    def on_snapshot(self, node: NodeId, group: Group, index: Index) -> None:
        """Compare a state that came as a snapshot."""
        self.count["snapshots installed"] += 1
        self._seen[node, group.gid].applied = index
        self._seen[node, group.gid].conf_indexes.clear()
        self._check_state(node, group, "installed")

    def _check_state(self, node: NodeId, group: Group, how: str) -> None:
        gid, applied = group.gid, group.store.applied
        chosen = self.chosen(gid)
        expected = conf_at(chosen.confs, applied)
        conf = group.store.initial_state()[1]
        if applied and conf != expected:
            self.fail(
                MEMBERSHIP,
                f"group {gid}, node {node} {how} {conf} at entry {applied}, others had {expected}",
            )
        known = chosen.applied.get(_last_applied(chosen.applied, applied))
        if known is not None and chain_of(group.store.machine) != known:
            self.fail(
                STATE_MACHINE_SAFETY,
                f"group {gid}, node {node} {how} a state at entry {applied} that no other machine "
                "had there",
            )

    # -------------------------------------------------------------- the core says what to do
    def _on_ready(
        self, node: NodeId, group: Group, seen: _Seen, chosen: Chosen, ready: Ready
    ) -> None:
        raw = group.raw
        led_before = ready.soft_state is None and raw.is_leader
        if ready.soft_state is not None:
            self._on_role(node, group, seen, chosen)
        if ready.entries:
            self._on_entries(node, group, chosen, ready.entries)
            self._on_changes(node, group, seen, ready.entries)
        for index, context in ready.read_states:
            known = seen.asked.pop(context, Index(0))
            if index < known:
                self.fail(
                    READ_INDEX,
                    f"group {group.gid}, node {node} reads at {index}, {known} was committed",
                )
        if raw.commit > seen.commit:
            self._on_commit(node, group, seen, chosen)
            if led_before and chosen.committed[raw.commit] != raw.term:
                self.fail(
                    OWN_TERM,
                    f"group {group.gid}, node {node} commits entry {raw.commit} of term "
                    f"{chosen.committed[raw.commit]} by counting, in term {raw.term}",
                )
        if ready.committed:
            for entry in ready.committed:
                if entry.index != seen.applied + 1:
                    self.fail(
                        IN_ORDER,
                        f"group {group.gid}, node {node} applies {entry.index} after "
                        f"{seen.applied}",
                    )
                seen.applied = entry.index
                if entry.kind is EntryKind.CONF:
                    seen.conf_indexes.append(entry.index)

    def _on_role(self, node: NodeId, group: Group, seen: _Seen, chosen: Chosen) -> None:
        raw, gid, term = group.raw, group.gid, group.raw.term
        role = raw.role.value
        if not raw.is_leader:
            if seen.led == term and seen.role == "leader":
                self.count["leaders stepped down"] += 1
            seen.role = role
            return
        seen.role = "leader"
        if seen.led == term:
            return
        seen.led = term
        self.count["elections won"] += 1
        known = chosen.leaders.setdefault(term, node)
        if known != node:
            self.fail(ELECTION_SAFETY, f"group {gid}, term {term}: nodes {known} and {node}")
        for voters in (raw.conf.voters, raw.conf.voters_outgoing):
            votes = [each for each in voters if chosen.votes.get((each, term)) == node]
            alone = voters == (node,)
            if voters and not alone and 2 * len(votes) <= len(voters):
                self.fail(
                    ELECTED,
                    f"group {gid}, node {node} leads term {term} by the votes of {votes} of "
                    f"{voters}",
                )
        before = max(
            (index for when, index in chosen.committed_in.items() if when < term), default=Index(0)
        )
        if not has(group, before, chosen.committed.get(before, Term(0))):
            self.fail(
                LEADER_COMPLETENESS,
                f"group {gid}, node {node} leads term {term} without entry {before} of term "
                f"{chosen.committed[before]}",
            )

    def _on_entries(
        self, node: NodeId, group: Group, chosen: Chosen, entries: tuple[Entry, ...]
    ) -> None:
        gid, store = group.gid, group.store
        first = entries[0].index
        if first <= store.last_index():
            self.count["logs truncated"] += 1
            for index in range(first, store.last_index() + 1):
                term = chosen.committed.get(Index(index))
                if term is None or store.term(Index(index)) != term:
                    continue
                new = entries[index - first].term if index - first < len(entries) else None
                if new != term:
                    self.fail(
                        COMMITTED_FOR_EVER,
                        f"group {gid}, node {node} drops committed entry {index} of term {term}",
                    )
        before = store.term(Index(first - 1))
        for term, index, kind, data in entries:
            content = (before, crc32(data, kind))
            known = chosen.entries.setdefault((index, term), content)
            if known != content:
                self.fail(
                    LOG_MATCHING,
                    f"group {gid}, node {node}, entry {index} of term {term}: {content} here, "
                    f"{known} elsewhere (term before, checksum)",
                )
            before = term

    def _on_changes(
        self, node: NodeId, group: Group, seen: _Seen, entries: tuple[Entry, ...]
    ) -> None:
        """See to it that a leader makes no change before the last one is applied."""
        raw = group.raw
        if entries[0].index <= seen.last_change:
            seen.last_change = Index(0)
        for term, index, kind, _ in entries:
            if kind is not EntryKind.CONF:
                continue
            if raw.is_leader and term == raw.term and seen.last_change > seen.applied:
                self.fail(
                    ONE_CHANGE,
                    f"group {group.gid}, node {node} appends a change at {index}, the one at "
                    f"{seen.last_change} is not applied",
                )
            seen.last_change = index

    def _on_commit(self, node: NodeId, group: Group, seen: _Seen, chosen: Chosen) -> None:
        raw, gid = group.raw, group.gid
        commit, log = raw.commit, raw._core.log  # noqa: SLF001  # the watcher looks inside
        for at in range(max(seen.commit + 1, log.first_index()), commit + 1):
            index = Index(at)
            term = log.term(index)
            known = chosen.committed.setdefault(index, term)
            if known != term:
                self.fail(
                    COMMITTED_FOR_EVER,
                    f"group {gid}, node {node} commits entry {index} of term {term}, which is "
                    f"committed with term {known}",
                )
        seen.commit = commit
        if commit > chosen.last:
            chosen.last = commit
            now = raw.term
            chosen.committed_in[now] = max(chosen.committed_in.get(now, Index(0)), commit)
            if raw.is_leader:
                self._check_quorum(node, group, commit, chosen.committed[commit])

    def _check_quorum(self, node: NodeId, group: Group, commit: Index, term: Term) -> None:
        gid, conf = group.gid, group.raw.conf
        holders = self._holders(gid, conf, commit, term)
        for voters in (conf.voters, conf.voters_outgoing):
            if voters and 2 * sum(voter in holders for voter in voters) <= len(voters):
                self.fail(
                    COMMITTED_IS_DURABLE,
                    f"group {gid}, node {node} commits entry {commit} of term {term}, which only "
                    f"{sorted(holders)} of {voters} have synced",
                )

    def _holders(self, gid: GroupId, conf: ConfState, index: Index, term: Term) -> set[NodeId]:
        return {
            voter
            for voter in (*conf.voters, *conf.voters_outgoing)
            if voter in self.disks and self.disks[voter].group(gid).holds(index, term)
        }

    def _on_conf(self, node: NodeId, gid: GroupId, index: Index, conf: ConfState) -> None:
        chosen = self.chosen(gid)
        known = chosen.confs.get(index)
        if known is None:
            before = conf_at(chosen.confs, index)
            chosen.confs[index] = conf
            self._count_conf(before, conf)
        elif known != conf:
            self.fail(
                MEMBERSHIP,
                f"group {gid}, node {node} has {conf} at entry {index}, others have {known}",
            )

    def _count_conf(self, before: ConfState | None, conf: ConfState) -> None:
        self.count["membership changes"] += 1
        if before is None:
            return
        if conf.voters_outgoing and not before.voters_outgoing:
            self.count["joint entered"] += 1
        if before.voters_outgoing and not conf.voters_outgoing:
            self.count["joint left"] += 1
        if set(before.learners) & set(conf.voters):
            self.count["learners promoted"] += 1

    # -------------------------------------------------------------- the machine
    def on_applied(self, node: NodeId, gid: GroupId, applied: Applied) -> None:
        """Compare one applied command with what others applied there."""
        chosen = self.chosen(gid)
        known = chosen.applied.get(applied.index)
        if known is not None:
            if known != applied.chain:
                self.fail(
                    STATE_MACHINE_SAFETY,
                    f"group {gid}, node {node}, entry {applied.index}: another state than others "
                    "had there",
                )
            return
        chosen.applied[applied.index] = applied.chain
        index, stamp = chosen.last_stamp
        if applied.index > index:
            if applied.at < stamp:
                self.fail(STAMPS, f"group {gid}, entry {applied.index}: {applied.at} after {stamp}")
            chosen.last_stamp = (applied.index, applied.at)
        if applied.effect:
            first = chosen.effects.setdefault((applied.client, applied.number), applied.index)
            if first != applied.index:
                self.fail(
                    ONCE,
                    f"group {gid}: command {applied.number} of client {applied.client} took effect "
                    f"at {first} and {applied.index}",
                )

    # -------------------------------------------------------------- now and then
    def compare(self, gid: GroupId, members: Mapping[NodeId, Group]) -> None:
        """Compare the members of a group with each other, between two events."""
        for node, group in members.items():
            raw = group.raw
            commit = raw.commit
            if commit == 0 or raw.applied != commit:
                continue
            term = self.chosen(gid).committed.get(commit)
            if term is None:
                continue
            conf = raw.conf
            holders = self._holders(gid, conf, commit, term)
            if _could_decide_without(holders, conf.voters) and (
                not conf.voters_outgoing or _could_decide_without(holders, conf.voters_outgoing)
            ):
                self.fail(
                    QUORUM_LOG,
                    f"group {gid}: entry {commit} of term {term}, committed on node {node}, is "
                    f"only on {sorted(holders)} of {conf.voters} {conf.voters_outgoing}",
                )
            own = _end(group)
            for other, other_group in members.items():
                knows = other_group.raw.commit > 0 and _end(other_group) >= own
                if knows and not has(other_group, commit, term):
                    self.fail(
                        UP_TO_DATE,
                        f"group {gid}: node {other} ends later than node {node}, without its "
                        f"committed entry {commit} of term {term}",
                    )

    def acknowledged(self, gid: GroupId, client: int, number: int, index: Index) -> None:
        """Compare an answer that a client got with where the command took effect."""
        effect = self.chosen(gid).effects.get((client, number))
        if effect != index:
            self.fail(
                ONCE,
                f"group {gid}: client {client} was told that command {number} took effect at "
                f"{index}; it did at {effect}",
            )


def _last_applied(applied: Mapping[Index, bytes], index: Index) -> Index:
    """Return the last place up to ``index`` where a command was applied."""
    while index > 0 and index not in applied:
        index = Index(index - 1)
    return index


def _could_decide_without(holders: Collection[NodeId], voters: Sequence[NodeId]) -> bool:
    return 2 * sum(voter not in holders for voter in voters) > len(voters)


def _end(group: Group) -> tuple[Term, Index]:
    log = group.raw._core.log  # noqa: SLF001  # the watcher looks inside
    return log.last_term, log.last
