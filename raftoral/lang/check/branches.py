"""Statements that run blocks beside each other, and what takes them back: parallel, race, saga."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raftoral.lang import ast
from raftoral.lang.check import waits
from raftoral.lang.check.giving import Giving
from raftoral.lang.definitions import Field, Shape
from raftoral.lang.diagnostics import Label
from raftoral.lang.types import DURATION, INT, NOTHING, OutcomeType, RecordType, Type, optional

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raftoral.lang.ast import Ident
    from raftoral.lang.check.body import Body
    from raftoral.lang.check.nodes import Checked, Node


def limits(b: Body, node: ast.Fan | ast.Parallel) -> list[Any]:
    """Return the IR of ``limit``, ``min``, ``tolerate`` and ``outcomes``."""
    limit = None if node.limit is None else b.value(node.limit, INT, "a limit")
    least = None if node.least is None else b.value(node.least, INT, "a minimum")
    tolerate: Node | None = None
    match node.tolerate:
        case None:
            pass
        case ast.Share(span, percent):
            if percent > 100:
                b.error("RWF0220", "at most 100% of the branches can fail", span)
            tolerate = ["share", percent]
        case expr:
            tolerate = ["count", b.value(expr, INT, "how many failures are tolerated")]
    told = [] if node.outcomes is None else ["outcomes"]
    return [limit, least, tolerate, *told]


def told_of(node: ast.Fan | ast.Parallel, kind: Type) -> Type:
    """Return the type of what is known of a branch that gives a ``kind``."""
    if node.outcomes is not None:
        return OutcomeType(kind)
    return kind if node.least is None and node.tolerate is None else optional(kind)


def nowhere(b: Body, node: ast.Fan | ast.Parallel, giving: Iterable[Giving], word: str) -> None:
    """Report what branches give, or how they ended, if there is no name for it."""
    if node.outcomes is not None:
        b.error("RWF0321", "how the branches end goes nowhere", node.outcomes, f"add `{word} name`")
    for one in giving:
        _goes_nowhere(b, one, word)


def _distinct(b: Body, names: list[Ident], what: str) -> None:
    seen: dict[str, Ident] = {}
    for name in names:
        if name.text in seen:
            first = Label(seen[name.text].span, "the first")
            message = f"two {what} are called `{name.text}` here"
            b.diagnostics.error("RWF0310", message, name.span, "the second", labels=(first,))
        seen.setdefault(name.text, name)


def _branch(b: Body, node: ast.Branch, *, races: bool) -> tuple[Node, Type, Giving]:
    with b.beside() as giving:
        b.saga = b.saga or races  # what a loser has done can be taken back
        body, leaves = b.block(node.block)
    return ["branch", node.name.text, body], b.given(giving, always=leaves), giving


def _goes_nowhere(b: Body, giving: Giving, word: str = "as") -> None:
    for kind, span in giving.kinds:
        if kind != NOTHING:
            b.error("RWF0321", "what is given here goes nowhere", span, f"add `{word} name`")
            return


def parallel(b: Body, node: ast.Parallel) -> Node:
    """Return the IR of a `parallel`; its name stands for a record of what the branches give."""
    bounds = limits(b, node)
    _distinct(b, [branch.name for branch in node.branches], "branches")
    if not node.branches:
        b.error("RWF0001", "`parallel` has no branch", node.span, "write `branch name { ... }`")
    arms: Node = []
    fields: dict[str, Field] = {}
    given: list[Giving] = []
    for branch in node.branches:
        ir, kind, giving = _branch(b, branch, races=False)
        arms.append(ir)
        given.append(giving)
        kind = told_of(node, kind)
        fields[branch.name.text] = Field(branch.name, kind, None, b.definitions)
    if node.name is None:
        nowhere(b, node, given, "as")
        return ["parallel", None, None, bounds, arms]
    b.step(node.name)
    shape = f"parallel {node.name.text} {node.span.start}"
    b.shapes[shape] = Shape(node.name, fields)
    slot = b.declare(node.name, RecordType(shape), "compute").slot
    return ["parallel", slot, node.name.text, bounds, arms]


def race(b: Body, node: ast.Race) -> Checked:
    """Return the IR of a `race`.

    What competes is a branch, a wait for a signal, or a time; the block of a wait or a time runs
    once the race is decided, in the place of the race, as a case of a `match` would.
    """
    if not node.arms:
        b.error("RWF0001", "`race` has no arm", node.span, "write `on`, `after` or `branch`")
    names = [arm.source if isinstance(arm, ast.OnArm) else arm.name for arm in node.arms
             if not isinstance(arm, ast.AfterArm)]  # fmt: skip
    _distinct(b, names, "arms")
    timers = [arm for arm in node.arms if isinstance(arm, ast.AfterArm)]
    for timer in timers[1:]:
        b.error("RWF0310", "a race has one `after`", timer.span, "the shorter one always wins")
    outer = b.giving
    own = Giving() if node.name is not None else None
    if own is not None:
        b.giving = own
    before, after = b.steps, dict(b.steps)
    arms: Node = []
    falls = False
    for arm in node.arms:
        ir, left = _arm(b, arm, before, after, own)
        arms.append(ir)
        falls = falls or not (left or isinstance(arm, ast.Branch))
    branches = any(isinstance(arm, ast.Branch) for arm in node.arms)
    leaves = bool(node.arms) and not falls and not branches
    b.steps, b.giving = after, outer
    if node.name is None or own is None:
        return ["race", None, None, arms], leaves
    b.step(node.name)
    kind = b.given(own, always=not falls)
    slot = b.declare(node.name, kind, "compute").slot
    return ["race", slot, node.name.text, arms], leaves and not own.kinds


def _arm(
    b: Body,
    arm: ast.Branch | ast.OnArm | ast.AfterArm,
    before: dict[str, Ident],
    after: dict[str, Ident],
    own: Giving | None,
) -> tuple[Node, bool]:
    match arm:
        case ast.Branch():
            ir, kind, giving = _branch(b, arm, races=True)
            if own is None:
                _goes_nowhere(b, giving)
            else:
                own.kinds.append((kind, arm.name.span))
            return ir, False
        case ast.AfterArm(_, value, block):
            pause = b.value(value, DURATION, "what `after` waits for")
            body, leaves = b.branch(block, before, after)
            return ["after", pause, body], leaves
        case ast.OnArm():
            b.scope.open()
            waited = waits.source(b, arm)
            body, leaves = b.branch(arm.block, before, after)
            b.close_block()
            return ["on", arm.source.text, waited, body], leaves


def saga(b: Body, node: ast.Saga) -> Checked:
    """Return the IR of a `saga`."""
    before, b.saga = b.saga, True
    block, leaves = b.block(node.block)
    b.saga = before
    return ["saga", block], leaves


def undo(b: Body, node: ast.Undo) -> Node:
    """Return the IR of an `undo`; a saga must be around it."""
    if not b.saga:
        b.error("RWF0332", "`undo` takes back what a saga has done", node.span, "no saga around")
    return ["undo"]
