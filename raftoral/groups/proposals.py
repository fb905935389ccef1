"""Who waits for which entry, here and across nodes.

Owns proposals from the call until their outcome. Never appends to a log. The rules it keeps: every
proposal ends once: with the machine's answer, with an error that says it is not in the log
(`NotLeader`, `ProposalDropped`), or with `ProposalUnknown`; and it is never called safe to repeat
once it may have reached a log.

An entry is identified by (index, term): another term at that index means that it never commits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from raftoral.codec import pack_record, unpack_record
from raftoral.errors import (
    CorruptionError,
    NotLeader,
    PeerError,
    ProposalDropped,
    ProposalUnknown,
    RaftoralError,
    Unavailable,
    UsageError,
)
from raftoral.ids import GroupId, Index, NodeId, Term
from raftoral.raft.messages import EntryKind
from raftoral.transport.frame import Frame, Kind, fields_of, frame_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from raftoral.machines.base import Result

COMMAND_BYTES_MAX: Final = 512 * 1024
"""Largest command; a frame takes it with its stamp and a message around it."""

_FRAME_PAYLOAD: Final = 512 * 1024
_DROPPED: Final = b""
_TOO_LARGE: Final = b"\xc0"


class Waiting(Protocol):
    """Somebody who waits for the outcome of an entry."""

    def resolve(self, result: Result) -> None:
        """Tell the machine's answer."""
        ...

    def fail(self, error: RaftoralError) -> None:
        """Tell why there is none."""
        ...


class Proposal:
    """A command of this process on its way into a log; ``tell`` gets its outcome, once."""

    __slots__ = ("_tell", "deadline", "kind", "payload")

    def __init__(
        self,
        kind: EntryKind,
        payload: bytes,
        deadline: float,
        tell: Callable[[Result | RaftoralError], None],
    ) -> None:
        self.kind = kind
        self.payload = payload
        self.deadline = deadline
        self._tell = tell

    def resolve(self, result: Result) -> None:
        """Tell the machine's answer."""
        self._tell(result)

    def fail(self, error: RaftoralError) -> None:
        """Tell why there is none."""
        self._tell(error)


def telling(outcome: asyncio.Future[Result]) -> Callable[[Result | RaftoralError], None]:
    """Return who tells the caller that awaits ``outcome``, if it still does."""

    def tell(answer: Result | RaftoralError) -> None:
        if outcome.done():
            return
        if isinstance(answer, RaftoralError):
            outcome.set_exception(answer)
        else:
            outcome.set_result(answer)

    return tell


# ------------------------------------------------------------------ in the own log
class Waiters:
    """Who waits for which entry of one group's own log."""

    def __init__(self) -> None:
        self._by_index: dict[Index, tuple[Term, Waiting]] = {}

    def add(self, index: Index, term: Term, waiting: Waiting) -> None:
        """Let ``waiting`` learn what becomes of the entry (index, term).

        An older one for the same index learns that nobody knows: its entry may still be in
        another node's log.
        """
        former = self._by_index.get(index)
        if former is not None:
            former[1].fail(_unknown("another leader wrote to its place"))
        self._by_index[index] = (term, waiting)

    def take(self, index: Index) -> tuple[Term, Waiting] | None:
        """Return and forget who waits for ``index``."""
        return self._by_index.pop(index, None)

    def take_overtaken(self, index: Index, term: Term) -> list[Waiting]:
        """Return and forget who waits above ``index`` for an entry of an older term than ``term``.

        If an entry (index, term) is committed, theirs never will be: terms do not fall in a log.
        """
        overtaken = [
            waited for waited, (of, _) in self._by_index.items() if waited > index and of < term
        ]
        return [self._by_index.pop(waited)[1] for waited in overtaken]

    def fail_through(self, index: Index, error: RaftoralError) -> None:
        """Fail all who wait for ``index`` or less."""
        for waited in [waited for waited in self._by_index if waited <= index]:
            self._by_index.pop(waited)[1].fail(error)

    def fail_all(self, error: RaftoralError) -> None:
        """Fail everyone."""
        waiting, self._by_index = self._by_index, {}
        for _, each in waiting.values():
            each.fail(error)

    def expire(self, now: float) -> None:
        """Fail those whose time is up."""
        for index in [
            index
            for index, (_, waiting) in self._by_index.items()
            if type(waiting) is Proposal and waiting.deadline <= now
        ]:
            self._by_index.pop(index)[1].fail(_unknown("it did not commit in time"))

    def __len__(self) -> int:
        return len(self._by_index)


