"""The wire inside one process: for tests, the REPL and clusters of one process.

Owns who is connected to whom. The rules are those of `base`, and every frame goes through the real
encoder and decoder, so that what cannot travel fails here too. Frames arrive in a later turn of
the event loop, in order. ``MemoryNetwork`` can cut pairs and lose chosen frames.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from raftoral.errors import Unavailable
from raftoral.ids import NOBODY, Millis, NodeId
from raftoral.transport.frame import Decoder, Frame, Kind, encode
from raftoral.transport.rpc import Rpc

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from raftoral.transport.base import Handler, Local
    from raftoral.values import Value


class MemoryNetwork:
    """The transports of one process, by address."""

    def __init__(self, wall: Callable[[], Millis] = lambda: Millis(0)) -> None:
        self.wall = wall
        self.loses: Callable[[NodeId, NodeId, Frame], bool] = lambda _sender, _to, _frame: False
        self._at: dict[str, MemoryTransport] = {}
        self._cut: set[frozenset[NodeId]] = set()

    def transport(self, local: Local, address: str) -> MemoryTransport:
        """Return a started transport that others reach at ``address``."""
        transport = MemoryTransport(self, local, address)
        self._at[address] = transport
        self.connect_all()
        return transport

    def remove(self, transport: MemoryTransport) -> None:
        """Take a transport off the network."""
        if self._at.get(transport.address) is transport:
            del self._at[transport.address]

    def at(self, address: str) -> MemoryTransport | None:
        """Return who listens at ``address``."""
        return self._at.get(address)

    def cut(self, one: NodeId, other: NodeId) -> None:
        """Break the connection of a pair and keep it broken."""
        self._cut.add(frozenset((one, other)))
        for transport in list(self._at.values()):
            if transport.local.node in (one, other):
                transport.hang_up(other if transport.local.node == one else one)

    def heal(self) -> None:
        """Let every pair connect again."""
        self._cut.clear()
        self.connect_all()

    def connect_all(self) -> None:
        """Connect every pair that knows each other's addresses and is not cut."""
        members = sorted(self._at.values(), key=lambda transport: transport.local.node)
        for low in members:
            for high in members:
                pair = frozenset((low.local.node, high.local.node))
                if (
                    NOBODY < low.local.node < high.local.node
                    and high.peers.get(low.local.node) == low.address
                    and low.local.cluster == high.local.cluster
                    and pair not in self._cut
                ):
                    _connect(low, high)


