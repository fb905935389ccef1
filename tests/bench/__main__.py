"""`make bench`: prints the table and writes build/bench.jsonl, one JSON object a line.

Every figure is measured in this one run on this one machine; `ratio` compares a figure with
`against`, another figure of the same run, which is what stays true on another machine.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

PARTS = ("lang", "replay", "consensus", "beside", "runtime", "snapshot")
FIELDS = ("name", "value", "unit", "ratio", "against")


def main(parts: list[str]) -> int:
    """Measure the named parts (all without names); return the exit code."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        console.print(f"there is no part {', '.join(unknown)}; choose from {', '.join(PARTS)}")
        return 2
    table = Table(*FIELDS, title="Raftoral on this machine")
    out = Path("build/bench.jsonl")
    out.parent.mkdir(exist_ok=True)
    with out.open("w") as file:
        for part in parts or PARTS:
            console.print(f"measuring: {part} ...", style="dim")
            for figure in importlib.import_module(f"tests.bench.{part}").measure():
                row = {field: _short(figure.get(field)) for field in FIELDS}
                file.write(json.dumps({**figure, **row}) + "\n")
                file.flush()
                table.add_row(*("" if row[field] is None else str(row[field]) for field in FIELDS))
    console.print(table)
    return 0


def _short(value: object) -> object:
    """Return a number with four significant digits at most: more of them would be noise."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
