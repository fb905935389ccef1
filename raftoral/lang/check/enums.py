"""The cases of enums as values.

A case without fields is stored as its name, one with fields as the list of its name and its fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.lang import ast
from raftoral.lang.check.arguments import arguments
from raftoral.lang.check.nodes import const
from raftoral.lang.diagnostics import did_you_mean
from raftoral.lang.types import EnumType, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.lang.check.expressions import Expressions
    from raftoral.lang.check.nodes import Typed
    from raftoral.lang.definitions import Enum
    from raftoral.lang.source import Span


def enum_of(c: Expressions, node: ast.Member) -> Enum | None:
    """Return the enum whose case ``node`` names, or seems to name."""
    path = c.type_path(node.base)
    if path is None or node.optional:
        return None
    home, name = path
    return home.enums.get(name)


def is_outcome(c: Expressions, node: ast.Member) -> bool:
    """Tell whether ``node`` names a case of `outcome`, of which no expression makes a value."""
    match node:
        case ast.Member(_, ast.Name(_, "outcome"), ast.Ident(_, name), False):
            return name[0].isupper() and c.scope.find("outcome") is None
        case _:
            return False


def made_outcome(c: Expressions, node: ast.Member) -> Typed:
    """Report that an outcome is made."""
    label = "`parallel outcomes` and `for ... parallel outcomes` tell it"
    return c.error("RWF0201", "how a branch ended is told, never made", node.span, label)


def case(
    c: Expressions, enum: Enum, name: ast.Ident, args: Sequence[ast.Arg] | None, span: Span
) -> Typed:
    """Return type and IR of a case; ``args`` is None where it is written without parentheses."""
    kind = EnumType(enum.name.text)
    shape = enum.cases.get(name.text)
    if shape is None:
        for arg in args or ():
            c.expr(arg.value)
        label = did_you_mean(name.text, enum.cases, f"it has {', '.join(enum.cases)}")
        c.error("RWF0203", f"enum `{enum.name.text}` has no case `{name.text}`", name.span, label)
        return kind, const(None)
    if not shape.fields:
        if args:
            message = f"case `{name.text}` has no fields"
            c.error("RWF0204", message, args[0].span, "one too many")
        return kind, const(name.text)
    what = f"case {enum.name.text}.{name.text}"
    if args is None and any(field.required for field in shape.fields.values()):
        wanted = ", ".join(f"{n}: {show(f.type)}" for n, f in shape.fields.items())
        message = f"{what} is made with its fields: `{name.text}({wanted})`"
        c.error("RWF0204", message, span)
        return kind, const(None)
    given = arguments(c, args or (), shape.fields, what, span, named=True)
    pairs = [[field, ir] for field, ir in zip(shape.fields, given, strict=True)]
    return kind, ["list", [const(name.text), ["map", pairs]]]
