"""Transcripts: commands, and below each what came of it.

A transcript is a text file of blocks. A block is a command line ``name key=value key=(a,b) word``,
optional input lines, a line ``----`` and the expected output up to an empty line. Output that holds
empty lines stands between two doubled ``----`` lines. Lines that begin with ``#`` before a command
are comments. This is the form of cockroachdb/datadriven, so transcripts of others are read too.

``pytest --rewrite`` writes what really came into the files; the diff is then read by a person.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_ARGUMENT = re.compile(r"([\w-]+)=\(([^)]*)\)|([\w-]+)=(\S*)|(\S+)")
_RULE = "----"


@dataclass
class Block:
    """One command of a transcript; ``args`` maps a key to its values, a bare word to none."""

    line: int
    comment: list[str]
    command: str
    name: str
    args: dict[str, list[str]]
    input: str
    expected: str

    def words(self) -> list[str]:
        """Return the bare words of the command."""
        return [key for key, values in self.args.items() if not values]

    def numbers(self, key: str) -> list[int]:
        """Return the values of ``key`` as numbers; none if it is absent."""
        return [int(value) for value in self.args.get(key, ())]


@dataclass
class _Lines:
    lines: list[str]
    at: int = 0
    taken: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self.at < len(self.lines)

    def peek(self) -> str:
        return self.lines[self.at] if self else ""

    def next(self) -> str:
        self.at += 1
        return self.lines[self.at - 1]

    def until(self, stop: Callable[[str], bool]) -> list[str]:
        found = []
        while self and not stop(self.peek()):
            found.append(self.next())
        return found


def read(text: str) -> Iterator[Block]:
    """Yield the blocks of a transcript; `ValueError` names the line where it is none."""
    lines = _Lines(text.splitlines())
    comment: list[str] = []
    while lines:
        line = lines.next()
        if not line.strip() or line.startswith("#"):
            comment.append(line)
            continue
        number = lines.at
        given = lines.until(lambda text: text == _RULE)
        if not lines:
            raise ValueError(f"line {number}: no {_RULE} follows the command {line!r}")
        lines.next()
        name, _, rest = line.strip().partition(" ")
        yield Block(number, comment, line, name, _arguments(rest), "\n".join(given), _output(lines))
        comment = []


def _output(lines: _Lines) -> str:
    if lines.peek() != _RULE:
        found = lines.until(lambda text: not text.strip())
        return "\n".join(found)
    lines.next()
    found = []
    while lines:
        line = lines.next()
        if line == _RULE and lines.peek() == _RULE:
            lines.next()
            break
        found.append(line)
    return "\n".join(found)


def _arguments(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for match in _ARGUMENT.finditer(text):
        key, many, single_key, single, word = match.groups()
        if key is not None:
            found[key] = [part.strip() for part in many.split(",") if part.strip()]
        elif single_key is not None:
            found[single_key] = [single]
        else:
            found[word] = []
    return found


def run(path: Path, handle: Callable[[Block], str], *, rewrite: bool = False) -> None:
    """Run each command of the transcript at ``path`` and compare what comes of it.

    With ``rewrite`` the file is written anew instead of compared.
    """
    text = path.read_text(encoding="utf-8")
    parts: list[str] = []
    for block in read(text):
        actual = handle(block).rstrip("\n")
        if not rewrite:
            where = f"{path.name}:{block.line}: {block.command}"
            assert actual == block.expected, f"{where}\n{actual}\n-- expected --\n{block.expected}"
        parts += [*block.comment, block.command]
        parts += block.input.splitlines()
        parts += _framed(actual)
    if rewrite:
        path.write_text("\n".join(parts) + "\n", encoding="utf-8")


def _framed(output: str) -> list[str]:
    lines = output.splitlines()
    if all(line.strip() for line in lines):
        return [_RULE, *lines]
    return [_RULE, _RULE, *lines, _RULE, _RULE]
