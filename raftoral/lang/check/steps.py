"""`compute`: activities, their clauses, and what takes them back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from raftoral.lang import ast
from raftoral.lang.check import constants
from raftoral.lang.check.arguments import arguments
from raftoral.lang.check.nodes import const
from raftoral.lang.diagnostics import did_you_mean
from raftoral.lang.types import DURATION, NOTHING, STRING, UNKNOWN, fits, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.lang.check.body import Body
    from raftoral.lang.check.nodes import Node
    from raftoral.lang.definitions import Activity, Definitions

ATTEMPTS_MAX: Final = 10_000

_WORDS: Final = {
    ast.Retry: "retry",
    ast.RetryPolicy: "retry",
    ast.Timeout: "timeout",
    ast.Deadline: "deadline",
    ast.Heartbeat: "heartbeat",
    ast.Key: "key",
    ast.AtMostOnce: "at_most_once",
}
_ALL: Final = frozenset(_WORDS.values())


def compute(b: Body, node: ast.ComputeStmt) -> Node | None:
    """Return the IR of a `compute`."""
    clauses = options(b, node.clauses, "a compute", _ALL)
    activity = _activity(b, node.activity, node.args)
    if activity is None:
        if node.name is not None:
            b.step(node.name)
            b.declare(node.name, UNKNOWN, "compute")
        if node.compensate is not None:
            _compensate(b, node.compensate)
        return None
    what = f"activity {activity.name.text}"
    args = arguments(b, node.args, activity.params, what, node.span)
    clauses = _defaults(b, activity, clauses, node.activity)
    _warn_twice(b, node, activity, clauses)
    kind = activity.result
    if node.type is not None:
        kind = b.type_of(node.type)
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
    undo = None
    if node.compensate is not None:
        undo = _compensate(b, node.compensate)
    return ["compute", slot, key, activity.name.text, args, clauses, undo]


def _activity(b: Body, name: ast.Ident, args: Sequence[ast.Arg]) -> Activity | None:
    """Return the contract of an activity; None after a report."""
    found: Activity | None = b.definitions.find("activities", name.text)
    if found is None:
        _unknown_activity(b, name, args)
        return None
    known = b.activities.setdefault(found.name.text, found)
    if known is not found and _contract(known) != _contract(found):
        message = f"activity `{found.name.text}` is declared in two ways in this program"
        b.error("RWF0120", message, name.span, f"differs from that in {known.home.path}")
    return found


def _contract(activity: Activity) -> Any:
    params = [(name, one.type) for name, one in activity.params.items()]
    return params, activity.result


def _unknown_activity(b: Body, name: ast.Ident, args: Sequence[ast.Arg]) -> None:
    for arg in args:
        b.expr(arg.value)
    if b.definitions.find("functions", name.text) is not None:
        b.diagnostics.error(
            "RWF0203",
            f"`{name.text}` is a function, and `compute` is for activities",
            name.span,
            help=(f"`let x = {name.text}(...)`",),
        )
        return
    if b.definitions.find("children", name.text) is not None:
        b.diagnostics.error(
            "RWF0203",
            f"`{name.text}` is a workflow, and `compute` is for activities",
            name.span,
            help=(f"`call x = {name.text}(...)`",),
        )
        return
    label = did_you_mean(name.text, b.definitions.names("activities"), "not declared")
    help_ = () if label.startswith("did") else (
        f"declare it above: `activity {name.text}(...) -> ...`",
    )  # fmt: skip
    message = f"there is no activity `{name.text}`"
    b.diagnostics.error("RWF0203", message, name.span, label, help=help_)


def _compensate(b: Body, node: ast.Compensate) -> Node | None:
    """Return the IR of the activity that takes a step back."""
    if not b.saga:
        message = "`compensate` is for a step of a saga"
        b.error("RWF0332", message, node.activity.span, "no `saga { ... }` around this")
    clauses = options(b, node.clauses, "a compensation", _ALL)
    activity = _activity(b, node.activity, node.args)
    if activity is None:
        return None
    what = f"activity {activity.name.text}"
    args = arguments(b, node.args, activity.params, what, node.span)
    clauses = _defaults(b, activity, clauses, node.activity)
    return [activity.name.text, args, clauses]


def _defaults(b: Body, activity: Activity, clauses: list[Any], at: ast.Ident) -> list[Any]:
    """Fill in the activity's own timeout; warn where there is none at all."""
    timeout = activity.definition.timeout
    if clauses[1] is None and timeout is not None:
        clauses[1] = const(constants.once(b, activity.home, timeout, DURATION, "a timeout"))
    if clauses[1] is None and clauses[2] is None and activity.name.text not in b.endless:
        b.endless.add(activity.name.text)
        b.diagnostics.warning(
            "RWF0505",
            f"`{activity.name.text}` may take for ever",
            at.span,
            help=("add `timeout 10s` here or to the activity",),
        )
    return clauses


