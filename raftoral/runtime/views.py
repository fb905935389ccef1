"""What a node tells about its cluster: plain values for callers, the HTTP API and the CLI."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

if TYPE_CHECKING:
    from raftoral.values import Value
else:
    # At run time the views are read from JSON and described as schemas, and a recursive alias of
    # texts has no schema; `Value` is checked where values are made.
    Value = Any

Status: TypeAlias = Literal[
    "running", "paused", "parked", "completed", "failed", "cancelled", "terminated"
]
"""``paused``: its owner begins nothing more until it is resumed. ``parked``: no member of the group
can go on with the run. Its `reason` says why. The last four are over.
"""


Policy: TypeAlias = Literal["join", "reject", "retry_failed"]
"""What a start does if its id is taken: see `raftoral.machines.commands.StartRun`."""


Overlap: TypeAlias = Literal["skip", "buffer_one", "allow", "cancel_other", "terminate_other"]
"""What a schedule does with a time that comes while its last run goes on: leave it out; begin
behind it (one waits); begin beside it; cancel or terminate it, and begin then.
"""


@dataclass(frozen=True, slots=True)
class ErrorView:
    """A failure as data: the name, the message and the declared fields."""

    name: str
    message: str = ""
    details: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunView:
    """One run as its group knows it. Times are milliseconds since 1970 on the group's clock.

    ``events`` counts those of this ``generation``. ``parent`` is the run or schedule that asked for
    it. ``attributes`` are the cells that runs are listed by, and their values.
    """

    id: str
    name: str
    version: int
    status: Status
    group: int
    owner: int
    epoch: int
    events: int
    started_at: int
    ended_at: int | None = None
    result: Value = None
    error: ErrorView | None = None
    reason: str = ""
    waiting_for: str = ""
    generation: int = 0
    parent: str = ""
    attributes: dict[str, Value] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Tell whether the run is over."""
        return self.status in ("completed", "failed", "cancelled", "terminated")


def plain_run(view: RunView) -> Value:
    """Return a view as a map that a message can hold."""
    # Not `asdict`, which would take an amount of money in the result apart.
    plain: dict[str, Any] = {each.name: getattr(view, each.name) for each in fields(view)}
    if view.error is not None:
        error = view.error
        plain["error"] = {"name": error.name, "message": error.message, "details": error.details}
    return plain


def run_of(plain: Value) -> RunView:
    """Return the view that `plain_run` made a map of."""
    known = dict(cast("dict[str, Any]", plain))
    error = known["error"]
    known["error"] = None if error is None else ErrorView(**error)
    return RunView(**known)


@dataclass(frozen=True, slots=True)
class SpecView:
    """What a schedule starts, and when.

    ``version`` 0 is the newest each time; ``input`` is a map by name or a list by position. ``when``
    is a cron expression or an interval (`raftoral.runtime.calendars.Calendar`), by the clock of
    ``zone``. Only times from ``start_at`` to ``end_at`` count (milliseconds since 1970, 0 for no
    bound), and none that is more than ``catch_up_ms`` late (0: however late). ``overlap`` says what
    happens while the last run goes on: `Overlap`.
    """

    name: str
    when: str
    input: Value = field(default_factory=dict)
    version: int = 0
    zone: str = "UTC"
    overlap: Overlap = "skip"
    start_at: int = 0
    end_at: int = 0
    catch_up_ms: int = 0

    def plain(self) -> dict[str, Any]:
        """Return the fields as a map."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """One schedule as its group knows it. Times are milliseconds since 1970, 0 for none.

    ``current`` is the run that the next one has to wait for, ``waiting_at`` the time of the one that
    does. ``fired`` and ``left_out`` count times.
    """

    id: str
    spec: SpecView
    revision: int
    next_at: int = 0
    paused: bool = False
    reason: str = ""
    current: str = ""
    waiting_at: int = 0
    last_at: int = 0
    fired: int = 0
    left_out: int = 0

    def plain(self) -> dict[str, Any]:
        """Return the fields as maps."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**plain, "spec": self.spec.plain()}


@dataclass(frozen=True, slots=True)
class HistoryView:
    """The settled steps of one run: canonical bytes of each event, and their digest.

    ``kind``, ``source`` and ``ir`` are those of the definition that it is pinned to, so that an
    exported history can be stepped through anywhere.
    """

    run_id: str
    name: str
    version: int
    meaning_hash: str
    node: int
    events: list[bytes]
    sha256: str
    kind: str = ""
    source: str = ""
    ir: bytes = b""


@dataclass(frozen=True, slots=True)
class DefinitionView:
    """One deployed version. ``new`` tells whether this call added it."""

    name: str
    version: int
    kind: str
    meaning_hash: str
    new: bool = False


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node of the cluster, seen from the node that answers.

    ``groups`` are those that have it as a member or are meant to; ``leaving``: it is on its way out.
    """

    id: int
    name: str
    address: str
    http: str
    alive: bool
    this: bool
    role: str
    groups: list[int]
    owned_runs: int = 0
    clock_offset_ms: int = 0
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class GroupView:
    """One Raft group, seen from the node that answers (``member`` False: from afar)."""

    id: int
    members: list[int]
    learners: list[int]
    leader: int
    term: int
    commit: int
    applied: int
    member: bool
    live_runs: int = 0


@dataclass(frozen=True, slots=True)
class ClusterView:
    """The cluster as one node sees it."""

    cluster: str
    node: int
    name: str
    data: str
    groups: list[GroupView]
    nodes: list[NodeView]
    definitions: int
    warnings: list[str] = field(default_factory=list)
