"""A dumb second execution group: lists and dictionaries, no keys, no indexes, no bytes.

It reads each command as it is meant and keeps whole objects; the machine has to agree with it. What
may refuse half way is tried on a copy of everything.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from raftoral.codec import pack, unpack, unpack_record
from raftoral.errors import UsageError
from raftoral.machines import commands
from raftoral.machines.callbacks import token_of
from raftoral.machines.children import Parent, parent_of
from raftoral.machines.outbox import Begin, Say
from raftoral.machines.schedules import Spec
from raftoral.machines.step import Refused
from raftoral.replay import history

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.machines.commands import Command


class No(Exception):
    """A refusal, by its code."""


class Kept(No):
    """A refusal that is remembered with everything else."""


@dataclass
class ModelChild:
    """A child that a run awaits or will close."""

    id: str
    close: str
    awaited: bool
    asked: int
    number: int


@dataclass
class ModelCallback:
    """A callback."""

    token: str
    due: int
    beat: int
    beaten: int
    outcome: str = ""


@dataclass
class ModelSchedule:
    """A schedule."""

    id: str
    spec: Spec
    revision: int
    next: int
    paused: bool = False
    current: str = ""
    begun: int = 0
    waiting: int = 0
    fired: int = 0
    left_out: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class ModelRun:
    """One run."""

    id: str
    name: str
    given: object
    owner: int
    epoch: int
    started: int
    version: int = 1
    events: list[bytes] = field(default_factory=list)
    ended: int | None = None
    end: str = ""
    refused: list[int] = field(default_factory=list)
    timers: dict[str, int] = field(default_factory=dict)
    mail: dict[str, list[tuple[str, bytes]]] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)
    updates: dict[str, list[tuple[str, bytes]]] = field(default_factory=dict)
    answers: dict[str, tuple[str, tuple[bool, Any] | None]] = field(default_factory=dict)
    paused: bool = False
    cancelled: bool = False
    generation: int = 0
    parent: bytes = b""
    search: list[str] = field(default_factory=list)
    request: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    cells: dict[str, bytes] = field(default_factory=dict)
    children: dict[str, ModelChild] = field(default_factory=dict)
    callbacks: dict[str, ModelCallback] = field(default_factory=dict)
    untold: int = 0
    origin: tuple[int, ...] = ()
    source: str = ""

    @property
    def status(self) -> str:
        """The status, from what it follows."""
        if self.end:
            return self.end
        return "parked" if not self.owner else "paused" if self.paused else "running"


class Model:
    """The group. `apply` returns ``"ok"`` or the code of a refusal."""

    def __init__(self) -> None:
        self.runs: dict[str, ModelRun] = {}
        self.up: dict[int, tuple[str, bool]] = {}
        self.now = 0
        self.index = 0
        self.slots = False
        self.outbox: dict[int, Begin | Say] = {}
        self.posted = 0
        self.expected: dict[int, int] = {}
        self.schedules: dict[str, ModelSchedule] = {}
        self.origin: tuple[int, int] | None = None

    def apply(self, index: int, at: int, command: Command) -> str | list[str]:
        """Apply one command."""
        self.now, self.index = max(self.now, at), index
        match command:
            case commands.Many(parts):
                return [self.one(commands.decode(part)) for part in parts]
            case _:
                return self.one(command)

    def one(self, command: Command) -> str:
        """Apply a command that is not several, to everything or not at all."""
        if isinstance(command, commands.Delivered):
            return self.delivered(command)
        before = deepcopy(self.__dict__)
        try:
            getattr(self, type(command).__name__.lower(), self.unknown)(command)
        except (No, Refused) as no:
            if not isinstance(no, Kept):
                self.__dict__ = before
            return no.kind if isinstance(no, Refused) else str(no)
        return "ok"

    @staticmethod
    def once(owner: ModelRun | ModelSchedule, request: str, change: Callable[[], None]) -> None:
        """Do what a request asks, once; tell it again what it was told. Ids are never forgotten."""
        for known, no in owner.asked:
            if request and known == request:
                if no:
                    raise Kept(no)
                return
        try:
            change()
        except No as no:
            if request and str(no) != "usage":
                owner.asked.append((request, str(no)))
                raise Kept(str(no)) from None
            raise
        owner.asked.append((request, ""))

    def unknown(self, _command: Command) -> None:
        """Refuse what an execution group does not know."""
        raise No("usage")

    # ------------------------------------------------------------------ starting
    def startrun(self, command: commands.StartRun) -> None:
        """Start or join."""
        if not self.slots:
            raise No("wrong_group")
        known = self.runs.get(command.run_id)
        given = unpack(command.input)
        generation, origin = 0, ()
        if known is not None:
            same = (known.name, known.given) == (command.name, given)
            again = command.parent != b"" and known.parent == command.parent
            failed = known.ended is not None and known.end != "completed"
            if command.request and command.request == known.request:
                self.join(known, command)
                return
            if command.policy == "reject":
                raise No("run_conflict")
            if again or command.policy != "retry_failed" or not failed:
                if not (same or again):
                    raise No("run_conflict")
                self.join(known, command)
                return
            generation, origin = known.generation + 1, known.origin
        up = [node for node, (_, is_up) in self.up.items() if is_up]
        run = ModelRun(
            command.run_id, command.name, given, home(command.run_id, up), self.index, self.now
        )
        run.generation, run.parent, run.origin = generation, command.parent, origin
        run.search = list(command.search)
        run.request = command.request
        parent = parent_of(command.parent)
        self.append(
            run,
            history.Started(
                command.name,
                1,
                "m",
                given,  # type: ignore[arg-type]
                self.now,  # type: ignore[arg-type]
                "" if parent is None else parent.id,
                generation,
            ),
        )
        self.note_origin(run)
        self.runs[command.run_id] = run

    def join(self, run: ModelRun, command: commands.StartRun) -> None:
        """Leave a run as it is, but tell its end to a parent that asks."""
        self.note_origin(run)
        parent = parent_of(command.parent)
        if parent is not None and parent.awaited:
            other = run.parent != command.parent
            run.parent = command.parent
            if run.ended is not None and (other or not run.untold):
                self.tell(run)

    def note_origin(self, run: ModelRun) -> None:
        """Keep the newest message that the run was asked for by."""
        if self.origin is not None and self.origin > run.origin:
            run.origin = self.origin

    # ------------------------------------------------------------------ settling
    def settle(self, command: commands.Settle) -> None:
        """Extend a history."""
        run = self.runs.get(command.run_id)
        if run is None or run.status not in ("running", "paused"):
            raise No("stale")
        if command.epoch != run.epoch or command.base != len(run.events):
            raise No("stale")
        digest = b""
        for data in run.events:
            digest = blake2b(digest + data, digest_size=16).digest()
        if command.chain != digest:
            raise No("stale")
        events: list[Any] = [history.decode(data) for data in command.events]
        kinds = [type(event).__name__ for event in events]
        if {"Ended", "Restarted"} & set(kinds[:-1]):
            raise No("usage")
        for event in events:
            self.take(run, event)
        run.events += command.events
        if kinds[-1] == "Restarted":
            self.restart(run, events[-1].input)

    def take(self, run: ModelRun, event: Any) -> None:
        """Check one event and do what it means."""
        match event:
            case history.Set(path, value) if path in run.search:
                run.cells[path] = pack(value)
            case history.TimerSet(path, due):
                run.timers[path] = due
            case history.TimerFired(path):
                if path not in run.timers:
                    raise No("stale")
                if run.timers.pop(path) > self.now:
                    raise No("early")
            case history.Taken(path, signal_id, value):
                self.take_oldest(run.mail.get(run.seen.get(signal_id, ""), []), signal_id, value)
                run.timers.pop(path, None)
            case history.Updated(_, update_id, value, ok, answer):
                name, _told = run.answers.get(update_id, ("", None))
                self.take_oldest(run.updates.get(name, []), update_id, value)
                run.answers[update_id] = (name, (ok, answer))
            case history.ChildAsked():
                self.ask(run, event)
            case history.ChildLeft(path):
                self.leave(run, path)
            case history.CallbackOpened(path, token, due, beat):
                said = token_of(token)
                if (said.run_id, said.generation, said.path) != (run.id, run.generation, path):
                    raise No("usage")
                if path in run.callbacks:
                    raise No("usage")
                run.callbacks[path] = ModelCallback(token, due, beat, self.now)
            case history.CallbackDone(path, ok, value):
                self.time_out(run, path, ok, value)
            case history.Ended(status, _):
                if status == "terminated":
                    raise No("usage")
                self.end(run, event)
            case history.Started() | history.ChildDone() | history.CancelAsked():
                raise No("usage")
            case history.Paused() | history.Resumed():
                raise No("usage")

    def take_oldest(self, box: list[tuple[str, bytes]], mail_id: str, value: object) -> None:
        """Take the oldest of a box if it is the one that is meant."""
        if not box or (box[0][0], repr(unpack(box[0][1]))) != (mail_id, repr(value)):
            raise No("stale")
        box.pop(0)

    def time_out(self, run: ModelRun, path: str, ok: bool, value: Any) -> None:
        """Complete a callback whose time is up."""
        record = run.callbacks.get(path)
        if record is None or record.outcome:
            raise No("stale")
        if ok or value[0] not in ("Timeout", "HeartbeatTimeout"):
            raise No("usage")
        reached = (
            "HeartbeatTimeout" if record.beat and self.now >= record.beaten + record.beat else ""
        )
        if record.due and self.now >= record.due:
            reached = "Timeout"
        if value[0] != reached:
            raise No("early")
        record.outcome = repr((ok, value))

    def end(self, run: ModelRun, event: history.Ended) -> None:
        """Let a run be over; its `Ended` is appended elsewhere."""
        run.end, run.ended = event.status, self.now
        run.timers, run.paused = {}, False
        if event.status == "completed":
            run.mail, run.updates = {}, {}
        for path in sorted(run.children):
            self.leave(run, path)
        self.tell(run, event)

    def restart(self, run: ModelRun, given: object) -> None:
        """Begin the next generation."""
        for path in sorted(run.children):
            self.leave(run, path)
        run.generation, run.epoch, run.events = run.generation + 1, self.index, []
        run.timers, run.cells, run.callbacks, run.cancelled = {}, {}, {}, False
        parent = parent_of(run.parent)
        self.append(
            run,
            history.Started(
                run.name,
                1,
                "m",
                given,  # type: ignore[arg-type]
                self.now,  # type: ignore[arg-type]
                "" if parent is None else parent.id,
                run.generation,
            ),
        )
        if run.paused:
            self.append(run, history.Paused("reason"))

    @staticmethod
    def append(run: ModelRun, event: history.Event) -> None:
        """Append what the group itself writes."""
        run.events.append(history.encode(event, floats=True))

    # ------------------------------------------------------------------ retry and fork
    def retryrun(self, command: commands.RetryRun) -> None:
        """Let a run go on from before its failure."""
        run = self.known(command.run_id)
        if run.generation > command.generation:
            return
        if run.generation < command.generation:
            raise No("run_conflict")
        if run.ended is None or run.end == "completed":
            raise No("run_conflict")
        events: list[Any] = [history.decode(data) for data in run.events]
        again, place = failed_by(events)
        before, after = events[:place], events[place:-1]
        for event in after:
            if type(event).__name__ == "Done" and event.ok and event.path.split("/")[0] == "undo":
                raise No("usage")
        before = [
            event
            for event in before
            if not (type(event).__name__ in ("Retry", "Asked", "TimerSet") and event.path == again)
        ]
        for event in list(after):
            late = type(event).__name__ in ("ChildDone", "CallbackDone") and event.path != again
            if late and event.path in unfinished(before):
                before.append(event)
                after.remove(event)
        for event in reversed(after):
            match event:
                case history.Taken(_, mail_id, value):
                    if mail_id not in run.seen:
                        raise No("usage")
                    box = run.mail.setdefault(run.seen[mail_id], [])
                    box.insert(0, (mail_id, pack(value)))
                case history.Updated(_, mail_id, value):
                    if mail_id not in run.answers:
                        raise No("usage")
                    name = run.answers[mail_id][0]
                    run.answers[mail_id] = (name, None)
                    run.updates.setdefault(name, []).insert(0, (mail_id, pack(value)))
        self.outbox.pop(run.untold, None)
        run.untold, run.end, run.ended, run.refused = 0, "", None, []
        run.generation, run.epoch = run.generation + 1, self.index
        run.owner = home(run.id, self.members())
        waiting = unfinished(before)
        for number, event in enumerate(before):
            if isinstance(event, history.ChildAsked) and waiting.get(event.path) is event:
                before[number] = event._replace(id=f"{run.id}/{run.generation}/{event.path}")
                self.ask(run, before[number])
        before[0] = before[0]._replace(generation=run.generation)
        self.rebuild(run, before)

    def adopt(self, command: commands.Adopt) -> None:
        """Begin a run with the events of another."""
        if not self.slots:
            raise No("wrong_group")
        source = f"{command.source_id}@{command.position}"
        if command.run_id in self.runs:
            if self.runs[command.run_id].source != source:
                raise No("run_conflict")
            return
        events: list[Any] = [history.decode(data) for data in command.events]
        kinds = [type(event).__name__ for event in events]
        if len(events) != command.position or kinds[:1] != ["Started"]:
            raise No("usage")
        if {"Started", "Ended", "Restarted"} & set(kinds[1:]) or unfinished(events):
            raise No("usage")
        if events[0].name != command.name:
            raise No("usage")
        run = ModelRun(
            command.run_id, command.name, events[0].input, 0, self.index, self.now, source=source
        )
        run.owner = home(run.id, self.members())
        run.generation, run.search = command.generation + 1, list(command.search)
        events[0] = history.Started(
            run.name,
            1,
            "m",
            events[0].input,
            self.now,
            "",
            run.generation,  # type: ignore[arg-type]
        )
        self.rebuild(run, events)
        self.runs[run.id] = run

    def rebuild(self, run: ModelRun, events: list[Any]) -> None:
        """Give a run a history, and what follows from it."""
        run.timers, run.cells, run.callbacks, run.events = {}, {}, {}, []
        run.cancelled = False
        for event in events:
            self.append(run, event)
            match event:
                case history.Set(path, value) if path in run.search:
                    run.cells[path] = pack(value)
                case history.TimerSet(path, due):
                    run.timers[path] = due
                case history.TimerFired(path) | history.Taken(path):
                    run.timers.pop(path, None)
                case history.CallbackOpened(path, token, due, beat):
                    run.callbacks[path] = ModelCallback(token, due, beat, self.now)
                case history.CallbackDone(path, ok, value):
                    if path in run.callbacks:
                        run.callbacks[path].outcome = repr((ok, value))
                case history.CancelAsked():
                    run.cancelled = True

    def members(self) -> list[int]:
        """Return the members that are up."""
        return [node for node, (_, is_up) in self.up.items() if is_up]

    # ------------------------------------------------------------------ schedules
    def schedule(self, name: str) -> ModelSchedule:
        """Return a schedule."""
        if name not in self.schedules:
            raise No("unknown_schedule")
        return self.schedules[name]

    def putschedule(self, command: commands.PutSchedule) -> None:
        """Store a schedule."""
        if not self.slots:
            raise No("wrong_group")
        spec = Spec(*unpack_record(command.spec))
        known = self.schedules.get(command.schedule)
        if known is not None and known.spec == spec:
            return
        if command.instead_of != (known.revision if known else 0):
            raise No("schedule_conflict")
        if known is None:
            known = ModelSchedule(command.schedule, spec, 0, 0)
            self.schedules[command.schedule] = known
        known.spec, known.revision = spec, self.index
        known.next = self.until(spec, command.next_at)

    @staticmethod
    def until(spec: Spec, at: int) -> int:
        """Return the next time, none behind the end."""
        if 0 < at < spec.start_at:
            raise No("usage")
        return 0 if spec.end_at and at > spec.end_at else at

    def pauseschedule(self, command: commands.PauseSchedule) -> None:
        """Pause."""
        known = self.schedule(command.schedule)

        def change() -> None:
            if not known.paused:
                known.left_out += bool(known.waiting)
                known.paused, known.waiting = True, 0

        self.once(known, command.request, change)

    def resumeschedule(self, command: commands.ResumeSchedule) -> None:
        """Resume."""
        known = self.schedule(command.schedule)

        def change() -> None:
            if known.paused:
                known.paused, known.next = False, self.until(known.spec, command.next_at)

        self.once(known, command.request, change)

    def dropschedule(self, command: commands.DropSchedule) -> None:
        """Drop."""
        known = self.schedules.get(command.schedule)
        if known is not None and command.revision not in (0, known.revision):
            raise No("schedule_conflict")
        self.schedules.pop(command.schedule, None)

    def backfill(self, command: commands.Backfill) -> None:
        """Start all of these."""
        known = self.schedule(command.schedule)
        if command.revision != known.revision:
            raise No("schedule_conflict")
        for at in command.times:
            self.fire(known, at, awaited=False)
        known.revision = self.index

    def fire(self, known: ModelSchedule, at: int, *, awaited: bool) -> None:
        """Start the run of a time."""
        run_id = f"{known.id}@1970-01-01T{at // 3_600_000:02}:{at // 60_000 % 60:02}:"
        run_id += f"{at // 1000 % 60:02}" + (f".{at % 1000:03}" if at % 1000 else "") + "Z"
        parent = Parent(known.id, 0, "", awaited, self.index)  # type: ignore[arg-type]
        spec = known.spec
        begin = Begin(run_id, parent.encode(), spec.name, spec.version, spec.input)  # type: ignore[arg-type]
        number = self.post(begin)
        known.fired += 1
        if awaited:
            known.current, known.begun = run_id, number

    def fired(self, command: commands.Fired) -> None:
        """Fire, wait, or leave out."""
        known = self.schedule(command.schedule)
        stale = command.revision != known.revision or known.paused or not known.next
        if stale or command.at != known.next:
            raise No("stale")
        if command.at > self.now:
            raise No("early")
        if command.next_at and command.next_at <= command.at:
            raise No("usage")
        spec, at = known.spec, command.at
        known.next = self.until(spec, command.next_at)
        if command.missed:
            known.left_out += command.missed
        elif spec.catch_up and self.now - at > spec.catch_up:
            known.left_out += 1
        elif spec.overlap == "allow":
            self.fire(known, at, awaited=False)
        elif not known.current:
            self.fire(known, at, awaited=True)
        elif spec.overlap == "skip":
            known.left_out += 1
        elif spec.overlap == "buffer_one":
            known.left_out += bool(known.waiting)
            known.waiting = known.waiting or at
        else:
            known.left_out += bool(known.waiting)
            if not known.waiting:
                self.close_begun(known.current, known.begun, spec.overlap.removesuffix("_other"))
            known.waiting = at

    def scheduledended(self, command: commands.ScheduledEnded) -> None:
        """Go on with the run that waits."""
        known = self.schedules.get(command.schedule)
        if known is not None and known.current and known.current == command.run_id:
            at, known.current, known.begun, known.waiting = known.waiting, "", 0, 0
            if at:
                self.fire(known, at, awaited=True)

    # ------------------------------------------------------------------ from outside
    def known(self, run_id: str) -> ModelRun:
        """Return a run."""
        if run_id not in self.runs:
            raise No("unknown_run")
        return self.runs[run_id]

    def going(self, run: ModelRun) -> None:
        """Refuse a run that is over."""
        if run.ended is not None:
            raise No("run_ended")

    def cancel(self, command: commands.Cancel) -> None:
        """Ask once."""
        run = self.known(command.run_id)

        def change() -> None:
            if not run.cancelled:
                self.going(run)
                run.cancelled = True
                self.append(run, history.CancelAsked(command.reason))

        self.once(run, command.request, change)

    def terminate(self, command: commands.Terminate) -> None:
        """End a run."""
        run = self.known(command.run_id)

        def change() -> None:
            if run.end == "terminated":
                return
            self.going(run)
            event = history.Ended("terminated", ["Terminated", command.reason, {}])
            self.end(run, event)
            self.append(run, event)

        self.once(run, command.request, change)

    def pause(self, command: commands.Pause) -> None:
        """Pause."""
        run = self.known(command.run_id)

        def change() -> None:
            self.going(run)
            if not run.paused:
                run.paused = True
                self.append(run, history.Paused(command.reason))

        self.once(run, command.request, change)

    def resume(self, command: commands.Resume) -> None:
        """Resume."""
        run = self.known(command.run_id)

        def change() -> None:
            self.going(run)
            if run.paused:
                run.paused = False
                self.append(run, history.Resumed())

        self.once(run, command.request, change)

    def signal(self, command: commands.Signal) -> None:
        """Deliver a signal, once."""
        run = self.known(command.run_id)
        if command.signal_id not in run.seen:
            self.going(run)
            run.seen[command.signal_id] = command.name
            run.mail.setdefault(command.name, []).append((command.signal_id, command.payload))

    def update(self, command: commands.Update) -> None:
        """Deliver an update, once."""
        run = self.known(command.run_id)
        if command.update_id not in run.answers:
            self.going(run)
            run.answers[command.update_id] = (command.name, None)
            box = run.updates.setdefault(command.name, [])
            box.append((command.update_id, command.payload))
        elif run.answers[command.update_id][1] is None:
            self.going(run)

    def callback(self, text: str) -> tuple[ModelRun, str, ModelCallback]:
        """Return what a token is of."""
        token = token_of(text)
        run = self.runs.get(token.run_id)
        if run is None:
            raise No("unknown_callback")
        record = run.callbacks.get(token.path)
        if record is None or record.token != text:
            raise No("callback_done" if token.generation < run.generation else "unknown_callback")
        return run, token.path, record

    def completecallback(self, command: commands.CompleteCallback) -> None:
        """Complete a callback, once."""
        run, path, record = self.callback(command.token)
        value: Any = unpack(command.value)
        if record.outcome == repr((command.ok, value)):
            return
        if record.outcome or run.ended is not None:
            raise No("callback_done")
        record.outcome = repr((command.ok, value))
        self.append(run, history.CallbackDone(path, command.ok, value))

    def beatcallback(self, command: commands.BeatCallback) -> None:
        """Keep a callback alive."""
        run, _, record = self.callback(command.token)
        if record.outcome or run.ended is not None:
            raise No("callback_done")
        record.beaten = self.now

    # ------------------------------------------------------------------ children and messages
    def post(self, message: Begin | Say) -> int:
        """Put a message into the outbox."""
        self.posted += 1
        self.outbox[self.posted] = message
        return self.posted

    def ask(self, run: ModelRun, event: history.ChildAsked) -> None:
        """Ask for a child."""
        parent = Parent(run.id, run.generation, event.path, not event.detached, self.index)  # type: ignore[arg-type]
        if event.id != f"{run.id}/{run.generation}/{event.path}" or event.path in run.children:
            raise No("usage")
        begin = Begin(event.id, parent.encode(), event.name, event.version, pack(event.input))  # type: ignore[arg-type]
        number = self.post(begin)
        if not event.detached or event.close != "abandon":
            run.children[event.path] = ModelChild(
                event.id, event.close, not event.detached, self.index, number
            )

    def leave(self, run: ModelRun, path: str) -> None:
        """Close a child."""
        child = run.children.pop(path, None)
        if child is None or child.close == "abandon":
            return
        self.close_begun(child.id, child.number, child.close)

    def close_begun(self, run_id: str, number: int, how: str) -> None:
        """Close a run, but not before it is known to have begun."""
        begin = self.outbox.get(number)
        if isinstance(begin, Begin):
            self.outbox[number] = replace(begin, then=how)
        else:
            self.close(run_id, how)

    def close(self, run_id: str, how: str) -> None:
        """Ask for another run to be closed."""
        kind = commands.Cancel if how == "cancel" else commands.Terminate
        why = "its parent ended, or waits for it no longer"
        self.post(Say(run_id, kind(run_id, why).encode()))  # type: ignore[arg-type]

    def tell(self, run: ModelRun, event: Any = None) -> None:
        """Tell the parent that a run has ended."""
        parent = parent_of(run.parent)
        if parent is None or not parent.awaited:
            return
        if event is None:
            event = history.decode(run.events[-1])
        self.outbox.pop(run.untold, None)
        if not parent.path:
            over = commands.ScheduledEnded(parent.id, run.id)  # type: ignore[arg-type]
            run.untold = self.post(Say(parent.id, over.encode(), run.id))
            return
        done = commands.ChildDone(
            parent.id,  # type: ignore[arg-type]
            parent.generation,
            parent.path,
            parent.asked,
            event.status == "completed",
            pack(event.value),
        )
        run.untold = self.post(Say(parent.id, done.encode(), run.id))

    def childdone(self, command: commands.ChildDone) -> None:
        """Give a parent the end of a child."""
        value: Any = unpack(command.value)
        run = self.runs.get(command.parent_id)
        child = None if run is None else run.children.get(command.path)
        if run is None or run.ended is not None or child is None:
            return
        if child.awaited and child.asked == command.asked:
            del run.children[command.path]
            self.outbox.pop(child.number, None)
            self.append(run, history.ChildDone(command.path, command.ok, value))

    def outboxdone(self, command: commands.OutboxDone) -> None:
        """Take messages out of the outbox."""
        for number in command.numbers:
            message = self.outbox.pop(number, None)
            if isinstance(message, Begin) and message.then:
                self.close(message.run_id, message.then)
            for run in self.runs.values():
                if message is not None and run.untold == number:
                    run.untold = 0

    def delivered(self, command: commands.Delivered) -> str:
        """Take a command that comes out of an outbox, if no copy of it was dealt with."""
        if command.low > command.number:
            return "usage"
        if command.number < self.expected.get(command.group, 0):
            return "ok"
        self.passed(commands.Passed(command.group, command.low))
        try:
            inner = commands.decode(command.command)
        except UsageError:
            return "usage"
        if isinstance(inner, commands.Many | commands.Delivered):
            return "usage"
        self.origin = (command.group, command.number)
        answer = self.one(inner)
        self.origin = None
        return answer

    def passed(self, command: commands.Passed) -> None:
        """Move the fence of a group."""
        low = max(self.expected.get(command.group, 0), command.low)
        if low:
            self.expected[command.group] = low
        for run in self.runs.values():
            if run.origin and run.origin[0] == command.group and run.origin[1] < low:
                run.origin = ()

    # ------------------------------------------------------------------ owners
    def ownslots(self, _command: commands.OwnSlots) -> None:
        """Own every slot."""
        self.slots = True

    def publish(self, command: commands.Publish) -> None:
        """Note a member and give it the parked runs."""
        if not command.node:
            raise No("usage")
        if self.up.get(command.node) != (command.incarnation, True):
            self.up[command.node] = (command.incarnation, True)
            for run in self.runs.values():
                if run.status == "parked":
                    self.assign(run, command.node, [])

    def takeover(self, command: commands.TakeOver) -> None:
        """Spread the first runs of a lost member."""
        lost = command.lost
        if not lost:
            raise No("usage")
        if lost in self.up:
            self.up[lost] = (self.up[lost][0], False)
        able = [node for node in command.members if self.up.get(node, ("", False))[1]]
        owned = sorted(i for i, run in self.runs.items() if run.ended is None and run.owner == lost)
        for run_id in owned[: command.limit]:
            self.assign(self.runs[run_id], home(run_id, able), [])

    def handover(self, command: commands.HandOver) -> None:
        """Give a run to one member, or to whoever has not refused it."""
        run = self.runs.get(command.run_id)
        if run is None or run.ended is not None or run.epoch != command.epoch:
            raise No("stale")
        up = [node for node, (_, is_up) in self.up.items() if is_up]
        if command.to:
            if command.to not in up:
                raise No("stale")
            self.assign(run, command.to, [])
            return
        refused = [*run.refused]
        if run.owner and run.owner not in refused:
            refused.append(run.owner)
        able = [node for node in up if node not in refused]
        self.assign(run, home(command.run_id, able), refused)

    def assign(self, run: ModelRun, owner: int, refused: list[int]) -> None:
        """Give a run another owner."""
        run.owner, run.epoch, run.refused = owner, self.index, refused

    def forget(self, command: commands.Forget) -> None:
        """Remove old runs."""
        finished = [run for run in self.runs.values() if run.ended is not None]
        free = sorted((r.ended or 0, r.id) for r in finished if not r.untold and not r.origin)
        surplus = len(finished) - command.keep
        old = [
            run_id
            for place, (at, run_id) in enumerate(free)
            if at < command.before or place < surplus
        ]
        for run_id in old[: command.limit]:
            del self.runs[run_id]


def unfinished(events: list[Any]) -> dict[str, Any]:
    """Return the children and callbacks that wait."""
    waiting = {}
    for event in events:
        kind = type(event).__name__
        if kind == "CallbackOpened" or (kind == "ChildAsked" and not event.detached):
            waiting[event.path] = event
        if kind in ("CallbackDone", "ChildDone", "ChildLeft"):
            waiting.pop(event.path, None)
    return waiting


def failed_by(events: list[Any]) -> tuple[str, int]:
    """Return the step that is to be done again, and from where on in the history."""
    last = events[-1]
    kinds = [type(event).__name__ for event in events]
    if last.status != "failed":
        return "", kinds.index("CancelAsked") if "CancelAsked" in kinds else len(events) - 1
    for place in reversed(range(len(events) - 1)):
        event = events[place]
        if kinds[place] not in ("Done", "ChildDone", "CallbackDone") or event.ok:
            continue
        if repr(event.value) != repr(last.value):
            continue
        opened = [
            number
            for number, other in enumerate(events)
            if kinds[number] == "CallbackOpened" and other.path == event.path
        ]
        return event.path, opened[0] if kinds[place] == "CallbackDone" and opened else place
    return "", len(events) - 1


def home(run_id: str, nodes: list[Any]) -> int:
    """Return the node with the greatest weight for a run, 0 without nodes."""
    weights = {n: blake2b(f"{n}/{run_id}".encode(), digest_size=8).digest() for n in nodes}
    return max(weights, key=lambda n: (weights[n], -n), default=0)
