"""A program of several files as one text, which is how it is sent, hashed and stored.

The imported files follow the first one, each behind a line such as ``#~ file "types.rwf"``. So what
a version means never depends on a file that somebody may change, and whoever reads the registry
sees all of it. Lines and columns of the first file are what they were.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Final

from raftoral.lang.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FILES_MAX: Final = 64
"""How many files a program may have."""

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


_IMPORT = re.compile(r'^[ \t]*import[ \t]+"([^"\\\n{}]*)"', re.MULTILINE)


def path_of(importer: str, written: str) -> str:
    """Return the path of an imported file from the folder of the first one.

    ``importer`` is the path of the file that imports it, ``written`` what stands there.
    """
    return posixpath.normpath(posixpath.join(posixpath.dirname(importer), written))


def gathered(source: Source, load: Callable[[str], Source | None]) -> Source:
    """Return a source as it is sent: with all that it imports behind it, as far as that is there.

    Reads no more of a file than its imports; what is wrong with any of them is said by the compiler.
    """
    first = source.clean()
    name = source.path.replace("\\", "/").rsplit("/", 1)[-1]
    found: dict[str, Source] = {}
    todo = [(name, first)]
    while todo and len(found) < FILES_MAX:
        importer, one = todo.pop()
        for written in _IMPORT.findall(one.text):
            path = path_of(importer, written)
            file = None if path in found or path == name else load(path)
            if file is not None:
                found[path] = file.clean()
                todo.append((path, found[path]))
    return Source(source.path, bundled(first, found))
