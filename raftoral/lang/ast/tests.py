"""Test blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from raftoral.lang.node import node

if TYPE_CHECKING:
    from raftoral.lang.ast.base import Ident
    from raftoral.lang.ast.expressions import Arg, Expr
    from raftoral.lang.source import Span


@node
class Given:
    """``given (args)``: the input of the run."""

    span: Span
    args: tuple[Arg, ...]


@node
class Answer:
    """``returns e`` or, with ``fails``, ``fails e``."""

    span: Span
    fails: bool
    value: Expr


@node
class Mock:
    """``mock name returns e times n``: what an activity or a child answers."""

    span: Span
    name: Ident
    answer: Answer
    times: int | None


@node
class MockTakes:
    """``mock name takes e``: how long each attempt lasts."""

    span: Span
    name: Ident
    value: Expr


@node
class SendSignal:
    """``signal name(args)``, or ``update name(args)``."""

    span: Span
    update: bool
    name: Ident
    args: tuple[Arg, ...]


@node
class CompleteCallback:
    """``callback name returns e``."""

    span: Span
    name: Ident
    answer: Answer


@node
class Happen:
    """``crash`` (the owner is lost) or ``cancel``."""

    span: Span
    what: str


@node
class At:
    """``at e event``: what happens so long after the start."""

    span: Span
    when: Expr
    event: SendSignal | CompleteCallback | Happen


@node
class Expect:
    """``expect e``: what holds in the end."""

    span: Span
    value: Expr


@node
class ExpectFailure:
    """``expect failure Name``."""

    span: Span
    name: Ident


TestStep: TypeAlias = "Given | Mock | MockTakes | At | Expect | ExpectFailure"


@node
class TestDef:
    """``test "title" for workflow version n { steps }``."""

    span: Span
    title: str
    workflow: Ident
    version: int | None
    steps: tuple[TestStep, ...]
