"""One page for each code of the compiler: what it means, a wrong example and the right one.

The pages are `grammar/codes/*.md`, to be read there too. Tests prove that each wrong example gets its
code, that each right one gets nothing, and that every code that can be reported has a page.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raftoral._assets import asset

if TYPE_CHECKING:
    from collections.abc import Mapping

_TITLE = re.compile(r"# (RWF\d{4}): (.+)")
_FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Example:
    """A program, the files that it imports by their path, and the application beside it, if any."""

    text: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Page:
    """The page of one code; ``text`` is all of it, as Markdown."""

    code: str
    title: str
    why: str
    text: str
    examples: tuple[Example, Example]

    @property
    def wrong(self) -> str:
        """The example that gets the code; empty where none could be printed."""
        return self.examples[0].text

    @property
    def right(self) -> str:
        """The same, mended."""
        return self.examples[1].text


@functools.cache
def pages() -> Mapping[str, Page]:
    """Return the page of every code of the compiler, in the order of the codes."""
    files = sorted((asset("grammar") / "codes").glob("RWF*.md"))
    found = [_page(path.read_text(encoding="utf-8")) for path in files]
    return {page.code: page for page in found}


def _page(text: str) -> Page:
    head, wrong = text.split("\n## Wrong\n", 1)
    wrong, right = wrong.split("\n## Right\n", 1)
    title = _TITLE.match(head)
    assert title is not None
    why = " ".join(head[title.end() :].split())
    return Page(title[1], title[2], why, text, (_example(wrong), _example(right)))


def _example(text: str) -> Example:
    program, files = "", {}
    for _, name, body in _FENCE.findall(text):
        if name:
            files[name] = body
        else:
            program = body
    return Example(program, files)
