"""One workflow: its signature, what it declares in its body, and its body."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from raftoral.lang import ast
from raftoral.lang.check import constants
from raftoral.lang.check.body import Body
from raftoral.lang.check.expressions import Expressions
from raftoral.lang.definitions import Field, Shape
from raftoral.lang.diagnostics import Diagnostics, Enough, Label, did_you_mean
from raftoral.lang.ir import encode_value
from raftoral.lang.scope import Scope
from raftoral.lang.types import INT, NOTHING, STRING, TIMESTAMP, OptionalType, Type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.lang.check.nodes import Node
    from raftoral.lang.definitions import Definitions

SELF: Final[dict[str, Type]] = {
    "id": STRING,
    "version": INT,
    "started": TIMESTAMP,
    "parent": OptionalType(STRING),
    "generation": INT,
}
"""What a workflow may ask of its own run; all of it is in the first event of the history."""


class Workflow(Body):
    """Checks one workflow; `unit` makes what is stored of it."""

    def __init__(
        self, node: ast.WorkflowDef, definitions: Definitions, diagnostics: Diagnostics
    ) -> None:
        where = f"workflow {node.name.text}"
        super().__init__(definitions, diagnostics, Scope(diagnostics, where))
        assert node.block is not None, "a contract has no body to check"
        self.node = node
        self.own = SELF
        self.queries: list[Node] = []
        self.output = NOTHING if node.result is None else definitions.type_of(node.result)
        self.raises = definitions.error_names(node.raises)
        self.inputs = definitions.fields(node.params)
        for field in self.inputs.values():
            self.declare(field.name, field.type, "input")
            self.default(field)
        self.declare_mailboxes(node.block.statements)
        self.body, leaves = self.block(node.block, new=False)
        if not leaves and node.result is not None:
            self.missing_return(node.block)
        self.ask(node.block.statements)
        self.search = [name.text for name in node.search if self.is_cell(name, "search")]
        self.finish()
        for key, shape in self.shapes.items():
            if key.startswith(("signal ", "update ")) and key not in self.awaited:
                diagnostics.warning("RWF0506", f"nothing awaits {key}", shape.name.span)

    # -------------------------------------------------------------- signals and updates
    def declare_mailboxes(self, statements: Sequence[ast.Stmt]) -> None:
        """Enter the signals and updates of a workflow, wherever they are used."""
        for one in statements:
            match one:
                case ast.SignalDef(_, name, params):
                    self.mailbox("signal", name, params)
                case ast.UpdateDef(_, name, params, result):
                    self.mailbox("update", name, params)
                    kind = NOTHING if result is None else self.type_of(result)
                    self.updates.setdefault(name.text, kind)
                case _:
                    pass

    def mailbox(self, word: str, name: ast.Ident, params: Sequence[ast.Param]) -> None:
        """Enter one signal or update with its fields; a second of the same name is reported."""
        for key in (f"signal {name.text}", f"update {name.text}"):
            if key in self.shapes:
                first = Label(self.shapes[key].name.span, "first declared here")
                message = f"{word} `{name.text}` is declared twice"
                self.diagnostics.error("RWF0120", message, name.span, "again", labels=(first,))
        fields = self.definitions.fields(params)
        self.shapes[f"{word} {name.text}"] = Shape(name, fields)
        for field in fields.values():
            self.default(field)

    def default(self, field: Field) -> list[Any]:
        """Return the default of a field as the IR keeps it."""
        return [] if field.default is None else [encode_value(constants.default(self, field))]

    # -------------------------------------------------------------- queries
    def is_cell(self, name: ast.Ident, what: str) -> bool:
        """Tell whether a name is that of a checkpoint outside of loops; report it otherwise."""
        if name.text in self.cells:
            return True
        label = did_you_mean(name.text, self.cells, "not a checkpoint outside of loops")
        message = f"`{what}` names checkpoints, and `{name.text}` is none"
        self.error("RWF0203", message, name.span, label)
        return False

    def ask(self, statements: Sequence[ast.Stmt]) -> None:
        """Check the queries: pure expressions of the checkpoints that are found by their names."""
        seen: dict[str, ast.Ident] = {}
        for query in statements:
            if not isinstance(query, ast.QueryDef):
                continue
            name = query.name
            if name.text in seen:
                first = Label(seen[name.text].span, "first declared here")
                message = f"query `{name.text}` is declared twice"
                self.diagnostics.error("RWF0120", message, name.span, "again", labels=(first,))
            seen.setdefault(name.text, name)
            kind = self.type_of(query.type)
            used: list[str] = []
            with suppress(Enough):  # what is wrong is told by the second look
                used, _ = self.asked(query, kind, list(self.cells), Diagnostics())
            used, ir = self.asked(query, kind, used, self.diagnostics)
            self.queries.append([name.text, kind, used, ir])

    def asked(
        self, query: ast.QueryDef, kind: Type, cells: list[str], diagnostics: Diagnostics
    ) -> tuple[list[str], Node]:
        """Return which of the cells a query reads, and its IR over a frame of ``cells``."""
        what = f"query {query.name.text}"
        hint = (
            "a query reads checkpoints that stand outside of loops and branches, and nothing else"
        )
        scope = Scope(diagnostics, what, hint)
        inner = Expressions(self.definitions, diagnostics, scope, pure=what)
        for name in cells:
            cell = self.cells[name]
            inner.scope.declare(cell.name, cell.type, "input")
        ir = inner.value(query.value, kind, f"the answer of {what}")
        if diagnostics is self.diagnostics:
            self.calls += inner.calls
            self.decoded += inner.decoded
        for variable in inner.scope.everything:
            if variable.used and variable.name.text in self.cells:
                self.cells[variable.name.text].used = True
        return [v.name.text for v in inner.scope.everything if v.used and v.name.text in cells], ir
