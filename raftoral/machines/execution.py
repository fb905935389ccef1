"""The state machine of groups 1..n: runs, their histories, their owners.

`Execution.apply` is total and pure: a bad or stale command is a refusal, equal on every node, never
an exception; time is the stamp of the entry and never goes back. The rules it keeps: a history
only grows by a `Settle` of the current epoch at the current length; a timer fires when it is due; a
signal is taken once, the oldest first; the same id started twice is one run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from raftoral.codec import pack, pack_record, unpack, unpack_record
from raftoral.errors import CorruptionError, RaftoralError, UsageError
from raftoral.ids import NOBODY, SLOTS, Epoch, Index, Millis, NodeId, Position, RunId
from raftoral.machines import commands, runs
from raftoral.machines.placement import home_of, slot_of
from raftoral.machines.runs import COMPLETED, FAILED, PARKED, RUNNING, Run
from raftoral.replay import history
from raftoral.replay.effects import check_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.kv import Reader, Transaction
    from raftoral.values import Value

MAILBOX_MAX: Final = 1_000
SIGNAL_ID_LENGTH_MAX: Final = 200
LIVE_RUNS_MAX: Final = 200_000

Result: TypeAlias = "list[Any]"
_LIVE_COUNT: Final = b"n"
_FINISHED_COUNT: Final = b"f"


# ------------------------------------------------------------------ events
@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run began; its `Started` event is the first of its history."""

    run: Run
    event: bytes


@dataclass(frozen=True, slots=True)
class Settled:
    """A run's history grew from ``base`` by ``events``."""

    run: Run
    base: Position
    events: list[bytes]


@dataclass(frozen=True, slots=True)
class OwnerChanged:
    """A run has another owner (`NOBODY`: parked) and another epoch."""

    run: Run
    lost: NodeId


@dataclass(frozen=True, slots=True)
class Signalled:
    """A signal reached a mailbox."""

    run_id: RunId
    name: str


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A finished run was removed."""

    run_id: RunId


Event: TypeAlias = RunStarted | Settled | OwnerChanged | Signalled | Forgotten


class _Refused(RaftoralError):
    """Carries a refusal out of nested calls within one `apply`; never leaves it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.kind = code


@dataclass(slots=True)
class _Step:
    """One command being applied."""

    txn: Transaction
    index: Index
    now: Millis
    events: list[Event]


class Execution:
    """`raftoral.machines.base.StateMachine` of an execution group; it keeps no state of its own."""

    def apply(
        self, index: Index, at: Millis, command: bytes, txn: Transaction
    ) -> tuple[Result, Sequence[Event]]:
        """Apply one committed command.

        Returns its result, ``["ok", ...]`` or ``["refused", code, message, ...]``, and the events
        in the order in which they happened.
        """
        now = Millis(max(at, runs.clock(txn)))
        txn.put(runs.CLOCK, now.to_bytes(8, "big"))
        step = _Step(txn, index, now, [])
        return _apply(step, command), step.events

    def clock(self, reader: Reader) -> Millis:
        """Return the stamp of the newest entry applied."""
        return runs.clock(reader)


def _apply(step: _Step, data: bytes, *, inside: bool = False) -> Result:
    """Apply one command; ``inside`` a `Many`, which holds no other."""
    try:
        match commands.decode(data):
            case commands.Settle() as settle:
                return _settle(step, settle)
            case commands.Many(many) if not inside:
                return ["ok", [_apply(step, each, inside=True) for each in many]]
            case commands.StartRun() as start:
                return _start(step, start)
            case commands.Signal() as signal:
                return _signal(step, signal)
            case commands.Publish() as publish:
                return _publish(step, publish)
            case commands.TakeOver() as takeover:
                return _take_over(step, takeover)
            case commands.HandOver() as handover:
                return _hand_over(step, handover)
            case commands.OwnSlots(bitmap):
                return _own_slots(step, bitmap)
            case commands.Forget() as forget:
                return _forget(step, forget)
            case other:
                return ["refused", "usage", f"an execution group knows no `{other.tag}`"]
    except UsageError as error:
        return ["refused", error.code, str(error)]
    except _Refused as refused:
        return ["refused", refused.kind, str(refused)]


def _value(data: bytes) -> Value:
    """Return a value that a command brings. Bad bytes are a refusal here; in the state, damage."""
    try:
        return unpack(data)
    except CorruptionError as error:
        raise UsageError(str(error)) from None


