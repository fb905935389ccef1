"""Every command that may stand in a log. Each says what makes repeating it safe.

A new field comes last and has a default, which older entries are read with. ``request`` is the id of
a user's request, empty for none: with it a copy changes nothing more, however late it comes
(`raftoral.machines.repeats`). What users bring (inputs, payloads, results) is packed; times are milliseconds on a group's clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from raftoral.ids import (
    Epoch,
    GroupId,
    Index,
    Millis,
    NodeId,
    Position,
    RunId,
    Version,
)
from raftoral.machines.command import Command, Decoder

JOIN, REJECT, RETRY_FAILED = "join", "reject", "retry_failed"
POLICIES: Final = (JOIN, REJECT, RETRY_FAILED)
ANY_REVISION: Final = Index(0)


# ------------------------------------------------------------------ groups 1..n: a run's life
@dataclass(frozen=True, slots=True)
class StartRun(Command):
    """Begin a run; ``policy`` says what happens if the id is taken.

    ``join``: the same workflow with the same input is joined, anything else refused. ``reject``:
    any run refuses. ``retry_failed``: a run that ended and did not complete is replaced by a new one
    of the next generation; any other is joined. ``catalog_index`` is the index of group 0 that knew
    the definition. ``parent`` is empty, or who asked for the run (`family.Parent`); only then may
    the id hold slashes. ``search`` names the cells that lists may ask for. ``request`` names this
    very request of a user, empty for none.

    Repeated, it joins what it began: a request whatever its policy, a child's start whatever its
    version has become.
    """

    tag = "start"
    run_id: RunId
    name: str
    version: Version
    meaning_hash: str
    input: bytes
    catalog_index: Index
    policy: str = JOIN
    parent: bytes = b""
    search: list[str] = field(default_factory=list)
    request: str = ""


@dataclass(frozen=True, slots=True)
class Settle(Command):
    """Extend a run's history, which is ``base`` events long, in the name of its owner.

    Fenced by epoch, base and ``chain``, the digest of the history that it extends. An owner has
    several on their way, each behind the others; if one of them comes to nothing and something
    else takes its place in the history, the length fits again and the digest does not.
    """

    tag = "settle"
    run_id: RunId
    epoch: Epoch
    base: Position
    chain: bytes
    events: list[bytes]


@dataclass(frozen=True, slots=True)
class Many(Command):
    """Several commands in one entry, each with a result of its own (group commit across runs)."""

    tag = "many"
    commands: list[bytes]


@dataclass(frozen=True, slots=True)
class Cancel(Command):
    """Ask a run to stop. A run is asked once; again changes nothing. A ``request`` is one."""

    tag = "cancel"
    run_id: RunId
    reason: str
    request: str = ""


@dataclass(frozen=True, slots=True)
class Terminate(Command):
    """End a run at once; none of its code runs any more. A ``request`` ends it once."""

    tag = "terminate"
    run_id: RunId
    reason: str
    request: str = ""


@dataclass(frozen=True, slots=True)
class Pause(Command):
    """Let a run's owner begin nothing more. A ``request`` does so once."""

    tag = "pause"
    run_id: RunId
    reason: str
    request: str = ""


@dataclass(frozen=True, slots=True)
class Resume(Command):
    """Let a paused run go on. A ``request`` does so once."""

    tag = "resume"
    run_id: RunId
    request: str = ""


@dataclass(frozen=True, slots=True)
class RetryRun(Command):
    """Let a run that ended and did not complete go on from where it failed, a generation on.

    ``generation`` is the one that failed, so that a repeat does not retry what failed since.
    """

    tag = "retry"
    run_id: RunId
    generation: int


