"""Diagnostics as plain text: file:line:column, the lines, the carets, what to do.

Knows no terminal and no colour; a front end may colour the words it finds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.lang.diagnostics import Diagnostic, Label

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raftoral.lang.source import Source

_LINE_MAX = 160


def render(one: Diagnostic, source: Source) -> str:
    """Return the report as text, without a final newline."""
    marks: dict[int, list[tuple[int, int, str, str]]] = {}
    for label, sign in [(Label(one.span, one.label), "^"), *((more, "-") for more in one.labels)]:
        line, column = source.place(label.span.start)
        room = max(1, len(source.line(line)) - column + 1)
        length = max(1, min(label.span.end - label.span.start, room))
        marks.setdefault(line, []).append((column, length, sign, label.text))
    gutter = len(str(max(marks)))
    line, column = source.place(one.span.start)
    blank = " " * gutter + " |"
    out = [
        f"{one.severity}[{one.code}]: {one.message}",
        f"{' ' * gutter}--> {source.path}:{line}:{column}",
        blank,
    ]
    before = None
    for number in sorted(marks):
        if before is not None and number > before + 1:
            out.append("." * min(3, gutter + 1))
        text = source.line(number)
        shown = text if len(text) <= _LINE_MAX else text[:_LINE_MAX] + " ..."
        out.append(f"{number:>{gutter}} | {shown}".rstrip())
        for at, length, sign, words in sorted(marks[number], reverse=True):
            # The caret stays under its character when the line has tabs.
            pad = "".join("\t" if c == "\t" else " " for c in text[: at - 1])
            out.append(f"{blank} {pad[:_LINE_MAX]}{sign * min(length, _LINE_MAX)} {words}".rstrip())
        before = number
    if one.help or one.notes:
        out.append(blank)
    out += [f"{' ' * gutter} = help: {words}" for words in one.help]
    out += [f"{' ' * gutter} = note: {words}" for words in one.notes]
    return "\n".join(map(harmless, out))


def harmless(line: str) -> str:
    """Return a line that no terminal takes for a command; every character keeps its place."""
    return "".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in line)


def render_all(diagnostics: Iterable[Diagnostic], source: Source) -> str:
    """Return all reports, each followed by an empty line; empty for none."""
    return "".join(render(one, source) + "\n\n" for one in diagnostics)
