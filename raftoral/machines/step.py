"""One command being applied: what each part of the machine gets, and how it refuses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from raftoral.codec import VALUE_BYTES_MAX, unpack
from raftoral.errors import CorruptionError, LimitExceeded, RaftoralError, UsageError
from raftoral.machines import runs
from raftoral.machines.placement import slot_of

if TYPE_CHECKING:
    from raftoral.ids import Index, Millis, RunId
    from raftoral.kv import Reader, Transaction
    from raftoral.machines.events import Event
    from raftoral.machines.runs import Run
    from raftoral.values import Value


class Refused(RaftoralError):
    """Carries a refusal out of nested calls within one `apply`; never leaves it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.kind = code


@dataclass(slots=True)
class Step:
    """One command being applied at ``index``, at ``now`` on the group's clock.

    ``origin`` is the group and number of the message that the command came as, if it did.
    """

    txn: Transaction
    index: Index
    now: Millis
    events: list[Event] = field(default_factory=list)
    origin: tuple[int, int] | None = None


def found(step: Step, run_id: RunId) -> Run:
    """Return a run, or refuse."""
    run = runs.find(step.txn, run_id)
    if run is None:
        raise Refused("unknown_run", f"no run {run_id} is known here, or it was forgotten")
    return run


def check_slot(reader: Reader, name: RunId | str) -> None:
    """Refuse what belongs to another group."""
    bitmap = reader.get(runs.SLOT_MAP)
    slot = slot_of(name)
    if bitmap is None or not bitmap[slot // 8] >> slot % 8 & 1:
        raise Refused("wrong_group", f"slot {slot} of {name} belongs to another group")


def value_of(data: bytes) -> Value:
    """Return a value that a command brings. Bad bytes are a refusal here; in the state, damage."""
    try:
        return unpack(data)
    except CorruptionError as error:
        raise UsageError(str(error)) from None


def canonical(data: bytes, what: str) -> Value:
    """Return the value of bytes that will stand in a history: canonical ones of at most 256 KiB."""
    if len(data) > VALUE_BYTES_MAX:
        raise LimitExceeded(
            f"{what} takes {len(data):,} bytes; a stored value may take {VALUE_BYTES_MAX:,}"
        )
    try:
        return unpack(data)
    except CorruptionError:
        raise UsageError(f"{what} is not in the canonical form of values") from None
