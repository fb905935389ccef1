"""Makes the TextMate grammar of the VS Code extension from the words of the language."""

from __future__ import annotations

import json
from typing import Any, Final

from raftoral.lang.words import (
    CLAUSES,
    CONSTANTS,
    CONTROL,
    DEFINITIONS,
    EFFECTS,
    OPERATORS,
    TESTING,
    TYPES,
)

_HOLE: Final = {
    "name": "meta.embedded.rwf",
    "begin": r"\{(?=[^{}\"]*\})",
    "end": r"\}",
    "beginCaptures": {"0": {"name": "punctuation.section.embedded.begin.rwf"}},
    "endCaptures": {"0": {"name": "punctuation.section.embedded.end.rwf"}},
    "patterns": [{"include": "#expression"}],
}
_ESCAPE: Final = {"name": "constant.character.escape.rwf", "match": r"\\(?:u\{[0-9A-Fa-f]+\}|.)"}


def _text(begin: str, kind: str) -> dict[str, Any]:
    return {
        "name": f"string.quoted.{kind}.rwf",
        "begin": begin,
        "end": begin if kind == "triple" else f"{begin}|$",
        "patterns": [_ESCAPE, _HOLE],
    }


def _words(scope: str, words: tuple[str, ...]) -> dict[str, Any]:
    return {"name": f"{scope}.rwf", "match": rf"\b(?:{'|'.join(words)})\b"}


def _match(scope: str, pattern: str) -> dict[str, Any]:
    return {"name": f"{scope}.rwf", "match": pattern}


def grammar() -> str:
    """Return the text of ``rwf.tmLanguage.json``."""
    expression = [
        _match("constant.numeric.money", r"\b\d[\d_]*(?:\.\d+)?[A-Z]{3}\b"),
        _match("constant.numeric.duration", r"\b(?:\d+(?:ms|w|d|h|m|s))+\b"),
        _match("constant.numeric", r"\b\d[\d_]*(?:\.\d+)?%?"),
        {
            "match": r"(\??\.)\s*([a-z_]\w*)",
            "captures": {
                "1": {"name": "punctuation.accessor.rwf"},
                "2": {"name": "variable.other.property.rwf"},
            },
        },
        _match("variable.other.member", r"\b[a-z_]\w*(?=\s*(?::|=(?![=>])))"),
        _match("entity.name.function", r"\b(?:min|max)(?=\()"),
        # What writes events has a scope of its own, so that a theme can let it stand out.
        _words("keyword.control.effect", EFFECTS),
        _words("keyword.control", CONTROL),
        _words("storage.modifier", CLAUSES),
        _words("storage.type", DEFINITIONS),
        _words("keyword.other.test", TESTING),
        _words("keyword.operator.word", OPERATORS),
        _words("constant.language", CONSTANTS),
        _match("support.type", rf"\b(?:{'|'.join(TYPES)})\b(?!\()"),
        _match("entity.name.function", r"\b[a-z_]\w*(?=\()"),
        _match("entity.name.type", r"\b[A-Z]\w*"),
        _match("variable.other", r"\b[a-z_]\w*"),
        _match("keyword.operator", r"->|\.\.\.?|\?\?|//|[=!<>]=|[-+*/%<>=?|]"),
    ]
    return (
        json.dumps(
            {
                "$schema": "https://json.schemastore.org/tmlanguage.json",
                "name": "Raftoral workflow",
                "scopeName": "source.rwf",
                "fileTypes": ["rwf"],
                "patterns": [
                    _match("comment.line.documentation", r"##.*$"),
                    _match("comment.line.number-sign", r"#.*$"),
                    _text('"""', "triple"),
                    _text('"', "double"),
                    {"include": "#expression"},
                ],
                "repository": {"expression": {"patterns": expression}},
            },
            indent=2,
        )
        + "\n"
    )
