"""Messages of the cores to frames, and frames back to messages.

Owns how Raft messages travel: all of one drain to one peer share few frames, and an append that
only tells a commit index waits for one turn of the loop, since the caller that it answers often
has the next entries by then, which tell it too. Never decides anything. The rules it keeps: a
message that claims to come from somebody else than its connection does not reach a core; a message
for a group that is not here is counted and dropped, since peers send again what matters.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from raftoral.codec import pack_record, unpack_record
from raftoral.errors import CorruptionError, PeerError
from raftoral.ids import GroupId, NodeId
from raftoral.raft.messages import Message, MessageType, from_wire, to_wire
from raftoral.transport.frame import Frame, Kind, frame_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from raftoral.transport.base import Transport

_FRAME_PAYLOAD: Final = 256 * 1024
"""Messages join a frame up to this size; a larger one travels alone."""


class Router:
    """The way of Raft messages between the groups of this node and its peers."""

    def __init__(self, node: NodeId, transport: Transport) -> None:
        self._node = node
        self._transport = transport
        self._out: dict[NodeId, list[Any]] = {}
        self._waiting: dict[tuple[GroupId, NodeId], Message] = {}
        self._due: dict[tuple[GroupId, NodeId], Message] = {}
        self.unknown_groups: Counter[GroupId] = Counter()
        """How many messages came for a group that is not here."""

    def post(self, group: GroupId, messages: Sequence[Message]) -> list[Message]:
        """Queue messages of one group until `send`; an append without entries a turn longer.

        Returns the offers of snapshots, which do not travel as messages.
        """
        offers: list[Message] = []
        for message in messages:
            if message.type is MessageType.SNAPSHOT:
                offers.append(message)
                continue
            if message.type is MessageType.APPEND:
                key = group, message.to
                self._due.pop(key, None)
                if not message.entries:
                    self._waiting[key] = message
                    continue
                self._waiting.pop(key, None)
            self._queue(group, message)
        return offers

    @property
    def has_waiting(self) -> bool:
        """Whether appends without entries wait for the next turn."""
        return bool(self._waiting)

    def begin_turn(self) -> None:
        """Note that a turn of the loop has passed: what waited leaves with the next `send`."""
        self._due, self._waiting = self._waiting, {}

    def _queue(self, group: GroupId, message: Message) -> None:
        body = self._out.get(message.to)
        if body is None:
            body = self._out[message.to] = []
        body += (group, pack_record(to_wire(message)))

    def send(self) -> list[tuple[GroupId, NodeId]]:
        """Send what is queued; return the groups and peers whose messages could not leave."""
        for (group, _), message in self._due.items():
            self._queue(group, message)
        self._due.clear()
        lost: list[tuple[GroupId, NodeId]] = []
        for to, body in self._out.items():
            for frame in _frames(body):
                if not self._transport.send(to, frame):
                    lost += [(GroupId(gid), to) for gid in frame.body[::2]]
        self._out.clear()
        return lost

    def messages(self, sender: NodeId, frame: Frame) -> Iterator[tuple[GroupId, Message]]:
        """Yield the messages of a RAFT frame with their groups; `PeerError` for a bad one."""
        body = frame.body
        for at in range(0, len(body) - 1, 2):
            group, data = body[at], body[at + 1]
            if type(group) is not int or type(data) is not bytes:
                raise PeerError("the peer sent a RAFT frame with a body of another shape")
            yield GroupId(group), self.message(sender, data)

    def message(self, sender: NodeId, data: bytes) -> Message:
        """Return the message that ``sender`` packed for this node; `PeerError` for another."""
        try:
            message = from_wire(unpack_record(data))
        except CorruptionError as error:
            raise PeerError(f"the peer sent a message that is none: {error}") from None
        if message.from_ != sender or message.to != self._node:
            raise PeerError(
                f"node {sender} sent a message from node {message.from_} to node {message.to}"
            )
        return message


def _frames(body: list[Any]) -> Iterator[Frame]:
    """Cut ``[group, data, group, data, ...]`` into frames."""
    start = size = 0
    for at in range(1, len(body), 2):
        length = len(body[at]) + 16
        if size and size + length > _FRAME_PAYLOAD:
            yield frame_of(Kind.RAFT, *body[start : at - 1])
            start, size = at - 1, 0
        size += length
    yield frame_of(Kind.RAFT, *body[start:])
