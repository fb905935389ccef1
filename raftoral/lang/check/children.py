"""Statements that run other workflows, or this one anew: call, start, restart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from raftoral.lang.check.arguments import arguments
from raftoral.lang.diagnostics import did_you_mean
from raftoral.lang.types import NOTHING, STRING, UNKNOWN, Type, fits, show

if TYPE_CHECKING:
    from raftoral.lang import ast
    from raftoral.lang.check.body import Body
    from raftoral.lang.check.nodes import Node
    from raftoral.lang.definitions import Child

CLOSINGS: Final = ("abandon", "cancel", "terminate")


def child(b: Body, node: ast.ChildStmt) -> Node | None:
    """Return the IR of a `call` or a `start`."""
    found = _find(b, node)
    if found is None:
        for arg in node.args:
            b.expr(arg.value)
        if node.name is not None:
            b.step(node.name)
            b.declare(node.name, UNKNOWN, "compute")
        return None
    name = found.name.text
    b.children[name, found.version] = found
    given = arguments(b, node.args, found.params, f"workflow {name}", node.span)
    pairs = [[param, ir] for param, ir in zip(found.params, given, strict=False)]
    kind: Type = STRING if node.detached else found.result
    if node.type is not None:
        kind = b.type_of(node.type)
        if not fits(STRING if node.detached else found.result, kind):
            shown = "the id of the child, a string" if node.detached else show(found.result)
            message = f"`{'start' if node.detached else 'call'}` gives {shown}, not {show(kind)}"
            b.error("RWF0210", message, node.type.span)
    slot = key = None
    if node.name is not None:
        if kind == NOTHING:
            message = f"workflow `{name}` gives no result"
            b.error("RWF0210", message, node.name.span, "leave the name out")
        b.step(node.name)
        slot, key = b.declare(node.name, kind, "compute").slot, node.name.text
    if node.detached:
        return ["start", slot, key, name, found.version, pairs, _close(b, node)]
    if node.close is not None:
        message = "a child that is waited for is cancelled with its parent"
        b.error("RWF0220", message, node.close.span, "`close` belongs to `start`")
    return ["call", slot, key, name, found.version, pairs]


def _close(b: Body, node: ast.ChildStmt) -> str:
    if node.close is None:
        return "abandon"
    if node.close.text not in CLOSINGS:
        label = did_you_mean(node.close.text, CLOSINGS, "not one of them")
        message = f"`close` is followed by {', '.join(CLOSINGS[:-1])} or {CLOSINGS[-1]}"
        b.error("RWF0203", message, node.close.span, label)
        return "abandon"
    return node.close.text


def _find(b: Body, node: ast.ChildStmt) -> Child | None:
    """Return the workflow that is meant; reports an unknown or unclear one."""
    name = node.workflow
    candidates: list[Child] = b.definitions.find("children", name.text) or []
    if not candidates:
        label = did_you_mean(name.text, b.definitions.names("children"), "not declared")
        help_ = () if label.startswith("did") else (
            f"declare it: `workflow {name.text} version 1 (...) -> ...`, without a block",
        )  # fmt: skip
        message = f"there is no workflow `{name.text}`"
        b.diagnostics.error("RWF0203", message, name.span, label, help=help_)
        return None
    versions = ", ".join(str(one.version) for one in candidates)
    if node.version is None:
        if len(candidates) > 1:
            message = f"`{name.text}` is there in several versions: {versions}"
            b.error("RWF0203", message, name.span, "say which: `version n`")
        return candidates[-1]
    for one in candidates:
        if one.version == node.version:
            return one
    message = f"`{name.text}` has no version {node.version} here"
    b.error("RWF0203", message, name.span, f"declared: {versions}")
    return None


def restart(b: Body, node: ast.Restart) -> Any:
    """Return the IR of a `restart with`, which begins the workflow anew."""
    given = arguments(b, node.args, b.inputs, b.scope.where, node.span)
    if b.final:
        message = "`restart` inside `finally` would hide what happened before"
        b.error("RWF0330", message, node.span, "not here")
    elif b.inside:
        message = "`restart` ends the workflow, and this is one of its branches"
        b.error("RWF0322", message, node.span, "a branch ends with `give`")
    return ["restart", [[name, ir] for name, ir in zip(b.inputs, given, strict=False)]]