@dataclass(frozen=True, slots=True)
class Adopt(Command):
    """Begin a run with the first ``position`` events of another one (a fork).

    ``generation`` is that of the source. Repeated, it joins the run that it made.
    """

    tag = "adopt"
    run_id: RunId
    source_id: RunId
    position: Position
    generation: int
    name: str
    version: Version
    meaning_hash: str
    catalog_index: Index
    events: list[bytes]
    search: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Forget(Command):
    """Remove what ended before ``before`` (milliseconds) or beyond the ``keep`` newest.

    At most ``limit`` runs; the result says how many. A run that another group still counts on
    stays. Repeated, it removes what is left.
    """

    tag = "forget"
    before: int
    keep: int
    limit: int


# ------------------------------------------------------------------ what reaches a run from outside
@dataclass(frozen=True, slots=True)
class Signal(Command):
    """Put a packed payload into a mailbox; the same ``signal_id`` is one signal."""

    tag = "signal"
    run_id: RunId
    name: str
    signal_id: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Update(Command):
    """Put a request into a mailbox. The same ``update_id`` is one, and is told its answer."""

    tag = "update"
    run_id: RunId
    name: str
    update_id: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class CompleteCallback(Command):
    """Complete a step by its token, once; the same completion again is fine, another is refused.

    ``value`` is a packed result, or a packed failure ``[name, message, details]``.
    """

    tag = "complete"
    token: str
    ok: bool
    value: bytes


@dataclass(frozen=True, slots=True)
class BeatCallback(Command):
    """The holder of a token is still at it. It sets a moment; again sets a later one."""

    tag = "beat"
    token: str


# ------------------------------------------------------------------ between groups
@dataclass(frozen=True, slots=True)
class Delivered(Command):
    """A command that comes as message ``number`` out of the outbox of ``group``.

    ``low`` is the first message that was still in that outbox. Everything below it was dealt with,
    so a late copy of one is dropped whatever has been forgotten since.
    """

    tag = "delivered"
    group: int
    number: int
    low: int
    command: bytes


@dataclass(frozen=True, slots=True)
class Passed(Command):
    """No message of ``group`` below ``low`` comes any more. It only moves forward."""

    tag = "passed"
    group: int
    low: int


@dataclass(frozen=True, slots=True)
class OutboxDone(Command):
    """These messages were dealt with where they were sent. What is done already is passed over."""

    tag = "outbox"
    numbers: list[int]


@dataclass(frozen=True, slots=True)
class ChildDone(Command):
    """A child ended. Taken once: only while the child is open that message ``asked`` asked for."""

    tag = "child"
    parent_id: RunId
    generation: int
    path: str
    asked: Index
    ok: bool
    value: bytes


# ------------------------------------------------------------------ schedules
@dataclass(frozen=True, slots=True)
class PutSchedule(Command):
    """Store a schedule (`schedules.Spec`) in place of revision ``instead_of``, 0 for none.

    The same again changes nothing. ``next_at`` is when it fires first, 0 for never.
    """

    tag = "schedule"
    schedule: str
    spec: bytes
    instead_of: Index
    next_at: Millis


@dataclass(frozen=True, slots=True)
class PauseSchedule(Command):
    """Let a schedule fire no more. A ``request`` does so once."""

    tag = "pauseschedule"
    schedule: str
    reason: str
    request: str = ""


@dataclass(frozen=True, slots=True)
class ResumeSchedule(Command):
    """Let a paused schedule fire again, first at ``next_at``. A ``request`` does so once."""

    tag = "resumeschedule"
    schedule: str
    next_at: Millis
    request: str = ""


@dataclass(frozen=True, slots=True)
class DropSchedule(Command):
    """Remove a schedule as of ``revision`` (0: any); its runs go on. One that is not there is fine."""

    tag = "dropschedule"
    schedule: str
    revision: Index = ANY_REVISION


@dataclass(frozen=True, slots=True)
class Fired(Command):
    """A schedule is due at ``at``, and then at ``next_at`` (0: never).

    Taken once: only for the moment that is stored as the next, of this ``revision``. With ``missed``
    nothing begins: so many times from ``at`` on are too late to be made up for.
    """

    tag = "fired"
    schedule: str
    revision: Index
    at: Millis
    next_at: Millis
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Backfill(Command):
    """Start the runs of these moments, whatever goes on. Fenced by the schedule's ``revision``."""

    tag = "backfill"
    schedule: str
    revision: Index
    times: list[int]


