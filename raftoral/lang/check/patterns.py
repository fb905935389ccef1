"""Patterns: what they mean for a type, which names they bind, and whether all values have a case.

The cases of a `match` are rows of a matrix of patterns. Whether a value is left over, and whether a
case is ever reached, follow from specialising the matrix by one constructor after the other.
Source: Luc Maranget, "Warnings for pattern matching", Journal of Functional Programming 17 (2007).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from raftoral.lang import ast
from raftoral.lang.check.coverage import WILD, Con, Space
from raftoral.lang.diagnostics import did_you_mean
from raftoral.lang.ir import encode_value
from raftoral.lang.node import node
from raftoral.lang.types import (
    BOOL,
    JSON,
    NOTHING,
    UNKNOWN,
    EnumType,
    OptionalType,
    OutcomeType,
    RecordType,
    Type,
    common,
    may_be_none,
    outcome_cases,
    required,
    show,
)

if TYPE_CHECKING:
    from raftoral.lang.check.expressions import Expressions
    from raftoral.lang.check.nodes import Node, Typed
    from raftoral.lang.definitions import Enum, Shape

Bound: TypeAlias = "list[tuple[ast.Ident, Type, Node]]"
"""The names that a pattern binds; each node gets its slot once the name is declared."""

DEPTH_MAX: Final = 16


@node
class Tested:
    """A pattern: its IR, the values that it takes, and the names that it binds."""

    ir: Node
    space: Space
    bound: Bound


def is_shape(c: Expressions, node: ast.IsShape) -> Typed:
    """Return the type and IR of ``e is Name.Case(...)``."""
    kind, ir = c.expr(node.operand)
    tested = pattern(c, node.shape, kind)
    for name, _, _ in tested.bound:
        if name.text != "_":
            message = f"`is` only asks; `{name.text}` would be a new name"
            c.error("RWF0234", message, name.span, "use `match` to take a value apart")
            break
    test: Node = ["is", ir, tested.ir]
    return BOOL, ["not", test] if node.negated else test


def pattern(c: Expressions, node: ast.Pattern, kind: Type, depth: int = 0) -> Tested:
    """Return what a pattern means for values of the type ``kind``."""
    if depth > DEPTH_MAX:
        c.error("RWF0403", f"patterns are nested deeper than {DEPTH_MAX} levels", node.span)
        return Tested(["any"], WILD, [])
    match node:
        case ast.BindPattern(_, name):
            if name.text == "_":
                return Tested(["any"], WILD, [])
            ir: Node = ["bind", 0]
            return Tested(ir, WILD, [(name, kind, ir)])
        case ast.LiteralPattern():
            return _literal(c, node, kind)
        case ast.Alternatives(_, options):
            return _alternatives(c, options, kind, depth)
        case ast.ShapePattern():
            return _shape(c, node, kind, depth)


def _literal(c: Expressions, node: ast.LiteralPattern, kind: Type) -> Tested:
    one, _ = c.expr(node.literal)
    if (
        common(kind, one) is None
        or (one == NOTHING and not may_be_none(kind))
        or (isinstance(required(kind), RecordType | EnumType | OutcomeType) and one != NOTHING)
    ):
        c.error("RWF0210", f"{show(kind)} is never {show(one)}", node.span)
    plain = encode_value(node.literal.value)
    space: Space = Con("none" if one == NOTHING else repr((type(plain).__name__, plain)))
    if one == BOOL:
        space = Con("true" if node.literal.value else "false")
    if isinstance(kind, OptionalType) and one != NOTHING:
        space = Con("some", (space,))
    return Tested(["is", [plain]], space, [])


def _alternatives(
    c: Expressions, options: tuple[ast.Pattern, ...], kind: Type, depth: int
) -> Tested:
    tested = [pattern(c, option, kind, depth + 1) for option in options]
    for one in tested:
        for name, _, _ in one.bound:
            message = f"`{name.text}` would have a value in one of the patterns only"
            c.error("RWF0234", message, name.span, "write two cases, or `_`")
    if all(one.ir[0] == "is" for one in tested):
        values = [value for one in tested for value in one.ir[1]]
        return Tested(["is", values], tuple(one.space for one in tested), [])
    return Tested(["or", [one.ir for one in tested]], tuple(one.space for one in tested), [])


def _shape(c: Expressions, node: ast.ShapePattern, kind: Type, depth: int) -> Tested:
    parts = node.name.text.split(".")
    inner = required(kind)
    home = c.definitions
    enum: Enum | None = None
    named: Type
    if parts[0] == "outcome" and "outcome" not in home.imports:
        item = inner.item if isinstance(inner, OutcomeType) else UNKNOWN
        enum, named = home.outcome(item), OutcomeType(item)
    else:
        if parts[0][0].islower():
            found = c.imported(parts[0])
            if found is None:
                c.error("RWF0201", f"no file is imported as `{parts[0]}`", node.name.span)
                return Tested(["any"], WILD, [])
            home, parts = found, parts[1:]
        enum, named = home.enums.get(parts[0]), EnumType(parts[0])
    if enum is not None:
        _wanted(c, node, kind, named)
        if len(parts) == 1:
            message = f"a pattern names a case: `{parts[0]}.{next(iter(enum.cases), 'Case')}`"
            c.error("RWF0203", message, node.name.span)
            return Tested(["any"], WILD, [])
        case = enum.cases.get(parts[1])
        if case is None:
            label = did_you_mean(parts[1], enum.cases, f"it has {', '.join(enum.cases)}")
            message = f"enum `{parts[0]}` has no case `{parts[1]}`"
            c.error("RWF0203", message, node.name.span, label)
            return Tested(["any"], WILD, [])
        fields, spaces, bound = _fields(c, node, case, depth)
        made: Space = Con(parts[1], spaces)
        tested = Tested(["case", parts[1], fields], made, bound)
    elif parts[0] in home.records and len(parts) == 1:
        _wanted(c, node, kind, RecordType(parts[0]))
        fields, spaces, bound = _fields(c, node, home.records[parts[0]], depth)
        tested = Tested(["record", fields], Con("record", spaces), bound)
    else:
        known = [*home.enums, *home.records]
        label = did_you_mean(parts[0], known, "not defined")
        if parts[0] in home.constants:
            label = "a constant; compare with `==` in a guard"
        if isinstance(inner, EnumType) and parts[0] in c.definitions.known.enums[inner.name].cases:
            label = f"did you mean `{inner.name}.{parts[0]}`?"
        if isinstance(inner, OutcomeType) and parts[0] in outcome_cases(inner.item):
            label = f"did you mean `outcome.{parts[0]}`?"
        c.error("RWF0203", f"there is no record or enum `{parts[0]}`", node.name.span, label)
        return Tested(["any"], WILD, [])
    if isinstance(kind, OptionalType):
        return Tested(tested.ir, Con("some", (tested.space,)), tested.bound)
    return tested


def _wanted(c: Expressions, node: ast.ShapePattern, kind: Type, named: Type) -> None:
    if required(kind) not in (named, UNKNOWN, JSON):
        c.error("RWF0210", f"{show(kind)} is never {show(named)}", node.name.span)
    elif kind == JSON:
        message = f"what a json holds is not known; write `decode({show(named)}, ...)` first"
        c.error("RWF0216", message, node.name.span)


def _fields(
    c: Expressions, node: ast.ShapePattern, shape: Shape, depth: int
) -> tuple[Node, tuple[Space, ...], Bound]:
    fields: Node = []
    spaces: dict[str, Space] = dict.fromkeys(shape.fields, WILD)
    bound: Bound = []
    seen: set[str] = set()
    for one in node.fields or ():
        name = one.name.text
        field = shape.fields.get(name)
        if field is None:
            label = did_you_mean(name, shape.fields, f"it has {', '.join(shape.fields) or 'none'}")
            c.error("RWF0203", f"`{node.name.text}` has no field `{name}`", one.name.span, label)
            continue
        if name in seen:
            c.error("RWF0120", f"`{name}` is there twice", one.name.span, "again")
        seen.add(name)
        tested = pattern(c, one.pattern, field.type, depth + 1)
        spaces[name] = tested.space
        bound += tested.bound
        if tested.ir != ["any"]:
            fields.append([name, tested.ir])
    return fields, tuple(spaces.values()), bound
