"""Where the command line keeps the parser's tables between two commands: the user's cache folder.

A cache does its best: what cannot be read or written is done without.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

KEPT: Final = 4


class Folder:
    """Bytes by name in one folder; a file appears whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, name: str) -> bytes | None:
        """Return the bytes of a file, or None."""
        try:
            return (self._path / name).read_bytes()
        except OSError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Write a file, and put it in place when it is whole."""
        try:
            self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, made = tempfile.mkstemp(dir=self._path, prefix=".new-")
        except OSError:
            return
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(made).replace(self._path / name)
            self._forget(name.split("-")[0])
        except OSError:
            Path(made).unlink(missing_ok=True)

    def _forget(self, kind: str) -> None:
        """Remove all but the newest files of a kind: those of grammars that are gone."""
        files = sorted(self._path.glob(f"{kind}-*"), key=lambda path: path.stat().st_mtime)
        for path in files[:-KEPT]:
            path.unlink(missing_ok=True)


def keep_tables() -> None:
    """Let the parser's tables be kept in ``$XDG_CACHE_HOME/raftoral``, or ``~/.cache/raftoral``."""
    from raftoral.lang.grammar import keep_tables

    base = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = Path(base) if base else Path.home() / ".cache"
    except RuntimeError:  # there is no home
        return
    keep_tables(Folder(folder / "raftoral"))
