"""Statements that wait for whoever is outside: signals, updates, callbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.lang.check import steps
from raftoral.lang.diagnostics import did_you_mean
from raftoral.lang.types import (
    DURATION,
    NOTHING,
    UNKNOWN,
    CallbackType,
    RecordType,
    Type,
    optional,
    show,
    storable,
    to_ir,
)

if TYPE_CHECKING:
    from raftoral.lang import ast
    from raftoral.lang.check.body import Body
    from raftoral.lang.check.nodes import Node


def callback(b: Body, node: ast.CallbackStmt) -> Node:
    """Return the IR of a `callback`, which opens one; `await` waits for it."""
    kind = b.type_of(node.type)
    b.decoded.append(kind)
    options = steps.options(b, node.clauses, "a callback", frozenset({"timeout", "heartbeat"}))
    b.step(node.name)
    variable = b.declare(node.name, CallbackType(kind), "callback")
    plain = to_ir(kind) if storable(kind) else ["none"]
    return ["callback", variable.slot, node.name.text, plain, options[1], options[3]]


def wait(b: Body, node: ast.Await) -> Node:
    """Return the IR of an `await`."""
    if node.timeout is None:
        return ["await", node.source.text, source(b, node)]
    timeout = b.value(node.timeout, DURATION, "a timeout")
    block: Node | None = None
    leaves = True
    if node.otherwise is not None:
        block, leaves = b.block(node.otherwise)
    waited = source(b, node, maybe=not leaves)
    if waited[0] == "signal":
        return ["receive", waited[2], node.source.text, timeout, block]
    help_: tuple[str, ...] = (
        f"`race {{ on {node.source.text} as x {{ ... }} after 1h {{ ... }} }}`",
    )
    message = "only the wait for a signal has a timeout of its own"
    if waited[0] == "callback":
        help_ = (f"`callback {node.source.text}: type timeout 1h`", *help_)
    b.diagnostics.error("RWF0220", message, node.timeout.span, help=help_)
    return ["await", node.source.text, waited]


def source(b: Body, node: ast.Await | ast.OnArm, *, maybe: bool = False) -> Node:
    """Return what is waited for: its kind and where its value goes.

    ``["signal", name, slot]``, ``["update", name, slot, answer]`` or ``["callback", place, slot]``.
    """
    name = node.source
    variable = b.scope.find(name.text)
    if variable is not None and isinstance(variable.type, CallbackType):
        variable.used = True
        slot = _declare(b, node, variable.type.item)
        _no_answer(b, node)
        return ["callback", variable.slot, slot]
    if f"update {name.text}" in b.shapes:
        return _update(b, node)
    kind: Type = RecordType(f"signal {name.text}")
    if f"signal {name.text}" not in b.shapes:
        _unknown(b, node)
        kind = UNKNOWN
    b.awaited.add(f"signal {name.text}")
    _no_answer(b, node)
    slot = _declare(b, node, optional(kind) if maybe else kind)
    return ["signal", name.text, slot]


def _declare(b: Body, node: ast.Await | ast.OnArm, kind: Type) -> int | None:
    if node.name is None:
        return None
    if kind == NOTHING:
        b.error("RWF0210", "nothing comes with this", node.name.span, "leave the name out")
    variable = b.declare(node.name, kind, "compute")
    variable.used = True
    return variable.slot


def _no_answer(b: Body, node: ast.Await | ast.OnArm) -> None:
    if node.answer is not None:
        b.expr(node.answer)
        message = "only an update is answered"
        label = f"`{node.source.text}` is no update"
        b.error("RWF0203", message, node.answer.span, label)


def _update(b: Body, node: ast.Await | ast.OnArm) -> Node:
    name = node.source.text
    b.awaited.add(f"update {name}")
    kind = RecordType(f"update {name}")
    slot = _declare(b, node, kind)
    if slot is None:
        slot = b.scope.hidden(kind)
    result = b.updates[name]
    if node.answer is None:
        if result != NOTHING:
            message = f"update `{name}` is answered with {show(result)}"
            b.error("RWF0204", message, node.span, "add `answer ...`")
        return ["update", name, slot, None]
    if result == NOTHING:
        b.expr(node.answer)
        message = f"update `{name}` has no answer"
        b.error("RWF0210", message, node.answer.span, "declare its type: `update ...() -> T`")
        return ["update", name, slot, None]
    return ["update", name, slot, b.value(node.answer, result, f"the answer to `{name}`")]


def _unknown(b: Body, node: ast.Await | ast.OnArm) -> None:
    name = node.source
    known = [key.partition(" ")[2] for key in b.shapes if key.startswith(("signal ", "update "))]
    known += [
        one for one in b.scope.names()
        if (v := b.scope.find(one)) is not None and isinstance(v.type, CallbackType)
    ]  # fmt: skip
    label = did_you_mean(name.text, known, "not declared")
    help_ = (f"declare it at the top: `signal {name.text}(...)`",)
    message = f"there is no signal `{name.text}`"
    b.diagnostics.error("RWF0203", message, name.span, label, help=help_)
