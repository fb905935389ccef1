"""Runs that begin by the calendar: schedules, when each fires next, what if its last run goes on.

The group never reads a calendar, since the rules of time zones differ between nodes and change: its
leader works out the next time and records it. The rules kept here: a schedule fires once for each
recorded time, when that is due; a run that must not meet the one before begins when that has ended.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from raftoral.codec import pack_record, unpack_record
from raftoral.errors import CorruptionError, LimitExceeded, UsageError
from raftoral.ids import Index, Millis, RunId
from raftoral.machines import commands, layout, outbox, runs
from raftoral.machines.children import Parent
from raftoral.machines.events import ScheduleChanged
from raftoral.machines.lifecycle import check_reason
from raftoral.machines.outbox import Begin
from raftoral.machines.repeats import once
from raftoral.machines.runs import NEVER
from raftoral.machines.step import Refused, canonical, check_slot
from raftoral.replay.history import DUE_MAX
from raftoral.values import instant_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raftoral.kv import Reader
    from raftoral.machines.base import Result
    from raftoral.machines.step import Step

SCHEDULES_MAX: Final = 10_000
ID_LENGTH_MAX: Final = 170
TEXT_LENGTH_MAX: Final = 200
BACKFILL_MAX: Final = 1_000
MISSED_MAX: Final = 1_000
"""How many times are made up for after a standstill, the newest; and how many others are counted."""

SKIP, BUFFER_ONE, ALLOW = "skip", "buffer_one", "allow"
CANCEL_OTHER, TERMINATE_OTHER = "cancel_other", "terminate_other"
OVERLAPS: Final = (SKIP, BUFFER_ONE, ALLOW, CANCEL_OTHER, TERMINATE_OTHER)


@dataclass(frozen=True, slots=True)
class Spec:
    """What a schedule starts, and when.

    ``version`` 0 is the newest at that time; ``input`` is packed, a list by position or a map by
    name. ``when`` and ``zone`` are for the leader, who alone reads them. No time before ``start_at``
    or after ``end_at`` (0: no end) fires, none that is more than ``catch_up`` milliseconds past
    (0: however late), none before the newest 1,000 that were missed. ``overlap`` says what happens while the last run goes on: the new one is left
    out (`SKIP`), begins behind it (`BUFFER_ONE`: one waits, later ones are left out), begins beside
    it (`ALLOW`), or has it cancelled or terminated and begins then, the newest one only.
    """

    name: str
    version: int
    input: bytes
    when: str
    zone: str = "UTC"
    overlap: str = SKIP
    start_at: Millis = NEVER
    end_at: Millis = NEVER
    catch_up: int = 0

    def encode(self) -> bytes:
        """Return the bytes that a command carries."""
        return pack_record(astuple(self))


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as its group keeps it.

    ``revision`` is the index of what changed it last. ``current`` is the run that the next one has
    to wait for, begun by message ``begun``; ``waiting`` is the time of the run that does. ``fired``
    and ``left_out`` count times.
    """

    id: str
    spec: bytes
    revision: Index
    next_at: Millis
    paused: str | None = None
    current: str = ""
    begun: int = 0
    waiting: Millis = NEVER
    last_at: Millis = NEVER
    fired: int = 0
    left_out: int = 0

    @property
    def plan(self) -> Spec:
        """Return what it starts, and when."""
        return Spec(*unpack_record(self.spec))

    @property
    def due(self) -> Millis | None:
        """Return when it fires next, None for never."""
        return self.next_at if self.next_at and self.paused is None else None


_SPEC_TYPES: Final = [str, int, bytes, str, str, str, int, int, int]


def run_id_of(schedule: str, at: Millis) -> RunId:
    """Return the id of the run for a time, such as ``nightly@2026-11-25T09:00:00Z``."""
    text = instant_of(at).replace(tzinfo=None).isoformat(timespec="seconds")
    part = f".{at % 1000:03}" if at % 1000 else ""
    return RunId(f"{schedule}@{text}{part}Z")


# ------------------------------------------------------------------ what operators do
def put(step: Step, command: commands.PutSchedule) -> Result:
    """Store a schedule, or another one in its place."""
    _check_id(command.schedule)
    check_slot(step.txn, command.schedule)
    spec = _check_spec(command.spec)
    known = find(step.txn, command.schedule)
    if known is not None and known.spec == command.spec:
        return ["ok", "known", known.revision]
    if command.instead_of != (0 if known is None else known.revision):
        raise Refused(
            "schedule_conflict",
            f"schedule {command.schedule} "
            + ("is not there" if known is None else f"exists, at revision {known.revision}")
            + f", so nothing was put in place of revision {command.instead_of}; look at it first",
        )
    new = known or Schedule(command.schedule, b"", Index(0), NEVER)
    if known is None and layout.add(step.txn, "schedules", 1) > SCHEDULES_MAX:
        raise LimitExceeded(f"the group has {SCHEDULES_MAX:,} schedules, its bound; drop some")
    new = replace(
        new, spec=command.spec, revision=step.index, next_at=_bounded(spec, command.next_at)
    )
    _store(step, new, known)
    return ["ok", "stored", new.revision]


