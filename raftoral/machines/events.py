"""What an execution group tells whoever runs its runs and carries its messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from raftoral.ids import NodeId, Position, RunId
    from raftoral.machines.runs import Run


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run began; its `Started` event is the first of its history."""

    run: Run
    event: bytes


@dataclass(frozen=True, slots=True)
class Settled:
    """A run's history grew from ``base`` by ``events``: settled by its owner, or arrived."""

    run: Run
    base: Position
    events: list[bytes]


@dataclass(frozen=True, slots=True)
class Regenerated:
    """A run has another history, to be read from the state: restarted, retried, or forked."""

    run: Run


@dataclass(frozen=True, slots=True)
class OwnerChanged:
    """A run has another owner (`NOBODY`: parked) and another epoch."""

    run: Run
    lost: NodeId


@dataclass(frozen=True, slots=True)
class Signalled:
    """A signal or an update reached a mailbox."""

    run_id: RunId
    name: str


@dataclass(frozen=True, slots=True)
class Answered:
    """An update was answered; `raftoral.machines.mail.answer` has what."""

    run_id: RunId
    update_id: str


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A finished run was removed."""

    run_id: RunId


@dataclass(frozen=True, slots=True)
class OutboxGrew:
    """There is another message for some group; the leader delivers it."""

    number: int


@dataclass(frozen=True, slots=True)
class ScheduleChanged:
    """A schedule was stored, changed, fired or dropped: the leader looks when it is due next."""

    schedule: str


@dataclass(frozen=True, slots=True)
class Warned:
    """An operator should know this of a run; told once."""

    run_id: RunId
    text: str


Event: TypeAlias = (
    RunStarted
    | Settled
    | Regenerated
    | OwnerChanged
    | Signalled
    | Answered
    | Forgotten
    | OutboxGrew
    | ScheduleChanged
    | Warned
)
