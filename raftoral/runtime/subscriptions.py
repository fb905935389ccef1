"""Who waits until something happens to a run, on this node or on another one.

Owns the topics that somebody here waits for, and those that peers want to be told of. A *topic* is
one side of one run. A notice says only that the topic changed; who waits looks for itself, so a
notice too many costs a look and nothing else. The rule it keeps: whoever waits for a change that
comes after it looked is woken, or woken because nobody can tell any more; a notice is sent until
the peer has it or its connection is lost, and a lost connection wakes who relied on it.

A subscription at a peer is good for one notice. So a slow waiter gets one notice for many changes,
and none of it is left behind by who has found what it waited for.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from raftoral.errors import NodeStopped, Unavailable
from raftoral.ids import GroupId, NodeId, RunId
from raftoral.machines import execution, runs
from raftoral.replay.history import Resumed, is_kind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from raftoral.runtime.routing import Routing
    from raftoral.values import Value

T = TypeVar("T")

STANDING: Final = "standing"
"""The run has another status, owner or reason; it ended, or it is no more."""

STEPS: Final = "steps"
"""The run's history changed."""

PAUSE_S: Final = 0.1
"""How soon it is tried again where nobody answers."""

NOTICES_AT_ONCE: Final = 1_000


class Topic(NamedTuple):
    """One side of one run: `STANDING` or `STEPS`."""

    group: GroupId
    run_id: RunId
    side: str


