"""One listener and one TCP connection a peer, shared by all groups; another one for snapshots.

Owns sockets, handshakes and redialling. Never looks into a frame that belongs to a group. The
rules it keeps: of two nodes the one with the higher id dials and both use that connection; the
other one dials only after a while without, for it may be back at an address that nobody knows yet,
and its connection gives way to one that the higher id dialled; nothing but a handshake is read from
a connection before the other end is known to be of this cluster; what waits for a slow peer is
bounded. A node without an id yet, or one that calls an address, comes as a stranger (node 0) on a
short-lived connection that carries calls only. With TLS, a connection is as much worth as the
certificate at its other end: the name in the HELLO must be the certificate's, and the id must be
that name's, for the connection and so for all its frames.

While a node sends snapshots to a peer, it dials a second connection, whichever id is higher, that
passes the same checks and carries nothing else, so that no heartbeat stands in line behind a chunk.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import select
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, cast

from raftoral.errors import NotTrusted, PeerError, Unavailable, UsageError
from raftoral.ids import NOBODY, Millis, NodeId
from raftoral.security.tls import NotTls, refuse_tls
from raftoral.transport.base import NAME_LENGTH_MAX, REMOVED, Handler, Local
from raftoral.transport.frame import (
    PROTOCOL_VERSION,
    Decoder,
    Frame,
    Kind,
    encode,
    fields_of,
    frame_of,
)
from raftoral.transport.ports import holder_of
from raftoral.transport.rpc import Rpc

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from raftoral.security.tls import Channel, Tls
    from raftoral.values import Value

QUEUE_BYTES_MAX: Final = 8 * 1024 * 1024
"""What may wait for one peer; more is dropped or refused."""

STRANGERS_MAX: Final = 64
CONNECTIONS_MAX: Final = 1_000
REFUSALS_MAX: Final = 1_000
HANDSHAKE_TIMEOUT_S: Final = 3.0
UNKNOWN_TIMEOUT_S: Final = 1.0
PATIENCE_S: Final = 1.0
"""How long the lower id of a pair waits for the other to dial."""
REDIAL_FIRST_MS: Final = 50
REDIAL_MAX_MS: Final = 1_000

log = logging.getLogger(__name__)


class _State(Enum):
    GREETING = "waits for the other end's hello"
    UNKNOWN = "waits until this node knows whose id the other end claims"
    OPEN = "carries frames"
    CLOSED = "is gone"


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
        self._local = local
        self._listen = listen
        self._wall = wall
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
    def hello(self, local: Local) -> Frame:
        """Return the first frame of this node on a connection."""
        return frame_of(
            Kind.HELLO, PROTOCOL_VERSION, local.cluster, local.node, local.name, self._wall()
        )

    def objection(self, hello: Local, version: int, *, is_bulk: bool) -> str | None:
        """Return why a dialling node is not let in, or None."""
        mine = self._local
        strangers = sum(1 for other in self._all if other.peer == NOBODY)
        match hello:
            case _ if version != PROTOCOL_VERSION:
                return f"it speaks protocol {version}, this node {PROTOCOL_VERSION}"
            case Local(node=0) if is_bulk:
                return "a node without an id sends no snapshots"
            case Local(cluster="", node=0) if strangers <= STRANGERS_MAX:
                return None
            case Local(node=0) if strangers > STRANGERS_MAX:
                return "too many strangers at once; try again"
            case _ if hello.cluster != mine.cluster:
                return f"it is of cluster {hello.cluster!r}, this node of {mine.cluster!r}"
            case Local(node=0):
                return None
            case _ if mine.node == NOBODY:
                return "this node has no id yet"
            case _ if self.is_removed(hello.node):
                return REMOVED
            case _ if hello.node == mine.node:
                return f"it claims to be node {mine.node}, which is this node"
        other = self._open.get(hello.node)
        if other is None:
            return None
        if other.name != hello.name:
            return f"node {hello.node} is connected as {other.name!r}, not as {hello.name!r}"
        if not is_bulk and hello.node < mine.node and self._is_lasting(other):
            return f"node {hello.node} is connected already; try again"
        return None

    def _is_lasting(self, connection: Connection) -> bool:
        """Whether the higher id of the pair dialled it, so that it stays where both have."""
        return connection.has_dialled == (connection.peer < self._local.node)

    def is_unknown(self, node: NodeId) -> bool:
        """Tell whether nobody is known here to have this id."""
        return node != NOBODY and self.name_of(node) is None

    def impostor(self, hello: Local, certified: str, *, is_caller: bool) -> str | None:
        """Return why a node with this certificate may not say this hello, or None.

        A node that ``is_caller`` of an address takes any node there, also one unknown to it.
        """
        if hello.name != certified:
            return (
                f"it calls itself {hello.name!r}, but its certificate is that of {certified!r}; "
                "start it under that name, or issue it its own certificate"
            )
        if hello.node == NOBODY:
            return None
        name = self.name_of(hello.node)
        if name == certified or (is_caller and name is None):
            return None
        return (
            f"it claims to be node {hello.node}, which is {name!r}, but its certificate is that of "
            f"{certified!r}; give each node its own data folder and its own certificate"
        )

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


class Connection(asyncio.Protocol):
    """One socket, from handshake to close."""

    def __init__(
        self,
        owner: TcpTransport,
        dialled_as: Local | None,
        expected: NodeId | None = None,
        *,
        channel: Channel | None = None,
        is_bulk: bool = False,
    ) -> None:
        """``dialled_as`` is None at the listening end; ``expected`` is who must answer a dial.

        ``channel`` seals what travels; without one it travels in the clear. ``is_bulk`` dials for
        SNAPSHOT frames alone; the listening end learns it from the greeting.
        """
        self.is_bulk = is_bulk
        self.peer = NOBODY
        self.name = ""
        self.fileno = -1
        self.lost = asyncio.Event()
        self.greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.greeted.add_done_callback(_look_at)
        self._owner = owner
        self._dialled_as = dialled_as
        self._expected = expected
        self._channel = channel
        self._unknown: tuple[Local, Millis] | None = None
        self._state = _State.GREETING
        self._decoder = Decoder()
        self._socket: asyncio.Transport | None = None
        self._where = self._host = "an unknown address"
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def has_dialled(self) -> bool:
        """Whether this is the dialling end."""
        return self._dialled_as is not None

    @property
    def certified(self) -> str:
        """Which node the certificate at the other end names; empty without TLS."""
        return self._channel.peer if self._channel is not None else ""

    # -------------------------------------------------------------- asyncio's side
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake: the dialling end speaks first."""
        self._socket = cast(asyncio.Transport, transport)
        if self._state is _State.CLOSED:
            self._socket.abort()
            return
        self.fileno = self._socket.get_extra_info("socket").fileno()
        address = self._socket.get_extra_info("peername")
        if address:
            self._host, self._where = address[0], f"{address[0]}:{address[1]}"
        if (objection := self._owner.began(self)) is not None:
            self.close(objection)
            return
        if self._dialled_as is None:
            self._wait_at_most(HANDSHAKE_TIMEOUT_S)
        elif self._channel is not None:
            self._socket.write(self._channel.outgoing())
        else:
            self._say_hello()

    def data_received(self, data: bytes) -> None:
        """Hand on every whole frame; close on the first bad one."""
        decoder = self._decoder
        try:
            if self._channel is not None:
                data = self._unsealed(self._channel, data)
            elif self._state is _State.GREETING:
                refuse_tls(data)
            decoder.receive(data)
            while (frame := decoder.next_frame()) is not None:
                if self._state is _State.OPEN:
                    self._on_frame(frame)
                elif self._state is not _State.CLOSED:
                    self._on_greeting(frame)
                else:
                    break
        except NotTls as error:
            # In the clear, because one of the two speaks nothing else.
            assert self._socket is not None
            self._socket.write(encode(frame_of(Kind.REFUSED, str(error))))
            self._failed(error)
        except PeerError as error:
            self._failed(error)
        self._owner.on_read()

    def pause_writing(self) -> None:
        """The socket is full; frames wait here, bounded."""
        self._paused = True

    def resume_writing(self) -> None:
        """The socket takes bytes again."""
        self._paused = False
        self.write_queue()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        why = str(exc) if exc else "the other end closed it"
        if self._channel is not None and not self._channel.secured:
            why += " in the middle of the TLS handshake; the log there may say why"
        self.close(why)
        # Its end was readable, and somebody may wait for that to be read.
        self._owner.on_read()

    # -------------------------------------------------------------- sending
    def send(self, frame: Frame) -> bool:
        """Queue a frame; False if the queue is full or the connection closed."""
        return self.queue(encode(frame))

    def queue(self, data: bytes) -> bool:
        """Queue the bytes of a frame; False if the queue is full or the connection closed."""
        if self._state is not _State.OPEN or self._queued_bytes + len(data) > QUEUE_BYTES_MAX:
            return False
        if not self._queue:
            self._owner.wants_flush(self)
        self._queue.append(data)
        self._queued_bytes += len(data)
        return True

    def flush(self) -> None:
        """Write what is queued."""
        self.write_queue()

    def write_queue(self) -> None:
        """Give everything queued to the socket in one write, unless it is full."""
        if self._queue and not self._paused and self._socket is not None:
            queue, self._queue, self._queued_bytes = self._queue, [], 0
            self._write(queue[0] if len(queue) == 1 else b"".join(queue))

    def _write(self, data: bytes) -> None:
        assert self._socket is not None
        if self._channel is not None:
            try:
                self._channel.send(data)
            except NotTrusted as error:
                self._failed(error)
                return
            data = self._channel.outgoing()
        self._socket.write(data)

    def close(self, why: str) -> None:
        """End the connection, tell the owner once, and fail a handshake under way."""
        if self._state is _State.CLOSED:
            return
        self._state = _State.CLOSED
        self.write_queue()
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            if self._channel is not None and not self._socket.is_closing():
                self._channel.close()
                self._socket.write(self._channel.outgoing())
            self._socket.close()
        if not self.greeted.done():
            self.greeted.set_exception(Unavailable(f"the connection was closed: {why}"))
        self.lost.set()
        self._owner.ended(self)

    # -------------------------------------------------------------- TLS
    def _unsealed(self, channel: Channel, data: bytes) -> bytes:
        """Return what was sealed in ``data``; say what TLS itself has to say."""
        assert self._socket is not None
        was_secured = channel.secured
        try:
            data = channel.receive(data)
        except NotTrusted as error:
            if self._dialled_as is None:
                raise
            raise NotTrusted(f"{self._where}: {error}") from None
        finally:
            self._socket.write(channel.outgoing())  # In a failure it tells the other end why.
        if channel.secured and not was_secured and self._dialled_as is not None:
            self._say_hello()
        return data

    # -------------------------------------------------------------- receiving
    def _on_frame(self, frame: Frame) -> None:
        kind = frame.kind
        if kind is Kind.RAFT and self.peer != NOBODY and not self.is_bulk:
            self._owner.on_frame(self.peer, frame)
        elif self.is_bulk and (self.has_dialled or kind is not Kind.SNAPSHOT):
            raise PeerError(f"the peer sent a {kind.name} frame where only snapshots come in")
        elif kind is Kind.REQUEST:
            self._owner.rpc.on_request(self, frame)
        elif kind is Kind.REPLY:
            self._owner.rpc.on_reply(frame)
        elif self.peer == NOBODY or kind in (Kind.HELLO, Kind.BULK, Kind.REFUSED):
            raise PeerError(f"the peer sent a {kind.name} frame, which it may not send now")
        else:
            self._owner.on_frame(self.peer, frame)

    def _on_greeting(self, frame: Frame) -> None:
        match frame.kind:
            case _ if self._state is _State.UNKNOWN:
                raise PeerError("the peer went on before it was let in")
            case Kind.HELLO:
                version, hello, wall = _hello_of(frame)
            case Kind.BULK if self._dialled_as is None:
                self.is_bulk = True
                version, hello, wall = _hello_of(frame)
            case Kind.REFUSED if self._dialled_as is not None:
                (why,) = fields_of(frame, str)
                if why == REMOVED and self._dialled_as.node != NOBODY:
                    self._owner.on_expelled()
                self._fail_greeting(f"{self._where} refuses this node: {why:.200}")
                return
            case _:
                raise PeerError(f"the peer began with a {frame.kind.name} frame, not with HELLO")
        if self._dialled_as is None:
            self._take_hello(hello, version, wall)
        else:
            self._take_answer(self._dialled_as, hello, wall)

    def _take_hello(self, hello: Local, version: int, wall: Millis) -> None:
        """The listening end: let the other in, say why not, or find out first who has its id."""
        objection = self._owner.objection(hello, version, is_bulk=self.is_bulk)
        if objection is not None:
            self._refuse(objection)
        elif self._channel is not None and self._owner.is_unknown(hello.node):
            self._unknown = hello, wall
            self._state = _State.UNKNOWN
            self._wait_at_most(UNKNOWN_TIMEOUT_S)
            self._owner.on_unknown(hello.node)
        else:
            self._answer(hello, wall)

    def answer_if_known(self) -> None:
        """Let the other end in, or not, if it waits and its id is known now."""
        if self._state is _State.UNKNOWN and self._unknown is not None:
            hello, wall = self._unknown
            if not self._owner.is_unknown(hello.node):
                self._state = _State.GREETING
                self._take_hello(hello, PROTOCOL_VERSION, wall)

    def _answer(self, hello: Local, wall: Millis) -> None:
        objection = self._impostor(hello, is_caller=False)
        if objection is not None:
            self._refuse(objection)
            return
        self._say_hello()
        self._become_open(hello.node, hello.name, wall)

    def _take_answer(self, mine: Local, hello: Local, wall: Millis) -> None:
        """The dialling end: make sure that it reached whom it wanted."""
        stranger = mine.node == NOBODY
        if mine.cluster and hello.cluster != mine.cluster:
            self._fail_greeting(
                f"{self._where} is of cluster {hello.cluster!r}, this node of {mine.cluster!r}"
            )
        elif self._expected is not None and hello.node != self._expected:
            self._fail_greeting(f"{self._where} is node {hello.node}, not node {self._expected}")
        elif (objection := self._impostor(hello, is_caller=stranger)) is not None:
            self._fail_greeting(f"{self._where}: {objection}")
        else:
            self._become_open(NOBODY if stranger else hello.node, hello.name, wall)
            if not self.greeted.done():
                self.greeted.set_result(None)

    def _impostor(self, hello: Local, *, is_caller: bool) -> str | None:
        if self._channel is None:
            return None
        return self._owner.impostor(hello, self._channel.peer, is_caller=is_caller)

    def _refuse(self, objection: str) -> None:
        """The listening end: say why the other one is not let in."""
        self._owner.refused(self._host, objection)
        self._write(encode(frame_of(Kind.REFUSED, objection)))
        self.close(objection)

    def _say_hello(self) -> None:
        hello = self._owner.hello(self._dialled_as or self._owner.local)
        if self.is_bulk and self.has_dialled:
            hello = hello._replace(kind=Kind.BULK)
        self._write(encode(hello))

    def _become_open(self, peer: NodeId, name: str, wall: Millis) -> None:
        assert self._state is _State.GREETING
        self.peer, self.name = peer, name
        self._state = _State.OPEN
        if self._timer is not None:
            self._timer.cancel()
        self._owner.opened(self, wall)

    def _failed(self, error: PeerError) -> None:
        """The other end sent what it may not; who dialled, and does not talk yet, tells of it."""
        if self._dialled_as is not None and not self.greeted.done():
            self.greeted.set_exception(error)
        else:
            self._owner.refused(self.peer or self._host, str(error))
        self.close(str(error))

    def _fail_greeting(self, why: str) -> None:
        if not self.greeted.done():
            self.greeted.set_exception(PeerError(why))
        self.close(why)

    def _wait_at_most(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._late_to_greet)

    def _late_to_greet(self) -> None:
        if self._state is _State.UNKNOWN and self._unknown is not None:
            self._refuse(f"no node {self._unknown[0].node} is known here; try again")
        else:
            self.close("it did not greet in time")


def _hello_of(frame: Frame) -> tuple[int, Local, Millis]:
    """Return protocol version, sender and its wall clock."""
    version, cluster, node, name, wall = fields_of(frame, int, str, int, str, int)
    if node < 0 or max(len(cluster), len(name)) > NAME_LENGTH_MAX:
        raise PeerError("the peer sent a HELLO with fields out of bounds")
    return version, Local(cluster, NodeId(node), name), Millis(wall)


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``host:port`` (``[::1]:7400`` for IPv6); `UsageError` otherwise."""
    host, colon, port = address.rpartition(":")
    if colon and host and port.isdecimal() and int(port) < 65_536:
        return host.removeprefix("[").removesuffix("]"), int(port)
    raise UsageError(f"an address is written host:port, such as 127.0.0.1:7400, not {address!r}")


def _named(whom: NodeId | str) -> str:
    return whom if isinstance(whom, str) else f"node {whom}"


def _look_at(future: asyncio.Future[None]) -> None:
    """Mark the outcome as seen: a dialler that gave up does not wait for it any more."""
    if not future.cancelled():
        future.exception()


def _ignore(*_arguments: Any) -> None:
    """Stand for a callback that nobody set."""
