"""Text to syntax tree: the reductions of the LALR parser (`tree`) make the nodes of `ast`.

Spans come from tokens, since asking lark to track them costs a third of the speed. If the text does
not parse, `syntax_errors` reads it again to explain why.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Final, cast

from lark import Lark, TextSlice
from lark.exceptions import UnexpectedInput

from raftoral.lang import ast, grammar
from raftoral.lang.braces import quiet_text
from raftoral.lang.source import Source, Span
from raftoral.lang.tree.definitions import Definitions
from raftoral.lang.tree.tokens import Reading, reading

if TYPE_CHECKING:
    from raftoral.lang.diagnostics import Diagnostics

WORDS_MAX: Final = 30_000
BRACKETS_MAX: Final = 256
NAME_MAX: Final = 100
"""Names are parts of the paths of steps, which have a bound too."""

_WORD = re.compile(r"\w+|[^\w\s]")
_LONG_NAME = re.compile(rf"\b[A-Za-z_]\w{{{NAME_MAX},}}")
_BRACKET = re.compile(r"[()\[\]{}]")
_HIDDEN = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""What turns letters around, so that people read something else than the machine."""

TEXT_BYTES_MAX: Final = 256 * 1024


def parse(source: Source, diagnostics: Diagnostics) -> ast.File | None:
    """Return the tree of ``source``; None if it does not parse, and then there is a report."""
    if not bounded(source, diagnostics):
        return None
    hidden = list(_HIDDEN.finditer(source.text))
    for found in hidden:
        diagnostics.error(
            "RWF0002",
            f"an invisible character (U+{ord(found[0]):04X}) changes the order of what is read",
            Span(found.start(), found.end()),
            "remove it, or write it as an escape such as `\\u{202e}`",
        )
    if hidden:
        return None

    def hole(start: int, end: int) -> ast.Expr:
        try:
            piece = TextSlice(source.text, start, end)
            return cast("ast.Expr", _parser().parse(piece, start="single_expr"))
        except UnexpectedInput as error:
            from raftoral.lang import syntax_errors  # most texts never need it

            syntax_errors.explain_hole(error, Span(start, end), source.text, diagnostics)
            return ast.Literal(Span(start, end), "")

    token = reading.set(Reading(source.text, diagnostics, hole))
    try:
        return cast(ast.File, _parser().parse(source.text, start="start"))
    except UnexpectedInput:
        from raftoral.lang import syntax_errors

        syntax_errors.explain(_parser(), source, diagnostics)
        assert diagnostics.has_errors
        return None
    finally:
        reading.reset(token)


def bounded(source: Source, diagnostics: Diagnostics) -> bool:
    """Tell whether a text is worth reading; report one that is too large or nested too deeply."""
    text = source.text
    if len(text.encode("utf-8", "replace")) > TEXT_BYTES_MAX:
        message = f"the text is larger than {TEXT_BYTES_MAX // 1024} KiB"
        diagnostics.error("RWF0404", message, Span(0, 1), "split it into several files")
        return False
    quiet = quiet_text(text)
    if len(_WORD.findall(quiet)) + text.count("{") + text.count('"') > WORDS_MAX:
        message = f"the text has more than {WORDS_MAX:,} words and signs"
        diagnostics.error("RWF0404", message, Span(0, 1), "split it into several files")
        return False
    long = _LONG_NAME.search(quiet)
    if long is not None:
        message = f"a name has at most {NAME_MAX} characters, and this has {len(long[0]):,}"
        diagnostics.error("RWF0404", message, Span(long.start(), long.start() + NAME_MAX))
        return False
    depth = 0
    for found in _BRACKET.finditer(quiet):
        depth += 1 if found[0] in "([{" else -1
        if depth > BRACKETS_MAX:
            message = f"brackets are nested deeper than {BRACKETS_MAX} levels"
            at = Span(found.start(), found.end())
            diagnostics.error("RWF0403", message, at, "name a part of it")
            return False
    return True


@functools.cache
def _parser() -> Lark:
    return grammar.build(Definitions(visit_tokens=False))