def _warn_twice(b: Body, node: ast.ComputeStmt, activity: Activity, clauses: list[Any]) -> None:
    """Warn about a retry of an activity that does not say it can bear one."""
    if clauses[0] is None or clauses[4] is not None or activity.definition.idempotent:
        return
    b.diagnostics.warning(
        "RWF0503",
        f"`{activity.name.text}` may do its work twice",
        node.activity.span,
        "retried, and not declared `idempotent`",
        help=(
            "have it use the idempotency key that it is handed, and declare it `idempotent`",
            'or give it a key of your own: `key "charge-{order.id}"`',
        ),
    )


# ------------------------------------------------------------------ clauses
def options(
    b: Body, clauses: Sequence[ast.Clause], what: str, allowed: frozenset[str]
) -> list[Any]:
    """Return ``[policy, timeout, deadline, heartbeat, key, once]``; each None if it is not there."""
    found: dict[str, Any] = {}
    for clause in clauses:
        word = _WORDS[type(clause)]
        if word in found:
            b.error("RWF0120", "this clause is there twice", clause.span, "again")
        if word not in allowed:
            message = f"{what} has no `{word}`"
            b.error("RWF0220", message, clause.span, f"it has {' and '.join(sorted(allowed))}")
        match clause:
            case ast.Retry():
                found[word] = retry(b, clause)
            case ast.RetryPolicy(_, name):
                found[word] = _named(b, name)
            case ast.Key(_, value):
                found[word] = b.value(value, STRING, "an idempotency key")
            case ast.AtMostOnce():
                found[word] = True
            case ast.Timeout(_, value) | ast.Deadline(_, value) | ast.Heartbeat(_, value):
                found[word] = b.value(value, DURATION, f"a {word}")
    if found.get("at_most_once") and found.get("retry") is not None:
        span = next(c.span for c in clauses if isinstance(c, ast.AtMostOnce))
        message = "`at_most_once` and `retry` contradict each other"
        b.error("RWF0220", message, span, "leave one of them out")
    words = ("retry", "timeout", "deadline", "heartbeat", "key")
    return [*(found.get(word) for word in words), bool(found.get("at_most_once"))]


def _named(b: Body, name: ast.Ident) -> Node | None:
    policy: ast.PolicyDef | None = b.definitions.find("policies", name.text)
    if policy is None:
        label = did_you_mean(name.text, b.definitions.names("policies"), "not defined")
        b.error("RWF0203", f"there is no policy `{name.text}`", name.span, label)
        return None
    alias, _, _ = name.text.rpartition(".")
    home = b.definitions.imports[alias] if alias else b.definitions
    return policy_of(b, home, policy)


def policy_of(b: Any, home: Definitions, policy: ast.PolicyDef) -> Node | None:
    """Return the IR of a named policy, whose pauses are constant."""
    retry_ = policy.retry
    pauses: list[Node | None] = [None, None]
    if retry_.backoff is not None:
        for place, node in enumerate((retry_.backoff.first, retry_.backoff.longest)):
            pauses[place] = const(constants.once(b, home, node, DURATION, "a pause of a policy"))
    own = b if home is b.definitions else None
    return _policy(own, home, retry_, pauses)


def retry(b: Body, clause: ast.Retry) -> Node | None:
    """Return the IR of a retry policy; None for a single attempt."""
    pauses: list[Node | None] = [None, None]
    if clause.backoff is not None:
        pauses = [
            b.value(clause.backoff.first, DURATION, "a pause"),
            b.value(clause.backoff.longest, DURATION, "a pause"),
        ]
    return _policy(b, b.definitions, clause, pauses)


def _policy(b: Any, home: Definitions, clause: ast.Retry, pauses: list[Node | None]) -> Node | None:
    """Return the IR of a policy; what is wrong is reported by its own file, ``b`` is None else."""
    factor = 200 if clause.backoff is None else clause.backoff.factor_percent
    if b is not None:
        if not 1 <= clause.attempts <= ATTEMPTS_MAX:
            message = f"an activity is attempted 1 to {ATTEMPTS_MAX:,} times in all"
            b.error("RWF0220", message, clause.span)
        if clause.jitter_percent > 100:
            b.error("RWF0220", "jitter is at most 100%", clause.span)
        if factor < 100 and clause.backoff is not None:
            b.error("RWF0220", "a factor is at least 1", clause.backoff.span)
    only = home.error_names(clause.only)
    if clause.attempts == 1:
        return None
    return [clause.attempts, *pauses, factor, clause.jitter_percent, only]