# ------------------------------------------------------------------ starting
def _start(step: _Step, command: commands.StartRun) -> Result:
    runs.check_run_id(command.run_id)
    _check_slot(step.txn, command.run_id)
    input_hash = sha256(command.input).digest()
    known = runs.find(step.txn, command.run_id)
    if known is not None:
        return _join(known, command, input_hash)
    live = _count(step.txn, _LIVE_COUNT)
    if live >= LIVE_RUNS_MAX:
        raise _Refused("unavailable", f"the group has {live:,} live runs, its bound; try later")
    owner = home_of(command.run_id, runs.members_up(step.txn))
    run = Run(
        command.run_id,
        command.name,
        command.version,
        command.meaning_hash,
        input_hash,
        command.catalog_index,
        RUNNING if owner else PARKED,
        owner,
        Epoch(step.index),
        Position(0),
        0,
        step.now,
        reason="" if owner else "no member of the group is up yet",
    )
    event = history.encode(
        history.Started(
            run.name, run.version, run.meaning_hash, _value(command.input), step.now, "", 0
        ),
        floats=True,
    )
    run = runs.append(step.txn, run, [event])
    runs.put(step.txn, run, None)
    _add(step.txn, _LIVE_COUNT, 1)
    step.events.append(RunStarted(run, event))
    return ["ok", "started", run.version]


def _join(known: Run, command: commands.StartRun, input_hash: bytes) -> Result:
    if known.name == command.name and known.input_hash == input_hash:
        return ["ok", "joined", known.version]
    other = "another input" if known.name == command.name else f"workflow {known.name}"
    raise _Refused(
        "run_conflict",
        f"run {command.run_id} exists with {other}; an id names one run. Use another id, or the "
        "same workflow and input to join it",
    )


