"""What the owner of a run does: carries decisions out, and settles.

What is to be done next is decided by `raftoral.replay.deciding`; here it is done. The rules it
keeps: only the owner acts; what it proposed is forgotten, not trusted, when an answer is missing,
and worked out again from where the replay stands; no attempt begins while the group's leader is not
heard; what takes from a mailbox goes directly behind what is committed.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final, assert_never

from raftoral.errors import RaftoralError
from raftoral.ids import NOBODY, Millis, NodeId
from raftoral.machines import callbacks, runs
from raftoral.machines.commands import HandOver, Many
from raftoral.replay import deciding
from raftoral.replay.context import ActivityContext, Pulse
from raftoral.replay.failures import as_error, failure_of
from raftoral.replay.history import Asked, Done, Retry, decode, encode
from raftoral.replay.waits import ComputeWait, UpdateWait
from raftoral.runtime.live import EVENT_FRAME_BYTES, SETTLE_BYTES_MAX, Live
from raftoral.runtime.watchdog import StepTooLong, Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from raftoral.ids import RunId
    from raftoral.machines.base import Result
    from raftoral.machines.commands import Settle
    from raftoral.registry.loader import Loader
    from raftoral.replay.history import Event
    from raftoral.replay.waits import Wait
    from raftoral.runtime.alarms import Alarms
    from raftoral.runtime.attempts import Attempt, Attempts, Outcome
    from raftoral.runtime.port import Port
    from raftoral.values import Value

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

MANY_MAX: Final = 256


class Owner:
    """Acts for the runs of one group that this node owns."""

    def __init__(
        self,
        node: NodeId,
        port: Port,
        loader: Loader,
        attempts: Attempts,
        watchdog: Watchdog,
        chance: Callable[[int], int],
        alarms: Alarms,
        attempted: Callable[[list[RunId]], None],
    ) -> None:
        """``attempted`` is told of the runs of which attempts have just ended."""
        self._node = node
        self.port = port
        self._loader = loader
        self._attempts = attempts
        self._watchdog = watchdog
        self.chance = chance
        self._alarms = alarms
        self._attempted = attempted
        self._dirty: list[Live] = []
        self.leaves = False
        """Whether the group counts on this node no more, so that it begins no attempts."""

    def act(self, live: Live) -> None:
        """Do what the owner of a run has to do next, if this node is the owner."""
        run = live.run
        if run.owner != self._node and live.replay is not None:
            live.replay.changed.clear()  # Who becomes the owner looks at everything.
        if run.owner != self._node or live.leaving:
            return
        if run.status == runs.PAUSED:
            self._dirty.append(live)  # What was under way is settled, nothing is begun.
            return
        if live.stuck or live.missing:
            self.hand_over(live, NOBODY, live.stuck or live.missing)
            return
        if live.replay is None:
            return
        try:
            for wait in live.open_waits():
                self._carry_out(live, wait, self._decide(live, wait))
            if live.takers and not live.answering:
                self._take(live)
        except StepTooLong:
            limit = self._watchdog.limit_s
            live.stuck = f"the handler of an update computes for more than {limit:g} s"
        except RaftoralError as error:
            live.stuck = f"no event can hold what the run waits for: {error}"
        except BaseException as error:
            # As in `Executor`: even a KeyboardInterrupt is the workflow's own here.
            log.exception("run %s", run.id)
            name, message, _ = failure_of(error)
            live.stuck = f"the handler of an update raised {name!s}: {message!s}"
        if live.stuck:
            self.hand_over(live, NOBODY, live.stuck)
            return
        self._dirty.append(live)

    # -------------------------------------------------------------- what is waited for
    def _decide(self, live: Live, wait: Wait) -> deciding.Decision:
        if not isinstance(wait, UpdateWait):
            return deciding.decide(wait, _Around(self, live))
        with self._watchdog:  # Its handler is code of the workflow.
            return deciding.decide(wait, _Around(self, live))

    def _carry_out(self, live: Live, wait: Wait, decision: deciding.Decision) -> None:
        match decision:
            case deciding.Settle(_, takes=True):
                live.takers[wait.path] = None
            case deciding.Settle(event):
                self._answer(live, wait, event)
            case deciding.Begin(until):
                assert isinstance(wait, ComputeWait)
                self._begin(live, wait)
                self._later(live, wait, until)
            case deciding.Stop():
                live.attempts[wait.path].stop()
            case deciding.Later(at):
                self._later(live, wait, at)
            case _:
                assert_never(decision)

    def _take(self, live: Live) -> None:
        """Answer one wait with the oldest of its mailbox, ahead of all other answers."""
        assert live.replay is not None
        for path in list(live.takers):
            del live.takers[path]
            wait = live.replay.waits.get(path)
            if wait is None:
                continue
            decision = self._decide(live, wait)
            if isinstance(decision, deciding.Settle) and decision.takes:
                others, live.unsent = live.unsent, {}
                self._answer(live, wait, decision.event)
                live.unsent.update(others)
                return
            self._carry_out(live, wait, decision)

    def _answer(self, live: Live, wait: Wait, event: Event) -> None:
        live.answer(wait.path, encode(event, floats=not isinstance(wait, ComputeWait)))
        if isinstance(event, Asked):
            live.asked[wait.path] = None
        elif isinstance(event, Done) and wait.path in live.attempts:
            live.attempts.pop(wait.path).cancel()  # Its deadline has passed.

    def _later(self, live: Live, wait: Wait, at: Millis | None) -> None:
        if at is not None:
            self._alarms.later(_key_of(live), wait.path, at)

    def _soon(self, live: Live, path: str) -> None:
        self._alarms.later(_key_of(live), path, Millis(self.port.now() + RETRY_MS))

    # -------------------------------------------------------------- activities
    def _begin(self, live: Live, wait: ComputeWait) -> None:
        if self.leaves and wait.path not in live.asked:
            return  # The next owner begins it; but what was asked for nobody else may begin.
        if not self.port.connected():
            self._soon(live, wait.path)
            return
        run, path = live.run, wait.path
        live.asked.pop(path, None)
        context = ActivityContext(
            run.id,
            run.generation,
            path,
            wait.attempt,
            run.epoch,
            wait.last_heartbeat,
            wait.effect.options.token,
            Pulse(self._attempts.clock),
        )
        live.attempts[path] = self._attempts.start(
            wait.effect, context, self._attempts_ended, (live, wait)
        )

    def _attempts_ended(self, ended: Sequence[tuple[Attempt, Outcome | None]]) -> None:
        """Take the outcomes of attempts, none of which was given up meanwhile."""
        for attempt, outcome in ended:
            live, wait = attempt.token
            assert live.attempts.pop(wait.path) is attempt, "one attempt of a step at a time"
            if outcome is None:
                # The application cancelled it, as it does when it stops: no failure of the activity.
                self._soon(live, wait.path)
                continue
            live.answer(wait.path, self._outcome(live, wait, outcome))
        self._attempted([attempt.token[0].run.id for attempt, outcome in ended if outcome])

    def _outcome(self, live: Live, wait: ComputeWait, outcome: Outcome) -> bytes:
        """Return the event of an attempt that ended, its result as the definition declares it."""
        assert live.definition is not None
        around = _Around(self, live)
        if not outcome.ok:
            return encode(deciding.attempted(wait, as_error(outcome.value), around))
        try:
            activity = wait.effect.call.activity
            value = self._loader.checked_result(live.definition, activity, outcome.value)
            return encode(deciding.attempted(wait, value, around), floats=True)
        except RaftoralError as error:
            return encode(deciding.attempted(wait, error, around))

    # -------------------------------------------------------------- proposing
    def flush(self) -> None:
        """Propose the settlements of all runs acted for, in as few entries as fit."""
        dirty, self._dirty = self._dirty, []
        batch: list[tuple[Live, Settle, int]] = []
        commands: list[bytes] = []
        size = 0
        for live in dirty:
            settle = None if live.leaving else live.next_settle()
            if settle is None:
                continue
            data = settle.encode()
            if batch and (size + len(data) > SETTLE_BYTES_MAX or len(batch) >= MANY_MAX):
                self._propose(batch, commands)
                batch, commands, size = [], [], 0
            batch.append((live, settle, live.round))
            commands.append(data)
            size += len(data) + EVENT_FRAME_BYTES
        if batch:
            self._propose(batch, commands)

    def _propose(self, batch: list[tuple[Live, Settle, int]], commands: list[bytes]) -> None:
        command = commands[0] if len(commands) == 1 else Many(commands).encode()
        self.port.submit(command, partial(self._told, batch))

    def _told(self, batch: list[tuple[Live, Settle, int]], answer: Result | RaftoralError) -> None:
        """Look at what became of settlements; those taken are told by the committed events."""
        if isinstance(answer, RaftoralError):
            log.debug("settlements not taken: %s", answer)
            results = [["refused", answer.code, str(answer)]] * len(batch)
        else:
            results = [answer] if len(batch) == 1 or answer[0] == "refused" else answer[1]
            results = results * (len(batch) // len(results))
        for (live, settle, number), result in zip(batch, results, strict=True):
            if result[0] == "refused" and number == live.round:
                self._not_taken(live, settle, result[1], result[2])

    def _not_taken(self, live: Live, settle: Settle, code: str, why: str) -> None:
        """Work a refused settlement out again, from where the replay stands by then."""
        if live.overtaken(settle):
            return
        live.give_up()
        # A result of an activity is worth keeping; anything else is looked at anew.
        for path in list(live.unsent):
            if not isinstance(decode(live.answers[path]), Done | Retry):
                live.forget_answer(path)
        if code not in TRY_AGAIN:
            live.stuck = f"the group refuses to settle it: {why}"
        self._soon(live, "")

    def hand_over(self, live: Live, to: NodeId, reason: str) -> None:
        """Propose that a run has another owner: ``to``, or whoever can go on with it."""
        live.leaving = True
        told = reason[:2000].encode("utf-8", "replace").decode()
        epoch = live.run.epoch

        def tell(answer: Result | RaftoralError) -> None:
            refused = isinstance(answer, RaftoralError) or answer[0] == "refused"
            if refused and live.run.epoch == epoch:
                live.leaving = False
                self._soon(live, "")

        self.port.submit(HandOver(live.run.id, epoch, told, to).encode(), tell)


def _key_of(live: Live) -> RunId:
    """Return the id of a run as the very text that its executor keeps: one copy for both."""
    return live.run.id if live.replay is None else live.replay.run_id


class _Around:
    """`raftoral.replay.deciding.Surroundings` of one run, for its owner."""

    __slots__ = ("_live", "_owner")

    def __init__(self, owner: Owner, live: Live) -> None:
        self._owner = owner
        self._live = live

    def now(self) -> Millis:
        """Return the group's clock."""
        return self._owner.port.now()

    def chance(self, below: int) -> int:
        """Return a random number."""
        return self._owner.chance(below)

    def token(self, path: str) -> str:
        """Return a new token."""
        run = self._live.run
        secret = self._owner.chance(1 << (8 * callbacks.SECRET_BYTES))
        data = secret.to_bytes(callbacks.SECRET_BYTES, "big")
        return callbacks.Token(run.id, run.generation, path, data).encode()

    def signal(self, name: str) -> tuple[str, Value] | None:
        """Return the oldest signal of that name."""
        return runs.oldest_mail(self._owner.port.reader, self._live.run.id, name)

    def request(self, name: str) -> tuple[str, Value] | None:
        """Return the oldest update of that name."""
        return runs.oldest_update(self._owner.port.reader, self._live.run.id, name)

    def last_beat(self, path: str) -> Millis:
        """Return when the holder of a callback's token was last heard of."""
        found = callbacks.find(self._owner.port.reader, self._live.run.id, path)
        assert found is not None, "a callback that is waited for was opened"
        return found.beaten_at

    def under_way(self, path: str) -> bool:
        """Tell whether an attempt of the step is under way here."""
        return path in self._live.attempts

    def asked_here(self, path: str) -> bool:
        """Tell whether this owner recorded the attempt as asked for, and has not begun it."""
        return path in self._live.asked
