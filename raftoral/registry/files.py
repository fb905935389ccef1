"""`.rwf` files on the disk of whoever deploys them: a file, and those beside it that it imports."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from raftoral.lang.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BYTES_MAX: Final = 1024 * 1024
"""Of a file no more is read: four times what a program may have, so that what it has is told."""


def read_file(path: Path) -> bytes:
    """Return the bytes of a plain file, the first `BYTES_MAX` of a larger one.

    `OSError` if it cannot be read. What is no plain file (a pipe, a device) may never end, or never
    begin, so it is not opened.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    with path.open("rb") as file:
        return file.read(BYTES_MAX)


def beside(file: Path) -> Callable[[str], Source | None]:
    """Return what reads the files that ``file`` imports, by their paths from its folder."""

    def load(path: str) -> Source | None:
        try:
            return Source.from_bytes(path, read_file(file.parent / path))
        except (OSError, ValueError):  # no path has a NUL in it
            return None

    return load
