"""Every name to what it names: the definitions of a file, and the variables in sight.

Owns two tables. `Definitions` holds what the file defines, with types resolved, doubles and cycles
reported. `Scope` holds the variables of one body while the checker walks it, block by block.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from raftoral.lang import ast
from raftoral.lang.diagnostics import Label, did_you_mean
from raftoral.lang.grammar import HARD, keywords
from raftoral.lang.source import Span
from raftoral.lang.types import (
    BUILT_IN,
    NOTHING,
    SIMPLE,
    STRING,
    UNKNOWN,
    ListType,
    MapType,
    MoneyType,
    OptionalType,
    RecordType,
    Type,
    optional,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raftoral.lang.ast import Ident
    from raftoral.lang.diagnostics import Diagnostics

ERRORS: Final = frozenset(
    {
        "BadResult", "Cancelled", "CurrencyMismatch", "DivisionByZero", "Empty", "Failed",
        "Interrupted", "LoopLimit", "OutOfRange", "Overflow", "Timeout", "TooLarge",
        "Unavailable",
    }
)  # fmt: skip
"""Errors that need no definition: what the engine and the built-ins fail with."""

TYPE_DEPTH_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a record or error, a parameter of an activity, function, signal or workflow."""

    name: Ident
    type: Type
    default: ast.Expr | None

    @property
    def required(self) -> bool:
        """Tell whether it must be given."""
        return self.default is None and not isinstance(self.type, OptionalType)


@dataclass(frozen=True, slots=True)
class Shape:
    """A record, an error, or the payload of a signal: named fields."""

    name: Ident
    fields: dict[str, Field]


@dataclass(frozen=True, slots=True)
class Activity:
    """The contract of an activity."""

    name: Ident
    params: dict[str, Field]
    result: Type
    definition: ast.ActivityDef


@dataclass(frozen=True, slots=True)
class Function:
    """A pure function."""

    name: Ident
    params: dict[str, Field]
    result: Type
    definition: ast.FnDef


