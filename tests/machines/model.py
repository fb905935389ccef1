"""A dumb second execution group: lists and dictionaries, no keys, no indexes, no bytes.

It reads each command as it is meant and keeps whole objects; the machine has to agree with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from raftoral.codec import unpack
from raftoral.machines import commands
from raftoral.replay import history

if TYPE_CHECKING:
    from raftoral.machines.commands import Command


@dataclass
class ModelRun:
    """One run."""

    name: str
    given: object
    owner: int
    epoch: int
    started: int
    events: list[bytes] = field(default_factory=list)
    ended: int | None = None
    status: str = "running"
    refused: list[int] = field(default_factory=list)
    timers: dict[str, int] = field(default_factory=dict)
    mail: dict[str, list[tuple[str, bytes]]] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)


class Model:
    """The group. `apply` returns ``"ok"`` or the code of a refusal."""

    def __init__(self) -> None:
        self.runs: dict[str, ModelRun] = {}
        self.up: dict[int, tuple[str, bool]] = {}
        self.now = 0
        self.slots = False

    def apply(self, index: int, at: int, command: Command) -> str | list[str]:
        """Apply one command."""
        self.now = max(self.now, at)
        match command:
            case commands.Many(parts):
                return [self.one(index, commands.decode(part)) for part in parts]
            case _:
                return self.one(index, command)

    def one(self, index: int, command: Command) -> str:
        """Apply a command that is not several."""
        match command:
            case commands.StartRun():
                return self.start(index, command)
            case commands.Settle():
                return self.settle(command)
            case commands.Signal():
                return self.signal(command)
            case commands.Publish(node, boot):
                return self.publish(index, node, boot)
            case commands.TakeOver(lost, heirs, limit):
                return self.take_over(index, lost, heirs, limit)
            case commands.HandOver():
                return self.hand_over(index, command)
            case commands.Forget(before, keep, limit):
                return self.forget(before, keep, limit)
            case commands.OwnSlots():
                self.slots = True
                return "ok"
            case _:
                return "usage"

    def start(self, index: int, command: commands.StartRun) -> str:
        """Start or join."""
        if not self.slots:
            return "wrong_group"
        known = self.runs.get(command.run_id)
        given = unpack(command.input)
        if known is not None:
            return "ok" if (known.name, known.given) == (command.name, given) else "run_conflict"
        up = [node for node, (_, is_up) in self.up.items() if is_up]
        run = ModelRun(command.name, given, home(command.run_id, up), index, self.now)
        if not run.owner:
            run.status = "parked"
        started = history.Started(command.name, 1, "m", given, self.now, "", 0)  # type: ignore[arg-type]
        run.events = [history.encode(started)]
        self.runs[command.run_id] = run
        return "ok"

    def settle(self, command: commands.Settle) -> str:
        """Extend a history."""
        run = self.runs.get(command.run_id)
        if run is None or run.status != "running":
            return "stale"
        if command.epoch != run.epoch or command.base != len(run.events):
            return "stale"
        events: list[Any] = [history.decode(data) for data in command.events]
        kinds = [type(event).__name__ for event in events]
        if kinds.count("TimerFired") + kinds.count("Taken") > 1 or "Ended" in kinds[:-1]:
            return "usage"
        for event in events:
            if isinstance(event, history.TimerFired):
                if event.path not in run.timers:
                    return "stale"
                if run.timers[event.path] > self.now:
                    return "early"
            if isinstance(event, history.Taken):
                box = run.mail.get(run.seen.get(event.signal_id, ""), [])
                oldest = (box[0][0], repr(unpack(box[0][1]))) if box else None
                if oldest != (event.signal_id, repr(event.value)):
                    return "stale"
        for event in events:
            match event:
                case history.TimerSet(path, due):
                    run.timers[path] = due
                case history.TimerFired(path):
                    del run.timers[path]
                case history.Taken(path, signal_id, _):
                    run.timers.pop(path, None)
                    run.mail[run.seen[signal_id]].pop(0)
                case history.Ended(status, _):
                    run.status, run.ended = status, self.now
                    run.timers, run.mail = {}, {}
                case _:
                    pass
        run.events += command.events
        return "ok"

    def signal(self, command: commands.Signal) -> str:
        """Deliver a signal, once."""
        run = self.runs.get(command.run_id)
        if run is None:
            return "unknown_run"
        if command.signal_id in run.seen:
            return "ok"
        if run.ended is not None:
            return "run_ended"
        run.seen[command.signal_id] = command.name
        run.mail.setdefault(command.name, []).append((command.signal_id, command.payload))
        return "ok"

    def publish(self, index: int, node: int, boot: str) -> str:
        """Note a member and give it the parked runs."""
        if not node:
            return "usage"
        if self.up.get(node) != (boot, True):
            self.up[node] = (boot, True)
            for run in self.runs.values():
                if run.status == "parked":
                    self.assign(run, index, node, [])
        return "ok"

    def take_over(self, index: int, lost: int, heirs: list[Any], limit: int) -> str:
        """Spread the first runs of a lost member."""
        if not lost:
            return "usage"
        if lost in self.up:
            self.up[lost] = (self.up[lost][0], False)
        able = [node for node in heirs if self.up.get(node, ("", False))[1]]
        owned = sorted(i for i, run in self.runs.items() if run.ended is None and run.owner == lost)
        for run_id in owned[:limit]:
            self.assign(self.runs[run_id], index, home(run_id, able), [])
        return "ok"

    def hand_over(self, index: int, command: commands.HandOver) -> str:
        """Give a run to one member, or to whoever has not refused it."""
        run = self.runs.get(command.run_id)
        if run is None or run.ended is not None or run.epoch != command.epoch:
            return "stale"
        up = [node for node, (_, is_up) in self.up.items() if is_up]
        if command.to:
            if command.to not in up:
                return "stale"
            self.assign(run, index, command.to, [])
            return "ok"
        refused = [*run.refused]
        if run.owner and run.owner not in refused:
            refused.append(run.owner)
        able = [node for node in up if node not in refused]
        self.assign(run, index, home(command.run_id, able), refused)
        return "ok"

    def assign(self, run: ModelRun, index: int, owner: int, refused: list[int]) -> None:
        """Give a run another owner."""
        run.owner, run.epoch, run.refused = owner, index, refused
        run.status = "running" if owner else "parked"

    def forget(self, before: int, keep: int, limit: int) -> str:
        """Remove old runs."""
        ended = sorted((r.ended, run_id) for run_id, r in self.runs.items() if r.ended is not None)
        old = [
            run_id
            for place, (at, run_id) in enumerate(ended)
            if at < before or place < len(ended) - keep
        ]
        for run_id in old[:limit]:
            del self.runs[run_id]
        return "ok"


def home(run_id: str, nodes: list[int]) -> int:
    """Return the node with the greatest weight for a run, 0 without nodes."""
    weights = {n: blake2b(f"{n}/{run_id}".encode(), digest_size=8).digest() for n in nodes}
    return max(weights, key=lambda n: (weights[n], -n), default=0)
