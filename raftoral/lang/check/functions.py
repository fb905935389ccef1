"""Functions: pure, without recursion, of a bounded depth; what they call, and their IR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from raftoral.lang.check.body import Body
from raftoral.lang.resolve import Definitions, Scope, cycles
from raftoral.lang.types import (
    UNKNOWN,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raftoral.lang.check.nodes import Node
    from raftoral.lang.diagnostics import Diagnostics
    from raftoral.lang.resolve import Function

STACK_MAX: Final = 250
"""Levels of expressions and blocks along a chain of calls, so that no run needs a deep stack."""


# ------------------------------------------------------------------ functions
@dataclass(frozen=True, slots=True)
class Compiled:
    """The IR of a function, the functions that it calls, and how deep it goes."""

    function: Function
    parameters: int
    slots: int
    body: Node
    calls: list[tuple[Node, str]]
    height: int


def check_function(
    function: Function, definitions: Definitions, diagnostics: Diagnostics
) -> Compiled:
    """Check one function and return its IR."""
    name = function.name
    scope = Scope(diagnostics, f"fn {name.text}")
    body = Body(definitions, diagnostics, scope, pure=f"fn {name.text}")
    body.pure_at = name.span
    body.output = function.result
    if function.definition.result is None:
        diagnostics.error(
            "RWF0233",
            f"`fn {name.text}` gives no value, so it does nothing",
            name.span,
            "write `-> type` behind the parameters",
        )
        body.output = UNKNOWN
    for param in function.params.values():
        scope.declare(param.name, param.type, "input").used = True
    node, leaves = body.block(function.definition.block, new=False)
    if not leaves:
        body.missing_return(function.definition.block)
    body.finish()
    height = body.depth_seen + 2 * body.block_depth_seen + 2
    return Compiled(function, len(function.params), len(scope.everything), node, body.calls, height)


def check_calls(functions: dict[str, Compiled], diagnostics: Diagnostics) -> None:
    """Report functions that reach themselves, and chains of calls that are too deep."""
    uses = {name: {called for _, called in one.calls} for name, one in functions.items()}
    for cycle in cycles(uses):
        at = functions[cycle[0]].function.name.span
        message = f"functions may not call themselves: {' -> '.join((*cycle, cycle[0]))}"
        diagnostics.error(
            "RWF0302", message, at, help=("use a loop: `for x in xs` or `while c max n`",)
        )
    if diagnostics.has_errors:
        return
    heights: dict[str, int] = {}
    for name in order_of(list(functions), functions):
        inner = max((heights[called] for _, called in functions[name].calls), default=0)
        heights[name] = functions[name].height + inner
        if heights[name] > STACK_MAX:
            at = functions[name].function.name.span
            message = f"functions call each other deeper than {STACK_MAX} levels in all"
            diagnostics.error("RWF0403", message, at)
            return


def order_of(wanted: Iterable[str], functions: dict[str, Compiled]) -> list[str]:
    """Return the functions that are reached from ``wanted``, each behind those that it calls."""
    done: dict[str, None] = {}
    todo = [(name, False) for name in reversed(list(wanted))]
    while todo:
        name, ready = todo.pop()
        if name in done:
            continue
        if ready:
            done[name] = None
            continue
        todo.append((name, True))
        todo.extend((called, False) for _, called in reversed(functions[name].calls))
    return list(done)
