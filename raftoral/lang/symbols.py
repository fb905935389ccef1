"""What a file names and where it is used: for hover, definitions, references and renaming.

Made from the syntax tree alone, so that it is there while something is still wrong. Statements that
open a scope are named here; everything else is walked through place by place, so new kinds of nodes
come along.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from raftoral.lang import ast
from raftoral.lang.source import Span

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind: TypeAlias = Literal[
    "activity", "branch", "callback", "checkpoint", "constant", "enum", "error", "field", "file",
    "function", "input", "policy", "query", "record", "result", "signal", "type", "update", "value",
    "variable", "workflow",
]  # fmt: skip

_DEFINED: Final[dict[type, Kind]] = {
    ast.ConstDef: "constant", ast.RecordDef: "record", ast.EnumDef: "enum", ast.ErrorDef: "error",
    ast.PolicyDef: "policy", ast.ActivityDef: "activity", ast.FnDef: "function",
    ast.WorkflowDef: "workflow", ast.Import: "file",
}  # fmt: skip
# Which kinds of definitions a name may mean, by where it stands.
_TYPES: Final = ("record", "enum", "error", "constant")


@dataclass(slots=True, eq=False)
class Symbol:
    """One thing with a name: where it is declared, all of what declares it, and its uses.

    ``uses`` begin with the declaration. ``scope`` is where the name may be used; None is the file.
    """

    kind: Kind
    name: str
    span: Span
    node: Any
    scope: Span | None = None
    uses: list[Span] = field(default_factory=list)


class Index:
    """The symbols of a file."""

    def __init__(self, file: ast.File) -> None:
        self.symbols: list[Symbol] = []
        self._globals: dict[tuple[Kind, str], Symbol] = {}
        self._blocks: list[dict[str, Symbol]] = []
        # Inputs by what takes them, and the arguments that name them.
        self._inputs: dict[tuple[Kind, str], list[Symbol]] = {}
        self._named: list[tuple[Kind, str, ast.Ident]] = []
        for item in file.items:
            kind = _DEFINED.get(type(item))
            if kind is not None:
                self._define(kind, item.name, item)  # type: ignore[union-attr]
        for item in file.items:
            self._item(item)
        for kind, taker, name in self._named:
            for one in self._inputs.get((kind, taker), ()):
                if one.name == name.text:
                    one.uses.append(name.span)

    def at(self, offset: int) -> Symbol | None:
        """Return what is named at an offset."""
        found = [
            (use.end - use.start, number)
            for number, one in enumerate(self.symbols)
            for use in one.uses
            if use.start <= offset <= use.end
        ]
        return self.symbols[min(found)[1]] if found else None

    def visible(self, offset: int) -> list[Symbol]:
        """Return what can be named at an offset, the nearest first."""
        near = [
            one
            for one in self.symbols
            if one.scope is None or (one.scope.start <= offset <= one.scope.end)
        ]
        return sorted(near, key=lambda one: (one.scope is None, -one.span.start))

    # -------------------------------------------------------------- declaring and using
    def _new(self, kind: Kind, name: ast.Ident, node: Any, scope: Span | None) -> Symbol:
        one = Symbol(kind, name.text, name.span, node, scope, [name.span])
        self.symbols.append(one)
        return one

    def _define(self, kind: Kind, name: ast.Ident, item: ast.Item) -> None:
        """Enter a definition; all versions of a workflow are one thing with one name."""
        before = self._globals.get((kind, name.text))
        if before is not None and kind == "workflow":
            before.uses.append(name.span)
        else:
            one = self._new(kind, name, item, None)
            self._globals.setdefault((kind, name.text), one)

    def _arguments(self, kind: Kind, taker: str, args: tuple[ast.Arg, ...]) -> None:
        self._named += [(kind, taker, arg.name) for arg in args if arg.name is not None]
        self._walk(args)

    def _declare(self, kind: Kind, name: ast.Ident | None, node: Any, scope: Span) -> None:
        if name is not None and name.text != "_" and self._blocks:
            self._blocks[-1][name.text] = self._new(kind, name, node, scope)

    def _use(self, name: str, span: Span) -> bool:
        for block in reversed(self._blocks):
            if name in block:
                block[name].uses.append(span)
                return True
        return False

    def _refer(self, name: str, span: Span, *kinds: Kind) -> None:
        for kind in kinds:
            one = self._globals.get((kind, name))
            if one is not None:
                one.uses.append(span)
                return
        alias, dot, _ = name.partition(".")
        imported = self._globals.get(("file", alias))
        if dot and imported is not None:
            imported.uses.append(Span(span.start, span.start + len(alias)))

    # -------------------------------------------------------------- walking
    def _item(self, item: ast.Item) -> None:
        match item:
            case ast.WorkflowDef(_, _, _, params, result, raises, search, block):
                self._body(item, params, block)
                self._walk(result)
                for name in raises:
                    self._refer(name.text, name.span, "error")
                if block is not None:
                    for name in search:
                        self._found_in(block, name)
            case ast.FnDef(_, _, params, result, block):
                self._body(item, params, block)
                self._walk(result)
            case ast.ActivityDef(_, _, params, result, raises, timeout):
                for part in (*params, result, timeout):
                    self._walk(part)
                for name in raises:
                    self._refer(name.text, name.span, "error")
            case ast.TestDef():
                self._walk(item)
            case _:
                self._children(item)

    def _body(self, item: Any, params: tuple[ast.Param, ...], block: ast.Block | None) -> None:
        whole = Span(item.span.start, item.span.end if block is None else block.span.end)
        self._blocks.append({})
        for param in params:
            self._walk(param.type)
            self._walk(param.default)
            self._declare("input", param.name, param, whole)
            kind: Kind = "workflow" if isinstance(item, ast.WorkflowDef) else "function"
            self._inputs.setdefault((kind, item.name.text), []).append(self.symbols[-1])
        if block is not None:
            self._block(block)
        self._blocks.pop()

    def _found_in(self, block: ast.Block, name: ast.Ident) -> None:
        for one in self.symbols:
            inside = one.scope and block.span.start <= one.scope.start <= block.span.end
            if inside and one.kind == "checkpoint" and one.name == name.text:
                one.uses.append(name.span)

    def _block(self, block: ast.Block, *declared: tuple[Kind, ast.Ident | None, Any]) -> None:
        self._blocks.append({})
        for kind, name, node in declared:
            self._declare(kind, name, node, block.span)
        # A query may speak of checkpoints that are declared below it.
        for statement in sorted(block.statements, key=lambda one: isinstance(one, ast.QueryDef)):
            self._walk(statement, block.span)
        self._blocks.pop()

    def _children(self, node: Any, scope: Span | None = None) -> None:
        for name in getattr(type(node), "__match_args__", ()):
            self._walk(getattr(node, name), scope)

    def _walk(self, node: Any, scope: Span | None = None) -> None:
        """Enter what a node declares and uses, in a block whose place is ``scope``."""
        match node:
            case tuple() if not isinstance(node, Span):
                for one in node:
                    self._walk(one, scope)
            case ast.Block():
                self._block(node)
            case None | str() | int() | Span():
                pass
            case _:
                known = (
                    self._name(node)
                    or self._pattern(node, scope)
                    or self._step(node, scope)
                    or self._nested(node, scope)
                    or self._tested(node)
                )
                if not known:
                    self._children(node, scope)

    def _name(self, node: Any) -> bool:
        """Enter what stands for something by its name; tell whether the node does."""
        match node:
            case ast.Name(span, name):
                if not self._use(name, span):
                    self._refer(name, span, "function", "file")
            case ast.TypeName(span, name):
                self._refer(name, span, *_TYPES)
            case ast.TypeRef(span, name, arguments):
                self._refer(name, Span(span.start, span.start + len(name)), *_TYPES)
                self._walk(arguments)
            case ast.Call(_, ast.Name(_, "calls"), args):
                for arg in args:  # of a test: it names what was called
                    words = _dotted(arg.value)
                    self._refer(words, arg.value.span, "activity", "workflow")
            case ast.Call(_, ast.Name(_, function) as callee, args):
                self._walk(callee)
                self._arguments("function", function, args)
            case ast.RetryPolicy(_, name_):
                self._refer(name_.text, name_.span, "policy")
            case ast.Retry(_, _, backoff, _, only):
                self._walk(backoff)
                for one in only:
                    self._refer(one.text, one.span, "error")
            case ast.Comprehension():
                self._comprehension(node)
            case _:
                return False
        return True

    def _pattern(self, node: Any, scope: Span | None) -> bool:
        """Enter a pattern, or a case with one; tell whether the node is such."""
        here = scope or Span(0, 0)
        match node:
            case ast.ShapePattern(_, name_, fields):
                self._refer(name_.text.split(".")[0], _head(name_), *_TYPES)
                for one in fields or ():
                    if one.pattern.span == one.name.span:  # `Done(output)`: field and value
                        self._declare("value", one.name, one, here)
                    else:
                        self._walk(one.pattern, scope)
            case ast.BindPattern(_, name_):
                self._declare("value", name_, node, here)
            case ast.Case(_, pattern, guard, block):
                self._blocks.append({})
                self._walk(pattern, block.span)
                self._walk(guard)
                self._block(block)
                self._blocks.pop()
            case _:
                return False
        return True

    def _step(self, node: Any, scope: Span | None) -> bool:
        """Enter a statement without blocks; tell whether the node is one."""
        here = scope or Span(0, 0)
        match node:
            case ast.Let(_, name_, type_, value, variable):
                self._walk((type_, value))
                self._declare("variable" if variable else "value", name_, node, here)
            case ast.Assign(_, name_, value):
                self._walk(value)
                self._use(name_.text, name_.span)
            case ast.CheckpointStmt(_, name_, type_, value):
                self._walk((type_, value))
                self._declare("checkpoint", name_, node, here)
            case ast.ComputeStmt(_, name_, type_, activity, args, clauses, compensate):
                self._refer(activity.text, activity.span, "activity")
                self._walk((type_, args, clauses))
                self._declare("result", name_, node, here)
                self._walk(compensate)
            case ast.Compensate(_, activity, args, clauses):
                self._refer(activity.text, activity.span, "activity")
                self._walk((args, clauses))
            case ast.ChildStmt(_, _, name_, type_, child, _, args):
                self._refer(child.text, child.span, "workflow")
                self._walk(type_)
                self._arguments("workflow", child.text, args)
                self._declare("result", name_, node, here)
            case ast.Restart(_, args):
                for arg in args:
                    if arg.name is not None:
                        self._use(arg.name.text, arg.name.span)
                self._walk(args)
            case ast.SignalDef(_, name_, params) | ast.UpdateDef(_, name_, params):
                kind: Kind = "signal" if isinstance(node, ast.SignalDef) else "update"
                self._declare(kind, name_, node, here)
                self._walk(tuple(param.type for param in params))
            case ast.QueryDef(_, name_, type_, value):
                self._declare("query", name_, node, here)
                self._walk((type_, value))
            case ast.CallbackStmt(_, name_, type_, clauses):
                self._walk((type_, clauses))
                self._declare("callback", name_, node, here)
            case ast.Await(_, source, name_, answer, timeout, otherwise):
                self._use(source.text, source.span)
                self._walk((timeout, otherwise))
                self._declare("result", name_, node, here)
                self._walk(answer)
            case _:
                return False
        return True

    def _nested(self, node: Any, scope: Span | None) -> bool:
        """Enter a statement with blocks in it; tell whether the node is one."""
        here = scope or Span(0, 0)
        match node:
            case ast.OnArm(_, source, name_, answer, block):
                self._use(source.text, source.span)
                self._blocks.append({})
                self._declare("result", name_, node, Span(node.span.start, block.span.end))
                self._walk(answer)
                self._block(block)
                self._blocks.pop()
            case ast.For(_, index, variable_, source_, by, fan, block):
                self._walk(source_)
                self._blocks.append({})
                for name_ in (index, variable_):
                    self._declare("value", name_, node, Span(node.span.start, block.span.end))
                self._walk(by)
                self._block(block)
                self._blocks.pop()
                self._walk(fan)
                self._declare("value", None if fan is None else fan.collect, node, here)
            case ast.Catch(_, names, variable_, block):
                for one in names:
                    self._refer(one.text, one.span, "error")
                self._block(block, ("value", variable_, node))
            case ast.Parallel(_, limit, least, tolerate, _, name_, branches):
                self._walk((limit, least, tolerate, branches))
                self._declare("value", name_, node, here)
            case ast.Race(_, name_, arms):
                self._walk(arms)
                self._declare("value", name_, node, here)
            case _:
                return False
        return True

    def _tested(self, node: Any) -> bool:
        """Enter a part of a test; tell whether the node is one."""
        match node:
            case ast.Mock(_, name_, answer_) | ast.MockTakes(_, name_, answer_):
                self._refer(name_.text, name_.span, "activity", "workflow")
                self._walk(answer_)
            case ast.TestDef(_, _, name_, _, steps):
                self._refer(name_.text, name_.span, "workflow")
                self._blocks.append(self._inside(name_.text))
                for step in steps:
                    if isinstance(step, ast.Given):
                        self._arguments("workflow", name_.text, step.args)
                    else:
                        self._walk(step)
                self._blocks.pop()
            case ast.SendSignal(_, _, name_, args):
                self._use(name_.text, name_.span)
                self._walk(args)
            case ast.CompleteCallback(_, name_, answer_):
                self._use(name_.text, name_.span)
                self._walk(answer_)
            case ast.ExpectFailure(_, name_):
                self._refer(name_.text, name_.span, "error")
            case _:
                return False
        return True

    def _inside(self, workflow: str) -> dict[str, Symbol]:
        """Return what a test of a workflow may speak of: its checkpoints and its mailboxes."""
        one = self._globals.get(("workflow", workflow))
        block = None if one is None else one.node.block
        if block is None:
            return {}
        return {
            found.name: found
            for found in self.symbols
            if found.kind in ("checkpoint", "signal", "update", "callback", "query")
            and found.scope is not None
            and block.span.start <= found.scope.start <= block.span.end
        }

    def _comprehension(self, node: ast.Comprehension) -> None:
        self._walk(node.source)
        self._blocks.append({})
        for name in ("index", "variable"):
            self._declare("value", getattr(node, name, None), node, node.span)
        self._walk(node.item)
        self._walk(node.condition)
        self._blocks.pop()


def _dotted(node: ast.Expr) -> str:
    match node:
        case ast.Name(_, name):
            return name
        case ast.Member(_, base, name_):
            return f"{_dotted(base)}.{name_.text}"
        case _:
            return ""


def _head(name: ast.Ident) -> Span:
    return Span(name.span.start, name.span.start + len(name.text.split(".")[0]))


def outline(file: ast.File) -> Iterator[tuple[Kind, str, Span, Span]]:
    """Return kind, name, place of the name and whole extent of what a file defines."""
    for item in file.items:
        kind = _DEFINED.get(type(item))
        if kind is not None and not isinstance(item, ast.TestDef):
            block = getattr(item, "block", None)
            end = item.span.end if block is None else block.span.end
            yield kind, item.name.text, item.name.span, Span(item.span.start, end)
