"""Characters with which no word begins: what is said about them, and what was meant."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

from raftoral.lang.diagnostics import Diagnostic, replacing
from raftoral.lang.source import Span

if TYPE_CHECKING:
    from raftoral.lang.diagnostics import Fix

_CHARACTERS: Final = {
    ";": ("statements need no `;`", "remove it"),
    "'": ("a text stands between double quotes", 'write "..."'),
    "&": ("`and` is written as a word", "write `and`"),
    "!": ("`not` is written as a word", "write `not`"),
    '"': ("this text is not closed", 'add `"`, or use `"""` for a text over several lines'),
    "$": ("a hole in a text is written with braces alone", 'write "{name}"'),
}
_REPLACED: Final = {";": (";", ""), "&": ("&&", "and"), "!": ("!", "not ")}


def unreadable(text: str, at: int) -> tuple[int, Diagnostic]:
    """Return where reading can go on behind a character that begins no word, and the report."""
    character = text[at]
    message, label = _CHARACTERS.get(character) or _look_alike(character)
    end = at + 1
    if character.isdigit():
        end = at + len(re.match(r"[\w.]+", text[at:])[0])  # type: ignore[index]
        message = "this number has letters that are no unit"
        label = "units are ms s m h d w, or a currency such as EUR"
    elif character == '"':
        end = text.find("\n", at)
    fixes: tuple[Fix, ...] = ()
    if character in _REPLACED:
        found, instead = _REPLACED[character]
        if text.startswith(found, at):
            fixes = replacing(Span(at, at + len(found)), instead, safe=True)
    span = Span(at, end if end > at else at + 1)
    return end if end > at else len(text), Diagnostic("RWF0002", message, span, label, fixes=fixes)


def _look_alike(character: str) -> tuple[str, str]:
    """Return what to say about a character that no word begins with."""
    message = f"unreadable character {character!r}"
    if character.isascii():
        return message, "no word or sign begins here"
    name = unicodedata.name(character, "no character")
    meant = next((plain for plain, others in _ALIKE.items() if character in others), "")
    meant = meant or unicodedata.normalize("NFKC", character)
    message = f"{message}: U+{ord(character):04X} {name}"
    if not meant.strip():
        return message, "it looks like a blank, and is none"
    if meant.isascii():
        return message, f"it looks like `{meant}`, and is another one"
    return message, "names have letters a to z, digits and `_`"


_ALIKE: Final = {
    "a": "аα", "c": "с", "d": "ԁ", "e": "е", "h": "һ", "i": "і", "j": "ј", "o": "оο", "p": "рρ",
    "s": "ѕ", "u": "υ", "v": "ν", "x": "х", "y": "у", "A": "АΑ", "B": "ВΒ", "C": "С", "E": "ЕΕ",
    "H": "НΗ", "I": "ІΙ", "J": "Ј", "K": "КΚ", "M": "МΜ", "N": "Ν", "O": "ОΟ", "P": "РΡ", "S": "Ѕ",
    "T": "ТΤ", "X": "ХΧ", "Y": "Υ", "Z": "Ζ", "-": "–—−‐‑", '"': "“”„«»", "'": "‘’′", "*": "×",
    "/": "÷", "!=": "≠", "<=": "≤", ">=": "≥", "->": "→",
}  # fmt: skip
"""Letters and signs of other alphabets that are typed or pasted by mistake."""
