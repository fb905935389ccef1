"""Runs every live run of one execution group on one node.

Owns the generators of its group: they are built, fed with committed events, dropped while they wait
and there are too many of them, and built again by replay. What the owner of a run does is
`raftoral.runtime.owner`. The rules it keeps: a run resumes from committed bytes only; a run is
looked at once all that the state holds by then was told; no turn of the loop looks at runs for much
longer than a slice.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple, assert_never

from raftoral.errors import NonDeterminismError, RaftoralError
from raftoral.ids import NOBODY, NodeId
from raftoral.machines import execution, runs
from raftoral.machines.placement import home_of
from raftoral.replay.history import Logged, chained, decode, is_log
from raftoral.replay.interpreter import Replay
from raftoral.replay.waits import SignalWait, UpdateWait
from raftoral.runtime import stuck
from raftoral.runtime.agenda import Agenda
from raftoral.runtime.alarms import Alarms
from raftoral.runtime.homes import Homes
from raftoral.runtime.live import Live
from raftoral.runtime.owner import Owner
from raftoral.runtime.watchdog import StepTooLong, Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from raftoral.ids import Position, RunId
    from raftoral.machines.runs import Run
    from raftoral.registry.definition import Definition
    from raftoral.registry.loader import Loader
    from raftoral.replay.interpreter import Begin
    from raftoral.runtime.attempts import Attempts
    from raftoral.runtime.port import Port

log = logging.getLogger("raftoral.executor")

SLICE_S: Final = 0.005
"""How long runs are looked at in one turn of the loop; the one begun last may take longer."""

GENERATORS_MAX: Final = 2_000
"""How many runs of a group have a generator here; the others are built again when needed."""

LOOKS_FOR_REST: Final = 64
"""How many runs are looked at in one turn for whether their generator may be dropped."""

MOVES_PER_TICK: Final = 4
LEAVES_PER_TICK: Final = 250
"""How many runs a node that is to leave gives away in one tick."""


class Asleep(NamedTuple):
    """A live run without a generator here."""

    owner: NodeId
    waiting_for: str


@lru_cache(4096)
def _asleep(owner: NodeId, waiting_for: str = "") -> Asleep:
    """Return the record of a run that sleeps: one for all that sleep alike."""
    return Asleep(owner, waiting_for)


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
        *,
        generators_max: int = GENERATORS_MAX,
    ) -> None:
        self.live: OrderedDict[RunId, Live] = OrderedDict()
        """Runs with a generator here, or with the reason why there is none; the latest last."""
        self.asleep: dict[RunId, Asleep] = {}
        """Runs that have no generator here now."""
        self._node = node
        self._port = port
        self._loader = loader
        self._watchdog = watchdog
        self._generators_max = generators_max
        self._loop = asyncio.get_running_loop()
        self._alarms = Alarms(self._loop, port.now, self._ring, self.is_live)
        self._owner = Owner(
            node, port, loader, attempts, watchdog, chance, self._alarms, self._attempted
        )
        self._homes = Homes(node)
        self._agenda = Agenda()
        self._scheduled = False
        self._behind: set[RunId] = set()
        self._definitions: dict[tuple[str, int, str], tuple[Definition, str, Begin]] = {}
        self._published = False
        self._closed = False

    # -------------------------------------------------------------- opening and closing
    def load(self) -> None:
        """Begin anew with every live run of the applied state; also after a snapshot came in.

        The generators are built in slices, those of runs that this node owns first.
        """
        self._drop_all()
        self._definitions.clear()
        self._published = self._published or self._port.published()
        self._homes.forget()
        for run_id, owner in runs.live_owners(self._port.reader):
            self.asleep[run_id] = _asleep(owner)
        self._look_at_own()
        self._agenda.add_backlog(self.asleep)
        self._work()

    def close(self) -> None:
        """Drop every generator and stop what is under way; what is not settled is run again."""
        self._closed = True
        self._drop_all()

    def _drop_all(self) -> None:
        for live in self.live.values():
            self._drop(live)
        self.live.clear()
        self.asleep.clear()
        self._agenda.clear()
        self._alarms.clear()
        self._behind.clear()

    def is_live(self, run_id: RunId) -> bool:
        """Tell whether a run has not ended, as far as this node was told."""
        return run_id in self.live or run_id in self.asleep

    def owners(self) -> Counter[NodeId]:
        """Return how many live runs each node owns."""
        return Counter(map(self._owner_of, chain(self.live, self.asleep)))

    def _owner_of(self, run_id: RunId) -> NodeId:
        """Return who owns a run; nobody if it is not live."""
        if (live := self.live.get(run_id)) is not None:
            return live.run.owner
        asleep = self.asleep.get(run_id)
        return NOBODY if asleep is None else asleep.owner

    def waiting_for(self, run_id: RunId) -> str:
        """Return what a run waits for, for people; empty if nothing, or not known here."""
        if (live := self.live.get(run_id)) is not None:
            return live.waiting_for()
        asleep = self.asleep.get(run_id)
        return "" if asleep is None else asleep.waiting_for

    def problem(self, run_id: RunId) -> str:
        """Return why this node cannot follow a run; empty if it can."""
        live = self.live.get(run_id)
        return "" if live is None else live.stuck

    # -------------------------------------------------------------- generators
    def _awaken(self, run_id: RunId) -> Live:
        """Build the generator of a run that is asleep, from its stored history."""
        run = runs.find(self._port.reader, run_id)
        assert run is not None, "an index names a run that is not there"
        del self.asleep[run_id]
        live = self.live[run_id] = Live(run)
        self._build(live)
        return live

    def _build(self, live: Live) -> None:
        run = live.run
        try:
            found = self._definition(run)
            if found is None:
                self._behind.add(run.id)
                return
            live.definition, live.missing, begin = found
            events = runs.history(self._port.reader, run.id)
            live.chain = chained(b"", events)
            live.replay = Replay(run.id, begin, known=events)
        except RaftoralError as error:
            live.stuck = str(error)
            return
        except BaseException as error:
            live.stuck = stuck.raised(live.run.id, error)
            return
        self._feed(live, events)

    def _definition(self, run: Run) -> tuple[Definition, str, Begin] | None:
        """Return the definition of a run, what this node misses for it, and how its code begins."""
        key = (run.name, run.version, run.meaning_hash)
        found = self._definitions.get(key)
        if found is None:
            definition = self._port.definition(run)
            if definition is None:
                return None
            missing = self._loader.missing(definition)
            found = definition, missing, self._loader.start(definition)
            self._definitions[key] = found
        return found

    def _feed(self, live: Live, events: list[bytes]) -> None:
        """Feed committed events; a replay that cannot follow makes the run stuck here."""
        assert live.replay is not None
        try:
            with self._watchdog:
                live.replay.feed_all(events if len(events) == 1 else self._watchdog.each(events))
        except StepTooLong as error:
            live.stuck = (
                f"a step computes for more than {self._watchdog.limit_s:g} s at "
                f"{stuck.last_line(error)}; a workflow only decides, so move the work into an activity"
            )
        except NonDeterminismError as error:
            live.stuck = self._departure(live.run, error)
        except RaftoralError as error:
            live.stuck = str(error)
        except BaseException as error:
            # One run must not stop the others: even a KeyboardInterrupt here is the workflow's own.
            live.stuck = stuck.raised(live.run.id, error)
        if live.stuck:
            log.error("run %s stops on this node: %s", live.run.id, live.stuck)
            self._drop(live)

    def _departure(self, run: Run, error: NonDeterminismError) -> str:
        found = self._definition(run)
        assert found is not None, "a run without a definition has no replay"
        events = runs.history(self._port.reader, run.id)
        return stuck.departure(error, found[2], events, self._watchdog)

    def _drop(self, live: Live) -> None:
        """Close a run's generator; its `finally` blocks are code of the workflow too."""
        try:
            with self._watchdog:
                live.close()
        except StepTooLong:
            limit = self._watchdog.limit_s
            log.exception("run %s: a `finally` block takes over %g s", live.run.id, limit)
        except BaseException:
            log.exception("run %s: a `finally` block failed", live.run.id)

    def _put_to_sleep(self) -> None:
        """Drop the generators of runs that wait, those of least recent use, if there are too many."""
        surplus = len(self.live) - self._generators_max
        for _ in range(min(2 * surplus, LOOKS_FOR_REST)):
            run_id, live = next(iter(self.live.items()))
            if live.resting() and surplus > 0:
                self.asleep[run_id] = _asleep(live.run.owner, live.waiting_for())
                del self.live[run_id]
                self._drop(live)
                surplus -= 1
            else:
                self.live.move_to_end(run_id)

    # -------------------------------------------------------------- committed events
    def applied(self, events: Sequence[execution.Event]) -> None:
        """Take what the group's machine has just applied, in order: all that is told until now."""
        for event in events:
            match event:
                case execution.Settled(run, base, settled):
                    self._settled(run, base, settled)
                case execution.RunStarted(run):
                    if run.id not in self.live:
                        self.asleep[run.id] = _asleep(run.owner)
                        self._agenda.add(run.id)
                case execution.OwnerChanged(run, lost):
                    self._owner_changed(run, lost)
                case execution.Signalled(run_id, name):
                    self._signalled(run_id, name)
                case execution.Regenerated(run):
                    self._regenerated(run)
                case execution.Warned(run_id, text):
                    if self._owner_of(run_id) == self._node:
                        log.warning("run %s: %s", run_id, text)
                case execution.Forgotten() | execution.Answered():
                    pass  # Those who wait for it are told elsewhere.
                case execution.OutboxGrew() | execution.ScheduleChanged():
                    pass  # The leader's business.
                case _:
                    assert_never(event)
        self._check_published()
        self._work()

    def _check_published(self) -> None:
        """Let all runs go on once the group knows of this start of the node.

        Its log holds every earlier take-over before that, so by then the node knows which runs are
        still its own. What it stored before it was stopped does not tell.
        """
        if not self._published and self._port.published():
            self._published = True
            self._look_at_own()

    def _look_at_own(self) -> None:
        for live in self.live.values():
            live.look()
        own = [run_id for run_id, each in self.asleep.items() if each.owner == self._node]
        self._agenda.add_backlog((*self.live, *own))

    def _settled(self, run: Run, base: Position, events: list[bytes]) -> None:
        if run.owner == self._node:
            self._write_log(run, events)
        live = self.live.get(run.id)
        if not run.live:
            self.live.pop(run.id, None)
            self.asleep.pop(run.id, None)
            if live is not None:
                self._drop(live)
            return
        self._agenda.add(run.id)
        # A replay that was built from the store may hold these events already: the store shows all
        # that was applied, the events are told one by one.
        if live is not None and _is_newer(run, live.run):
            live.run = run
            if live.replay is not None and live.replay.position == base:
                self._feed(live, events)
                live.chain = run.chain
                live.committed(events)

    def _regenerated(self, run: Run) -> None:
        """Replay a run anew: what this node knows of it belongs to another history."""
        old = self.live.pop(run.id, None)
        if old is not None:
            self._drop(old)
        self.asleep[run.id] = _asleep(run.owner)
        self._agenda.add(run.id)

    def _owner_changed(self, run: Run, lost: NodeId) -> None:
        self._homes.moved(run.id)
        self._agenda.add_backlog((run.id,))
        if run.status == runs.PARKED:
            log.warning("run %s is parked: %s", run.id, run.reason)
        if (asleep := self.asleep.get(run.id)) is not None:
            self.asleep[run.id] = _asleep(run.owner, asleep.waiting_for)
        live = self.live.get(run.id)
        if live is None or not _is_newer(run, live.run):
            return
        live.run = run
        live.reset()
        if lost == self._node and live.replay is not None:
            # Another node owns the run now: start over from what is settled (semantics 3.5).
            self._drop(live)
            self._build(live)

    def _signalled(self, run_id: RunId, name: str) -> None:
        self._agenda.add(run_id)
        live = self.live.get(run_id)
        if live is not None and live.replay is not None:
            waits = live.replay.waits.values()
            live.look(
                w.path
                for w in waits
                if isinstance(w, SignalWait | UpdateWait) and w.effect.name == name
            )

    def _write_log(self, run: Run, events: list[bytes]) -> None:
        for data in filter(is_log, events):
            line = decode(data)
            assert isinstance(line, Logged)
            log.info("run %s: %s", run.id, line.text)

    # -------------------------------------------------------------- looking at runs
    def _work(self) -> None:
        """Look at the runs that something happened to, for a slice; then settle for all of them."""
        if self._closed:
            return
        until = self._loop.time() + SLICE_S
        while self._agenda:
            self._look_at(self._agenda.next())
            if self._loop.time() > until and self._agenda:
                self._work_soon()
                break
        self._owner.flush()
        if len(self.live) > self._generators_max:
            self._put_to_sleep()

    def _work_soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        self._work()

    def _look_at(self, run_id: RunId) -> None:
        live = self.live.get(run_id)
        if live is None:
            asleep = self.asleep.get(run_id)
            full = len(self.live) >= self._generators_max
            acts = self._published and asleep is not None and asleep.owner == self._node
            if asleep is None or (full and not acts):
                return
            live = self._awaken(run_id)
        else:
            self.live.move_to_end(run_id)
        if self._published:
            self._owner.act(live)

    def _attempted(self, run_ids: list[RunId]) -> None:
        """Go on with runs after attempts of them have ended."""
        for run_id in run_ids:
            self._agenda.add(run_id)
        self._work()

    # -------------------------------------------------------------- time
    def _ring(self) -> None:
        for run_id, path in self._alarms.due():
            self._agenda.add(run_id)
            if (live := self.live.get(run_id)) is not None:
                live.todo[path] = None
        self._work()

    def tick(self) -> None:
        """Do what waits for no event: timers, runs whose definition was missing, going home."""
        self.catalog_changed()
        self._check_published()
        self._ring()
        if self._published:
            self._send_away_or_home(runs.members_up(self._port.reader))

    def catalog_changed(self) -> None:
        """Look again for the definitions that were missing."""
        for run_id in list(self._behind):
            self._behind.discard(run_id)
            live = self.live.get(run_id)
            if live is not None and live.replay is None:
                self._build(live)
                self._agenda.add(run_id)
        if self._agenda:
            self._work_soon()

    def _send_away_or_home(self, up: list[NodeId]) -> None:
        """Give runs away: all that this node owns if it is to leave, else those away from home."""
        left, self._owner.leaves = self._owner.leaves, self._node not in up
        if self._owner.leaves:
            self._send_away(up)
            return
        self._send_home(up)
        if left:
            self._look_at_own()  # It was down for a moment only, and has begun nothing meanwhile.
            self._work()

    def _send_away(self, up: list[NodeId]) -> None:
        """Give away what is idle; what is under way may end first."""
        own = [each for each in chain(self.live, self.asleep) if self._owner_of(each) == self._node]
        moves = 0
        for run_id in own if up else ():
            live = self.live.get(run_id) or self._awaken(run_id)
            if live.run.owner == self._node and live.idle():
                self._owner.hand_over(live, home_of(run_id, up), "its node leaves")
                moves += 1
                if moves == LEAVES_PER_TICK:
                    break

    def _send_home(self, up: list[NodeId]) -> None:
        """Give a few resting runs back to the members that they belong to by hash."""
        if not self._homes.members_changed(up, self._loop.time(), chain(self.live, self.asleep)):
            return
        moves = 0
        for run_id in self._homes.perhaps_away():
            if self._owner_of(run_id) != self._node:
                continue
            home = self._homes.home(run_id)
            if home == self._node:
                continue
            live = self.live.get(run_id) or self._awaken(run_id)
            if home in live.run.refused:
                continue  # It could not go on there before.
            self._homes.moved(run_id)  # Until it is seen to have gone.
            if live.replay is not None and live.resting():
                self._owner.hand_over(live, home, "going home")
                moves += 1
                if moves == MOVES_PER_TICK:
                    break


def _is_newer(one: Run, other: Run) -> bool:
    """Tell whether ``one`` is a later record of the same run than ``other``."""
    return (one.epoch, one.length) > (other.epoch, other.length)
