"""Blocks and the statements that hold them, or have no effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from raftoral.lang.node import node

if TYPE_CHECKING:
    from raftoral.lang.ast.base import Ident, TypeRef
    from raftoral.lang.ast.effects import (
        Await,
        CallbackStmt,
        CheckpointStmt,
        ChildStmt,
        ComputeStmt,
        Log,
        QueryDef,
        Restart,
        SignalDef,
        Sleep,
        Undo,
        UpdateDef,
    )
    from raftoral.lang.ast.expressions import Expr, Pattern
    from raftoral.lang.source import Span


@node
class Block:
    """``{ ... }``."""

    span: Span
    statements: tuple[Stmt, ...]


@node
class Let:
    """``let x = e`` or, with ``variable``, ``var x = e``."""

    span: Span
    name: Ident
    type: TypeRef | None
    value: Expr
    variable: bool


@node
class Assign:
    """``x = e``."""

    span: Span
    name: Ident
    value: Expr


@node
class Require:
    """``require c else Err(...)``."""

    span: Span
    condition: Expr
    otherwise: Expr


@node
class Return:
    """``return e``."""

    span: Span
    value: Expr


@node
class Fail:
    """``fail e``."""

    span: Span
    error: Expr


@node
class Give:
    """``give e``."""

    span: Span
    value: Expr


@node
class Break:
    """``break``."""

    span: Span


@node
class Continue:
    """``continue``."""

    span: Span


@node
class Arm:
    """A condition and its block."""

    condition: Expr
    block: Block


@node
class If:
    """``if c { } else if d { } else { }``."""

    span: Span
    arms: tuple[Arm, ...]
    otherwise: Block | None


@node
class Case:
    """``case pattern if guard { }``."""

    span: Span
    pattern: Pattern
    guard: Expr | None
    block: Block


@node
class Match:
    """``match e { case ... }``."""

    span: Span
    subject: Expr
    cases: tuple[Case, ...]


@node
class While:
    """``while c max n { }``; without ``max`` the checker explains."""

    span: Span
    condition: Expr
    limit: Expr | None
    block: Block


@node
class Share:
    """A part of all, in percent: ``tolerate 20%``."""

    span: Span
    percent: int


@node
class Fan:
    """``parallel limit n min n tolerate n outcomes collect xs`` behind the head of a ``for``."""

    span: Span
    limit: Expr | None
    least: Expr | None
    tolerate: Expr | Share | None
    outcomes: Span | None
    collect: Ident | None


@node
class For:
    """``for index, x in e by key { }``; with ``fan`` all turns run at once."""

    span: Span
    index: Ident | None
    variable: Ident
    source: Expr
    by: Expr | None
    fan: Fan | None
    block: Block


@node
class Catch:
    """``catch A, B as e { }``; no names catch every error but Cancelled."""

    span: Span
    names: tuple[Ident, ...]
    variable: Ident | None
    block: Block


@node
class Try:
    """``try { } catch ... { } finally { }``."""

    span: Span
    block: Block
    catches: tuple[Catch, ...]
    final: Block | None


@node
class Saga:
    """``saga { }``."""

    span: Span
    block: Block


@node
class Branch:
    """``branch name { }`` of a ``parallel`` or a ``race``."""

    span: Span
    name: Ident
    block: Block


@node
class Parallel:
    """``parallel limit n min n tolerate n outcomes as name { branch ... }``."""

    span: Span
    limit: Expr | None
    least: Expr | None
    tolerate: Expr | Share | None
    outcomes: Span | None
    name: Ident | None
    branches: tuple[Branch, ...]


@node
class OnArm:
    """``on source as v answer e { }`` of a ``race``; ``source`` as for `Await`."""

    span: Span
    source: Ident
    name: Ident | None
    answer: Expr | None
    block: Block


@node
class AfterArm:
    """``after e { }`` of a ``race``."""

    span: Span
    value: Expr
    block: Block


@node
class Race:
    """``race as name { branch ... on ... after ... }``."""

    span: Span
    name: Ident | None
    arms: tuple[Branch | OnArm | AfterArm, ...]


Stmt: TypeAlias = (
    "Let | Assign | Require | Return | Fail | Give | Break | Continue | CheckpointStmt"
    " | ComputeStmt | ChildStmt | CallbackStmt | Sleep | Await | Log | Restart | Undo | If | Match"
    " | While | For | Try | Saga | Parallel | Race | SignalDef | QueryDef | UpdateDef"
)
