"""Two execution groups and a network between them that loses, repeats, delays and reorders.

Each group has a leader that carries its outbox, as dumb as it may be: it sends any message at any
time, hears of an answer or not, and acts on it now or much later. Owners settle what their runs ask
for. `Pair` notes everything that ever happened, also of runs that were forgotten.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from raftoral.codec import pack
from raftoral.ids import SLOTS, Index, Millis, NodeId, RunId, Version
from raftoral.kv import MemoryKeyValue
from raftoral.machines import children, commands, events, listing, outbox, runs
from raftoral.machines.execution import Execution
from raftoral.machines.outbox import Begin
from raftoral.machines.placement import slot_of
from raftoral.replay import history
from raftoral.replay.history import ChildAsked, ChildDone, Ended, Restarted, encode
from tests.machines.checks import check_indexes
from tests.machines.group import command_of

if TYPE_CHECKING:
    from random import Random

    from raftoral.machines.base import Result

PERMANENT = ("usage", "run_conflict", "limit_exceeded", "unknown_run", "run_ended")


class Side:
    """One group."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.state = MemoryKeyValue()
        self.index = 0


class Pair:
    """Both groups, and what is under way between them."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.now = 1_000
        self.sides = [Side(0), Side(1)]
        self.packets: list[tuple[Side, int, commands.Delivered]] = []
        self.acknowledged: list[tuple[Side, int]] = []
        self.started: Counter[str] = Counter()
        self.asked: dict[str, ChildAsked] = {}
        self.left: set[str] = set()
        self.stopped: set[str] = set()
        self.ends: dict[str, tuple[bool, Any]] = {}
        self.told: dict[str, list[tuple[bool, Any]]] = {}
        self.copies = True
        for side in self.sides:
            bits = [slot % 2 == side.number for slot in range(SLOTS)]
            bitmap = bytes(
                sum(bits[8 * byte + bit] << bit for bit in range(8)) for byte in range(SLOTS // 8)
            )
            self.apply(side, commands.OwnSlots(bitmap))
            self.apply(side, commands.Publish(NodeId(1), "boot"))

    def home(self, name: str) -> Side:
        """Return the group of a run."""
        return self.sides[slot_of(name) % 2]

    # ------------------------------------------------------------------ groups
    def apply(self, side: Side, command: commands.Command) -> Result:
        """Apply a command and note what happened."""
        side.index += 1
        result, happened = Execution().apply(
            Index(side.index), Millis(self.now), command.encode(), side.state
        )
        for event in happened:
            match event:
                case events.RunStarted(run):
                    self.started[run.id] += 1
                case events.Settled(run, _, settled):
                    for data in settled:
                        self.note(run, history.decode(data))
        return result

    def note(self, run: runs.Run, event: history.Event) -> None:
        """Note what a history tells of children."""
        match event:
            case ChildAsked():
                self.asked[event.id] = event
            case ChildDone(path, ok, value):
                child = f"{run.id}/{run.generation}/{path}"
                self.told.setdefault(child, []).append((ok, value))
            case Ended(status, value):
                self.ends[run.id] = (status == "completed", value)
                self.stopped.add(run.id)
            case history.CancelAsked():
                self.stopped.add(run.id)
            case _:
                pass
        if isinstance(event, Ended | Restarted):
            prefix = f"{run.id}/"
            self.left.update(each for each in self.asked if each.startswith(prefix))

    # ------------------------------------------------------------------ the network
    def send(self, side: Side) -> None:
        """Put any message of an outbox on its way, with what its sender knows by now."""
        waiting = list(outbox.messages(side.state))
        if not waiting:
            return
        number, message = self.chance.choice(waiting)
        to = self.home(message.run_id if isinstance(message, Begin) else message.to)
        low = outbox.low(side.state)
        packet = commands.Delivered(side.number, number, low, command_of(message))
        self.packets.append((to, number, packet))

    def arrive(self) -> None:
        """Let any packet arrive; it may come again, and its answer may be lost."""
        if not self.packets:
            return
        place = self.chance.randrange(len(self.packets))
        to, number, packet = self.packets[place]
        if not self.copies or self.chance.random() < 0.6:
            del self.packets[place]
            if self.copies and self.chance.random() < 0.2:
                return  # Lost.
        result = self.apply(to, packet)
        if result[0] == "refused":
            assert result[1] in PERMANENT, result
        if not self.copies or self.chance.random() < 0.8:
            self.acknowledged.append((self.sides[packet.group], number))

    def acknowledge(self) -> None:
        """Let a leader act on any answer that it heard, perhaps twice."""
        if not self.acknowledged:
            return
        place = self.chance.randrange(len(self.acknowledged))
        side, number = self.acknowledged[place]
        if not self.copies or self.chance.random() < 0.7:
            del self.acknowledged[place]
        self.apply(side, commands.OutboxDone([number]))

    def pass_on(self, side: Side) -> None:
        """Tell both groups what a group has dealt with; it may be old by the time it comes."""
        for other in self.sides:
            self.apply(other, commands.Passed(side.number, outbox.low(side.state)))

    # ------------------------------------------------------------------ owners and users
    def start(self, run_id: str) -> None:
        """Have a user start a run."""
        given = pack({"n": 0})
        command = commands.StartRun(RunId(run_id), "w", Version(1), "m", given, Index(0))
        self.apply(self.home(run_id), command)

    def live(self, side: Side) -> list[runs.Run]:
        """Return the runs of a group that go on."""
        found = [runs.find(side.state, each) for each in runs.live_ids(side.state)]
        return [run for run in found if run is not None]

    def settle(self, side: Side, run: runs.Run, *made: history.Event) -> None:
        """Settle events of a run."""
        data = [encode(each) for each in made]
        result = self.apply(side, commands.Settle(run.id, run.epoch, run.length, run.chain, data))
        assert result[0] == "ok", result

    def act(self, side: Side) -> None:
        """Have the owner of any run do the next thing: ask, leave, wait, begin anew, or end."""
        live = self.live(side)
        if not live:
            return
        run = self.chance.choice(live)
        waiting = dict(children.open_children(side.state, run.id))
        awaited = [path for path, child in waiting.items() if child.awaited]
        depth = run.id.count("/")
        path = f"kid{run.length}"
        what = self.chance.randrange(10)
        if what < 5 and depth < 5 and run.length < 7:
            child = f"{run.id}/{run.generation}/{path}"
            closing = self.chance.choice(history.CLOSINGS)
            detached = self.chance.random() < 0.3
            self.settle(side, run, ChildAsked(path, child, "w", 0, {"n": 0}, closing, detached))
        elif what == 5 and awaited and self.chance.random() < 0.4:
            self.left.add(waiting[awaited[0]].id)
            self.settle(side, run, history.ChildLeft(awaited[0]))
        elif what == 6 and run.generation < 2:
            self.settle(side, run, Restarted({"n": 0}))
        elif what > 6 and (not awaited or what == 9):
            ok = self.chance.random() < 0.7
            end = Ended("completed", str(run.id)) if ok else Ended("failed", ["No", run.id, {}])
            self.settle(side, run, end)

    def close(self, side: Side) -> None:
        """Have a user cancel or terminate any run; one that was asked to stop may do so."""
        live = self.live(side)
        if not live:
            return
        run = self.chance.choice(live)
        if run.cancel_asked:
            self.settle(side, run, Ended("cancelled", ["Cancelled", "", {}]))
        else:
            kind = self.chance.choice((commands.Cancel, commands.Terminate))
            self.apply(side, kind(run.id, "by a user"))

    def forget(self, side: Side) -> None:
        """Forget everything that may be forgotten."""
        self.apply(side, commands.Forget(self.now + 1, 0, 1_000))

    # ------------------------------------------------------------------ time
    def turn(self) -> None:
        """Let any one thing happen."""
        self.now += 1
        side = self.chance.choice(self.sides)
        match self.chance.randrange(20):
            case 0 | 1 | 2 | 3 | 4:
                self.act(side)
            case 5:
                self.close(side)
            case 6 | 7 | 8 | 9:
                self.send(side)
            case 10 | 11 | 12 | 13 | 14 | 15:
                self.arrive()
            case 16 | 17:
                self.acknowledge()
            case 18:
                self.pass_on(side)
            case _:
                self.forget(side)
        if self.now % 10 == 0:
            check_indexes(side.state)

    def calm(self) -> None:
        """Lose nothing any more, and carry on until no message is under way."""
        self.copies = False
        for _ in range(2_000):
            self.now += 1
            for side in self.sides:
                self.send(side)
                self.pass_on(side)
            for _ in range(4):
                self.arrive()
                self.acknowledge()
            waiting = sum(outbox.count(side.state) for side in self.sides)
            if not (self.packets or self.acknowledged or waiting):
                return
        raise AssertionError("it does not come to rest")

    def finish(self) -> None:
        """End every run, those first that wait for no child."""
        while any(self.live(side) for side in self.sides):
            for side in self.sides:
                for run in self.live(side):
                    if not any(c.awaited for _, c in children.open_children(side.state, run.id)):
                        self.settle(side, run, Ended("completed", str(run.id)))
            self.calm()

    def left_over(self) -> list[str]:
        """Return the runs that are still known."""
        return [run.id for side in self.sides for run in listing.newest_first(side.state)]