class Definitions:
    """What one file defines. Reports doubles, unknown types and records that hold themselves."""

    def __init__(self, file: ast.File, diagnostics: Diagnostics) -> None:
        self.diagnostics = diagnostics
        self.records: dict[str, Shape] = {}
        self.errors: dict[str, Shape] = {}
        self.constants: dict[str, ast.ConstDef] = {}
        self.activities: dict[str, Activity] = {}
        self.functions: dict[str, Function] = {}
        self.workflows: list[ast.WorkflowDef] = []
        self._record_names = {i.name.text for i in file.items if isinstance(i, ast.RecordDef)}
        self._seen: dict[str, Ident] = {}
        for item in file.items:
            self._add(item)
        self._check_record_cycles()

    def _add(self, item: ast.Item) -> None:
        match item:
            case ast.ConstDef(_, name):
                if self._new(name, name.text):
                    self.constants[name.text] = item
            case ast.RecordDef(_, name, fields):
                if self._new(name, name.text):
                    self.records[name.text] = Shape(name, self.fields(fields))
            case ast.ErrorDef(_, name, fields):
                if self._new(name, name.text):
                    self.errors[name.text] = Shape(name, self.error_fields(fields))
            case ast.ActivityDef(_, name, params, result):
                if self._new(name, f"activity {name.text}"):
                    kind = NOTHING if result is None else self.type_of(result)
                    self.activities[name.text] = Activity(name, self.fields(params), kind, item)
            case ast.FnDef(_, name, params, result):
                if self._new(name, f"fn {name.text}"):
                    kind = UNKNOWN if result is None else self.type_of(result)
                    self.functions[name.text] = Function(name, self.fields(params), kind, item)
            case ast.Import() | ast.EnumDef() | ast.PolicyDef() | ast.TestDef():
                word = type(item).__name__.removesuffix("Def").lower()
                self.diagnostics.error(
                    "RWF0006", f"`{word}` is not part of this release", item.span
                )
            case ast.WorkflowDef(_, name, version):
                if self._new(name, f"workflow {name.text} {version}"):
                    self.workflows.append(item)

    def _new(self, name: Ident, key: str) -> bool:
        """Tell whether ``key`` is free, and take it; report it otherwise."""
        before = self._seen.get(key)
        built_in = key in ERRORS
        if before is None and not built_in:
            self._seen[key] = name
            return True
        labels = () if before is None else (Label(before.span, "first defined here"),)
        message = f"`{name.text}` is defined twice"
        if built_in:
            message = f"`{name.text}` is an error of the language; use it without defining it"
        self.diagnostics.error("RWF0120", message, name.span, "again here", labels=labels)
        return False

    def fields(self, params: Iterable[ast.Param]) -> dict[str, Field]:
        """Return resolved fields by name, in their order."""
        found: dict[str, Field] = {}
        for param in params:
            name = param.name
            if name.text in found:
                first = Label(found[name.text].name.span, "first here")
                message = f"`{name.text}` is there twice"
                self.diagnostics.error("RWF0120", message, name.span, "again", labels=(first,))
                continue
            found[name.text] = Field(name, self.type_of(param.type), param.default)
        return found

    def error_fields(self, params: Iterable[ast.Param]) -> dict[str, Field]:
        """Return the fields of an error; its name, message and attempts are there anyway."""
        found = self.fields(params)
        for name in ("name", "attempts", "message"):
            if name in found:
                span = found.pop(name).name.span
                message = f"every error has `.{name}`; leave it out"
                self.diagnostics.error("RWF0120", message, span)
        return found

    def known_error(self, name: Ident) -> None:
        """Report the name of an error that is not defined."""
        if name.text not in self.errors and name.text not in ERRORS:
            label = did_you_mean(name.text, [*self.errors, *ERRORS], "not defined")
            message = f"there is no error `{name.text}`"
            self.diagnostics.error("RWF0203", message, name.span, label)

    def type_of(self, ref: ast.TypeRef, depth: int = 0) -> Type:
        """Return the type that is written there; `UNKNOWN` after a report."""
        if depth > TYPE_DEPTH_MAX:
            message = f"types are nested deeper than {TYPE_DEPTH_MAX} levels"
            self.diagnostics.error("RWF0403", message, ref.span)
            return UNKNOWN
        kind = self._named(ref, depth)
        return optional(kind) if ref.optional else kind

    def _named(self, ref: ast.TypeRef, depth: int) -> Type:
        name, arguments = ref.name, ref.arguments
        if name == "money":
            return self._money(ref)
        if name in ("list", "map"):
            return self._container(ref, depth)
        if arguments:
            self.diagnostics.error("RWF0203", f"`{name}` takes no type in < >", ref.span)
            return UNKNOWN
        if name in SIMPLE:
            return SIMPLE[name]
        if name in self._record_names:
            return RecordType(name)
        known = [*BUILT_IN, *self._record_names]
        hint = {"str": "string", "text": "string", "float": "decimal", "number": "int",
                "integer": "int", "datetime": "timestamp", "dict": "map"}.get(name)  # fmt: skip
        label = f"did you mean `{hint}`?" if hint else did_you_mean(name, known, "not defined")
        self.diagnostics.error("RWF0203", f"there is no type `{name}`", ref.span, label)
        return UNKNOWN

    def _money(self, ref: ast.TypeRef) -> Type:
        if not ref.arguments:
            return MoneyType(None)
        code = ref.arguments[0]
        plain = not code.arguments and not code.optional and len(ref.arguments) == 1
        if plain and len(code.name) == 3 and code.name.isascii() and code.name.isupper():
            return MoneyType(code.name)
        message = "a currency is three capitals, such as `money<EUR>`"
        self.diagnostics.error("RWF0203", message, code.span)
        return UNKNOWN

    def _container(self, ref: ast.TypeRef, depth: int) -> Type:
        arguments = ref.arguments
        if ref.name == "list" and len(arguments) == 1:
            return ListType(self.type_of(arguments[0], depth + 1))
        if ref.name == "map" and len(arguments) == 2:
            key = self.type_of(arguments[0], depth + 1)
            if key not in (STRING, UNKNOWN):
                message = "the keys of a map are strings: `map<string, T>`"
                self.diagnostics.error("RWF0203", message, arguments[0].span)
            return MapType(self.type_of(arguments[1], depth + 1))
        form = "list<T>" if ref.name == "list" else "map<string, T>"
        self.diagnostics.error("RWF0203", f"`{ref.name}` is written `{form}`", ref.span)
        return UNKNOWN

    def _check_record_cycles(self) -> None:
        """Report records that hold themselves: their values would have no end."""
        uses = {
            name: {u for f in shape.fields.values() for u in _records_in(f.type)}
            for name, shape in self.records.items()
        }
        for cycle in cycles(uses):
            name = self.records[cycle[0]].name
            message = f"record `{cycle[0]}` holds itself: {' -> '.join((*cycle, cycle[0]))}"
            help_ = ("keep the id of the other one instead",)
            self.diagnostics.error("RWF0302", message, name.span, help=help_)


