"""Messages of the cores to frames, and frames back to messages.

Owns how Raft messages travel: all of one drain to one peer share few frames. Never decides
anything. The rules it keeps: a message that claims to come from somebody else than its connection
does not reach a core; a message for a group that is not here is counted and dropped, since peers
send again what matters.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from raftoral.errors import PeerError
from raftoral.ids import MANAGEMENT, GroupId, NodeId
from raftoral.raft.log import ENTRY_OVERHEAD_BYTES
from raftoral.raft.messages import Message, MessageType, check
from raftoral.transport.frame import Frame, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from raftoral.groups.group import Group
    from raftoral.transport.base import Transport

_FRAME_PAYLOAD: Final = 256 * 1024
"""Messages join a frame up to this size; a larger one travels alone."""
_MESSAGE_BYTES: Final = 128
"""What a message takes beyond its entries, at most, if it carries no long context."""


class Router:
    """The way of Raft messages between the groups of this node and its peers."""

    def __init__(self, node: NodeId, transport: Transport) -> None:
        self._node = node
        self._transport = transport
        self._out: dict[NodeId, list[tuple[GroupId, Message]]] = {}
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
            body.append((group, message))
        return offers

    @property
    def has_queued(self) -> bool:
        """Whether `send` has anything to send."""
        return bool(self._out)

    def send(self) -> list[tuple[GroupId, NodeId]]:
        """Send what is queued; return the groups and peers whose messages could not leave."""
        lost: list[tuple[GroupId, NodeId]] = []
        out, self._out = self._out, {}
        for to, body in out.items():
            for frame in _frames(body):
                if not self._transport.send(to, frame):
                    lost += [(gid, to) for gid, _ in frame.body]
        return lost

    def deliver(self, sender: NodeId, frame: Frame, groups: Mapping[GroupId, Group]) -> None:
        """Step the messages of a RAFT frame; `PeerError` at the first bad one."""
        for gid, message in frame.body:
            check(message)
            if message.from_ != sender or message.to != self._node:
                raise PeerError(
                    f"node {sender} sent a message from node {message.from_} to node {message.to}"
                )
            group = groups.get(gid)
            if group is not None:
                group.raw.step(message)
            else:
                self.unknown_groups[gid] += 1


def _frames(body: list[Any]) -> list[Frame]:
    """Cut ``[(group, message), ...]`` into frames."""
    if len(body) == 1:
        return [Frame(Kind.RAFT, MANAGEMENT, body)]
    cuts, size = [0], 0
    for at, (_, message) in enumerate(body):
        length = _MESSAGE_BYTES + len(message.context)
        length += sum([len(entry.data) + ENTRY_OVERHEAD_BYTES for entry in message.entries])
        if size and size + length > _FRAME_PAYLOAD:
            cuts.append(at)
            size = 0
        size += length
    ends = [*cuts[1:], len(body)]
    return [
        Frame(Kind.RAFT, MANAGEMENT, body[start:end]) for start, end in zip(cuts, ends, strict=True)
    ]
