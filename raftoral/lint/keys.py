"""Which literal keys the steps of a function have, along each way through its code.

Owns RPY03 and RPY04. The two sides of an `if` may use one key; two steps behind each other may not,
and the body of a loop is behind itself. A helper's steps count where it is called.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from raftoral.lint.kinds import GROUPS, Names, made_by
from raftoral.lint.modules import Function, own_nodes
from raftoral.lint.names import Outside

if TYPE_CHECKING:
    from raftoral.lint.uses import Visitor

Path: TypeAlias = tuple[str, ...]
Seen: TypeAlias = "dict[Path, Step]"
"""The steps so far, by their paths relative to the function."""

_KEYED_FIRST: Final = frozenset({"Compute", "Checkpoint", "Call", "Start", "Callback", *GROUPS})
_ANY: Final = "{}"
"""What begins the name of a scope that is worked out: another one each time."""


@dataclass(frozen=True, slots=True)
class Step:
    """Where a step is yielded, and what it is called in a report."""

    node: ast.expr
    what: str


class Keys:
    """One walk through one function; without a ``visitor`` it only collects."""

    def __init__(self, names: Names, visitor: Visitor | None, depth: int = 0) -> None:
        self._names = names
        self._visitor = visitor
        self._depth = depth
        self._made = _only_values(names.function)
        self._returned: Seen = {}
        self._broken: Seen = {}
        self._continued: Seen = {}

    def read(self) -> Seen:
        """Return the paths that the function may use where it is called; report repeated ones."""
        seen = self._block(self._names.function.node.body, {}, ())
        return {**self._returned, **(seen or {})}

    def _block(self, body: list[ast.stmt], seen: Seen, here: Path) -> Seen | None:
        """Return what is used behind ``body``; None if nothing comes behind it."""
        now: Seen | None = seen
        for statement in body:
            if now is None:
                return None
            now = self._statement(statement, now, here)
        return now

    def _statement(self, node: ast.stmt, seen: Seen, here: Path) -> Seen | None:
        match node:
            case ast.If(test, body, orelse):
                seen = self._expression(test, seen, here)
                return _either(
                    self._block(body, dict(seen), here), self._block(orelse, dict(seen), here)
                )
            case ast.Match(subject, cases):
                seen = self._expression(subject, seen, here)
                ways: Seen | None = dict(seen)
                for case in cases:
                    ways = _either(ways, self._block(case.body, dict(seen), here))
                return ways
            case ast.For() | ast.While():
                return self._loop(node, seen, here)
            case ast.With(items, body):
                for item in items:
                    seen = self._expression(item.context_expr, seen, here)
                return self._block(body, seen, self._scope(items, here))
            case ast.Try():
                return self._try(node, seen, here)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                return seen
            case ast.Return():
                self._returned.update(self._expression(node, seen, here))
                return None
            case ast.Break():
                self._broken.update(seen)
                return None
            case ast.Continue():
                self._continued.update(seen)
                return None
            case ast.Raise():
                self._expression(node, seen, here)
                return None
            case _:
                return self._expression(node, seen, here)

    def _try(self, node: ast.Try, seen: Seen, here: Path) -> Seen | None:
        tried = dict(seen)
        whole = self._block(node.body, tried, here)
        # Any step of the body may be the one that failed, so all of them may have been before.
        failed = {**tried, **(whole or {})}
        if whole is not None:
            whole = self._block(node.orelse, dict(whole), here)
        for handler in node.handlers:
            whole = _either(whole, self._block(handler.body, dict(failed), here))
        if not node.finalbody:
            return whole
        behind = self._block(node.finalbody, {**failed, **(whole or {})}, here)
        return None if whole is None else behind

    def _loop(self, node: ast.For | ast.While, seen: Seen, here: Path) -> Seen | None:
        head = node.iter if isinstance(node, ast.For) else node.test
        seen = self._expression(head, seen, here)
        outer = self._broken, self._continued
        self._broken, self._continued = {}, {}
        body = self._block(node.body, dict(seen), here)
        self._repeated(node, seen, {**self._continued, **(body or {})}, len(here))
        behind = self._block(node.orelse, {**seen, **self._continued, **(body or {})}, here)
        broken = self._broken
        self._broken, self._continued = outer
        if isinstance(node, ast.While) and _is_true(node.test):
            return broken or (seen if _breaks(node) else None)
        return {**seen, **(behind or {}), **broken}

    def _repeated(self, loop: ast.For | ast.While, before: Seen, again: Seen, depth: int) -> None:
        """Report the steps of a turn that the next turn would repeat under the same path."""
        for path, step in again.items():
            changing = any(part.startswith(_ANY) for part in path[depth:])
            if self._visitor is not None and before.get(path) is not step and not changing:
                self._visitor.report(
                    "RPY04",
                    f"{step.what} has the same key in each turn of the loop",
                    step.node,
                    f"the loop begins in line {loop.lineno}",
                    help=(
                        "open a scope for each turn: `with scope(f'item-{n}'):`; "
                        "or take the items at once with `ForEach`",
                    ),
                )

    def _scope(self, items: list[ast.withitem], here: Path) -> Path:
        """Return the place inside of a `with`: a literal scope is part of the path."""
        for item in items:
            match item.context_expr:
                case ast.Call(func, [name, *_]) if _is_scope(self._names, func):
                    if isinstance(name, ast.Constant):
                        here = (*here, str(name.value))
                    else:
                        here = (*here, f"{_ANY}{name.lineno}.{name.col_offset}")
                case _:
                    pass
        return here

    # -------------------------------------------------------------- steps in expressions
    def _expression(self, node: ast.AST, seen: Seen, here: Path) -> Seen:
        """Add the steps of a statement or an expression to ``seen``, and return it."""
        for part in _in_order(node):
            if isinstance(part, ast.Yield | ast.YieldFrom) and part.value is not None:
                self._step(part.value, seen, here)
        return seen

    def _step(self, value: ast.expr, seen: Seen, here: Path) -> None:
        if isinstance(value, ast.Name) and value.id in self._made:
            value = self._made[value.id]
        effect = self._names.effect(value)
        if effect == "Saga":
            call = made_by(value)
            if call is not None and call.args:
                self._step(call.args[0], seen, here)
        elif effect is not None:
            key = _key_of(value, effect)
            if key is not None:
                self._note((*here, key), Step(value, f"the step `{key}`"), seen)
        elif isinstance(value, ast.Call):
            target = self._names.target(value.func)
            if isinstance(target, Function) and target.is_generator and self._depth < 10:
                self._helper(target, value, seen, here)

    def _helper(self, target: Function, value: ast.expr, seen: Seen, here: Path) -> None:
        """Take over the keys that a helper uses: it has no scope of its own."""
        names = Names(self._names.project, target)
        for path in Keys(names, None, self._depth + 1).read():
            if not any(part.startswith(_ANY) for part in path):
                what = f"the step `{'/'.join(path)}` of `{target.node.name}`"
                self._note((*here, *path), Step(value, what), seen)

    def _note(self, path: Path, step: Step, seen: Seen) -> None:
        before = seen.get(path)
        seen[path] = step
        if self._visitor is not None and before is not None:
            self._visitor.report(
                "RPY03",
                f"{step.what} comes a second time in the same scope",
                step.node,
                f"first in line {before.node.lineno}",
                help=('give it another key, or a scope: `with scope("second"):`',),
            )


def _key_of(value: ast.expr, effect: str) -> str | None:
    """Return the literal key of an effect; None if it has none, or one that is worked out."""
    call = made_by(value)
    if call is None:
        return None
    given: ast.expr | None = next((k.value for k in call.keywords if k.arg == "key"), None)
    if effect in _KEYED_FIRST and call.args:
        given = call.args[0]
    return given.value if isinstance(given, ast.Constant) and isinstance(given.value, str) else None


def _only_values(function: Function) -> dict[str, ast.expr]:
    """Return what each variable is that is assigned once."""
    found: dict[str, ast.expr] = {}
    twice: set[str] = set()
    for node in own_nodes(function.node):
        match node:
            case ast.Assign([ast.Name(name)], value):
                if name in found:
                    twice.add(name)
                found[name] = value
            case _:
                pass
    return {name: value for name, value in found.items() if name not in twice}


def _in_order(node: ast.AST) -> list[ast.AST]:
    """Return the parts of an expression, inner ones first, without those of inner functions."""
    if isinstance(node, ast.Lambda | ast.GeneratorExp):
        return []
    found = [part for child in ast.iter_child_nodes(node) for part in _in_order(child)]
    return [*found, node]


def _either(one: Seen | None, other: Seen | None) -> Seen | None:
    if one is None or other is None:
        return other if one is None else one
    return {**one, **other}


def _is_scope(names: Names, func: ast.expr) -> bool:
    target = names.target(func)
    return (
        isinstance(target, Outside)
        and target.dotted.startswith("raftoral.")
        and target.dotted.endswith(".scope")
    )


def _is_true(test: ast.expr) -> bool:
    return isinstance(test, ast.Constant) and bool(test.value)


def _breaks(loop: ast.For | ast.While) -> bool:
    """Tell whether a `break` leaves this loop."""
    waiting: list[ast.AST] = list(loop.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Break):
            return True
        if not isinstance(node, ast.For | ast.While | ast.FunctionDef | ast.ClassDef):
            waiting += ast.iter_child_nodes(node)
    return False
