"""Durable workflows inside your own processes: an application that orchestrates itself by Raft.

Write a workflow as a generator of effects (or in a `.rwf` file), register it with its activities,
and run a `Node` in each of the application's processes. Everything public is here, and loaded when
it is first used, so that neither a module of workflows nor a command waits for the whole engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from raftoral.errors import (
        CallbackOver,
        Cancelled,
        CorruptionError,
        DefinitionRefused,
        InvalidInput,
        LimitExceeded,
        NodeRemoved,
        NodeStopped,
        NonDeterminismError,
        QueryFailed,
        RaftoralError,
        RunConflict,
        RunEnded,
        ScheduleConflict,
        StorageFailed,
        Unavailable,
        UnknownCallback,
        UnknownDefinition,
        UnknownNode,
        UnknownQuery,
        UnknownRun,
        UnknownSchedule,
        UpdateRefused,
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
    from raftoral.runtime.blocking import BlockingNode
    from raftoral.runtime.node import Node
    from raftoral.runtime.runs import Run
    from raftoral.values import Money

__version__ = "0.1.0"

__all__ = [
    "RESULT",
    "Activity",
    "ActivityContext",
    "BlockingNode",
    "Branch",
    "Call",
    "Callback",
    "CallbackOver",
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
    "NodeRemoved",
    "NodeStopped",
    "NonDeterminismError",
    "Now",
    "Outcome",
    "Outcomes",
    "Parallel",
    "Pending",
    "QueryFailed",
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
    "ScheduleConflict",
    "Sleep",
    "SleepUntil",
    "Start",
    "StorageFailed",
    "Unavailable",
    "UnknownCallback",
    "UnknownDefinition",
    "UnknownNode",
    "UnknownQuery",
    "UnknownRun",
    "UnknownSchedule",
    "Update",
    "UpdateRefused",
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


# Where the names live, from what is imported at once to what brings the whole engine.
_HOMES: Final = (
    "raftoral.errors",
    "raftoral.values",
    "raftoral.replay.effects",
    "raftoral.replay.context",
    "raftoral.registry.app",
    "raftoral.runtime.runs",
    "raftoral.runtime.node",
    "raftoral.runtime.blocking",
)
_ELSEWHERE: Final = {"current_attempt": "current"}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for."""
    if name in __all__:
        for home in _HOMES:
            module = import_module(home)
            if hasattr(module, _ELSEWHERE.get(name, name)):
                found = globals()[name] = getattr(module, _ELSEWHERE.get(name, name))
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names."""
    return [*__all__, "__version__"]