class MemoryTransport:
    """`base.Transport` by method calls."""

    def __init__(self, network: MemoryNetwork, local: Local, address: str) -> None:
        self.on_frame: Callable[[NodeId, Frame], None] = lambda _sender, _frame: None
        self.on_read: Callable[[], None] = lambda: None
        self.on_peer_up: Callable[[NodeId, Millis], None] = lambda _node, _wall: None
        self.on_peer_down: Callable[[NodeId], None] = lambda _node: None
        self.address = address
        self.peers: dict[NodeId, str] = {}
        self.rpc = Rpc()
        self.network = network
        self._local = local
        self.links: dict[NodeId, MemoryLink] = {}

    async def start(self) -> None:
        """Nothing to do; there so that transports are interchangeable."""

    async def close(self) -> None:
        """Leave the network; calls that wait end with an error."""
        self.network.remove(self)
        await self.rpc.close()
        for node in list(self.links):
            self.hang_up(node)

    @property
    def local(self) -> Local:
        """What this node says of itself."""
        return self._local

    def become(self, local: Local) -> None:
        """Take the id and the cluster that a joiner was given."""
        for node in list(self.links):
            self.hang_up(node)
        self._local = local
        self.network.connect_all()

    def send(self, to: NodeId, frame: Frame) -> bool:
        """Queue a frame; see `base.Transport`."""
        link = self.links.get(to)
        return link is not None and link.send(frame)

    def set_bulk(self, peers: Collection[NodeId]) -> None:
        """Everything shares one queue here."""

    def bulk(self, node: NodeId) -> MemoryLink | None:
        """Return the one connection with ``node``."""
        return self.links.get(node)

    def flush(self) -> None:
        """Let everything queued travel."""
        for link in list(self.links.values()):
            link.flush()

    def has_more(self) -> bool:
        """Return False: what arrives in one turn is read by itself."""
        return False

    def set_peers(self, peers: Mapping[NodeId, str]) -> None:
        """Say who else is in the cluster and where."""
        gone = self.peers.keys() - peers.keys()
        self.peers = {node: at for node, at in peers.items() if node != self._local.node}
        for node in gone:
            self.hang_up(node)
        self.network.connect_all()

    def connected(self) -> list[NodeId]:
        """Return the peers that can be sent to, ascending."""
        return sorted(self.links)

    def hang_up(self, node: NodeId) -> None:
        """Close the connection to a peer, at both ends."""
        if (link := self.links.pop(node, None)) is not None:
            self.rpc.link_lost(link)
            link.far.links.pop(self._local.node, None)
            link.far.rpc.link_lost(link.back)
            self.on_peer_down(node)
            link.far.on_peer_down(self._local.node)

    def serve(self, method: str, handler: Handler, *, open_to_strangers: bool = False) -> None:
        """Answer calls of ``method``."""
        self.rpc.serve(method, handler, open_to_strangers=open_to_strangers)

    async def call(self, target: NodeId | str, method: str, body: Value, timeout: float) -> Value:
        """Ask a node by id or by address; see `base.Transport`."""
        link: MemoryLink | None
        if target == self._local.node:
            return await self.rpc.call_here(self._local.node, method, body, timeout)
        if isinstance(target, str):
            far = self.network.at(target)
            link = _pair(self, far, NOBODY)[0] if far is not None else None
        else:
            link = self.links.get(target)
        if link is None:
            raise Unavailable(f"{target} is not connected; try again")
        return await self.rpc.call(link, method, body, timeout)


class MemoryLink:
    """One end of a connection; ``back`` is the other end."""

    back: MemoryLink
    certified = ""

    def __init__(self, near: MemoryTransport, far: MemoryTransport, peer: NodeId) -> None:
        self.near = near
        self.far = far
        self.peer = peer
        self._queue: list[bytes] = []
        self._decoder = Decoder()

    def send(self, frame: Frame) -> bool:
        """Queue a frame; one that the network loses counts as sent."""
        if not self.near.network.loses(self.near.local.node, self.peer, frame):
            self._queue.append(encode(frame))
        return True

    def flush(self) -> None:
        """Deliver in the next turn of the loop."""
        if self._queue:
            queue, self._queue = self._queue, []
            asyncio.get_running_loop().call_soon(self.back.arrive, b"".join(queue))

    def arrive(self, data: bytes) -> None:
        """Take in what the other end wrote, unless the connection broke meanwhile."""
        if self.peer != NOBODY and self.near.links.get(self.peer) is not self:
            return
        self._decoder.receive(data)
        while (frame := self._decoder.next_frame()) is not None:
            if frame.kind is Kind.REQUEST:
                self.near.rpc.on_request(self, frame)
            elif frame.kind is Kind.REPLY:
                self.near.rpc.on_reply(frame)
            else:
                self.near.on_frame(self.peer, frame)
        self.near.on_read()


def _pair(
    near: MemoryTransport, far: MemoryTransport, near_is: NodeId
) -> tuple[MemoryLink, MemoryLink]:
    """Return both ends of a new connection; ``near_is`` 0 makes the near end a stranger."""
    there = MemoryLink(near, far, far.local.node if near_is else NOBODY)
    back = MemoryLink(far, near, near_is)
    there.back, back.back = back, there
    return there, back


def _connect(low: MemoryTransport, high: MemoryTransport) -> None:
    if high.local.node in low.links:
        return
    there, back = _pair(low, high, low.local.node)
    low.links[high.local.node], high.links[low.local.node] = there, back
    wall = low.network.wall()
    low.on_peer_up(high.local.node, wall)
    high.on_peer_up(low.local.node, wall)
