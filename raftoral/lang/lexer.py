"""The Pygments lexer of the language: reports, the debugger, and pages made by Sphinx or MkDocs.

Found by the name ``rwf`` through the entry point ``pygments.lexers``. Words that make events are
`Keyword.Reserved`, so that a style can let them stand out. It paints any text, also a broken one.
The only Pygments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from pygments import token as t
from pygments.lexer import RegexLexer, include, words

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

if TYPE_CHECKING:
    from collections.abc import Iterator

# A word behind a dot, before a colon or before a single `=` is a name.
_NAMED = r"(?=[ \t\r\n]*(?::|=(?![=>])))"


def _words(group: tuple[str, ...]) -> words:
    return words(group, r"\b", r"\b")


class RwfLexer(RegexLexer):
    """Paints `.rwf` programs."""

    name = "Raftoral workflow"
    aliases: ClassVar = ["rwf"]
    filenames: ClassVar = ["*.rwf"]
    mimetypes: ClassVar = ["text/x-rwf"]

    tokens: ClassVar[dict[str, Any]] = {
        "root": [
            (r"##[^\n]*", t.String.Doc),
            (r"#[^\n]*", t.Comment.Single),
            (r'"""', t.String, "long"),
            (r'"', t.String, "string"),
            include("expression"),
        ],
        "expression": [
            (r"\s+", t.Whitespace),
            (r"\d[\d_]*(?:\.\d+)?[A-Z]{3}\b", t.Number.Decimal),
            (r"(?:\d+(?:ms|w|d|h|m|s))+\b", t.Literal.Date),
            (r"\d+%", t.Number.Integer),
            (r"\d[\d_]*\.\d+", t.Number.Decimal),
            (r"\d[\d_]*", t.Number.Integer),
            (r"\??\.(?=\s*[a-z_])", t.Operator, "member"),
            (r"[a-z_]\w*" + _NAMED, t.Name.Variable),
            (r"(?:min|max)(?=\()", t.Name.Function),
            (_words(EFFECTS), t.Keyword.Reserved),
            (_words(CONTROL), t.Keyword),
            (_words(CLAUSES), t.Keyword.Pseudo),
            (_words(DEFINITIONS), t.Keyword.Declaration),
            (_words(TESTING), t.Keyword.Namespace),
            (_words(OPERATORS), t.Operator.Word),
            (_words(CONSTANTS), t.Keyword.Constant),
            (words(TYPES, r"\b", r"(?=\s*(?:[<>?,){=]|$|\n| ))"), t.Keyword.Type),
            (r"[a-z_]\w*(?=\()", t.Name.Function),
            (r"[A-Z]\w*", t.Name.Class),
            (r"[a-z_]\w*", t.Name),
            (r"->|\.\.\.?|\?\.|\?\?|//|[=!<>]=|[-+*/%<>=?|]", t.Operator),
            (r"[\[\](){},:.]", t.Punctuation),
        ],
        "string": [
            (r'"', t.String, "#pop"),
            (r"\n", t.Error, "#pop"),
            include("inside"),
            (r'[^"\\{\n]+', t.String),
        ],
        "long": [(r'"""', t.String, "#pop"), include("inside"), (r'[^"\\{]+|"', t.String)],
        "inside": [
            (r"\\u\{[0-9A-Fa-f]+\}|\\.", t.String.Escape),
            (r"\{(?=[^{}\n\"]*\})", t.String.Interpol, "hole"),
            (r"\{", t.String),
        ],
        "member": [(r"\s+", t.Whitespace), (r"[a-z_]\w*", t.Name.Attribute, "#pop")],
        "hole": [(r"\}", t.String.Interpol, "#pop"), include("expression")],
    }


_MEANT: Final[tuple[tuple[Any, str, tuple[str, ...]], ...]] = (
    (t.Keyword.Reserved, "keyword", ("async",)),
    (t.Keyword.Type, "type", ()),
    (t.Keyword, "keyword", ()),
    (t.Operator.Word, "keyword", ()),
    (t.Operator, "operator", ()),
    (t.Name.Function, "function", ()),
    (t.Name.Class, "type", ()),
    (t.Name.Attribute, "property", ()),
    (t.Name, "variable", ()),
    (t.String.Doc, "comment", ("documentation",)),
    (t.Comment, "comment", ()),
    (t.String.Interpol, "operator", ()),
    (t.String, "string", ()),
    (t.Number, "number", ()),
    (t.Literal.Date, "number", ()),
)
"""What editors call the tokens, the first that fits; and how they mark them."""


def pieces(text: str) -> Iterator[tuple[int, str, str, tuple[str, ...]]]:
    """Yield what an editor paints: where, which text, as what, and how marked; no punctuation."""
    for start, token, value in RwfLexer().get_tokens_unprocessed(text):
        for one, kind, marks in _MEANT:
            if token in one:
                yield start, value, kind, marks
                break
