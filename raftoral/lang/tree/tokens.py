"""Spans and names from tokens, and where to report what the grammar cannot say."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from lark import Token

from raftoral.lang.ast import Ident
from raftoral.lang.node import node
from raftoral.lang.source import Span

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.lang import ast
    from raftoral.lang.diagnostics import Diagnostics


@node
class Reading:
    """What the reductions need beside their tokens; ``hole`` parses a piece of the text."""

    text: str
    diagnostics: Diagnostics
    hole: Callable[[int, int], ast.Expr]


reading: Final[ContextVar[Reading]] = ContextVar("reading")
"""The source that is being parsed right now."""


def span(first: Any, last: Any) -> Span:
    """Return the span from one piece to another; a piece is a token or a node."""
    start: int = first.start_pos if type(first) is Token else first.span[0]  # type: ignore[assignment]
    end: int = last.end_pos if type(last) is Token else last.span[1]  # type: ignore[assignment]
    return Span(start, end)


def at(token: Token) -> Span:
    """Return the span of one token."""
    return Span(token.start_pos, token.end_pos)  # type: ignore[arg-type]


def ident(token: Token) -> Ident:
    """Return a token as a name."""
    return Ident(Span(token.start_pos, token.end_pos), token.value)  # type: ignore[arg-type]


def maybe(token: Token | None) -> Ident | None:
    """Return a token that may be missing as a name."""
    return None if token is None else ident(token)


def dotted(tokens: list[Token]) -> Ident:
    """Return names with dots between them as one."""
    if len(tokens) == 1:
        return ident(tokens[0])
    return Ident(span(tokens[0], tokens[-1]), ".".join(token.value for token in tokens))


def last(children: list[Any]) -> Any:
    """Return the last child that is there."""
    return next(child for child in reversed(children) if child is not None)


def report(code: str, message: str, where: Span, label: str = "") -> None:
    """Add an error to those of the source that is being parsed."""
    reading.get().diagnostics.error(code, message, where, label)
