"""The checks of a whole file, and the IR of its workflows.

Effects where they may stand, steps named once in a scope, a value on every path, errors that exist,
loops with a bound. Adds reports to the one list; gives no unit while there is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias, assert_never

from raftoral.lang import ast
from raftoral.lang.diagnostics import Label, did_you_mean
from raftoral.lang.expressions import Expressions, Node, const
from raftoral.lang.ir import FUEL, Unit, encode_value
from raftoral.lang.resolve import ERRORS, Definitions, Field, Scope, Shape, cycles
from raftoral.lang.source import Span
from raftoral.lang.types import (
    BOOL,
    DURATION,
    INT,
    JSON,
    NEVER,
    NOTHING,
    STRING,
    TIMESTAMP,
    UNKNOWN,
    ErrorType,
    ListType,
    MapType,
    OptionalType,
    RecordType,
    Type,
    common,
    fits,
    optional,
    required,
    show,
    storable,
    to_ir,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from raftoral.lang.ast import Ident
    from raftoral.lang.diagnostics import Diagnostics
    from raftoral.lang.resolve import Activity, Function, Role, Variable
    from raftoral.lang.source import Source

BLOCK_DEPTH_MAX: Final = 32
ATTEMPTS_MAX: Final = 10_000
STACK_MAX: Final = 250
"""Levels of expressions and blocks along a chain of calls, so that no run needs a deep stack."""

_EFFECT_WORDS: Final = {
    ast.CheckpointStmt: "checkpoint",
    ast.ComputeStmt: "compute",
    ast.Sleep: "sleep",
    ast.Await: "await",
    ast.Log: "log",
    ast.SignalDef: "signal",
}

Checked: TypeAlias = "tuple[Node | None, bool]"
"""The IR of a statement (None if it has none), and whether nothing behind it is ever reached."""


def check(file: ast.File, source: Source, diagnostics: Diagnostics) -> tuple[Unit, ...]:
    """Return the units of a file; empty if anything must be mended first."""
    definitions = Definitions(file, diagnostics)
    for constant in definitions.constants.values():
        probe = Expressions(definitions, diagnostics, Scope(diagnostics, "a constant"))
        probe.expr(ast.TypeName(constant.name.span, constant.name.text))
    functions = {
        name: _check_function(function, definitions, diagnostics)
        for name, function in definitions.functions.items()
    }
    _check_calls(functions, diagnostics)
    _check_defaults(definitions, diagnostics)
    bodies = [
        _Workflow(w, definitions, diagnostics, source, functions) for w in definitions.workflows
    ]
    if diagnostics.has_errors:
        return ()
    return tuple(body.unit() for body in bodies)


def _check_defaults(definitions: Definitions, diagnostics: Diagnostics) -> None:
    """Check the defaults of fields and parameters where they are written, used or not."""
    shapes = [*definitions.records.values(), *definitions.errors.values()]
    fields = [f for shape in shapes for f in shape.fields.values()]
    fields += [f for one in definitions.activities.values() for f in one.params.values()]
    fields += [f for one in definitions.functions.values() for f in one.params.values()]
    for field in fields:
        if field.default is not None:
            probe = Expressions(definitions, diagnostics, Scope(diagnostics, "a default"))
            probe.constant(field.default, field.type, f"the default of `{field.name.text}`")
    for activity in definitions.activities.values():
        for name in activity.definition.raises:
            _known_error(name, definitions, diagnostics)
        if activity.definition.timeout is not None:
            probe = Expressions(definitions, diagnostics, Scope(diagnostics, "a timeout"))
            probe.constant(activity.definition.timeout, DURATION, "a timeout")


def _known_error(name: Ident, definitions: Definitions, diagnostics: Diagnostics) -> None:
    if name.text not in definitions.errors and name.text not in ERRORS:
        label = did_you_mean(name.text, [*definitions.errors, *ERRORS], "not defined")
        diagnostics.error("RWF0203", f"there is no error `{name.text}`", name.span, label)


# ------------------------------------------------------------------ functions
@dataclass(frozen=True, slots=True)
class _Compiled:
    """The IR of a function, the functions that it calls, and how deep it goes."""

    function: Function
    parameters: int
    slots: int
    body: Node
    calls: list[tuple[Node, str]]
    height: int


def _check_function(
    function: Function, definitions: Definitions, diagnostics: Diagnostics
) -> _Compiled:
    name = function.name
    scope = Scope(diagnostics, f"fn {name.text}")
    body = _Body(definitions, diagnostics, scope, pure=f"fn {name.text}")
    body.pure_at = name.span
    body.output = function.result
    if function.definition.result is None:
        diagnostics.error(
            "RWF0233",
            f"`fn {name.text}` gives no value, so it does nothing",
            name.span,
            "write `-> type` behind the parameters",
        )
        body.output = UNKNOWN
    for param in function.params.values():
        scope.declare(param.name, param.type, "input").used = True
    node, leaves = body.block(function.definition.block, new=False)
    if not leaves:
        body.missing_return(function.definition.block)
    body.finish()
    height = body.depth_seen + 2 * body.block_depth_seen + 2
    return _Compiled(
        function, len(function.params), len(scope.everything), node, body.calls, height
    )


def _check_calls(functions: dict[str, _Compiled], diagnostics: Diagnostics) -> None:
    """Report functions that reach themselves, and chains of calls that are too deep."""
    uses = {name: {called for _, called in one.calls} for name, one in functions.items()}
    for cycle in cycles(uses):
        at = functions[cycle[0]].function.name.span
        message = f"functions may not call themselves: {' -> '.join((*cycle, cycle[0]))}"
        diagnostics.error(
            "RWF0302", message, at, help=("use a loop: `for x in xs` or `while c max n`",)
        )
    if diagnostics.has_errors:
        return
    heights: dict[str, int] = {}
    for name in _order(list(functions), functions):
        inner = max((heights[called] for _, called in functions[name].calls), default=0)
        heights[name] = functions[name].height + inner
        if heights[name] > STACK_MAX:
            at = functions[name].function.name.span
            message = f"functions call each other deeper than {STACK_MAX} levels in all"
            diagnostics.error("RWF0403", message, at)
            return


def _order(wanted: Iterable[str], functions: dict[str, _Compiled]) -> list[str]:
    """Return the functions that are reached from ``wanted``, each behind those that it calls."""
    done: dict[str, None] = {}
    todo = [(name, False) for name in reversed(list(wanted))]
    while todo:
        name, ready = todo.pop()
        if name in done:
            continue
        if ready:
            done[name] = None
            continue
        todo.append((name, True))
        todo.extend((called, False) for _, called in reversed(functions[name].calls))
    return list(done)


# ------------------------------------------------------------------ bodies
class _Body(Expressions):
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
                return self.checkpoint(node), False
            case ast.ComputeStmt():
                return self.compute(node), False
            case ast.Sleep(_, value, until):
                ir = self.value(value, TIMESTAMP if until else DURATION, "what `sleep` waits for")
                return ["until" if until else "sleep", ir], False
            case ast.Await():
                return self.wait(node), False
            case ast.Log(_, value):
                kind, ir = self.expr(value)
                return ["log", ir if kind == STRING else ["do", "text", [ir]]], False
            case ast.SignalDef(span):
                if self.block_depth > 1:
                    self.error("RWF0122", "a signal is declared at the top of a workflow", span)
                return None, False
            case ast.If():
                return self.choice(node)
            case ast.Match():
                return self.match(node)
            case ast.While():
                return self.loop_while(node), False
            case ast.For():
                return self.loop_for(node), False
            case ast.Try():
                return self.guarded(node)
            case _:
                assert_never(node)

    def impure(self, span: Span, word: str) -> None:
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
        if self.final:
            message = f"`{word}` inside `finally` would hide what happened before"
            self.error("RWF0330", message, span, "not here")

    def jump(self, span: Span, word: str) -> Node:
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
        kind, ir = self.typed(node, f"`{node.name.text}`", changes=node.variable)
        variable = self.declare(node.name, kind, "var" if node.variable else "let")
        return ["let", variable.slot, ir]

    def assign(self, node: ast.Assign) -> Node | None:
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

    # -------------------------------------------------------------- effects
    def checkpoint(self, node: ast.CheckpointStmt) -> Node:
        kind, ir = self.typed(node, f"`{node.name.text}`", changes=True)
        if not storable(kind):
            self.error("RWF0215", "an error cannot be recorded as a value", node.value.span)
        self.step(node.name)
        variable = self.declare(node.name, kind, "checkpoint")
        return ["checkpoint", variable.slot, node.name.text, ir]

    def compute(self, node: ast.ComputeStmt) -> Node | None:
        activity = self.definitions.activities.get(node.activity.text)
        policy, timeout = self.clauses(node)
        if activity is None:
            self.unknown_activity(node)
            return None
        self.activities[activity.name.text] = activity
        what = f"activity {activity.name.text}"
        args = self.arguments(node.args, activity.params, what, node.span)
        if timeout is None and activity.definition.timeout is not None:
            default = self.constant(activity.definition.timeout, DURATION, "a timeout")
            timeout = const(default)
        if timeout is None:
            self.diagnostics.warning(
                "RWF0505",
                f"`{activity.name.text}` may take for ever",
                node.activity.span,
                help=("add `timeout 10s` here or to the activity",),
            )
        kind = activity.result
        if node.type is not None:
            kind = self.definitions.type_of(node.type)
            if not fits(activity.result, kind):
                message = f"`{activity.name.text}` gives {show(activity.result)}, not {show(kind)}"
                self.error("RWF0210", message, node.type.span)
        slot = key = None
        if node.name is not None:
            if activity.result == NOTHING:
                message = f"`{activity.name.text}` gives no result"
                self.error("RWF0210", message, node.name.span, "leave the name out")
            self.step(node.name)
            slot, key = self.declare(node.name, kind, "compute").slot, node.name.text
        return ["compute", slot, key, activity.name.text, args, policy, timeout]

    def unknown_activity(self, node: ast.ComputeStmt) -> None:
        """Report an activity that is not declared; its result fits everywhere from here on."""
        for arg in node.args:
            self.expr(arg.value)
        name = node.activity
        if name.text in self.definitions.functions:
            self.diagnostics.error(
                "RWF0203",
                f"`{name.text}` is a function, and `compute` is for activities",
                name.span,
                help=(f"`let x = {name.text}(...)`",),
            )
        else:
            label = did_you_mean(name.text, self.definitions.activities, "not declared")
            help_ = (f"declare it above: `activity {name.text}(...) -> ...`",)
            message = f"there is no activity `{name.text}`"
            self.diagnostics.error("RWF0203", message, name.span, label, help=help_)
        if node.name is not None:
            self.step(node.name)
            self.declare(node.name, UNKNOWN, "compute")

    def clauses(self, node: ast.ComputeStmt) -> tuple[Node | None, Node | None]:
        """Return retry policy and timeout."""
        policy: Node | None = None
        timeout: Node | None = None
        seen: set[type] = set()
        for clause in node.clauses:
            if type(clause) in seen:
                self.error("RWF0120", "this clause is there twice", clause.span, "again")
            seen.add(type(clause))
            match clause:
                case ast.Timeout(_, value):
                    timeout = self.value(value, DURATION, "a timeout")
                case ast.Retry():
                    policy = self.retry(clause)
                case _:
                    assert_never(clause)
        return policy, timeout

    def retry(self, clause: ast.Retry) -> Node | None:
        if not 1 <= clause.attempts <= ATTEMPTS_MAX:
            message = f"an activity is attempted 1 to {ATTEMPTS_MAX:,} times in all"
            self.error("RWF0220", message, clause.span)
        if clause.jitter_percent > 100:
            self.error("RWF0220", "jitter is at most 100%", clause.span)
        for name in clause.only:
            _known_error(name, self.definitions, self.diagnostics)
        first = longest = None
        factor = 200
        if clause.backoff is not None:
            first = self.value(clause.backoff.first, DURATION, "a pause")
            longest = self.value(clause.backoff.longest, DURATION, "a pause")
            factor = clause.backoff.factor_percent
            if factor < 100:
                self.error("RWF0220", "a factor is at least 1", clause.backoff.span)
        if clause.attempts == 1:
            return None
        only = [name.text for name in clause.only]
        return [clause.attempts, first, longest, factor, clause.jitter_percent, only]

    def wait(self, node: ast.Await) -> Node:
        signal = f"signal {node.signal.text}"
        kind: Type = RecordType(signal)
        if signal not in self.signals:
            known = [name.removeprefix("signal ") for name in self.signals]
            label = did_you_mean(node.signal.text, known, "not declared")
            help_ = (f"declare it at the top: `signal {node.signal.text}(...)`",)
            message = f"there is no signal `{node.signal.text}`"
            self.diagnostics.error("RWF0203", message, node.signal.span, label, help=help_)
            kind = UNKNOWN
        self.awaited.add(node.signal.text)
        timeout = None
        if node.timeout is not None:
            timeout = self.value(node.timeout, DURATION, "a timeout")
        block: Node | None = None
        if node.otherwise is not None:
            block, leaves = self.block(node.otherwise)
            if not leaves:
                kind = optional(kind)
        slot = None
        if node.name is not None:
            slot = self.declare(node.name, kind, "compute").slot
            self.scope.everything[-1].used = True
        return ["receive", slot, node.signal.text, timeout, block]

    # -------------------------------------------------------------- control
    def choice(self, node: ast.If) -> Checked:
        before, after = self.steps, dict(self.steps)
        outer = self.known
        arms: Node = []
        all_leave = True
        for arm in node.arms:
            condition = self.value(arm.condition, BOOL, "a condition")
            yes, no = self.facts(arm.condition)
            with self.knowing(yes):
                block, leaves = self.branch(arm.block, before, after)
            arms.append([condition, block])
            all_leave = all_leave and leaves
            # The next arm, and what follows if this one leaves, know that the condition failed.
            self.known |= no
        otherwise: Node | None = None
        if node.otherwise is not None:
            otherwise, leaves = self.branch(node.otherwise, before, after)
            whole = all_leave and leaves
        else:
            whole = False
        if not all_leave:
            self.known = outer
        self.steps = after
        return ["if", arms, otherwise], whole

    def match(self, node: ast.Match) -> Checked:
        kind, subject = self.expr(node.subject)
        slot = self.scope.hidden(kind)
        before, after = self.steps, dict(self.steps)
        seen: list[Any] = []
        whole = False
        leaves = True
        cases: Node = []
        for case in node.cases:
            if whole:
                self.error("RWF0231", "this case is never reached", case.span, "all are taken")
            self.scope.blocks.append({})
            self.scope.ahead.append(frozenset())
            pattern, every = self.pattern(case, kind, seen)
            guard = None
            if case.guard is not None:
                guard = self.value(case.guard, BOOL, "a guard")
                every = False
            block, left = self.branch(case.block, before, after)
            self.close_block()
            cases.append([pattern, guard, block])
            leaves = leaves and left
            whole = whole or every or (kind == BOOL and {True, False} <= set(seen))
        self.steps = after
        if not whole and kind != UNKNOWN:
            missing = "`case _ { ... }`"
            if kind == BOOL:
                missing = "`case true` and `case false`"
            message = "not every value has a case"
            self.diagnostics.error(
                "RWF0230", message, Span(node.span.start, node.span.start + 5), f"add {missing}"
            )
        return ["match", subject, slot, cases], leaves and whole

    def pattern(self, case: ast.Case, kind: Type, seen: list[Any]) -> tuple[Node, bool]:
        """Return the IR of a pattern and whether it takes everything that is left."""
        if not isinstance(case.pattern, tuple):
            if case.pattern.text == "_":
                return ["any"], True
            rest = required(kind) if None in seen else kind
            return ["bind", self.declare(case.pattern, rest, "loop").slot], True
        values = []
        for literal in case.pattern:
            one, _ = self.expr(literal)
            if common(kind, one) is None or (one == NOTHING and not _may_be_none(kind)):
                message = f"{show(kind)} is never {show(one)}"
                self.error("RWF0210", message, literal.span)
            plain = encode_value(literal.value)
            if any(type(plain) is type(s) and plain == s for s in seen):
                self.error("RWF0231", "this value has a case already", literal.span, "again")
            elif case.guard is None:
                seen.append(literal.value if isinstance(literal.value, bool) else plain)
            values.append(plain)
        return ["is", values], False

    def loop_body(self, block: ast.Block, key: str) -> tuple[Node, int]:
        """Return the IR of a loop's body and the number of this loop among those of its name."""
        steps, turns, effects = self.steps, self.turns, self.effects
        self.steps, self.turns = {}, {}
        self.loops += 1
        body, _ = self.block(block)
        self.loops -= 1
        self.steps, self.turns = steps, turns
        number = 0
        if self.effects > effects:  # a pure loop leaves no trace in the history
            number = turns.get(key, 0)
            turns[key] = number + 1
        return body, number

    def loop_while(self, node: ast.While) -> Node:
        condition = self.value(node.condition, BOOL, "a condition")
        limit = const(0)
        if node.limit is None:
            end = node.condition.span.end
            self.diagnostics.error(
                "RWF0401",
                "this loop has no bound",
                Span(node.span.start, node.span.start + 5),
                "`while` needs `max`",
                labels=(Label(Span(end, end + 1), "write it here: `max 100`"),),
                notes=("every loop is bounded, so every run has a largest possible history",),
            )
        else:
            limit = self.value(node.limit, INT, "a bound")
        with self.knowing(self.facts(node.condition)[0]):
            body, number = self.loop_body(node.block, "while")
        return ["while", condition, limit, number, body]

    def loop_for(self, node: ast.For) -> Node:
        kind, source = self.items(node.source)
        self.scope.blocks.append({})
        self.scope.ahead.append(frozenset())
        variable = self.declare(node.variable, kind, "loop")
        body, number = self.loop_body(node.block, node.variable.text)
        self.close_block()
        return ["for", variable.slot, node.variable.text, number, source, body]

    def guarded(self, node: ast.Try) -> Checked:
        if not node.catches and node.final is None:
            self.error("RWF0001", "`try` needs a `catch` or a `finally`", node.span)
        body, leaves = self.block(node.block)
        catches: Node = []
        for catch in node.catches:
            block, left = self.catch(catch, node)
            catches.append(block)
            leaves = leaves and left
        final: Node | None = None
        if node.final is not None:
            loops, before = self.loops, self.final
            self.loops, self.final = 0, True
            final, left = self.block(node.final)
            self.loops, self.final = loops, before
            leaves = leaves or left
        return ["try", body, catches, final], leaves

    def catch(self, node: ast.Catch, whole: ast.Try) -> tuple[Node, bool]:
        names = [name.text for name in node.names]
        for name in node.names:
            _known_error(name, self.definitions, self.diagnostics)
        earlier = [c for c in whole.catches if c.span.start < node.span.start]
        for name in node.names:
            if any(not c.names or name.text in {n.text for n in c.names} for c in earlier):
                self.error("RWF0231", f"`{name.text}` is caught before", name.span, "never reached")
        self.scope.blocks.append({})
        self.scope.ahead.append(frozenset())
        slot = None
        if node.variable is not None:
            kind = ErrorType(names[0] if len(names) == 1 else None)
            slot = self.declare(node.variable, kind, "catch").slot
        block, leaves = self.block(node.block)
        self.close_block()
        if "Cancelled" in names and not leaves:
            self.diagnostics.error(
                "RWF0331",
                "a cancelled run must end",
                Span(node.span.start, node.span.start + 5),
                "`Cancelled` is caught and forgotten",
                help=("end the block with `fail e` or `return ...`",),
            )
        return [names, slot, block], leaves


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


