"""`# raftoral: allow RPY10 because REASON`: where a report is refused by the author, with a reason.

A comment at a statement covers that statement; one on a line of its own covers the next one; one
at the head of a function covers the whole function; one at an import covers every use of what is
imported there.
"""

from __future__ import annotations

import io
import re
import tokenize
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from raftoral.lang.source import Source, Span

_COMMENT: Final = re.compile(r"#\s*raftoral:\s*(?P<rest>.*)")
_ALLOW: Final = re.compile(
    r"allow\s+(?P<codes>RPY\d{2}(?:\s*,\s*RPY\d{2})*)(?:\s+because\b\s*(?P<reason>.*))?"
)


@dataclass(slots=True)
class Allow:
    """One comment: the codes that it allows, the line that it is for, and whether it was needed."""

    codes: frozenset[str]
    span: Span
    line: int
    used: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Allows:
    """The comments of one file. ``wrong`` are those that cannot be read, with what is missing."""

    by_line: dict[int, Allow] = field(default_factory=dict)
    wrong: list[tuple[Span, str]] = field(default_factory=list)

    def on(self, code: str, first: int, last: int) -> bool:
        """Tell whether a comment for the lines ``first`` to ``last`` allows ``code``."""
        for number in range(first, last + 1):
            allow = self.by_line.get(number)
            if allow is not None and code in allow.codes:
                allow.used.add(code)
                return True
        return False


def allows_of(source: Source) -> Allows:
    """Return the comments of a text that Python can read."""
    from raftoral.lang.source import Span

    found = Allows()
    if "raftoral:" not in source.text:
        return found
    code_lines: list[int] = []
    waiting: list[Allow] = []
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        line, column = token.start
        if token.type == tokenize.COMMENT:
            comment = _COMMENT.match(token.string)
            if comment is None:
                continue
            start = source.starts[line - 1] + column
            span = Span(start, start + len(token.string.rstrip()))
            allow = _ALLOW.fullmatch(comment["rest"].strip())
            if allow is None:
                found.wrong.append((span, "is not understood"))
            elif not (allow["reason"] or "").strip():
                found.wrong.append((span, "gives no reason"))
            else:
                one = Allow(frozenset(re.findall(r"RPY\d{2}", allow["codes"])), span, line)
                alone = not source.line(line)[:column].strip()
                if alone:
                    waiting.append(one)
                else:
                    found.by_line[line] = one
        elif token.type not in (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
            code_lines.append(line)
            for one in waiting:
                found.by_line[line] = one
            waiting.clear()
    return found
