"""The statements of one body: a workflow or a function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from raftoral.lang import ast
from raftoral.lang.check import control, steps
from raftoral.lang.check.expressions import Expressions
from raftoral.lang.diagnostics import Label, did_you_mean
from raftoral.lang.source import Span
from raftoral.lang.types import (
    BOOL,
    DURATION,
    NEVER,
    NOTHING,
    STRING,
    TIMESTAMP,
    UNKNOWN,
    ErrorType,
    ListType,
    MapType,
    OptionalType,
    Type,
    show,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raftoral.lang.ast import Ident
    from raftoral.lang.check.nodes import Checked, Node
    from raftoral.lang.diagnostics import Diagnostics
    from raftoral.lang.resolve import Activity, Definitions, Role, Scope, Variable

BLOCK_DEPTH_MAX: Final = 32

_EFFECT_WORDS: Final = {
    ast.CheckpointStmt: "checkpoint",
    ast.ComputeStmt: "compute",
    ast.Sleep: "sleep",
    ast.Await: "await",
    ast.Log: "log",
    ast.SignalDef: "signal",
}


class Body(Expressions):
    """Checks the statements of a workflow or a function."""

    def __init__(
        self, definitions: Definitions, diagnostics: Diagnostics, scope: Scope, *, pure: str = ""
    ) -> None:
        super().__init__(definitions, diagnostics, scope, pure=pure)
        self.pure_at: Span | None = None
        self.output: Type = NOTHING
        self.number = 0
        self.spans: list[Span] = []
        self.block_depth = 0
        self.block_depth_seen = 0
        self.loops = 0
        self.final = False
        # The names of steps in the scope that is open, and how many loops of a name it has.
        self.steps: dict[str, Ident] = {}
        self.turns: dict[str, int] = {}
        self.effects = 0
        self.awaited: set[str] = set()
        self.activities: dict[str, Activity] = {}

    # -------------------------------------------------------------- blocks
    def block(self, block: ast.Block, *, new: bool = True) -> tuple[Node, bool]:
        """Return the IR of a block and whether it never ends by reaching its end."""
        self.block_depth += 1
        self.block_depth_seen = max(self.block_depth, self.block_depth_seen)
        if self.block_depth > BLOCK_DEPTH_MAX:
            message = f"blocks are nested deeper than {BLOCK_DEPTH_MAX} levels"
            self.error(
                "RWF0403",
                message,
                Span(block.span.start, block.span.start + 1),
                "move a part into a `fn`",
            )
            self.block_depth -= 1
            return [], False
        before = self.known
        if new:
            self.scope.blocks.append({})
            self.scope.ahead.append(frozenset())
        self.scope.ahead[-1] |= frozenset(_declared(block))
        nodes: Node = []
        leaves = told = False
        for statement in block.statements:
            if leaves and not told:
                self.error("RWF0232", "this is never reached", statement.span, "left before")
                told = True
            node, left = self.statement(statement)
            if node is not None:
                nodes.append(node)
            leaves = leaves or left
        if new:
            self.close_block()
        self.known = before
        self.block_depth -= 1
        return nodes, leaves

    def close_block(self) -> None:
        """Forget the variables of the innermost block; note how far they were in sight."""
        for variable in self.scope.blocks.pop().values():
            variable.last = self.number - 1
        self.scope.ahead.pop()

    def declare(self, name: Ident, kind: Type, role: Role) -> Variable:
        """Add a variable that is in sight from the next statement on."""
        variable = self.scope.declare(name, kind, role)
        variable.first = self.number
        return variable

    def branch(self, block: ast.Block, before: dict[str, Ident], after: dict[str, Ident]) -> Any:
        """Check one of several exclusive blocks; ``after`` collects the names of steps."""
        self.steps = dict(before)
        found = self.block(block)
        after |= self.steps
        return found

    def step(self, name: Ident) -> None:
        """Take the name of a step; a second one in the same scope is reported."""
        first = self.steps.get(name.text)
        if first is None:
            self.steps[name.text] = name
            return
        self.diagnostics.error(
            "RWF0310",
            f"two steps are called `{name.text}` here",
            name.span,
            "the second",
            labels=(Label(first.span, "the first"),),
            notes=("the name of a step is its key in the history",),
        )

    def finish(self) -> None:
        """Warn about what is never used, once the whole body is known."""
        for variable in self.scope.everything:
            name = variable.name
            if variable.last < 0:
                variable.last = max(0, self.number - 1)
            if variable.used or not name.text or name.text.startswith("_"):
                continue
            if variable.role in ("let", "var"):
                message = f"`{name.text}` is never used"
                self.diagnostics.warning("RWF0502", message, name.span)
            elif variable.role == "compute":
                self.diagnostics.warning(
                    "RWF0501",
                    f"the result `{name.text}` is never used",
                    name.span,
                    help=("leave the name out if only the step matters: `compute activity(...)`",),
                )

    def missing_return(self, block: ast.Block) -> None:
        """Report that the end of the body is reached without a value."""
        end = block.span.end
        self.diagnostics.error(
            "RWF0233",
            f"the end is reached, and no {show(self.output)} was returned",
            Span(end - 1, end),
            "write `return ...` before this",
        )

    # -------------------------------------------------------------- statements
    def statement(self, node: ast.Stmt) -> Checked:
        """Return the IR of one statement and whether it always leaves."""
        word = _EFFECT_WORDS.get(type(node))
        if word is not None:
            if self.pure:
                self.impure(node.span, word)
                return None, False
            self.effects += 1
        if not isinstance(node, ast.SignalDef):
            self.number += 1
            self.spans.append(node.span)
        match node:
            case ast.Let():
                return self.let(node), False
            case ast.Assign():
                return self.assign(node), False
            case ast.Require(_, condition, otherwise):
                test = self.value(condition, BOOL, "a condition")
                error = self.failure(otherwise)
                self.known |= self.facts(condition)[0]
                return ["require", test, error], False
            case ast.Return(span, value):
                self.outside_finally(span, "return")
                return ["return", self.value(value, self.output, "the result")], True
            case ast.Fail(_, error):
                return ["fail", self.failure(error)], True
            case ast.Break(span):
                return self.jump(span, "break"), True
            case ast.Continue(span):
                return self.jump(span, "continue"), True
            case ast.CheckpointStmt():
                return steps.checkpoint(self, node), False
            case ast.ComputeStmt():
                return steps.compute(self, node), False
            case ast.Sleep(_, value, until):
                ir = self.value(value, TIMESTAMP if until else DURATION, "what `sleep` waits for")
                return ["until" if until else "sleep", ir], False
            case ast.Await():
                return steps.wait(self, node), False
            case ast.Log(_, value):
                kind, ir = self.expr(value)
                return ["log", ir if kind == STRING else ["do", "text", [ir]]], False
            case ast.SignalDef(span):
                if self.block_depth > 1:
                    self.error("RWF0122", "a signal is declared at the top of a workflow", span)
                return None, False
            case ast.If():
                return control.choice(self, node)
            case ast.Match():
                return control.match(self, node)
            case ast.While():
                return control.loop_while(self, node), False
            case ast.For():
                return control.loop_for(self, node), False
            case ast.Try():
                return control.guarded(self, node)
            case _:
                word = _WORDS.get(type(node)) or type(node).__name__.lower()
                self.error("RWF0006", f"`{word}` is not part of this release", node.span)
                return None, False

    def impure(self, span: Span, word: str) -> None:
        """Report an effect in a pure function."""
        labels: tuple[Label, ...] = ()
        if self.pure_at is not None:
            labels = (Label(self.pure_at, "declared as a pure function"),)
        self.diagnostics.error(
            "RWF0301",
            f"`{self.pure}` may not have effects",
            span,
            f"`{word}` is an effect",
            labels=labels,
            help=("compute the value in the workflow and hand it to the function",),
            notes=("pure functions run again on every replay; only a workflow may have effects",),
        )

    def failure(self, node: ast.Expr) -> Node:
        """Return the IR of what a run fails with: an error or a text."""
        kind, ir = self.expr(node)
        if kind != STRING and not isinstance(kind, ErrorType) and kind != UNKNOWN:
            self.diagnostics.error(
                "RWF0210",
                f"a run fails with an error or a text, not {show(kind)}",
                node.span,
                help=('`fail OutOfStock(sku: s)` or `fail "why"`',),
            )
        return ir

    def outside_finally(self, span: Span, word: str) -> None:
        """Report a jump out of a `finally`."""
        if self.final:
            message = f"`{word}` inside `finally` would hide what happened before"
            self.error("RWF0330", message, span, "not here")

    def jump(self, span: Span, word: str) -> Node:
        """Return the IR of a `break` or `continue`; a loop must be around it."""
        if not self.loops:
            if self.final:
                self.outside_finally(span, word)
            else:
                self.error("RWF0322", f"`{word}` stands inside a loop", span, "no loop around this")
        return [word]

    def typed(self, node: ast.Let | ast.CheckpointStmt, what: str, *, changes: bool) -> Any:
        """Return type and IR of a declaration."""
        if node.type is not None:
            kind = self.definitions.type_of(node.type)
            return kind, self.value(node.value, kind, what, node.type.span)
        kind, ir = self.expr(node.value)
        if changes and _is_open(kind):
            self.diagnostics.error(
                "RWF0219",
                f"what {what} may hold cannot be told from {show(kind)}",
                node.name.span,
                "write its type",
                help=(f"`{node.name.text}: list<string> = []`, for example",),
            )
            kind = UNKNOWN
        return kind, ir

    def let(self, node: ast.Let) -> Node:
        """Return the IR of a `let` or `var`."""
        kind, ir = self.typed(node, f"`{node.name.text}`", changes=node.variable)
        variable = self.declare(node.name, kind, "var" if node.variable else "let")
        return ["let", variable.slot, ir]

    def assign(self, node: ast.Assign) -> Node | None:
        """Return the IR of an assignment to a variable or a checkpoint."""
        name = node.name
        variable = self.scope.find(name.text)
        if variable is None:
            self.expr(node.value)
            self.unknown_target(name)
            return None
        ir = self.value(node.value, variable.type, f"`{name.text}`", variable.name.span)
        if variable.role == "var":
            return ["let", variable.slot, ir]
        if variable.role == "checkpoint":
            self.effects += 1
            return ["set", variable.slot, ir]
        self.diagnostics.error(
            "RWF0123",
            f"`{name.text}` cannot be changed",
            name.span,
            "assigned here",
            labels=(Label(variable.name.span, f"this is {_ROLES[variable.role]}"),),
            help=("declare it with `var`, or with `checkpoint` to have each value recorded",),
        )
        return None

    def unknown_target(self, name: Ident) -> None:
        """Report an assignment to a name that nothing declares."""
        near = did_you_mean(name.text, self.scope.names())
        self.diagnostics.error(
            "RWF0201",
            f"cannot find `{name.text}` in {self.scope.where}",
            name.span,
            near or "not declared here",
            help=()
            if near
            else (f"declare it: `let {name.text} = ...` or `var {name.text} = ...`",),
        )


_WORDS: Final = {
    ast.ChildStmt: "call",
    ast.CallbackStmt: "callback",
    ast.QueryDef: "query",
    ast.UpdateDef: "update",
}
_ROLES: Final = {
    "let": "a `let`, which keeps its value",
    "var": "a variable",
    "checkpoint": "a checkpoint",
    "input": "an input",
    "compute": "a result, recorded once",
    "loop": "given by the loop",
    "catch": "the error that was caught",
}


def _declared(block: ast.Block) -> Iterable[str]:
    """Return the names that the statements of a block declare in it."""
    for statement in block.statements:
        match statement:
            case ast.Let(_, name) | ast.CheckpointStmt(_, name):
                yield name.text
            case ast.ComputeStmt(_, ast.Ident(_, text)) | ast.Await(_, _, ast.Ident(_, text)):
                yield text
            case _:
                pass


def _is_open(kind: Type) -> bool:
    """Tell whether a value says too little about its type: `none`, `[]`."""
    match kind:
        case ListType(item) | MapType(item) | OptionalType(item):
            return _is_open(item)
        case _:
            return kind in (NOTHING, NEVER)
