"""Messages of the cores to frames, and frames back to messages.

Owns how Raft messages travel: all of one drain to one peer share few frames, and what is the same
for several peers is encoded once. Never decides anything. The rules it keeps: a message is from
whom its connection says, and for this node; a message for a group that is not here is counted and
dropped, since peers send again what matters.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from raftoral.errors import PeerError
from raftoral.ids import GroupId, NodeId
from raftoral.raft.messages import Message, MessageType, decode, encode
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
        self._encoded: tuple[tuple[Any, ...], bytes] = ((), b"")
        self.unknown_groups: Counter[GroupId] = Counter()
        """How many messages came for a group that is not here."""

    def post(self, group: GroupId, messages: Sequence[Message]) -> list[Message]:
        """Queue messages of one group until `send`.

        Returns the offers of snapshots, which do not travel as messages.
        """
        offers: list[Message] = []
        for message in messages:
            if message.type is MessageType.SNAPSHOT:
                offers.append(message)
                continue
            body = self._out.get(message.to)
            if body is None:
                body = self._out[message.to] = []
            body += (group, self._bytes_of(message))
        return offers

    def _bytes_of(self, message: Message) -> bytes:
        """Encode a message, unless the one before it was the same for another peer."""
        content = (message[0], *message[3:])
        if content != self._encoded[0]:
            self._encoded = content, encode(message)
        return self._encoded[1]

    def send(self) -> list[tuple[GroupId, NodeId]]:
        """Send what is queued; return the groups and peers whose messages could not leave."""
        if not self._out:
            return []
        lost: list[tuple[GroupId, NodeId]] = []
        out, self._out, self._encoded = self._out, {}, ((), b"")
        shared: list[Any] = []
        frames: list[Frame] = []
        for to, body in out.items():
            if body != shared:
                shared, frames = body, _frames(body)
            for frame in frames:
                if not self._transport.send(to, frame):
                    lost += [(GroupId(gid), to) for gid in frame.body[::2]]
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
        """Return the message that ``sender`` encoded for this node; `PeerError` if it is none."""
        return decode(data, sender, self._node)


def _frames(body: list[Any]) -> list[Frame]:
    """Cut ``[group, data, group, data, ...]`` into frames."""
    frames = []
    start = size = 0
    for at in range(1, len(body), 2):
        length = len(body[at]) + 16
        if size and size + length > _FRAME_PAYLOAD:
            frames.append(frame_of(Kind.RAFT, *body[start : at - 1]))
            start, size = at - 1, 0
        size += length
    frames.append(frame_of(Kind.RAFT, *body[start:]))
    return frames
