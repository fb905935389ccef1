"""Test blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from raftoral.lang.ast.base import Ident
    from raftoral.lang.ast.expressions import Arg, Expr
    from raftoral.lang.source import Span


@dataclass(frozen=True, slots=True)
class Given:
    """``given (args)``: the input of the run."""

    span: Span
    args: tuple[Arg, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """``returns e`` or, with ``fails``, ``fails e``."""

    span: Span
    fails: bool
    value: Expr


@dataclass(frozen=True, slots=True)
class Mock:
    """``mock name returns e times n``: what an activity or a child answers."""

    span: Span
    name: Ident
    answer: Answer
    times: int | None


@dataclass(frozen=True, slots=True)
class MockTakes:
    """``mock name takes e``: how long each attempt lasts."""

    span: Span
    name: Ident
    value: Expr


@dataclass(frozen=True, slots=True)
class SendSignal:
    """``signal name(args)``, or ``update name(args)``."""

    span: Span
    update: bool
    name: Ident
    args: tuple[Arg, ...]


@dataclass(frozen=True, slots=True)
class CompleteCallback:
    """``callback name returns e``."""

    span: Span
    name: Ident
    answer: Answer


@dataclass(frozen=True, slots=True)
class Happen:
    """``crash`` (the owner is lost) or ``cancel``."""

    span: Span
    what: str


@dataclass(frozen=True, slots=True)
class At:
    """``at e event``: what happens so long after the start."""

    span: Span
    when: Expr
    event: SendSignal | CompleteCallback | Happen


@dataclass(frozen=True, slots=True)
class Expect:
    """``expect e``: what holds in the end."""

    span: Span
    value: Expr


@dataclass(frozen=True, slots=True)
class ExpectFailure:
    """``expect failure Name``."""

    span: Span
    name: Ident


TestStep: TypeAlias = "Given | Mock | MockTakes | At | Expect | ExpectFailure"


@dataclass(frozen=True, slots=True)
class TestDef:
    """``test "title" for workflow version n { steps }``."""

    span: Span
    title: str
    workflow: Ident
    version: int | None
    steps: tuple[TestStep, ...]
