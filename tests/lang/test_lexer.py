"""The lexer for painters agrees with the grammar, word for word."""

from __future__ import annotations

from importlib.metadata import entry_points
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest
from pygments import token as t
from pygments.lexers import get_lexer_by_name, get_lexer_for_filename

from raftoral.lang import grammar
from raftoral.lang.lexer import RwfLexer
from raftoral.lang.types import SIMPLE
from raftoral.lang.words import GROUPS, TYPES
from tests.lang.test_format import CORPUS, parser, read_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = {
    "STRING": t.String,
    "LONG_STRING": t.String,
    "INT": t.Number,
    "DECIMAL": t.Number,
    "MONEY": t.Number,
    "PERCENT": t.Number,
    "DURATION": t.Literal.Date,
    "UNAME": t.Name.Class,
    "NAME": t.Name,
}


def test_every_word_is_in_one_group() -> None:
    """The groups are the words of the grammar, each once, and the types those of the checker."""
    words = list(chain.from_iterable(GROUPS.values()))
    assert len(words) == len(set(words))
    assert set(words) == grammar.keywords()
    assert set(TYPES) == {*SIMPLE, "list", "map", "money"}
    assert all(tuple(sorted(group)) == group for group in (*GROUPS.values(), TYPES))


def painted(text: str) -> Iterator[tuple[int, Any, str]]:
    """Return what each character is painted as, by pieces."""
    yield from RwfLexer(stripnl=False, ensurenl=False).get_tokens_unprocessed(text)


@pytest.mark.parametrize("name", CORPUS)
def test_painters_see_what_the_parser_sees(name: str) -> None:
    """Each token of the grammar is painted as its kind, a word as a word and a name as a name."""
    text = CORPUS[name]
    kinds = {start: kind for start, kind, _ in painted(text)}
    assert t.Error not in kinds.values()
    fixed = grammar.fixed_texts(parser())
    for token in read_tokens(text):
        kind = kinds.get(token.start_pos or 0)
        if kind is t.Name.Variable:  # a field may have the name of a word
            assert text[token.end_pos :].lstrip()[:1] in (":", "=")
        elif fixed.get(token.type, "").isidentifier():
            named = str(token) not in ("decode", "in", "is", "and", "or", "not")
            assert kind in (t.Keyword if named else t.Operator.Word), (token, kind)
        elif token.type in KINDS:
            wanted = KINDS[token.type]
            assert kind is not None, token
            assert kind in wanted or _is_type(token, kind) or _is_soft(token, kind), (token, kind)


def _is_type(token: Any, kind: Any) -> bool:
    return token in TYPES and kind is t.Keyword.Type


def _is_soft(token: Any, kind: Any) -> bool:
    """A word of the language that names something where only the parser can tell."""
    return token in grammar.keywords() and kind in t.Keyword


def test_broken_texts_are_painted() -> None:
    """Every text is painted to its end, whatever is wrong with it."""
    for text in ("worklow {", 'let x = "abc', '"{a.b} {', "x = 3 $ 4", '"""never closed'):
        assert "".join(piece for _, _, piece in painted(text)) == text


def test_holes_are_painted_as_expressions() -> None:
    """What stands between the braces of a text is no text."""
    pieces = [(str(kind), piece) for _, kind, piece in painted('log "a {order.id} b \\{"')]
    assert ("Token.Literal.String.Interpol", "{") in pieces
    assert ("Token.Name.Attribute", "id") in pieces
    assert ("Token.Literal.String.Escape", "\\{") in pieces


def test_painters_find_it() -> None:
    """Pygments finds the lexer by its name and by the names of files."""
    assert [one.name for one in entry_points(group="pygments.lexers") if one.value.startswith("raftoral")]  # fmt: skip
    assert isinstance(get_lexer_by_name("rwf"), RwfLexer)
    assert isinstance(get_lexer_for_filename("order.rwf"), RwfLexer)
