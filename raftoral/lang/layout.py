"""Documents that know where lines may break, and the printer that chooses: Wadler's algebra.

A document is text, a place to break, an indented part, or a group that is printed flat if it fits
and broken otherwise. Comments hang on tokens: one that ends its line is held back until the line
ends, one with lines of its own comes before its token. Nothing here knows the language.

Source: P. Wadler, "A prettier printer", 2003; the loop over a stack of commands is C. Lindig's,
"Strictly pretty", 2000, so that no nesting needs a deep Python stack.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

INDENT: Final = 2


@dataclass(slots=True, eq=False)
class Comment:
    """One comment; ``blank`` tells whether an empty line stands before it."""

    text: str
    blank: bool


@dataclass(slots=True, eq=False)
class Tok:
    """One token: ``lead`` are comments on lines of their own before it, ``trail`` those behind it.

    ``blank`` tells whether an empty line stands before the token itself, behind its comments.
    """

    text: str
    kind: str
    lead: list[Comment] = field(default_factory=list)
    trail: list[str] = field(default_factory=list)
    blank: bool = False


@dataclass(slots=True, eq=False)
class Cat:
    """Parts one after the other."""

    parts: list[Doc]


@dataclass(slots=True, eq=False)
class Indent:
    """A part whose lines begin deeper."""

    part: Doc


@dataclass(slots=True, eq=False)
class Group:
    """A part that is printed on one line if it fits; never if ``broken``."""

    part: Doc
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A line end where the group around it is broken, ``flat`` where it is not."""

    flat: str = " "
    blank: bool = False


@dataclass(frozen=True, slots=True)
class Hard:
    """A line end in any case; ``blank`` puts an empty line before it."""

    blank: bool = False


@dataclass(frozen=True, slots=True)
class Broken:
    """A text that is only there where the group around it is broken: a trailing comma."""

    text: str


@dataclass(frozen=True, slots=True)
class Trail:
    """Comments that are held back until the line ends."""

    texts: tuple[str, ...]


Doc: TypeAlias = "str | Tok | Cat | Indent | Group | Line | Hard | Broken | Comment | Trail"


class Printer:
    """Prints one document; afterwards ``tokens`` and ``comments`` hold what was printed."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._done: list[str] = []
        self._line = ""
        # Comments that wait for the end of the line, and what the next line begins with.
        self._held: list[str] = []
        self.tokens: list[Tok] = []
        self.comments: list[str] = []

    def print(self, doc: Doc) -> str:
        """Return the text, which ends with one line end."""
        todo: list[tuple[int, bool, Doc]] = [(0, True, doc)]
        while todo:
            depth, broken, one = todo.pop()
            match one:
                case str():
                    self._put(one, depth)
                case Tok():
                    self._token(one, depth)
                case Comment():
                    self.comments.append(one.text)
                    self._line += one.text
                case Cat(parts):
                    todo.extend((depth, broken, part) for part in reversed(parts))
                case Indent(part):
                    todo.append((depth + INDENT, broken, part))
                case Group(part, always):
                    flat = not always and self._fits(part, todo)
                    todo.append((depth, not flat, part))
                case Line(text, blank):
                    if broken:
                        self._end(depth, blank=blank)
                    else:
                        self._put(text, depth)
                case Hard(blank):
                    self._end(depth, blank=blank)
                case Broken(text):
                    if broken:
                        self._put(text, depth)
                case Trail(texts):
                    self._held += texts
        self._end(0)
        return "\n".join(self._done).strip("\n") + "\n"

    def _token(self, token: Tok, depth: int) -> None:
        for comment in token.lead:
            if self._line.strip():
                self._end(depth + INDENT)
            self.comments.append(comment.text)
            self._line += comment.text
            self._end(len(self._line) - len(self._line.lstrip()))
        self.tokens.append(token)
        self._put(token.text, depth)
        self._held += token.trail

    def _put(self, text: str, depth: int) -> None:
        # Nothing but a comma comes between a piece of text and the comment that ends its line.
        if self._held and text.strip() and text != ",":
            self._end(depth if self._line.rstrip().endswith("}") else depth + INDENT)
            text = text.lstrip()
        if "\n" in text:
            *whole, text = (self._line + text).split("\n")
            self._done += whole
            self._line = ""
        self._line += text

    def _end(self, depth: int, *, blank: bool = False) -> None:
        margin = " " * (len(self._line) - len(self._line.lstrip()))
        for number, comment in enumerate(self._held):
            self.comments.append(comment)
            if number == 0:
                self._line = f"{self._line.rstrip()}  {comment}"
            else:
                self._done.append(self._line.rstrip())
                self._line = margin + comment
        self._held.clear()
        self._done.append(self._line.rstrip())
        if blank and self._done[-1] != "":
            self._done.append("")
        self._line = " " * depth

    def _fits(self, part: Doc, rest: list[tuple[int, bool, Doc]]) -> bool:
        """Tell whether ``part``, flat, and what follows it up to a line end fit into the line."""
        left = self._width - len(self._line)
        following = len(rest)
        todo: list[tuple[bool, Doc]] = [(False, part)]
        own = True
        while left >= 0:
            if not todo:
                if following == 0:
                    return True
                following -= 1
                todo.append(rest[following][1:])
                own = False
            broken, one = todo.pop()
            match one:
                case Cat(parts):
                    todo.extend((broken, p) for p in reversed(parts))
                case Indent(inner):
                    todo.append((broken, inner))
                case Group(inner, always):
                    if own and always:
                        return False
                    todo.append((broken or always, inner))
                case Hard() | Comment() | Trail():
                    return not own
                case Line(flat):
                    if broken:
                        return True
                    left -= len(flat)
                case str(text) | Tok(text):
                    if "\n" in text:
                        return text.index("\n") <= left
                    if isinstance(one, Tok) and one.lead:
                        return not own
                    left -= len(text)
                    if isinstance(one, Tok) and one.trail:
                        return left >= 0 and not own
                case Broken(text):
                    left -= len(text) if broken else 0
        return False
