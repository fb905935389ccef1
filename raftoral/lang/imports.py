"""A program of several files as one text, which is how it is sent, hashed and stored.

The imported files follow the first one, each behind a line such as ``#~ file "types.rwf"``. So what
a version means never depends on a file that somebody may change, and whoever reads the registry
sees all of it. Lines and columns of the first file are what they were.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from raftoral.lang.source import Source

if TYPE_CHECKING:
    from collections.abc import Mapping

_MARK = re.compile(r'^#~ file "([^"\n]*)"\n', re.MULTILINE)


def bundled(source: Source, imported: Mapping[str, Source]) -> str:
    """Return the canonical text of a program: that of the file, and of all that it imports."""
    parts = [source.text]
    for path in sorted(imported):
        parts.append(f'#~ file "{path}"\n{imported[path].text}')
    return "".join(parts)


def split(source: Source) -> tuple[Source, dict[str, Source]]:
    """Return the first file of a program's text, and those that follow it, by path."""
    marks = list(_MARK.finditer(source.text))
    if not marks:
        return source, {}
    files = {}
    for number, mark in enumerate(marks):
        end = marks[number + 1].start() if number + 1 < len(marks) else len(source.text)
        files[mark[1]] = Source(mark[1], source.text[mark.end() : end])
    return Source(source.path, source.text[: marks[0].start()]), files
