"""Functions: pure, without recursion, of a bounded depth; what they call, and their IR."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from raftoral.lang.check.body import Body
from raftoral.lang.check.nodes import numbered
from raftoral.lang.definitions import cycles
from raftoral.lang.node import node
from raftoral.lang.scope import Scope
from raftoral.lang.types import UNKNOWN, Type

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raftoral.lang.check.nodes import Node
    from raftoral.lang.definitions import Definitions, Function
    from raftoral.lang.diagnostics import Diagnostics

STACK_MAX: Final = 250
"""Levels of expressions and blocks along a chain of calls, so that no run needs a deep stack."""


@node
class Compiled:
    """The IR of a function, the functions that it calls, and how deep it goes."""

    function: Function
    parameters: int
    slots: int
    body: Node
    calls: list[tuple[Node, Function]]
    decoded: list[Type]
    height: int


Functions: TypeAlias = "dict[tuple[str, str], Compiled]"
"""All functions of a program, by `Function.key`."""


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
    return Compiled(
        function,
        len(function.params),
        len(scope.everything),
        node,
        body.calls,
        body.decoded,
        height,
    )


def check_calls(functions: Functions, path: str, diagnostics: Diagnostics) -> None:
    """Report functions of the file ``path`` that reach themselves or whose calls go too deep.

    Other files are there already, without mistakes.
    """
    uses = {key: {called.key for _, called in one.calls} for key, one in functions.items()}
    for cycle in cycles(uses):
        at = functions[cycle[0]].function.name.span
        way = " -> ".join(name for _, name in (*cycle, cycle[0]))
        help_ = ("use a loop: `for x in xs` or `while c max n`",)
        message = f"functions may not call themselves: {way}"
        diagnostics.error("RWF0302", message, at, help=help_)
    if diagnostics.has_errors:
        return
    heights: dict[tuple[str, str], int] = {}
    for key in order_of(functions, functions):
        inner = max((heights[called.key] for _, called in functions[key].calls), default=0)
        heights[key] = functions[key].height + inner
        if heights[key] > STACK_MAX and key[0] == path:
            at = functions[key].function.name.span
            message = f"functions call each other deeper than {STACK_MAX} levels in all"
            diagnostics.error("RWF0403", message, at)
            return


def closed(
    calls: Iterable[tuple[Node, Function]], functions: Functions
) -> tuple[dict[tuple[str, str], int], Node]:
    """Return the numbers of the functions that are reached from ``calls``, and their IR."""
    order = order_of([function.key for _, function in calls], functions)
    numbers = {key: number for number, key in enumerate(order)}
    made = [functions[key] for key in order]
    return numbers, [[one.parameters, one.slots, numbered(one.body, numbers)] for one in made]


def order_of(wanted: Iterable[tuple[str, str]], functions: Functions) -> list[tuple[str, str]]:
    """Return the functions that are reached from ``wanted``, each behind those that it calls."""
    done: dict[tuple[str, str], None] = {}
    todo = [(key, False) for key in reversed(list(wanted))]
    while todo:
        key, ready = todo.pop()
        if key in done:
            continue
        if ready:
            done[key] = None
            continue
        todo.append((key, True))
        todo.extend((called.key, False) for _, called in reversed(functions[key].calls))
    return list(done)
