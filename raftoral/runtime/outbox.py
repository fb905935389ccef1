"""Carries what one group has to tell another, for each group that this node leads.

Owns no message: they stand in the group's state until `OutboxDone`, so another leader goes on where
this one stopped, and carrying one twice does no harm (`raftoral.machines.outbox` has the fence). The
rules it keeps: a message is marked as done only once its receiver has answered it for good; the
messages to one group travel together, and a group that is not available holds up nobody else's.

Where sender and receiver are one group, the way is the same.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, assert_never

from raftoral.codec import unpack
from raftoral.errors import RaftoralError, Unavailable, UnknownRun
from raftoral.machines import children, outbox
from raftoral.machines.commands import Delivered, Many, OutboxDone, Passed
from raftoral.machines.outbox import Begin, Say
from raftoral.replay.failures import failure_of
from raftoral.runtime.routing import refusal_of

if TYPE_CHECKING:
    from raftoral.ids import GroupId, RunId
    from raftoral.machines.base import Result
    from raftoral.machines.outbox import Message
    from raftoral.runtime.lookup import Lookup
    from raftoral.runtime.routing import Routing
    from raftoral.runtime.starts import Starts

log = logging.getLogger("raftoral.outbox")

BATCH_MAX: Final = 64
"""How many messages travel in one entry of the receiving group."""

BATCH_BYTES_MAX: Final = 384 * 1024

PAUSE_FIRST_S: Final = 0.05
PAUSE_MAX_S: Final = 5.0
"""How long a group is left alone that did not take its messages."""

SETTLED_S: Final = 1.0
"""How long there must be nothing to carry until the receivers are told how far all is done."""

LATER: Final = frozenset({"wrong_group", "unavailable"})
"""Refusals after which a message is carried again."""


class Outboxes:
    """The outboxes of the groups that this node leads; all methods belong to the node's loop."""

    def __init__(self, routing: Routing, starts: Starts, lookup: Lookup) -> None:
        self._routing = routing
        self._starts = starts
        self._lookup = lookup
        self._led: dict[GroupId, _Outbox] = {}

    def leads(self, group: GroupId, leads: bool) -> None:
        """Begin or stop to carry the messages of a group."""
        if leads:
            self._led[group] = _Outbox(group, self._routing, self._starts, self._lookup)
            self._led[group].grew()
        elif group in self._led:
            self._led.pop(group).close()

    def grew(self, group: GroupId) -> None:
        """Look for new messages of a group."""
        if group in self._led:
            self._led[group].grew()

    def close(self) -> None:
        """Stop carrying."""
        for each in self._led.values():
            each.close()
        self._led.clear()


class _Outbox:
    """The outbox of one group that this node leads: a lane for each receiving group."""

    def __init__(self, group: GroupId, routing: Routing, starts: Starts, lookup: Lookup) -> None:
        self.group = group
        self.routing = routing
        self.starts = starts
        self.lookup = lookup
        self._seen = 0
        self._lanes: dict[GroupId, _Lane] = {}
        last = outbox.last(routing.state(group))
        self._untold = dict.fromkeys(routing.groups(), last)
        """Up to which message a receiver got some and was not told that it got all."""
        self._telling = asyncio.get_running_loop().create_task(self._tell())

    def grew(self) -> None:
        """Give each message that is new here to its lane."""
        for number, message in outbox.messages(self.routing.state(self.group), self._seen + 1):
            try:
                self.put(number, message)
            except Unavailable:
                return  # Group 0 is not here yet after a start, so `_tell` looks again.
            self._seen = number

    def put(self, number: int, message: Message) -> None:
        """Give a message to the lane of the group that it is for now."""
        to = self.routing.group_of(message.run_id if isinstance(message, Begin) else message.to)
        if to not in self._lanes:
            self._lanes[to] = _Lane(self, to)
        self._lanes[to].put(number)
        self._untold[to] = max(number, self._untold.get(to, 0))

    def low(self) -> int:
        """Return the number below which everything was dealt with."""
        return outbox.low(self.routing.state(self.group))

    def close(self) -> None:
        """Stop everything."""
        self._telling.cancel()
        for lane in self._lanes.values():
            lane.close()

    def lane_is_empty(self, to: GroupId) -> None:
        """Forget a lane that has carried everything."""
        del self._lanes[to]

    async def _tell(self) -> None:
        """Tell receivers how far all is done, once no message to them would tell it.

        And look for messages whose group was not known when they came.
        """
        while True:
            await asyncio.sleep(SETTLED_S)
            self.grew()
            low = self.low()
            for to, last in sorted(self._untold.items()):
                if low <= last:
                    continue
                try:
                    await self.routing.propose(to, Passed(self.group, low).encode())
                except RaftoralError as error:
                    log.debug("group %d is not told that all is done: %s", to, error)
                    continue
                if self._untold.get(to) == last:
                    del self._untold[to]