def _check_slot(reader: Reader, run_id: RunId) -> None:
    bitmap = reader.get(runs.SLOT_MAP)
    slot = slot_of(run_id)
    if bitmap is None or not bitmap[slot // 8] >> slot % 8 & 1:
        raise _Refused("wrong_group", f"slot {slot} of run {run_id} belongs to another group")


def _own_slots(step: _Step, bitmap: bytes) -> Result:
    if len(bitmap) != SLOTS // 8:
        raise UsageError(f"a slot map has {SLOTS // 8} bytes, not {len(bitmap)}")
    step.txn.put(runs.SLOT_MAP, bitmap)
    return ["ok"]


def _count(reader: Reader, key: bytes) -> int:
    return int.from_bytes(reader.get(key) or b"", "big")


def _add(txn: Transaction, key: bytes, more: int) -> None:
    # A store of before the count of finished runs begins at none: it must not go below.
    txn.put(key, max(0, _count(txn, key) + more).to_bytes(8, "big"))


# ------------------------------------------------------------------ settling
def _settle(step: _Step, command: commands.Settle) -> Result:
    run = runs.find(step.txn, command.run_id)
    if run is None or run.status != RUNNING:
        return ["refused", "stale", "the run does not go on", 0, 0]
    if (command.epoch, command.base) != (run.epoch, run.length):
        why = "another owner" if command.epoch != run.epoch else "the history went on"
        return ["refused", "stale", why, run.epoch, run.length]
    events = command.events
    decoded = _decoded(events)
    # All checks come before the first write: a settlement happens whole or not at all.
    for event in decoded:
        _check_event(step, run.id, event)
    if _too_long(run, events):
        decoded = [_too_long_end()]
        events = [history.encode(each) for each in decoded]
    for event in decoded:
        _write_event(step, run.id, event)
    grown = runs.append(step.txn, run, events)
    last = decoded[-1]
    if isinstance(last, history.Ended):
        grown = _end(step, grown, last)
    runs.put(step.txn, grown, run)
    step.events.append(Settled(grown, run.length, events))
    return ["ok", grown.length]


def _decoded(events: list[bytes]) -> list[history.Event]:
    """Return the events of a settlement, each of the right form and in an order that can be."""
    if not all(0 < len(data) <= history.EVENT_BYTES_MAX for data in events):
        raise UsageError(f"an event takes at most {history.EVENT_BYTES_MAX:,} bytes")
    try:
        decoded = [history.decode(data) for data in events]
        for event in decoded:
            history.check(event)
    except CorruptionError as error:
        raise UsageError(str(error)) from None
    # Each is checked against the state before the whole settlement, so two might take one signal.
    checked = sum(isinstance(each, history.TimerFired | history.Taken) for each in decoded)
    if not decoded or checked > 1 or any(isinstance(e, history.Ended) for e in decoded[:-1]):
        raise UsageError("a settlement takes one timer or signal at most, and ends with the end")
    return decoded


def _too_long(run: Run, events: list[bytes]) -> bool:
    return (
        run.length + len(events) > history.HISTORY_EVENTS_MAX
        or run.size + sum(map(len, events)) > history.HISTORY_BYTES_MAX
    )


def _too_long_end() -> history.Event:
    message = (
        f"the history would pass its bound of {history.HISTORY_EVENTS_MAX:,} events or "
        f"{history.HISTORY_BYTES_MAX:,} bytes; split the work into several runs"
    )
    return history.Ended("terminated", ["HistoryTooLong", message, {}])


def _check_event(step: _Step, run_id: RunId, event: history.Event) -> None:
    match event:
        case history.TimerFired(path):
            due = step.txn.get(runs.timer_key(run_id, path))
            if due is None:
                raise _Refused("stale", f"no timer `{path}` is set")
            if int.from_bytes(due, "big") > step.now:
                raise _Refused("early", f"timer `{path}` is not due yet")
        case history.Taken(_, signal_id, value):
            seen = step.txn.get(runs.seen_key(run_id, signal_id))
            name = "" if seen is None else unpack_record(seen)[0]
            mail = runs.oldest_mail(step.txn, run_id, name)
            # By bytes: True is not 1.
            if mail is None or _packed(*mail) != _packed(signal_id, value):
                raise _Refused("stale", f"signal {signal_id} is not the oldest of its mailbox")
        case (
            history.Started()
            | history.ChildDone()
            | history.CancelAsked()
            | history.Paused()
            | history.Resumed()
            | history.Ended("terminated")
        ):
            raise UsageError("a run is started and terminated by its group only")
        case _:
            pass


def _packed(signal_id: str, payload: Value) -> bytes:
    return pack([signal_id, payload], floats=True, bytes_max=history.EVENT_BYTES_MAX)


def _write_event(step: _Step, run_id: RunId, event: history.Event) -> None:
    match event:
        case history.TimerSet(path, due):
            step.txn.put(runs.timer_key(run_id, path), due.to_bytes(8, "big"))
        case history.TimerFired(path):
            step.txn.delete(runs.timer_key(run_id, path))
        case history.Taken(path, signal_id, _):
            step.txn.delete(runs.timer_key(run_id, path))
            name, sequence = unpack_record(step.txn.get(runs.seen_key(run_id, signal_id)) or b"")
            step.txn.delete(runs.mail_key(run_id, name, sequence))
        case _:
            pass


def _end(step: _Step, run: Run, event: history.Ended) -> Run:
    status = COMPLETED if event.status == COMPLETED else FAILED
    runs.clear_mail(step.txn, run.id)
    _add(step.txn, _LIVE_COUNT, -1)
    _add(step.txn, _FINISHED_COUNT, 1)
    return replace(run, status=status, ended_at=step.now)


# ------------------------------------------------------------------ signals
def _signal(step: _Step, command: commands.Signal) -> Result:
    run = runs.find(step.txn, command.run_id)
    if run is None:
        raise _Refused("unknown_run", f"no run {command.run_id} is known here")
    key = runs.seen_key(run.id, command.signal_id)
    if step.txn.get(key) is not None:
        return ["ok", "seen"]
    if not run.live:
        raise _Refused("run_ended", f"run {run.id} has ended; it takes no more signals")
    check_key(command.name)
    if len(command.signal_id) > SIGNAL_ID_LENGTH_MAX:
        raise UsageError(f"the id of a signal has at most {SIGNAL_ID_LENGTH_MAX} characters")
    if pack(_value(command.payload), floats=True) != command.payload:
        raise UsageError("the payload of a signal is not in the canonical form of values")
    waiting = [key for key, _ in step.txn.scan(runs.mailbox_prefix(run.id, command.name))]
    if len(waiting) >= MAILBOX_MAX:
        raise _Refused(
            "limit_exceeded",
            f"the mailbox `{command.name}` of run {run.id} holds {MAILBOX_MAX:,} signals that it "
            "has not taken; wait until it takes some",
        )
    # The log index orders signals; several in one entry are told apart by what already waits.
    last = int.from_bytes(waiting[-1][-8:], "big") if waiting else 0
    sequence = max(step.index << 16, last + 1)
    step.txn.put(key, pack_record([command.name, sequence]))
    mail = runs.mail_key(run.id, command.name, sequence)
    step.txn.put(mail, pack_record([command.signal_id, command.payload]))
    step.events.append(Signalled(run.id, command.name))
    return ["ok", "delivered"]


# ------------------------------------------------------------------ owners
def _publish(step: _Step, command: commands.Publish) -> Result:
    if command.node == NOBODY:
        raise UsageError("node 0 is nobody")
    known = runs.members(step.txn)
    if known.get(command.node) == (command.incarnation, True):
        return ["ok", "known"]
    known[command.node] = (command.incarnation, True)
    _store_members(step.txn, known)
    for run_id in list(runs.parked_ids(step.txn)):
        _assign(step, run_id, command.node)
    return ["ok", "published"]


def _take_over(step: _Step, command: commands.TakeOver) -> Result:
    """Spread some runs of the lost node over the living members (semantics: owners, 1)."""
    if command.lost == NOBODY:
        raise UsageError("node 0 is nobody")
    known = runs.members(step.txn)
    if command.lost in known:
        known[command.lost] = (known[command.lost][0], False)
        _store_members(step.txn, known)
    # The proposer's list may be old; a run that goes to a member that is down would rest there.
    heirs = [node for node in command.members if known.get(node, ("", False))[1]]
    moved = list(islice(runs.owned_ids(step.txn, command.lost), command.limit))
    for run_id in moved:
        _assign(step, run_id, home_of(run_id, heirs))
    return ["ok", len(moved)]


def _hand_over(step: _Step, command: commands.HandOver) -> Result:
    run = runs.find(step.txn, command.run_id)
    if run is None or not run.live or run.epoch != command.epoch:
        return ["refused", "stale", "the run has another owner"]
    if command.to:
        if command.to not in runs.members_up(step.txn):
            return ["refused", "stale", "that member is not up"]
        _assign(step, run.id, command.to)
        return ["ok", command.to]
    refused = tuple(dict.fromkeys((*run.refused, *filter(None, (run.owner,)))))
    able = [node for node in runs.members_up(step.txn) if node not in refused]
    _assign(step, run.id, home_of(run.id, able), reason=command.reason, refused=refused)
    return ["ok", home_of(run.id, able)]


def _assign(
    step: _Step,
    run_id: RunId,
    owner: NodeId,
    *,
    reason: str = "",
    refused: tuple[NodeId, ...] = (),
) -> None:
    """Give a run to ``owner`` under a new epoch; to nobody parks it."""
    run = runs.find(step.txn, run_id)
    assert run is not None, "an index names a run that is not there"
    new = replace(
        run,
        owner=owner,
        epoch=Epoch(step.index),
        status=RUNNING if owner else PARKED,
        reason=reason or ("" if owner else "no member of the group is up"),
        refused=refused,
    )
    runs.put(step.txn, new, run)
    step.events.append(OwnerChanged(new, run.owner if run.owner != owner else NOBODY))


def _store_members(txn: Transaction, known: dict[NodeId, tuple[str, bool]]) -> None:
    record = [[node, incarnation, up] for node, (incarnation, up) in sorted(known.items())]
    txn.put(runs.MEMBERS, pack_record(record))


# ------------------------------------------------------------------ retention
def _forget(step: _Step, command: commands.Forget) -> Result:
    """Remove runs that ended before a time, or beyond the ``keep`` newest, at most ``limit``."""
    surplus = _count(step.txn, _FINISHED_COUNT) - command.keep
    old: list[RunId] = []
    for ended, run_id in islice(runs.finished_ids(step.txn), command.limit):
        if ended >= command.before and len(old) >= surplus:
            break
        old.append(run_id)
    for run_id in old:
        run = runs.find(step.txn, run_id)
        assert run is not None, "an index names a run that is not there"
        runs.forget(step.txn, run)
        step.events.append(Forgotten(run_id))
    _add(step.txn, _FINISHED_COUNT, -len(old))
    return ["ok", len(old)]
