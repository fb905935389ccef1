"""The statements of one body: a workflow or a function."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, assert_never

from raftoral.lang import ast
from raftoral.lang.check import branches, children, control, loops, steps, waits
from raftoral.lang.check.expressions import Expressions
from raftoral.lang.check.giving import Giving
from raftoral.lang.diagnostics import Label, did_you_mean, replacing
from raftoral.lang.scope import ROLES, Scope, Variable
from raftoral.lang.source import Span
from raftoral.lang.types import (
    BOOL,
    DURATION,
    NEVER,
    NOTHING,
    STRING,
    TIMESTAMP,
    UNKNOWN,
    CallbackType,
    ErrorType,
    ListType,
    MapType,
    OptionalType,
    OutcomeType,
    Type,
    common,
    show,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from raftoral.lang.ast import Ident
    from raftoral.lang.check.nodes import Checked, Node
    from raftoral.lang.definitions import Activity, Child, Definitions, Field
    from raftoral.lang.diagnostics import Diagnostics
    from raftoral.lang.scope import Role

BLOCK_DEPTH_MAX: Final = 32

_EFFECT_WORDS: Final = {
    ast.CheckpointStmt: "checkpoint",
    ast.ComputeStmt: "compute",
    ast.ChildStmt: "call",
    ast.CallbackStmt: "callback",
    ast.Sleep: "sleep",
    ast.Await: "await",
    ast.Log: "log",
    ast.Restart: "restart",
    ast.Undo: "undo",
    ast.Saga: "saga",
    ast.Parallel: "parallel",
    ast.Race: "race",
    ast.SignalDef: "signal",
    ast.QueryDef: "query",
    ast.UpdateDef: "update",
}
_DECLARATIONS: Final = (ast.SignalDef, ast.QueryDef, ast.UpdateDef)


class Body(Expressions):
    """Checks the statements of a workflow or a function."""

    def __init__(
        self, definitions: Definitions, diagnostics: Diagnostics, scope: Scope, *, pure: str = ""
    ) -> None:
        super().__init__(definitions, diagnostics, scope, pure=pure)
        self.pure_at: Span | None = None
        self.output: Type = NOTHING
        self.inputs: dict[str, Field] = {}
        self.updates: dict[str, Type] = {}
        self.number = 0
        self.spans: list[Span] = []
        self.block_depth = 0
        self.block_depth_seen = 0
        self.loops = 0
        self.final = False
        self.saga = False
        self.inside = False
        """Tells whether a branch is around, which no jump leaves."""
        self.giving: Giving | None = None
        self.branches = 0
        # The names of steps in the scope that is open, and how many loops of a name it has.
        self.steps: dict[str, Ident] = {}
        self.turns: dict[str, int] = {}
        self.effects = 0
        self.cells: dict[str, Variable] = {}
        """The checkpoints whose paths are their names, for queries and for search."""
        self.scoped = 0
        self.awaited: set[str] = set()
        self.activities: dict[str, Activity] = {}
        self.endless: set[str] = set()
        """The activities without any timeout that were warned about."""
        self.children: dict[tuple[str, int], Child] = {}

    # -------------------------------------------------------------- blocks
    def block(self, block: ast.Block, *, new: bool = True) -> tuple[Node, bool]:
        """Return the IR of a block and whether it never ends by reaching its end."""
        self.block_depth += 1
        self.block_depth_seen = max(self.block_depth, self.block_depth_seen)
        if self.block_depth > BLOCK_DEPTH_MAX:
            message = f"blocks are nested deeper than {BLOCK_DEPTH_MAX} levels"
            where = Span(block.span.start, block.span.start + 1)
            self.error("RWF0403", message, where, "move a part into a `fn`")
            self.block_depth -= 1
            return [], False
        before = self.known
        if new:
            self.scope.open()
        self.scope.ahead[-1] |= frozenset(_declared(block))
        nodes: Node = []
        leaves = told = False
        for statement in block.statements:
            if leaves and not told and not isinstance(statement, _DECLARATIONS):
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
        if name.text in self.definitions.imports:
            message = f"`{name.text}` is the name of an imported file"
            self.error("RWF0121", message, name.span, "choose another name")
        variable = self.scope.declare(name, kind, role)
        variable.first = self.number
        return variable

    def branch(self, block: ast.Block, before: dict[str, Ident], after: dict[str, Ident]) -> Any:
        """Check one of several exclusive blocks; ``after`` collects the names of steps."""
        self.steps = dict(before)
        found = self.block(block)
        after |= self.steps
        return found

    @contextmanager
    def beside(self) -> Iterator[Giving]:
        """Check what runs beside others: with scopes of its own, left by `give` alone."""
        kept = (
            self.steps, self.turns, self.loops, self.final, self.saga, self.inside, self.giving,
            self.scope.branch,
        )  # fmt: skip
        self.branches += 1
        self.scoped += 1
        self.steps, self.turns, self.loops, self.final = {}, {}, 0, False
        self.inside, self.giving, self.scope.branch = True, Giving(), self.branches
        giving = self.giving
        try:
            yield giving
        finally:
            self.scoped -= 1
            (
                self.steps, self.turns, self.loops, self.final, self.saga, self.inside,
                self.giving, self.scope.branch,
            ) = kept  # fmt: skip

    def given(self, giving: Giving, *, always: bool) -> Type:
        """Return the type of what a block gives; none where it may end without a `give`."""
        kind: Type = NEVER if always else NOTHING
        for one, span in giving.kinds:
            shared = common(kind, one)
            if shared is None:
                message = f"a `give` before this gives {show(kind)}, and this gives {show(one)}"
                self.error("RWF0213", message, span)
                return UNKNOWN
            kind = shared
        return NOTHING if kind == NEVER else kind

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
                fixes = replacing(name.span, f"_{name.text}") if variable.role == "let" else ()
                self.diagnostics.warning("RWF0502", message, name.span, fixes=fixes)
            elif variable.role in ("compute", "callback"):
                help_ = ("leave the name out if only the step matters: `compute activity(...)`",)
                if variable.role == "callback":
                    help_ = (f"hand `{name.text}.token` to an activity, then `await` it",)
                message = f"the result `{name.text}` is never used"
                self.diagnostics.warning("RWF0501", message, name.span, help=help_)

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
        if word is None and isinstance(node, ast.For) and node.fan is not None:
            word = "parallel"
        if word is not None:
            if self.pure:
                self.impure(node.span, word)
                return None, False
            self.effects += 1
        if isinstance(node, _DECLARATIONS):
            if self.block_depth > 1:
                message = f"a {word} is declared at the top of a workflow"
                self.error("RWF0122", message, node.span)
            return None, False
        self.number += 1
        self.spans.append(node.span)
        return self._statement(node)

    def _statement(self, node: Any) -> Checked:
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
            case ast.Return() | ast.Give() | ast.Break() | ast.Continue():
                return control.jump(self, node), True
            case ast.Fail(_, error):
                return ["fail", self.failure(error)], True
            case ast.CheckpointStmt():
                return self.checkpoint(node), False
            case ast.ComputeStmt():
                return steps.compute(self, node), False
            case ast.ChildStmt():
                return children.child(self, node), False
            case ast.CallbackStmt():
                return waits.callback(self, node), False
            case ast.Sleep(_, value, until):
                ir = self.value(value, TIMESTAMP if until else DURATION, "what `sleep` waits for")
                return ["until" if until else "sleep", ir], False
            case ast.Await():
                return waits.wait(self, node), False
            case ast.Log(_, value):
                return ["log", self.as_text(value)], False
            case ast.Restart():
                return children.restart(self, node), True
            case ast.Saga():
                return branches.saga(self, node)
            case ast.Undo():
                return branches.undo(self, node), False
            case ast.Parallel():
                return branches.parallel(self, node), False
            case ast.Race():
                return branches.race(self, node)
            case ast.If():
                return control.choice(self, node)
            case ast.Match():
                return control.match(self, node)
            case ast.While():
                return loops.loop_while(self, node), False
            case ast.For():
                return loops.loop_for(self, node), False
            case ast.Try():
                return control.guarded(self, node)
            case _:
                assert_never(node)

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

    def typed(self, node: ast.Let | ast.CheckpointStmt, what: str, *, changes: bool) -> Any:
        """Return type and IR of a declaration."""
        if node.type is not None:
            kind = self.type_of(node.type)
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
        if isinstance(kind, CallbackType):
            self.error("RWF0215", "a callback stays under its own name", node.value.span)
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
        if variable.role in ("var", "checkpoint") and variable.branch != self.scope.branch:
            self.diagnostics.error(
                "RWF0320",
                f"`{name.text}` is declared outside of this branch",
                name.span,
                "assigned inside it",
                labels=(Label(variable.name.span, "declared here"),),
                help=("let the branch `give` its result, and assign that afterwards",),
                notes=("branches run at once, so which of them assigned last would be chance",),
            )
            return None
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
            labels=(Label(variable.name.span, f"this is {ROLES[variable.role]}"),),
            help=("declare it with `var`, or with `checkpoint` to have each value recorded",),
        )
        return None

    def unknown_target(self, name: Ident) -> None:
        """Report an assignment to a name that nothing declares."""
        near = did_you_mean(name.text, self.scope.names())
        help_ = () if near else (
            f"declare it: `let {name.text} = ...` or `var {name.text} = ...`",
        )  # fmt: skip
        self.diagnostics.error(
            "RWF0201",
            f"cannot find `{name.text}` in {self.scope.where}",
            name.span,
            near or "not declared here",
            help=help_,
        )

    def checkpoint(self, node: ast.CheckpointStmt) -> Node:
        """Return the IR of a `checkpoint`."""
        kind, ir = self.typed(node, f"`{node.name.text}`", changes=True)
        if isinstance(kind, ErrorType):
            self.error("RWF0215", "an error cannot be recorded as a value", node.value.span)
        self.step(node.name)
        variable = self.declare(node.name, kind, "checkpoint")
        if not self.scoped:
            self.cells.setdefault(node.name.text, variable)
        return ["checkpoint", variable.slot, node.name.text, ir]


def _declared(block: ast.Block) -> Iterable[str]:
    """Return the names that the statements of a block declare in it."""
    for statement in block.statements:
        match statement:
            case ast.Let(_, name) | ast.CheckpointStmt(_, name) | ast.CallbackStmt(_, name):
                yield name.text
            case ast.ComputeStmt(_, ast.Ident(_, text)) | ast.Await(_, _, ast.Ident(_, text)):
                yield text
            case ast.ChildStmt(_, _, ast.Ident(_, text)) | ast.Race(_, ast.Ident(_, text)):
                yield text
            case ast.Parallel(name=ast.Ident(_, text)):
                yield text
            case ast.For(fan=ast.Fan(collect=ast.Ident(_, text))):
                yield text
            case _:
                pass


def _is_open(kind: Type) -> bool:
    """Tell whether a value says too little about its type: `none`, `[]`."""
    match kind:
        case ListType(item) | MapType(item) | OptionalType(item) | OutcomeType(item):
            return _is_open(item)
        case _:
            return kind in (NOTHING, NEVER)