def pause(step: Step, command: commands.PauseSchedule) -> Result:
    """Let a schedule fire no more; a run that waits for another is left out."""
    known = _found(step.txn, command.schedule)

    def change() -> Result:
        if known.paused is None:
            reason = check_reason(command.reason)
            left_out = known.left_out + bool(known.waiting)
            _store(step, replace(known, paused=reason, waiting=NEVER, left_out=left_out), known)
        return ["ok", "paused"]

    return once(step, layout.schedule_requests_key(known.id), command.request, change)


def resume(step: Step, command: commands.ResumeSchedule) -> Result:
    """Let a paused schedule fire again."""
    known = _found(step.txn, command.schedule)

    def change() -> Result:
        if known.paused is not None:
            next_at = _bounded(known.plan, command.next_at)
            _store(step, replace(known, paused=None, next_at=next_at), known)
        return ["ok", "resumed"]

    return once(step, layout.schedule_requests_key(known.id), command.request, change)


def drop(step: Step, command: commands.DropSchedule) -> Result:
    """Remove a schedule; its runs go on."""
    known = find(step.txn, command.schedule)
    if known is None:
        return ["ok", "absent"]
    if command.revision not in (0, known.revision):
        raise _changed(known)
    step.txn.delete(layout.schedule_key(known.id))
    step.txn.delete(layout.schedule_requests_key(known.id))
    if known.due is not None:
        step.txn.delete(layout.due_key(known.due, known.id))
    layout.add(step.txn, "schedules", -1)
    step.events.append(ScheduleChanged(known.id))
    return ["ok", "dropped"]


def backfill(step: Step, command: commands.Backfill) -> Result:
    """Start the runs of moments that did not fire, without regard to what goes on."""
    known = _found(step.txn, command.schedule)
    if command.revision != known.revision:
        raise _changed(known)
    if len(command.times) > BACKFILL_MAX:
        raise LimitExceeded(
            f"{len(command.times):,} runs at once; backfill at most {BACKFILL_MAX:,}, in parts"
        )
    if not all(0 < at <= DUE_MAX for at in command.times):
        raise UsageError("a run of a schedule belongs to a time before the year 10000")
    outbox.check_room(step.txn)
    new = replace(known, revision=step.index)
    for at in command.times:
        new = _begin(step, new, Millis(at), awaited=False)
    _store(step, new, known)
    return ["ok", len(command.times)]


# ------------------------------------------------------------------ what the leader and runs tell
def fired(step: Step, command: commands.Fired) -> Result:
    """Let a schedule that is due start a run, or leave it out; note when it is due next."""
    known = _found(step.txn, command.schedule)
    if (command.revision, command.at) != (known.revision, known.due):
        raise Refused("stale", f"schedule {known.id} is due at another time")
    if command.at > step.now:
        raise Refused("early", f"schedule {known.id} is not due yet")
    if command.next_at and command.next_at <= command.at:
        raise UsageError("the next time of a schedule comes after this one")
    spec = known.plan
    new = replace(known, next_at=_bounded(spec, command.next_at), last_at=command.at)
    if command.missed > MISSED_MAX:
        raise UsageError(f"at most {MISSED_MAX:,} times are passed over at once")
    if command.missed:
        new = replace(new, left_out=new.left_out + command.missed)
    elif spec.catch_up and step.now - command.at > spec.catch_up:
        new = _left_out(new)
    else:
        outbox.check_room(step.txn)
        new = _begin_or_wait(step, new, command.at)
    _store(step, new, known)
    return ["ok", new.current]


def run_ended(step: Step, command: commands.ScheduledEnded) -> Result:
    """Note that the run that others wait for has ended, and begin the one that waits."""
    known = find(step.txn, command.schedule)
    if known is None or not known.current or known.current != command.run_id:
        return ["ok", "dropped"]
    new = replace(known, current="", begun=0, waiting=NEVER)
    if known.waiting:
        new = _begin(step, new, known.waiting, awaited=True)
    _store(step, new, known)
    return ["ok", "told"]


