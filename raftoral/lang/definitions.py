"""What a file defines and what it imports, with types resolved, doubles and cycles reported.

A program is closed over its imports and knows each record, enum and error by its plain name, which
is also how histories and activities know an error. So two files of one program may not define the
same name, and under which name a file was imported means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from raftoral.lang import ast
from raftoral.lang.diagnostics import Label, did_you_mean, inserting
from raftoral.lang.node import node
from raftoral.lang.source import Span
from raftoral.lang.types import (
    BUILT_IN,
    NOTHING,
    SIMPLE,
    STRING,
    UNKNOWN,
    EnumType,
    ListType,
    MapType,
    MoneyType,
    OptionalType,
    OutcomeType,
    RecordType,
    Type,
    optional,
    outcome_cases,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from raftoral.lang.ast import Ident
    from raftoral.lang.diagnostics import Diagnostics
    from raftoral.values import Value

ERRORS: Final = frozenset(
    {
        "BadKey", "BadResult", "BadValue", "Cancelled", "CompensationFailed", "CurrencyMismatch",
        "DeadlineExceeded", "DivisionByZero", "Empty", "Failed", "HeartbeatTimeout", "Interrupted",
        "LoopLimit", "OutOfRange", "Overflow", "Timeout", "TooLarge", "Unavailable",
    }
)  # fmt: skip
"""Errors that need no definition: what the engine and the built-ins fail with."""

TYPE_DEPTH_MAX: Final = 16
DOTTED_MAX: Final = 200

_HINTS: Final = {
    "str": "string", "text": "string", "float": "decimal", "number": "int", "integer": "int",
    "datetime": "timestamp", "dict": "map", "boolean": "bool", "array": "list", "object": "json",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a record or error, a parameter of whatever has some; ``home`` reads its default."""

    name: Ident
    type: Type
    default: ast.Expr | None
    home: Definitions = field(repr=False, compare=False)

    @property
    def required(self) -> bool:
        """Tell whether it must be given."""
        return self.default is None and not isinstance(self.type, OptionalType)


@node
class Shape:
    """A record, an error, the payload of a signal: named fields."""

    name: Ident
    fields: dict[str, Field]


@node
class Enum:
    """An enum: the fields of each of its cases."""

    name: Ident
    cases: dict[str, Shape]


