"""The syntax tree: what was written, each piece with its span, nothing resolved or checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from raftoral.lang.source import Span
    from raftoral.values import Value


@dataclass(frozen=True, slots=True)
class Ident:
    """A name where it is written; dotted names of activities and workflows are one ident."""

    span: Span
    text: str


# ------------------------------------------------------------------ types
@dataclass(frozen=True, slots=True)
class TypeRef:
    """``list<T>``, ``money<EUR>``, ``Order?``: a name, what stands between < and >, and the ?."""

    span: Span
    name: str
    arguments: tuple[TypeRef, ...]
    optional: bool


# ------------------------------------------------------------------ expressions
@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a text without holes, true, false, none, a span of time, an amount."""

    span: Span
    value: Value


@dataclass(frozen=True, slots=True)
class Text:
    """A text with holes: ``"order {order.id}"``."""

    span: Span
    parts: tuple[str | Expr, ...]


@dataclass(frozen=True, slots=True)
class Name:
    """A value by its name."""

    span: Span
    name: str


@dataclass(frozen=True, slots=True)
class TypeName:
    """A constant, or the name of a record or error in front of its arguments."""

    span: Span
    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """``base.name``, or ``base?.name`` which is none where the base is."""

    span: Span
    base: Expr
    name: Ident
    optional: bool


@dataclass(frozen=True, slots=True)
class Subscript:
    """``base[at]``."""

    span: Span
    base: Expr
    at: Expr


@dataclass(frozen=True, slots=True)
class Arg:
    """One argument, by position (``name`` is None) or by name."""

    span: Span
    name: Ident | None
    value: Expr


@dataclass(frozen=True, slots=True)
class Call:
    """``callee(args)``: a function, a built-in, or a record or error that is made."""

    span: Span
    callee: Expr
    args: tuple[Arg, ...]


@dataclass(frozen=True, slots=True)
class Unary:
    """``not e`` or ``-e``."""

    span: Span
    operator: str
    operand: Expr


@dataclass(frozen=True, slots=True)
class Binary:
    """``left operator right``, all operators between two values."""

    span: Span
    operator: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class IsNone:
    """``e is none`` or ``e is not none``."""

    span: Span
    operand: Expr
    negated: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """``if c then a else b``."""

    span: Span
    condition: Expr
    then: Expr
    otherwise: Expr


@dataclass(frozen=True, slots=True)
class ListOf:
    """``[a, b]``."""

    span: Span
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """``key: value`` in a map or an update."""

    span: Span
    key: Ident
    value: Expr


@dataclass(frozen=True, slots=True)
class MapOf:
    """``{a: 1, "b c": 2}``."""

    span: Span
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Update:
    """``{...base, field: value}``."""

    span: Span
    base: Expr
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Comprehension:
    """``[item for variable in source if condition]``, or the same as an only argument."""

    span: Span
    item: Expr
    variable: Ident
    source: Expr
    condition: Expr | None


Expr: TypeAlias = (
    "Literal | Text | Name | TypeName | Member | Subscript | Call | Unary | Binary | IsNone"
    " | Choice | ListOf | MapOf | Update | Comprehension"
)


# ------------------------------------------------------------------ statements
@dataclass(frozen=True, slots=True)
class Block:
    """``{ ... }``."""

    span: Span
    statements: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Let:
    """``let x = e`` or, with ``variable``, ``var x = e``."""

    span: Span
    name: Ident
    type: TypeRef | None
    value: Expr
    variable: bool


@dataclass(frozen=True, slots=True)
class Assign:
    """``x = e``."""

    span: Span
    name: Ident
    value: Expr


@dataclass(frozen=True, slots=True)
class Require:
    """``require c else Err(...)``."""

    span: Span
    condition: Expr
    otherwise: Expr


@dataclass(frozen=True, slots=True)
class Return:
    """``return e``."""

    span: Span
    value: Expr


@dataclass(frozen=True, slots=True)
class Fail:
    """``fail e``."""

    span: Span
    error: Expr


@dataclass(frozen=True, slots=True)
class Break:
    """``break``."""

    span: Span


@dataclass(frozen=True, slots=True)
class Continue:
    """``continue``."""

    span: Span


@dataclass(frozen=True, slots=True)
class CheckpointStmt:
    """``checkpoint x = e``."""

    span: Span
    name: Ident
    type: TypeRef | None
    value: Expr


@dataclass(frozen=True, slots=True)
class Backoff:
    """``backoff first..longest factor f``; the factor in percent."""

    span: Span
    first: Expr
    longest: Expr
    factor_percent: int


@dataclass(frozen=True, slots=True)
class Retry:
    """``retry 5 ...``; attempts in all, 1 for ``retry never``."""

    span: Span
    attempts: int
    backoff: Backoff | None
    jitter_percent: int
    only: tuple[Ident, ...]


