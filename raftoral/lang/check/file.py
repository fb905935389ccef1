"""The checks of a whole file, and the IR of its workflows.

Effects where they may stand, steps named once in a scope, a value on every path, errors that exist,
loops with a bound. Adds reports to the one list; gives no unit while there is an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.lang import ast
from raftoral.lang.check.expressions import Expressions
from raftoral.lang.check.functions import check_calls, check_function
from raftoral.lang.check.workflows import Workflow
from raftoral.lang.resolve import Definitions, Scope
from raftoral.lang.types import (
    DURATION,
)

if TYPE_CHECKING:
    from raftoral.lang.diagnostics import Diagnostics
    from raftoral.lang.ir import Unit
    from raftoral.lang.source import Source


def check(file: ast.File, source: Source, diagnostics: Diagnostics) -> tuple[Unit, ...]:
    """Return the units of a file; empty if anything must be mended first."""
    definitions = Definitions(file, diagnostics)
    for constant in definitions.constants.values():
        probe = Expressions(definitions, diagnostics, Scope(diagnostics, "a constant"))
        probe.expr(ast.TypeName(constant.name.span, constant.name.text))
    functions = {
        name: check_function(function, definitions, diagnostics)
        for name, function in definitions.functions.items()
    }
    check_calls(functions, diagnostics)
    _check_defaults(definitions, diagnostics)
    bodies = [
        Workflow(w, definitions, diagnostics, source, functions) for w in definitions.workflows
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
            definitions.known_error(name)
        if activity.definition.timeout is not None:
            probe = Expressions(definitions, diagnostics, Scope(diagnostics, "a timeout"))
            probe.constant(activity.definition.timeout, DURATION, "a timeout")