# ------------------------------------------------------------------ to another node's log
class _Sent(NamedTuple):
    """A proposal that another node has been asked to append."""

    proposal: Proposal
    group: GroupId
    node: NodeId


class Appended(NamedTuple):
    """A forwarded proposal that is in its leader's log; ``proposal`` waits for (index, term)."""

    proposal: Proposal
    index: Index  # type: ignore[assignment]  # a record, nobody searches in it
    term: Term


class Forwarded:
    """The proposals that this node sent to others, until their outcome is known here.

    A member of the group waits for its own log once it knows index and term; who is none keeps
    waiting for the answer of the leader.
    """

    def __init__(self) -> None:
        self._sent: dict[int, _Sent] = {}
        self._last_id = 0

    def frames(
        self, group: GroupId, node: NodeId, proposals: Sequence[Proposal], *, wants_result: bool
    ) -> Iterator[Frame]:
        """Yield the frames that ask ``node`` to append ``proposals``."""
        for batch in _batches(proposals):
            first = self._last_id + 1
            self._last_id += len(batch)
            body = [
                int(batch[0].kind),
                int(wants_result),
                first,
                [proposal.payload for proposal in batch],
            ]
            for number, proposal in enumerate(batch):
                self._sent[first + number] = _Sent(proposal, group, node)
            yield Frame(Kind.PROPOSE, group, body)

    def not_sent(self, frame: Frame, error: RaftoralError) -> None:
        """Fail the proposals of a PROPOSE frame that never left this node."""
        _, _, first, payloads = frame.body
        for number in range(first, first + len(payloads)):
            self._sent.pop(number).proposal.fail(error)

    def on_proposed(self, sender: NodeId, frame: Frame, *, is_member: bool) -> list[Appended]:
        """Take a leader's answer to a PROPOSE frame; return what is to be waited for here."""
        first, taken, refused, index, term, code, leader, why = fields_of(
            frame, int, int, int, int, int, str, int, str
        )
        if not 0 <= taken + refused <= self._last_id or min(taken, refused) < 0:
            raise PeerError("the peer answered more proposals than it was sent")
        appended = []
        for number in range(taken):
            sent = self._sent.get(first + number)
            if sent is not None and sent.node == sender and is_member:
                del self._sent[first + number]
                appended.append(Appended(sent.proposal, Index(index + number), Term(term)))
        for number in range(first + taken, first + taken + refused):
            sent = self._sent.get(number)
            if sent is not None and sent.node == sender:
                del self._sent[number]
                sent.proposal.fail(_refusal(code, NodeId(leader), why))
        return appended

    def on_applied(self, sender: NodeId, frame: Frame) -> None:
        """Take results that a leader sends to a node that is no member."""
        numbers, answers = frame.body[::2], frame.body[1::2]
        if len(numbers) != len(answers):
            raise PeerError("the peer sent an APPLIED frame that ends early")
        for number, data in zip(numbers, answers, strict=True):
            if type(number) is not int or type(data) is not bytes:
                raise PeerError("the peer sent an APPLIED frame with a body of another shape")
            sent = self._sent.get(number)
            if sent is None or sent.node != sender:
                continue
            del self._sent[number]
            if data == _DROPPED:
                sent.proposal.fail(dropped())
            elif data == _TOO_LARGE:
                sent.proposal.fail(_unknown("it was applied, but no answer could be sent"))
            else:
                sent.proposal.resolve(_record(data))

    def peer_lost(self, node: NodeId) -> None:
        """Fail what was sent to ``node`` and not answered."""
        for number in [n for n, sent in self._sent.items() if sent.node == node]:
            self._sent.pop(number).proposal.fail(
                _unknown(f"node {node} was lost before it answered")
            )

    def fail_all(self, error: RaftoralError) -> None:
        """Fail everything."""
        sent, self._sent = self._sent, {}
        for each in sent.values():
            each.proposal.fail(error)

    def expire(self, now: float) -> None:
        """Fail those whose time is up."""
        for number in [n for n, sent in self._sent.items() if sent.proposal.deadline <= now]:
            self._sent.pop(number).proposal.fail(_unknown("no answer came in time"))