@dataclass(frozen=True, slots=True)
class Timeout:
    """``timeout e``."""

    span: Span
    value: Expr


@dataclass(frozen=True, slots=True)
class ComputeStmt:
    """``compute x = activity(args) retry ... timeout ...``."""

    span: Span
    name: Ident | None
    type: TypeRef | None
    activity: Ident
    args: tuple[Arg, ...]
    clauses: tuple[Retry | Timeout, ...]


@dataclass(frozen=True, slots=True)
class Sleep:
    """``sleep e`` or ``sleep until e``."""

    span: Span
    value: Expr
    until: bool


@dataclass(frozen=True, slots=True)
class Await:
    """``await signal as v timeout e else { ... }``."""

    span: Span
    signal: Ident
    name: Ident | None
    timeout: Expr | None
    otherwise: Block | None


@dataclass(frozen=True, slots=True)
class Log:
    """``log e``."""

    span: Span
    value: Expr


@dataclass(frozen=True, slots=True)
class Arm:
    """A condition and its block."""

    condition: Expr
    block: Block


@dataclass(frozen=True, slots=True)
class If:
    """``if c { } else if d { } else { }``."""

    span: Span
    arms: tuple[Arm, ...]
    otherwise: Block | None


@dataclass(frozen=True, slots=True)
class Case:
    """``case pattern if guard { }``: literals, a name that is bound, or ``_`` (a bare name)."""

    span: Span
    pattern: tuple[Literal, ...] | Ident
    guard: Expr | None
    block: Block


@dataclass(frozen=True, slots=True)
class Match:
    """``match e { case ... }``."""

    span: Span
    subject: Expr
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class While:
    """``while c max n { }``; without ``max`` the checker explains."""

    span: Span
    condition: Expr
    limit: Expr | None
    block: Block


@dataclass(frozen=True, slots=True)
class For:
    """``for x in e { }``."""

    span: Span
    variable: Ident
    source: Expr
    block: Block


@dataclass(frozen=True, slots=True)
class Catch:
    """``catch A, B as e { }``; no names catch every error but Cancelled."""

    span: Span
    names: tuple[Ident, ...]
    variable: Ident | None
    block: Block


@dataclass(frozen=True, slots=True)
class Try:
    """``try { } catch ... { } finally { }``."""

    span: Span
    block: Block
    catches: tuple[Catch, ...]
    final: Block | None


@dataclass(frozen=True, slots=True)
class Param:
    """``name: type = default``; a field of a record or error has the same form."""

    span: Span
    name: Ident
    type: TypeRef
    default: Expr | None


@dataclass(frozen=True, slots=True)
class SignalDef:
    """``signal name(params)``."""

    span: Span
    name: Ident
    params: tuple[Param, ...]


Stmt: TypeAlias = (
    "Let | Assign | Require | Return | Fail | Break | Continue | CheckpointStmt | ComputeStmt"
    " | Sleep | Await | Log | If | Match | While | For | Try | SignalDef"
)


# ------------------------------------------------------------------ definitions
@dataclass(frozen=True, slots=True)
class ConstDef:
    """``const NAME = e``."""

    span: Span
    name: Ident
    type: TypeRef | None
    value: Expr


@dataclass(frozen=True, slots=True)
class RecordDef:
    """``record Name { fields }``."""

    span: Span
    name: Ident
    fields: tuple[Param, ...]


@dataclass(frozen=True, slots=True)
class ErrorDef:
    """``error Name { fields }``."""

    span: Span
    name: Ident
    fields: tuple[Param, ...]


@dataclass(frozen=True, slots=True)
class ActivityDef:
    """``activity name(params) -> type raises ... timeout ... idempotent``."""

    span: Span
    name: Ident
    params: tuple[Param, ...]
    result: TypeRef | None
    raises: tuple[Ident, ...]
    timeout: Expr | None
    idempotent: bool


@dataclass(frozen=True, slots=True)
class FnDef:
    """``fn name(params) -> type { }``."""

    span: Span
    name: Ident
    params: tuple[Param, ...]
    result: TypeRef | None
    block: Block


@dataclass(frozen=True, slots=True)
class WorkflowDef:
    """``workflow name version n (params) -> type raises ... { }``."""

    span: Span
    name: Ident
    version: int | None
    params: tuple[Param, ...]
    result: TypeRef | None
    raises: tuple[Ident, ...]
    block: Block


Item: TypeAlias = "ConstDef | RecordDef | ErrorDef | ActivityDef | FnDef | WorkflowDef"


@dataclass(frozen=True, slots=True)
class File:
    """Everything that a source defines, in its order."""

    items: tuple[Item, ...]
