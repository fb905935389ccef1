"""What one group has to tell another: messages kept until they are dealt with, and their fence.

Owns the messages that `apply` writes and the record of which messages of other groups may still
come. The leader delivers each message, as often as it takes, to the group that owns the slot of
whom it is for; there it comes as `Delivered`. The rules it keeps: a message stays until it was
dealt with; a late copy of one that was dealt with changes nothing, whatever has been forgotten.
Source: at-least-once delivery with a watermark for each sender, as in sliding-window protocols.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from raftoral.codec import pack_record, unpack_record
from raftoral.errors import UsageError
from raftoral.ids import RunId
from raftoral.machines import commands, layout, runs
from raftoral.machines.events import OutboxGrew
from raftoral.machines.step import Refused, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raftoral.kv import Reader, Transaction
    from raftoral.machines.runs import Run

OUTBOX_MAX: Final = 100_000
"""How many messages may wait before runs are kept from asking for more children."""

RELEASED_AT_ONCE: Final = 1_000
"""How many runs one entry lets go of, so that no entry takes long."""

CANCEL, TERMINATE = "cancel", "terminate"
CLOSED: Final = "its parent ended, or waits for it no longer"


@dataclass(frozen=True, slots=True)
class Begin:
    """Start this run: the leader makes a `StartRun` of it with what the definition adds.

    ``version`` 0 is the newest; ``input`` is packed, a list by position or a map by name. A start
    that is refused for good is told to ``parent`` (`children.refusal`). ``then`` says what to do to
    the run once it is known to have been started: nothing, `CANCEL` or `TERMINATE`.
    """

    run_id: RunId
    parent: bytes
    name: str
    version: int
    input: bytes
    then: str = ""


@dataclass(frozen=True, slots=True)
class Say:
    """Take this command to the group of run or schedule ``to``; any answer but "later" will do.

    ``about`` is the run of this group whose end it tells, if it does.
    """

    to: str
    command: bytes
    about: str = ""


Message: TypeAlias = Begin | Say


def _encode(message: Message) -> bytes:
    match message:
        case Begin(run_id, parent, name, version, given, then):
            return pack_record(["begin", run_id, parent, name, version, given, then])
        case Say(to, command, about):
            return pack_record(["say", to, command, about])


def _decode(data: bytes) -> Message:
    kind, *values = unpack_record(data)
    return Begin(*values) if kind == "begin" else Say(*values)


# ------------------------------------------------------------------ the sender's side
def post(step: Step, message: Message) -> int:
    """Add a message and return its number, which is never 0."""
    number = layout.number_of(step.txn.get(layout.LAST_MESSAGE)) + 1
    step.txn.put(layout.LAST_MESSAGE, layout.u64(number))
    step.txn.put(layout.message_key(number), _encode(message))
    layout.add(step.txn, "outbox", 1)
    step.events.append(OutboxGrew(number))
    return number


def drop(txn: Transaction, number: int) -> Message | None:
    """Remove a message and return it; None if it is not there any more."""
    key = layout.message_key(number)
    data = txn.get(key)
    if data is None:
        return None
    txn.delete(key)
    layout.add(txn, "outbox", -1)
    return _decode(data)


def check_room(reader: Reader) -> None:
    """Refuse, for now, to make more messages than can wait."""
    if count(reader) >= OUTBOX_MAX:
        raise Refused(
            "unavailable",
            f"{OUTBOX_MAX:,} messages to other groups wait, the bound; are those groups up?",
        )


def close(step: Step, number: int, run_id: RunId, how: str) -> None:
    """Cancel or terminate a run that message ``number`` begins, but not before it was begun."""
    key = layout.message_key(number)
    data = step.txn.get(key)
    if data is None:
        _post_close(step, run_id, how)
        return
    begin = _decode(data)
    assert isinstance(begin, Begin), "a run is begun by another message"
    step.txn.put(key, _encode(replace(begin, then=how)))


def _post_close(step: Step, run_id: RunId, how: str) -> None:
    kind = commands.Terminate if how == TERMINATE else commands.Cancel
    post(step, Say(run_id, kind(run_id, CLOSED).encode()))


def done(step: Step, command: commands.OutboxDone) -> list[Any]:
    """Remove messages that were dealt with; the answer says how many there were."""
    removed = 0
    for number in command.numbers:
        message = drop(step.txn, number)
        match message:
            case None:
                continue
            case Begin(run_id, then=then) if then:
                _post_close(step, run_id, then)
            case Say(about=about) if about:
                run = runs.find(step.txn, RunId(about))
                if run is not None and run.untold == number:
                    runs.put(step.txn, run._replace(untold=0), run)
            case _:
                pass
        removed += 1
    return ["ok", removed]


def messages(reader: Reader, start: int = 0) -> Iterator[tuple[int, Message]]:
    """Yield the messages that wait and their numbers, the oldest first, from ``start`` on."""
    for key, data in reader.scan(layout.MESSAGES, layout.message_key(start)):
        yield layout.number_of(key[2:]), _decode(data)


def low(reader: Reader) -> int:
    """Return the number of the oldest message that waits, or else of the next one there will be."""
    for key, _ in reader.scan(layout.MESSAGES):
        return layout.number_of(key[2:])
    return last(reader) + 1


def last(reader: Reader) -> int:
    """Return the number of the newest message that there ever was; 0 if there was none."""
    return layout.number_of(reader.get(layout.LAST_MESSAGE))


def count(reader: Reader) -> int:
    """Return how many messages wait."""
    return layout.number_of(reader.get(layout.count_key("outbox")))


# ------------------------------------------------------------------ the receiver's side
def take(step: Step, group: int, number: int, low: int) -> bool:
    """Tell whether message ``number`` of ``group`` is to be looked at: it may be the first copy."""
    if low > number:
        raise UsageError(f"message {number} is below {low}, the first that waits where it is from")
    if number < layout.number_of(step.txn.get(layout.expected_key(group))):
        return False
    pass_to(step, group, low)
    return True


def passed(step: Step, command: commands.Passed) -> list[Any]:
    """Note what another group has dealt with."""
    pass_to(step, command.group, command.low)
    return ["ok"]


def pass_to(step: Step, group: int, low: int) -> None:
    """Note that nothing of ``group`` below ``low`` comes any more, and let go of what it began."""
    key = layout.expected_key(group)
    if low > layout.number_of(step.txn.get(key)):
        step.txn.put(key, layout.u64(low))
    _let_go(step, group)


def let_go(step: Step) -> None:
    """Let go of more of what messages began that cannot come again; some of it may be left over."""
    for group in [layout.number_of(key[2:]) for key, _ in step.txn.scan(layout.EXPECTED)]:
        _let_go(step, group)


def _let_go(step: Step, group: int) -> None:
    expected = layout.number_of(step.txn.get(layout.expected_key(group)))
    end = layout.began_key(group, expected, "")
    began = islice(step.txn.scan(layout.began_prefix(group)), RELEASED_AT_ONCE)
    for key in [key for key, _ in began if key < end]:
        step.txn.delete(key)
        run = runs.find(step.txn, RunId(key[18:].decode()))
        if run is not None and run.origin == (group, layout.number_of(key[10:18])):
            runs.put(step.txn, run._replace(origin=()), run)


def begun(step: Step, run: Run) -> Run:
    """Return the run with the message that asked for it, a copy of which may still come."""
    if step.origin is None or run.origin >= step.origin:
        return run
    if run.origin:
        group, number = run.origin
        step.txn.delete(layout.began_key(group, number, run.id))
    step.txn.put(layout.began_key(*step.origin, run.id), b"")
    return run._replace(origin=step.origin)
