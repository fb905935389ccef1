"""Statements that choose and leave: if, match, try, return, give, break, continue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.lang import ast
from raftoral.lang.check.coverage import Con, Coverage, TooComplex
from raftoral.lang.check.patterns import pattern
from raftoral.lang.source import Span
from raftoral.lang.types import BOOL, UNKNOWN, ErrorType, Type, required, show

if TYPE_CHECKING:
    from raftoral.lang.check.body import Body
    from raftoral.lang.check.coverage import Row
    from raftoral.lang.check.nodes import Checked, Node
    from raftoral.lang.check.patterns import Tested


# ------------------------------------------------------------------ leaving
def jump(b: Body, node: ast.Return | ast.Give | ast.Break | ast.Continue) -> Node:
    """Return the IR of a statement that leaves; where it may not, that is reported."""
    word = type(node).__name__.lower()
    match node:
        case ast.Return(span, value):
            ir = b.value(value, UNKNOWN if b.inside else b.output, "the result")
            if b.final:
                _hides(b, span, word)
            elif b.inside:
                message = "`return` ends the workflow, and this is one of its branches"
                b.error("RWF0322", message, span, "a branch ends with `give`")
            return ["return", ir]
        case ast.Give(span, value):
            kind, ir = b.expr(value)
            if b.final:
                _hides(b, span, word)
            elif b.giving is None:
                message = "`give` ends a branch with its result"
                label = "no branch around this" if not b.pure else "a function ends with `return`"
                b.error("RWF0321", message, span, label)
            else:
                b.giving.kinds.append((kind, value.span))
            return ["give", ir]
        case ast.Break(span) | ast.Continue(span):
            if not b.loops and b.final:
                _hides(b, span, word)
            elif not b.loops:
                label = "no loop in this branch" if b.inside else "no loop around this"
                b.error("RWF0322", f"`{word}` stands inside a loop", span, label)
            return [word]


def _hides(b: Body, span: Span, word: str) -> None:
    message = f"`{word}` inside `finally` would hide what happened before"
    b.error("RWF0330", message, span, "not here")


# ------------------------------------------------------------------ choosing
def choice(b: Body, node: ast.If) -> Checked:
    """Return the IR of an `if`."""
    before, after = b.steps, dict(b.steps)
    outer = b.known
    arms: Node = []
    all_leave = True
    for arm in node.arms:
        condition = b.value(arm.condition, BOOL, "a condition")
        yes, no = b.facts(arm.condition)
        with b.knowing(yes):
            block, leaves = b.branch(arm.block, before, after)
        arms.append([condition, block])
        all_leave = all_leave and leaves
        # The next arm, and what follows if this one leaves, know that the condition failed.
        b.known |= no
    otherwise: Node | None = None
    whole = False
    if node.otherwise is not None:
        otherwise, leaves = b.branch(node.otherwise, before, after)
        whole = all_leave and leaves
    if not all_leave:
        b.known = outer
    b.steps = after
    return ["if", arms, otherwise], whole


def match(b: Body, node: ast.Match) -> Checked:
    """Return the IR of a `match`; every value must have a case, and every case a value."""
    kind, subject = b.expr(node.subject)
    slot = b.scope.hidden(kind)
    before, after = b.steps, dict(b.steps)
    rows: list[Row] = []
    leaves = True
    cases: Node = []
    cover = Coverage(b.definitions.known)
    told = kind == UNKNOWN
    for case in node.cases:
        before_it = len(b.diagnostics)
        tested = pattern(b, case.pattern, kind)
        told = told or len(b.diagnostics) > before_it
        told = told or not _reached(b, cover, case, tested, rows, kind)
        b.scope.open()
        _bind(b, None if told else cover, tested, rows, kind)
        guard = None
        if case.guard is not None:
            guard = b.value(case.guard, BOOL, "a guard")
        else:
            rows.append((tested.space,))
        facts = frozenset() if case.guard is None else b.facts(case.guard)[0]
        with b.knowing(facts):
            block, left = b.branch(case.block, before, after)
        b.close_block()
        cases.append([tested.ir, guard, block])
        leaves = leaves and left
    b.steps = after
    whole = told or _whole(b, cover, node, rows, kind)
    return ["match", subject, slot, cases], leaves and whole


def _bind(b: Body, cover: Coverage | None, tested: Tested, rows: list[Row], kind: Type) -> None:
    for name, bound, ir in tested.bound:
        if ir is tested.ir and bound != required(kind) and not _none_left(cover, rows, kind):
            bound = required(kind)
        ir[1] = b.declare(name, bound, "loop").slot


def _none_left(cover: Coverage | None, rows: list[Row], kind: Type) -> bool:
    """Tell whether `none` may have no case yet."""
    try:
        return cover is None or cover.useful(rows, (Con("none"),), [kind])
    except TooComplex:
        return True


def _reached(
    b: Body, cover: Coverage, case: ast.Case, tested: Tested, rows: list[Row], kind: Type
) -> bool:
    """Report a case that no value reaches; tell whether the patterns could be worked out."""
    try:
        if not cover.useful(rows, (tested.space,), [kind]):
            message, label = "this case is never reached", "all of its values are taken before"
            b.error("RWF0231", message, case.pattern.span, label)
    except TooComplex:
        b.error("RWF0403", "these patterns are too many to be worked out", case.span)
        return False
    return True


def _whole(b: Body, cover: Coverage, node: ast.Match, rows: list[Row], kind: Type) -> bool:
    """Tell whether every value has a case; report one that has none."""
    try:
        missing = cover.missing(rows, [kind])
    except TooComplex:
        b.error("RWF0403", "these patterns are too many to be worked out", node.span)
        return True
    if missing is None:
        return True
    keyword = Span(node.span.start, node.span.start + 5)
    example = missing[0]
    b.diagnostics.error(
        "RWF0230",
        f"not every {show(kind)} has a case" if example != "_" else "not every value has a case",
        keyword,
        f"add `case {example} {{ ... }}`",
        help=() if example == "_" else ("or `case _ { ... }` for all that are left",),
    )
    return False


# ------------------------------------------------------------------ failures
def guarded(b: Body, node: ast.Try) -> Checked:
    """Return the IR of a `try`."""
    if not node.catches and node.final is None:
        b.error("RWF0001", "`try` needs a `catch` or a `finally`", node.span)
    body, leaves = b.block(node.block)
    catches: Node = []
    for one in node.catches:
        block, left = catch(b, one, node)
        catches.append(block)
        leaves = leaves and left
    final: Node | None = None
    if node.final is not None:
        loops, before = b.loops, b.final
        b.loops, b.final = 0, True
        final, left = b.block(node.final)
        b.loops, b.final = loops, before
        leaves = leaves or left
    return ["try", body, catches, final], leaves


def catch(b: Body, node: ast.Catch, whole: ast.Try) -> tuple[Node, bool]:
    """Return the IR of one `catch`."""
    names = b.definitions.error_names(node.names)
    earlier = [c for c in whole.catches if c.span.start < node.span.start]
    for name in node.names:
        if any(not c.names or name.text in {n.text for n in c.names} for c in earlier):
            b.error("RWF0231", f"`{name.text}` is caught before", name.span, "never reached")
    b.scope.open()
    slot = None
    if node.variable is not None:
        kind = ErrorType(names[0] if len(node.names) == 1 and names else None)
        slot = b.declare(node.variable, kind, "catch").slot
    block, leaves = b.block(node.block)
    b.close_block()
    if "Cancelled" in names and not leaves:
        b.diagnostics.error(
            "RWF0331",
            "a cancelled run must end",
            Span(node.span.start, node.span.start + 5),
            "`Cancelled` is caught and forgotten",
            help=("end the block with `fail e` or `return ...`",),
        )
    return [names, slot, block], leaves
