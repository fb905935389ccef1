"""How fast `.rwf` sources are read, checked, decoded and run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raftoral._assets import asset
from raftoral.cli.cache import Folder
from raftoral.lang import tables, verify
from raftoral.lang.compile import compile_source, decode_input, start
from raftoral.lang.diagnostics import Diagnostics
from raftoral.lang.evaluate.program import Program
from raftoral.lang.grammar import STARTS, grammar_text
from raftoral.lang.parse import parse
from raftoral.lang.source import Source
from raftoral.registry.app import Registry
from raftoral.registry.definition import rwf_definition
from raftoral.registry.loader import Loader
from raftoral.replay.effects import Cell, Checkpoint, Compute, SetCell
from tests.bench.replay import replaying

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.replay.interpreter import Begin

ROUNDS = 7
STEPS = """
record Receipt { step: int  note: string }
activity charge(customer: string, step: int) -> Receipt timeout 1m
workflow bench.order version 1 (customer: string) -> int {
  checkpoint total = 0
  for step in range(10) {
    compute receipt = charge(customer, step)
    total = total + receipt.step
  }
  return total
}
"""
"""The ten steps of `tests.bench.replay`, as a text."""
ORDER = {"id": "o-1", "card": "4000", "items": [{"sku": "tea", "qty": 2, "price": "4.50EUR"}]}


def best(work: Callable[[], object], times: int = 1) -> float:
    """Return the seconds that one call takes, in the best of some rounds."""
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(times):
            work()
        found.append((time.perf_counter() - began) / times)
    return min(found)


def effects_of(program: bytes, given: Any) -> int:
    """Run the order workflow with answers at hand; return how many effects it yielded."""
    generator = start(program, given).generator
    answer: Any = None
    count = 0
    try:
        while True:
            effect = generator.send(answer)
            count += 1
            answer = None
            if isinstance(effect, Checkpoint):
                answer = Cell("status", effect.value, None)
            elif isinstance(effect, SetCell):
                effect.cell.value = effect.value
            elif isinstance(effect, Compute):
                answer = "done"
    except StopIteration:
        return count


def steps() -> Begin:
    """Return what starts the ten steps, as a node does."""
    (unit,) = compile_source(Source("steps.rwf", STEPS)).units
    return Loader(Registry()).start(rwf_definition(unit))


def built() -> object:
    """Make a parser from the text of the grammar."""
    found = tables.tables(grammar_text(), STARTS, None)
    return tables.restore(found, None, keep_all_tokens=False)


def at_the_shell() -> tuple[float, float]:
    """Return the seconds to a parser from kept tables, and those of a whole `raftoral check`."""
    with tempfile.TemporaryDirectory() as place:
        folder = Folder(Path(place) / "raftoral")
        tables.tables(grammar_text(), STARTS, folder)

        def started() -> object:
            found = tables.tables(grammar_text(), STARTS, folder)
            return tables.restore(found, None, keep_all_tokens=False)

        def checked() -> object:
            return subprocess.run(
                [sys.executable, "-m", "raftoral", "check", str(asset("workflows") / "batch.rwf")],
                env={**os.environ, "XDG_CACHE_HOME": place},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=True,
            )

        return best(started), best(checked)


def measure() -> list[dict[str, Any]]:
    """Return the figures; lines are counted as they stand in the file, comments and all."""
    source = Source("order.rwf", (asset("workflows") / "order.rwf").read_text()).clean()
    lines = source.text.count("\n")
    building = best(built)
    starting, checking = at_the_shell()
    parsing = best(lambda: parse(source, Diagnostics()), 20)
    compiling = best(lambda: compile_source(source), 10)
    (unit,) = compile_source(source).units
    loading = best(lambda: Program(verify.decode(unit.ir)), 50)
    given = decode_input(unit.ir, {"order": ORDER})
    effects = effects_of(unit.ir, given)
    running = best(lambda: effects_of(unit.ir, given), 300)
    parse_rate = round(lines / parsing)
    return [
        _figure("parse_lines_per_s", parse_rate, "lines/s"),
        _figure(
            "compile_lines_per_s",
            round(lines / compiling),
            "lines/s",
            ratio=round(parsing / compiling, 2),
            against="parse_lines_per_s",
        ),
        _figure("parser_build_ms", round(building * 1e3, 1), "ms, without kept tables"),
        _figure(
            "parser_start_ms",
            round(starting * 1e3, 1),
            "ms, from kept tables, once per process",
            ratio=round(starting / building, 2),
            against="parser_build_ms",
        ),
        _figure("check_80_lines_ms", round(checking * 1e3), "ms, `raftoral check` from the shell"),
        _figure("program_load_us", round(loading * 1e6), "us, once per definition"),
        _figure("evaluate_effects_per_s", round(effects / running), "effects/s"),
        replaying("replay_rwf_events_per_s", steps()),
    ]


def _figure(
    name: str, value: float, unit: str, *, ratio: float | None = None, against: str | None = None
) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "ratio": ratio, "against": against}