@dataclass(frozen=True, slots=True)
class Activity:
    """The contract of an activity."""

    name: Ident
    params: dict[str, Field]
    result: Type
    definition: ast.ActivityDef
    home: Definitions = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Function:
    """A pure function."""

    name: Ident
    params: dict[str, Field]
    result: Type
    definition: ast.FnDef
    home: Definitions = field(repr=False, compare=False)

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from all other functions of the program: its file and its name."""
        return self.home.path, self.name.text


@node
class Child:
    """A workflow as those see it who call it."""

    name: Ident
    version: int
    params: dict[str, Field]
    result: Type


@dataclass(slots=True)
class Known:
    """The types of a whole program, by their plain names; shared by all its files."""

    records: dict[str, Shape] = field(default_factory=dict)
    enums: dict[str, Enum] = field(default_factory=dict)
    errors: dict[str, Shape] = field(default_factory=dict)
    homes: dict[str, str] = field(default_factory=dict)
    copied: int = 0
    """How much of constants was copied to where it is used; see `check.constants`."""


class Definitions:
    """What one file defines. ``imports`` are the definitions of the files it imports, by name."""

    def __init__(
        self,
        file: ast.File,
        diagnostics: Diagnostics,
        *,
        path: str = "",
        imports: Mapping[str, Definitions] | None = None,
        known: Known | None = None,
    ) -> None:
        self.diagnostics = diagnostics
        self.path = path
        self.imports = dict(imports or {})
        self.known = known or Known()
        self.records: dict[str, Shape] = {}
        self.enums: dict[str, Enum] = {}
        self.errors: dict[str, Shape] = {}
        self.constants: dict[str, ast.ConstDef] = {}
        self.evaluated: dict[str, tuple[Type, Value]] = {}
        self.opened: list[str] = []
        self.computed: dict[Span, Value] = {}
        self.computing: set[Span] = set()
        self.policies: dict[str, ast.PolicyDef] = {}
        self.activities: dict[str, Activity] = {}
        self.functions: dict[str, Function] = {}
        self.children: dict[str, list[Child]] = {}
        self.workflows: list[ast.WorkflowDef] = []
        self.tests: list[ast.TestDef] = []
        self._type_names = _type_names(file, self.known)
        self.used: set[str] = set()
        """The names of imports that were asked for something."""
        self._seen: dict[str, Ident] = {}
        for item in file.items:
            self._add(item)
        self._check_cycles()

    # -------------------------------------------------------------- one definition after the other
    def _add(self, item: ast.Item) -> None:
        match item:
            case ast.Import(_, _, _, name):
                self._new(name, name.text)
            case ast.ConstDef(_, name):
                if self._new(name, name.text):
                    self.constants[name.text] = item
            case ast.RecordDef(_, name, fields):
                if self._new_type(name):
                    self.records[name.text] = Shape(name, self.fields(fields))
                    self.known.records[name.text] = self.records[name.text]
            case ast.EnumDef():
                if self._new_type(item.name):
                    self._add_enum(item)
            case ast.ErrorDef(_, name, fields):
                if self._new_type(name):
                    self.errors[name.text] = Shape(name, self.error_fields(fields))
                    self.known.errors[name.text] = self.errors[name.text]
            case ast.PolicyDef(_, name):
                if self._new(name, f"policy {name.text}"):
                    self.policies[name.text] = item
            case ast.ActivityDef(_, name, params, result):
                self._bounded(name)
                if self._new(name, f"activity {name.text}"):
                    kind = NOTHING if result is None else self.type_of(result)
                    made = Activity(name, self.fields(params), kind, item, self)
                    self.activities[name.text] = made
            case ast.FnDef(_, name, params, result):
                if self._new(name, f"fn {name.text}"):
                    kind = UNKNOWN if result is None else self.type_of(result)
                    made_fn = Function(name, self.fields(params), kind, item, self)
                    self.functions[name.text] = made_fn
            case ast.WorkflowDef():
                self._add_workflow(item)
            case ast.TestDef():
                self.tests.append(item)

    def _add_enum(self, item: ast.EnumDef) -> None:
        cases: dict[str, Shape] = {}
        for case in item.cases:
            before = cases.get(case.name.text)
            if before is not None:
                first = Label(before.name.span, "first here")
                message = f"case `{case.name.text}` is there twice"
                self.diagnostics.error("RWF0120", message, case.span, "again", labels=(first,))
                continue
            cases[case.name.text] = Shape(case.name, self.fields(case.fields))
        if not cases:
            message = f"enum `{item.name.text}` has no case, so it has no value"
            self.diagnostics.error("RWF0203", message, item.name.span)
        self.enums[item.name.text] = Enum(item.name, cases)
        self.known.enums[item.name.text] = self.enums[item.name.text]

    def _add_workflow(self, item: ast.WorkflowDef) -> None:
        name = item.name
        self._bounded(name)
        if not item.version:
            self.diagnostics.error(
                "RWF0111",
                f"workflow `{name.text}` needs a version",
                name.span,
                "write `version 1` behind the name",
                fixes=inserting(name.span.end, " version 1"),
            )
        if not self._new(name, f"workflow {name.text} {item.version}"):
            return
        if item.block is not None:
            self.workflows.append(item)
        kind = NOTHING if item.result is None else self.type_of(item.result)
        child = Child(name, item.version or 1, self.fields(item.params, silent=True), kind)
        self.children.setdefault(name.text, []).append(child)

    def _bounded(self, name: Ident) -> None:
        if len(name.text) > DOTTED_MAX:
            message = f"a name with dots has at most {DOTTED_MAX} characters"
            self.diagnostics.error("RWF0404", message, name.span)

    def _new_type(self, name: Ident) -> bool:
        """Tell whether a name is free in the whole program, and take it; report it otherwise."""
        home = self.known.homes.get(name.text)
        if home is not None and home != self.path:
            self.diagnostics.error(
                "RWF0120",
                f"`{name.text}` is defined in {home} too",
                name.span,
                "again here",
                notes=("a program knows each record, enum and error by its name alone",),
            )
            return False
        self.known.homes[name.text] = self.path
        return self._new(name, name.text)

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

    def fields(self, params: Iterable[ast.Param], *, silent: bool = False) -> dict[str, Field]:
        """Return resolved fields by name, in their order."""
        found: dict[str, Field] = {}
        for param in params:
            name = param.name
            if name.text in found:
                if not silent:
                    first = Label(found[name.text].name.span, "first here")
                    message = f"`{name.text}` is there twice"
                    self.diagnostics.error("RWF0120", message, name.span, "again", labels=(first,))
                continue
            found[name.text] = Field(name, self.type_of(param.type), param.default, self)
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

    # -------------------------------------------------------------- looking up
    def find(self, table: str, name: str) -> Any:
        """Return what a name means, here or behind the name of an import; None if nothing.

        ``table`` is the attribute that holds definitions of the kind.
        """
        own = getattr(self, table).get(name)
        if own is not None:
            return own
        alias, _, rest = name.partition(".")
        other = self.imports.get(alias)
        if other is None:
            return None
        self.used.add(alias)
        return getattr(other, table).get(rest)

    def names(self, table: str) -> list[str]:
        """Return all names that `find` knows."""
        found = list(getattr(self, table))
        for alias, other in self.imports.items():
            found += [f"{alias}.{name}" for name in getattr(other, table)]
        return found

    def error_name(self, name: Ident) -> str | None:
        """Return the plain name of an error; None after a report."""
        if name.text in ERRORS:
            return name.text
        shape = self.find("errors", name.text)
        if shape is not None:
            return str(shape.name.text)
        label = did_you_mean(name.text, [*self.names("errors"), *ERRORS], "not defined")
        message = f"there is no error `{name.text}`"
        self.diagnostics.error("RWF0203", message, name.span, label)
        return None

    def error_names(self, names: Iterable[Ident]) -> list[str]:
        """Return the plain names of errors; those that are not defined are reported."""
        return [plain for name in names if (plain := self.error_name(name)) is not None]

    # -------------------------------------------------------------- types
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
        if name in ("list", "map", "outcome"):
            return self._container(ref, depth)
        if arguments:
            self.diagnostics.error("RWF0203", f"`{name}` takes no type in < >", ref.span)
            return UNKNOWN
        if name in SIMPLE:
            return SIMPLE[name]
        if name in self._type_names:
            return self._type_names[name]
        if (shape := self.find("records", name)) is not None:
            return RecordType(shape.name.text)
        if (enum := self.find("enums", name)) is not None:
            return EnumType(enum.name.text)
        return self._unknown_type(ref)

    def _unknown_type(self, ref: ast.TypeRef) -> Type:
        name = ref.name
        hint = _HINTS.get(name)
        known = [*BUILT_IN, *self._type_names, *self.names("records"), *self.names("enums")]
        label = f"did you mean `{hint}`?" if hint else did_you_mean(name, known, "not defined")
        alias, dot, _ = name.partition(".")
        if dot and alias not in self.imports:
            label = f"no file is imported as `{alias}`"
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
        if ref.name == "outcome" and len(arguments) == 1:
            return OutcomeType(self.type_of(arguments[0], depth + 1))
        if ref.name == "map" and len(arguments) == 2:
            key = self.type_of(arguments[0], depth + 1)
            if key not in (STRING, UNKNOWN):
                message = "the keys of a map are strings: `map<string, T>`"
                self.diagnostics.error("RWF0203", message, arguments[0].span)
            return MapType(self.type_of(arguments[1], depth + 1))
        form = "map<string, T>" if ref.name == "map" else f"{ref.name}<T>"
        self.diagnostics.error("RWF0203", f"`{ref.name}` is written `{form}`", ref.span)
        return UNKNOWN

    def outcome(self, item: Type) -> Enum:
        """Return ``outcome<item>`` as the enum that it is."""
        nowhere = Span(0, 0)
        cases = {
            case: Shape(
                ast.Ident(nowhere, case),
                {
                    name: Field(ast.Ident(nowhere, name), kind, None, self)
                    for name, kind in fields.items()
                },
            )
            for case, fields in outcome_cases(item).items()
        }
        return Enum(ast.Ident(nowhere, "outcome"), cases)

    def _check_cycles(self) -> None:
        """Report records and enums that hold themselves: their values would have no end."""
        uses: dict[str, set[str]] = {}
        idents: dict[str, Ident] = {}
        for name, record in self.records.items():
            idents[name] = record.name
            uses[name] = {u for f in record.fields.values() for u in held_in(f.type)}
        for name, enum in self.enums.items():
            idents[name] = enum.name
            fields = [f for case in enum.cases.values() for f in case.fields.values()]
            uses[name] = {u for f in fields for u in held_in(f.type)}
        for cycle in cycles(uses):
            what = "record" if cycle[0] in self.records else "enum"
            message = f"{what} `{cycle[0]}` holds itself: {' -> '.join((*cycle, cycle[0]))}"
            help_ = ("keep the id of the other one instead",)
            self.diagnostics.error("RWF0302", message, idents[cycle[0]].span, help=help_)


def _type_names(file: ast.File, known: Known) -> dict[str, Type]:
    """Return the types that a file defines; of several of one name it is the first.

    Their shapes are not known yet. What is taken in another file of the program is none of them.
    """
    found: dict[str, Type] = {}
    taken = {*known.homes, *ERRORS}
    for item in file.items:
        if isinstance(item, ast.RecordDef | ast.EnumDef | ast.ErrorDef):
            name = item.name.text
            if name not in taken and not isinstance(item, ast.ErrorDef):
                found[name] = (RecordType if isinstance(item, ast.RecordDef) else EnumType)(name)
            taken.add(name)
    return found


def held_in(kind: Type) -> set[str]:
    """Return the names of the records and enums that values of a type are made of."""
    match kind:
        case RecordType(name) | EnumType(name):
            return {name}
        case ListType(item) | MapType(item) | OptionalType(item) | OutcomeType(item):
            return held_in(item)
        case _:
            return set()


def cycles(uses: dict[Any, set[Any]]) -> list[tuple[Any, ...]]:
    """Return one cycle for each group of names that reach themselves, in order of their names."""
    found: list[tuple[Any, ...]] = []
    done: set[Any] = set()
    for start in sorted(uses):
        stack: list[tuple[Any, list[Any]]] = [(start, sorted(uses[start], reverse=True))]
        path = {start: None}
        while stack and start not in done:
            name, rest = stack[-1]
            if not rest:
                done.add(name)
                stack.pop()
                path.popitem()
                continue
            following = rest.pop()
            if following in path:
                way = list(path)
                found.append(tuple(way[way.index(following) :]))
                done.update(path)
                break
            if following in uses and following not in done:
                stack.append((following, sorted(uses[following], reverse=True)))
                path[following] = None
    return found
