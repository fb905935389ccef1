"""The variables in sight while a body is checked, block by block."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from raftoral.lang import ast
from raftoral.lang.diagnostics import Label, did_you_mean
from raftoral.lang.grammar import HARD, keywords
from raftoral.lang.source import Span

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raftoral.lang.ast import Ident
    from raftoral.lang.diagnostics import Diagnostics
    from raftoral.lang.types import Type

Role: TypeAlias = Literal[
    "let", "var", "checkpoint", "input", "compute", "callback", "loop", "catch"
]

ROLES: Final = {
    "let": "a `let`, which keeps its value",
    "var": "a variable",
    "checkpoint": "a checkpoint",
    "input": "an input",
    "compute": "a result, recorded once",
    "callback": "a callback",
    "loop": "given by the loop or pattern",
    "catch": "the error that was caught",
}
"""How people call the roles."""


@dataclass(slots=True)
class Variable:
    """A variable of one body: its place in the frame, its type, and what may be done to it.

    ``branch`` is the branch that declares it, the only one that may assign to it. ``first`` and
    ``last`` are the statements between which a debugger shows it; -1 is never.
    """

    name: Ident
    type: Type
    slot: int
    role: Role
    branch: int = 0
    used: bool = False
    first: int = -1
    last: int = -1


@dataclass(slots=True)
class Scope:
    """The variables in sight, innermost block last; slots are never used twice."""

    diagnostics: Diagnostics
    where: str
    hint: str = ""
    """What to say about a name that is not in sight, beside its place."""
    branch: int = 0
    blocks: list[dict[str, Variable]] = field(default_factory=lambda: [{}])
    ahead: list[frozenset[str]] = field(default_factory=lambda: [frozenset()])
    everything: list[Variable] = field(default_factory=list)

    def find(self, name: str) -> Variable | None:
        """Return the variable called ``name``, or None."""
        for block in reversed(self.blocks):
            if name in block:
                return block[name]
        return None

    def open(self) -> None:
        """Begin a block."""
        self.blocks.append({})
        self.ahead.append(frozenset())

    def declare(self, name: Ident, kind: Type, role: Role) -> Variable:
        """Add a variable to the innermost block; a reserved or taken name is reported."""
        _check_reserved(name, self.diagnostics, assigned=role in ("var", "checkpoint"))
        before = self.find(name.text)
        if before is not None:
            self.diagnostics.error(
                "RWF0121",
                f"`{name.text}` is declared already",
                name.span,
                "choose another name",
                labels=(Label(before.name.span, "declared here"),),
            )
        variable = Variable(name, kind, len(self.everything) + 1, role, self.branch)
        self.everything.append(variable)
        if name.text != "_":
            self.blocks[-1][name.text] = variable
        return variable

    def hidden(self, kind: Type) -> int:
        """Return a slot for the evaluator's own use."""
        nobody = ast.Ident(Span(0, 0), "")
        variable = Variable(nobody, kind, len(self.everything) + 1, "loop", used=True)
        self.everything.append(variable)
        return variable.slot

    def names(self) -> list[str]:
        """Return the names in sight."""
        return [name for block in self.blocks for name in block]

    def unknown(self, name: str, span: Span, more: Iterable[str] = ()) -> None:
        """Report a name that is not in sight: unknown, or declared further down."""
        if any(name in names for names in self.ahead):
            message = f"`{name}` is used before it has a value"
            self.diagnostics.error("RWF0202", message, span, "declared further down")
            return
        near = did_you_mean(name, [*self.names(), *more, "none", "true", "false"])
        labels: tuple[Label, ...] = ()
        if near:
            meant = self.find(near.split("`")[1])
            if meant is not None:
                labels = (Label(meant.name.span, f"`{meant.name.text}` is declared here"),)
        message = f"cannot find `{name}` in {self.where}"
        help_ = (self.hint,) if self.hint else ()
        label = near or "not declared here"
        self.diagnostics.error("RWF0201", message, span, label, labels=labels, help=help_)


def _check_reserved(name: Ident, diagnostics: Diagnostics, *, assigned: bool) -> None:
    """Report a name that is a word of the language.

    A word that never begins an expression may name what is not assigned to: where a statement
    begins, the parser would take it for the word.
    """
    if name.text not in (keywords() if assigned else HARD):
        return
    soft = name.text not in HARD
    diagnostics.error(
        "RWF0110",
        f"`{name.text}` is a word of the language",
        name.span,
        "cannot be assigned to" if soft else "cannot be the name of a value",
        help=(f"call it `{name.text}_` or, better, for what it is",),
    )
