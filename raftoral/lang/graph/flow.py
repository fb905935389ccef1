"""What a picture of a workflow shows: its statements as steps, choices, loops, lanes and ends.

Made from the syntax tree, so that a text that does not check yet can be drawn. Every kind of
statement is named here, so a new one cannot be forgotten. The words are those of the source, with
its line ends as blanks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias, assert_never

from raftoral.errors import UsageError
from raftoral.lang import ast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.lang.source import Source, Span

DEPTH_MAX: Final = 32

_NOISE = re.compile(r'("""[\s\S]*?"""|"(?:\\.|[^"\\\n])*")|#[^\n]*')
_COMMA = re.compile(r",? ?([)\]])|(?<=[(\[]) ")

Kind: TypeAlias = Literal[
    "await", "call", "callback", "checkpoint", "compute", "let", "log", "sleep", "start", "undo"
]  # fmt: skip
Leaving: TypeAlias = Literal["return", "fail", "restart", "give", "break", "continue"]


@dataclass(frozen=True, slots=True)
class Step:
    """One statement in a box: what it does, the clauses below it, and what takes it back."""

    kind: Kind
    text: str
    clauses: tuple[str, ...] = ()
    undo: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """A statement after which nothing follows."""

    kind: Leaving
    text: str


@dataclass(frozen=True, slots=True)
class Way:
    """One way out of a choice, a lane, or a caught error: its label and what happens there."""

    label: str
    flow: Flow


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several ways; ``waits`` if the run waits here instead of deciding."""

    text: str
    ways: tuple[Way, ...]
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """A part with a frame around it: a loop, a saga, what `finally` does, or turns side by side."""

    kind: Literal["loop", "fan", "saga", "finally"]
    text: str
    flow: Flow


@dataclass(frozen=True, slots=True)
class Lanes:
    """Branches that run at the same time: all of them, or until the first has ended."""

    kind: Literal["parallel", "race"]
    text: str
    lanes: tuple[Way, ...]


@dataclass(frozen=True, slots=True)
class Guard:
    """A part whose errors are caught."""

    flow: Flow
    catches: tuple[Way, ...]


Node: TypeAlias = "Step | End | Choice | Frame | Lanes | Guard"
Flow: TypeAlias = "tuple[Node, ...]"

_Nested: TypeAlias = (
    "ast.If | ast.Match | ast.While | ast.For | ast.Try | ast.Saga | ast.Parallel | ast.Race"
)


def leaves(flow: Flow) -> bool:
    """Tell whether nothing behind ``flow`` is ever reached from it."""
    return any(map(_leaves, flow))


def gives(flow: Flow) -> bool:
    """Tell whether a branch may end by giving a value."""
    return any(_gives(node) for node in flow)


def _gives(node: Node) -> bool:
    match node:
        case End(kind):
            return kind == "give"
        case Choice(_, ways):
            return any(gives(way.flow) for way in ways)
        case Frame(kind, _, flow):
            return kind != "fan" and gives(flow)
        case Guard(flow, catches):
            return gives(flow) or any(gives(way.flow) for way in catches)
        case Step() | Lanes():  # the lanes inside give to themselves
            return False
        case _:
            assert_never(node)


def _leaves(node: Node) -> bool:
    match node:
        case Step():
            return False
        case End():
            return True
        case Choice(_, ways):
            return all(leaves(way.flow) for way in ways)
        case Frame(kind, _, flow):
            return kind in ("saga", "finally") and leaves(flow)
        case Lanes():
            return False
        case Guard(flow, catches):
            return leaves(flow) and all(leaves(way.flow) for way in catches)
        case _:
            assert_never(node)


def flow_of(workflow: ast.WorkflowDef, source: Source) -> Flow:
    """Return what a picture of ``workflow`` shows; empty for the contract of one elsewhere."""
    return () if workflow.block is None else _Reader(source).block(workflow.block)


def heading(workflow: ast.WorkflowDef, source: Source) -> tuple[str, str]:
    """Return name and version of a workflow, and its inputs and result."""
    reader = _Reader(source)
    inputs = ", ".join(reader.text(param) for param in workflow.params)
    result = "" if workflow.result is None else f" -> {reader.text(workflow.result)}"
    return f"{workflow.name.text} version {workflow.version}", f"({inputs}){result}"


