"""Test blocks: what a run is given, what its activities answer, what happens, what is expected.

A checked test is a `Trial`: plain IR, for a runner that knows the virtual clock. It is no part of
any stored unit.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from raftoral.lang import ast
from raftoral.lang.check.arguments import arguments
from raftoral.lang.check.expressions import Expressions
from raftoral.lang.check.functions import closed
from raftoral.lang.diagnostics import did_you_mean
from raftoral.lang.scope import Scope
from raftoral.lang.types import (
    BOOL,
    DURATION,
    INT,
    NOTHING,
    STRING,
    UNKNOWN,
    CallbackType,
    ErrorType,
    Type,
    optional,
    show,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from raftoral.lang.check.functions import Functions
    from raftoral.lang.check.nodes import Node
    from raftoral.lang.check.workflows import Workflow
    from raftoral.lang.definitions import Definitions, Function
    from raftoral.lang.diagnostics import Diagnostics
    from raftoral.lang.source import Span


@dataclass(frozen=True, slots=True)
class Mocked:
    """What a name answers: ``times`` times (None: ever after); ``fails`` holds a failure."""

    name: str
    fails: bool
    value: Node
    times: int | None


@dataclass(frozen=True, slots=True)
class Happening:
    """What happens ``when``: ``what`` is signal, update, callback, crash or cancel.

    ``given`` maps the fields of a signal or update, or holds the one value that completes a
    callback, which ``fails`` or not.
    """

    when: Node
    what: str
    name: str = ""
    given: tuple[tuple[str, Node], ...] = ()
    fails: bool = False


@dataclass(frozen=True, slots=True)
class Expectation:
    """What holds in the end: an expression, or the name of the failure that the run ends with."""

    span: Span
    test: Node | None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """One test of one version of a workflow.

    Expectations are expressions over a frame of ``result``, ``failure`` (a text, or none),
    ``elapsed`` and the ``cells``, in that order behind the meter; ``calls`` are the names whose
    number of attempts follows, in the order of their slots. Functions are named by their keys in
    the IR; ``numbers`` are their places in ``functions``.
    """

    title: str
    span: Span
    workflow: str
    version: int
    given: tuple[tuple[str, Node], ...]
    mocks: tuple[Mocked, ...]
    takes: tuple[tuple[str, Node], ...]
    happenings: tuple[Happening, ...]
    expectations: tuple[Expectation, ...]
    cells: tuple[str, ...]
    calls: tuple[str, ...]
    slots: int
    called: tuple[tuple[Node, Function], ...]
    numbers: Mapping[tuple[str, str], int] = field(default_factory=dict)
    functions: Node = field(default_factory=list)


def closed_over(trial: Trial, functions: Functions) -> Trial:
    """Return the test with the functions that it calls; only while nothing is wrong."""
    numbers, made = closed(trial.called, functions)
    return replace(trial, called=(), numbers=numbers, functions=made)


def check_test(
    test: ast.TestDef,
    definitions: Definitions,
    diagnostics: Diagnostics,
    workflows: Sequence[Workflow],
) -> Trial | None:
    """Check one test block; None after a report."""
    name = test.workflow
    found = [w for w in workflows if w.node.name.text == name.text]
    if test.version is not None:
        found = [w for w in found if w.node.version == test.version]
    if not found:
        known = [w.node.name.text for w in workflows]
        what = name.text if test.version is None else f"{name.text} version {test.version}"
        label = did_you_mean(name.text, known, "not defined in this file")
        diagnostics.error("RWF0203", f"there is no workflow `{what}`", name.span, label)
        return None
    if len(found) > 1:
        versions = ", ".join(str(w.node.version) for w in found)
        message = f"`{name.text}` is there in several versions: {versions}"
        diagnostics.error("RWF0203", message, name.span, "say which: `version n`")
    return _Test(test, definitions, diagnostics, found[-1]).trial()


class _Test(Expressions):
    def __init__(
        self,
        test: ast.TestDef,
        definitions: Definitions,
        diagnostics: Diagnostics,
        workflow: Workflow,
    ) -> None:
        super().__init__(definitions, diagnostics, Scope(diagnostics, "a test"), pure="a test")
        self.test = test
        self.workflow = workflow
        self.shapes = workflow.shapes
        self.given: tuple[tuple[str, Node], ...] = ()
        self.mocks: list[Mocked] = []
        self.takes: list[tuple[str, Node]] = []
        self.happenings: list[Happening] = []
        self.expectations: list[Expectation] = []
        self.counted: list[str] = []
        self.outcome = Expressions(definitions, diagnostics, Scope(diagnostics, "a test"))

    def trial(self) -> Trial:
        self.declare_outcome()
        has_given = False
        for step in self.test.steps:
            has_given = has_given or isinstance(step, ast.Given)
            self.step(step)
        if not has_given:
            start = self.test.workflow.span
            self.given = self.pairs((), self.workflow.inputs, "the input of the run", start)
        assert self.workflow.node.version is not None or self.diagnostics.has_errors
        return Trial(
            self.test.title,
            self.test.span,
            self.workflow.node.name.text,
            self.workflow.node.version or 1,
            self.given,
            tuple(self.mocks),
            tuple(self.takes),
            tuple(self.happenings),
            tuple(self.expectations),
            tuple(self.workflow.cells),
            tuple(self.counted),
            max(len(self.scope.everything), len(self.outcome.scope.everything)),
            (*self.calls, *self.outcome.calls),
        )

    def declare_outcome(self) -> None:
        """Enter what an expectation may speak of: the result, the failure, the time, the cells."""
        span = self.test.workflow.span
        known: list[tuple[str, Type]] = [
            ("result", self.workflow.output),
            ("failure", optional(STRING)),
            ("elapsed", DURATION),
        ]
        known += [(name, cell.type) for name, cell in self.workflow.cells.items()]
        for name, kind in known:
            if self.outcome.scope.find(name) is None:
                self.outcome.scope.declare(ast.Ident(span, name), kind, "input").used = True
            else:
                self.outcome.scope.hidden(kind)

    def pairs(
        self, args: Sequence[ast.Arg], fields: Any, what: str, span: Span
    ) -> tuple[tuple[str, Node], ...]:
        given = arguments(self, args, fields, what, span)
        return tuple(zip(fields, given, strict=False))

    def step(self, step: ast.TestStep) -> None:
        match step:
            case ast.Given(span, args):
                self.given = self.pairs(args, self.workflow.inputs, "the input of the run", span)
            case ast.Mock(_, name, answer, times):
                fails, value = self.answer(answer, self.mocked(name))
                self.mocks.append(Mocked(self.plain(name), fails, value, times))
            case ast.MockTakes(_, name, value):
                self.mocked(name)
                took = self.value(value, DURATION, "how long it takes")
                self.takes.append((self.plain(name), took))
            case ast.At(_, when, event):
                moment = self.value(when, DURATION, "when it happens, from the start")
                self.happenings.append(self.happening(moment, event))
            case ast.Expect(span, value):
                self.expectations.append(Expectation(span, self.expected(value)))
            case ast.ExpectFailure(span, name):
                failure = self.definitions.error_name(name) or ""
                self.expectations.append(Expectation(span, None, failure))

    def plain(self, name: ast.Ident) -> str:
        """Return the name that the run uses, without that of an import."""
        for table in ("activities", "children"):
            found = self.definitions.find(table, name.text)
            if found is not None:
                one = found[0] if isinstance(found, list) else found
                return str(one.name.text)
        return name.text

    def mocked(self, name: ast.Ident) -> Type:
        """Return what an activity or a child results in."""
        activity = self.definitions.find("activities", name.text)
        if activity is not None:
            kind: Type = activity.result
            return kind
        children = self.definitions.find("children", name.text)
        if children:
            result: Type = children[-1].result
            return result
        known = [*self.definitions.names("activities"), *self.definitions.names("children")]
        label = did_you_mean(name.text, known, "not declared")
        message = f"there is no activity or workflow `{name.text}`"
        self.error("RWF0203", message, name.span, label)
        return UNKNOWN

    def answer(self, node: ast.Answer, kind: Type) -> tuple[bool, Node]:
        if not node.fails:
            if kind == NOTHING:
                found, ir = self.expr(node.value)
                if found not in (NOTHING, UNKNOWN):
                    message = f"it gives no result, so it returns none, not {show(found)}"
                    self.error("RWF0210", message, node.value.span)
                return False, ir
            return False, self.value(node.value, kind, "what it returns")
        found, ir = self.expr(node.value)
        if not isinstance(found, ErrorType) and found not in (STRING, UNKNOWN):
            message = f"it fails with an error or a text, not {show(found)}"
            self.error("RWF0210", message, node.value.span)
        return True, ir

    def happening(
        self, when: Node, event: ast.SendSignal | ast.CompleteCallback | ast.Happen
    ) -> Happening:
        match event:
            case ast.Happen(_, what):
                return Happening(when, what)
            case ast.SendSignal(span, update, name, args):
                word = "update" if update else "signal"
                shape = self.shapes.get(f"{word} {name.text}")
                if shape is None:
                    known = [k[7:] for k in self.shapes if k.startswith(f"{word} ")]
                    label = did_you_mean(name.text, known, "not declared")
                    message = f"the workflow has no {word} `{name.text}`"
                    self.error("RWF0203", message, name.span, label)
                    return Happening(when, word, name.text)
                given = self.pairs(args, shape.fields, f"{word} {name.text}", span)
                return Happening(when, word, name.text, given)
            case ast.CompleteCallback(_, name, answer):
                kind = self.callback(name)
                fails, value = self.answer(answer, kind)
                return Happening(when, "callback", name.text, (("", value),), fails)

    def callback(self, name: ast.Ident) -> Type:
        for variable in self.workflow.scope.everything:
            if variable.name.text == name.text and isinstance(variable.type, CallbackType):
                return variable.type.item
        self.error("RWF0203", f"the workflow has no callback `{name.text}`", name.span)
        return UNKNOWN

    # -------------------------------------------------------------- expectations
    def expected(self, node: ast.Expr) -> Node:
        """Return the IR of an expectation; `calls(name)` is how often something was attempted."""
        prepared = self.count_calls(node)
        return self.outcome.value(prepared, BOOL, "what is expected")

    def count_calls(self, node: ast.Expr) -> ast.Expr:
        match node:
            case ast.Call(span, ast.Name(_, "calls"), args):
                return self.counter(span, args)
            case ast.Binary(span, operator, left, right):
                return ast.Binary(span, operator, self.count_calls(left), self.count_calls(right))
            case ast.Unary(span, operator, operand):
                return ast.Unary(span, operator, self.count_calls(operand))
            case _:
                return node

    def counter(self, span: Span, args: tuple[ast.Arg, ...]) -> ast.Expr:
        name = _dotted(args[0].value) if len(args) == 1 else None
        if name is None:
            message = "`calls` takes the name of an activity or a workflow"
            self.error("RWF0204", message, span, "such as `calls(payments.charge)`")
            return ast.Literal(span, 0)
        self.mocked(ast.Ident(args[0].span, name))
        plain = self.plain(ast.Ident(args[0].span, name))
        key = f"calls {plain}"
        if self.outcome.scope.find(key) is None:
            self.counted.append(plain)
            self.outcome.scope.declare(ast.Ident(span, key), INT, "input").used = True
        return ast.Name(span, key)


def _dotted(node: ast.Expr) -> str | None:
    names: list[str] = []
    while isinstance(node, ast.Member) and not node.optional:
        names.append(node.name.text)
        node = node.base
    return ".".join((node.name, *reversed(names))) if isinstance(node, ast.Name) else None
