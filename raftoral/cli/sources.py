"""The `.rwf` files that a command is about: named ones, those of folders, and standard input."""

from __future__ import annotations

import errno
import gc
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from raftoral.cli import cache
from raftoral.cli.options import fail, refuse
from raftoral.registry.files import BYTES_MAX, read_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from raftoral.lang.source import Source

STDIN: Final = "-"

Paths = Annotated[
    list[str], typer.Argument(metavar="PATH...", help="`.rwf` files, folders, or - for stdin.")
]


def sources(paths: Sequence[str]) -> list[Source]:
    """Return the sources behind ``paths``: files, folders (searched for `.rwf`), ``-`` for stdin.

    Each file once, in the order of the paths, those of a folder by name. What cannot be read is a
    wrong call. The parser's tables are looked for in the user's cache from here on.
    """
    # A command on files ends in a moment; looking for garbage would take a tenth of that.
    gc.disable()
    found: dict[str, Source] = {}
    for path in paths:
        for name, data in _files(path):
            if name not in found:
                found[name] = _source(name, data)
    cache.keep_tables()
    return list(found.values())


def _files(path: str) -> Iterator[tuple[str, bytes]]:
    if path == STDIN:
        yield "<stdin>", sys.stdin.buffer.read(BYTES_MAX)
        return
    place = Path(path)
    try:
        if not place.is_dir():
            yield path, read_file(place)
            return
        inside = [one for one in sorted(place.rglob("*.rwf")) if not _left_out(one, place)]
        if not inside:
            refuse(f"there is no .rwf file in {path}")
        for one in inside:
            yield str(one), read_file(one)
    except OSError as error:
        hint = "; try `-` and give it as standard input" if error.errno == errno.EINVAL else ""
        refuse(f"cannot read {error.filename or path}: {error.strerror}{hint}")


def _left_out(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return hidden or path.is_dir()


def _source(name: str, data: bytes) -> Source:
    from raftoral.lang.source import Source

    if len(data) >= BYTES_MAX:
        refuse(f"{name} is larger than {BYTES_MAX // 1024:,} KiB, and no program is")
    if name.endswith(".py"):
        refuse(f"{name} is Python; this command reads .rwf files")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        refuse(f"{name} is not UTF-8 text: {error.reason} at byte {error.start}")
    return Source.from_bytes(name, data)


def rewrite(path: Path, text: str) -> None:
    """Put ``text`` into a file, whole or not at all, with the permissions that it had."""
    target = path.resolve()
    try:
        mode = target.stat().st_mode
        handle, made = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            Path(made).chmod(mode)
            Path(made).replace(target)
        except OSError:
            Path(made).unlink(missing_ok=True)
            raise
    except OSError as error:
        fail(f"cannot write {path}: {error.strerror}")