class _Spanned(Protocol):
    @property
    def span(self) -> Span: ...


class _Reader:
    """Turns statements into nodes; ``source`` has their words."""

    def __init__(self, source: Source) -> None:
        self._text = source.text
        self._checkpoints: set[str] = set()
        self._depth = 0

    def text(self, node: _Spanned) -> str:
        """Return the source of a node on one line, without its comments."""
        return self._between(node.span.start, node.span.end)

    def _between(self, start: int, end: int) -> str:
        start, end = self._balanced(start, end)
        text = self._text[start:end].strip()
        if "\n" not in text:
            return text
        plain = _NOISE.sub(lambda found: found[1] or "", text)
        return _COMMA.sub(r"\1", " ".join(plain.split()))

    def _balanced(self, start: int, end: int) -> tuple[int, int]:
        """Take parentheses in that are no part of a node: `(a + b) * c` begins at `a`."""
        quiet = _NOISE.sub(lambda found: " " * len(found[0]), self._text[start:end])
        depth = lowest = 0
        for sign in quiet:
            depth += (sign == "(") - (sign == ")")
            lowest = min(lowest, depth)
        for _ in range(-lowest):
            start = self._text.rindex("(", 0, start)
        for _ in range(depth - lowest):
            end = self._text.index(")", end) + 1
        return start, end

    def block(self, block: ast.Block) -> Flow:
        found: list[Node] = []
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise UsageError(f"blocks deeper than {DEPTH_MAX} levels are not drawn, and do not run")
        for statement in block.statements:
            found += self.statement(statement)
        self._depth -= 1
        return tuple(found)

    def statement(self, one: ast.Stmt) -> Sequence[Node]:
        match one:
            case ast.Let(_, name, _, value) | ast.Assign(_, name, value):
                kind: Kind = "checkpoint" if name.text in self._checkpoints else "let"
                return [Step(kind, f"{name.text} = {self.text(value)}")]
            case ast.CheckpointStmt(_, name, _, value):
                self._checkpoints.add(name.text)
                return [Step("checkpoint", f"{name.text} = {self.text(value)}")]
            case ast.ComputeStmt():
                return [self._compute(one)]
            case ast.ChildStmt():
                word: Kind = "start" if one.detached else "call"
                return [Step(word, self.text(one).removeprefix(f"{word} "))]
            case ast.CallbackStmt(_, name, type_, clauses):
                words = f"{name.text}: {self.text(type_)}"
                return [Step("callback", words, tuple(map(self.text, clauses)))]
            case ast.Sleep(_, value, until):
                return [Step("sleep", f"until {self.text(value)}" if until else self.text(value))]
            case ast.Await():
                return [self._await(one)]
            case ast.Log(_, value):
                return [Step("log", self.text(value))]
            case ast.Give(_, value):
                return [End("give", self.text(value))]
            case ast.Undo():
                return [Step("undo", "what was done")]
            case ast.SignalDef() | ast.QueryDef() | ast.UpdateDef():
                return []  # what others may ask for is not a step
            case ast.Require(_, condition, otherwise):
                error = (End("fail", self.text(otherwise)),)
                return [Choice(self.text(condition), (Way("yes", ()), Way("no", error)))]
            case ast.Return(_, value):
                return [End("return", self.text(value))]
            case ast.Fail(_, error_):
                return [End("fail", self.text(error_))]
            case ast.Restart():
                return [End("restart", self.text(one).removeprefix("restart "))]
            case ast.Break():
                return [End("break", "")]
            case ast.Continue():
                return [End("continue", "")]
            case _:
                return self._nested(one)

    def _nested(self, one: _Nested) -> Sequence[Node]:
        """Return the nodes of a statement with blocks in it."""
        match one:
            case ast.If(_, arms, otherwise_):
                rest: Flow = () if otherwise_ is None else self.block(otherwise_)
                if len(arms) > 2:
                    found = [Way(self.text(arm.condition), self.block(arm.block)) for arm in arms]
                    return [Choice("the first that holds", (*found, Way("else", rest)))]
                for arm in reversed(arms):
                    ways = (Way("yes", self.block(arm.block)), Way("no", rest))
                    rest = (Choice(self.text(arm.condition), ways),)
                return rest
            case ast.Match(_, subject, cases):
                found = [Way(self._case(case), self.block(case.block)) for case in cases]
                return [Choice(self.text(subject), tuple(found))]
            case ast.While(_, condition, limit, block):
                most = "" if limit is None else f" max {self.text(limit)}"
                words = f"while {self.text(condition)}{most}"
                return [Frame("loop", words, self.block(block))]
            case ast.For():
                return [self._for(one)]
            case ast.Try(_, block, catches, final):
                caught = tuple(Way(self._caught(c), self.block(c.block)) for c in catches)
                nodes: list[Node] = [Guard(self.block(block), caught)]
                if final is not None:
                    nodes.append(Frame("finally", "finally", self.block(final)))
                return nodes
            case ast.Saga(_, block):
                return [Frame("saga", "saga: undone together if it fails", self.block(block))]
            case ast.Parallel(_, _, _, _, _, name, branches):
                lanes = tuple(Way(b.name.text, self.block(b.block)) for b in branches)
                words = self._all("all of them", one)
                return [Lanes("parallel", words + (f", as {name.text}" if name else ""), lanes)]
            case ast.Race(_, name, arms_):
                lanes = tuple(self._arm(arm) for arm in arms_)
                words = "the first one wins" + (f", as {name.text}" if name else "")
                return [Lanes("race", words, lanes)]
            case _:
                assert_never(one)

    def _compute(self, one: ast.ComputeStmt) -> Step:
        behind = [*one.clauses, *([] if one.compensate is None else [one.compensate])]
        end = behind[0].span.start if behind else one.span.end
        call = self._between(one.activity.span.start, end)
        words = call if one.name is None else f"{one.name.text} = {call}"
        undo = "" if one.compensate is None else one.compensate.activity.text
        return Step("compute", words, tuple(map(self.text, one.clauses)), undo)

    def _await(self, one: ast.Await) -> Node:
        words = one.source.text + ("" if one.name is None else f" as {one.name.text}")
        if one.timeout is None:
            return Step("await", words)
        limit = self.text(one.timeout)
        if one.otherwise is None:
            return Step("await", words, (f"timeout {limit}",))
        late = Way(f"after {limit}", self.block(one.otherwise))
        return Choice(words, (Way("it came", ()), late), waits=True)

    def _case(self, case: ast.Case) -> str:
        guard = "" if case.guard is None else f" if {self.text(case.guard)}"
        pattern = self.text(case.pattern)
        return ("otherwise" if pattern == "_" else pattern) + guard

    def _caught(self, catch: ast.Catch) -> str:
        names = ", ".join(name.text for name in catch.names) or "any error"
        return names if catch.variable is None else f"{names} as {catch.variable.text}"

    def _for(self, one: ast.For) -> Frame:
        index = "" if one.index is None else f"{one.index.text}, "
        words = f"for {index}{one.variable.text} in {self.text(one.source)}"
        if one.fan is None:
            return Frame("loop", words, self.block(one.block))
        fan = one.fan
        words += ": " + self._all("side by side", fan)
        return Frame("fan", words, self.block(one.block))

    def _all(self, words: str, one: ast.Fan | ast.Parallel) -> str:
        words += "" if one.limit is None else f", {self.text(one.limit)} at a time"
        words += "" if one.least is None else f", at least {self.text(one.least)}"
        words += "" if one.tolerate is None else f", {self.text(one.tolerate)} may fail"
        return words + ("" if one.outcomes is None else ", each end is told")

    def _arm(self, arm: ast.Branch | ast.OnArm | ast.AfterArm) -> Way:
        match arm:
            case ast.Branch(_, name, block):
                return Way(name.text, self.block(block))
            case ast.OnArm(_, source, name_, _, block):
                label = source.text + ("" if name_ is None else f" as {name_.text}")
                return Way(f"on {label}", self.block(block))
            case ast.AfterArm(_, value, block):
                return Way(f"after {self.text(value)}", self.block(block))
            case _:
                assert_never(arm)
