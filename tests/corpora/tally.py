"""Counting what came out as expected."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests import transcript

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.transcript import Block


@dataclass
class Tally:
    """How much of a corpus came; ``enough`` is the part that must, ``failures`` what did not."""

    name: str
    unit: str = ""
    enough: float = 1.0
    right: int = 0
    total: int = 0
    failures: list[str] = field(default_factory=list)

    def blocks(self, path: Path) -> Iterator[Block]:
        """Yield the commands of a file."""
        return transcript.read(path.read_text(encoding="utf-8"))

    def compare(self, where: str, actual: Sequence[str], expected: Sequence[str]) -> None:
        """Count one case, which comes as a whole or not at all."""
        self.count(where, int(actual == expected), 1, actual, expected)

    def count(
        self, where: str, right: int, total: int, actual: Sequence[str], expected: Sequence[str]
    ) -> None:
        """Count ``right`` of ``total`` things, and keep both texts if some are wrong."""
        self.right += right
        self.total += total
        if right != total:
            self.failures.append(
                f"{where}\n  expected:\n{_indented(expected)}\n  came:\n{_indented(actual)}"
            )

    @property
    def is_good(self) -> bool:
        """Whether enough of it came."""
        return self.right >= self.enough * self.total

    def __str__(self) -> str:
        """Return the line of the scoreboard."""
        return f"{self.name} {self.right}/{self.total}{self.unit}"


def data_files(folder: Path) -> list[Path]:
    """Return the text files of a corpus; none where it is absent."""
    return sorted(folder.rglob("*.txt"))


def common_lines(actual: Sequence[str], expected: Sequence[str]) -> int:
    """Return how many lines of ``expected`` come in ``actual``, in this order."""
    if actual == expected:
        return len(expected)
    row = [0] * (len(actual) + 1)
    for wanted in expected:
        before = 0
        for at, line in enumerate(actual, start=1):
            above = row[at]
            row[at] = before + 1 if line == wanted else max(above, row[at - 1])
            before = above
    return row[-1]


def _indented(lines: Sequence[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)
