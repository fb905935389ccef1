"""The contextual lexer of the parser, made so that a start costs little.

Lark makes a lexer for each state of the parser, and for each one a regular expression that holds the
words of the language, one by one. Here a lexer is made for a state that is reached; words are looked
up in a map, and what is left, the signs and the literals, is one expression for all states that
accept the same. That is a fifth of the work, and matches the same tokens: a test compares the two.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from lark.lexer import BasicLexer, ContextualLexer

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from lark.common import LexerConf
    from lark.lexer import TerminalDef
    from lark.utils import TextSlice

_NAME: Final = "NAME"
_WORD: Final = r"(?P<NAME>[a-z_][A-Za-z0-9_]*)"


class StateLexer(ContextualLexer):
    """Lark's contextual lexer over lexers that are made when their state is reached."""

    def __init__(
        self, conf: LexerConf, states: Mapping[int, Collection[str]], always_accept: object = ()
    ) -> None:
        shared = _Shared(conf)
        self.lexers: Any = _Lexers(shared, states)
        self._shared = shared

    @property
    def root_lexer(self) -> Any:  # type: ignore[override]  # lark's own is made at once
        """Return the lexer that knows every terminal, for what no state accepts."""
        return self._shared.lexer(frozenset(self._shared.places))


class _Lexers(dict[int, "_Lexer"]):
    def __init__(self, shared: _Shared, states: Mapping[int, Collection[str]]) -> None:
        self._shared = shared
        self._states = states

    def __missing__(self, state: int) -> _Lexer:
        found = self[state] = self._shared.lexer(frozenset(self._states[state]))
        return found


class _Shared:
    """What all lexers of a parser have in common."""

    def __init__(self, conf: LexerConf) -> None:
        self.conf = conf
        ordered = sorted(
            conf.terminals,
            key=lambda t: (-t.priority, -t.pattern.max_width, -len(t.pattern.value), t.name),
        )
        self.places = {t.name: t for t in ordered}
        self.words = {t.pattern.value: t.name for t in ordered if _is_word(t)}
        self.ignored = frozenset(conf.ignore)
        self._lexers: dict[frozenset[str], _Lexer] = {}
        self._signs: dict[tuple[str, ...], re.Pattern[str]] = {}

    def lexer(self, accepts: frozenset[str]) -> _Lexer:
        """Return the lexer of all states that accept the same."""
        if accepts not in self._lexers:
            self._lexers[accepts] = _Lexer(self, self.ignored | accepts & self.places.keys())
        return self._lexers[accepts]

    def signs(self, names: tuple[str, ...]) -> re.Pattern[str]:
        """Return the expression for a word, and for terminals that are none, in their order."""
        if names not in self._signs:
            parts = [f"(?P<{name}>{self.places[name].pattern.to_regexp()})" for name in names]
            self._signs[names] = re.compile("|".join([*parts, _WORD]))
        return self._signs[names]


class _Lexer(BasicLexer):
    """The lexer of a set of terminals."""

    def __init__(self, shared: _Shared, names: frozenset[str]) -> None:
        self.ignore_types = shared.ignored
        self.newline_types = frozenset({"WS", "LONG_STRING", "STRING", "COMMENT"})
        self.terminals_by_name = shared.places
        self.terminals = [one for name, one in shared.places.items() if name in names]
        self.callback = shared.conf.callbacks
        self._words = {word: name for word, name in shared.words.items() if name in names}
        self._other = _NAME if _NAME in names else None
        hidden = self._words.values() if self._other else ()
        self.allowed_types = names.difference(hidden)
        signs = [t.name for t in self.terminals if t.name != _NAME and not _is_word(t)]
        self._match = shared.signs(tuple(signs)).match

    @property
    def scanner(self) -> Any:
        """Return what lark asks for the types that could have come."""
        return self

    def match(self, text: TextSlice[str], pos: int) -> tuple[str, str] | None:
        """Return the text and the type of the token at a place, or None."""
        found = self._match(text.text, pos, text.end)
        if found is None:
            return None
        value, name = found[0], found.lastgroup
        if name == _NAME:
            name = self._words.get(value, self._other)
        return None if name is None else (value, name)


def _is_word(terminal: TerminalDef) -> bool:
    return terminal.pattern.type == "str" and terminal.pattern.value.isidentifier()
