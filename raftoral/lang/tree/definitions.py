"""Reductions of definitions, types and tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raftoral.lang import ast
from raftoral.lang.tree import literals
from raftoral.lang.tree.statements import Statements
from raftoral.lang.tree.tokens import at, dotted, ident, last, span

if TYPE_CHECKING:
    from lark import Token

    from raftoral.lang.ast import Ident


class Definitions(Statements):
    """One method a rule; ``c`` are its children."""

    def start(self, c: list[Any]) -> ast.File:
        return ast.File(tuple(c))

    # values and types
    def import_def(self, c: list[Any]) -> ast.Import:
        where = at(c[1])
        path = literals.plain(where, where.start + 1, where.end - 1)
        return ast.Import(span(c[0], c[3]), path, where, ident(c[3]))

    def const_def(self, c: list[Any]) -> ast.ConstDef:
        return ast.ConstDef(span(c[0], c[5]), ident(c[1]), c[3], c[5])

    def record_def(self, c: list[Any]) -> ast.RecordDef:
        return ast.RecordDef(span(c[0], c[-1]), ident(c[1]), tuple(c[3:-1]))

    def enum_def(self, c: list[Any]) -> ast.EnumDef:
        return ast.EnumDef(span(c[0], c[-1]), ident(c[1]), tuple(c[3:-1]))

    def variant(self, c: list[Any]) -> ast.Variant:
        if c[1] is None:
            return ast.Variant(at(c[0]), ident(c[0]), ())
        return ast.Variant(span(c[0], c[3]), ident(c[0]), c[2])

    def error_def(self, c: list[Any]) -> ast.ErrorDef:
        if c[2] is None:
            return ast.ErrorDef(span(c[0], c[1]), ident(c[1]), ())
        return ast.ErrorDef(span(c[0], c[-1]), ident(c[1]), tuple(c[3:-1]))

    def policy_def(self, c: list[Any]) -> ast.PolicyDef:
        return ast.PolicyDef(span(c[0], c[3]), ident(c[1]), c[3])

    def field(self, c: list[Any]) -> ast.Param:
        return ast.Param(span(c[0], c[1] if c[2] is None else c[2]), c[0], c[1], c[2])

    def fname(self, c: list[Any]) -> Ident:
        return ident(c[0])

    # activities and functions
    def activity_def(self, c: list[Any]) -> ast.ActivityDef:
        raises: list[Ident] = []
        timeout: ast.Expr | None = None
        idempotent = False
        for _, value in c[7:]:
            if isinstance(value, tuple):
                raises.extend(value)
            elif value is None:
                idempotent = True
            else:
                timeout = value
        end = c[-1][0] if len(c) > 7 else c[4] if c[6] is None else c[6]
        return ast.ActivityDef(
            span(c[0], end), c[1], c[3], c[6], tuple(raises), timeout, idempotent
        )

    def activity_option(self, c: list[Any]) -> tuple[Any, Any]:
        return c[0][-1], c[0]

    def idempotent(self, c: list[Any]) -> tuple[Any, Any]:
        return c[0], None

    def default_timeout(self, c: list[Any]) -> tuple[Any, Any]:
        return c[0], c[0]

    def raises(self, c: list[Any]) -> tuple[Ident, ...]:
        names: tuple[Ident, ...] = c[0]
        return names

    def names(self, c: list[Any]) -> tuple[Ident, ...]:
        return tuple(c)

    def tname(self, c: list[Token]) -> Ident:
        return dotted(c)

    def qname(self, c: list[Token]) -> Ident:
        return dotted(c)

    def fn_def(self, c: list[Any]) -> ast.FnDef:
        return ast.FnDef(span(c[0], c[-1]), ident(c[1]), c[3], c[6], c[7])

    def params(self, c: list[Any]) -> tuple[ast.Param, ...]:
        return tuple(c)

    def param(self, c: list[Any]) -> ast.Param:
        name = ident(c[0])
        return ast.Param(span(name, c[1] if c[2] is None else c[2]), name, c[1], c[2])

    # workflows
    def workflow_def(self, c: list[Any]) -> ast.WorkflowDef:
        version = None if c[3] is None else literals.whole(c[3])
        where = span(c[0], c[1] if c[3] is None else c[3])
        return ast.WorkflowDef(
            where, c[1], version, c[5], c[8], c[9] or (), c[10] or (), block=c[11]
        )

    def search(self, c: list[Any]) -> tuple[Ident, ...]:
        return tuple(map(ident, c))

    # types
    def type_ref(self, c: list[Any]) -> ast.TypeRef:
        inner: ast.TypeRef = c[0]
        if c[1] is None:
            return inner
        return ast.TypeRef(span(inner, c[1]), inner.name, inner.arguments, optional=True)

    def named_type(self, c: list[Any]) -> ast.TypeRef:
        name: Token = c[0]
        if len(c) == 1 or c[1] is None:
            return ast.TypeRef(at(name), name.value, (), optional=False)
        if c[1].value == ".":
            whole = dotted([name, c[2]])
            return ast.TypeRef(whole.span, whole.text, (), optional=False)
        inner = tuple(t for t in c[2:-1] if type(t) is ast.TypeRef)
        return ast.TypeRef(span(name, c[-1]), name.value, inner, optional=False)

    # tests
    def test_def(self, c: list[Any]) -> ast.TestDef:
        where = at(c[1])
        title = literals.plain(where, where.start + 1, where.end - 1)
        version = None if c[5] is None else literals.whole(c[5])
        return ast.TestDef(span(c[0], c[-1]), title, c[3], version, tuple(c[7:-1]))

    def given(self, c: list[Any]) -> ast.Given:
        return ast.Given(span(c[0], c[-1]), c[2])

    def mock(self, c: list[Any]) -> ast.Mock:
        times = None if c[4] is None else literals.whole(c[4])
        return ast.Mock(span(c[0], last(c)), c[1], c[2], times)

    def mock_takes(self, c: list[Any]) -> ast.MockTakes:
        return ast.MockTakes(span(c[0], c[3]), c[1], c[3])

    def outcome(self, c: list[Any]) -> ast.Answer:
        return ast.Answer(span(c[0], c[1]), c[0].value == "fails", c[1])

    def at_event(self, c: list[Any]) -> ast.At:
        return ast.At(span(c[0], c[2]), c[1], c[2])

    def signal_event(self, c: list[Any]) -> ast.SendSignal:
        return ast.SendSignal(span(c[0], c[-1]), False, ident(c[1]), c[3])

    def update_event(self, c: list[Any]) -> ast.SendSignal:
        return ast.SendSignal(span(c[0], c[-1]), True, ident(c[1]), c[3])

    def callback_event(self, c: list[Any]) -> ast.CompleteCallback:
        return ast.CompleteCallback(span(c[0], c[2]), ident(c[1]), c[2])

    def plain_event(self, c: list[Any]) -> ast.Happen:
        return ast.Happen(at(c[0]), c[0].value)

    def expect(self, c: list[Any]) -> ast.Expect:
        return ast.Expect(span(c[0], c[1]), c[1])

    def expect_failure(self, c: list[Any]) -> ast.ExpectFailure:
        return ast.ExpectFailure(span(c[0], c[2]), c[2])
