"""Statements that are effects: checkpoints, computes, signals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftoral.lang import ast
from raftoral.lang.check import calls
from raftoral.lang.check.nodes import Node, const
from raftoral.lang.diagnostics import did_you_mean
from raftoral.lang.types import (
    DURATION,
    NOTHING,
    UNKNOWN,
    RecordType,
    Type,
    fits,
    optional,
    show,
    storable,
)

if TYPE_CHECKING:
    from raftoral.lang.check.body import Body

ATTEMPTS_MAX: Final = 10_000


def checkpoint(b: Body, node: ast.CheckpointStmt) -> Node:
    """Return the IR of a `checkpoint`."""
    kind, ir = b.typed(node, f"`{node.name.text}`", changes=True)
    if not storable(kind):
        b.error("RWF0215", "an error cannot be recorded as a value", node.value.span)
    b.step(node.name)
    variable = b.declare(node.name, kind, "checkpoint")
    return ["checkpoint", variable.slot, node.name.text, ir]


def compute(b: Body, node: ast.ComputeStmt) -> Node | None:
    """Return the IR of a `compute`."""
    activity = b.definitions.activities.get(node.activity.text)
    policy, timeout = clauses(b, node)
    if activity is None:
        unknown_activity(b, node)
        return None
    b.activities[activity.name.text] = activity
    what = f"activity {activity.name.text}"
    args = calls.arguments(b, node.args, activity.params, what, node.span)
    if timeout is None and activity.definition.timeout is not None:
        default = b.constant(activity.definition.timeout, DURATION, "a timeout")
        timeout = const(default)
    if timeout is None:
        b.diagnostics.warning(
            "RWF0505",
            f"`{activity.name.text}` may take for ever",
            node.activity.span,
            help=("add `timeout 10s` here or to the activity",),
        )
    kind = activity.result
    if node.type is not None:
        kind = b.definitions.type_of(node.type)
        if not fits(activity.result, kind):
            message = f"`{activity.name.text}` gives {show(activity.result)}, not {show(kind)}"
            b.error("RWF0210", message, node.type.span)
    slot = key = None
    if node.name is not None:
        if activity.result == NOTHING:
            message = f"`{activity.name.text}` gives no result"
            b.error("RWF0210", message, node.name.span, "leave the name out")
        b.step(node.name)
        slot, key = b.declare(node.name, kind, "compute").slot, node.name.text
    return ["compute", slot, key, activity.name.text, args, policy, timeout]


def unknown_activity(b: Body, node: ast.ComputeStmt) -> None:
    """Report an activity that is not declared; its result fits everywhere from here on."""
    for arg in node.args:
        b.expr(arg.value)
    name = node.activity
    if name.text in b.definitions.functions:
        b.diagnostics.error(
            "RWF0203",
            f"`{name.text}` is a function, and `compute` is for activities",
            name.span,
            help=(f"`let x = {name.text}(...)`",),
        )
    else:
        label = did_you_mean(name.text, b.definitions.activities, "not declared")
        help_ = (f"declare it above: `activity {name.text}(...) -> ...`",)
        message = f"there is no activity `{name.text}`"
        b.diagnostics.error("RWF0203", message, name.span, label, help=help_)
    if node.name is not None:
        b.step(node.name)
        b.declare(node.name, UNKNOWN, "compute")


def clauses(b: Body, node: ast.ComputeStmt) -> tuple[Node | None, Node | None]:
    """Return retry policy and timeout."""
    policy: Node | None = None
    timeout: Node | None = None
    seen: set[type] = set()
    for clause in node.clauses:
        if type(clause) in seen:
            b.error("RWF0120", "this clause is there twice", clause.span, "again")
        seen.add(type(clause))
        match clause:
            case ast.Timeout(_, value):
                timeout = b.value(value, DURATION, "a timeout")
            case ast.Retry():
                policy = retry(b, clause)
            case _:
                word = type(clause).__name__.lower()
                b.error("RWF0006", f"`{word}` is not part of this release", clause.span)
    return policy, timeout


def retry(b: Body, clause: ast.Retry) -> Node | None:
    """Return the IR of a retry policy; None for a single attempt."""
    if not 1 <= clause.attempts <= ATTEMPTS_MAX:
        message = f"an activity is attempted 1 to {ATTEMPTS_MAX:,} times in all"
        b.error("RWF0220", message, clause.span)
    if clause.jitter_percent > 100:
        b.error("RWF0220", "jitter is at most 100%", clause.span)
    for name in clause.only:
        b.definitions.known_error(name)
    first = longest = None
    factor = 200
    if clause.backoff is not None:
        first = b.value(clause.backoff.first, DURATION, "a pause")
        longest = b.value(clause.backoff.longest, DURATION, "a pause")
        factor = clause.backoff.factor_percent
        if factor < 100:
            b.error("RWF0220", "a factor is at least 1", clause.backoff.span)
    if clause.attempts == 1:
        return None
    only = [name.text for name in clause.only]
    return [clause.attempts, first, longest, factor, clause.jitter_percent, only]


def wait(b: Body, node: ast.Await) -> Node:
    """Return the IR of an `await`."""
    signal = f"signal {node.source.text}"
    kind: Type = RecordType(signal)
    if signal not in b.signals:
        known = [name.removeprefix("signal ") for name in b.signals]
        label = did_you_mean(node.source.text, known, "not declared")
        help_ = (f"declare it at the top: `signal {node.source.text}(...)`",)
        message = f"there is no signal `{node.source.text}`"
        b.diagnostics.error("RWF0203", message, node.source.span, label, help=help_)
        kind = UNKNOWN
    b.awaited.add(node.source.text)
    timeout = None
    if node.timeout is not None:
        timeout = b.value(node.timeout, DURATION, "a timeout")
    block: Node | None = None
    if node.otherwise is not None:
        block, leaves = b.block(node.otherwise)
        if not leaves:
            kind = optional(kind)
    slot = None
    if node.name is not None:
        slot = b.declare(node.name, kind, "compute").slot
        b.scope.everything[-1].used = True
    return ["receive", slot, node.source.text, timeout, block]
