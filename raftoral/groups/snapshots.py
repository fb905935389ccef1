"""Snapshots between nodes: the machine's state in chunks, beside the messages of the core.

Owns transfers under way, in both directions, and which entries their receivers will need. The rules
it keeps: chunks travel on a connection of their own, only a few at a time, and the next ones leave
as they are acknowledged, so that nothing else waits for them and memory stays small; a lost chunk
or connection costs what was not acknowledged, not the transfer, as long as both ends live; what
makes no progress for a while is given up, with all that was kept for its sake, and the core, which
is told, begins again; a transfer leaves most of the machine to those who commit; the receiver replaces its state only after the digest was right, and lets its
core know in the same breath.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from raftoral.codec import pack_record, unpack_record
from raftoral.errors import CorruptionError, LimitExceeded, PeerError, UsageError
from raftoral.ids import Term
from raftoral.raft.messages import (
    NUMBER_MAX,
    Message,
    MessageType,
    Snapshot,
    meta_from_wire,
    meta_to_wire,
)
from raftoral.transport.frame import Frame, Kind, fields_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from raftoral.groups.group import Group
    from raftoral.ids import GroupId, Index, NodeId
    from raftoral.raft.messages import SnapshotMeta
    from raftoral.storage.snapshots import SnapshotExport, SnapshotImport
    from raftoral.transport.base import Transport

WINDOW_PARTS: Final = 4
"""Unacknowledged parts under way, of at most 256 KiB each."""
OUTGOING_MAX: Final = 2
INCOMING_MAX: Final = 4
AHEAD_SECONDS: Final = 0.005
"""By how much a transfer may be ahead of its rate: a shorter pause would not be kept."""
_REPEATS: Final = 4
"""How often parts that nobody acknowledges are sent before the transfer is given up."""


class _Part(IntEnum):
    """What a SNAPSHOT frame carries."""

    BEGIN = 0  # the leader's term, and the meta data
    CHUNK = 1
    END = 2  # the digest of all chunks


class _Verdict(IntEnum):
    """What the receiver says of a part."""

    GO_ON = 0
    DONE = 1
    FAILED = 2
    GAP = 3  # parts before this one are missing


@dataclass(slots=True)
class _Outgoing:
    group: Group
    to: NodeId
    term: Term
    export: SnapshotExport
    parts: Iterator[tuple[_Part, bytes]]
    moved_at: float
    sent_at: float
    free_at: float
    """When what was sent would have left at the rate that is allowed."""
    pauses: bool = False
    connection: object = None
    acknowledged: int = 0
    sent: int = 0
    """Numbers of the first part that is not acknowledged, and not sent on this connection."""
    kept: deque[tuple[_Part, bytes]] = field(default_factory=deque)
    """The parts from ``acknowledged`` on that were read from the disk."""

    @property
    def is_current(self) -> bool:
        return self.group.raw.is_leader and self.group.raw.term == self.term


@dataclass(slots=True)
class _Incoming:
    sender: NodeId
    transfer: int
    message: Message
    importer: SnapshotImport
    moved_at: float
    taken: int = 1


@dataclass(slots=True)
class _CatchingUp:
    """Who has its snapshot, and needs the entries from there on to ``goal``."""

    group: Group
    to: NodeId
    match: Index
    goal: Index
    moved_at: float


class Snapshots:
    """The transfers of one node."""

    def __init__(
        self,
        transport: Transport,
        monotonic: Callable[[], float],
        later: Callable[[float, Callable[[], None]], None],
        stall_seconds: float,
        bytes_per_second: int,
        first_transfer: int,
    ) -> None:
        """``later`` calls back after some seconds, unless the node stops, and flushes.

        Transfers are numbered from ``first_transfer`` on, which no other process of this node used.
        """
        self._transport = transport
        self._monotonic = monotonic
        self._later = later
        self._stall_seconds = stall_seconds
        self._bytes_per_second = bytes_per_second
        self._outgoing: dict[int, _Outgoing] = {}
        self._catching_up: list[_CatchingUp] = []
        self._incoming: dict[GroupId, _Incoming] = {}
        self._next_transfer = first_transfer

    # -------------------------------------------------------------- sending
    def begin(self, group: Group, message: Message) -> None:
        """Stream the group's state to whom the core's SNAPSHOT message is for.

        A transfer that is under way to it goes on instead.
        """
        for transfer, outgoing in list(self._outgoing.items()):
            if outgoing.group is group and outgoing.to == message.to:
                if outgoing.is_current:
                    return
                self._end(transfer)
        if len(self._outgoing) >= OUTGOING_MAX:
            group.raw.report_snapshot(message.to, ok=False)
            return
        export = group.store.export()
        # The state is newer than what the core offered; the message tells what really comes.
        message = message._replace(snapshot=Snapshot(export.meta))
        now = self._monotonic()
        transfer = self._next_transfer
        self._next_transfer += 1
        self._outgoing[transfer] = _Outgoing(
            group, message.to, group.raw.term, export, _parts(message, export), now, now, now
        )
        self._set_bulk()
        self._pump(transfer)

    def needed(self, group: Group) -> Index | None:
        """Return behind which index entries are needed by who gets a snapshot or just got one.

        What makes no progress needs nothing: see `tick`.
        """
        indexes = [
            each.export.meta.index for each in self._outgoing.values() if each.group is group
        ]
        indexes += [each.match for each in self._catching_up if each.group is group]
        return min(indexes, default=None)

    def on_ack(self, sender: NodeId, frame: Frame) -> None:
        """Take an acknowledgement: go on, or end the transfer and tell the core."""
        transfer, number, verdict = fields_of(frame, int, int, int)
        outgoing = self._outgoing.get(transfer)
        if outgoing is None or outgoing.to != sender:
            return
        if verdict == _Verdict.DONE:
            self._arrived(transfer)
        elif verdict == _Verdict.FAILED:
            self._give_up(transfer)
        elif 0 <= number - outgoing.acknowledged <= len(outgoing.kept):
            if number > outgoing.acknowledged:
                outgoing.moved_at = self._monotonic()
            while outgoing.acknowledged < number:
                outgoing.acknowledged += 1
                outgoing.kept.popleft()
            outgoing.sent = number if verdict == _Verdict.GAP else max(outgoing.sent, number)
            self._pump(transfer)

    def _pump(self, transfer: int) -> None:
        """Send parts until the window is full, the rate is reached or all are out."""
        outgoing = self._outgoing[transfer]
        connection = self._transport.bulk(outgoing.to)
        if connection is not outgoing.connection:
            outgoing.connection, outgoing.sent = connection, outgoing.acknowledged
        while connection is not None and outgoing.sent < outgoing.acknowledged + WINDOW_PARTS:
            now = self._monotonic()
            if outgoing.free_at > now + AHEAD_SECONDS:
                self._pause(transfer, outgoing.free_at - now)
                return
            if outgoing.sent == outgoing.acknowledged + len(outgoing.kept):
                part = next(outgoing.parts, None)
                if part is None:
                    return
                outgoing.kept.append(part)
            kind, data = outgoing.kept[outgoing.sent - outgoing.acknowledged]
            body = [transfer, outgoing.sent, int(kind), data]
            if not self._transport.send(
                outgoing.to, Frame(Kind.SNAPSHOT, outgoing.group.gid, body)
            ):
                return
            outgoing.sent += 1
            outgoing.sent_at = now
            outgoing.free_at = max(outgoing.free_at, now) + len(data) / self._bytes_per_second

    def _pause(self, transfer: int, seconds: float) -> None:
        outgoing = self._outgoing[transfer]
        if not outgoing.pauses:
            outgoing.pauses = True
            self._later(seconds, lambda: self._go_on(transfer))

    def _go_on(self, transfer: int) -> None:
        if (outgoing := self._outgoing.get(transfer)) is not None:
            outgoing.pauses = False
            self._pump(transfer)

    def _arrived(self, transfer: int) -> None:
        """The receiver has the state: until it has what came since, the log must reach back."""
        outgoing = self._end(transfer)
        group, to = outgoing.group, outgoing.to
        group.raw.report_snapshot(to, ok=True)
        goal, match = group.store.last_index(), outgoing.export.meta.index
        self._catching_up.append(_CatchingUp(group, to, match, goal, self._monotonic()))

    def _give_up(self, transfer: int) -> None:
        outgoing = self._end(transfer)
        outgoing.group.raw.report_snapshot(outgoing.to, ok=False)

    def _end(self, transfer: int) -> _Outgoing:
        outgoing = self._outgoing.pop(transfer)
        outgoing.export.close()
        self._set_bulk()
        return outgoing

    def _set_bulk(self) -> None:
        self._transport.set_bulk({each.to for each in self._outgoing.values()})

    # -------------------------------------------------------------- receiving
    def on_part(self, group: Group, sender: NodeId, frame: Frame) -> None:
        """Take a part and acknowledge it; the last one replaces the group's state."""
        transfer, number, kind, data = fields_of(frame, int, int, int, bytes)
        incoming = self._incoming.get(group.gid)
        if incoming is not None and (incoming.sender, incoming.transfer) == (sender, transfer):
            verdict = self._take_part(group, incoming, number, kind, data)
        elif kind == _Part.BEGIN:
            verdict = self._take_begin(group, sender, transfer, data)
        else:
            verdict = _Verdict.FAILED
        incoming = self._incoming.get(group.gid)
        taken = incoming.taken if incoming is not None else 0
        ack = Frame(Kind.SNAPSHOT_ACK, group.gid, [transfer, taken, int(verdict)])
        self._transport.send(sender, ack)

    def _take_begin(self, group: Group, sender: NodeId, transfer: int, data: bytes) -> _Verdict:
        term, meta = _begun(data)
        message = Message(
            MessageType.SNAPSHOT, self._transport.local.node, sender, term, snapshot=Snapshot(meta)
        )
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
            group.store.importer(meta),
            self._monotonic(),
        )
        return _Verdict.GO_ON

    def _take_part(
        self, group: Group, incoming: _Incoming, number: int, kind: int, data: bytes
    ) -> _Verdict:
        if number != incoming.taken:
            return _Verdict.GO_ON if number < incoming.taken else _Verdict.GAP
        incoming.taken += 1
        incoming.moved_at = self._monotonic()
        if kind == _Part.END:
            return self._install(group, data)
        try:
            incoming.importer.add(data)
        except (LimitExceeded, UsageError, PeerError) as error:
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
    def peer_back(self, node: NodeId) -> None:
        """Go on with ``node``, whose acknowledgements may have been lost with a connection."""
        for transfer, outgoing in self._outgoing.items():
            if outgoing.to == node:
                outgoing.sent = outgoing.acknowledged
                self._pump(transfer)

    def group_removed(self, group: Group) -> None:
        """Give up what was under way for ``group``."""
        for transfer in [n for n, each in self._outgoing.items() if each.group is group]:
            self._end(transfer)
        self._catching_up = [each for each in self._catching_up if each.group is not group]
        self._drop_incoming(group.gid)

    def tick(self) -> None:
        """Send again what nobody acknowledged, and give up what stalls."""
        now = self._monotonic()
        late = now - self._stall_seconds
        for transfer, outgoing in list(self._outgoing.items()):
            if outgoing.moved_at < late or not outgoing.is_current:
                self._give_up(transfer)
                continue
            silent_since = max(outgoing.sent_at, outgoing.moved_at)
            if now - silent_since > self._stall_seconds / _REPEATS:
                outgoing.sent = outgoing.acknowledged
            self._pump(transfer)
        if self._catching_up:
            self._catching_up = [each for each in self._catching_up if _goes_on(each, now, late)]
        for gid in [gid for gid, each in self._incoming.items() if each.moved_at < late]:
            self._drop_incoming(gid)

    def close(self) -> None:
        """Let go of all views on the disk; nothing is told to anyone."""
        for transfer in list(self._outgoing):
            self._end(transfer)
        self._catching_up.clear()
        self._incoming.clear()


def _goes_on(each: _CatchingUp, now: float, late: float) -> bool:
    """Whether a receiver still catches up; take note of how far it is."""
    progress = each.group.raw.status().progress.get(each.to)
    if progress is None:
        return False
    if progress.match > each.match:
        each.match, each.moved_at = progress.match, now
    return each.match < each.goal and each.moved_at >= late


def _begun(data: bytes) -> tuple[Term, SnapshotMeta]:
    """Return the leader's term and what it sends; `PeerError` if the bytes hold neither."""
    try:
        term, *meta = unpack_record(data)
    except (CorruptionError, ValueError):
        term, meta = 0, []
    if type(term) is not int or not 0 < term <= NUMBER_MAX:
        raise PeerError("the peer began a snapshot without saying of what")
    return Term(term), meta_from_wire(meta)


def _parts(message: Message, export: SnapshotExport) -> Iterator[tuple[_Part, bytes]]:
    assert message.snapshot is not None, "an offer says of what"
    yield _Part.BEGIN, pack_record([message.term, *meta_to_wire(message.snapshot.meta)])
    for chunk in export:
        yield _Part.CHUNK, chunk
    yield _Part.END, export.digest
