"""The mailboxes of a run: signals, which are taken, and updates, which are answered as well.

A mailbox holds what came under one name, the oldest first. The rules it keeps: one id is one signal
(or update) until the run is forgotten; the oldest is taken, once; an answer stays (semantics 7.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from raftoral.codec import pack, pack_record, unpack, unpack_record
from raftoral.errors import UsageError
from raftoral.machines import layout, runs
from raftoral.machines.events import Answered, Signalled
from raftoral.machines.step import Refused, canonical, found
from raftoral.replay.effects import check_key
from raftoral.replay.history import EVENT_BYTES_MAX, Taken

if TYPE_CHECKING:
    from raftoral.ids import RunId
    from raftoral.kv import Reader, Transaction
    from raftoral.machines import commands
    from raftoral.machines.base import Result
    from raftoral.machines.runs import Run
    from raftoral.machines.step import Step
    from raftoral.replay.history import Updated
    from raftoral.values import Value

MAILBOX_MAX: Final = 1_000
ID_LENGTH_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class _Kind:
    """What of the two it is, and in which sections of a run it lies."""

    noun: str
    box: bytes
    seen: bytes

    def seen_key(self, run_id: RunId, mail_id: str) -> bytes:
        """Return the key that remembers an id."""
        return layout.run_prefix(run_id) + self.seen + b"/" + mail_id.encode()

    def mail_key(self, run_id: RunId, name: str, number: int) -> bytes:
        """Return the key of one that waits."""
        return runs.mailbox_prefix(run_id, name, self.box) + layout.u64(number)

    def count_key(self, run_id: RunId, name: str) -> bytes:
        """Return the key of how many a mailbox ever got."""
        return layout.run_prefix(run_id) + b"f/" + self.box + b"/" + name.encode()


SIGNAL: Final = _Kind("signal", b"m", b"i")
UPDATE: Final = _Kind("update", b"u", b"j")


# ------------------------------------------------------------------ delivering
def signal(step: Step, command: commands.Signal) -> Result:
    """Put a signal into its mailbox, once."""
    run = found(step, command.run_id)
    if step.txn.get(SIGNAL.seen_key(run.id, command.signal_id)) is not None:
        return ["ok", "seen"]
    _deliver(step, run, SIGNAL, command.name, command.signal_id, command.payload)
    return ["ok", "delivered"]


def update(step: Step, command: commands.Update) -> Result:
    """Put an update into its mailbox, once; one that was answered is told the answer again."""
    run = found(step, command.run_id)
    if step.txn.get(UPDATE.seen_key(run.id, command.update_id)) is None:
        _deliver(step, run, UPDATE, command.name, command.update_id, command.payload)
        return ["ok", "delivered"]
    told = _answer(step.txn, run.id, command.update_id)
    if told is not None:
        return ["ok", "answered", *told]
    if not run.live:
        raise Refused("run_ended", f"run {run.id} has ended without answering this update")
    return ["ok", "seen"]


def _deliver(step: Step, run: Run, kind: _Kind, name: str, mail_id: str, payload: bytes) -> None:
    if not run.live:
        raise Refused("run_ended", f"run {run.id} has ended; it takes no more {kind.noun}s")
    check_key(name)
    if len(mail_id) > ID_LENGTH_MAX:
        raise UsageError(f"the id of a {kind.noun} has at most {ID_LENGTH_MAX} characters")
    canonical(payload, f"the payload of a {kind.noun}")
    count_key = kind.count_key(run.id, name)
    number = layout.number_of(step.txn.get(count_key))
    if number - _oldest_number(step.txn, run.id, kind, name, number) >= MAILBOX_MAX:
        raise Refused(
            "limit_exceeded",
            f"the mailbox `{name}` of run {run.id} holds {MAILBOX_MAX:,} {kind.noun}s that it has "
            "not taken; wait until it takes some",
        )
    step.txn.put(count_key, layout.u64(number + 1))
    step.txn.put(kind.seen_key(run.id, mail_id), pack_record([name, number]))
    step.txn.put(kind.mail_key(run.id, name, number), pack_record([mail_id, payload]))
    step.events.append(Signalled(run.id, name))


def _oldest_number(reader: Reader, run_id: RunId, kind: _Kind, name: str, end: int) -> int:
    """Return the number of the oldest that waits; ``end`` if none does. They have no gaps."""
    for key, _ in reader.scan(runs.mailbox_prefix(run_id, name, kind.box)):
        return layout.number_of(key[-8:])
    return end


# ------------------------------------------------------------------ taking
def take(step: Step, run: Run, event: Taken) -> None:
    """Take the oldest signal of its name; any other is refused (semantics 5.2)."""
    _remove_oldest(step.txn, run.id, SIGNAL, event.signal_id, event.value)


def answer(step: Step, run: Run, event: Updated) -> None:
    """Take the oldest update of its name and keep its answer."""
    name, number = _remove_oldest(step.txn, run.id, UPDATE, event.update_id, event.value)
    data = pack(event.answer, floats=True, bytes_max=EVENT_BYTES_MAX)
    key = UPDATE.seen_key(run.id, event.update_id)
    step.txn.put(key, pack_record([name, number, event.ok, data]))
    step.events.append(Answered(run.id, event.update_id))


def _remove_oldest(
    txn: Transaction, run_id: RunId, kind: _Kind, mail_id: str, value: Value
) -> tuple[str, int]:
    seen = txn.get(kind.seen_key(run_id, mail_id))
    name, number = ("", 0) if seen is None else unpack_record(seen)[:2]
    oldest = runs.oldest_mail(txn, run_id, name, kind.box)
    # By bytes: True is not 1.
    if seen is None or oldest is None or _packed(*oldest) != _packed(mail_id, value):
        raise Refused("stale", f"{kind.noun} {mail_id} is not the oldest of its mailbox")
    txn.delete(kind.mail_key(run_id, name, number))
    return name, number


def _packed(mail_id: str, payload: Value) -> bytes:
    return pack([mail_id, payload], floats=True, bytes_max=EVENT_BYTES_MAX)


def put_back(txn: Transaction, run_id: RunId, event: Taken | Updated) -> None:
    """Undo a taking that a retry drops; what was taken last is put back first."""
    kind, mail_id = UPDATE, event[1]
    if isinstance(event, Taken):
        kind = SIGNAL
    seen = txn.get(kind.seen_key(run_id, mail_id))
    if seen is None:
        raise UsageError(
            f"{kind.noun} {mail_id} came with the history that this run was forked from, so it cannot "
            "be taken again; fork anew, before it was taken"
        )
    name, number = unpack_record(seen)[:2]
    txn.put(kind.seen_key(run_id, mail_id), pack_record([name, number]))
    payload = pack(event.value, floats=True, bytes_max=EVENT_BYTES_MAX)
    txn.put(kind.mail_key(run_id, name, number), pack_record([mail_id, payload]))


# ------------------------------------------------------------------ reading
def answer_of(reader: Reader, run_id: RunId, update_id: str) -> tuple[bool, Value] | None:
    """Return whether an update was taken, and its answer or failure; None before it is answered."""
    told = _answer(reader, run_id, update_id)
    return None if told is None else (told[0], unpack(told[1]))


def _answer(reader: Reader, run_id: RunId, update_id: str) -> tuple[bool, bytes] | None:
    seen = reader.get(UPDATE.seen_key(run_id, update_id))
    match [] if seen is None else unpack_record(seen):
        case [_, _, bool(ok), bytes(data)]:
            return ok, data
        case _:
            return None