@dataclass(frozen=True, slots=True)
class ScheduledEnded(Command):
    """A run that a schedule waits for ended. Taken while the schedule waits for that run."""

    tag = "scheduledended"
    schedule: str
    run_id: RunId


# ------------------------------------------------------------------ owners
@dataclass(frozen=True, slots=True)
class Publish(Command):
    """A member tells that it is up (``incarnation`` is new after each start) and can own runs."""

    tag = "publish"
    node: NodeId
    incarnation: str


@dataclass(frozen=True, slots=True)
class TakeOver(Command):
    """``lost`` does not answer: up to ``limit`` of its runs go to those of ``members`` that are up.

    It gets no new ones. The result says how many went; if that is the limit, more may be left.
    """

    tag = "takeover"
    lost: NodeId
    members: list[NodeId]
    limit: int


@dataclass(frozen=True, slots=True)
class HandOver(Command):
    """The owner gives a run away: to ``to``, or (0) because it cannot go on, for ``reason``.

    Fenced by the epoch.
    """

    tag = "handover"
    run_id: RunId
    epoch: Epoch
    reason: str
    to: NodeId


@dataclass(frozen=True, slots=True)
class OwnSlots(Command):
    """The group owns exactly these slots, a bitmap of 128 bytes. It sets a state."""

    tag = "slots"
    bitmap: bytes


# ------------------------------------------------------------------ group 0
@dataclass(frozen=True, slots=True)
class FormCluster(Command):
    """The first command of a cluster: its id and its fixed number of execution groups."""

    tag = "form"
    cluster: str
    groups: int


@dataclass(frozen=True, slots=True)
class AddNode(Command):
    """Give a node its id. The same ``nonce`` gets the same id, so joining can be repeated."""

    tag = "node"
    nonce: str
    name: str
    address: str
    http: str


@dataclass(frozen=True, slots=True)
class MoveNode(Command):
    """A node is reached at another address, or its HTTP at another."""

    tag = "move"
    node: NodeId
    address: str
    http: str


@dataclass(frozen=True, slots=True)
class RemoveNode(Command):
    """A node is to leave: it gets nothing new, and its places in groups go to some of ``living``."""

    tag = "remove"
    node: NodeId
    living: list[NodeId]


@dataclass(frozen=True, slots=True)
class FillGroups(Command):
    """Give the free places in groups to some of ``living``."""

    tag = "fill"
    living: list[NodeId]


@dataclass(frozen=True, slots=True)
class Placed(Command):
    """A group tells who its members, learners included, are as of an index of its own log."""

    tag = "placed"
    group: GroupId
    index: Index
    members: list[NodeId]


@dataclass(frozen=True, slots=True)
class ForgetNode(Command):
    """A node that leaves is in no execution group any more: the cluster goes on without it."""

    tag = "gone"
    node: NodeId


@dataclass(frozen=True, slots=True)
class DeployVersion(Command):
    """Add a definition (`raftoral.registry.definition.Definition.encode`)."""

    tag = "deploy"
    definition: bytes


ALL: Final[tuple[type[Command], ...]] = (
    StartRun, Settle, Many, Cancel, Terminate, Pause, Resume, RetryRun, Adopt, Forget,
    Signal, Update, CompleteCallback, BeatCallback,
    Delivered, Passed, OutboxDone, ChildDone,
    PutSchedule, PauseSchedule, ResumeSchedule, DropSchedule, Fired, Backfill, ScheduledEnded,
    Publish, TakeOver, HandOver, OwnSlots,
    FormCluster, AddNode, MoveNode, RemoveNode, FillGroups, Placed, ForgetNode, DeployVersion,
)  # fmt: skip

decode: Final = Decoder(ALL).decode
"""Returns the command of log bytes; `UsageError` if they hold none."""
