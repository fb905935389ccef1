"""A network that loses, delays, doubles, reorders, cuts, clogs and hangs up.

Owns the connections between simulated nodes. The promises are those of `transport.base`: nothing
of an old connection arrives on a newer one, and a loss of a connection is told before the next one.
Beyond what TCP would do, single frames are lost on living connections, and frames of Raft and
beats, which promise nothing, arrive twice and out of order; all others stay in order.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final

from raftoral.errors import PeerError, Unavailable
from raftoral.ids import NodeId
from raftoral.sim.faults import CALM
from raftoral.transport.frame import Decoder, Frame, Kind, encode
from raftoral.transport.rpc import Rpc

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Collection, Mapping
    from random import Random

    from raftoral.ids import Millis
    from raftoral.sim.clock import Events, ProcessClock, ProcessLoop
    from raftoral.sim.faults import Faults
    from raftoral.transport.base import Handler, Local
    from raftoral.values import Value

SHORTEST_DELAY: Final = 0.0002
DIAL_SECONDS: Final = 0.2
MORE_TO_READ: Final = 0.3
"""How often a process finds more to read behind the frames of a read, and reads that first."""
_UNORDERED: Final = frozenset({Kind.RAFT, Kind.BEAT})


class Link:
    """One end of a connection, as its process sees it."""

    __slots__ = ("back", "near", "out", "peer", "quiet_from")

    def __init__(self, near: SimTransport, peer: NodeId) -> None:
        self.near = near
        self.peer = peer
        self.back: Link
        self.out: list[Frame] = []
        self.quiet_from = 0.0
        """When the last frame that must stay in order arrives."""

    @property
    def is_open(self) -> bool:
        """Whether this end knows of no loss."""
        return self.near.links.get(self.peer) is self

    @property
    def certified(self) -> str:
        """Nobody shows a certificate here."""
        return ""

    def send(self, frame: Frame) -> bool:
        """Queue a frame; False if the connection is lost."""
        return self.is_open and self.near.send(self.peer, frame)

    def flush(self) -> None:
        """Write what is queued."""
        self.near.flush()


class Network:
    """All connections, and what is wrong with the lines."""

    def __init__(
        self,
        events: Events,
        random: Random,
        count: Counter[str],
        *,
        grid_seconds: float,
        wire: bool,
    ) -> None:
        """``wire`` sends every frame through the real encoder and decoder."""
        self._grid = grid_seconds
        self.faults: Faults = CALM
        self.events = events
        self.random = random
        self.count = count
        self.wire = wire
        self.on_arrival: Callable[[NodeId, NodeId, Frame], None] = lambda _from, _to, _frame: None
        self.on_peer_error: Callable[[NodeId, PeerError], None] = lambda _node, _error: None
        self._transports: dict[NodeId, SimTransport] = {}
        self._cut: set[tuple[NodeId, NodeId]] = set()
        self._clogged: dict[tuple[NodeId, NodeId], float] = {}
        self._shaking_hands: set[tuple[NodeId, NodeId]] = set()

    # -------------------------------------------------------------- lines
    def cut(self, sender: NodeId, to: NodeId) -> None:
        """Let nothing pass in one direction."""
        self._cut.add((sender, to))

    def mend(self, pairs: set[tuple[NodeId, NodeId]]) -> None:
        """Let these directions work again."""
        self._cut -= pairs

    def clog(self, sender: NodeId, to: NodeId, seconds: float) -> None:
        """Hold everything back in one direction, and let it all arrive afterwards."""
        self._clogged[sender, to] = self.events.now + seconds

    def heal(self) -> None:
        """Let every line work."""
        self._cut.clear()
        self._clogged.clear()
        self.faults = CALM

    def passes(self, sender: NodeId, to: NodeId) -> bool:
        """Whether anything gets from one node to another."""
        return (sender, to) not in self._cut

    # -------------------------------------------------------------- who is there
    def join(self, transport: SimTransport) -> None:
        """Let a new process be reached."""
        self._transports[transport.local.node] = transport
        self.events.after(0.01 + self.random.random() * DIAL_SECONDS, self._dial, transport)

    def leave(self, transport: SimTransport) -> None:
        """Let a process be gone: its peers hear of it, unless the line is cut."""
        if self._transports.get(transport.local.node) is transport:
            del self._transports[transport.local.node]
        for link in list(transport.links.values()):
            self.hang_up(link)

    def hang_up(self, link: Link) -> None:
        """Close this end; the other one learns of it, if anything gets there."""
        del link.near.links[link.peer]
        link.near.rpc.link_lost(link)
        here = link.near.local.node
        if self.passes(here, link.peer):
            self.events.after(self._delay(), self._lost, link.back)

    def _lost(self, link: Link) -> None:
        if link.is_open:
            del link.near.links[link.peer]
            link.near.rpc.link_lost(link)
            link.near.tell_down(link.peer)

    def _dial(self, dialler: SimTransport) -> None:
        """Connect to every peer that this process has no connection with; again in a while."""
        node = dialler.local.node
        if self._transports.get(node) is not dialler:
            return
        self.events.after(DIAL_SECONDS * (0.75 + self.random.random() / 2), self._dial, dialler)
        for peer in sorted(self._transports):
            # One of a pair dials, so that there is one connection.
            if (
                peer > node
                and peer not in dialler.links
                and (node, peer) not in self._shaking_hands
            ):
                self._shaking_hands.add((node, peer))
                self.events.after(self._delay() + self._delay(), self._connect, dialler, peer)

    def _connect(self, dialler: SimTransport, peer: NodeId) -> None:
        node = dialler.local.node
        self._shaking_hands.discard((node, peer))
        far = self._transports.get(peer)
        if far is None or self._transports.get(node) is not dialler or peer in dialler.links:
            return
        if not (self.passes(node, peer) and self.passes(peer, node)):
            return
        if not (far.loop.answers and dialler.loop.answers):
            return
        if (stale := far.links.get(node)) is not None:
            del far.links[node]
            far.tell_down(node)
            far.rpc.link_lost(stale)
            stale.out.clear()
        there, back = Link(dialler, peer), Link(far, node)
        there.back, back.back = back, there
        dialler.links[peer], far.links[node] = there, back
        self.count["connections"] += 1
        dialler.tell_up(peer, far.clock.wall())
        far.tell_up(node, dialler.clock.wall())

    # -------------------------------------------------------------- frames
    def carry(self, link: Link, frames: list[Frame]) -> None:
        """Take what one process writes to one connection at once."""
        sender, to = link.near.local.node, link.peer
        faults, random = self.faults, self.random
        departs = link.near.loop.time()
        if not self.passes(sender, to):
            self.count["frames cut"] += len(frames)
            return
        in_order: list[Frame] = []
        for frame in frames:
            if faults.loss and random.random() < faults.loss:
                self.count["frames lost"] += 1
                continue
            if frame.kind in _UNORDERED:
                if faults.duplication and random.random() < faults.duplication:
                    self.count["frames doubled"] += 1
                    self.events.at(departs + 5 * self._delay(), self._arrive, link.back, [frame])
                if faults.reorder and random.random() < faults.reorder:
                    self.count["frames reordered"] += 1
                    self.events.at(departs + 10 * self._delay(), self._arrive, link.back, [frame])
                    continue
            in_order.append(frame)
        if not in_order:
            return
        arrival = max(departs + self._delay(), link.quiet_from)
        clogged_until = self._clogged.get((sender, to))
        if clogged_until is not None:
            arrival = max(arrival, clogged_until)
        # On a grid, so that frames of several peers are read in one turn, as they are from sockets.
        arrival = ceil(arrival / self._grid) * self._grid
        link.quiet_from = arrival
        self.events.at(arrival, self._arrive, link.back, in_order)

    def _delay(self) -> float:
        return SHORTEST_DELAY + self.random.expovariate(1_000 / self.faults.delay_ms)

    def _arrive(self, link: Link, frames: list[Frame]) -> None:
        if not link.is_open or not self.passes(link.back.near.local.node, link.near.local.node):
            return
        if self.wire:
            decoder = Decoder()
            decoder.receive(b"".join([encode(frame) for frame in frames]))
            frames = [frame for _ in frames if (frame := decoder.next_frame()) is not None]
        link.near.loop.run_now(self._take, link, frames)

    def _take(self, link: Link, frames: list[Frame]) -> None:
        near, peer = link.near, link.peer
        for frame in frames:
            if near.links.get(peer) is not link:
                break
            self.on_arrival(peer, near.local.node, frame)
            try:
                near.take(link, frame)
            except PeerError as error:
                self.on_peer_error(near.local.node, error)
                near.hang_up(peer)
        near.on_read()


class SimTransport:
    """`transport.base.Transport` of one simulated process."""

    def __init__(
        self, network: Network, local: Local, loop: ProcessLoop, clock: ProcessClock
    ) -> None:
        self.on_frame: Callable[[NodeId, Frame], None] = lambda _sender, _frame: None
        self.on_read: Callable[[], None] = lambda: None
        self.on_peer_up: Callable[[NodeId, Millis], None] = lambda _node, _wall: None
        self.on_peer_down: Callable[[NodeId], None] = lambda _node: None
        self.name_of: Callable[[NodeId], str | None] = lambda _node: None
        self.on_unknown: Callable[[NodeId], None] = lambda _node: None
        self.is_removed: Callable[[NodeId], object] = lambda _node: None
        self.on_expelled: Callable[[], None] = lambda: None
        self.on_step: Callable[[str], None] = lambda _what: None
        """Called before frames leave; it may raise to kill the process."""
        self.local = local
        self.address = f"node{local.node}"
        self.network = network
        self.loop = loop
        self.clock = clock
        self.links: dict[NodeId, Link] = {}
        self.rpc = Rpc()
        self._written: dict[NodeId, Link] = {}

    def has_more(self) -> bool:
        """Find more to read behind some of the reads, and go on with that."""
        more = self.network.random.random() < MORE_TO_READ
        if more:
            self.loop.call_soon(self.on_read)
        return more

    async def start(self) -> None:
        """Nothing to do: `Network.join` does it."""

    async def close(self) -> None:
        """Leave the network."""
        self.network.leave(self)

    def become(self, local: Local) -> None:
        """Take another id; simulated nodes are born with theirs."""
        self.local = local

    def send(self, to: NodeId, frame: Frame) -> bool:
        """Queue a frame; False if there is no connection."""
        link = self.links.get(to)
        if link is None:
            return False
        link.out.append(frame)
        self._written[to] = link
        return True

    def set_bulk(self, peers: Collection[NodeId]) -> None:
        """Everything shares one queue here."""

    def bulk(self, node: NodeId) -> Link | None:
        """Return the one connection with ``node``."""
        return self.links.get(node)

    def flush(self) -> None:
        """Write what is queued."""
        if not self._written:
            return
        self.on_step("send")
        written, self._written = self._written, {}
        for link in written.values():
            if link.is_open and link.out:
                frames, link.out = link.out, []
                self.network.carry(link, frames)

    def set_peers(self, peers: Mapping[NodeId, str]) -> None:
        """Everyone may reach everyone here."""

    def connected(self) -> list[NodeId]:
        """Return the peers that can be sent to, ascending."""
        return sorted(self.links)

    def hang_up(self, node: NodeId) -> None:
        """Close the connection to a peer; both ends hear of it."""
        if (link := self.links.get(node)) is not None:
            self.network.count["hang-ups"] += 1
            self.network.hang_up(link)
            self.on_peer_down(node)

    def tell_up(self, node: NodeId, wall: Millis) -> None:
        """Tell the process of a new connection."""
        self.loop.call_soon(self.on_peer_up, node, wall)

    def tell_down(self, node: NodeId) -> None:
        """Tell the process of a lost one."""
        self.loop.call_soon(self.on_peer_down, node)

    async def call(self, target: NodeId | str, method: str, body: Value, timeout: float) -> Value:
        """Ask a node by its id; see `base.Transport`."""
        if target == self.local.node:
            return await self.rpc.call_here(self.local.node, method, body, timeout)
        link = self.links.get(NodeId(int(target)))
        if link is None:
            raise Unavailable(f"node {target} is not connected; try again")
        return await self.rpc.call(link, method, body, timeout)

    def serve(self, method: str, handler: Handler, *, open_to_strangers: bool = False) -> None:
        """Answer calls of ``method``."""
        self.rpc.serve(method, handler, open_to_strangers=open_to_strangers)

    def names_changed(self) -> None:
        """Nobody shows a certificate here."""

    def take(self, link: Link, frame: Frame) -> None:
        """Take what came over a connection."""
        match frame.kind:
            case Kind.REQUEST:
                self.rpc.on_request(link, frame)
            case Kind.REPLY:
                self.rpc.on_reply(frame)
            case _:
                self.on_frame(link.peer, frame)
