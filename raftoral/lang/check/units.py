"""A checked workflow as the closed unit that is stored: everything that a run of it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.lang.check import constants
from raftoral.lang.check.functions import closed
from raftoral.lang.check.nodes import numbered
from raftoral.lang.definitions import ERRORS
from raftoral.lang.ir import FUEL, Unit, encode_value
from raftoral.lang.types import (
    EnumType,
    ListType,
    MapType,
    OptionalType,
    OutcomeType,
    RecordType,
    Type,
    outcome_cases,
    show,
    to_ir,
)

if TYPE_CHECKING:
    from raftoral.lang.check.functions import Functions
    from raftoral.lang.check.nodes import Node
    from raftoral.lang.check.workflows import Workflow
    from raftoral.lang.definitions import Field
    from raftoral.lang.source import Source


def unit_of(w: Workflow, source: Source, functions: Functions) -> Unit:
    """Return the unit of a workflow; only while nothing is wrong."""
    return _Maker(w, functions).unit(source)


class _Maker:
    def __init__(self, w: Workflow, functions: Functions) -> None:
        self.w = w
        self.functions = functions
        self.known = w.definitions.known
        self.kinds: list[Type] = []

    def unit(self, source: Source) -> Unit:
        w, node = self.w, self.w.node
        numbers, functions = closed(w.calls, self.functions)
        errors = set(w.raises)
        activities = []
        for activity in sorted(w.activities.values(), key=lambda one: one.name.text):
            raises = sorted(activity.home.error_names(activity.definition.raises))
            errors |= set(raises)
            params, result = self.fields(activity.params), self.type(activity.result)
            idempotent = activity.definition.idempotent
            activities.append([activity.name.text, params, result, raises, idempotent])
        inputs, output = self.fields(w.inputs), self.type(w.output)
        children = [
            [name, version, self.fields(w.children[name, version].params),
             self.type(w.children[name, version].result)]
            for name, version in sorted(w.children)
        ]  # fmt: skip
        updates = [[*one, self.type(w.updates[one[0]])] for one in self.mailboxes("update ")]
        queries = [
            [name, self.type(kind), cells, numbered(ir, numbers)]
            for name, kind, cells, ir in w.queries
        ]
        shapes = {n: self.known.errors[n] for n in sorted(errors) if n not in ERRORS}
        error_fields = [[name, self.fields(shape.fields)] for name, shape in shapes.items()]
        signals = self.mailboxes("signal ")
        for kind in w.decoded:
            self.type(kind)
        for key in numbers:
            self.kinds += self.functions[key].decoded
        records, enums = self.types()
        assert node.version is not None
        return Unit(
            name=node.name.text,
            version=node.version,
            inputs=inputs,
            output=output,
            raises=sorted(w.raises),
            records=records,
            enums=enums,
            errors=error_fields,
            activities=activities,
            children=children,
            signals=signals,
            updates=updates,
            queries=queries,
            search=sorted(set(w.search)),
            functions=functions,
            slots=len(w.scope.everything),
            body=numbered(w.body, numbers),
            fuel=FUEL,
            path=source.path.replace("\\", "/").rsplit("/", 1)[-1],
            doc=_doc(source, node.span.start),
            spans=tuple(n for span in w.spans for n in source.place(span.start)),
            variables=[
                [v.name.text, v.slot, v.role == "checkpoint", v.first, v.last]
                for v in w.scope.everything
                if v.first >= 0
            ],
        )

    def type(self, kind: Type) -> Node:
        """Return a type as the IR keeps it; its records and enums become part of the unit."""
        self.kinds.append(kind)
        return to_ir(kind)

    def fields(self, fields: dict[str, Field]) -> Node:
        return [[name, self.type(f.type), self.default(f)] for name, f in fields.items()]

    def default(self, field: Field) -> Node:
        if field.default is None:
            return []
        return [encode_value(constants.default(self.w, field))]

    def mailboxes(self, word: str) -> list[Node]:
        return [
            [name.removeprefix(word), self.fields(shape.fields)]
            for name, shape in sorted(self.w.shapes.items())
            if name.startswith(word)
        ]

    def types(self) -> tuple[Node, Node]:
        """Return the records and enums that values of the unit's types may hold."""
        known = self.known
        records: dict[str, Node] = {}
        enums: dict[str, Node] = {}
        todo = list(self.kinds)
        while todo:
            match todo.pop():
                case RecordType(name) if name not in records:
                    shape = known.records[name]
                    todo.extend(field.type for field in shape.fields.values())
                    records[name] = [name, self.fields(shape.fields)]
                case EnumType(name) if name not in enums:
                    cases = known.enums[name].cases
                    todo.extend(f.type for shape in cases.values() for f in shape.fields.values())
                    enums[name] = [name, [[n, self.fields(one.fields)] for n, one in cases.items()]]
                case OutcomeType(item) as kind if show(kind) not in enums:
                    todo.append(item)
                    told = [
                        [case, [[name, to_ir(one), []] for name, one in fields.items()]]
                        for case, fields in outcome_cases(item).items()
                    ]
                    enums[show(kind)] = [show(kind), told]
                case ListType(item) | MapType(item) | OptionalType(item):
                    todo.append(item)
                case _:
                    pass
        return [records[name] for name in sorted(records)], [enums[name] for name in sorted(enums)]


def _doc(source: Source, start: int) -> str:
    """Return the ``##`` comment right above a definition."""
    number = source.place(start)[0] - 1
    lines: list[str] = []
    while number >= 1 and source.line(number).startswith("##"):
        lines.append(source.line(number)[2:].strip())
        number -= 1
    return "\n".join(reversed(lines))
