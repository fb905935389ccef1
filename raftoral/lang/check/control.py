"""Statements that choose and repeat: if, match, while, for, try."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raftoral.lang import ast
from raftoral.lang.check import containers
from raftoral.lang.check.nodes import Checked, Node, const
from raftoral.lang.diagnostics import Label
from raftoral.lang.ir import encode_value
from raftoral.lang.source import Span
from raftoral.lang.types import (
    BOOL,
    INT,
    NOTHING,
    UNKNOWN,
    ErrorType,
    Type,
    common,
    may_be_none,
    required,
    show,
)

if TYPE_CHECKING:
    from raftoral.lang.check.body import Body


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
    if node.otherwise is not None:
        otherwise, leaves = b.branch(node.otherwise, before, after)
        whole = all_leave and leaves
    else:
        whole = False
    if not all_leave:
        b.known = outer
    b.steps = after
    return ["if", arms, otherwise], whole


def match(b: Body, node: ast.Match) -> Checked:
    """Return the IR of a `match`."""
    kind, subject = b.expr(node.subject)
    slot = b.scope.hidden(kind)
    before, after = b.steps, dict(b.steps)
    seen: list[Any] = []
    whole = False
    leaves = True
    cases: Node = []
    for case in node.cases:
        if whole:
            b.error("RWF0231", "this case is never reached", case.span, "all are taken")
        b.scope.blocks.append({})
        b.scope.ahead.append(frozenset())
        test, every = pattern(b, case, kind, seen)
        guard = None
        if case.guard is not None:
            guard = b.value(case.guard, BOOL, "a guard")
            every = False
        block, left = b.branch(case.block, before, after)
        b.close_block()
        cases.append([test, guard, block])
        leaves = leaves and left
        whole = whole or every or (kind == BOOL and {True, False} <= set(seen))
    b.steps = after
    if not whole and kind != UNKNOWN:
        missing = "`case _ { ... }`"
        if kind == BOOL:
            missing = "`case true` and `case false`"
        message = "not every value has a case"
        b.diagnostics.error(
            "RWF0230", message, Span(node.span.start, node.span.start + 5), f"add {missing}"
        )
    return ["match", subject, slot, cases], leaves and whole


def pattern(b: Body, case: ast.Case, kind: Type, seen: list[Any]) -> tuple[Node, bool]:
    """Return the IR of a pattern and whether it takes everything that is left."""
    options: tuple[ast.Pattern, ...] = (case.pattern,)
    if isinstance(case.pattern, ast.Alternatives):
        options = case.pattern.options
    elif isinstance(case.pattern, ast.BindPattern):
        if case.pattern.name.text == "_":
            return ["any"], True
        rest = required(kind) if None in seen else kind
        return ["bind", b.declare(case.pattern.name, rest, "loop").slot], True
    values = []
    for option in options:
        if not isinstance(option, ast.LiteralPattern):
            b.error("RWF0006", "this pattern is not part of this release", option.span)
            continue
        literal = option.literal
        one, _ = b.expr(literal)
        if common(kind, one) is None or (one == NOTHING and not may_be_none(kind)):
            message = f"{show(kind)} is never {show(one)}"
            b.error("RWF0210", message, literal.span)
        plain = encode_value(literal.value)
        if any(type(plain) is type(s) and plain == s for s in seen):
            b.error("RWF0231", "this value has a case already", literal.span, "again")
        elif case.guard is None:
            seen.append(literal.value if isinstance(literal.value, bool) else plain)
        values.append(plain)
    return ["is", values], False


def loop_body(b: Body, block: ast.Block, key: str) -> tuple[Node, int]:
    """Return the IR of a loop's body and the number of this loop among those of its name."""
    steps, turns, effects = b.steps, b.turns, b.effects
    b.steps, b.turns = {}, {}
    b.loops += 1
    body, _ = b.block(block)
    b.loops -= 1
    b.steps, b.turns = steps, turns
    number = 0
    if b.effects > effects:  # a pure loop leaves no trace in the history
        number = turns.get(key, 0)
        turns[key] = number + 1
    return body, number


def loop_while(b: Body, node: ast.While) -> Node:
    """Return the IR of a `while`."""
    condition = b.value(node.condition, BOOL, "a condition")
    limit = const(0)
    if node.limit is None:
        end = node.condition.span.end
        b.diagnostics.error(
            "RWF0401",
            "this loop has no bound",
            Span(node.span.start, node.span.start + 5),
            "`while` needs `max`",
            labels=(Label(Span(end, end + 1), "write it here: `max 100`"),),
            notes=("every loop is bounded, so every run has a largest possible history",),
        )
    else:
        limit = b.value(node.limit, INT, "a bound")
    with b.knowing(b.facts(node.condition)[0]):
        body, number = loop_body(b, node.block, "while")
    return ["while", condition, limit, number, body]


def loop_for(b: Body, node: ast.For) -> Node:
    """Return the IR of a `for`."""
    kind, source = containers.items_of(b, node.source)
    b.scope.blocks.append({})
    b.scope.ahead.append(frozenset())
    variable = b.declare(node.variable, kind, "loop")
    body, number = loop_body(b, node.block, node.variable.text)
    b.close_block()
    return ["for", variable.slot, node.variable.text, number, source, body]


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
    names = [name.text for name in node.names]
    for name in node.names:
        b.definitions.known_error(name)
    earlier = [c for c in whole.catches if c.span.start < node.span.start]
    for name in node.names:
        if any(not c.names or name.text in {n.text for n in c.names} for c in earlier):
            b.error("RWF0231", f"`{name.text}` is caught before", name.span, "never reached")
    b.scope.blocks.append({})
    b.scope.ahead.append(frozenset())
    slot = None
    if node.variable is not None:
        kind = ErrorType(names[0] if len(names) == 1 else None)
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
