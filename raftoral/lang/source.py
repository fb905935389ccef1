"""One source text: the only place that knows lines and columns.

Every later stage speaks of a `Span`, two offsets into the text; people are shown lines and columns,
both counted from 1.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple


class Span(NamedTuple):
    """A piece of the text: offsets ``start`` (inclusive) and ``end`` (exclusive)."""

    start: int
    end: int

    def to(self, other: Span) -> Span:
        """Return the span from the start of this one to the end of ``other``."""
        return Span(self.start, other.end)


class Source:
    """A text and where it came from; ``path`` is for people and never opened."""

    __slots__ = ("_starts", "path", "text")

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self._starts: list[int] | None = None

    @classmethod
    def from_bytes(cls, path: str, data: bytes) -> Source:
        """Return the source of a file's bytes; what is no UTF-8 becomes U+FFFD and is reported."""
        return cls(path, data.decode("utf-8", errors="replace").removeprefix("\ufeff"))

    @property
    def starts(self) -> list[int]:
        """The offsets at which the lines begin."""
        if self._starts is None:
            starts = [0]
            find = self.text.find
            at = find("\n")
            while at >= 0:
                starts.append(at + 1)
                at = find("\n", at + 1)
            self._starts = starts
        return self._starts

    def place(self, offset: int) -> tuple[int, int]:
        """Return line and column of ``offset``, both from 1."""
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1

    def line(self, number: int) -> str:
        """Return the text of line ``number`` (from 1) without its end."""
        start = self.starts[number - 1]
        end = self.text.find("\n", start)
        return self.text[start:] if end < 0 else self.text[start:end]

    def clean(self) -> Source:
        """Return the form that is read: LF ends, no trailing blanks, one final newline.

        Lines and columns of what remains do not move.
        """
        lines = self.text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        text = "\n".join(line.rstrip(" \t") for line in lines).rstrip("\n") + "\n"
        return self if text == self.text else Source(self.path, text)
