"""The LALR parser of ``grammar/rwf.lark``, made when the first source is parsed; its words.

The tables are built from the grammar's text in about a fifth of a second, once per process, or
read from where `keep_tables` says. Stored definitions run from their IR and need neither.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, Final

from raftoral._assets import asset
from raftoral.lang import tables

if TYPE_CHECKING:
    from lark import Lark, Transformer

STARTS: Final = ["start", "single_expr"]

HARD: Final = frozenset(
    {
        "and", "as", "await", "break", "case", "catch", "checkpoint", "compute", "const",
        "continue", "decode", "else", "fail", "false", "finally", "fn", "for", "give", "if",
        "import", "in", "is", "let", "log", "match", "none", "not", "or", "require", "return",
        "self", "sleep", "then", "true", "try", "var", "while",
    }
)  # fmt: skip
"""Words that name no value at all; the others may name what is not assigned to."""

HUMAN: Final = {
    "NAME": "a name",
    "UNAME": "a name with a capital",
    "INT": "a whole number",
    "DECIMAL": "a decimal",
    "DURATION": "a duration such as 30s",
    "MONEY": "an amount such as 9.99EUR",
    "STRING": "a text",
    "LONG_STRING": "a text",
    "PERCENT": "a percentage such as 20%",
    "CMP": "a comparison",
    "$END": "the end of the file",
}
"""How people call the terminals that are no fixed words."""


@functools.cache
def grammar_text() -> str:
    """Return the text of the grammar."""
    return (asset("grammar") / "rwf.lark").read_text(encoding="utf-8")


def keep_tables(store: tables.Store) -> None:
    """Have this process look for the tables in ``store`` before it builds them."""
    _stores.append(store)


_stores: Final[list[tables.Store]] = []


@functools.cache
def _tables() -> tables.Tables:
    return tables.tables(grammar_text(), STARTS, _stores[-1] if _stores else None)


def build(transformer: Transformer[Any, Any] | None, *, keep_all_tokens: bool = False) -> Lark:
    """Return a parser whose reductions call ``transformer``; positions come from kept tokens."""
    return tables.restore(_tables(), transformer, keep_all_tokens=keep_all_tokens)


@functools.cache
def keywords() -> frozenset[str]:
    """Return the words that have a meaning somewhere in the grammar."""
    rules = "\n".join(line.split("//")[0] for line in grammar_text().splitlines())
    return frozenset(re.findall(r'"([a-z_]+)"', rules))


def human(terminal: str, fixed: dict[str, str]) -> str:
    """Return what people call a terminal; ``fixed`` are the terminals of one fixed text."""
    return HUMAN.get(terminal) or f"`{fixed.get(terminal, terminal.lower())}`"


def fixed_texts(parser: Lark) -> dict[str, str]:
    """Return, per terminal that is one fixed word or sign, its text."""
    return {t.name: t.pattern.value for t in parser.terminals if t.pattern.type == "str"}