def _batches(proposals: Sequence[Proposal]) -> Iterator[list[Proposal]]:
    """Cut proposals into runs of one kind that fit into a frame each."""
    batch: list[Proposal] = []
    room = _FRAME_PAYLOAD
    for proposal in proposals:
        room -= len(proposal.payload) + 8
        if batch and (room < 0 or proposal.kind is not batch[0].kind):
            yield batch
            batch, room = [], _FRAME_PAYLOAD - len(proposal.payload)
        batch.append(proposal)
    if batch:
        yield batch


# ------------------------------------------------------------------ for another node
class PeerRequest(NamedTuple):
    """What a PROPOSE frame asks for."""

    kind: EntryKind
    wants_result: bool
    first: int
    payloads: list[bytes]


def request_of(frame: Frame) -> PeerRequest:
    """Return what a PROPOSE frame asks for; `PeerError` if it is malformed."""
    kind, wants, first, payloads = fields_of(frame, int, int, int, list)
    if kind not in (EntryKind.NORMAL, EntryKind.CONF) or any(
        type(payload) is not bytes for payload in payloads
    ):
        raise PeerError("the peer sent a PROPOSE frame with a body of another shape")
    return PeerRequest(EntryKind(kind), bool(wants), first, payloads)


def answer_frame(
    group: GroupId,
    request: PeerRequest,
    taken: int,
    index: Index,
    term: Term,
    error: RaftoralError | None,
) -> Frame:
    """Return the PROPOSED frame: the first ``taken`` are in the log, the rest refused."""
    code, leader, why = "", 0, ""
    if error is not None:
        code, why = error.code, str(error)
        leader = (error.leader or 0) if isinstance(error, NotLeader) else 0
    refused = len(request.payloads) - taken
    return Frame(
        Kind.PROPOSED, group, [request.first, taken, refused, index, term, code, leader, why]
    )


class Answers:
    """Results for nodes that are no members, collected per drain."""

    def __init__(self) -> None:
        self.due: dict[NodeId, list[tuple[int, bytes]]] = {}

    def waiting(self, origin: NodeId, number: int) -> Waiting:
        """Return who waits on behalf of proposal ``number`` of node ``origin``."""
        return _Elsewhere(self, origin, number)

    def add(self, origin: NodeId, number: int, answer: bytes) -> None:
        """Note an answer to be sent."""
        self.due.setdefault(origin, []).append((number, answer))

    def frames(self) -> Iterable[tuple[NodeId, Frame]]:
        """Return the APPLIED frames to send now, and forget them."""
        due, self.due = self.due, {}
        for origin, answers in due.items():
            body: list[Any] = []
            size = 0
            for number, answer in answers:
                if body and size + len(answer) > _FRAME_PAYLOAD:
                    yield origin, frame_of(Kind.APPLIED, *body)
                    body, size = [], 0
                body += (number, answer)
                size += len(answer) + 16
            yield origin, frame_of(Kind.APPLIED, *body)


class _Elsewhere(NamedTuple):
    """A caller on a node that is no member of the group."""

    answers: Answers
    origin: NodeId
    number: int

    def resolve(self, result: Result) -> None:
        data = pack_record(result)
        self.answers.add(
            self.origin, self.number, data if len(data) <= _FRAME_PAYLOAD else _TOO_LARGE
        )

    def fail(self, error: RaftoralError) -> None:
        # Anything but a certain drop is left to the caller's own time limit.
        if isinstance(error, ProposalDropped):
            self.answers.add(self.origin, self.number, _DROPPED)


# ------------------------------------------------------------------ errors
def _unknown(why: str) -> ProposalUnknown:
    return ProposalUnknown(f"the proposal may or may not take effect: {why}")


def dropped() -> ProposalDropped:
    """Return the error of who waited for an entry that never commits."""
    return ProposalDropped("another leader's entry took its place")


def unknown_after_snapshot() -> ProposalUnknown:
    """Return the error of who waited for an entry that a snapshot jumped over."""
    return _unknown("a snapshot took the place of its entry")


def unknown_after_removal() -> ProposalUnknown:
    """Return the error of who waited for an entry of a group that left this node."""
    return _unknown("the group was removed from this node")


def _refusal(code: str, leader: NodeId, why: str) -> RaftoralError:
    if code == NotLeader.code:
        return NotLeader(leader or None)
    if code == ProposalDropped.code:
        return ProposalDropped(why)
    if code == Unavailable.code:
        return Unavailable(why)
    return UsageError(why)


def _record(data: bytes) -> Result:
    try:
        return unpack_record(data)
    except CorruptionError as error:
        raise PeerError(f"the peer sent a result that is none: {error}") from None
