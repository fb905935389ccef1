"""Runs every live run of one execution group; acts for those that this node owns.

Owns the generators of its group and the owner's side of settling. Committed events come in
(`applied`), settlements go out; in between it runs activities. The rules it keeps: only the owner
acts; it resumes from committed bytes only; what it proposed is forgotten, not trusted, when an
answer is missing, and worked out again from where the replay stands.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from itertools import islice
from traceback import extract_tb
from typing import TYPE_CHECKING, Final, Protocol, assert_never

from raftoral.errors import RaftoralError, UsageError
from raftoral.ids import NOBODY, Millis, NodeId, Position
from raftoral.machines import execution, runs
from raftoral.machines.commands import HandOver, Many
from raftoral.machines.placement import home_of
from raftoral.replay.context import ActivityContext
from raftoral.replay.failures import failure_of
from raftoral.replay.history import (
    Done,
    Logged,
    Retry,
    Taken,
    TimerFired,
    TimerSet,
    decode,
    encode,
    is_log,
)
from raftoral.replay.interpreter import Replay
from raftoral.replay.waits import ComputeWait, SignalWait, TimerWait, describe_waiting, timer_due
from raftoral.runtime.live import EVENT_FRAME_BYTES, SETTLE_BYTES_MAX, Live
from raftoral.runtime.watchdog import StepTooLong, Watchdog
from raftoral.values import millis_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from raftoral.ids import RunId
    from raftoral.kv import Reader
    from raftoral.machines.base import Result
    from raftoral.machines.commands import Settle
    from raftoral.machines.runs import Run
    from raftoral.registry.definition import Definition
    from raftoral.registry.loader import Loader
    from raftoral.runtime.attempts import Attempts

log = logging.getLogger("raftoral.executor")

RETRY_MS: Final = 50
"""How soon a settlement that was not taken is worked out again."""

TRY_AGAIN: Final = frozenset(
    {
        "early",
        "stale",
        "unavailable",
        "not_leader",
        "proposal_dropped",
        "proposal_unknown",
        "node_stopped",
    }
)
"""Refusals after which a settlement is worked out again; after others the run is handed over."""

ALARM_S: Final = 1.0
"""How soon the group's clock is looked at again, at the latest: it may jump."""

MANY_MAX: Final = 256
MOVES_PER_TICK: Final = 4
LOOKS_PER_TICK: Final = 200
"""How many runs are looked at in one tick for whether they are away from home."""

SETTLED_HOME_S: Final = 2.0
"""How long a member must be up before runs move back to it."""


class Port(Protocol):
    """What the executor needs of its group."""

    @property
    def reader(self) -> Reader:
        """The group's applied state."""
        ...

    async def propose(self, command: bytes) -> Result:
        """Put a command through the group's log; raises `Unavailable` kinds."""
        ...

    def now(self) -> Millis:
        """Return the group's clock as this node can best tell it."""
        ...

    def connected(self) -> bool:
        """Tell whether this node has heard from the group's leader within an election timeout."""
        ...

    def published(self) -> bool:
        """Tell whether the group has applied that this node is up since its last start."""
        ...

    def definition(self, run: Run) -> Definition | None:
        """Return the definition a run is pinned to; None while this node's registry is behind.

        Raises `UnknownDefinition` if it is not deployed.
        """
        ...


