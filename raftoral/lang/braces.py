"""Braces: which count, and which block was meant to end where none is closed."""

from __future__ import annotations

import re

from raftoral.lang.diagnostics import Diagnostic, Label
from raftoral.lang.source import Span

_NOISE = re.compile(r'"""[\s\S]*?(?:"""|\Z)|"(?:\\.|[^"\\\n])*"?|#[^\n]*')


def quiet_text(text: str) -> str:
    """Return ``text`` with texts and comments blanked, so that every brace counts."""
    return _NOISE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def unclosed(text: str) -> Diagnostic:
    """Return the report that blames the block whose indentation says it was meant to end."""
    opened: list[tuple[int, int]] = []
    suspect: tuple[int, int] | None = None
    offset = 0
    for line in quiet_text(text).split("\n"):
        body = line.lstrip(" \t")
        indent = len(line) - len(body)
        begins_closing = body.startswith("}")
        # A line that closes stands where its block began, any other line deeper.
        allowed = opened[-1][1] if opened and begins_closing else opened[-1][1] + 1 if opened else 0
        if body and opened and suspect is None and indent < allowed:
            suspect = (opened[-1][0], offset + indent)
        for found in re.finditer(r"[{}]", line):
            if found[0] == "{":
                opened.append((offset + found.start(), indent))
            elif opened:
                opened.pop()
        offset += len(line) + 1
    if suspect is None:
        suspect = (opened[-1][0] if opened else 0, max(0, len(text.rstrip()) - 1))
    start, end = suspect
    return Diagnostic(
        "RWF0004",
        "this block is never closed",
        Span(start, start + 1),
        "opened here",
        (Label(Span(end, end + 1), "the indentation says it should have ended before this"),),
        ("add `}` on its own line above",),
    )
