"""Snapshots between nodes: the machine's state in chunks, beside the messages of the core.

Owns transfers under way, in both directions. The rules it keeps: only a few chunks are under way,
the next ones leave as they are acknowledged, so that heartbeats never wait behind a snapshot and
memory stays small; the receiver replaces its state only after the digest was right, and lets its
core know in the same breath; whoever gives up tells the core, which tries again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from raftoral.codec import pack_record
from raftoral.errors import LimitExceeded, PeerError, UsageError
from raftoral.raft.messages import Message, Snapshot, to_wire
from raftoral.transport.frame import Frame, Kind, fields_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from raftoral.groups.group import Group
    from raftoral.ids import GroupId, Index, NodeId
    from raftoral.storage.snapshots import SnapshotExport, SnapshotImport

WINDOW_CHUNKS: Final = 2
"""Unacknowledged parts under way; with chunks of 256 KiB a link of 10 MB/s lags 50 ms."""
OUTGOING_MAX: Final = 2
INCOMING_MAX: Final = 4


class _Part(IntEnum):
    """What a SNAPSHOT frame carries."""

    BEGIN = 0  # the core's message
    CHUNK = 1
    END = 2  # the digest of all chunks


class _Verdict(IntEnum):
    """What the receiver says of a part."""

    GO_ON = 0
    DONE = 1
    FAILED = 2


@dataclass(slots=True)
class _Outgoing:
    group: Group
    to: NodeId
    export: SnapshotExport
    parts: Iterator[tuple[_Part, bytes]]
    moved_at: float
    sent: int = 0
    acknowledged: int = 0
    unsent: tuple[_Part, bytes] | None = None


@dataclass(slots=True)
class _Incoming:
    sender: NodeId
    transfer: int
    message: Message
    importer: SnapshotImport
    moved_at: float
    taken: int = field(default=1)


class Snapshots:
    """The transfers of one node."""

    def __init__(
        self,
        send: Callable[[NodeId, Frame], bool],
        read: Callable[[NodeId, bytes], Message],
        monotonic: Callable[[], float],
        stall_seconds: float,
    ) -> None:
        """``read`` checks and returns the message that a node packed for this one."""
        self._send = send
        self._read = read
        self._monotonic = monotonic
        self._stall_seconds = stall_seconds
        self._outgoing: dict[int, _Outgoing] = {}
        self._incoming: dict[GroupId, _Incoming] = {}
        self._last_transfer = 0

    # -------------------------------------------------------------- sending
    def begin(self, group: Group, message: Message) -> None:
        """Stream the group's state to whom the core's SNAPSHOT message is for."""
        self._drop_outgoing(lambda each: each.group is group and each.to == message.to)
        if len(self._outgoing) >= OUTGOING_MAX:
            group.raw.report_snapshot(message.to, ok=False)
            return
        export = group.store.export()
        # The state is newer than what the core offered; the message tells what really comes.
        message = message._replace(snapshot=Snapshot(export.meta))
        self._last_transfer += 1
        self._outgoing[self._last_transfer] = _Outgoing(
            group, message.to, export, _parts(message, export), self._monotonic()
        )
        self._pump(self._last_transfer)

    def needed(self, group: Group) -> Index | None:
        """Return the oldest snapshot under way: its receiver needs the entries behind it."""
        indexes = [
            each.export.meta.index for each in self._outgoing.values() if each.group is group
        ]
        return min(indexes, default=None)

    def on_ack(self, sender: NodeId, frame: Frame) -> None:
        """Take an acknowledgement: go on, or end the transfer and tell the core."""
        transfer, number, verdict = fields_of(frame, int, int, int)
        outgoing = self._outgoing.get(transfer)
        if outgoing is None or outgoing.to != sender or number > outgoing.sent:
            return
        if verdict != _Verdict.GO_ON:
            self._end(transfer, ok=verdict == _Verdict.DONE)
            return
        outgoing.acknowledged = max(outgoing.acknowledged, number)
        outgoing.moved_at = self._monotonic()
        self._pump(transfer)

    def _pump(self, transfer: int) -> None:
        """Send parts until the window is full, the queue refuses or all are out."""
        outgoing = self._outgoing[transfer]
        while outgoing.sent - outgoing.acknowledged < WINDOW_CHUNKS:
            part = outgoing.unsent or next(outgoing.parts, None)
            if part is None:
                return
            kind, data = part
            frame = Frame(
                Kind.SNAPSHOT, outgoing.group.gid, [transfer, outgoing.sent, int(kind), data]
            )
            if not self._send(outgoing.to, frame):
                outgoing.unsent = part
                return
            outgoing.unsent = None
            outgoing.sent += 1

    def _end(self, transfer: int, *, ok: bool) -> None:
        outgoing = self._outgoing.pop(transfer)
        outgoing.export.close()
        outgoing.group.raw.report_snapshot(outgoing.to, ok=ok)

    def _drop_outgoing(self, chosen: Callable[[_Outgoing], bool]) -> None:
        for transfer in [n for n, each in self._outgoing.items() if chosen(each)]:
            self._end(transfer, ok=False)

    # -------------------------------------------------------------- receiving
    def on_part(self, group: Group, sender: NodeId, frame: Frame) -> None:
        """Take a part and acknowledge it; the last one replaces the group's state."""
        transfer, number, kind, data = fields_of(frame, int, int, int, bytes)
        if kind == _Part.BEGIN:
            verdict = self._take_begin(group, sender, transfer, data)
        else:
            verdict = self._take_part(group, sender, transfer, number, kind, data)
        ack = Frame(Kind.SNAPSHOT_ACK, group.gid, [transfer, number + 1, int(verdict)])
        self._send(sender, ack)

    def _take_begin(self, group: Group, sender: NodeId, transfer: int, data: bytes) -> _Verdict:
        message = self._read(sender, data)
        if message.snapshot is None:
            raise PeerError("the peer began a snapshot without saying of what")
        if not group.raw.wants_snapshot(message):
            group.raw.step(message)  # Its answer tells the leader where this log stands.
            return _Verdict.DONE
        self._drop_incoming(group.gid)
        if len(self._incoming) >= INCOMING_MAX:
            return _Verdict.FAILED
        self._incoming[group.gid] = _Incoming(
            sender,
            transfer,
            message,
            group.store.importer(message.snapshot.meta),
            self._monotonic(),
        )
        return _Verdict.GO_ON

    def _take_part(
        self, group: Group, sender: NodeId, transfer: int, number: int, kind: int, data: bytes
    ) -> _Verdict:
        incoming = self._incoming.get(group.gid)
        if incoming is None or (incoming.sender, incoming.transfer) != (sender, transfer):
            return _Verdict.FAILED
        if number != incoming.taken:
            self._drop_incoming(group.gid)
            return _Verdict.FAILED
        incoming.taken += 1
        incoming.moved_at = self._monotonic()
        if kind == _Part.END:
            return self._install(group, data)
        try:
            incoming.importer.add(data)
        except (LimitExceeded, UsageError) as error:
            self._drop_incoming(group.gid)
            raise PeerError(f"the peer sent a snapshot that cannot be: {error}") from None
        return _Verdict.GO_ON

    def _install(self, group: Group, digest: bytes) -> _Verdict:
        """Replace the state and tell the core, with nothing in between."""
        incoming = self._incoming.pop(group.gid)
        if not group.raw.wants_snapshot(incoming.message):
            incoming.importer.abort()
        else:
            try:
                incoming.importer.finish(digest)
            except PeerError:
                return _Verdict.FAILED
        group.raw.step(incoming.message)
        return _Verdict.DONE

    def _drop_incoming(self, gid: GroupId) -> None:
        incoming = self._incoming.pop(gid, None)
        if incoming is not None:
            incoming.importer.abort()

    # -------------------------------------------------------------- ends
    def peer_lost(self, node: NodeId) -> None:
        """Give up what was under way with ``node``."""
        self._drop_outgoing(lambda each: each.to == node)
        for gid in [gid for gid, each in self._incoming.items() if each.sender == node]:
            self._drop_incoming(gid)

    def group_removed(self, group: Group) -> None:
        """Give up what was under way for ``group``."""
        self._drop_outgoing(lambda each: each.group is group)
        self._drop_incoming(group.gid)

    def tick(self) -> None:
        """Try again what the queue refused, and give up what stalls."""
        late = self._monotonic() - self._stall_seconds
        self._drop_outgoing(lambda each: each.moved_at < late)
        for gid in [gid for gid, each in self._incoming.items() if each.moved_at < late]:
            self._drop_incoming(gid)
        for transfer in list(self._outgoing):
            self._pump(transfer)

    def close(self) -> None:
        """Let go of all views on the disk; nothing is told to anyone."""
        for outgoing in self._outgoing.values():
            outgoing.export.close()
        self._outgoing.clear()
        self._incoming.clear()


def _parts(message: Message, export: SnapshotExport) -> Iterator[tuple[_Part, bytes]]:
    yield _Part.BEGIN, pack_record(to_wire(message))
    for chunk in export:
        yield _Part.CHUNK, chunk
    yield _Part.END, export.digest
