"""Counting what came out as expected."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests import transcript

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.transcript import Block


@dataclass
class Tally:
    """How many cases of a corpus agree; ``failures`` says where the others do not."""

    name: str
    total: int = 0
    failures: list[str] = field(default_factory=list)

    def blocks(self, path: Path) -> Iterator[Block]:
        """Yield the commands of a file."""
        return transcript.read(path.read_text(encoding="utf-8"))

    def compare(self, path: Path, block: Block, actual: str, expected: str) -> None:
        """Count one case."""
        self.total += 1
        if actual.strip() != expected.strip():
            self.failures.append(
                f"{path.name}:{block.line}: {block.command}\n"
                f"  expected:\n{_indented(expected)}\n  came:\n{_indented(actual)}"
            )

    def __str__(self) -> str:
        return f"{self.name} {self.total - len(self.failures)}/{self.total}"


def data_files(folder: Path) -> list[Path]:
    """Return the text files of a corpus, licence texts left out; none where it is absent."""
    return sorted(folder.rglob("*.txt"))


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
