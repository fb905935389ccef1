"""Numbers and texts: their values, and what is wrong with them.

What the grammar cannot say (a number too large, an unknown escape, a hole in a text) is reported
and replaced by something harmless.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from raftoral.lang import ast
from raftoral.lang.ast import Ident
from raftoral.lang.source import Span
from raftoral.lang.tree.tokens import at, reading, report
from raftoral.values import EXACT, INT_MAX

if TYPE_CHECKING:
    from lark import Token

_ESCAPES: Final = {"n": "\n", "t": "\t", '"': '"', "\\": "\\", "{": "{", "}": "}"}
_SPECIAL = re.compile(r"\\(u\{[0-9A-Fa-f]{1,6}\}|.)|\{([^{}]*)\}|([{}])", re.DOTALL)
_SIMPLE_HOLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[a-z_][A-Za-z0-9_]*)*\Z")
_NOT_VALUES: Final = frozenset({"true", "false", "none", "not", "if", "decode"})


def whole(token: Token) -> int:
    """Return the value of an integer; 0 after a report."""
    text = token.value.replace("_", "")
    if len(text) > 19 or int(text) > INT_MAX:
        report("RWF0008", "this number does not fit into 64 bit", at(token), "too large")
        return 0
    return int(text)


def exact(text: str, span: Span) -> Decimal:
    """Return the value of a decimal; 0 after a report."""
    text = text.replace("_", "")
    if len(text.replace(".", "").lstrip("0")) > EXACT.prec:
        report("RWF0008", f"a decimal has at most {EXACT.prec} digits", span, "too long")
        return Decimal(0)
    return Decimal(text)


def percent(token: Token) -> int:
    """Return the number in front of the sign; more than four digits are as wrong as four."""
    return int(token.value[:-1][:4])


def plain(span: Span, start: int, end: int) -> str:
    """Return a text that must be fixed: a title, a path, a key; empty after a report."""
    found = text(span, start, end)
    if isinstance(found, ast.Literal):
        return str(found.value)
    report("RWF0001", "this text is fixed", span, "has a hole")
    return ""


def text(span: Span, start: int, end: int) -> ast.Literal | ast.Text:
    """Return the text between two offsets of the source, its escapes and holes resolved."""
    raw = reading.get().text[start:end]
    if not raw.isascii() and not unicodedata.is_normalized("NFC", raw):
        message = "this text has characters that are not in their composed form (NFC)"
        report("RWF0002", message, span, "looks like another text, and is not equal to it")
    if "{" not in raw and "\\" not in raw and "}" not in raw:
        return ast.Literal(span, raw)
    parts: list[str | ast.Expr] = []
    done = 0
    for found in _SPECIAL.finditer(raw):
        parts.append(raw[done : found.start()])
        done = found.end()
        here = Span(start + found.start(), start + found.end())
        escape, hole, brace = found.groups()
        if escape is not None:
            parts.append(_escape(escape, here))
        elif brace is not None:
            report("RWF0007", "this brace has no partner", here, "write `\\{` for a brace")
        elif not hole.strip():
            report("RWF0007", "this hole is empty", here, "write `\\{\\}` for braces")
        else:
            parts.append(_hole(hole, here.start + 1, here.end - 1))
    parts.append(raw[done:])
    return _joined(span, parts)


def _joined(span: Span, parts: list[str | ast.Expr]) -> ast.Literal | ast.Text:
    merged: list[str | ast.Expr] = []
    for part in parts:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        elif part != "":
            merged.append(part)
    if not merged:
        return ast.Literal(span, "")
    if len(merged) == 1 and isinstance(merged[0], str):
        return ast.Literal(span, merged[0])
    return ast.Text(span, tuple(merged))


def _escape(escape: str, here: Span) -> str:
    if escape in _ESCAPES:
        return _ESCAPES[escape]
    if escape.startswith("u{"):
        number = int(escape[2:-1], 16)
        if number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF:
            return chr(number)
    known = 'known are \\n \\t \\" \\\\ \\{ \\} \\u{..}'
    report("RWF0007", f"unknown escape `\\{escape}`", here, known)
    return ""


def _hole(hole: str, start: int, end: int) -> ast.Expr:
    if _SIMPLE_HOLE.match(hole) and hole not in _NOT_VALUES:
        return _path(hole, start)
    return reading.get().hole(start, end)


def _path(hole: str, start: int) -> ast.Expr:
    """Return ``a.b.c`` without asking the parser."""
    words = hole.split(".")
    end = start + len(words[0])
    value: ast.Expr = ast.Name(Span(start, end), words[0])
    if words[0][0].isupper():
        value = ast.TypeName(Span(start, end), words[0])
    for word in words[1:]:
        name = Ident(Span(end + 1, end + 1 + len(word)), word)
        end = name.span.end
        value = ast.Member(Span(start, end), value, name, optional=False)
    return value
