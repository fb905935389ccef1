"""The ways that a run can go at each statement of a workflow: what branch coverage counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from raftoral.lang import ast

if TYPE_CHECKING:
    from collections.abc import Iterator

_DECLARATIONS: Final = (ast.SignalDef, ast.QueryDef, ast.UpdateDef)


def statements(block: ast.Block) -> list[ast.Stmt]:
    """Return the statements of a body in the order of the text, as the side table numbers them."""
    found: list[ast.Stmt] = []
    todo: list[Any] = [block]
    while todo:
        one = todo.pop()
        if isinstance(one, tuple):
            todo.extend(one)
            continue
        if isinstance(one, ast.Block):
            found += [each for each in one.statements if not isinstance(each, _DECLARATIONS)]
        todo.extend(getattr(one, name) for name in getattr(type(one), "__match_args__", ()))
    return sorted(found, key=lambda each: each.span.start)


def ways(node: ast.Stmt) -> Iterator[tuple[str, int]]:
    """Yield the ways from a statement: the word of each, and where it begins in the text.

    What is not written, such as the way past an `if` without `else`, begins with the statement.
    """
    start = node.span.start
    match node:
        case ast.If(_, arms, otherwise):
            for arm in arms:
                yield "if", arm.condition.span.start
            yield "else", start if otherwise is None else otherwise.span.start
        case ast.Match(_, _, cases):
            for case in cases:
                yield "case", case.span.start
        case ast.For() | ast.While():
            yield "a turn", node.block.span.start
            yield "no turn", start
        case ast.Try(_, _, [_, *_] as catches):
            yield "no failure", start
            for catch in catches:
                yield "catch", catch.span.start
        case ast.Parallel(branches=branches):
            for branch in branches:
                yield "branch", branch.span.start
        case ast.Race(_, _, arms_):
            for arm_ in arms_:
                yield _ARMS[type(arm_)], arm_.span.start
        case ast.Await(otherwise=ast.Block(span)):
            yield "in time", start
            yield "else", span.start
        case ast.Require(_, _, otherwise_):
            yield "as required", start
            yield "else", otherwise_.span.start
        case _:
            pass


_ARMS: Final = {ast.OnArm: "on", ast.AfterArm: "after", ast.Branch: "branch"}
