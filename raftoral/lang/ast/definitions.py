"""What a file defines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from raftoral.lang.ast.base import Ident, Param, TypeRef
    from raftoral.lang.ast.effects import Retry
    from raftoral.lang.ast.expressions import Expr
    from raftoral.lang.ast.statements import Block
    from raftoral.lang.ast.tests import TestDef
    from raftoral.lang.source import Span


@dataclass(frozen=True, slots=True)
class Import:
    """``import "file.rwf" as name``."""

    span: Span
    path: str
    path_span: Span
    name: Ident


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
class Variant:
    """One case of an enum."""

    span: Span
    name: Ident
    fields: tuple[Param, ...]


@dataclass(frozen=True, slots=True)
class EnumDef:
    """``enum Name { A B(x: type) }``."""

    span: Span
    name: Ident
    cases: tuple[Variant, ...]


@dataclass(frozen=True, slots=True)
class PolicyDef:
    """``policy name = 5 backoff ...``."""

    span: Span
    name: Ident
    retry: Retry


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
    """``workflow name version n (params) -> type raises ... search ... { }``.

    The span is that of the head. Without a block it is the contract of one deployed elsewhere.
    """

    span: Span
    name: Ident
    version: int | None
    params: tuple[Param, ...]
    result: TypeRef | None
    raises: tuple[Ident, ...]
    search: tuple[Ident, ...]
    block: Block | None


Item: TypeAlias = (
    "Import | ConstDef | RecordDef | EnumDef | ErrorDef | PolicyDef | ActivityDef | FnDef"
    " | WorkflowDef | TestDef"
)


@dataclass(frozen=True, slots=True)
class File:
    """Everything that a source defines, in its order."""

    items: tuple[Item, ...]
