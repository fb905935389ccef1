"""The lexer that is quick to start finds what Lark's own finds."""

from __future__ import annotations

import functools
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from lark import Lark
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from raftoral._assets import asset
from raftoral.lang import grammar

if TYPE_CHECKING:
    from pathlib import Path

FILES = sorted(asset("workflows").rglob("*.rwf"))
ODD = [
    "",
    " ",
    '"',
    "\n",
    "#",
    ".",
    "..",
    "?",
    "20%",
    "1h",
    "9.99EUR",
    "x1",
    "att",
    "Await",
    "as",
    "{",
    "é",
    "=",
]


@functools.cache
def larks_own() -> Lark:
    """Return a parser of the grammar with Lark's own lexer, its words ending where they end."""
    made = Lark(
        grammar.grammar_text(), parser="lalr", lexer="contextual", start=grammar.STARTS,
        maybe_placeholders=True,
    )  # fmt: skip
    for terminal in made.terminals:
        if terminal.pattern.type == "str" and terminal.pattern.value.isidentifier():
            whole = f"{terminal.pattern.to_regexp()}(?![A-Za-z0-9_])"
            terminal.pattern.to_regexp = lambda whole=whole: whole  # type: ignore[method-assign]
    return made


@functools.cache
def ours() -> Lark:
    """Return a parser as it is used."""
    return grammar.build(None)


def seen(parser: Lark, text: str) -> list[Any]:
    """Return the tokens of a text as they are parsed, and what cannot go on."""
    found: list[Any] = []
    reading = parser.parse_interactive(text, start="start")
    try:
        for token in reading.iter_parse():
            found.append((token.type, str(token), token.start_pos, token.end_pos, token.line))
    except UnexpectedInput as error:
        found += [type(error), error.pos_in_stream, reading.accepts()]
        if isinstance(error, UnexpectedCharacters):
            found.append(error.allowed)
        if isinstance(error, UnexpectedToken):
            found += [error.token.type, error.expected]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_finds_what_larks_own_finds(path: Path) -> None:
    """In each sample, and where it is damaged: the same tokens, and the same that could have come."""
    text = path.read_text()
    assert seen(ours(), text) == seen(larks_own(), text)
    chance = Random(path.stem)
    for _ in range(12):
        at = chance.randrange(len(text))
        damaged = text[:at] + chance.choice(ODD) + text[at + chance.randrange(4) :]
        assert seen(ours(), damaged) == seen(larks_own(), damaged), damaged[
            max(0, at - 30) : at + 30
        ]


def test_a_lexer_is_made_when_its_state_is_reached() -> None:
    """A start makes none, and a text those of the states that it comes to."""
    parser = grammar.build(None)
    lexers = parser.parser.lexer.lexers  # type: ignore[attr-defined]
    assert len(lexers) == 0
    parser.parse("const A = 1", start="start")
    assert 0 < len(lexers) < 10
