"""What is given by position or by name, to whatever has parameters or fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.lang.check import constants
from raftoral.lang.check.nodes import const
from raftoral.lang.diagnostics import did_you_mean, nearest
from raftoral.lang.types import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.lang import ast
    from raftoral.lang.check.expressions import Expressions
    from raftoral.lang.check.nodes import Node
    from raftoral.lang.definitions import Field
    from raftoral.lang.source import Span


def arguments(
    c: Expressions,
    args: Sequence[ast.Arg],
    params: dict[str, Field],
    what: str,
    span: Span,
    *,
    named: bool = False,
) -> list[Node]:
    """Return the IR of all arguments in the order of ``params``, defaults filled in."""
    names = list(params)
    given: dict[str, Node] = {}
    for place, arg in enumerate(args):
        if arg.name is None and named:
            c.expr(arg.value)
            label = f"write `{names[place]}: ...`" if place < len(names) else "too many"
            c.error("RWF0203", f"the fields of {what} are given by name", arg.span, label)
            continue
        if arg.name is None and place >= len(names):
            c.expr(arg.value)
            message = f"{what} takes {len(names)} argument{'s' if len(names) != 1 else ''}"
            c.error("RWF0204", message, arg.span, "one too many")
            continue
        name = names[place] if arg.name is None else arg.name.text
        param = params.get(name)
        if param is None:
            _, ir = c.expr(arg.value)
            label = did_you_mean(name, names, f"{what} has no such argument")
            c.error("RWF0203", f"{what} has no `{name}`", arg.span, label)
            meant = nearest(name, names)
            if meant is not None:
                given.setdefault(meant, ir)  # so that it is not missing too
            continue
        if name in given:
            c.error("RWF0120", f"`{name}` is given twice", arg.span, "again")
        declared = param.name.span if param.home is c.definitions else None
        given[name] = c.value(arg.value, param.type, f"`{name}` of {what}", declared)
    _fill(c, given, params, what, span)
    return [given[name] for name in names]


def _fill(
    c: Expressions, given: dict[str, Node], params: dict[str, Field], what: str, span: Span
) -> None:
    """Add the defaults; report what is missing."""
    missing = []
    for name, param in params.items():
        if name in given:
            continue
        if param.default is not None:
            given[name] = constants.embedded(c, constants.default(c, param), span)
        else:
            given[name] = const(None)
            if param.required:
                missing.append(f"`{name}: {show(param.type)}`")
    if missing:
        message = f"{what} needs {' and '.join(missing)}"
        c.error("RWF0204", message, span, "missing here")
