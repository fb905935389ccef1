"""One socket between two nodes, from handshake to close.

Owns the bytes of one connection: what waits to be written, which is bounded, and what was read and is
no whole frame yet. Whom it lets in and what becomes of its frames is its owner's business. Nothing
but a handshake is read before the other end is known to be of this cluster.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Final, cast

from raftoral.errors import NotTrusted, PeerError, Unavailable
from raftoral.ids import NOBODY, NodeId
from raftoral.security.tls import LISTENER_SPEAKS_TLS, NotTls, refuse_tls
from raftoral.transport.base import REMOVED, Local
from raftoral.transport.frame import (
    PROTOCOL_VERSION,
    Decoder,
    Frame,
    Kind,
    encode,
    fields_of,
    frame_of,
)
from raftoral.transport.handshake import hello_frame, impostor, read_hello

if TYPE_CHECKING:
    from raftoral.ids import Millis
    from raftoral.security.tls import Channel
    from raftoral.transport.tcp import TcpTransport

QUEUE_BYTES_MAX: Final = 8 * 1024 * 1024
"""What may wait for one peer; more is dropped or refused."""

HANDSHAKE_TIMEOUT_S: Final = 3.0
UNKNOWN_TIMEOUT_S: Final = 1.0


class _State(Enum):
    GREETING = "waits for the other end's hello"
    UNKNOWN = "waits until this node knows whose id the other end claims"
    OPEN = "carries frames"
    CLOSED = "is gone"


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
                version, hello, wall = read_hello(frame)
            case Kind.BULK if self._dialled_as is None:
                self.is_bulk = True
                version, hello, wall = read_hello(frame)
            case Kind.REFUSED if self._dialled_as is not None:
                (why,) = fields_of(frame, str)
                if why == REMOVED and self._dialled_as.node != NOBODY:
                    self._owner.on_expelled()
                told = f"{self._where} refuses this node: {why:.200}"
                self._fail_greeting(
                    NotTrusted(told) if why == LISTENER_SPEAKS_TLS else PeerError(told)
                )
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
                PeerError(
                    f"{self._where} is of cluster {hello.cluster!r}, this node of {mine.cluster!r}"
                )
            )
        elif self._expected is not None and hello.node != self._expected:
            self._fail_greeting(
                PeerError(f"{self._where} is node {hello.node}, not node {self._expected}")
            )
        elif (objection := self._impostor(hello, is_caller=stranger)) is not None:
            self._fail_greeting(PeerError(f"{self._where}: {objection}"))
        else:
            self._become_open(NOBODY if stranger else hello.node, hello.name, wall)
            if not self.greeted.done():
                self.greeted.set_result(None)

    def _impostor(self, hello: Local, *, is_caller: bool) -> str | None:
        if self._channel is None:
            return None
        known = None if hello.node == NOBODY else self._owner.name_of(hello.node)
        return impostor(hello, self._channel.peer, known, is_caller=is_caller)

    def _refuse(self, objection: str) -> None:
        """The listening end: say why the other one is not let in."""
        self._owner.refused(self._host, objection)
        self._write(encode(frame_of(Kind.REFUSED, objection)))
        self.close(objection)

    def _say_hello(self) -> None:
        local = self._dialled_as or self._owner.local
        is_bulk = self.is_bulk and self.has_dialled
        self._write(encode(hello_frame(local, self._owner.wall(), is_bulk=is_bulk)))

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

    def _fail_greeting(self, why: PeerError) -> None:
        if not self.greeted.done():
            self.greeted.set_exception(why)
        self.close(str(why))

    def _wait_at_most(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._late_to_greet)

    def _late_to_greet(self) -> None:
        if self._state is _State.UNKNOWN and self._unknown is not None:
            self._refuse(f"no node {self._unknown[0].node} is known here; try again")
        else:
            self.close("it did not greet in time")


def _look_at(future: asyncio.Future[None]) -> None:
    """Mark the outcome as seen: a dialler that gave up does not wait for it any more."""
    if not future.cancelled():
        future.exception()
