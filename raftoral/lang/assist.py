"""What an editor shows about a place in a file: what stands there, and what could.

Pure: a text and an offset in, plain answers out; `lsp` speaks the protocol.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lark.exceptions import UnexpectedInput

from raftoral.lang import ast, grammar
from raftoral.lang.builtins import NAMES
from raftoral.lang.parse import TEXT_BYTES_MAX
from raftoral.lang.read import read
from raftoral.lang.source import Source, Span
from raftoral.lang.symbols import Index, Symbol
from raftoral.lang.types import BUILT_IN, NEVER, outcome_cases
from raftoral.lang.words import CLAUSES, CONTROL, DEFINITIONS, EFFECTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from raftoral.lang.read import Read

_EVENTS: Final = {
    "checkpoint": "each value is one event: `Set`",
    "result": "recorded once; all nodes read what was recorded",
    "callback": "opening it and its end are events: `CallbackOpened`, `CallbackDone`",
    "signal": "taking one is an event: `Taken`",
    "update": "taking one is an event: `Taken`; its answer is another",
}
_STEPS: Final[dict[type, str]] = {
    ast.ComputeStmt: "`Done`, and one `Retry` for each attempt that fails and is repeated",
    ast.ChildStmt: "`ChildAsked`, and `ChildDone` where it is waited for",
    ast.Await: "`Taken`, or `TimerSet` and `TimerFired`",
}


@dataclass(frozen=True, slots=True)
class Offer:
    """A word that could stand here, what kind it is, and what to say about it."""

    text: str
    kind: str
    about: str = ""


class Document:
    """One text as an editor has it, read as far as it can be."""

    def __init__(self, path: str, text: str, load: Callable[[str], Source | None]) -> None:
        self.source = Source(path, text).clean()
        self.read: Read = read(self.source, load)
        self.index = Index(self.read.file) if self.read.file is not None else None

    @property
    def readable(self) -> bool:
        """Tell whether the text is of a size that is read at all."""
        return len(self.source.text) <= TEXT_BYTES_MAX

    def text(self, span: Span) -> str:
        """Return a piece of the source on one line."""
        return " ".join(self.source.text[span.start : span.end].split())

    # -------------------------------------------------------------- what stands here
    def hover(self, offset: int) -> tuple[str, Span] | None:
        """Return what is to be said about an offset, as Markdown, and the word it is about."""
        one = None if self.index is None else self.index.at(offset)
        if one is None:
            return None
        where = next(use for use in one.uses if use.start <= offset <= use.end)
        parts = [f"```rwf\n{self.signature(one)}\n```"]
        parts += [part for part in (self.doc(one), _event(one)) if part]
        return "\n\n".join(parts), where

    def signature(self, one: Symbol) -> str:
        """Return the head of a definition, or the name of a value and its type."""
        node = one.node
        match one.kind:
            case "workflow":
                return self.head(node)
            case "function":
                return self.text(Span(node.span.start, node.block.span.start))
            case "activity" | "record" | "enum" | "error" | "policy" | "constant" | "file":
                return self.text(node.span)
            case "signal" | "update" | "query" | "callback":
                return self.text(node.span)
            case _:
                kind = self.read.types.get(one.span)
                if kind is None and isinstance(node, ast.Param):
                    kind = self.text(node.type.span)
                return f"{one.kind} {one.name}" + (f": {kind}" if kind else "")

    def head(self, node: ast.WorkflowDef) -> str:
        """Return a workflow without its body."""
        ends = [one.span.end for one in (*node.params, node.result, *node.raises) if one]
        end = max(node.span.end, *ends) if node.block is None else node.block.span.start
        if node.block is None and node.result is None and not node.raises:
            end = self.source.text.find(")", end) + 1
        return self.text(Span(node.span.start, end))

    def doc(self, one: Symbol) -> str:
        """Return the ``##`` comment above a definition."""
        number = self.source.place(one.node.span.start)[0] - 1
        lines: list[str] = []
        while number >= 1 and self.source.line(number).lstrip().startswith("##"):
            lines.append(self.source.line(number).strip()[2:].strip())
            number -= 1
        return "\n".join(reversed(lines))

    # -------------------------------------------------------------- what could stand here
    def offers(self, offset: int, known: Document | None = None) -> list[Offer]:
        """Return what may be typed at ``offset``; names come from ``known``, read when all was well."""
        if not self.readable:
            return []
        known = self if self.index is not None or known is None else known
        before = self.source.text[:offset]
        typed = re.search(r"[A-Za-z_]\w*\Z", before)
        start = offset - len(typed[0]) if typed else offset
        member = re.search(r"([A-Za-z_]\w*)\s*\??\.\s*\Z", before[:start])
        if member is not None:
            dotted = list(known.members(member[1], offset))
            return dotted or list(known.activities(f"{member[1]}."))
        words, names, types = _possible(before[:start])
        found = [Offer(word, "keyword") for word in words]
        index = known.index
        if names and index is not None:
            found += [
                Offer(one.name, one.kind, known.signature(one))
                for one in index.visible(offset)
                if one.kind not in ("activity", "workflow", *_TYPE_KINDS)
            ]
            found += [Offer(name, "function") for name in sorted(NAMES)]
        if re.search(r"\b(?:compute|mock|compensate)(?:\s+\w+\s*=)?\s*\Z", before[:start]):
            found += list(known.activities(""))
        if types and index is not None:
            found += [
                Offer(one.name, one.kind, known.signature(one))
                for one in index.symbols
                if one.kind in _TYPE_KINDS
            ]
        if re.search(r"(?::|->|<)\s*\Z", before[:start]):
            found += [Offer(name, "type") for name in BUILT_IN]
        return list({one.text: one for one in found}.values())

    def activities(self, prefix: str) -> Iterator[Offer]:
        """Offer the activities whose names begin so, without that beginning."""
        for one in self.index.symbols if self.index else ():
            if one.kind == "activity" and one.name.startswith(prefix):
                yield Offer(one.name.removeprefix(prefix), "activity", self.signature(one))

    def members(self, name: str, offset: int) -> Iterator[Offer]:
        """Offer the fields of the record that a value is, and the cases of an enum."""
        if self.index is None:
            return
        if name == "outcome":
            yield from (Offer(case, "case") for case in outcome_cases(NEVER))
        seen = self.index.visible(offset)
        value = next((one for one in seen if one.name == name), None)
        kind = name
        if value is not None and value.kind not in _TYPE_KINDS:
            kind = self.read.types.get(value.span, "").rstrip("?")
            if not kind and isinstance(value.node, ast.Param):
                kind = value.node.type.name
        for one in self.index.symbols:
            if one.name != kind:
                continue
            for part in getattr(one.node, "fields", ()) or ():
                yield Offer(part.name.text, "field", self.text(part.span))
            for case in getattr(one.node, "cases", ()) or ():
                yield Offer(case.name.text, "case", self.text(case.span))


_TYPE_KINDS: Final = ("record", "enum", "error", "constant")
_PLACES: Final = (*EFFECTS, *CONTROL, *CLAUSES, *DEFINITIONS)


def _event(one: Symbol) -> str:
    event = _STEPS.get(type(one.node)) if one.kind == "result" else None
    if event is not None:
        return f"In the history `{one.name}`: {event}."
    about = _EVENTS.get(one.kind)
    return f"In the history: {about}." if about else ""


@functools.cache
def _parser() -> Any:
    return grammar.build(None)


def _possible(before: str) -> tuple[list[str], bool, bool]:
    """Return the words, and whether a name or a Name, that may follow a text.

    After a mistake nobody can tell: then every word may.
    """
    parser = _parser()
    reading = parser.parse_interactive(before, start="start")
    try:
        reading.exhaust_lexer()
        accepted = reading.accepts()
    except UnexpectedInput:
        return sorted(_PLACES), True, True
    fixed = grammar.fixed_texts(parser)
    words = sorted(w for t in accepted if (w := fixed.get(t, "")).replace("_", "").isalpha())
    return words, "NAME" in accepted, "UNAME" in accepted
