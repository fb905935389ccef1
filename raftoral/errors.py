"""Every error of the library, by whose turn it is.

`UsageError`: fix the call. `Unavailable`: try again. `PeerError`: the connection was dropped.
`CorruptionError` and `StorageFailed`: the node stopped to keep what it has. `WorkflowFailed`: the
workflow's own failure, as data. A broken invariant is an `assert` and no error of this tree.

Each error has a stable ``code`` that crosses the HTTP boundary, and a message that says what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from raftoral.ids import NodeId, Position, RunId
    from raftoral.values import Value


class RaftoralError(Exception):
    """Root of the tree; ``code`` is stable, the message is for people."""

    code: ClassVar[str] = "error"


# ------------------------------------------------------------------ the caller's turn
class UsageError(RaftoralError):
    """The call cannot work as it stands; the message says how to mend it."""

    code = "usage"


class InvalidInput(UsageError):
    """A value does not fit the type that was declared for it, or no stored type at all."""

    code = "invalid_input"


class UnknownDefinition(UsageError):
    """No workflow of that name (and version) is deployed."""

    code = "unknown_definition"


class UnknownRun(UsageError):
    """No run has this id, or it was forgotten after its retention time."""

    code = "unknown_run"


class UnknownQuery(UsageError):
    """The run's workflow has no query of that name; the message lists those it has."""

    code = "unknown_query"


class RunConflict(UsageError):
    """The id is taken by another workflow or input, or the run stands otherwise than supposed."""

    code = "run_conflict"


class RunEnded(UsageError):
    """The run has ended, so it takes no more of this kind."""

    code = "run_ended"


class UnknownCallback(UsageError):
    """This text is no token of a callback, or its run was forgotten."""

    code = "unknown_callback"


class CallbackOver(UsageError):
    """The callback was completed otherwise, or nobody waits for it any more."""

    code = "callback_done"


class UnknownSchedule(UsageError):
    """No schedule has this id."""

    code = "unknown_schedule"


class UnknownNode(UsageError):
    """No node of the cluster has this number or name; the message lists those there are."""

    code = "unknown_node"


class ScheduleConflict(UsageError):
    """The schedule was changed meanwhile, or its id is taken; look at it and try again."""

    code = "schedule_conflict"


class DefinitionRefused(UsageError):
    """The registry refuses this definition, for example a version with another meaning."""

    code = "definition_refused"


class NotRepeatable(UsageError):
    """A workflow used a clock, chance, input or output at run (RPY15); the message names the effect."""

    code = "not_repeatable"


class LimitExceeded(UsageError):
    """A value, a history or a queue is larger than its bound; the message names both."""

    code = "limit_exceeded"


# ------------------------------------------------------------------ try again
class Unavailable(RaftoralError):
    """Not now: no leader, too busy, or cut off. Trying again is safe."""

    code = "unavailable"


class NotLeader(Unavailable):
    """This node does not lead the group; ``leader`` is who does, if that is known."""

    code = "not_leader"

    def __init__(self, leader: NodeId | None = None) -> None:
        super().__init__("no leader is known" if not leader else f"node {leader} leads")
        self.leader = leader


class ProposalDropped(Unavailable):
    """The proposal is not in the log and never will be; propose again."""

    code = "proposal_dropped"


class ProposalUnknown(Unavailable):
    """The proposal may or may not commit; repeating it with the same ids is safe."""

    code = "proposal_unknown"


class WrongGroup(Unavailable):
    """The group that was asked does not own this id: it moves, and this node is behind. Try again."""

    code = "wrong_group"


class NodeStopped(Unavailable):
    """The node was stopped while the call waited."""

    code = "node_stopped"


class NodeRemoved(NodeStopped):
    """The node left its cluster, or was removed from it, and stopped; it cannot come back."""

    code = "node_removed"


# ------------------------------------------------------------------ the peer's or the disk's fault
class PeerError(RaftoralError):
    """A peer sent what no peer may send; its connection is closed."""

    code = "peer"


class NotTrusted(PeerError):
    """The TLS handshake failed: a certificate is missing, expired, of another CA or of another."""

    code = "not_trusted"


class StorageFailed(RaftoralError):
    """The disk refused a write or a sync; the node stops and nothing unsynced was acknowledged."""

    code = "storage_failed"


class CorruptionError(RaftoralError):
    """Stored bytes are not what was written; the node stops and names the place."""

    code = "corruption"


# ------------------------------------------------------------------ the workflow's own
class WorkflowFailed(RaftoralError):
    """A failure as data: its name, message and declared fields, equal on every node.

    Raised at an effect when its activity failed for good, and by a workflow or an activity to
    fail on purpose. ``attempts`` counts how often an activity was tried; 0 for other failures.
    """

    code = "workflow_failed"

    def __init__(
        self,
        name: str,
        message: str = "",
        details: Mapping[str, Value] | None = None,
        *,
        attempts: int = 0,
    ) -> None:
        super().__init__(f"{name}: {message}" if message else name)
        self.name = name
        self.message = message
        self.details: dict[str, Value] = dict(details or {})
        self.attempts = attempts


class UpdateRefused(WorkflowFailed):
    """The workflow refused an update; name, message and details are those of its handler's error."""

    code = "update_refused"


class QueryFailed(RaftoralError):
    """A query of a workflow raised an error, or answered with what cannot be sent."""

    code = "query_failed"


class Cancelled(BaseException):
    """The run, or the branch, was asked to stop: thrown into the workflow at the effect it waits at.

    Not an `Exception`, so that `except Exception` around a step does not swallow it. A workflow may
    catch it to clean up, with effects like any others, and raises it again.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "asked to stop")
        self.reason = reason


class NonDeterminismError(RaftoralError):
    """A replay yields something else than the history holds; ``where`` is the yielding line."""

    code = "non_determinism"

    def __init__(
        self, run_id: RunId, position: Position, recorded: str, yielded: str, where: str = ""
    ) -> None:
        at = f"\n  at {where}" if where else ""
        super().__init__(
            f"run {run_id}, step {position}: history has {recorded}, the code yields {yielded}{at}"
        )
        self.run_id = run_id
        self.position = position
        self.recorded = recorded
        self.yielded = yielded
        self.where = where


# ------------------------------------------------------------------ across a boundary
def plain_kinds(root: type[RaftoralError] = RaftoralError) -> dict[str, type[RaftoralError]]:
    """Return the errors below ``root`` that are made of a message alone, by code."""
    found = {root.code: root} if root.__init__ is Exception.__init__ else {}
    for child in root.__subclasses__():
        if child.__module__ == __name__:
            found |= plain_kinds(child)
    return found
