"""Syntax trees made by chance, and the texts that they are the trees of.

The text is written the dumbest way: every operand in parentheses, one blank between any two words.
So it is a second opinion on what the parser and the formatter make of it.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, cast

from raftoral.lang import ast
from raftoral.lang.source import Span
from raftoral.values import Money, format_span

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HERE: Final = Span(0, 0)
LOWER: Final = ["a", "b1", "order", "key", "limit", "at_", "x"]
UPPER: Final = ["Order", "Status", "E"]


def bare(node: Any) -> Any:
    """Return a tree without its spans, for comparison; where a word stands it may say that it does."""
    if isinstance(node, Span):
        return True
    if type(node).__module__.startswith("raftoral.lang.ast"):
        places = [name for name in node.__match_args__ if not name.endswith("span")]
        return (type(node).__name__, *(bare(getattr(node, name)) for name in places))
    if isinstance(node, tuple):
        return tuple(map(bare, node))
    return (type(node).__name__, str(node)) if isinstance(node, (Decimal, Money)) else node


class Maker:
    """Makes trees; ``choose(n)`` gives a number below n."""

    def __init__(self, choose: Callable[[int], int]) -> None:
        self.choose = choose
        self.left = 120
        """How many more inner nodes are made: what comes later is small."""

    def one(self, options: Sequence[Any]) -> Any:
        """Return one of several."""
        return options[self.choose(len(options))]

    def maybe(self, make: Callable[[], Any]) -> Any:
        """Return what ``make`` makes, or None."""
        return make() if self.choose(2) else None

    def some(self, make: Callable[[], Any], least: int = 0, most: int = 3) -> tuple[Any, ...]:
        """Return a few of what ``make`` makes."""
        return tuple(make() for _ in range(least + self.choose(most - least + 1)))

    def small(self) -> bool:
        """Tell whether nothing large may begin any more."""
        self.left -= 1
        return self.left < 0

    # names and types
    def name(self) -> ast.Ident:
        return ast.Ident(HERE, self.one(LOWER))

    def upper(self) -> ast.Ident:
        return ast.Ident(HERE, self.one(UPPER))

    def dotted(self) -> ast.Ident:
        return ast.Ident(HERE, ".".join(self.one(LOWER) for _ in range(1 + self.choose(2))))

    def tname(self) -> ast.Ident:
        return ast.Ident(HERE, self.one(["", "t."]) + self.one(UPPER))

    def type(self) -> ast.TypeRef:
        kind = self.choose(6)
        optional = bool(self.choose(2))
        if kind == 0 and not self.small():
            return ast.TypeRef(HERE, "list", (self.type(),), optional)
        if kind == 1 and not self.small():
            inner = ast.TypeRef(HERE, "string", (), False)
            return ast.TypeRef(HERE, "map", (inner, self.type()), optional)
        if kind == 2:
            return ast.TypeRef(HERE, "money", (ast.TypeRef(HERE, "EUR", (), False),), optional)
        if kind == 3:
            return ast.TypeRef(HERE, f"t.{self.one(UPPER)}", (), optional)
        return ast.TypeRef(HERE, self.one(["int", "bool", "json", *UPPER]), (), optional)

    def param(self) -> ast.Param:
        return ast.Param(HERE, self.name(), self.type(), self.maybe(self.expr))

    # expressions
    def literal(self) -> ast.Literal:
        values: list[Any] = [
            True, False, None, 0, 42, 10**18, Decimal("0.60"), Decimal("12.5"), "", "text", "a\n\"{b}\\",
            Money(Decimal("9.99"), "EUR"), Money(Decimal("7"), "JPY"), timedelta(milliseconds=250),
            timedelta(hours=1, minutes=30), timedelta(days=7),
        ]  # fmt: skip
        return ast.Literal(HERE, self.one(values))

    def expr(self) -> Any:
        if self.small():
            return self.one([self.literal, self.value])()
        return self.one(
            [
                self.literal,
                self.value,
                self.text,
                self.member,
                self.subscript,
                self.call,
                self.unary,
                self.binary,
                self.is_none,
                self.is_shape,
                self.decode,
                self.choice,
                self.list_of,
                self.map_of,
                self.update,
                self.comprehension,
            ]
        )()

    def value(self) -> Any:
        if self.choose(3):
            return ast.Name(HERE, self.one(LOWER))
        return ast.TypeName(HERE, self.one(UPPER))

    def text(self) -> ast.Text:
        hole = ast.Member(HERE, ast.Name(HERE, "a"), self.name(), False)
        return ast.Text(HERE, ("with ", hole, self.one([" and", "!"])))

    def member(self) -> ast.Member:
        return ast.Member(HERE, self.expr(), self.name(), bool(self.choose(2)))

    def subscript(self) -> ast.Subscript:
        return ast.Subscript(HERE, self.expr(), self.expr())

    def arg(self) -> ast.Arg:
        return ast.Arg(HERE, self.maybe(self.name), self.expr())

    def args(self) -> tuple[ast.Arg, ...]:
        if self.choose(6) == 0:
            return (ast.Arg(HERE, None, self.comprehension()),)
        return self.some(self.arg)

    def call(self) -> ast.Call:
        return ast.Call(HERE, self.expr(), self.args())

    def unary(self) -> ast.Unary:
        return ast.Unary(HERE, self.one(["not", "-"]), self.expr())

    def binary(self) -> Any:
        operator = self.one(
            [
                "==",
                "!=",
                "<",
                "<=",
                ">",
                ">=",
                "+",
                "-",
                "*",
                "/",
                "//",
                "%",
                "in",
                "and",
                "or",
                "??",
            ]
        )
        made = ast.Binary(HERE, operator, self.expr(), self.expr())
        negated = operator == "in" and self.choose(2)
        return ast.Unary(HERE, "not", made) if negated else made

    def is_none(self) -> ast.IsNone:
        return ast.IsNone(HERE, self.expr(), bool(self.choose(2)))

    def is_shape(self) -> ast.IsShape:
        return ast.IsShape(HERE, self.expr(), self.shape(), bool(self.choose(2)))

    def decode(self) -> ast.Decode:
        return ast.Decode(HERE, self.type(), self.expr())

    def choice(self) -> ast.Choice:
        return ast.Choice(HERE, self.expr(), self.expr(), self.expr())

    def list_of(self) -> ast.ListOf:
        return ast.ListOf(HERE, self.some(self.expr))

    def entry(self) -> ast.Entry:
        keys = [ast.Ident(HERE, self.one([*LOWER, "b c", "1"])), self.text()]
        return ast.Entry(HERE, self.one(keys), self.expr())

    def map_of(self) -> ast.MapOf:
        return ast.MapOf(HERE, self.some(self.entry))

    def update(self) -> ast.Update:
        return ast.Update(HERE, self.expr(), self.some(self.entry))

    def comprehension(self) -> ast.Comprehension:
        index = self.maybe(self.name)
        return ast.Comprehension(
            HERE, self.expr(), index, self.name(), self.expr(), self.maybe(self.expr)
        )

    # patterns
    def pattern(self, *, inside: bool = False) -> Any:
        kind = self.choose(4 if inside or self.small() else 5)
        if kind == 0:
            return ast.LiteralPattern(HERE, self.literal_pattern())
        if kind == 1:
            return ast.BindPattern(HERE, self.one([self.name(), ast.Ident(HERE, "_")]))
        if kind < 4:
            return self.shape()
        return ast.Alternatives(HERE, tuple(self.pattern(inside=True) for _ in range(2)))

    def literal_pattern(self) -> ast.Literal:
        return ast.Literal(
            HERE, self.one([1, -1, "a", True, None, Decimal("-0.5"), timedelta(seconds=5)])
        )

    def shape(self) -> ast.ShapePattern:
        name = ast.Ident(HERE, self.one(["", "t."]) + self.one(UPPER) + self.one(["", ".Case"]))
        return ast.ShapePattern(HERE, name, self.maybe(lambda: self.some(self.field_pattern)))

    def field_pattern(self) -> ast.FieldPattern:
        name = self.name()
        if self.choose(2):
            return ast.FieldPattern(HERE, name, ast.BindPattern(HERE, name))
        return ast.FieldPattern(HERE, name, self.pattern())

    # statements
    def block(self) -> ast.Block:
        return ast.Block(HERE, self.some(self.statement, 0, 3))

    def statement(self) -> Any:
        flat = [
            self.let, self.assign, self.leave, self.jump, self.checkpoint, self.compute, self.child,
            self.callback, self.sleep, self.wait, self.log, self.restart, self.declaration,
        ]  # fmt: skip
        deep = [
            self.if_, self.match, self.while_, self.for_, self.try_, self.saga, self.parallel,
            self.race,
        ]  # fmt: skip
        return self.one(flat if self.small() else flat + deep)()

    def let(self) -> ast.Let:
        return ast.Let(HERE, self.name(), self.maybe(self.type), self.expr(), bool(self.choose(2)))

    def assign(self) -> ast.Assign:
        return ast.Assign(HERE, ast.Ident(HERE, self.one(["a", "b1", "order"])), self.expr())

    def leave(self) -> Any:
        kind = self.one([ast.Return, ast.Fail, ast.Give])
        if self.choose(4) == 0:
            return ast.Require(HERE, self.expr(), self.expr())
        return kind(HERE, self.expr())

    def jump(self) -> Any:
        return self.one([ast.Break, ast.Continue, ast.Undo])(HERE)

    def checkpoint(self) -> ast.CheckpointStmt:
        return ast.CheckpointStmt(HERE, self.name(), self.maybe(self.type), self.expr())

    def retry(self) -> ast.Retry:
        backoff = self.maybe(
            lambda: ast.Backoff(HERE, self.literal(), self.literal(), self.one([150, 200, 300]))
        )
        names = self.some(self.tname)
        return ast.Retry(HERE, self.one([1, 5]), backoff, self.one([0, 20]), names)

    def clause(self) -> Any:
        value = self.expr()
        return self.one(
            [
                self.retry(),
                ast.RetryPolicy(HERE, self.dotted()),
                ast.Timeout(HERE, value),
                ast.Deadline(HERE, value),
                ast.Heartbeat(HERE, value),
                ast.Key(HERE, value),
                ast.AtMostOnce(HERE),
            ]
        )

    def compute(self) -> ast.ComputeStmt:
        name = self.maybe(self.name)
        undo = self.maybe(
            lambda: ast.Compensate(HERE, self.dotted(), self.args(), self.some(self.clause, 0, 1))
        )
        kind = None if name is None else self.maybe(self.type)
        clauses = self.some(self.clause, 0, 2)
        return ast.ComputeStmt(HERE, name, kind, self.dotted(), self.args(), clauses, undo)

    def child(self) -> ast.ChildStmt:
        name = self.maybe(self.name)
        kind = None if name is None else self.maybe(self.type)
        close = self.maybe(self.name)
        version = self.maybe(lambda: 3)
        detached = bool(self.choose(2))
        return ast.ChildStmt(HERE, detached, name, kind, self.dotted(), version, self.args(), close)

    def callback(self) -> ast.CallbackStmt:
        return ast.CallbackStmt(HERE, self.name(), self.type(), self.some(self.clause, 0, 2))

    def sleep(self) -> ast.Sleep:
        return ast.Sleep(HERE, self.expr(), bool(self.choose(2)))

    def wait(self) -> ast.Await:
        timeout = self.maybe(self.expr)
        block = None if timeout is None else self.maybe(self.block)
        return ast.Await(
            HERE, self.name(), self.maybe(self.name), self.maybe(self.expr), timeout, block
        )

    def log(self) -> ast.Log:
        return ast.Log(HERE, self.expr())

    def restart(self) -> ast.Restart:
        return ast.Restart(HERE, self.args())

    def declaration(self) -> Any:
        return self.one(
            [
                ast.SignalDef(HERE, self.name(), self.some(self.param)),
                ast.QueryDef(HERE, self.name(), self.type(), self.expr()),
                ast.UpdateDef(HERE, self.name(), self.some(self.param), self.maybe(self.type)),
            ]
        )

    def if_(self) -> ast.If:
        arms = tuple(ast.Arm(self.expr(), self.block()) for _ in range(1 + self.choose(2)))
        return ast.If(HERE, arms, self.maybe(self.block))

    def match(self) -> ast.Match:
        return ast.Match(HERE, self.expr(), self.some(self.case))

    def case(self) -> ast.Case:
        return ast.Case(HERE, self.pattern(), self.maybe(self.expr), self.block())

    def while_(self) -> ast.While:
        return ast.While(HERE, self.expr(), self.maybe(self.expr), self.block())

    def amount(self) -> Any:
        return ast.Share(HERE, 20) if self.choose(2) else self.expr()

    def for_(self) -> ast.For:
        fan = self.maybe(
            lambda: ast.Fan(
                HERE,
                self.maybe(self.expr),
                self.maybe(self.expr),
                self.maybe(self.amount),
                self.maybe(lambda: HERE),
                self.maybe(self.name),
            )
        )
        index = self.maybe(self.name)
        return ast.For(
            HERE, index, self.name(), self.expr(), self.maybe(self.expr), fan, self.block()
        )

    def try_(self) -> ast.Try:
        catches = self.some(
            lambda: ast.Catch(HERE, self.some(self.tname), self.maybe(self.name), self.block()),
            0,
            2,
        )
        return ast.Try(HERE, self.block(), catches, self.maybe(self.block))

    def saga(self) -> ast.Saga:
        return ast.Saga(HERE, self.block())

    def branch(self) -> ast.Branch:
        return ast.Branch(HERE, self.name(), self.block())

    def parallel(self) -> ast.Parallel:
        return ast.Parallel(
            HERE, self.maybe(self.expr), self.maybe(self.expr), self.maybe(self.amount),
            self.maybe(lambda: HERE), self.maybe(self.name), self.some(self.branch),
        )  # fmt: skip

    def arm(self) -> Any:
        return self.one(
            [
                self.branch,
                lambda: ast.AfterArm(HERE, self.expr(), self.block()),
                lambda: ast.OnArm(
                    HERE, self.name(), self.maybe(self.name), self.maybe(self.expr), self.block()
                ),
            ]
        )()

    def race(self) -> ast.Race:
        return ast.Race(HERE, self.maybe(self.name), self.some(self.arm))

    # definitions
    def file(self) -> ast.File:
        return ast.File(self.some(self.item, 1, 4))

    def item(self) -> Any:
        return self.one(
            [
                lambda: ast.Import(HERE, "types.rwf", HERE, self.name()),
                lambda: ast.ConstDef(HERE, self.upper(), self.maybe(self.type), self.expr()),
                lambda: ast.RecordDef(HERE, self.upper(), self.some(self.param)),
                lambda: ast.EnumDef(HERE, self.upper(), self.some(self.variant)),
                lambda: ast.ErrorDef(HERE, self.upper(), self.some(self.param, 1)),
                lambda: ast.PolicyDef(HERE, self.name(), self.retry()),
                self.activity,
                lambda: ast.FnDef(
                    HERE, self.name(), self.some(self.param), self.maybe(self.type), self.block()
                ),
                self.workflow,
                self.workflow,
                self.test,
            ]
        )()

    def variant(self) -> ast.Variant:
        return ast.Variant(HERE, self.upper(), self.some(self.param, 1) if self.choose(2) else ())

    def activity(self) -> ast.ActivityDef:
        timeout = self.maybe(self.literal)
        return ast.ActivityDef(
            HERE, self.dotted(), self.some(self.param), self.maybe(self.type),
            self.some(self.tname, 0, 2), timeout, bool(self.choose(2)),
        )  # fmt: skip

    def workflow(self) -> ast.WorkflowDef:
        return ast.WorkflowDef(
            HERE, self.dotted(), self.maybe(lambda: 2), self.some(self.param), self.maybe(self.type),
            self.some(self.tname), self.some(self.name), self.maybe(self.block),
        )  # fmt: skip

    def test(self) -> ast.TestDef:
        version = self.maybe(lambda: 1)
        return ast.TestDef(HERE, "a title", self.dotted(), version, self.some(self.test_step))

    def test_step(self) -> Any:
        answer = ast.Answer(HERE, bool(self.choose(2)), self.expr())
        event = self.one(
            [
                ast.Happen(HERE, self.one(["crash", "cancel"])),
                ast.SendSignal(HERE, bool(self.choose(2)), self.name(), self.args()),
                ast.CompleteCallback(HERE, self.name(), answer),
            ]
        )
        return self.one(
            [
                ast.Given(HERE, self.args()),
                ast.Mock(HERE, self.dotted(), answer, self.maybe(lambda: 2)),
                ast.MockTakes(HERE, self.dotted(), self.expr()),
                ast.At(HERE, self.expr(), event),
                ast.Expect(HERE, self.expr()),
                ast.ExpectFailure(HERE, self.tname()),
            ]
        )


# ------------------------------------------------------------------ texts
def write(node: Any) -> str:
    """Return the text of a tree."""
    return cast(str, _WRITERS[type(node)](node))


def _list(nodes: Sequence[Any], between: str = ", ") -> str:
    return between.join(map(write, nodes))


def _opt(word: str, node: Any) -> str:
    return "" if node is None else f" {word} {write(node)}"


def _literal(node: ast.Literal) -> str:
    value = node.value
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return "none"
        case str():
            return f'"{_escaped(value)}"'
        case Money(amount, currency):
            return f"{amount}{currency}"
        case timedelta():
            return format_span(value)
        case _:
            return str(value)


def _escaped(text: str) -> str:
    for old, new in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("{", "\\{"), ("}", "\\}")):
        text = text.replace(old, new)
    return text


def _text(node: ast.Text) -> str:
    return '"' + "".join(p if isinstance(p, str) else f"{{{write(p)}}}" for p in node.parts) + '"'


def _type(node: ast.TypeRef) -> str:
    inner = f"<{_list(node.arguments)} >" if node.arguments else ""
    return node.name + inner + ("?" if node.optional else "")


def _group(node: Any) -> str:
    return f"({write(node)})"


def _each(node: ast.Comprehension) -> str:
    index = "" if node.index is None else f"{write(node.index)}, "
    condition = "" if node.condition is None else f" if {_group(node.condition)}"
    return (
        f"{_group(node.item)} for {index}{write(node.variable)} in {_group(node.source)}{condition}"
    )


def _args(args: Sequence[ast.Arg]) -> str:
    if len(args) == 1 and isinstance(args[0].value, ast.Comprehension) and args[0].name is None:
        return f"({_each(args[0].value)})"
    return f"({_list(args)})"


def _entry(node: ast.Entry) -> str:
    key = node.key
    shown = write(key) if isinstance(key, ast.Text) else f'"{key.text}"'
    return f"{shown}: {write(node.value)}"


def _unary(node: ast.Unary) -> str:
    return f"({node.operator} {_group(node.operand)})"


def _is(node: ast.IsNone | ast.IsShape) -> str:
    negated = " not" if node.negated else ""
    what = "none" if isinstance(node, ast.IsNone) else write(node.shape)
    return f"({_group(node.operand)} is{negated} {what})"


def _shape(node: ast.ShapePattern) -> str:
    return node.name.text + ("" if node.fields is None else f"({_list(node.fields)})")


def _param(node: ast.Param) -> str:
    default = "" if node.default is None else f" = {_group(node.default)}"
    return f"{write(node.name)}: {write(node.type)}{default}"


def _block(node: ast.Block | None) -> str:
    return "" if node is None else f"{{ {_list(node.statements, ' ')} }}"


def _bound(name: Any, kind: Any) -> str:
    return "" if name is None else f"{write(name)}{_opt(':', kind)} = "


def _retry(node: ast.Retry) -> str:
    backoff = ""
    if node.backoff is not None:
        factor = Decimal(node.backoff.factor_percent) / 100
        backoff = f" backoff {write(node.backoff.first)}..{write(node.backoff.longest)} factor {factor:.2f}"
    jitter = f" jitter {node.jitter_percent}%" if node.jitter_percent else ""
    only = f" on {_list(node.only)}" if node.only else ""
    return f"{'never' if node.attempts == 1 else node.attempts}{backoff}{jitter}{only}"


def _clauses(clauses: Sequence[Any]) -> str:
    return "".join(f" {write(clause)}" for clause in clauses)


def _fan(node: ast.Fan | ast.Parallel) -> str:
    bounds = _opt("limit", node.limit) + _opt("min", node.least) + _opt("tolerate", node.tolerate)
    return f"parallel{bounds}{' outcomes' if node.outcomes else ''}"


def _for(node: ast.For) -> str:
    index = "" if node.index is None else f"{write(node.index)}, "
    fan = "" if node.fan is None else f" {_fan(node.fan)}{_opt('collect', node.fan.collect)}"
    head = f"for {index}{write(node.variable)} in {_group(node.source)}{_opt('by', node.by)}"
    return f"{head}{fan} {_block(node.block)}"


def _if(node: ast.If) -> str:
    arms = " else ".join(f"if {_group(a.condition)} {_block(a.block)}" for a in node.arms)
    return arms + ("" if node.otherwise is None else f" else {_block(node.otherwise)}")


def _await(node: ast.Await) -> str:
    after = "" if node.otherwise is None else f" else {_block(node.otherwise)}"
    return f"await {write(node.source)}{_opt('as', node.name)}{_opt('answer', node.answer)}{_opt('timeout', node.timeout)}{after}"


def _try(node: ast.Try) -> str:
    catches = "".join(
        f" catch {_list(c.names)}{_opt('as', c.variable)} {_block(c.block)}" for c in node.catches
    )
    final = "" if node.final is None else f" finally {_block(node.final)}"
    return f"try {_block(node.block)}{catches}{final}"


def _child(node: ast.ChildStmt) -> str:
    version = "" if node.version is None else f" version {node.version} "
    word = "start" if node.detached else "call"
    return f"{word} {_bound(node.name, node.type)}{write(node.workflow)}{version}{_args(node.args)}{_opt('close', node.close)}"


def _compute(node: ast.ComputeStmt) -> str:
    undo = "" if node.compensate is None else f" {write(node.compensate)}"
    return f"compute {_bound(node.name, node.type)}{write(node.activity)}{_args(node.args)}{_clauses(node.clauses)}{undo}"


def _workflow(node: ast.WorkflowDef) -> str:
    version = "" if node.version is None else f" version {node.version}"
    raises = f" raises {_list(node.raises)}" if node.raises else ""
    search = f" search {_list(node.search)}" if node.search else ""
    return f"workflow {write(node.name)}{version} ({_list(node.params)}){_opt('->', node.result)}{raises}{search} {_block(node.block)}"


def _activity(node: ast.ActivityDef) -> str:
    raises = f" raises {_list(node.raises)}" if node.raises else ""
    idempotent = " idempotent" if node.idempotent else ""
    return f"activity {write(node.name)}({_list(node.params)}){_opt('->', node.result)}{raises}{_opt('timeout', node.timeout)}{idempotent}"


def _send(node: ast.SendSignal) -> str:
    return f"{'update' if node.update else 'signal'} {write(node.name)}{_args(node.args)}"


def _test(node: ast.TestDef) -> str:
    version = "" if node.version is None else f" version {node.version}"
    return f'test "{node.title}" for {write(node.workflow)}{version} {{ {_list(node.steps, " ")} }}'


_WRITERS: Final[dict[type, Callable[[Any], str]]] = {
    ast.Ident: lambda n: n.text,
    ast.TypeRef: _type,
    ast.Param: _param,
    ast.Literal: _literal,
    ast.Text: _text,
    ast.Name: lambda n: n.name,
    ast.TypeName: lambda n: n.name,
    ast.Member: lambda n: f"{_group(n.base)}{'?.' if n.optional else '.'}{n.name.text}",
    ast.Subscript: lambda n: f"{_group(n.base)}[{write(n.at)}]",
    ast.Arg: lambda n: ("" if n.name is None else f"{n.name.text}: ") + _group(n.value),
    ast.Call: lambda n: f"{_group(n.callee)}{_args(n.args)}",
    ast.Unary: _unary,
    ast.Binary: lambda n: f"({_group(n.left)} {n.operator} {_group(n.right)})",
    ast.IsNone: _is,
    ast.IsShape: _is,
    ast.Decode: lambda n: f"decode({write(n.type)}, {write(n.value)})",
    ast.Choice: lambda n: (
        f"(if {_group(n.condition)} then {_group(n.then)} else {_group(n.otherwise)})"
    ),
    ast.ListOf: lambda n: f"[{', '.join(_group(i) for i in n.items)}]",
    ast.Entry: _entry,
    ast.MapOf: lambda n: f"{{{_list(n.entries)}}}",
    ast.Update: lambda n: f"{{{', '.join(['...' + _group(n.base), *map(write, n.entries)])}}}",
    ast.Comprehension: lambda n: f"[{_each(n)}]",
    ast.LiteralPattern: lambda n: _literal(n.literal),
    ast.BindPattern: lambda n: n.name.text,
    ast.FieldPattern: lambda n: f"{n.name.text}: {write(n.pattern)}",
    ast.ShapePattern: _shape,
    ast.Alternatives: lambda n: _list(n.options, " | "),
    ast.Block: _block,
    ast.Let: lambda n: (
        f"{'var' if n.variable else 'let'} {n.name.text}{_opt(':', n.type)} = {write(n.value)}"
    ),
    ast.Assign: lambda n: f"{n.name.text} = {write(n.value)}",
    ast.Require: lambda n: f"require {_group(n.condition)} else {write(n.otherwise)}",
    ast.Return: lambda n: f"return {write(n.value)}",
    ast.Fail: lambda n: f"fail {write(n.error)}",
    ast.Give: lambda n: f"give {write(n.value)}",
    ast.Break: lambda n: "break",
    ast.Continue: lambda n: "continue",
    ast.Undo: lambda n: "undo",
    ast.CheckpointStmt: lambda n: f"checkpoint {n.name.text}{_opt(':', n.type)} = {write(n.value)}",
    ast.Retry: lambda n: f"retry {_retry(n)}",
    ast.RetryPolicy: lambda n: f"retry {n.name.text}",
    ast.Timeout: lambda n: f"timeout {_group(n.value)}",
    ast.Deadline: lambda n: f"deadline {_group(n.value)}",
    ast.Heartbeat: lambda n: f"heartbeat {_group(n.value)}",
    ast.Key: lambda n: f"key {_group(n.value)}",
    ast.AtMostOnce: lambda n: "at_most_once",
    ast.Compensate: lambda n: f"compensate {n.activity.text}{_args(n.args)}{_clauses(n.clauses)}",
    ast.ComputeStmt: _compute,
    ast.ChildStmt: _child,
    ast.CallbackStmt: lambda n: f"callback {n.name.text}: {write(n.type)}{_clauses(n.clauses)}",
    ast.Sleep: lambda n: f"sleep {'until ' if n.until else ''}{_group(n.value)}",
    ast.Await: _await,
    ast.Log: lambda n: f"log {write(n.value)}",
    ast.Restart: lambda n: f"restart with {_args(n.args)}",
    ast.SignalDef: lambda n: f"signal {n.name.text}({_list(n.params)})",
    ast.QueryDef: lambda n: f"query {n.name.text} -> {write(n.type)} = {write(n.value)}",
    ast.UpdateDef: lambda n: f"update {n.name.text}({_list(n.params)}){_opt('->', n.result)}",
    ast.If: _if,
    ast.Case: lambda n: f"case {write(n.pattern)}{_opt('if', n.guard)} {_block(n.block)}",
    ast.Match: lambda n: f"match {_group(n.subject)} {{ {_list(n.cases, ' ')} }}",
    ast.While: lambda n: f"while {_group(n.condition)}{_opt('max', n.limit)} {_block(n.block)}",
    ast.Share: lambda n: f"{n.percent}%",
    ast.For: _for,
    ast.Try: _try,
    ast.Saga: lambda n: f"saga {_block(n.block)}",
    ast.Branch: lambda n: f"branch {n.name.text} {_block(n.block)}",
    ast.Parallel: lambda n: f"{_fan(n)}{_opt('as', n.name)} {{ {_list(n.branches, ' ')} }}",
    ast.OnArm: lambda n: (
        f"on {n.source.text}{_opt('as', n.name)}{_opt('answer', n.answer)} {_block(n.block)}"
    ),
    ast.AfterArm: lambda n: f"after {_group(n.value)} {_block(n.block)}",
    ast.Race: lambda n: f"race{_opt('as', n.name)} {{ {_list(n.arms, ' ')} }}",
    ast.Import: lambda n: f'import "{n.path}" as {n.name.text}',
    ast.ConstDef: lambda n: f"const {n.name.text}{_opt(':', n.type)} = {write(n.value)}",
    ast.RecordDef: lambda n: f"record {n.name.text} {{ {_list(n.fields, ' ')} }}",
    ast.Variant: lambda n: n.name.text + (f"({_list(n.fields)})" if n.fields else ""),
    ast.EnumDef: lambda n: f"enum {n.name.text} {{ {_list(n.cases, ' ')} }}",
    ast.ErrorDef: lambda n: f"error {n.name.text} {{ {_list(n.fields, ' ')} }}",
    ast.PolicyDef: lambda n: f"policy {n.name.text} = {_retry(n.retry)}",
    ast.ActivityDef: _activity,
    ast.FnDef: lambda n: (
        f"fn {n.name.text}({_list(n.params)}){_opt('->', n.result)} {_block(n.block)}"
    ),
    ast.WorkflowDef: _workflow,
    ast.Given: lambda n: f"given {_args(n.args)}",
    ast.Answer: lambda n: f"{'fails' if n.fails else 'returns'} {write(n.value)}",
    ast.Mock: lambda n: (
        f"mock {n.name.text} {write(n.answer)}" + ("" if n.times is None else f" times {n.times}")
    ),
    ast.MockTakes: lambda n: f"mock {n.name.text} takes {write(n.value)}",
    ast.SendSignal: _send,
    ast.CompleteCallback: lambda n: f"callback {n.name.text} {write(n.answer)}",
    ast.Happen: lambda n: n.what,
    ast.At: lambda n: f"at {_group(n.when)} {write(n.event)}",
    ast.Expect: lambda n: f"expect {write(n.value)}",
    ast.ExpectFailure: lambda n: f"expect failure {n.name.text}",
    ast.TestDef: _test,
    ast.File: lambda n: _list(n.items, "\n"),
}
