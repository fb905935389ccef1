"""How an editor paints a text by its meaning: each word with what it stands for.

What the lexer sees is there for any text, also a broken one; what names stand for comes from the
index of one that parses. Words and activities that make events are marked, so that an editor can let
them stand out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from raftoral.lang.lexer import pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raftoral.lang.symbols import Index

KINDS: Final = (
    "namespace", "class", "enum", "struct", "parameter", "variable", "property", "event",
    "function", "type", "keyword", "comment", "string", "number", "operator",
)  # fmt: skip
MARKS: Final = ("declaration", "readonly", "documentation", "async")
"""``async`` is the protocol's word for what makes an event."""


class Painted(NamedTuple):
    """A piece of one line: where it is, one of `KINDS`, some of `MARKS`."""

    start: int
    end: int
    kind: str
    marks: tuple[str, ...] = ()


_SYMBOLS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "activity": ("function", ("async",)),
    "branch": ("property", ()),
    "callback": ("event", ()),
    "checkpoint": ("property", ("async",)),
    "constant": ("variable", ("readonly",)),
    "enum": ("enum", ()),
    "error": ("struct", ()),
    "field": ("property", ()),
    "file": ("namespace", ()),
    "function": ("function", ()),
    "input": ("parameter", ()),
    "policy": ("variable", ("readonly",)),
    "query": ("event", ()),
    "record": ("struct", ()),
    "result": ("variable", ("readonly",)),
    "signal": ("event", ()),
    "type": ("type", ()),
    "update": ("event", ()),
    "value": ("variable", ("readonly",)),
    "variable": ("variable", ()),
    "workflow": ("class", ()),
}


def painted(text: str, index: Index | None) -> list[Painted]:
    """Return the pieces of a text in their order; they do not overlap, and each is on one line."""
    named = {} if index is None else dict(_named(index))
    found: list[Painted] = []
    end = 0
    for start, value, kind, marks in pieces(text):
        if start < end:
            continue  # inside a name with dots
        if (name := named.get(start)) is not None:
            found.append(name)
            end = name.end
            continue
        at = start
        for line in value.splitlines(keepends=True):
            if line.strip():
                found.append(Painted(at, at + len(line.rstrip("\r\n")), kind, marks))
            at += len(line)
    return found


def _named(index: Index) -> Iterator[tuple[int, Painted]]:
    for one in index.symbols:
        kind, marks = _SYMBOLS[one.kind]
        for use in one.uses:
            own = ("declaration", *marks) if use == one.span else marks
            yield use.start, Painted(use.start, use.end, kind, own)
