"""The loop: frames and ticks in, one drain in a fixed order, answers out.

Owns every group of a process and the order in which disk, wire and machines are served. Runs in
one event loop and holds no lock. The rules it keeps, both in `Host._round`: disk before wire for
whatever vouches for something, and one sync for all groups; and every caller gets an outcome.

Errors of a peer cost it its connection. Any other error that comes out of a step, be it the disk's,
damaged data or a broken invariant of a machine or a callback, stops the whole host: `on_failure` is
told, and everyone who waits gets an error.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from raftoral.errors import (
    LimitExceeded,
    NodeStopped,
    NotLeader,
    PeerError,
    ProposalDropped,
    RaftoralError,
    Unavailable,
    UsageError,
)
from raftoral.groups.clock import PeerClocks
from raftoral.groups.config import HostConfig
from raftoral.groups.group import Group, GroupView
from raftoral.groups.proposals import (
    COMMAND_BYTES_MAX,
    Answers,
    Forwarded,
    Proposal,
    answer_frame,
    request_of,
    telling,
    unknown_after_removal,
)
from raftoral.groups.reads import Reads
from raftoral.groups.router import Router
from raftoral.groups.snapshots import Snapshots
from raftoral.ids import NOBODY, GroupId, Index, Millis, NodeId, Term
from raftoral.raft.config import Config
from raftoral.raft.messages import EntryKind
from raftoral.raft.node import RawNode
from raftoral.transport.frame import Frame, Kind, fields_of, frame_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from raftoral.groups.clock import Clock
    from raftoral.groups.proposals import Waiting
    from raftoral.machines.base import Event, Result, StateMachine
    from raftoral.raft.messages import ConfChange, Message, SnapshotMeta
    from raftoral.raft.node import Ready
    from raftoral.raft.trace import Tracer
    from raftoral.storage.base import NodeStore
    from raftoral.transport.base import Transport

ROUNDS_MAX: Final = 4
"""Rounds of one drain before the sockets get their turn again."""

log = logging.getLogger(__name__)


def _too_large(command: bytes) -> LimitExceeded:
    return LimitExceeded(
        f"a command of {len(command):,} bytes; at most {COMMAND_BYTES_MAX:,} are taken"
    )


def _ignore(*_arguments: object) -> None:
    """Stand for a callback that nobody set."""


class Host:
    """All groups of one node; every method is called in the node's event loop."""

    def __init__(
        self,
        node: NodeId,
        store: NodeStore,
        transport: Transport,
        clock: Clock,
        chance: Callable[[int], int],
        config: HostConfig = HostConfig(),  # noqa: B008  # it is frozen
    ) -> None:
        """``chance(n)`` gives 0..n-1. The transport's callbacks are taken over."""
        self.node = node
        self.config = config
        self.groups: dict[GroupId, Group] = {}
        self.on_applied: Callable[[GroupId, Index, list[Event]], None] = _ignore
        """After each drain that applied: up to which index, and all that happened, in order."""
        self.on_leadership: Callable[[GroupId, bool], None] = _ignore
        """True once this node leads and has applied all that was committed before; then False."""
        self.on_snapshot: Callable[[GroupId, Index], None] = _ignore
        """The group's state was replaced by a snapshot at this index: events were skipped."""
        self.on_peer_lost: Callable[[NodeId], None] = _ignore
        """The connection to a peer is lost; what was on its way may be."""
        self.on_failure: Callable[[BaseException], None] = _ignore
        """The host has stopped because of this; told once."""
        self.members_of: Callable[[GroupId], Sequence[NodeId]] = lambda _group: ()
        """Who has a group that is not here; set by whoever reads group 0."""
        self.tracer_of: Callable[[GroupId], Tracer | None] = lambda _group: None
        """Who hears the steps of a group that is added from now on."""
        self.peer_clocks = PeerClocks(clock)
        self.router = Router(node, transport)
        self.clock_is_off = False
        """Whether this node's wall clock keeps it from leading."""
        self.slow_syncs = 0
        """How many syncs took longer than half an election timeout."""
        self._store = store
        self._transport = transport
        self._clock = clock
        self._chance = chance
        self._slow_sync_seconds = config.election_seconds / 2
        self._nonce = b"".join(chance(256).to_bytes(1, "big") for _ in range(8))
        self._answers = Answers()
        self._forwarded = Forwarded()
        self._away: dict[GroupId, list[Proposal]] = {}
        self._hints: dict[GroupId, NodeId] = {}
        self._snapshots = Snapshots(
            transport,
            clock.monotonic,
            self._later,
            config.snapshot_stall_ms / 1_000,
            config.snapshot_bytes_per_s,
            first_transfer=int.from_bytes(self._nonce[:6], "big"),
        )
        self._reigning: set[GroupId] = set()
        self._scheduled = False
        self._news_due = False
        self._stopped: BaseException | None = None
        self._ticks = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        transport.on_frame = self.deliver
        transport.on_read = self._on_read
        transport.on_peer_up = self._peer_up
        transport.on_peer_down = self._peer_down

    # -------------------------------------------------------------- life
    def start(self) -> None:
        """Begin to tick by the event loop; a simulator calls `tick` itself instead."""
        self._timer = asyncio.get_running_loop().call_later(
            self.config.tick_ms / 1_000, self._on_timer
        )

    def stop(self) -> None:
        """Drive nothing any more; everyone who waits gets `NodeStopped`. The store stays open."""
        self._halt(NodeStopped("this node was stopped"))

    def add_group(
        self, gid: GroupId, machine: StateMachine, *, bootstrap: SnapshotMeta | None = None
    ) -> Group:
        """Drive a group from now on, from what is stored of it; return it.

        ``bootstrap`` begins a group that is not stored yet, equal on each of its first members. Its
        index is at least 1, so that whoever joins later needs a snapshot and gets the state and the
        membership with it.
        """
        if gid in self.groups:
            raise UsageError(f"group {gid} is here already")
        store = self._store.group(gid)
        if bootstrap is not None and store.last_index() == 0:
            if bootstrap.index < 1:
                raise UsageError("a group begins behind index 1 or later")
            store.bootstrap(bootstrap)
            self._store.flush(sync=True)
        config = Config(
            id=self.node,
            election_ticks=self.config.election_ticks,
            heartbeat_ticks=self.config.heartbeat_ticks,
            chance=self._chance,
            message_bytes_max=self.config.message_bytes_max,
            uncommitted_bytes_max=self.config.uncommitted_bytes_max,
            pre_vote=self.config.pre_vote,
            trace=self.tracer_of(gid),
        )
        raw = RawNode(config, store, store.applied)
        raw.may_lead = not self.clock_is_off
        group = Group(
            gid,
            raw,
            store,
            machine,
            clock=self._clock,
            peer_clocks=self.peer_clocks,
            reads=Reads(self._nonce),
        )
        self.groups[gid] = group
        self.schedule()
        return group

    def remove_group(self, gid: GroupId, *, forget: bool = False) -> None:
        """Drive a group no more; with ``forget``, remove what is stored of it."""
        group = self.groups.pop(gid)
        self._snapshots.group_removed(group)
        self._reigning.discard(gid)
        group.fail_all(NotLeader(group.leader or None), unknown_after_removal())
        if forget:
            self._store.drop(gid)

    def _the_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop of the node; asking asyncio costs a system call each time."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        return loop

    # -------------------------------------------------------------- in: frames
    def deliver(self, sender: NodeId, frame: Frame) -> None:
        """Take a frame of a peer; what it leads to is done when all of the read was taken.

        Raises `PeerError` if no correct peer can have sent it.
        """
        if self._stopped is not None:
            return
        self.peer_clocks.heard(sender)
        try:
            if frame.kind is Kind.RAFT:
                self.router.deliver(sender, frame, self.groups)
            else:
                self._take(sender, frame)
        except PeerError:
            raise
        except BaseException as error:
            self._fail(error)

    def _on_read(self) -> None:
        """Drain in the turn that read, unless it would sync and more is there: one serves all."""
        if self._scheduled:
            return
        for group in self.groups.values():
            if group.raw.must_sync:
                if self._transport.has_more():
                    return
                break
        self.drain()

    def _take(self, sender: NodeId, frame: Frame) -> None:
        kind = frame.kind
        if kind is Kind.PROPOSE:
            self._on_propose(sender, frame)
        elif kind is Kind.PROPOSED:
            self._on_proposed(sender, frame)
        elif kind is Kind.APPLIED:
            self._forwarded.on_applied(sender, frame)
        elif kind is Kind.BEAT:
            (wall,) = fields_of(frame, int)
            self.peer_clocks.told(sender, Millis(wall))
        elif kind is Kind.SNAPSHOT:
            if (group := self.groups.get(frame.group)) is not None:
                self._snapshots.on_part(group, sender, frame)
        elif kind is Kind.SNAPSHOT_ACK:
            self._snapshots.on_ack(sender, frame)
        else:
            raise PeerError(f"the peer sent a {kind.name} frame, which no node takes")

    def _peer_up(self, node: NodeId, wall: Millis) -> None:
        self.peer_clocks.heard(node)
        self.peer_clocks.told(node, wall)
        self._snapshots.peer_back(node)
        self.schedule()

    def _peer_down(self, node: NodeId) -> None:
        """Nothing that was sent to it is waited for any longer; snapshots may go on later."""
        if self._stopped is not None:
            return
        self.peer_clocks.lost(node)
        self._forwarded.peer_lost(node)
        for group in self.groups.values():
            group.raw.report_unreachable(node)
        self.on_peer_lost(node)
        self.schedule()

    # -------------------------------------------------------------- in: time
    def tick(self) -> None:
        """Let one tick of time pass for every group."""
        if self._stopped is not None:
            return
        try:
            self._tick()
            self.drain()
            # What was applied since the last sync rides along with the next one; not too long.
            self._store.flush(sync=False)
        except BaseException as error:
            self._fail(error)

    def _tick(self) -> None:
        self._ticks += 1
        for group in self.groups.values():
            group.raw.tick()
        if self._ticks % self.config.heartbeat_ticks == 0:
            self._beat()
        now = self._clock.monotonic()
        self._forwarded.expire(now)
        for group in self.groups.values():
            group.expire(now)
            group.compact(self.config, self._snapshots.needed(group))
        self._snapshots.tick()

    def _on_timer(self) -> None:
        self.start()
        self.tick()

    def _later(self, seconds: float, work: Callable[[], None]) -> None:
        """Do a piece of work in a while, and what it leads to."""
        asyncio.get_running_loop().call_later(seconds, self._now, work)

    def _now(self, work: Callable[[], None]) -> None:
        if self._stopped is None:
            try:
                work()
            except Exception as error:
                self._fail(error)
            self.schedule()

    def _beat(self) -> None:
        """Tell the peers our time, look at theirs, and hang up on the silent."""
        beat = frame_of(Kind.BEAT, self._clock.wall())
        for node in self._transport.connected():
            if self.peer_clocks.seconds_since(node) * 1_000 > self.config.silence_max_ms:
                self._transport.hang_up(node)
            else:
                self._transport.send(node, beat)
        off_by = self.peer_clocks.off_by()
        is_off = abs(off_by) > self.config.clock_off_max_ms
        if is_off != self.clock_is_off:
            self.clock_is_off = is_off
            if is_off:
                log.warning("this node's clock is %d ms off; it does not lead", -off_by)
            for group in self.groups.values():
                group.raw.may_lead = not is_off
        if is_off:
            for gid in self.groups:
                self.step_aside(gid)

    # -------------------------------------------------------------- the drain
    def schedule(self) -> None:
        """Ask for one drain after everything that this turn of the loop reads."""
        if not self._scheduled and self._stopped is None:
            self._scheduled = True
            self._the_loop().call_soon(self._scheduled_drain)

    def _scheduled_drain(self) -> None:
        self._scheduled = False
        self.drain()

    def drain(self) -> None:
        """Do all that the cores want done, a few rounds at most, the rest soon.

        A commit index that no entries carry waits for the next drain, except for peers that wait
        for it: the callers that it answers often have the next entries by then, which carry it.
        """
        news, self._news_due = self._news_due, False
        # What callers ask for meanwhile is done by the next round.
        scheduled, self._scheduled = self._scheduled, True
        rounds = 0
        try:
            while (
                rounds < ROUNDS_MAX and self._stopped is None and (work := self._ready(news=news))
            ):
                self._round(work)
                rounds += 1
            self._transport.flush()
        except BaseException as error:
            # Whatever it is, a drain that ends half-way leaves disk and memory apart.
            self._fail(error)
        self._scheduled = scheduled
        if rounds == ROUNDS_MAX:
            self.schedule()
        for group in self.groups.values():
            if group.raw.has_news:
                self._news_due = True
                self.schedule()

    def _ready(self, *, news: bool) -> list[tuple[Group, Ready]]:
        """Take what each group wants done, what was proposed and asked here included."""
        work = []
        for group in self.groups.values():
            if group.queue:
                self._admit(group)
            raw = group.raw
            if group.reads.asked:
                group.reads.send(raw.read_index)
            if group.askers:
                group.tell_askers()
            if raw.has_ready(news=news):
                work.append((group, raw.ready(news=news)))
        if self._away:
            away, self._away = self._away, {}
            for gid, queue in away.items():
                self._forward(gid, self._member_of(gid), queue, wants_result=True)
        return work

    def _round(self, work: list[tuple[Group, Ready]]) -> None:
        """Go once through the fixed order."""
        must_sync = False
        # A leader's appends leave before its own sync: it does not count itself until `advance`.
        for group, ready in work:
            if ready.messages:
                self._post(group, ready.messages)
        self._send()
        for group, ready in work:
            group.append(ready)
            must_sync = must_sync or ready.must_sync
        # Disk before wire: votes and acknowledgements leave only once what they vouch for would
        # survive a crash. One sync serves all groups.
        if must_sync:
            self._sync()
        for group, ready in work:
            if ready.messages_after_sync:
                self._post(group, ready.messages_after_sync)
        self._send()
        for group, ready in work:
            group.advance(ready)
        for group, ready in work:
            self._report(group, ready)
        if self._answers.due:
            for origin, frame in self._answers.frames():
                self._transport.send(origin, frame)

    def _admit(self, group: Group) -> None:
        """Put what was proposed here to a group on its way."""
        if group.raw.is_leader:
            group.admit()
            return
        queue, group.queue = group.queue, []
        if group.is_member:
            self._forward(group.gid, group.leader, queue, wants_result=False)
        else:
            # Its log may never hold what it proposes, nor know who leads.
            self._away.setdefault(group.gid, []).extend(queue)

    def _post(self, group: Group, messages: list[Message]) -> None:
        for offer in self.router.post(group.gid, messages):
            self._snapshots.begin(group, offer)

    def _send(self) -> None:
        """Write what was posted. Nothing that waits for a later step may be posted yet."""
        if self.router.has_queued:
            for gid, node in self.router.send():
                if (group := self.groups.get(gid)) is not None:
                    group.raw.report_unreachable(node)
            self._transport.flush()

    def _sync(self) -> None:
        """Make everything buffered survive a crash; a node that is slow at it hands over.

        Seldom, because where all disks are slow, leaders that step aside at once commit nothing.
        """
        self._store.flush(sync=True)
        if self._store.sync_seconds > self._slow_sync_seconds:
            self.slow_syncs += 1
            log.warning("a sync took %.0f ms", self._store.sync_seconds * 1_000)
            now = self._clock.monotonic()
            for gid, group in self.groups.items():
                if group.may_hand_over(now, self.config) and self.step_aside(gid):
                    group.handed_over = now

    def _report(self, group: Group, ready: Ready) -> None:
        """Answer the callers and tell the layers above what happened to a group."""
        gid = group.gid
        if ready.snapshot is not None:
            self.on_snapshot(gid, ready.snapshot.meta.index)
        changed = group.reigns != (gid in self._reigning)
        if changed and not group.reigns:
            self._reigning.discard(gid)
            self.on_leadership(gid, False)  # the callback's only meaning
        events = group.resolve()
        if ready.committed:
            self.on_applied(gid, ready.committed[-1].index, events)
        if changed and group.reigns:
            self._reigning.add(gid)
            self.on_leadership(gid, True)

    # -------------------------------------------------------------- proposals
    async def propose(self, gid: GroupId, command: bytes, timeout: float) -> Result:
        """Have a command applied and return the machine's answer, from any node.

        ``timeout`` is in seconds. Finding no leader is tried again until then and ends in
        `NotLeader` or `ProposalDropped`: the command is in no log. `ProposalUnknown` says that it
        may or may not take effect. `LimitExceeded` above 512 KiB.
        """
        return await self._propose(gid, EntryKind.NORMAL, command, timeout)

    async def propose_conf_change(
        self, gid: GroupId, change: ConfChange, timeout: float = 10.0
    ) -> Result:
        """Change a group's membership, from any node; ``["ok"]`` once it is in force.

        Raises like `propose`, and `UsageError` for a change that cannot be made.
        """
        return await self._propose(gid, EntryKind.CONF, change.encode(), timeout)

    async def _propose(
        self, gid: GroupId, kind: EntryKind, payload: bytes, timeout: float
    ) -> Result:
        if len(payload) > COMMAND_BYTES_MAX:
            raise _too_large(payload)
        deadline = self._clock.monotonic() + timeout
        pause_ms = self.config.retry_first_ms
        while True:
            try:
                return await self._submit(gid, kind, payload, deadline)
            except (NotLeader, ProposalDropped):
                # Jitter, so that those who wait for an election do not come all at once.
                wait = (pause_ms + self._chance(pause_ms)) / 1_000
                if self._clock.monotonic() + wait >= deadline:
                    raise
            await asyncio.sleep(wait)
            pause_ms = min(2 * pause_ms, self.config.retry_max_ms)

    def _submit(
        self, gid: GroupId, kind: EntryKind, payload: bytes, deadline: float
    ) -> asyncio.Future[Result]:
        """Queue a proposal for the next drain; return its outcome."""
        if self._stopped is not None:
            raise NodeStopped("this node was stopped")
        outcome: asyncio.Future[Result] = self._the_loop().create_future()
        self._queue(gid, Proposal(kind, payload, deadline, telling(outcome)))
        return outcome

    def submit(
        self,
        gid: GroupId,
        command: bytes,
        timeout: float,
        tell: Callable[[Result | RaftoralError], None],
    ) -> None:
        """Propose once, without a task: ``tell`` gets the machine's answer or the error.

        It is called within a drain, or at once if the proposal cannot be made, and must not fail.
        Nothing is tried again: `NotLeader` and `ProposalDropped` say that it is in no log.
        """
        if self._stopped is not None:
            tell(NodeStopped("this node was stopped"))
        elif len(command) > COMMAND_BYTES_MAX:
            tell(_too_large(command))
        else:
            deadline = self._clock.monotonic() + timeout
            self._queue(gid, Proposal(EntryKind.NORMAL, command, deadline, tell))

    def _queue(self, gid: GroupId, proposal: Proposal) -> None:
        group = self.groups.get(gid)
        if group is not None:
            group.queue.append(proposal)
        else:
            self._away.setdefault(gid, []).append(proposal)
        self.schedule()

    def _forward(
        self, gid: GroupId, to: NodeId, queue: list[Proposal], *, wants_result: bool
    ) -> None:
        """Ask another node to append proposals; what cannot leave is safe to repeat."""
        if to in (NOBODY, self.node):
            for proposal in queue:
                proposal.fail(NotLeader(None))
            return
        for frame in self._forwarded.frames(gid, to, queue, wants_result=wants_result):
            if not self._transport.send(to, frame):
                self._forwarded.not_sent(frame, NotLeader(to))

    def _member_of(self, gid: GroupId) -> NodeId:
        """Return who may lead a group that is not here: the last hint, or any connected member."""
        connected = self._transport.connected()
        hint = self._hints.pop(gid, NOBODY)
        if hint in connected:
            return hint
        members = [node for node in self.members_of(gid) if node in connected]
        return members[self._chance(len(members))] if members else NOBODY

    def _on_propose(self, sender: NodeId, frame: Frame) -> None:
        """Append what another node proposes and say at once where it stands."""
        request = request_of(frame)
        group = self.groups.get(frame.group)
        if group is None:
            answer = answer_frame(frame.group, request, 0, Index(0), Term(0), NotLeader(None))
        else:

            def waiting(number: int) -> Waiting:
                return self._answers.waiting(sender, number)

            taken = group.admit_request(request, waiting)
            if taken[0]:
                group.askers[sender] = Index(taken[1] + taken[0] - 1)
            answer = answer_frame(frame.group, request, *taken)
        self._transport.send(sender, answer)

    def _on_proposed(self, sender: NodeId, frame: Frame) -> None:
        """Wait for what was appended; learn who leads from what was not."""
        group = self.groups.get(frame.group)
        is_member = group is not None and group.is_member
        appended = self._forwarded.on_proposed(sender, frame, is_member=is_member)
        if group is None or not is_member:
            _, taken, _, _, _, _, leader, _ = frame.body
            self._hints[frame.group] = sender if taken else NodeId(leader)
            return
        for proposal, index, term in appended:
            group.wait_for(index, term, proposal)

    # -------------------------------------------------------------- reads
    async def read_barrier(self, gid: GroupId, timeout: float) -> None:
        """Return once this member has applied all that was committed when it was called.

        Raises `Unavailable` if the group is not here or no quorum answers within ``timeout``
        seconds.
        """
        deadline = self._clock.monotonic() + timeout
        while self._stopped is None:
            group = self.groups.get(gid)
            if group is None:
                raise Unavailable(f"group {gid} is not on this node; ask one of its members")
            answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            group.reads.ask(answer)
            self.schedule()
            rest = deadline - self._clock.monotonic()
            pause = self.config.retry_first_ms / 1_000
            try:
                # A question may be lost with a leader; so ask again after an election's time.
                return await asyncio.wait_for(answer, min(rest, self.config.election_seconds))
            except NotLeader:
                if rest <= pause:
                    raise
                await asyncio.sleep(pause)
            except TimeoutError:
                if rest <= self.config.election_seconds:
                    raise Unavailable("no quorum answered in time; try again") from None
        raise NodeStopped("this node was stopped")

    # -------------------------------------------------------------- leadership
    def transfer_leadership(self, gid: GroupId, to: NodeId) -> None:
        """Ask the group's leader to hand over to ``to``; `NotLeader` if none is known."""
        self.groups[gid].raw.transfer_leadership(to)
        self.schedule()

    def step_aside(self, gid: GroupId) -> bool:
        """Hand over leadership to the best prepared voter; False without it or without one."""
        group = self.groups[gid]
        if not group.raw.is_leader or (heir := group.successor()) == NOBODY:
            return False
        group.raw.transfer_leadership(heir)
        self.schedule()
        return True

    # -------------------------------------------------------------- views
    def view(self, gid: GroupId) -> GroupView:
        """Return one group as this member sees it; `KeyError` if it is not here."""
        return self.groups[gid].view()

    def stamp_now(self, gid: GroupId) -> Millis:
        """Return the group's time as this member can best tell."""
        return self.groups[gid].clock.now()

    def heard(self, node: NodeId) -> float:
        """Return the seconds since anything came from ``node``; infinite if nothing ever did."""
        return self.peer_clocks.seconds_since(node)

    def clock_offsets(self) -> dict[NodeId, int]:
        """Return by how many milliseconds each connected peer's wall clock is ahead of ours."""
        return self.peer_clocks.offsets()

    # -------------------------------------------------------------- the end
    def _fail(self, error: BaseException) -> None:
        """Stop because going on could lose or invent data; who ends the process goes on with it."""
        if self._stopped is None:
            # A typed error says it all; anything else is a bug, and then the place matters.
            trace = None if isinstance(error, RaftoralError) else error
            log.critical("the node stops: %s", error, exc_info=trace)
            self._halt(error)
            self.on_failure(error)
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise error

    def _halt(self, why: BaseException) -> None:
        if self._stopped is not None:
            return
        self._stopped = why
        if self._timer is not None:
            self._timer.cancel()
        self._snapshots.close()
        stopped = NodeStopped("this node was stopped; what was proposed may or may not take effect")
        for group in self.groups.values():
            group.fail_all(stopped, stopped)
        for queue in self._away.values():
            for proposal in queue:
                proposal.fail(stopped)
        self._away.clear()
        self._forwarded.fail_all(stopped)
