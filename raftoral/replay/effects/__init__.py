"""What a workflow may yield: descriptions of work, never the work itself.

The vocabulary of both front ends, one module a kind. Everything public is named here.
"""

from raftoral.replay.effects.activities import (
    Activity,
    Invocation,
    RetryPolicy,
    activity,
    invocation_of,
)
from raftoral.replay.effects.base import Branch, Effect, Flow, Span, as_span, check_key
from raftoral.replay.effects.branches import (
    ForEach,
    Group,
    Outcome,
    Outcomes,
    Parallel,
    Plan,
    Race,
    Won,
)
from raftoral.replay.effects.cells import Cell, Checkpoint, SetCell
from raftoral.replay.effects.children import Call, Restart, Start
from raftoral.replay.effects.compute import RESULT, Compute, Options, undoing
from raftoral.replay.effects.definitions import Query, Workflow, workflow
from raftoral.replay.effects.sagas import Saga, Undo, undo_now
from raftoral.replay.effects.scopes import Scopes, current_scopes, scope
from raftoral.replay.effects.waits import (
    AwaitCallback,
    Callback,
    Log,
    Now,
    Pending,
    Random,
    Receive,
    Sleep,
    SleepUntil,
    Update,
    Uuid,
    renamed,
)

__all__ = [
    "RESULT",
    "Activity",
    "AwaitCallback",
    "Branch",
    "Call",
    "Callback",
    "Cell",
    "Checkpoint",
    "Compute",
    "Effect",
    "Flow",
    "ForEach",
    "Group",
    "Invocation",
    "Log",
    "Now",
    "Options",
    "Outcome",
    "Outcomes",
    "Parallel",
    "Pending",
    "Plan",
    "Query",
    "Race",
    "Random",
    "Receive",
    "Restart",
    "RetryPolicy",
    "Saga",
    "Scopes",
    "SetCell",
    "Sleep",
    "SleepUntil",
    "Span",
    "Start",
    "Undo",
    "Update",
    "Uuid",
    "Won",
    "Workflow",
    "activity",
    "as_span",
    "check_key",
    "current_scopes",
    "invocation_of",
    "renamed",
    "scope",
    "undo_now",
    "undoing",
    "workflow",
]