def _records_in(kind: Type) -> set[str]:
    match kind:
        case RecordType(name):
            return {name}
        case ListType(item) | MapType(item) | OptionalType(item):
            return _records_in(item)
        case _:
            return set()


def cycles(uses: dict[str, set[str]]) -> list[tuple[str, ...]]:
    """Return one cycle for each group of names that reach themselves, in order of their names."""
    found: list[tuple[str, ...]] = []
    done: set[str] = set()
    for start in sorted(uses):
        stack: list[tuple[str, list[str]]] = [(start, sorted(uses[start]))]
        path = [start]
        while stack and start not in done:
            name, rest = stack[-1]
            if not rest:
                done.add(name)
                stack.pop()
                path.pop()
                continue
            following = rest.pop(0)
            if following in path:
                cycle = tuple(path[path.index(following) :])
                found.append(cycle)
                done.update(path)
                break
            if following in uses and following not in done:
                stack.append((following, sorted(uses[following])))
                path.append(following)
    return found


# ------------------------------------------------------------------ variables
Role: TypeAlias = Literal["let", "var", "checkpoint", "input", "compute", "loop", "catch"]


@dataclass(slots=True)
class Variable:
    """A variable of one body: its place in the frame, its type, and what may be done to it.

    ``first`` and ``last`` are the statements between which a debugger shows it; -1 is never.
    """

    name: Ident
    type: Type
    slot: int
    role: Role
    used: bool = False
    first: int = -1
    last: int = -1


@dataclass(slots=True)
class Scope:
    """The variables in sight, innermost block last; slots are never used twice."""

    diagnostics: Diagnostics
    where: str
    blocks: list[dict[str, Variable]] = field(default_factory=lambda: [{}])
    ahead: list[frozenset[str]] = field(default_factory=lambda: [frozenset()])
    everything: list[Variable] = field(default_factory=list)

    def find(self, name: str) -> Variable | None:
        """Return the variable called ``name``, or None."""
        for block in reversed(self.blocks):
            if name in block:
                return block[name]
        return None

    def declare(self, name: Ident, kind: Type, role: Role) -> Variable:
        """Add a variable to the innermost block; a reserved or taken name is reported."""
        assigned = role in ("var", "checkpoint")
        check_reserved(name, self.diagnostics, assigned=assigned)
        before = self.find(name.text)
        if before is not None:
            self.diagnostics.error(
                "RWF0121",
                f"`{name.text}` is declared already",
                name.span,
                "choose another name",
                labels=(Label(before.name.span, "declared here"),),
            )
        variable = Variable(name, kind, len(self.everything) + 1, role)
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
        self.diagnostics.error("RWF0201", message, span, near or "not declared here", labels=labels)


def check_reserved(name: Ident, diagnostics: Diagnostics, *, assigned: bool) -> None:
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
