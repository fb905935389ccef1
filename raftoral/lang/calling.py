"""What is called around a place in a text, and which of its parameters the place belongs to.

The place is found by words and brackets alone, since a call that is being written does not parse.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from raftoral.lang import ast
from raftoral.lang.braces import quiet_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from raftoral.lang.assist import Document

_CALLEE: Final = re.compile(r"([A-Za-z_][\w.]*)(?:\s+version\s+(\d+))?\s*\Z")
_DEFINED: Final = re.compile(r"\b(?:fn|activity|workflow)\s+\Z")
_SENT: Final = re.compile(r"\bat\b[^\n{}]*\b(?:signal|update)\s+\Z")
_TESTED: Final = re.compile(r"\btest\s+for\s+([\w.]+)(?:\s+version\s+(\d+))?")
_WORKFLOW: Final = re.compile(r"\bworkflow\s+([\w.]+)(?:\s+version\s+(\d+))?")
_NAMED: Final = re.compile(r"\s*(\w+)\s*:")


class Signature(NamedTuple):
    """A head, its parameters as they stand in it, which of them is meant, and what it is."""

    label: str
    parameters: tuple[str, ...]
    active: int
    about: str


def signatures(text: str, offset: int, known: Document) -> list[Signature]:
    """Return what is called around a place in a text, in each version; nothing outside of a call.

    ``known`` is the text when it last parsed: definitions come from there.
    """
    quiet = quiet_text(text)[:offset]
    found = _opening(quiet)
    if found is None or known.index is None:
        return []
    start, arguments = found
    return [
        Signature(
            label,
            tuple(known.text(one.span) for one in params),
            _active(arguments, [one.name.text for one in params]),
            about,
        )
        for label, params, about in _called(quiet[:start], known)
    ]


def _opening(quiet: str) -> tuple[int, list[str]] | None:
    """Return where the parenthesis opens that a text ends in, and the arguments since then."""
    closed = 0
    ends = [len(quiet)]
    for at in range(len(quiet) - 1, -1, -1):
        match quiet[at]:
            case ")" | "]" | "}":
                closed += 1
            case "(" | "[" | "{" if closed:
                closed -= 1
            case "(":
                ends.append(at)
                pairs = zip(ends[1:], ends, strict=False)
                return at, [quiet[start + 1 : end] for start, end in pairs][::-1]
            case "[" | "{":
                del ends[1:]  # what was seen is one argument, which is not whole
            case "," if not closed:
                ends.append(at)
            case _:
                pass
    return None


def _active(arguments: Sequence[str], names: Sequence[str]) -> int:
    """Return the number of the parameter that the last argument is for; beyond all if it is none's."""
    named = _NAMED.match(arguments[-1])
    if named is None:
        return len(arguments) - 1
    return names.index(named[1]) if named[1] in names else len(names)


def _called(before: str, known: Document) -> Iterator[tuple[str, Sequence[ast.Param], str]]:
    """Yield head, parameters and comment of what the words in front of a parenthesis name."""
    found = _CALLEE.search(before)
    if found is None or _DEFINED.search(before, 0, found.start()):
        return
    name, version = found[1], found[2]
    start = before[: found.start()]
    if name == "given" and (tests := _TESTED.findall(before)):
        name, version = tests[-1]
    elif name == "with" and (around := _WORKFLOW.findall(before)):
        name, version = around[-1]
    elif _SENT.search(start):
        yield from _mailbox(name, known)
        return
    assert known.index is not None
    for one in known.index.symbols:
        node: Any = one.node
        match one.kind:
            case "workflow" if one.name == name:
                yield from _versions(name, version, known)
            case "function" | "activity" if one.name == name:
                yield known.signature(one), node.params, known.doc(one)
            case "record" | "error" if one.name == name:
                yield known.signature(one), node.fields, known.doc(one)
            case "enum" if name.startswith(f"{one.name}."):
                for case in node.cases:
                    if f"{one.name}.{case.name.text}" == name:
                        yield f"{one.name}.{known.text(case.span)}", case.fields, known.doc(one)
            case _:
                pass


def _versions(
    name: str, version: str, known: Document
) -> Iterator[tuple[str, Sequence[ast.Param], str]]:
    file = known.read.file
    for item in () if file is None else file.items:
        if not isinstance(item, ast.WorkflowDef) or item.name.text != name:
            continue
        if not version or item.version == int(version):
            yield known.head(item), item.params, ""


def _mailbox(name: str, known: Document) -> Iterator[tuple[str, Sequence[ast.Param], str]]:
    assert known.index is not None
    for one in known.index.symbols:
        if one.kind in ("signal", "update") and one.name == name:
            yield known.signature(one), one.node.params, known.doc(one)
