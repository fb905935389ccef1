"""Durable workflows inside your own processes: an application that orchestrates itself by Raft.

Write a workflow as a generator of effects (or in a `.rwf` file), register it with its activities,
and run a `Node` in each of the application's processes. Everything public is here; `Node` is loaded
when it is first used, so that a module of workflows imports in milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raftoral.errors import (
    Cancelled,
    CorruptionError,
    DefinitionRefused,
    InvalidInput,
    LimitExceeded,
    NodeStopped,
    NonDeterminismError,
    RaftoralError,
    RunConflict,
    RunEnded,
    StorageFailed,
    Unavailable,
    UnknownDefinition,
    UnknownRun,
    UsageError,
    WorkflowFailed,
)
from raftoral.registry.app import Registry
from raftoral.replay.context import ActivityContext
from raftoral.replay.context import current as current_attempt
from raftoral.replay.effects import (
    RESULT,
    Activity,
    Branch,
    Call,
    Callback,
    Cell,
    Checkpoint,
    Compute,
    Effect,
    Flow,
    ForEach,
    Log,
    Now,
    Outcome,
    Outcomes,
    Parallel,
    Pending,
    Race,
    Random,
    Receive,
    Restart,
    RetryPolicy,
    Saga,
    Sleep,
    SleepUntil,
    Start,
    Update,
    Uuid,
    Won,
    Workflow,
    activity,
    scope,
    undo_now,
    workflow,
)
from raftoral.values import Money

if TYPE_CHECKING:
    from raftoral.runtime.node import Node
    from raftoral.runtime.runs import Run

__version__ = "0.1.0"

__all__ = [
    "RESULT",
    "Activity",
    "ActivityContext",
    "Branch",
    "Call",
    "Callback",
    "Cancelled",
    "Cell",
    "Checkpoint",
    "Compute",
    "CorruptionError",
    "DefinitionRefused",
    "Effect",
    "Flow",
    "ForEach",
    "InvalidInput",
    "LimitExceeded",
    "Log",
    "Money",
    "Node",
    "NodeStopped",
    "NonDeterminismError",
    "Now",
    "Outcome",
    "Outcomes",
    "Parallel",
    "Pending",
    "Race",
    "RaftoralError",
    "Random",
    "Receive",
    "Registry",
    "Restart",
    "RetryPolicy",
    "Run",
    "RunConflict",
    "RunEnded",
    "Saga",
    "Sleep",
    "SleepUntil",
    "Start",
    "StorageFailed",
    "Unavailable",
    "UnknownDefinition",
    "UnknownRun",
    "Update",
    "UsageError",
    "Uuid",
    "Won",
    "Workflow",
    "WorkflowFailed",
    "activity",
    "current_attempt",
    "scope",
    "undo_now",
    "workflow",
]


def __getattr__(name: str) -> Any:
    """Load `Node` and `Run` when they are first asked for: they bring the whole engine."""
    if name == "Node":
        from raftoral.runtime.node import Node

        return Node
    if name == "Run":
        from raftoral.runtime.runs import Run

        return Run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
