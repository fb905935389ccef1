"""What people see: tables and facts; the only rich. In a pipe the same text comes plain."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def json(value: object) -> None:
    """Print a value as indented JSON."""
    print(json_text(value))


def json_text(value: object) -> str:
    """Return a value as indented JSON."""
    from raftoral.convert import to_json

    return to_json(value, indent=2).decode()


def moment(millis: int) -> str:
    """Return milliseconds since 1970 as a UTC time, to the second."""
    return datetime.fromtimestamp(millis // 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their columns; columns that are empty in every row are left out."""
    shown = [n for n in range(len(columns)) if not rows or any(row[n] for row in rows)]
    names = [columns[n] for n in shown]
    cells = [[row[n] for n in shown] for row in rows]
    if sys.stdout.isatty():
        _rich_table(names, cells)
    else:
        _plain_table(names, cells)


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        shown.add_column(name, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(cell) for cell in row))
    Console().print(shown)


def _plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[n]) for row in (columns, *rows)) for n in range(len(columns))]
    for row in (columns, *rows):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())


def facts(lines: Sequence[tuple[str, str]]) -> None:
    """Print one fact a line; a value of several lines is indented under its name."""
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        print(f"{name.ljust(width)}  {value.replace(chr(10), chr(10) + ' ' * (width + 2))}")