class _Lane:
    """The messages of one group to another one, carried in order, many at once."""

    def __init__(self, source: _Outbox, to: GroupId) -> None:
        self._source = source
        self._to = to
        self._waiting: dict[int, None] = {}
        self._task = asyncio.get_running_loop().create_task(self._carry_all())

    def put(self, number: int) -> None:
        """Add a message to be carried."""
        self._waiting[number] = None

    def close(self) -> None:
        """Stop."""
        self._task.cancel()

    async def _carry_all(self) -> None:
        """Carry until nothing waits; what did not come through stays and is tried again."""
        pause_s = PAUSE_FIRST_S
        while self._waiting:
            try:
                await self._carry()
                pause_s = PAUSE_FIRST_S
            except Exception as error:
                about = (len(self._waiting), self._source.group, self._to, error)
                if isinstance(error, Unavailable):
                    log.debug("%d messages of group %d to group %d wait: %s", *about)
                else:
                    log.exception("%d messages of group %d to group %d wait: %s", *about)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_MAX_S)
        self._source.lane_is_empty(self._to)

    async def _carry(self) -> None:
        """Carry a batch, and mark as done what was answered for good."""
        batch = dict(self._batch())
        orders = await asyncio.gather(*(self._order(*each) for each in batch.items()))
        sent = [each for each in orders if isinstance(each, Delivered)]
        settled = [each for each in orders if isinstance(each, _Settled)]
        for order, answer in zip(sent, await self._deliver(sent), strict=True):
            if answer[0] == "ok":
                settled.append(_Settled(order.number))
            elif answer[1] not in LATER:
                settled.append(_refused(order.number, batch[order.number], refusal_of(answer)))
        await self._acknowledge(settled)
        for each in settled:
            del self._waiting[each.number]
            del batch[each.number]
        for number, message in batch.items():
            # It may belong to another lane by now: slots move.
            del self._waiting[number]
            self._source.put(number, message)
        if not settled and batch:
            raise Unavailable("it takes none of them just now")

    def _batch(self) -> list[tuple[int, Message]]:
        """Return the first messages that still wait, as they are now."""
        state = self._source.routing.state(self._source.group)
        batch: list[tuple[int, Message]] = []
        size = 0
        for number in list(islice(self._waiting, BATCH_MAX)):
            found = next(outbox.messages(state, number), None)
            if found is None or found[0] != number:
                del self._waiting[number]  # Nobody needs it any more.
                continue
            size += _size(found[1])
            if batch and size > BATCH_BYTES_MAX:
                break
            batch.append(found)
        return batch

    async def _order(self, number: int, message: Message) -> Delivered | _Settled:
        """Return the command that carries a message, or what is known without carrying it."""
        match message:
            case Say(command=command):
                return Delivered(self._source.group, number, self._source.low(), command)
            case Begin():
                return await self._begin(number, message)
            case _:
                assert_never(message)

    async def _begin(self, number: int, begin: Begin) -> Delivered | _Settled:
        given = unpack(begin.input)
        try:
            start = await self._source.starts.command(
                begin.run_id, begin.name, begin.version or None, given, parent=begin.parent
            )
        except Unavailable:
            raise
        except RaftoralError as error:
            # An earlier copy may have come through, when another version was the newest.
            if await self._is_there(begin.run_id):
                return _Settled(number)
            return _refused(number, begin, error)
        return Delivered(self._source.group, number, self._source.low(), start.encode())

    async def _is_there(self, run_id: RunId) -> bool:
        try:
            await self._source.lookup.show(run_id)
        except UnknownRun:
            return False
        return True

    async def _deliver(self, orders: list[Delivered]) -> list[Result]:
        if not orders:
            return []
        many = Many([order.encode() for order in orders])
        result = await self._source.routing.propose(self._to, many.encode())
        answers: list[Result] = result[1]
        return answers

    async def _acknowledge(self, settled: list[_Settled]) -> None:
        if settled:
            done = OutboxDone([each.number for each in settled]).encode()
            news = [each.news for each in settled if each.news is not None]
            await self._source.routing.propose(self._source.group, Many([*news, done]).encode())


class _Settled(NamedTuple):
    """A message that need not be carried any more, and what its own group has to be told then."""

    number: int
    news: bytes | None = None


def _refused(number: int, message: Message, error: RaftoralError) -> _Settled:
    """Return what becomes of a message that its receiver will never take."""
    if isinstance(message, Say):
        log.debug("message %d is of no use to %s: %s", number, message.to, error)
        return _Settled(number)
    log.warning("run %s does not begin: %s", message.run_id, error)
    news = children.refusal(message, failure_of(error))
    return _Settled(number, None if news is None else news.encode())


def _size(message: Message) -> int:
    """Return about how many bytes a message takes on its way."""
    match message:
        case Say(command=command):
            return len(command) + 100
        case Begin(input=given, parent=parent):
            return len(given) + len(parent) + 500
        case _:
            assert_never(message)