class Subscriptions:
    """The subscriptions of one node; all methods belong to the node's loop."""

    def __init__(self, routing: Routing) -> None:
        self._routing = routing
        self._waiting: dict[Topic, dict[asyncio.Event, None]] = {}
        """In the order in which they came, which is the order in which they are woken."""
        self._told_by: dict[Topic, NodeId] = {}
        self._opening: dict[Topic, asyncio.Task[None]] = {}
        self._wanted: dict[Topic, set[NodeId]] = {}
        self._due: dict[NodeId, dict[Topic, None]] = {}
        self._tellers: dict[NodeId, asyncio.Task[None]] = {}
        self._stopped = False
        routing.serve_peer("topics.open", self._serve_open)
        routing.serve_peer("topics.changed", self._serve_changed)

    # -------------------------------------------------------------- waiting
    async def until(
        self, topic: Topic, look: Callable[[], Awaitable[T | None]], seconds: float | None = None
    ) -> T | None:
        """Return what ``look`` finds, looking again at each change; None once the time is up.

        ``look`` answers None for "not yet"; its `Unavailable` means the same, any other error is
        raised. What it sees must be as new as any notice: a read of this node's own copy if the
        group is here, or else behind a barrier.
        """
        loop = asyncio.get_running_loop()
        end = None if seconds is None else loop.time() + seconds
        with self._registered(topic) as woken:
            while True:
                left = None if end is None else end - loop.time()
                woken.clear()
                try:
                    async with asyncio.timeout(left):
                        found = await self._look(topic, look)
                        if found is not None:
                            return found
                        await woken.wait()
                except TimeoutError:
                    return None
                if self._stopped:
                    raise NodeStopped("this node was stopped")

    async def _look(self, topic: Topic, look: Callable[[], Awaitable[T | None]]) -> T | None:
        """Look once; if there is nothing yet, see to it that a change is told, and look again."""
        while True:
            try:
                found = await look()
                if found is None and not self._routing.is_here(topic.group):
                    await self._subscribe(topic)
                    found = await look()
                return found
            except NodeStopped:
                raise
            except Unavailable:
                await asyncio.sleep(PAUSE_S)

    @contextmanager
    def _registered(self, topic: Topic) -> Iterator[asyncio.Event]:
        woken = asyncio.Event()
        self._waiting.setdefault(topic, {})[woken] = None
        try:
            yield woken
        finally:
            waiting = self._waiting[topic]
            del waiting[woken]
            if not waiting:
                del self._waiting[topic]

    async def _subscribe(self, topic: Topic) -> None:
        """Return once a member of the group will tell of the next change; `Unavailable` if none can."""
        if topic not in self._opening:
            if topic in self._told_by:
                return
            opening = asyncio.get_running_loop().create_task(self._open(topic))
            self._opening[topic] = opening
            opening.add_done_callback(_seen)
        await asyncio.shield(self._opening[topic])  # Others may wait for it too.

    async def _open(self, topic: Topic) -> None:
        problem = Unavailable(f"no member of group {topic.group} can be reached; try again")
        try:
            for member in self._routing.reachable_members(topic.group):
                # Before it is asked: its notice may be here before its answer.
                self._told_by[topic] = member
                try:
                    await self._routing.call(member, "topics.open", [*topic])
                    return
                except Unavailable as error:
                    problem = error
                    self._told_by.pop(topic, None)
            raise problem
        finally:
            # Not in a callback, before which somebody could find a task that is over.
            del self._opening[topic]

    # -------------------------------------------------------------- what happens
    def changed(self, topics: Iterable[Topic]) -> None:
        """Wake who waits for these topics here, and tell the peers that asked for them."""
        for topic in topics:
            self._wake(topic)
            for peer in self._wanted.pop(topic, ()):
                self._tell(peer, topic)

    def applied(self, group: GroupId, events: Iterable[execution.Event]) -> None:
        """Wake and tell whoever waits for what a group's machine has just applied."""
        if self._waiting or self._wanted:
            self.changed([Topic(group, *side) for event in events for side in _sides(event)])

    def unsure(self, group: GroupId) -> None:
        """Wake all who wait for runs of a group: what happened to them was not told one by one."""
        self.changed([each for each in (*self._waiting, *self._wanted) if each.group == group])

    def peer_lost(self, node: NodeId) -> None:
        """Forget what a peer wanted to know, and wake who relied on it."""
        self._due.pop(node, None)
        for topic in [each for each, peers in self._wanted.items() if node in peers]:
            self._wanted[topic].discard(node)
            if not self._wanted[topic]:
                del self._wanted[topic]
        for topic in [each for each, teller in self._told_by.items() if teller == node]:
            self._wake(topic)

    def tick(self) -> None:
        """Send peers elsewhere for groups that this node hears nothing new of."""
        for group in {topic.group for topic in self._wanted}:
            if not self._routing.is_current(group):
                self.unsure(group)

    def close(self) -> None:
        """Wake everybody for the last time."""
        self._stopped = True
        for task in [*self._tellers.values(), *self._opening.values()]:
            task.cancel()
        for topic in list(self._waiting):
            self._wake(topic)

    def _wake(self, topic: Topic) -> None:
        self._told_by.pop(topic, None)
        for woken in self._waiting.get(topic, ()):
            woken.set()

    # -------------------------------------------------------------- between nodes
    async def _serve_open(self, sender: NodeId, group: int, run_id: str, side: str) -> Value:
        topic = Topic(GroupId(group), RunId(run_id), side)
        if not self._routing.is_current(topic.group):
            raise Unavailable(f"this node cannot tell what happens in group {group}; ask another")
        self._wanted.setdefault(topic, set()).add(sender)
        return None

    async def _serve_changed(self, _sender: NodeId, topics: list[list[Any]]) -> Value:
        for group, run_id, side in topics:
            self._wake(Topic(GroupId(group), RunId(run_id), side))
        return None

    def _tell(self, peer: NodeId, topic: Topic) -> None:
        self._due.setdefault(peer, {})[topic] = None
        if peer not in self._tellers:
            task = asyncio.get_running_loop().create_task(self._tell_all(peer))
            self._tellers[peer] = task

    async def _tell_all(self, peer: NodeId) -> None:
        """Send a peer all notices that are due for it, many at once, in order."""
        try:
            while due := self._due.get(peer):
                batch = list(islice(due, NOTICES_AT_ONCE))
                for topic in batch:
                    del due[topic]
                try:
                    await self._routing.call(peer, "topics.changed", [[[*each] for each in batch]])
                except Unavailable:
                    if not self._routing.is_connected(peer):
                        return  # It knows, and asks again.
                    self._due.setdefault(peer, {}).update(dict.fromkeys(batch))
                    await asyncio.sleep(PAUSE_S)
        finally:
            del self._tellers[peer]


def _seen(opening: asyncio.Task[None]) -> None:
    """Take an error that nobody waits for any more."""
    if not opening.cancelled():
        opening.exception()


def _sides(event: execution.Event) -> Iterator[tuple[RunId, str]]:
    """Yield which sides of which run an event of the machine changes."""
    match event:
        case execution.Settled(run, _, settled):
            yield run.id, STEPS
            if run.status != runs.RUNNING or is_kind(settled[-1], Resumed):
                yield run.id, STANDING
        case execution.RunStarted(run) | execution.Regenerated(run):
            yield run.id, STEPS
            yield run.id, STANDING
        case execution.OwnerChanged(run):
            yield run.id, STANDING
        case execution.Forgotten(run_id):
            yield run_id, STEPS
            yield run_id, STANDING
        case _:
            pass