def _may_be_none(kind: Type) -> bool:
    return isinstance(kind, OptionalType) or kind in (UNKNOWN, JSON, NOTHING)


# ------------------------------------------------------------------ workflows
class _Workflow(_Body):
    """Checks one workflow and makes its unit."""

    def __init__(
        self,
        node: ast.WorkflowDef,
        definitions: Definitions,
        diagnostics: Diagnostics,
        source: Source,
        functions: dict[str, _Compiled],
    ) -> None:
        where = f"workflow {node.name.text}"
        super().__init__(definitions, diagnostics, Scope(diagnostics, where))
        self.node = node
        self.source = source
        self.functions = functions
        if not node.version:
            self.diagnostics.error(
                "RWF0111",
                f"workflow `{node.name.text}` needs a version",
                node.name.span,
                "write `version 1` behind the name",
            )
        self.output = NOTHING if node.result is None else definitions.type_of(node.result)
        for name in node.raises:
            _known_error(name, definitions, diagnostics)
        self.inputs = definitions.fields(node.params)
        for field in self.inputs.values():
            self.declare(field.name, field.type, "input")
            self.default(field)
        self.declare_signals(node.block.statements)
        self.body, leaves = self.block(node.block, new=False)
        if not leaves and node.result is not None:
            self.missing_return(node.block)
        self.finish()
        for key, shape in self.signals.items():
            if key.removeprefix("signal ") not in self.awaited:
                message = f"nothing awaits {key}"
                diagnostics.warning("RWF0506", message, shape.name.span)

    def declare_signals(self, statements: Sequence[ast.Stmt]) -> None:
        for statement in statements:
            if not isinstance(statement, ast.SignalDef):
                continue
            key = f"signal {statement.name.text}"
            if key in self.signals:
                first = Label(self.signals[key].name.span, "first declared here")
                message = f"signal `{statement.name.text}` is declared twice"
                self.diagnostics.error(
                    "RWF0120", message, statement.name.span, "again", labels=(first,)
                )
            fields = self.definitions.fields(statement.params)
            self.signals[key] = Shape(statement.name, fields)
            for field in fields.values():
                self.default(field)

    def default(self, field: Field) -> list[Any]:
        """Return the default of a field as the IR keeps it."""
        if field.default is None:
            return []
        what = f"the default of `{field.name.text}`"
        return [encode_value(self.constant(field.default, field.type, what))]

    # -------------------------------------------------------------- the unit
    def unit(self) -> Unit:
        """Return the closed unit; only while nothing is wrong."""
        node = self.node
        order = _order([name for _, name in self.calls], self.functions)
        numbers = {name: number for number, name in enumerate(order)}
        compiled = [self.functions[name] for name in order]
        for calls in (self.calls, *(one.calls for one in compiled)):
            for call, name in calls:
                call[1] = numbers[name]
        activities = sorted(self.activities.values(), key=lambda one: one.name.text)
        kinds = [self.output, *(f.type for f in self.inputs.values())]
        kinds += [f.type for shape in self.signals.values() for f in shape.fields.values()]
        errors = {name.text for name in node.raises}
        for activity in activities:
            kinds += [activity.result, *(f.type for f in activity.params.values())]
            errors |= {name.text for name in activity.definition.raises}
        shapes = {n: self.definitions.errors[n] for n in sorted(errors) if n not in ERRORS}
        kinds += [f.type for shape in shapes.values() for f in shape.fields.values()]
        records = self.reachable(kinds)
        assert node.version is not None
        return Unit(
            name=node.name.text,
            version=node.version,
            inputs=self.fields(self.inputs),
            output=to_ir(self.output),
            raises=sorted(name.text for name in node.raises),
            records=[[n, self.fields(self.definitions.records[n].fields)] for n in sorted(records)],
            errors=[[name, self.fields(shape.fields)] for name, shape in shapes.items()],
            activities=[self.contract(activity) for activity in activities],
            signals=[
                [name.removeprefix("signal "), self.fields(shape.fields)]
                for name, shape in sorted(self.signals.items())
            ],
            functions=[[one.parameters, one.slots, one.body] for one in compiled],
            slots=len(self.scope.everything),
            body=self.body,
            fuel=FUEL,
            path=self.source.path.replace("\\", "/").rsplit("/", 1)[-1],
            doc=_doc(self.source, node.span.start),
            spans=tuple(n for span in self.spans for n in self.source.place(span.start)),
            variables=[
                [v.name.text, v.slot, v.role == "checkpoint", v.first, v.last]
                for v in self.scope.everything
                if v.first >= 0
            ],
        )

    def fields(self, fields: dict[str, Field]) -> Node:
        return [[name, to_ir(f.type), self.default(f)] for name, f in fields.items()]

    def contract(self, activity: Activity) -> Node:
        raises = sorted(name.text for name in activity.definition.raises)
        params = self.fields(activity.params)
        idempotent = activity.definition.idempotent
        return [activity.name.text, params, to_ir(activity.result), raises, idempotent]

    def reachable(self, kinds: Iterable[Type]) -> set[str]:
        """Return the names of all records that values of these types may hold."""
        found: set[str] = set()
        todo = list(kinds)
        while todo:
            match todo.pop():
                case RecordType(name) if name not in found:
                    found.add(name)
                    fields = self.definitions.records[name].fields
                    todo.extend(field.type for field in fields.values())
                case ListType(item) | MapType(item) | OptionalType(item):
                    todo.append(item)
                case _:
                    pass
        return found


def _doc(source: Source, start: int) -> str:
    """Return the ``##`` comment right above a definition."""
    number = source.place(start)[0] - 1
    lines: list[str] = []
    while number >= 1 and source.line(number).startswith("##"):
        lines.append(source.line(number)[2:].strip())
        number -= 1
    return "\n".join(reversed(lines))
