"""What a file defines."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from raftoral.lang.node import node

if TYPE_CHECKING:
    from raftoral.lang.ast.base import Ident, Param, TypeRef
    from raftoral.lang.ast.effects import Retry
    from raftoral.lang.ast.expressions import Expr
    from raftoral.lang.ast.statements import Block
    from raftoral.lang.ast.tests import TestDef
    from raftoral.lang.source import Span


@node
class Import:
    """``import "file.rwf" as name``."""

    span: Span
    path: str
    path_span: Span
    name: Ident


@node
class ConstDef:
    """``const NAME = e``."""

    span: Span
    name: Ident
    type: TypeRef | None
    value: Expr


@node
class RecordDef:
    """``record Name { fields }``."""

    span: Span
    name: Ident
    fields: tuple[Param, ...]


@node
class Variant:
    """One case of an enum."""

    span: Span
    name: Ident
    fields: tuple[Param, ...]


@node
class EnumDef:
    """``enum Name { A B(x: type) }``."""

    span: Span
    name: Ident
    cases: tuple[Variant, ...]


@node
class PolicyDef:
    """``policy name = 5 backoff ...``."""

    span: Span
    name: Ident
    retry: Retry


@node
class ErrorDef:
    """``error Name { fields }``."""

    span: Span
    name: Ident
    fields: tuple[Param, ...]


@node
class ActivityDef:
    """``activity name(params) -> type raises ... timeout ... idempotent``."""

    span: Span
    name: Ident
    params: tuple[Param, ...]
    result: TypeRef | None
    raises: tuple[Ident, ...]
    timeout: Expr | None
    idempotent: bool


@node
class FnDef:
    """``fn name(params) -> type { }``."""

    span: Span
    name: Ident
    params: tuple[Param, ...]
    result: TypeRef | None
    block: Block


@node
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


@node
class File:
    """Everything that a source defines, in its order."""

    items: tuple[Item, ...]