def _begin_or_wait(step: Step, schedule: Schedule, at: Millis) -> Schedule:
    overlap = schedule.plan.overlap
    if overlap == ALLOW or not schedule.current:
        return _begin(step, schedule, at, awaited=overlap != ALLOW)
    if overlap == SKIP or (overlap == BUFFER_ONE and schedule.waiting):
        return _left_out(schedule)
    if schedule.waiting:
        return replace(_left_out(schedule), waiting=at)
    if overlap != BUFFER_ONE:
        how = outbox.CANCEL if overlap == CANCEL_OTHER else outbox.TERMINATE
        outbox.close(step, schedule.begun, RunId(schedule.current), how)
    return replace(schedule, waiting=at)


def _begin(step: Step, schedule: Schedule, at: Millis, *, awaited: bool) -> Schedule:
    spec = schedule.plan
    run_id = run_id_of(schedule.id, at)
    parent = Parent(schedule.id, 0, "", awaited, step.index)
    number = outbox.post(step, Begin(run_id, parent.encode(), spec.name, spec.version, spec.input))
    schedule = replace(schedule, fired=schedule.fired + 1)
    return replace(schedule, current=run_id, begun=number) if awaited else schedule


def _left_out(schedule: Schedule) -> Schedule:
    return replace(schedule, left_out=schedule.left_out + 1)


# ------------------------------------------------------------------ storing and reading
def _check_id(schedule: str) -> None:
    if len(schedule) > ID_LENGTH_MAX:
        raise UsageError(f"the id of a schedule has at most {ID_LENGTH_MAX} characters")
    runs.check_run_id(schedule)


def _check_spec(data: bytes) -> Spec:
    try:
        values = unpack_record(data)
    except CorruptionError:
        raise UsageError("these bytes hold no schedule") from None
    if [type(value) for value in values] != _SPEC_TYPES:
        raise UsageError("these bytes hold no schedule")
    if any(isinstance(value, int) and not 0 <= value <= DUE_MAX for value in values):
        raise UsageError("the times and the version of a schedule are not negative, nor endless")
    spec = Spec(*values)
    if spec.overlap not in OVERLAPS:
        raise UsageError(f"an overlap is one of {', '.join(OVERLAPS)}, not {spec.overlap!r:.40}")
    if max(len(spec.when), len(spec.zone), len(spec.name)) > TEXT_LENGTH_MAX:
        raise UsageError(f"name, times and zone have at most {TEXT_LENGTH_MAX} characters each")
    if not isinstance(canonical(spec.input, "the input of a schedule"), list | dict):
        raise UsageError("the input of a schedule is a list by position or a map by name")
    return spec


def _bounded(spec: Spec, at: Millis) -> Millis:
    """Return when a schedule fires next: never again once its end is passed."""
    if at > DUE_MAX or 0 < at < spec.start_at:
        raise UsageError("the next time of a schedule is from its start on")
    return NEVER if spec.end_at and at > spec.end_at else at


def _store(step: Step, new: Schedule, old: Schedule | None) -> None:
    before, after = None if old is None else old.due, new.due
    if before != after:
        if before is not None:
            step.txn.delete(layout.due_key(before, new.id))
        if after is not None:
            step.txn.put(layout.due_key(after, new.id), b"")
    step.txn.put(layout.schedule_key(new.id), pack_record(astuple(new)[1:]))
    step.events.append(ScheduleChanged(new.id))


def _decode(schedule: str, data: bytes) -> Schedule:
    values: list[Any] = unpack_record(data)
    return Schedule(schedule, *values)


def _changed(known: Schedule) -> Refused:
    return Refused(
        "schedule_conflict", f"schedule {known.id} is at revision {known.revision} by now"
    )


def _found(reader: Reader, schedule: str) -> Schedule:
    known = find(reader, schedule)
    if known is None:
        raise Refused("unknown_schedule", f"no schedule is called {schedule!r:.200}")
    return known


def find(reader: Reader, schedule: str) -> Schedule | None:
    """Return a schedule, or None."""
    data = reader.get(layout.schedule_key(schedule))
    return None if data is None else _decode(schedule, data)


def by_id(reader: Reader, after: str = "") -> Iterator[Schedule]:
    """Yield the schedules of the group behind ``after``, by id."""
    start = layout.schedule_key(after) + b"\0" if after else b""
    for key, data in reader.scan(layout.SCHEDULES, start):
        yield _decode(key[len(layout.SCHEDULES) :].decode(), data)


def by_due(reader: Reader) -> Iterator[tuple[Millis, str]]:
    """Yield when each schedule fires next and its id, the earliest first."""
    for key, _ in reader.scan(layout.DUE):
        yield Millis(layout.number_of(key[2:10])), key[10:].decode()
