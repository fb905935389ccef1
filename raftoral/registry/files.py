"""`.rwf` files on the disk of whoever deploys them: a file, and those beside it that it imports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.lang.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def beside(file: Path) -> Callable[[str], Source | None]:
    """Return what reads the files that ``file`` imports, by their paths from its folder."""

    def load(path: str) -> Source | None:
        try:
            return Source.from_bytes(path, (file.parent / path).read_bytes())
        except OSError:
            return None

    return load
