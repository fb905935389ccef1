"""Statements that are one effect, and what a workflow declares in its body."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from raftoral.lang.node import node

if TYPE_CHECKING:
    from raftoral.lang.ast.base import Ident, Param, TypeRef
    from raftoral.lang.ast.expressions import Arg, Expr
    from raftoral.lang.ast.statements import Block
    from raftoral.lang.source import Span


@node
class CheckpointStmt:
    """``checkpoint x = e``."""

    span: Span
    name: Ident
    type: TypeRef | None
    value: Expr


@node
class Backoff:
    """``backoff first..longest factor f``; the factor in percent."""

    span: Span
    first: Expr
    longest: Expr
    factor_percent: int


@node
class Retry:
    """``retry 5 ...``; attempts in all, 1 for ``retry never``. Also the body of a policy."""

    span: Span
    attempts: int
    backoff: Backoff | None
    jitter_percent: int
    only: tuple[Ident, ...]


@node
class RetryPolicy:
    """``retry gentle``."""

    span: Span
    name: Ident


@node
class Timeout:
    """``timeout e``: of one attempt."""

    span: Span
    value: Expr


@node
class Deadline:
    """``deadline e``: of all attempts."""

    span: Span
    value: Expr


@node
class Heartbeat:
    """``heartbeat e``: the longest silence."""

    span: Span
    value: Expr


@node
class Key:
    """``key e``: the idempotency key that the activity is handed."""

    span: Span
    value: Expr


@node
class AtMostOnce:
    """``at_most_once``."""

    span: Span


Clause: TypeAlias = "Retry | RetryPolicy | Timeout | Deadline | Heartbeat | Key | AtMostOnce"


@node
class Compensate:
    """``compensate activity(args) retry ...``: what takes a step back."""

    span: Span
    activity: Ident
    args: tuple[Arg, ...]
    clauses: tuple[Clause, ...]


@node
class ComputeStmt:
    """``compute x = activity(args) retry ... timeout ... compensate ...``."""

    span: Span
    name: Ident | None
    type: TypeRef | None
    activity: Ident
    args: tuple[Arg, ...]
    clauses: tuple[Clause, ...]
    compensate: Compensate | None


@node
class ChildStmt:
    """``call x = workflow version n (args)``, or ``start x = ...`` which does not wait."""

    span: Span
    detached: bool
    name: Ident | None
    type: TypeRef | None
    workflow: Ident
    version: int | None
    args: tuple[Arg, ...]
    close: Ident | None


@node
class CallbackStmt:
    """``callback name: type timeout e heartbeat e``: opens it; ``await name`` waits for it."""

    span: Span
    name: Ident
    type: TypeRef
    clauses: tuple[Clause, ...]


@node
class Sleep:
    """``sleep e`` or ``sleep until e``."""

    span: Span
    value: Expr
    until: bool


@node
class Await:
    """``await source as v answer e timeout e else { ... }``.

    ``source`` is a signal, an update (which is answered) or a callback.
    """

    span: Span
    source: Ident
    name: Ident | None
    answer: Expr | None
    timeout: Expr | None
    otherwise: Block | None


@node
class Log:
    """``log e``."""

    span: Span
    value: Expr


@node
class Restart:
    """``restart with (args)``."""

    span: Span
    args: tuple[Arg, ...]


@node
class Undo:
    """``undo``."""

    span: Span


@node
class SignalDef:
    """``signal name(params)``."""

    span: Span
    name: Ident
    params: tuple[Param, ...]


@node
class QueryDef:
    """``query name -> type = e``."""

    span: Span
    name: Ident
    type: TypeRef
    value: Expr


@node
class UpdateDef:
    """``update name(params) -> type``: a request that is answered."""

    span: Span
    name: Ident
    params: tuple[Param, ...]
    result: TypeRef | None