class Executor:
    """The runs of one group on one node. All methods belong to the node's loop."""

    def __init__(
        self,
        node: NodeId,
        port: Port,
        loader: Loader,
        attempts: Attempts,
        watchdog: Watchdog,
        chance: Callable[[int], int],
    ) -> None:
        self.live: dict[RunId, Live] = {}
        self._node = node
        self._port = port
        self._loader = loader
        self._attempts = attempts
        self._watchdog = watchdog
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._ended: dict[RunId, list[asyncio.Future[None]]] = {}
        self._dirty: dict[RunId, Live] = {}
        self._flushing = False
        self._timers: list[tuple[Millis, RunId]] = []
        self._alarm: asyncio.TimerHandle | None = None
        self._behind: set[RunId] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._up_since: dict[NodeId, float] = {}
        self._settled_members: list[NodeId] = []
        self._perhaps_away: dict[RunId, None] = {}
        self._published = False
        self._closed = False

    # -------------------------------------------------------------- opening and closing
    def load(self) -> None:
        """Replay every live run from the group's applied state; also after a snapshot came in."""
        self._drop_all()
        self._published = self._published or self._port.published()
        self._settled_members = []
        for run_id in list(runs.live_ids(self._port.reader)):
            run = runs.find(self._port.reader, run_id)
            assert run is not None, "an index names a run that is not there"
            self._open(run)
        for run_id in [each for each in self._ended if each not in self.live]:
            self._wake(run_id)

    def close(self) -> None:
        """Drop every generator and stop what is under way; what is not settled is run again."""
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        for task in self._tasks:
            task.cancel()
        self._drop_all()
        for futures in self._ended.values():
            for future in futures:
                future.cancel()

    def _drop_all(self) -> None:
        for live in self.live.values():
            self._drop(live)
        self.live.clear()
        self._timers.clear()
        self._behind.clear()
        self._dirty.clear()

    def _drop(self, live: Live) -> None:
        """Close a run's generator; its `finally` blocks are code of the workflow too."""
        try:
            with self._watchdog.step():
                live.close()
        except StepTooLong:
            limit = self._watchdog.limit_s
            log.exception("run %s: a `finally` block takes over %g s", live.run.id, limit)
        except BaseException:
            log.exception("run %s: a `finally` block failed", live.run.id)

    def _open(self, run: Run) -> Live:
        live = self.live[run.id] = Live(run)
        self._build(live)
        self._act(live)
        return live

    def _build(self, live: Live) -> None:
        """Make the replay of a run from its stored history."""
        run = live.run
        try:
            live.definition = self._port.definition(run)
            if live.definition is None:
                self._behind.add(run.id)
                return
            live.missing = self._loader.missing(live.definition)
            live.replay = Replay(run.id, self._loader.start(live.definition))
        except RaftoralError as error:
            live.stuck = str(error)
            return
        except BaseException as error:
            live.stuck = _failure(live, error)
            return
        self._feed(live, runs.history(self._port.reader, run.id))

    # -------------------------------------------------------------- committed events
    def applied(self, events: Sequence[execution.Event]) -> None:
        """Take what the group's machine has just applied, in order."""
        for event in events:
            match event:
                case execution.Settled(run, base, settled):
                    self._settled(run, base, settled)
                case execution.RunStarted(run):
                    self._open(run)
                case execution.OwnerChanged(run, lost):
                    self._owner_changed(run, lost)
                case execution.Signalled(run_id):
                    if run_id in self.live:
                        self._act(self.live[run_id])
                case execution.Forgotten(run_id):
                    self._wake(run_id)
                case _:
                    assert_never(event)
        self._check_published()

    def _check_published(self) -> None:
        """Let all runs go on once the group knows of this start of the node.

        Its log holds every earlier take-over before that, so by then the node knows which runs are
        still its own. What it stored before it was stopped does not tell.
        """
        if self._published or not self._port.published():
            return
        self._published = True
        for live in list(self.live.values()):
            self._act(live)

    def _settled(self, run: Run, base: Position, events: list[bytes]) -> None:
        live = self.live.get(run.id)
        if live is None:
            return
        live.run = run
        # A replay that was built from the store may hold these events already: the store shows all
        # that was applied, the events are told one by one.
        if live.replay is not None and live.replay.position == base:
            self._feed(live, events)
            live.committed(events)
            if run.owner == self._node:
                self._write_log(run, events)
        if run.live:
            self._act(live)
        else:
            self._drop(live)
            del self.live[run.id]
            self._wake(run.id)

    def _owner_changed(self, run: Run, lost: NodeId) -> None:
        live = self.live.get(run.id)
        if live is None:
            return
        live.run = run
        live.reset()
        self._perhaps_away[run.id] = None
        if lost == self._node and live.replay is not None:
            # Another node owns the run now: start over from what is settled (semantics 3.5).
            self._drop(live)
            self._build(live)
        if run.status == runs.PARKED:
            log.warning("run %s is parked: %s", run.id, run.reason)
        self._act(live)

    def _feed(self, live: Live, events: list[bytes]) -> None:
        """Feed committed events; a replay that cannot follow makes the run stuck here."""
        assert live.replay is not None
        try:
            with self._watchdog.step():
                live.replay.feed_all(self._watchdog.each(events))
        except StepTooLong as error:
            live.stuck = (
                f"a step computes for more than {self._watchdog.limit_s:g} s at "
                f"{_last_line(error)}; a workflow only decides, so move the work into an activity"
            )
        except RaftoralError as error:
            live.stuck = str(error)
        except BaseException as error:
            # One run must not stop the others: even a KeyboardInterrupt here is the workflow's own.
            live.stuck = _failure(live, error)
        if live.stuck:
            log.error("run %s stops on this node: %s", live.run.id, live.stuck)
            self._drop(live)

    def _write_log(self, run: Run, events: list[bytes]) -> None:
        for data in filter(is_log, events):
            line = decode(data)
            assert isinstance(line, Logged)
            log.info("run %s: %s", run.id, line.text)

    # -------------------------------------------------------------- the owner acts
    def _act(self, live: Live) -> None:
        """Do what the owner of a run has to do next, if this node is the owner."""
        run = live.run
        if run.owner != self._node or run.status != runs.RUNNING or self._closed:
            return
        if not self._published:
            return  # `_check_published` comes back to it.
        if live.stuck or live.missing:
            self._hand_over(live, NOBODY, live.stuck or live.missing)
            return
        if live.replay is None or live.leaving:
            return
        if not live.answers:
            try:
                self._answer(live, live.replay)
            except RaftoralError as error:
                live.stuck = f"no event can hold what the run waits for: {error}"
                self._hand_over(live, NOBODY, live.stuck)
                return
        self._dirty[run.id] = live
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _answer(self, live: Live, replay: Replay) -> None:
        """Work out the answer to what the run waits for, or what brings it nearer."""
        waiting = replay.waiting
        match waiting:
            case None:
                return
            case ComputeWait():
                self._attempt(live, waiting)
            case TimerWait(path, effect, due):
                if due is None:
                    at = timer_due(effect, self._port.now())
                    assert at is not None, "a sleep always ends"
                    live.answers.append(encode(TimerSet(path, at)))
                elif self._passed(live, due):
                    live.answers.append(encode(TimerFired(path)))
            case SignalWait():
                self._answer_signal(live, waiting)
            case _:
                raise UsageError(f"this owner cannot bring about {describe_waiting(waiting)}")

    def _answer_signal(self, live: Live, waiting: SignalWait) -> None:
        mail = runs.oldest_mail(self._port.reader, live.run.id, waiting.effect.name)
        if mail is not None:
            live.answers.append(encode(Taken(waiting.path, *mail), floats=True))
            return
        if waiting.due is None:
            due = timer_due(waiting.effect, self._port.now())
            if due is not None:
                live.answers.append(encode(TimerSet(waiting.path, due)))
        elif self._passed(live, waiting.due):
            live.answers.append(encode(TimerFired(waiting.path)))

    def _passed(self, live: Live, due: Millis) -> bool:
        """Tell whether ``due`` has passed; if not, come back to the run then."""
        if self._port.now() >= due:
            return True
        self._later(live, due)
        return False

    # -------------------------------------------------------------- activities
    def _attempt(self, live: Live, waiting: ComputeWait) -> None:
        if live.attempt is not None:
            return
        if waiting.not_before is not None and not self._passed(live, waiting.not_before):
            return
        if not self._port.connected():
            self._later(live, Millis(self._port.now() + RETRY_MS))
            return
        run = live.run
        context = ActivityContext(run.id, run.generation, waiting.path, waiting.attempt, run.epoch)
        live.attempt = self._spawn(self._run_attempt(live, waiting, context))

    async def _run_attempt(
        self, live: Live, waiting: ComputeWait, context: ActivityContext
    ) -> None:
        path, call, attempt = waiting.path, waiting.call, waiting.attempt
        assert live.definition is not None
        now = runs.find(self._port.reader, context.run_id)
        if now is None or not now.live or (now.owner, now.epoch) != (self._node, context.epoch):
            return  # It changed hands since `_act` looked; the event that tells so is on its way.
        try:
            value = await self._attempts.run(waiting.effect, context)
            value = self._loader.checked_result(
                live.definition, waiting.effect.call.activity, value
            )
            answer = encode(Done(path, call, True, value, attempt), floats=True)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            answer = None
        except Exception as error:
            answer = self._failed(waiting, error)
        if live.run.epoch != context.epoch or self.live.get(live.run.id) is not live:
            return  # Another node owns the run: this attempt ends unheard.
        live.attempt = None
        if answer is None:
            # The application cancelled it, as it does when it stops: no failure of the activity.
            self._later(live, Millis(self._port.now() + RETRY_MS))
            return
        live.answers.append(answer)
        self._act(live)

    def _failed(self, waiting: ComputeWait, error: Exception) -> bytes:
        """Return the event of a failed attempt: a `Retry`, or a `Done` when none is left."""
        policy = waiting.effect.options.policy
        failure = failure_of(error)
        if policy.repeats(str(failure[0]), waiting.attempt):
            spread = policy.jitter_percent
            spread = self._chance(2 * spread + 1) - spread if spread else 0
            pause = millis_of(policy.pause_after(waiting.attempt, spread))
            at = Millis(self._port.now() + pause)
            return encode(Retry(waiting.path, waiting.attempt, failure, at))
        return encode(Done(waiting.path, waiting.call, False, failure, waiting.attempt))

    # -------------------------------------------------------------- proposing
    def _flush(self) -> None:
        """Propose the settlements of all runs that have some, in as few entries as fit."""
        self._flushing = False
        dirty, self._dirty = self._dirty, {}
        batch: list[tuple[Live, Settle, bytes]] = []
        size = 0
        for live in dirty.values():
            settle = live.next_settle() if self._may_settle(live) else None
            if settle is None:
                continue
            data = settle.encode()
            if batch and (size + len(data) > SETTLE_BYTES_MAX or len(batch) >= MANY_MAX):
                self._spawn(self._propose(batch))
                batch, size = [], 0
            batch.append((live, settle, data))
            size += len(data) + EVENT_FRAME_BYTES
        if batch:
            self._spawn(self._propose(batch))

    def _may_settle(self, live: Live) -> bool:
        """Tell whether this node still owns the run, some time after `_act` saw that it does."""
        owned = live.run.owner == self._node and live.run.status == runs.RUNNING
        return owned and not live.leaving and not self._closed

    async def _propose(self, batch: list[tuple[Live, Settle, bytes]]) -> None:
        alone = len(batch) == 1
        command = batch[0][2] if alone else Many([data for _, _, data in batch]).encode()
        try:
            result = await self._port.propose(command)
        except RaftoralError as error:
            log.debug("settlements not taken: %s", error)
            result = ["refused", error.code, str(error)]
        results = [result] * len(batch) if alone or result[0] == "refused" else result[1]
        for (live, settle, _), each in zip(batch, results, strict=True):
            if each[0] == "refused":
                self._not_taken(live, settle, each[1], each[2])

    def _not_taken(self, live: Live, settle: Settle, code: str, why: str) -> None:
        """Work a refused settlement out again, from where the replay stands by then."""
        # A result of an activity is worth keeping; a timer or a signal is looked at anew.
        if not live.not_taken(settle, keep=lambda data: isinstance(decode(data), Done | Retry)):
            return
        if code not in TRY_AGAIN:
            live.stuck = f"the group refuses to settle it: {why}"
        self._later(live, Millis(self._port.now() + RETRY_MS))

    def _hand_over(self, live: Live, to: NodeId, reason: str) -> None:
        if live.leaving:
            return
        live.leaving = True
        self._spawn(self._propose_hand_over(live, to, reason))

    async def _propose_hand_over(self, live: Live, to: NodeId, reason: str) -> None:
        epoch = live.run.epoch
        told = reason[:2000].encode("utf-8", "replace").decode()
        command = HandOver(live.run.id, epoch, told, to)
        try:
            result = await self._port.propose(command.encode())
        except RaftoralError as error:
            result = ["refused", error.code]
        if result[0] == "refused" and live.run.epoch == epoch:
            live.leaving = False
            self._later(live, Millis(self._port.now() + RETRY_MS))

    def _spawn(self, work: object) -> asyncio.Task[None]:
        task: asyncio.Task[None] = self._loop.create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._spent)
        return task

    def _spent(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a task of the executor failed", exc_info=task.exception())

    # -------------------------------------------------------------- time
    def _later(self, live: Live, at: Millis) -> None:
        """Come back to a run at ``at`` on the group's clock."""
        heapq.heappush(self._timers, (at, live.run.id))
        if len(self._timers) > 2 * len(self.live) + 100:
            self._thin_timers()
        if self._timers[0][1] == live.run.id:
            self._set_alarm()

    def _thin_timers(self) -> None:
        """Keep the earliest entry of each live run: it is looked at anew then, whatever is due."""
        earliest: dict[RunId, Millis] = {}
        for at, run_id in self._timers:
            if run_id in self.live:
                earliest[run_id] = min(at, earliest.get(run_id, at))
        self._timers = [(at, run_id) for run_id, at in earliest.items()]
        heapq.heapify(self._timers)

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        delay = max(0, self._timers[0][0] - self._port.now()) / 1000
        self._alarm = self._loop.call_later(min(delay, ALARM_S), self._ring)

    def _ring(self) -> None:
        now = self._port.now()
        while self._timers and self._timers[0][0] <= now:
            _, run_id = heapq.heappop(self._timers)
            if run_id in self.live:
                self._act(self.live[run_id])
        if self._timers:
            self._set_alarm()

    def tick(self) -> None:
        """Do what waits for no event: timers, runs whose definition was missing, going home."""
        if self._timers and self._timers[0][0] <= self._port.now():
            self._ring()
        self.catalog_changed()
        self._check_published()
        if self._published:
            self._send_home()

    def catalog_changed(self) -> None:
        """Look again for the definitions that were missing."""
        for run_id in list(self._behind):
            live = self.live.get(run_id)
            if live is None or live.replay is not None:
                self._behind.discard(run_id)
                continue
            self._behind.discard(run_id)
            self._build(live)
            self._act(live)

    def _send_home(self) -> None:
        """Give a few resting runs back to the members that they belong to by hash."""
        now = self._loop.time()
        up = runs.members_up(self._port.reader)
        self._up_since = {node: self._up_since.get(node, now) for node in up}
        settled = [node for node in up if now - self._up_since[node] >= SETTLED_HOME_S]
        if self._node not in settled or len(settled) < 2:
            self._settled_members = []
            self._perhaps_away.clear()
            return
        if settled != self._settled_members:
            self._settled_members = settled
            self._perhaps_away.update(dict.fromkeys(self.live))
        moves = 0
        for run_id in list(islice(self._perhaps_away, LOOKS_PER_TICK)):
            if moves >= MOVES_PER_TICK:
                return
            del self._perhaps_away[run_id]
            live = self.live.get(run_id)
            if live is None or live.run.owner != self._node:
                continue
            home = home_of(live.run.id, settled)
            if home == self._node or home in live.run.refused:
                continue  # It is there, or it could not go on there before.
            self._perhaps_away[run_id] = None  # Until it is seen to have gone.
            if live.replay is None or live.replay.outbox:
                continue
            if not live.attempt and not live.answers and not live.leaving:
                self._hand_over(live, home, "going home")
                moves += 1

    # -------------------------------------------------------------- waiting for the end
    def ended(self, run_id: RunId) -> asyncio.Future[None]:
        """Return a future that is done when the run has ended; at once if it is not live.

        Who waits no longer gives it back to `forget`.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        if run_id in self.live:
            self._ended.setdefault(run_id, []).append(future)
        else:
            future.set_result(None)
        return future

    def forget(self, run_id: RunId, future: asyncio.Future[None]) -> None:
        """Drop a future of `ended`, done or not."""
        waiting = self._ended.get(run_id, [])
        if future in waiting:
            waiting.remove(future)
        if not waiting:
            self._ended.pop(run_id, None)

    def _wake(self, run_id: RunId) -> None:
        for future in self._ended.pop(run_id, ()):
            if not future.done():
                future.set_result(None)


def _failure(live: Live, error: BaseException) -> str:
    """Log what was raised by a run's code, or on the way to it, and return why it is stuck."""
    log.error("run %s", live.run.id, exc_info=error)
    name, message, _ = failure_of(error)
    return f"the replay failed: {name!s}: {message!s}"


def _last_line(error: BaseException) -> str:
    """Return ``file:line`` of the innermost frame that an exception came through."""
    frames = extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown line"
