"""One listener and one TCP connection a peer, shared by all groups; another one for snapshots.

Owns who is connected, who is let in, and redialling. Never looks into a frame that belongs to a group.
The rules it keeps: of two nodes the one with the higher id dials and both use that connection; the
other one dials only after a while without, for it may be back at an address that nobody knows yet,
and its connection gives way to one that the higher id dialled. A node without an id yet, or one that
calls an address, comes as a stranger (node 0) on a short-lived connection that carries calls only.

While a node sends snapshots to a peer, it dials a second connection, whichever id is higher, that
passes the same checks and carries nothing else, so that no heartbeat stands in line behind a chunk.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import select
from typing import TYPE_CHECKING, Any, Final

from raftoral.errors import PeerError, Unavailable, UsageError
from raftoral.ids import NOBODY, Millis, NodeId
from raftoral.transport.addresses import split_address
from raftoral.transport.base import REMOVED, Handler, Local
from raftoral.transport.connection import HANDSHAKE_TIMEOUT_S, Connection
from raftoral.transport.frame import Frame, Kind, encode
from raftoral.transport.handshake import objection
from raftoral.transport.ports import holder_of
from raftoral.transport.rpc import Rpc

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from raftoral.security.tls import Channel, Tls
    from raftoral.values import Value

CONNECTIONS_MAX: Final = 1_000
REFUSALS_MAX: Final = 1_000
PATIENCE_S: Final = 1.0
"""How long the lower id of a pair waits for the other to dial."""
REDIAL_FIRST_MS: Final = 50
REDIAL_MAX_MS: Final = 1_000

log = logging.getLogger(__name__)


class TcpTransport:
    """`base.Transport` over asyncio; `start` and `close` are called in the node's loop."""

    def __init__(
        self,
        local: Local,
        listen: str,
        *,
        wall: Callable[[], Millis],
        chance: Callable[[int], int],
        tls: Tls | None = None,
    ) -> None:
        """``wall`` reads the machine's clock; ``chance(n)`` gives 0..n-1, for the redial pauses.

        Without ``tls`` all peers talk in the clear, and are who they say they are.
        """
        self.on_frame: Callable[[NodeId, Frame], None] = _ignore
        self.on_read: Callable[[], None] = _ignore
        self.on_peer_up: Callable[[NodeId, Millis], None] = _ignore
        self.on_peer_down: Callable[[NodeId], None] = _ignore
        self.name_of: Callable[[NodeId], str | None] = _ignore
        """Says which node has an id, None if that is not known here; asked with TLS only."""
        self.on_unknown: Callable[[NodeId], None] = _ignore
        """A trusted peer claims an id that nobody is known to have; see `names_changed`."""
        self.is_removed: Callable[[NodeId], object] = _ignore
        """Tells whether the node with this id has left the cluster, so that it is not let in."""
        self.on_expelled: Callable[[], None] = _ignore
        """A peer knows that this node was removed from the cluster."""
        self.refusals: dict[NodeId | str, str] = {}
        self.rpc = Rpc()
        self.wall = wall
        self._local = local
        self._listen = listen
        self._chance = chance
        self._tls = tls
        self._told: set[tuple[NodeId | str, str]] = set()
        self._server: asyncio.Server | None = None
        self._peers: dict[NodeId, str] = {}
        self._dialling: dict[NodeId, asyncio.Task[None]] = {}
        self._open: dict[NodeId, Connection] = {}
        self._bulk_wanted: frozenset[NodeId] = frozenset()
        self._bulk_dialling: dict[NodeId, asyncio.Task[None]] = {}
        self._bulk_out: dict[NodeId, Connection] = {}
        self._bulk_in: dict[NodeId, Connection] = {}
        self._unflushed: set[Connection] = set()
        self._encoded: tuple[Frame | None, bytes] = None, b""
        self._all: set[Connection] = set()
        self._readable = select.poll()
        self._closed = False

    # -------------------------------------------------------------- life
    async def start(self) -> None:
        """Listen; `UsageError` if the address cannot be used."""
        host, port = split_address(self._listen)
        try:
            self._server = await asyncio.get_running_loop().create_server(
                self._answering, host, port
            )
        except OSError as error:
            holder = holder_of(port) if error.errno == errno.EADDRINUSE else None
            why = f"{holder} listens there" if holder else error.strerror or str(error)
            raise UsageError(
                f"cannot listen on {self._listen} for peers: {why}; "
                "choose another address or stop the process that holds it"
            ) from None

    def _answering(self) -> Connection:
        return Connection(self, None, channel=self._tls.answer() if self._tls else None)

    @property
    def address(self) -> str:
        """The address that is listened on, with the port that was given out for port 0."""
        if self._server is None:
            return self._listen
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def close(self) -> None:
        """Close everything; calls that wait end with an error."""
        self._closed = True
        dialling = [*self._dialling.values(), *self._bulk_dialling.values()]
        for task in dialling:
            task.cancel()
        await asyncio.gather(*dialling, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        await self.rpc.close()
        for connection in list(self._all):
            connection.close("this node stops")

    @property
    def local(self) -> Local:
        """What this node says of itself."""
        return self._local

    def become(self, local: Local) -> None:
        """Take the id and the cluster that a joiner was given; connections begin anew."""
        self._local = local
        for connection in list(self._all):
            connection.close("this node got its id")
        self._dial_all()

    # -------------------------------------------------------------- frames
    def send(self, to: NodeId, frame: Frame) -> bool:
        """Queue a frame; see `base.Transport`. What goes to several peers in a row is encoded once."""
        connections = self._bulk_out if frame.kind is Kind.SNAPSHOT else self._open
        connection = connections.get(to)
        if connection is None:
            return False
        if frame is not self._encoded[0]:
            self._encoded = frame, encode(frame)
        return connection.queue(self._encoded[1])

    def set_bulk(self, peers: Collection[NodeId]) -> None:
        """Keep a connection for SNAPSHOT frames to these peers."""
        self._bulk_wanted = frozenset(peers)
        for node in self._bulk_dialling.keys() - self._bulk_wanted:
            self._bulk_dialling.pop(node).cancel()
            if (connection := self._bulk_out.get(node)) is not None:
                connection.close("all snapshots are sent")
        self._dial_all()

    def bulk(self, node: NodeId) -> Connection | None:
        """Return the connection for SNAPSHOT frames to ``node``, if it is there."""
        return self._bulk_out.get(node)

    def flush(self) -> None:
        """Write what is queued, one write a peer."""
        self._encoded = None, b""
        if self._unflushed:
            for connection in self._unflushed:
                connection.write_queue()
            self._unflushed.clear()

    def has_more(self) -> bool:
        """Whether a socket is readable; asking costs a system call."""
        return bool(self._readable.poll(0))

    def connected(self) -> list[NodeId]:
        """Return the peers that can be sent to, ascending."""
        return sorted(self._open)

    def hang_up(self, node: NodeId) -> None:
        """Close the connection to a silent peer."""
        self._close_all(node, "it fell silent")

    def _close_all(self, node: NodeId, why: str) -> None:
        for connections in (self._open, self._bulk_out, self._bulk_in):
            if (connection := connections.get(node)) is not None:
                connection.close(why)

    def set_peers(self, peers: Mapping[NodeId, str]) -> None:
        """Say who else is in the cluster and where."""
        gone = self._peers.keys() - peers.keys()
        moved = {node for node, address in peers.items() if self._peers.get(node) != address}
        self._peers = {node: at for node, at in peers.items() if node != self._local.node}
        for node in gone | moved:
            for dialling in (self._dialling, self._bulk_dialling):
                if (task := dialling.pop(node, None)) is not None:
                    task.cancel()
        for node in gone:
            self._close_all(node, "it left the cluster")
        self._dial_all()

    def names_changed(self) -> None:
        """Answer who waits because `name_of` did not know its id, if it does now."""
        for connection in list(self._all):
            connection.answer_if_known()

    # -------------------------------------------------------------- calls
    def serve(self, method: str, handler: Handler, *, open_to_strangers: bool = False) -> None:
        """Answer calls of ``method``."""
        self.rpc.serve(method, handler, open_to_strangers=open_to_strangers)

    async def call(self, target: NodeId | str, method: str, body: Value, timeout: float) -> Value:
        """Ask a node by id or by address; see `base.Transport`."""
        if isinstance(target, str):
            return await self._call_address(target, method, body, timeout)
        if target == self._local.node:
            return await self.rpc.call_here(target, method, body, timeout)
        connection = self._open.get(target)
        if connection is None:
            raise Unavailable(f"node {target} is not connected; try again")
        return await self.rpc.call(connection, method, body, timeout)

    async def _call_address(self, address: str, method: str, body: Value, timeout: float) -> Value:
        deadline = asyncio.get_running_loop().time() + timeout
        stranger = Local(self._local.cluster, NOBODY, self._local.name)
        connection = await self._connect(address, stranger, timeout)
        try:
            rest = max(0.0, deadline - asyncio.get_running_loop().time())
            return await self.rpc.call(connection, method, body, rest)
        finally:
            connection.close("the call ended")

    # -------------------------------------------------------------- dialling
    def _dial_all(self) -> None:
        """Keep one task for every peer, and another one for those that are sent snapshots."""
        if self._local.node == NOBODY:
            return
        for node in self._peers:
            if node == self._local.node:
                continue
            if node not in self._dialling:
                self._dialling[node] = asyncio.get_running_loop().create_task(self._dial(node))
            if node in self._bulk_wanted and node not in self._bulk_dialling:
                self._bulk_dialling[node] = asyncio.get_running_loop().create_task(
                    self._dial(node, is_bulk=True)
                )

    async def _dial(self, node: NodeId, *, is_bulk: bool = False) -> None:
        pause_ms = REDIAL_FIRST_MS
        while True:
            if not is_bulk:
                await self._until_apart(node)
            try:
                connection = await self._connect(
                    self._peers[node], self._local, HANDSHAKE_TIMEOUT_S, node, is_bulk=is_bulk
                )
                pause_ms = REDIAL_FIRST_MS
                await connection.lost.wait()
            except (Unavailable, PeerError, UsageError) as error:
                if is_bulk or node not in self._open:
                    self.refused(node, str(error))
            # Jitter, so that two restarted nodes do not keep step.
            await asyncio.sleep((pause_ms + self._chance(pause_ms)) / 1_000)
            pause_ms = min(2 * pause_ms, REDIAL_MAX_MS)

    async def _until_apart(self, node: NodeId) -> None:
        """Return when there is no connection, and it is not for the other end alone to dial."""
        while True:
            if (connection := self._open.get(node)) is not None:
                await connection.lost.wait()
            if node < self._local.node:
                return
            await asyncio.sleep(PATIENCE_S)
            if node not in self._open:
                return

    async def _connect(
        self,
        address: str,
        local: Local,
        timeout: float,
        node: NodeId | None = None,
        *,
        is_bulk: bool = False,
    ) -> Connection:
        """Return an open connection; `Unavailable` or `PeerError` with the reason if there is none.

        ``node`` is who must answer there; None takes anyone.
        """
        host, port = split_address(address)
        loop = asyncio.get_running_loop()
        connection = Connection(
            self, local, node, channel=self._channel_to(host, node), is_bulk=is_bulk
        )
        try:
            async with asyncio.timeout(timeout):
                await loop.create_connection(lambda: connection, host, port)
                await connection.greeted
        except TimeoutError:
            connection.close("it did not greet in time")
            raise Unavailable(f"{address} does not answer; try again") from None
        except OSError as error:
            raise Unavailable(f"{address} cannot be reached: {error.strerror or error}") from None
        except BaseException:
            connection.close("the dialler gave up")
            raise
        return connection

    def _channel_to(self, host: str, node: NodeId | None) -> Channel | None:
        if self._tls is None:
            return None
        if node is None:
            return self._tls.dial_host(host)
        name = self.name_of(node)
        if name is None:
            raise Unavailable(f"which certificate node {node} has is not known here yet")
        return self._tls.dial_node(name)

    def refused(self, whom: NodeId | str, why: str) -> None:
        """Keep the last reason for which there is no connection, and log each reason once."""
        if len(self._told) >= REFUSALS_MAX:
            self._told.clear()
            self.refusals.clear()
        self.refusals[whom] = why
        if (whom, why) not in self._told:
            self._told.add((whom, why))
            log.warning("no connection with %s: %s", _named(whom), why)

    # -------------------------------------------------------------- what connections report
    def objection(self, hello: Local, version: int, *, is_bulk: bool) -> str | None:
        """Return why a dialling node is not let in, or None."""
        strangers = sum(1 for other in self._all if other.peer == NOBODY)
        why = objection(self._local, hello, version, strangers=strangers, is_bulk=is_bulk)
        if why is not None or hello.node == NOBODY:
            return why
        if self.is_removed(hello.node):
            return REMOVED
        other = self._open.get(hello.node)
        if other is None:
            return None
        if other.name != hello.name:
            return f"node {hello.node} is connected as {other.name!r}, not as {hello.name!r}"
        if not is_bulk and hello.node < self._local.node and self._is_lasting(other):
            return f"node {hello.node} is connected already; try again"
        return None

    def _is_lasting(self, connection: Connection) -> bool:
        """Whether the higher id of the pair dialled it, so that it stays where both have."""
        return connection.has_dialled == (connection.peer < self._local.node)

    def is_unknown(self, node: NodeId) -> bool:
        """Tell whether nobody is known here to have this id."""
        return node != NOBODY and self.name_of(node) is None

    def opened(self, connection: Connection, wall: Millis) -> None:
        """A handshake ended well."""
        if connection.peer == NOBODY:
            return
        connections = self._open
        if connection.is_bulk:
            connections = self._bulk_out if connection.has_dialled else self._bulk_in
        former = connections.get(connection.peer)
        if former is not None:
            if not connection.is_bulk and self._is_lasting(former) > self._is_lasting(connection):
                connection.close("the other end has dialled as well")
                return
            former.close("the peer connected anew")
        connections[connection.peer] = connection
        self.refusals.pop(connection.peer, None)
        self._told = {(whom, why) for whom, why in self._told if whom != connection.peer}
        if not connection.is_bulk:
            self.on_peer_up(connection.peer, wall)

    def began(self, connection: Connection) -> str | None:
        """Take note of a connected socket; return why it must not stay, if so."""
        self._all.add(connection)
        self._readable.register(connection.fileno, select.POLLIN)
        if self._closed:
            return "this node stops"
        return "too many connections" if len(self._all) > CONNECTIONS_MAX else None

    def ended(self, connection: Connection) -> None:
        """A connection is closed, by whomever."""
        if connection in self._all:
            self._all.discard(connection)
            self._readable.unregister(connection.fileno)
        self._unflushed.discard(connection)
        self.rpc.link_lost(connection)
        for connections in (self._bulk_out, self._bulk_in):
            if connections.get(connection.peer) is connection:
                del connections[connection.peer]
        if self._open.get(connection.peer) is connection:
            del self._open[connection.peer]
            self.on_peer_down(connection.peer)

    def wants_flush(self, connection: Connection) -> None:
        """A connection has something queued."""
        self._unflushed.add(connection)


def _named(whom: NodeId | str) -> str:
    return whom if isinstance(whom, str) else f"node {whom}"


def _ignore(*_arguments: Any) -> None:
    """Stand for a callback that nobody set."""
