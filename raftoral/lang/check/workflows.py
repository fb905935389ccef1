"""One workflow: its signature, signals and body, and the closed unit that it becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raftoral.lang import ast
from raftoral.lang.check.body import Body
from raftoral.lang.check.functions import Compiled, order_of
from raftoral.lang.diagnostics import Label
from raftoral.lang.ir import FUEL, Unit, encode_value
from raftoral.lang.resolve import ERRORS, Definitions, Field, Scope, Shape
from raftoral.lang.types import (
    NOTHING,
    ListType,
    MapType,
    OptionalType,
    RecordType,
    Type,
    to_ir,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from raftoral.lang.check.nodes import Node
    from raftoral.lang.diagnostics import Diagnostics
    from raftoral.lang.resolve import Activity
    from raftoral.lang.source import Source


class Workflow(Body):
    """Checks one workflow and makes its unit."""

    def __init__(
        self,
        node: ast.WorkflowDef,
        definitions: Definitions,
        diagnostics: Diagnostics,
        source: Source,
        functions: dict[str, Compiled],
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
            definitions.known_error(name)
        self.inputs = definitions.fields(node.params)
        for field in self.inputs.values():
            self.declare(field.name, field.type, "input")
            self.default(field)
        self.body: Node = []
        if node.block is None:
            self.error("RWF0006", "a contract is not part of this release", node.span)
        else:
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
        """Enter the signals of a workflow, wherever they are used."""
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
        order = order_of([name for _, name in self.calls], self.functions)
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
        """Return fields as the IR keeps them."""
        return [[name, to_ir(f.type), self.default(f)] for name, f in fields.items()]

    def contract(self, activity: Activity) -> Node:
        """Return an activity as the IR keeps it."""
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
