"""Whether the cases of a `match` cover all values: pure sets of values, without syntax.

A space is what a pattern takes: everything (`WILD`), one constructor with the spaces of its parts
(`Con`), or any of several (a tuple). The work is bounded by a count of steps, since patterns can be
written for which it is exponential.

Source: Luc Maranget, "Warnings for pattern matching", Journal of Functional Programming 17 (2007).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from raftoral.lang.node import node
from raftoral.lang.types import (
    BOOL,
    EnumType,
    OptionalType,
    OutcomeType,
    RecordType,
    Type,
    outcome_cases,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from raftoral.lang.definitions import Known

STEPS_MAX: Final = 200_000


@node
class Con:
    """One way to make a value, with what its parts may be."""

    name: str
    parts: tuple[Space, ...] = ()


@node
class Wild:
    """Everything."""


Space: TypeAlias = "Wild | Con | tuple[Space, ...]"
Row: TypeAlias = "tuple[Space, ...]"
Ways: TypeAlias = "dict[str, tuple[str, list[Type]]] | None"

WILD: Final = Wild()


class TooComplex(Exception):
    """The patterns are beyond what is worth working out."""


class Coverage:
    """Answers questions about rows of spaces for values of known types."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._found: dict[Type, Ways] = {}
        self._steps = 0

    def missing(self, rows: Sequence[Row], kinds: Sequence[Type]) -> list[str] | None:
        """Return values that no row takes, as text, one for each type; None if there are none."""
        self._count(len(rows))
        if not kinds:
            return None if rows else []
        kind, rest = kinds[0], kinds[1:]
        rows = _flat(rows)
        heads = {row[0].name for row in rows if isinstance(row[0], Con)}
        ways = self._ways(kind)
        if ways is not None and set(ways) <= heads:
            return self._missing_one(rows, ways, rest)
        left = self.missing([row[1:] for row in rows if isinstance(row[0], Wild)], rest)
        if left is None:
            return None
        return [self._example(kind, ways, heads), *left]

    def _missing_one(
        self, rows: Sequence[Row], ways: dict[str, tuple[str, list[Type]]], rest: Sequence[Type]
    ) -> list[str] | None:
        for name, (shown, parts) in ways.items():
            inner = [special for row in rows if (special := _special(row, name, len(parts)))]
            left = self.missing([one[0] for one in inner], [*parts, *rest])
            if left is not None:
                shown = shown.format(*left[: len(parts)]) if parts else shown
                return [shown, *left[len(parts) :]]
        return None

    def useful(self, rows: Sequence[Row], new: Row, kinds: Sequence[Type]) -> bool:
        """Tell whether ``new`` takes a value that no row before it takes."""
        self._count(len(rows))
        if not kinds:
            return not rows
        head = new[0]
        if isinstance(head, tuple):
            seen = list(rows)
            for option in head:
                if self.useful(seen, (option, *new[1:]), kinds):
                    return True
                seen.append((option, *new[1:]))
            return False
        rows = _flat(rows)
        kind, rest = kinds[0], kinds[1:]
        ways = self._ways(kind)
        if isinstance(head, Con):
            parts = ways[head.name][1] if ways and head.name in ways else []
            return self._useful_way(rows, new, head.name, parts, rest)
        heads = {row[0].name for row in rows if isinstance(row[0], Con)}
        if ways is not None and set(ways) <= heads:
            return any(
                self._useful_way(rows, new, name, parts, rest) for name, (_, parts) in ways.items()
            )
        return self.useful([row[1:] for row in rows if isinstance(row[0], Wild)], new[1:], rest)

    def _useful_way(
        self, rows: Sequence[Row], new: Row, name: str, parts: list[Type], rest: Sequence[Type]
    ) -> bool:
        inner = [special[0] for row in rows if (special := _special(row, name, len(parts)))]
        own = _special(new, name, len(parts))
        return bool(own) and self.useful(inner, own[0], [*parts, *rest])

    def _ways(self, kind: Type) -> Ways:
        """Return all constructors of a type, shown and with their parts; None if they have no end."""
        if kind not in self._found:
            self._found[kind] = self._worked_out(kind)
        return self._found[kind]

    def _worked_out(self, kind: Type) -> Ways:
        match kind:
            case OptionalType(item):
                return {"none": ("none", []), "some": ("{}", [item])}
            case EnumType(name):
                cases = self._known.enums[name].cases
                return {
                    case: (
                        _shown(f"{name}.{case}", shape.fields),
                        [f.type for f in shape.fields.values()],
                    )
                    for case, shape in cases.items()
                }
            case OutcomeType(item):
                return {
                    case: (_shown(f"outcome.{case}", fields), [*fields.values()])
                    for case, fields in outcome_cases(item).items()
                }
            case RecordType(name) if name in self._known.records:
                fields = self._known.records[name].fields
                return {"record": (_shown(name, fields), [f.type for f in fields.values()])}
            case _ if kind == BOOL:
                return {"true": ("true", []), "false": ("false", [])}
            case _:
                return None

    def _example(self, kind: Type, ways: Ways, heads: set[str]) -> str:
        if ways is None or not heads:
            return "_"
        name = next(way for way in ways if way not in heads)
        shown, parts = ways[name]
        return shown.format(*["_"] * len(parts)) if parts else shown

    def _count(self, rows: int) -> None:
        self._steps += rows + 1
        if self._steps > STEPS_MAX:
            raise TooComplex


def _shown(name: str, fields: Mapping[str, object]) -> str:
    """Return a format with one place for each field."""
    return f"{name}({', '.join(f'{field}: {{}}' for field in fields)})" if fields else name


def _flat(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with one for each of several first spaces."""
    found: list[Row] = []
    todo = list(reversed(rows))
    while todo:
        row = todo.pop()
        if isinstance(row[0], tuple):
            todo.extend((option, *row[1:]) for option in reversed(row[0]))
        else:
            found.append(row)
    return found


def _special(row: Row, name: str, parts: int) -> list[Row]:
    """Return the row for values made by ``name``, in a list; empty if it takes none of them."""
    head = row[0]
    if isinstance(head, Wild):
        return [(*[WILD] * parts, *row[1:])]
    if isinstance(head, Con) and head.name == name:
        return [(*head.parts, *row[1:])]
    return []
