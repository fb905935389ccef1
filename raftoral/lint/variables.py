"""Which module variables are constants: assigned once, never changed, and the same on every node."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from raftoral.lint.modules import Class, Function, Variable
from raftoral.lint.names import Builtin, Outside
from raftoral.lint.rules import rule_of, rule_of_builtin

if TYPE_CHECKING:
    from raftoral.lint.kinds import Names

_FRESH: Final = frozenset({"list", "dict", "set", "bytearray", "iter"})
_CONTAINERS: Final = frozenset({"collections", "array"})
_ENDLESS: Final = frozenset({"itertools.count", "itertools.cycle"})
_FROZEN: Final = ("Enum", "IntEnum", "StrEnum", "Flag", "NamedTuple", "Protocol")


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a variable is no constant, where that shows, and what to write instead."""

    why: str
    node: ast.AST | None
    help: str


_INSTEAD: Final = (
    "pass it in the run's input, keep it in a `Checkpoint`, or make it a constant: "
    "assigned once, to a value that cannot change"
)


def doubt_about(variable: Variable, names: Names, depth: int = 0) -> Doubt | None:
    """Return why ``variable`` may differ between two replays; None if it is a constant."""
    if variable.changed is not None:
        return Doubt("is changed while the program runs", variable.changed, _INSTEAD)
    given = [value for value in variable.values if value is not None]
    if len(variable.values) > 1 and len(given) > 1:
        return Doubt(f"is assigned in {len(given)} places", given[-1], _INSTEAD)
    if not given or made_as(variable, names) is not None:
        return None
    value = given[0]
    outside = _source_of(value, variable, names, depth)
    if outside is not None:
        return outside
    if not _said_constant(variable) and _can_change(value, variable, names):
        help_ = f"write its name as a constant's if it never changes: `{_caps(variable.name)}`"
        return Doubt("holds something that can be changed", value, f"{help_}; or {_INSTEAD}")
    return None


def _source_of(value: ast.expr, variable: Variable, names: Names, depth: int) -> Doubt | None:
    """Return the doubt that comes from what the value is made of."""
    module = variable.module
    for node in ast.walk(value):
        if not isinstance(node, ast.Name | ast.Attribute) or depth > 10:
            continue
        found = names.top(module, node)
        text = ast.unparse(node)
        match found:
            case Outside(dotted) if dotted in _ENDLESS:
                return Doubt(f"is made by `{text}`, which goes on with each use", node, _INSTEAD)
            case Outside(dotted, _, statement):
                rule = rule_of(dotted)
                if rule is not None and not module.allows.on(
                    rule.code, statement.lineno, statement.end_lineno or statement.lineno
                ):
                    return Doubt(f"is made from `{text}`, which {rule.does}", node, rule.help)
            case Builtin(name):
                rule = rule_of_builtin(name)
                if rule is not None:
                    return Doubt(f"is made by `{text}`, which {rule.does}", node, rule.help)
            case Variable() if found is not variable:
                inner = doubt_about(found, names, depth + 1)
                if inner is not None:
                    return Doubt(f"is made from `{text}`, which {inner.why}", node, inner.help)
            case _:
                pass
    return None


def _said_constant(variable: Variable) -> bool:
    note = variable.annotation
    if note is not None and ast.unparse(note).partition("[")[0].endswith("Final"):
        return True
    return variable.name.strip("_").isupper()


def _caps(name: str) -> str:
    return name.upper()


def _can_change(value: ast.expr, variable: Variable, names: Names) -> bool:
    match value:
        case ast.List() | ast.Dict() | ast.Set() | ast.ListComp() | ast.DictComp() | ast.SetComp():
            return True
        case ast.Tuple(elements):
            return any(_can_change(one, variable, names) for one in elements)
        case ast.GeneratorExp():
            return True
        case ast.Call(func):
            match names.top(variable.module, func):
                case Builtin(name):
                    return name in _FRESH
                case Outside(dotted):
                    return dotted.partition(".")[0] in _CONTAINERS
                case Class() as made:
                    return not _is_frozen(made)
                case Function():
                    return True
                case _:
                    return False
        case _:
            return False


def _is_frozen(made: Class) -> bool:
    """Tell whether the objects of a class cannot be changed, as its text says."""
    if any(ast.unparse(base).rpartition(".")[2] in _FROZEN for base in made.node.bases):
        return True
    return any("frozen=True" in ast.unparse(one) for one in made.node.decorator_list)


def made_as(variable: Variable, names: Names) -> tuple[str, ast.expr] | None:
    """Return ``activity`` or ``workflow`` and the function, for ``f = activity("name")(function)``."""
    match variable.values:
        case [ast.Call(ast.Call(maker), [function])] | [ast.Call(maker, [*_, function])]:
            found = names.top(variable.module, maker)
        case _:
            return None
    if isinstance(function, ast.Constant) or not isinstance(found, Outside):
        return None
    last = found.dotted.rpartition(".")[2].lower()
    is_maker = found.dotted.startswith("raftoral.") and last in ("activity", "workflow")
    return (last, function) if is_maker else None
